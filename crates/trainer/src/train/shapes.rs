//! The named shapes that are timed, and the dense models they are compared with.

use experiment::architecture::Architecture;
use experiment::architecture::solver::{ShapeError, ShapeSettings};
use experiment::flops::Convention;

/// Vocabulary of every named shape.
const VOCAB: usize = 2048;

/// A named shape of a hierarchical model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    d_token: usize,
    /// Blocks of encoder, backbone and decoder.
    layers: [usize; 3],
    head_size: usize,
    seq_len: usize,
}

/// The named shapes, in order of size; d_concept is twice d_token.
pub const SHAPES: [Shape; 4] = [
    shape("tiny", 64, [2, 2, 2], 32, 256),
    shape("small", 128, [3, 4, 2], 32, 256),
    shape("base", 256, [4, 6, 3], 64, 256),
    shape("large", 768, [6, 8, 4], 64, 1024),
];

const fn shape(
    name: &'static str,
    d_token: usize,
    layers: [usize; 3],
    head_size: usize,
    seq_len: usize,
) -> Shape {
    Shape {
        name,
        d_token,
        layers,
        head_size,
        seq_len,
    }
}

impl Shape {
    /// Finds a shape by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        SHAPES.into_iter().find(|shape| shape.name == name)
    }

    /// Builds the hierarchical model.
    ///
    /// # Errors
    /// When the ratio is not above 1.
    pub fn dlcm(&self, compression_ratio: f64) -> Result<Architecture, ShapeError> {
        let [encoder, backbone, decoder] = self.layers;
        let settings = ShapeSettings {
            d_token: Some(self.d_token),
            d_concept: Some(2 * self.d_token),
            encoder_layers: Some(encoder),
            backbone_layers: Some(backbone),
            decoder_layers: Some(decoder),
            ..self.settings()
        };
        settings.explicit_dlcm(compression_ratio, VOCAB)
    }

    /// Builds a dense model of as many parameters N as a hierarchical one.
    ///
    /// # Errors
    /// When there is no such shape.
    pub fn dense_of_equal_params(&self, dlcm: &Architecture) -> Result<Architecture, ShapeError> {
        let params = dlcm.params().non_embedding();
        self.settings().solve_dense(params, VOCAB)
    }

    /// Builds a dense model of as many training FLOPs per token as a hierarchical one at its
    /// declared ratio.
    ///
    /// # Errors
    /// When there is no such shape.
    pub fn dense_of_equal_flops(&self, dlcm: &Architecture) -> Result<Architecture, ShapeError> {
        let cost = |model: &Architecture| {
            model.training_flops(model.compression_ratio(), Convention::Exact)
        };
        let target = cost(dlcm);
        let dense = |params: f64| self.settings().solve_dense(params as u64, VOCAB);
        let (mut low, mut high) = (1e4, dlcm.params().non_embedding() as f64);
        // Halvings of ln N: shapes are integers, and the rest is below their steps.
        for _ in 0..20 {
            let middle = f64::sqrt(low * high);
            match dense(middle) {
                Ok(model) if cost(&model) > target => high = middle,
                _ => low = middle,
            }
        }
        dense(high)
    }

    fn settings(&self) -> ShapeSettings {
        ShapeSettings {
            seq_len: self.seq_len,
            head_size: Some(self.head_size),
            ..ShapeSettings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_twins_are_as_large_or_as_expensive() {
        for shape in &SHAPES[..3] {
            let dlcm = shape.dlcm(4.0).expect("a shape");
            let cost =
                |model: &Architecture, ratio| model.training_flops(ratio, Convention::Exact) / 1e6;
            let equal = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 0.05, "{a} {b}");
            let twin = shape.dense_of_equal_params(&dlcm).expect("a shape");
            let params = |model: &Architecture| model.params().non_embedding() as f64;
            equal(params(&twin), params(&dlcm));
            let twin = shape.dense_of_equal_flops(&dlcm).expect("a shape");
            equal(cost(&twin, 1.0), cost(&dlcm, 4.0));
        }
    }
}
