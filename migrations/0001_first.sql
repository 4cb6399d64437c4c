-- Missing is NULL, never 0. Times are seconds since the Unix epoch. Append-only: a change to this
-- schema is a new migration.

CREATE TABLE experiments (
    id              INTEGER PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    -- The YAML as given, overrides applied, and its SHA-256.
    config          TEXT NOT NULL,
    config_hash     TEXT NOT NULL,
    program_version TEXT NOT NULL,
    -- Commit of the working folder's repository, with a trailing + when it had changes.
    git_commit      TEXT,
    created_at      REAL NOT NULL,
    updated_at      REAL NOT NULL
) STRICT;

CREATE TABLE runs (
    -- Hash of what determines the result.
    id                   TEXT PRIMARY KEY,
    kind                 TEXT NOT NULL CHECK (kind IN ('dlcm', 'dense')),
    -- The whole specification as JSON: architecture, data, recipe, seed.
    spec                 TEXT NOT NULL,
    -- Non-embedding parameters N and concept share P of the shape that was built.
    params               INTEGER NOT NULL,
    concept_share        REAL NOT NULL,
    -- Declared tokens per concept R; 1 for a dense model.
    compression_ratio    REAL NOT NULL,
    -- Training tokens D.
    tokens               INTEGER NOT NULL,
    seed                 INTEGER NOT NULL,
    planned_flops        REAL NOT NULL,
    state                TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'ended')),
    outcome              TEXT CHECK (outcome IN ('finished', 'diverged', 'out_of_memory', 'crashed', 'interrupted')),
    -- Of the last validation; nats per token.
    loss                 REAL,
    bits_per_byte        REAL,
    flops                REAL,
    -- Tokens per concept: thresholded as in evaluation, and sampled as in training.
    realised_ratio       REAL,
    realised_sampled     REAL,
    concept_gain         REAL,
    boundary_gain        REAL,
    -- Sequence number of the last journal line taken in.
    last_seq             INTEGER,
    created_at           REAL NOT NULL,
    ended_at             REAL
) STRICT;

CREATE TABLE experiment_runs (
    experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
    run_id        TEXT NOT NULL REFERENCES runs (id),
    -- Place in the plan, from 0.
    position      INTEGER NOT NULL,
    -- The axis values as written, JSON object.
    axes          TEXT NOT NULL,
    -- 0 for a run that the experiment's file no longer asks for.
    wanted        INTEGER NOT NULL DEFAULT 1 CHECK (wanted IN (0, 1)),
    PRIMARY KEY (experiment_id, run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run_id          TEXT NOT NULL REFERENCES runs (id),
    -- From 1.
    number          INTEGER NOT NULL,
    pid             INTEGER,
    host            TEXT NOT NULL,
    device          TEXT NOT NULL,
    threads         INTEGER NOT NULL,
    program_version TEXT NOT NULL,
    git_commit      TEXT,
    started_at      REAL NOT NULL,
    ended_at        REAL,
    outcome         TEXT CHECK (outcome IN ('finished', 'diverged', 'out_of_memory', 'crashed', 'interrupted')),
    exit_code       INTEGER,
    signal          INTEGER,
    -- The last lines of its log, or what it said went wrong.
    message         TEXT,
    log_path        TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE measurements (
    run_id               TEXT NOT NULL REFERENCES runs (id),
    step                 INTEGER NOT NULL,
    tokens               INTEGER NOT NULL,
    flops                REAL NOT NULL,
    loss                 REAL,
    validation_loss      REAL,
    bits_per_byte        REAL,
    realised_sampled     REAL,
    realised_thresholded REAL,
    concept_gain         REAL,
    boundary_gain        REAL,
    auxiliary_loss       REAL,
    gradient_norm        REAL,
    rate_share           REAL,
    tokens_per_second    REAL,
    PRIMARY KEY (run_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE fits (
    id              INTEGER PRIMARY KEY,
    experiment_id   INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
    law             TEXT NOT NULL,
    -- The fit with its intervals and diagnostics, JSON.
    result          TEXT NOT NULL,
    -- Ids of the runs it used, JSON array.
    runs            TEXT NOT NULL,
    program_version TEXT NOT NULL,
    created_at      REAL NOT NULL
) STRICT;

CREATE INDEX fits_by_experiment ON fits (experiment_id, law, id);
