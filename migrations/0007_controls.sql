-- A third kind of model, the control; and tokens per concept over a whole training.

-- A column's CHECK goes with the column: a new one takes its place.
ALTER TABLE runs ADD COLUMN model TEXT NOT NULL DEFAULT 'dlcm'
    CHECK (model IN ('dlcm', 'dense', 'token_only'));
UPDATE runs SET model = kind;
ALTER TABLE runs DROP COLUMN kind;
ALTER TABLE runs RENAME COLUMN model TO kind;

-- Tokens of all steps so far by their concepts, with training's boundaries; NULL where it was not
-- kept.
ALTER TABLE runs ADD COLUMN realised_training REAL;
ALTER TABLE measurements ADD COLUMN realised_training REAL;

-- Runs that an experiment asks for to find its learning rates.
ALTER TABLE experiment_runs ADD COLUMN asked_as TEXT NOT NULL DEFAULT 'whole'
    CHECK (asked_as IN ('whole', 'trunk', 'branch', 'trial'));
UPDATE experiment_runs SET asked_as = part;
ALTER TABLE experiment_runs DROP COLUMN part;
ALTER TABLE experiment_runs RENAME COLUMN asked_as TO part;
