//! The runs of another trainer.

use super::Run;
use crate::external::ExternalSpec;
use crate::grid::Experiment;

/// Memory of such a run of which nothing is known, in bytes: places are given by number then.
const UNKNOWN_MEMORY: f64 = 0.0;

/// Plans the runs of an experiment's external trainer, whose code has this hash; none where it has none.
pub fn external(experiment: &Experiment, code: Option<&str>) -> Vec<Run> {
    let execution = &experiment.execution;
    let Some(external) = &experiment.external else {
        return Vec::new();
    };
    let run = |cell: &crate::grid::ExternalCell| {
        let spec = ExternalSpec {
            trainer: external.trainer.clone(),
            code: code.map(str::to_owned),
            axes: cell.axes.clone(),
            seed: cell.seed,
            declared: cell.declared,
            micro_batch: execution.micro_batch,
            threads: execution.threads,
            devices: external.devices_per_run,
        };
        Run {
            id: spec.id(),
            trial: false,
            axes: cell.written.clone(),
            flops: spec.flops(),
            memory: UNKNOWN_MEMORY,
            work: spec.into(),
        }
    };
    external.cells.iter().map(run).collect()
}
