-- Runs that differ only in tokens and decay may share one stable phase, the trunk.

-- Which part of a training the experiment has the run carry out.
ALTER TABLE experiment_runs ADD COLUMN part TEXT NOT NULL DEFAULT 'whole'
    CHECK (part IN ('whole', 'trunk', 'branch'));
-- The run from whose end it goes on; measurements count from the first step of the trunk.
ALTER TABLE experiment_runs ADD COLUMN start_run TEXT REFERENCES runs (id);
