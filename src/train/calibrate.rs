//! How fast this machine trains: a few steps of two small models.
//!
//! Planning turns the two points into seconds for any shape, by interpolating throughput over
//! the FLOPs a token takes.

use super::TrainError;
use super::timing::time_steps;
use crate::architecture::solver::ShapeSettings;
use crate::flops::Convention;
use crate::model::device;
use crate::plan::{Calibration, Throughput};
use crate::recipe::Recipe;

/// Models that are timed: non-embedding parameters.
const SIZES: [u64; 2] = [100_000, 1_000_000];
/// How a device is timed.
pub struct Effort {
    /// Steps before the timed ones.
    warm_up: u64,
    steps: u64,
    /// Sequences in a step.
    pub rows: usize,
}

impl Effort {
    /// Chooses how a device is timed for runs of a recipe.
    pub fn on(device_name: &str, recipe: &Recipe) -> Self {
        if device::is_cpu(device_name) {
            return Self {
                warm_up: 1,
                steps: 3,
                rows: 4,
            };
        }
        // A GPU is fast once its steps are recorded, and the faster the more a step asks of it.
        Self {
            warm_up: 8,
            steps: 9,
            rows: recipe.batch,
        }
    }
}

/// Vocabulary of the timed models.
const VOCAB: usize = 512;
/// Tokens per concept of the timed models.
const RATIO: f64 = 4.0;

/// Times training steps on a device with the threads this process has.
///
/// # Errors
/// When the device is not available.
pub fn calibrate(device_name: &str, recipe: &Recipe) -> Result<Calibration, TrainError> {
    let shapes = ShapeSettings::default();
    let effort = Effort::on(device_name, recipe);
    let recipe = Recipe {
        batch: effort.rows,
        ..recipe.clone()
    };
    let mut points = Vec::new();
    for params in SIZES {
        let Ok(architecture) = shapes.solve_dlcm(params, 0.5, RATIO, VOCAB) else {
            continue;
        };
        let Effort { warm_up, steps, .. } = effort;
        let timing = time_steps(&architecture, &recipe, warm_up, steps, device_name)?;
        points.push(Throughput {
            flops_per_token: architecture.training_flops(RATIO, Convention::Exact),
            tokens_per_second: timing.tokens_per_second(),
        });
    }
    Ok(Calibration { points })
}
