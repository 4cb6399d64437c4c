//! The burn networks: the hierarchical token/concept model and the dense baseline.
//!
//! Owns tensors and weights; refuses files and SQL. Equations are those of DLCM,
//! arXiv 2512.24617.

mod block;
pub mod boundary;
pub mod causality;
pub mod compute;
mod cross_attention;
pub mod decision;
pub mod decode;
mod dense;
pub mod device;
mod dlcm;
mod embedding;
mod flop_count;
mod init;
mod observe;
pub mod ops;
pub mod prefixes;
mod token_only;
mod weights;

pub use block::{Block, Blocks};
pub use boundary::{BoundaryPredictor, RecentProbabilities, Segmentation};
pub use cross_attention::CrossAttention;
pub use decision::{Decision, Placement};
pub use decode::Decoder;
pub use dense::DenseModel;
pub use dlcm::{Boundaries, DlcmModel};
pub use embedding::{Embedding, Unembedding, compute_type};
pub use observe::Site;
pub use token_only::TokenOnlyModel;
pub use weights::{HostTensor, HostTensors, plain_name};

use boundary::needs_starts;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use experiment::architecture::Architecture;
use experiment::recipe::{BoundaryGradient, Group, Precision};
use flop_count::FlopCount;
use init::Initializer;
use observe::Observer;
use prefixes::{Layout, Prefixes};
use std::collections::BTreeMap;

/// A network of any kind.
// A process holds one: its size in place does not matter.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Network {
    /// A dense baseline.
    Dense(DenseModel),
    /// A hierarchical model.
    Dlcm(DlcmModel),
    /// The token level of one alone.
    TokenOnly(TokenOnlyModel),
}

impl Network {
    /// Builds a network with initial weights drawn from `seed`.
    pub fn new(architecture: &Architecture, seed: u64, device: &Device) -> Self {
        let mut init = Initializer::new(seed, device);
        match architecture {
            Architecture::Dense(shape) => Self::Dense(DenseModel::new(shape, &mut init)),
            Architecture::Dlcm(shape) => Self::Dlcm(DlcmModel::new(shape, &mut init)),
            Architecture::TokenOnly(shape) => {
                Self::TokenOnly(TokenOnlyModel::new(shape, &mut init))
            }
        }
    }

