-- What an experiment is to decide, as it was written down, and when: a claim that was changed later is another.

CREATE TABLE claims (
    experiment_id             INTEGER NOT NULL REFERENCES experiments (id),
    name                      TEXT NOT NULL,
    -- A hash of the claim and its test.
    digest                    TEXT NOT NULL,
    -- The claim as JSON.
    claim                     TEXT NOT NULL,
    -- Where it stands in the file.
    place                     INTEGER NOT NULL,
    -- Seconds since the Unix epoch.
    registered_at             REAL NOT NULL,
    -- Runs of the experiment that had ended by then.
    runs_ended                INTEGER NOT NULL,
    -- When the file no longer held it; NULL while it does.
    dropped_at                REAL,
    PRIMARY KEY (experiment_id, name, digest)
) STRICT;
