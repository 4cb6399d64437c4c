-- Runs of other trainers: what nobody says of them is NULL, and they may end without a result.

-- The view names columns that change, and is made again below.
DROP VIEW results;
DROP INDEX runs_by_standing;

-- NOT NULL goes with a column: a new one takes its place.
ALTER TABLE runs ADD COLUMN of_params INTEGER;
ALTER TABLE runs ADD COLUMN of_tokens INTEGER;
ALTER TABLE runs ADD COLUMN of_flops REAL;
UPDATE runs SET of_params = params, of_tokens = tokens, of_flops = planned_flops;
ALTER TABLE runs DROP COLUMN params;
ALTER TABLE runs DROP COLUMN tokens;
ALTER TABLE runs DROP COLUMN planned_flops;
ALTER TABLE runs RENAME COLUMN of_params TO params;
ALTER TABLE runs RENAME COLUMN of_tokens TO tokens;
ALTER TABLE runs RENAME COLUMN of_flops TO planned_flops;

ALTER TABLE runs ADD COLUMN ended_as TEXT CHECK (ended_as IN (
    'finished', 'diverged', 'out_of_memory', 'crashed', 'interrupted', 'timed_out', 'stalled', 'cancelled',
    'finished_without_result'));
UPDATE runs SET ended_as = outcome;
ALTER TABLE runs DROP COLUMN outcome;
ALTER TABLE runs RENAME COLUMN ended_as TO outcome;

ALTER TABLE attempts ADD COLUMN ended_as TEXT CHECK (ended_as IN (
    'finished', 'diverged', 'out_of_memory', 'crashed', 'interrupted', 'timed_out', 'stalled', 'cancelled',
    'finished_without_result'));
UPDATE attempts SET ended_as = outcome;
ALTER TABLE attempts DROP COLUMN outcome;
ALTER TABLE attempts RENAME COLUMN ended_as TO outcome;

ALTER TABLE measurements ADD COLUMN of_tokens INTEGER;
ALTER TABLE measurements ADD COLUMN of_flops REAL;
UPDATE measurements SET of_tokens = tokens, of_flops = flops;
ALTER TABLE measurements DROP COLUMN tokens;
ALTER TABLE measurements DROP COLUMN flops;
ALTER TABLE measurements RENAME COLUMN of_tokens TO tokens;
ALTER TABLE measurements RENAME COLUMN of_flops TO flops;
-- What else a trainer reports: a JSON object of numbers.
ALTER TABLE measurements ADD COLUMN metrics TEXT;

CREATE INDEX runs_by_standing ON runs (id, state, outcome);

CREATE VIEW results AS
SELECT
    experiments.name                                   AS experiment,
    experiment_runs.run_id                             AS run,
    experiment_runs.part                               AS part,
    experiment_runs.wanted                             AS wanted,
    runs.kind                                          AS kind,
    experiment_runs.axes ->> '$.params'                AS nominal_params,
    runs.params                                        AS params,
    experiment_runs.axes ->> '$.concept_share'         AS nominal_concept_share,
    CASE runs.kind WHEN 'dlcm' THEN runs.concept_share END     AS concept_share,
    CASE runs.kind WHEN 'dlcm' THEN runs.compression_ratio END AS declared_ratio,
    runs.realised_ratio                                AS realised_ratio,
    experiment_runs.axes ->> '$.tokens'                AS nominal_tokens,
    runs.tokens                                        AS tokens,
    runs.seed                                          AS seed,
    runs.state                                         AS state,
    runs.outcome                                       AS outcome,
    runs.loss                                          AS loss,
    runs.flops                                         AS flops,
    runs.planned_flops                                 AS planned_flops,
    experiment_runs.axes                               AS axes
FROM experiment_runs
JOIN experiments ON experiments.id = experiment_runs.experiment_id
JOIN runs ON runs.id = experiment_runs.run_id
ORDER BY experiments.name, experiment_runs.position;
