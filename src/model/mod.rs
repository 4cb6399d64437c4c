//! The burn networks: the hierarchical token/concept model and the dense baseline.
//!
//! Owns tensors and weights; refuses files and SQL. Equations are those of DLCM,
//! arXiv 2512.24617.

mod block;
pub mod boundary;
pub mod causality;
mod cross_attention;
pub mod decode;
mod dense;
pub mod device;
mod dlcm;
mod embedding;
mod init;
mod observe;
pub mod ops;
mod weights;

pub use block::{Block, Blocks};
pub use boundary::{BoundaryPredictor, Decision, RecentProbabilities};
pub use cross_attention::CrossAttention;
pub use decode::Decoder;
pub use dense::DenseModel;
pub use dlcm::{Boundaries, DlcmModel};
pub use embedding::{Embedding, Unembedding, compute_type};
pub use observe::Site;
pub use weights::{HostTensor, HostTensors, plain_name};

use crate::architecture::Architecture;
use crate::recipe::{BoundaryGradient, Group, Precision};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use init::Initializer;
use std::collections::BTreeMap;

/// A network of either kind.
// A process holds one: its size in place does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Network {
    /// A dense baseline.
    Dense(DenseModel),
    /// A hierarchical model.
    Dlcm(DlcmModel),
}

impl Network {
    /// Builds a network with initial weights drawn from `seed`.
    pub fn new(architecture: &Architecture, seed: u64, device: &Device) -> Self {
        let mut init = Initializer::new(seed, device);
        match architecture {
            Architecture::Dense(shape) => Self::Dense(DenseModel::new(shape, &mut init)),
            Architecture::Dlcm(shape) => Self::Dlcm(DlcmModel::new(shape, &mut init)),
        }
    }

    /// Computes in another precision from here on; a new network's is single.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        match &mut self {
            Self::Dense(model) => model.set_precision(precision),
            Self::Dlcm(model) => model.set_precision(precision),
        }
        self
    }

    /// Computes logits before the output multiplier, and what the segmentation did.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len] → [batch · seq_len, vocab].
    pub fn forward(
        &self,
        tokens: Tensor<2, Int>,
        decision: &Decision,
        gradient: BoundaryGradient,
    ) -> (Tensor<2>, Option<Boundaries>) {
        match self {
            Self::Dense(model) => (model.forward(tokens), None),
            Self::Dlcm(model) => {
                let (logits, boundaries) = model.forward(tokens, decision, gradient);
                (logits, Some(boundaries))
            }
        }
    }

    /// Computes the root mean square of the activations at every site.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len]; `output_multiplier` is that of Eq. 21.
    pub fn activation_sizes(
        &self,
        tokens: Tensor<2, Int>,
        decision: &Decision,
        output_multiplier: f64,
    ) -> BTreeMap<Site, f64> {
        let mut sizes = BTreeMap::new();
        let logits = {
            let mut observe = |site, x: &Tensor<3>| {
                sizes.insert(site, root_mean_square(x.clone()));
            };
            match self {
                Self::Dense(model) => model.observed(tokens, &mut observe),
                Self::Dlcm(model) => {
                    let gradient = BoundaryGradient::Detached;
                    model.observed(tokens, decision, gradient, &mut observe).0
                }
            }
        };
        let size = output_multiplier * root_mean_square(logits);
        sizes.insert(Site::Logits, size);
        sizes
    }

    /// Decides boundaries without running the rest of the network; `None` for a dense model.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len].
    pub fn segment(
        &self,
        tokens: Tensor<2, Int>,
        decision: &Decision,
        gradient: BoundaryGradient,
    ) -> Option<Boundaries> {
        match self {
            Self::Dense(_) => None,
            Self::Dlcm(model) => Some(model.encode(tokens, decision, gradient).1),
        }
    }
}

fn root_mean_square<const D: usize>(x: Tensor<D>) -> f64 {
    let elements = x.shape().num_elements();
    (ops::sum_of_squares(vec![x.reshape([elements])]) / elements as f64).sqrt()
}

/// Finds the muP group of a weight from its plain name and its rank.
///
/// A matrix belongs to the width of the vector it reads.
pub fn group_of(name: &str, rank: usize) -> Group {
    if rank < 2 || name.starts_with("embedding.") || name.starts_with("unembedding.") {
        return Group::Other;
    }
    let reads_concepts = name.starts_with("backbone.")
        || matches!(name, "cross_attention.key" | "cross_attention.value");
    if reads_concepts {
        Group::Concept
    } else {
        Group::Token
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::solver::ShapeSettings;

    #[test]
    fn parameters_are_those_the_architecture_counts() {
        let settings = ShapeSettings::default();
        for architecture in [
            settings
                .solve_dlcm(200_000, 0.5, 4.0, 256)
                .expect("solvable"),
            settings.solve_dense(150_000, 256).expect("solvable"),
        ] {
            let network = Network::new(&architecture, 0, &crate::model::device::for_tests());
            let counts = architecture.params();
            assert_eq!(network.num_params() as u64, counts.total());
            let weights = network.weights();
            let elements = |weight: &HostTensor| weight.shape().iter().product::<usize>() as u64;
            let component = |prefixes: &[&str]| -> u64 {
                let found = weights.iter().filter(|(name, _)| {
                    prefixes.iter().any(|prefix| {
                        name.split('.').next() == Some(prefix) || name.as_str() == *prefix
                    })
                });
                found.map(|(_, weight)| elements(weight)).sum()
            };
            assert_eq!(component(&["embedding"]), counts.embedding);
            assert_eq!(component(&["unembedding"]), counts.unembedding);
            if !architecture.is_dense() {
                let backbone_norm = elements(&weights["backbone.norm"]);
                assert_eq!(component(&["encoder"]), counts.encoder);
                assert_eq!(component(&["boundary"]), counts.boundary);
                assert_eq!(component(&["up_projection"]), counts.up_projection);
                assert_eq!(component(&["backbone"]) - backbone_norm, counts.backbone);
                assert_eq!(
                    component(&["smoothing", "start"]) + backbone_norm,
                    counts.smoothing
                );
                assert_eq!(component(&["cross_attention"]), counts.cross_attention);
                assert_eq!(component(&["decoder"]), counts.decoder);
            }
        }
    }

    #[test]
    fn groups_follow_the_vector_a_matrix_reads() {
        for (name, rank, group) in [
            ("embedding.table", 2, Group::Other),
            ("unembedding.matrix", 2, Group::Other),
            ("encoder.blocks.0.query", 2, Group::Token),
            ("encoder.norm", 1, Group::Other),
            ("boundary.query", 2, Group::Token),
            ("up_projection", 2, Group::Token),
            ("backbone.blocks.1.down", 2, Group::Concept),
            ("cross_attention.key", 2, Group::Concept),
            ("cross_attention.query", 2, Group::Token),
            ("smoothing", 1, Group::Other),
        ] {
            assert_eq!(group_of(name, rank), group, "{name}");
        }
    }
}