    /// Computes in another precision from here on; a new network's is single.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        match &mut self {
            Self::Dense(model) => model.set_precision(precision),
            Self::Dlcm(model) => model.set_precision(precision),
            Self::TokenOnly(model) => model.set_precision(precision),
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
        self.observed(tokens, decision, gradient, &mut |_, _| {})
    }

    /// Does what [`Self::forward`] does and shows the residual streams on the way.
    fn observed(
        &self,
        tokens: Tensor<2, Int>,
        decision: &Decision,
        gradient: BoundaryGradient,
        observe: &mut Observer<'_>,
    ) -> (Tensor<2>, Option<Boundaries>) {
        let encoded = self.encode_observed(tokens, &Layout::Rows, gradient, observe);
        let boundaries = encoded
            .probability
            .clone()
            .map(|probability| Boundaries::decide(probability, decision));
        let segmentation = boundaries.as_ref().map(|boundaries| {
            let [_, seq_len, _] = encoded.h.dims();
            let with_starts = self.needs_starts(gradient);
            Segmentation::new(
                &boundaries.decided,
                seq_len,
                with_starts,
                &encoded.h.device(),
            )
        });
        let layouts = (&Layout::Rows, &Layout::Rows);
        let h = self.decode_observed(encoded, segmentation.as_ref(), layouts, gradient, observe);
        (self.unembed(h), boundaries)
    }

    /// Computes logits before the output multiplier of rows that share beginnings, after the tokens that
    /// are `read`, as [`Self::forward`] does with detached boundaries.
    ///
    /// # Shapes
    /// `decision` is on [rows, length]; `read` places of [`Prefixes::at`] → [read, vocab].
    pub fn forward_sharing(
        &self,
        prefixes: &Prefixes,
        decision: &Decision,
        read: &[usize],
        device: &Device,
    ) -> Tensor<2> {
        let gradient = BoundaryGradient::Detached;
        let observe: &mut Observer<'_> = &mut |_, _| {};
        let layout = prefixes.layout(device);
        let tokens = prefixes.to_device(device);
        let encoded = self.encode_observed(tokens, &layout, gradient, observe);
        let mut concepts = Layout::Rows;
        let segmentation = encoded.probability.clone().map(|probability| {
            let mut decided = Boundaries::decide(probability, decision).decided;
            prefixes.end_rows(&mut decided);
            // Concepts of first tokens are those whose starts are read.
            let by_first = self.needs_starts(gradient);
            let segmentation = Segmentation::new(&decided, prefixes.length(), by_first, device);
            let room = segmentation.segments.concepts - usize::from(!by_first);
            concepts = prefixes.concepts(&decided, by_first, room, device);
            segmentation
        });
        let layouts = (&layout, &concepts);
        let h = self.decode_observed(encoded, segmentation.as_ref(), layouts, gradient, observe);
        self.unembed(h.select(1, prefixes::ints(read, device)))
    }

    fn unembed(&self, h: Tensor<3>) -> Tensor<2> {
        let unembedding = match self {
            Self::Dense(model) => model.unembedding(),
            Self::Dlcm(model) => model.unembedding(),
            Self::TokenOnly(model) => model.unembedding(),
        };
        unembedding.forward(h, &FlopCount::default())
    }

    /// Says whether [`Self::decode`] reads the first tokens of segments by themselves.
    pub fn needs_starts(&self, gradient: BoundaryGradient) -> bool {
        match self {
            Self::Dlcm(model) => needs_starts(model.pooling(), gradient),
            Self::Dense(_) | Self::TokenOnly(_) => false,
        }
    }

    /// Does the part of [`Self::forward`] that comes before boundaries are decided.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len].
    pub fn encode(&self, tokens: Tensor<2, Int>, gradient: BoundaryGradient) -> Encoded {
        self.encode_observed(tokens, &Layout::Rows, gradient, &mut |_, _| {})
    }

    fn encode_observed(
        &self,
        tokens: Tensor<2, Int>,
        layout: &Layout,
        gradient: BoundaryGradient,
        observe: &mut Observer<'_>,
    ) -> Encoded {
        match self {
            Self::Dense(model) => Encoded {
                h: model.encode(tokens),
                probability: None,
            },
            Self::TokenOnly(model) => Encoded {
                h: model.encode(tokens, layout, observe),
                probability: None,
            },
            Self::Dlcm(model) => {
                let (h, probability) = model.encode(tokens, layout, gradient, observe);
                Encoded {
                    h,
                    probability: Some(probability),
                }
            }
        }
    }

    /// Does the part that comes after; a model without concepts has no segmentation.
    ///
    /// # Shapes
    /// [batch · seq_len, vocab].
    pub fn decode(
        &self,
        encoded: Encoded,
        segmentation: Option<&Segmentation>,
        gradient: BoundaryGradient,
    ) -> Tensor<2> {
        let layouts = (&Layout::Rows, &Layout::Rows);
        let observe: &mut Observer<'_> = &mut |_, _| {};
        self.unembed(self.decode_observed(encoded, segmentation, layouts, gradient, observe))
    }

    /// Computes what logits are made from; `layouts` are those of tokens and of concepts.
    fn decode_observed(
        &self,
        Encoded { h, probability }: Encoded,
        segmentation: Option<&Segmentation>,
        layouts: (&Layout, &Layout),
        gradient: BoundaryGradient,
        observe: &mut Observer<'_>,
    ) -> Tensor<3> {
        match (self, probability, segmentation) {
            (Self::Dlcm(model), Some(probability), Some(segmentation)) => {
                model.decode(h, probability, segmentation, layouts, gradient, observe)
            }
            (Self::Dense(model), ..) => model.decode(h, layouts.0, observe),
            (Self::TokenOnly(model), ..) => model.decode(h, layouts.0, observe),
            (Self::Dlcm(_), ..) => unreachable!("a hierarchical model is decoded with segments"),
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
        let mut observe = |site, x: &Tensor<3>| {
            sizes.insert(site, root_mean_square(x.clone()));
        };
        let gradient = BoundaryGradient::Detached;
        let (logits, _) = self.observed(tokens, decision, gradient, &mut observe);
        let size = output_multiplier * root_mean_square(logits);
        sizes.insert(Site::Logits, size);
        sizes
    }

    /// Decides boundaries without running the rest of the network; `None` for a model without
    /// concepts.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len].
    pub fn segment(
        &self,
        tokens: Tensor<2, Int>,
        decision: &Decision,
        gradient: BoundaryGradient,
    ) -> Option<Boundaries> {
        let probability = self.encode(tokens, gradient).probability?;
        Some(Boundaries::decide(probability, decision))
    }
}

/// What is known of a batch before boundaries are decided.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Hidden states, [batch, seq_len, width].
    pub h: Tensor<3>,
    /// p, [batch, seq_len]; `None` in a model without concepts.
    pub probability: Option<Tensor<2>>,
}

fn root_mean_square<const D: usize>(x: Tensor<D>) -> f64 {
    let elements = x.shape().num_elements();
    ops::norm(vec![x.reshape([elements])]).read() / (elements as f64).sqrt()
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
    use experiment::architecture::solver::ShapeSettings;
    use experiment::architecture::{BoundaryRule, Dlcm, Pooling};

    #[test]
    fn parameters_are_those_the_architecture_counts() {
        let settings = ShapeSettings::default();
        let solved = [
            settings
                .solve_dlcm(200_000, 0.5, 4.0, 256)
                .expect("solvable"),
            settings.solve_dense(150_000, 256).expect("solvable"),
        ];
        let Architecture::Dlcm(dlcm) = &solved[0] else {
            unreachable!("a DLCM was asked for")
        };
        let control = Dlcm {
            boundaries: BoundaryRule::Fixed,
            pooling: Pooling::Boundary,
            ..dlcm.clone()
        };
        let token_level = dlcm.token_level();
        let others = [
            Architecture::Dlcm(control),
            Architecture::TokenOnly(token_level),
        ];
        for architecture in solved.into_iter().chain(others) {
            let network = Network::new(&architecture, 0, &crate::device::for_tests());
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
            if architecture.has_concepts() {
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
