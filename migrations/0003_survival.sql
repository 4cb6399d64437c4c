-- More ways to end, how often a run was tried, and on what each attempt ran.

-- A column's CHECK goes with the column: a new one takes its place.
ALTER TABLE runs ADD COLUMN ended_as TEXT CHECK (ended_as IN (
    'finished', 'diverged', 'out_of_memory', 'crashed', 'interrupted', 'timed_out', 'stalled', 'cancelled'));
UPDATE runs SET ended_as = outcome;
ALTER TABLE runs DROP COLUMN outcome;
ALTER TABLE runs RENAME COLUMN ended_as TO outcome;

ALTER TABLE attempts ADD COLUMN ended_as TEXT CHECK (ended_as IN (
    'finished', 'diverged', 'out_of_memory', 'crashed', 'interrupted', 'timed_out', 'stalled', 'cancelled'));
UPDATE attempts SET ended_as = outcome;
ALTER TABLE attempts DROP COLUMN outcome;
ALTER TABLE attempts RENAME COLUMN ended_as TO outcome;

-- Failures that were answered by a retry, since the run was last made eligible.
ALTER TABLE runs ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
-- Sequences in one forward pass after memory ran out; NULL: as declared.
ALTER TABLE runs ADD COLUMN micro_batch INTEGER;
-- Of the last attempt.
ALTER TABLE runs ADD COLUMN message TEXT;
UPDATE runs SET message =
    (SELECT message FROM attempts WHERE run_id = runs.id ORDER BY number DESC LIMIT 1);
-- Until now a failed run was tried again by the next command.
UPDATE runs SET state = 'pending' WHERE state = 'ended' AND outcome NOT IN ('finished', 'diverged');

-- SHA-256 of the lock file that the program was built with.
ALTER TABLE attempts ADD COLUMN lock_hash TEXT;
-- The device as its system describes it, with its driver.
ALTER TABLE attempts ADD COLUMN hardware TEXT;
ALTER TABLE attempts ADD COLUMN micro_batch INTEGER;
