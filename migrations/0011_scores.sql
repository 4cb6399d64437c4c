-- What trained runs answer to tasks, and make of texts that are held out: the newest for each name.

CREATE TABLE scores (
    run_id                    TEXT NOT NULL REFERENCES runs (id),
    task                      TEXT NOT NULL,
    kind                      TEXT NOT NULL CHECK (kind IN ('multiple_choice', 'schema', 'language_modeling')),
    -- A hash of what is asked: scores can be compared where it is the same.
    digest                    TEXT NOT NULL,
    items                     INTEGER NOT NULL,
    truncated                 INTEGER NOT NULL,
    bits_per_byte             REAL NOT NULL,
    bits_per_byte_error       REAL,
    accuracy                  REAL NOT NULL,
    accuracy_error            REAL,
    accuracy_per_byte         REAL,
    accuracy_per_byte_error   REAL,
    share                     REAL,
    share_error               REAL,
    chance                    REAL NOT NULL,
    at_chance                 INTEGER NOT NULL CHECK (at_chance IN (0, 1)),
    PRIMARY KEY (run_id, task)
) STRICT;

CREATE TABLE texts (
    run_id                    TEXT NOT NULL REFERENCES runs (id),
    text                      TEXT NOT NULL,
    digest                    TEXT NOT NULL,
    tokens                    INTEGER NOT NULL,
    bytes_per_token           REAL NOT NULL,
    -- Nats per token.
    loss                      REAL NOT NULL,
    bits_per_byte             REAL NOT NULL,
    bits_per_byte_error       REAL,
    -- Tokens per concept; NULL without concepts.
    realised_ratio            REAL,
    PRIMARY KEY (run_id, text)
) STRICT;
