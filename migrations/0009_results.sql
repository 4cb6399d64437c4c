-- What one looks at first, as a view: every run of every experiment with what was asked and what came of
-- it. `nominal_` columns are the axis values as the file writes them; the others are those of the model
-- that was built and of the run that was trained.
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
