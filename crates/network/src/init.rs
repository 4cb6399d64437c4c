//! Initial weights: drawn on the host from the run's seed, so that every backend starts alike.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws parameters in the order in which they are asked for.
pub(crate) struct Initializer<'a> {
    random: ChaCha8Rng,
    device: &'a Device,
}

impl<'a> Initializer<'a> {
    pub(crate) fn new(seed: u64, device: &'a Device) -> Self {
        Self {
            random: ChaCha8Rng::seed_from_u64(seed),
            device,
        }
    }

    /// Draws a matrix [fan_in, fan_out] with variance `gain`²/fan_in (decoupled muP).
    pub(crate) fn matrix(&mut self, fan_in: usize, fan_out: usize, gain: f64) -> Param<Tensor<2>> {
        self.normal([fan_in, fan_out], gain / (fan_in as f64).sqrt())
    }

    /// Draws a table [rows, width] with a standard deviation that does not change with width.
    pub(crate) fn table(&mut self, rows: usize, width: usize, deviation: f64) -> Param<Tensor<2>> {
        self.normal([rows, width], deviation)
    }

    /// Makes an identity matrix.
    pub(crate) fn identity(&self, width: usize) -> Param<Tensor<2>> {
        Param::from_tensor(Tensor::eye(width, self.device))
    }

    /// Makes a vector of equal values.
    pub(crate) fn constant(&self, width: usize, value: f64) -> Param<Tensor<1>> {
        Param::from_tensor(Tensor::full([width], value, self.device))
    }

    /// Draws a vector of independent normal values.
    pub(crate) fn vector(&mut self, width: usize, deviation: f64) -> Param<Tensor<1>> {
        let values: Vec<f32> = (0..width).map(|_| self.draw(deviation)).collect();
        Param::from_tensor(Tensor::from_data(
            TensorData::new(values, [width]),
            self.device,
        ))
    }

    fn normal(&mut self, shape: [usize; 2], deviation: f64) -> Param<Tensor<2>> {
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| self.draw(deviation))
            .collect();
        Param::from_tensor(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }

    /// Draws a standard normal value (Box–Muller) cut at three deviations.
    fn draw(&mut self, deviation: f64) -> f32 {
        loop {
            let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
            let value = radius * (std::f64::consts::TAU * self.random.random::<f64>()).cos();
            if value.abs() <= 3.0 {
                return (value * deviation) as f32;
            }
        }
    }
}
