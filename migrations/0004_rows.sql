-- Runs that other people trained, and the exact rows behind a fit.

CREATE TABLE imported_runs (
    experiment_id     INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
    -- Hash of the cells, and which of equal rows it is.
    id                TEXT NOT NULL,
    -- The file it comes from, as it was given, and the line there.
    source            TEXT NOT NULL,
    line              INTEGER NOT NULL,
    -- Nats per token. All other cells are in `cells`.
    loss              REAL NOT NULL,
    -- Every cell as written, under the names that laws read; JSON object.
    cells             TEXT NOT NULL,
    imported_at       REAL NOT NULL,
    PRIMARY KEY (experiment_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE fitted_rows (
    -- SHA-256 of the content.
    hash    TEXT PRIMARY KEY,
    n_rows  INTEGER NOT NULL,
    -- CSV: the line or number of the row where it comes from, its run, its weight, and the columns
    -- as the law took them.
    content TEXT NOT NULL
) STRICT, WITHOUT ROWID;

ALTER TABLE fits ADD COLUMN rows_hash TEXT REFERENCES fitted_rows (hash);
