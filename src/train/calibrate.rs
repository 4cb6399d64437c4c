//! How fast this machine trains: a few steps of two small models.
//!
//! Planning turns the two points into seconds for any shape, by interpolating throughput over
//! the FLOPs a token takes.

use super::TrainError;
use super::device;
use super::optimizer::Optimizer;
use super::session::widths;
use super::step::{Sequences, Settings, uniforms};
use crate::architecture::solver::ShapeSettings;
use crate::flops::Convention;
use crate::model::Network;
use crate::plan::{Calibration, Throughput};
use crate::recipe::Recipe;
use burn::module::Module;
use std::time::Instant;

/// Models that are timed: non-embedding parameters.
const SIZES: [u64; 2] = [100_000, 1_000_000];
/// Steps timed after one that warms up.
const STEPS: u64 = 2;
/// Sequences in a timed step.
const ROWS: usize = 4;
/// Vocabulary of the timed models.
const VOCAB: usize = 512;

/// Times training steps on a device with the threads this process has.
///
/// # Errors
/// When the device is not available.
pub fn calibrate(device_name: &str, recipe: &Recipe) -> Result<Calibration, TrainError> {
    let device = device::open(device_name)?.autodiff();
    let shapes = ShapeSettings::default();
    let mut points = Vec::new();
    for params in SIZES {
        let Ok(architecture) = shapes.solve_dlcm(params, 0.5, 4.0, VOCAB) else {
            continue;
        };
        let seq_len = architecture.seq_len();
        let widths = widths(&architecture);
        let settings = Settings {
            recipe,
            output_multiplier: recipe.output_multiplier(widths.token),
            compression_ratio: 4.0,
            micro_batch: ROWS,
            device: &device,
        };
        let mut sequences = Sequences::new(seq_len);
        for row in 0..ROWS {
            let row: Vec<u32> = (0..=seq_len)
                .map(|t| ((t * t + 31 * row) % VOCAB) as u32)
                .collect();
            sequences.push(&row);
        }
        let mut network = Network::new(&architecture, 0, &device).train();
        let mut optimizer = Optimizer::default();
        let mut start = Instant::now();
        for step in 0..=STEPS {
            if step == 1 {
                start = Instant::now();
            }
            let numbers = uniforms(step, 0..ROWS as u64, seq_len);
            let gradients = settings.run(&network, &sequences, &numbers).gradients;
            (network, _) = optimizer.step(network, gradients, recipe, widths, step + 1, 1e-3);
        }
        let tokens = (STEPS as usize * ROWS * seq_len) as f64;
        points.push(Throughput {
            flops_per_token: architecture.training_flops(4.0, Convention::Exact),
            tokens_per_second: tokens / start.elapsed().as_secs_f64(),
        });
    }
    Ok(Calibration { points })
}
