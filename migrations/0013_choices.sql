-- Runs of a grid that were chosen for what they narrow, each with what was known before it and why it was it.

CREATE TABLE choices (
    experiment_id             INTEGER NOT NULL REFERENCES experiments (id),
    run_id                    TEXT NOT NULL REFERENCES runs (id),
    -- Seconds since the Unix epoch.
    chosen_at                 REAL NOT NULL,
    -- What was to be known, as in `interval(concept_share) < 0.1`.
    goal                      TEXT NOT NULL,
    -- Why this run, in words.
    reason                    TEXT NOT NULL,
    -- What was known of it before, as JSON; NULL where there was no law yet.
    known                     TEXT,
    PRIMARY KEY (experiment_id, run_id)
) STRICT;
