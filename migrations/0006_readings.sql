-- What a trained run made of texts: tokens per concept by content, loss by position in a concept.

CREATE TABLE readings (
    -- One reading a run: the newest.
    run_id     TEXT PRIMARY KEY REFERENCES runs (id),
    -- The run that it was compared with.
    against    TEXT,
    -- Totals of each text with its label, JSON array.
    contents   TEXT NOT NULL,
    -- Losses by position inside a concept, JSON array; empty where they were not asked for.
    positions  TEXT NOT NULL,
    created_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
