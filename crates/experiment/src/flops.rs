//! Floating-point operations, per component and per convention.
//!
//! A multiply-add is two operations. Matrix products and attention scores are counted, exactly as
//! masked; elementwise work (norms, activations, softmax, pooling) is not, as is usual.

use crate::architecture::{Architecture, Dlcm, Stack, Window};
use serde::{Deserialize, Serialize};

/// How FLOPs are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Convention {
    /// 6·N per training token (Kaplan, Chinchilla).
    #[serde(rename = "6N")]
    SixN,
    /// 6·(N(1−P) + N·P/R) per training token.
    #[serde(rename = "6N_active")]
    SixNActive,
    /// Every component, attention scores and unembedding included; training is 3 × forward.
    #[default]
    #[serde(rename = "exact")]
    Exact,
}

/// Forward FLOPs per component, for one token on average over a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForwardFlops {
    /// Encoder blocks; all blocks of a dense model.
    pub encoder: f64,
    /// W_q, W_k and the cosine of the boundary predictor.
    pub boundary: f64,
    /// W_up, once a concept.
    pub up_projection: f64,
    /// Concept backbone, once a concept.
    pub backbone: f64,
    /// Cross-attention in its L×M form.
    pub cross_attention: f64,
    /// Decoder blocks.
    pub decoder: f64,
    /// Unembedding.
    pub unembedding: f64,
}

impl ForwardFlops {
    /// Sums the components.
    pub fn total(&self) -> f64 {
        self.encoder
            + self.boundary
            + self.up_projection
            + self.backbone
            + self.cross_attention
            + self.decoder
            + self.unembedding
    }
}

/// Counts the (query, key) pairs of causal attention over `len` positions, whole or on average.
pub fn pairs(len: f64, window: Window) -> f64 {
    match window {
        Window::Local(w) if (w as f64) < len => {
            let w = w as f64;
            w * (w + 1.0) / 2.0 + (len - w) * w
        }
        _ => len * (len + 1.0) / 2.0,
    }
}

/// Counts the forward FLOPs of a stack over a whole sequence of `len` positions.
fn stack_flops(stack: &Stack, len: f64, window: Window) -> f64 {
    let norms = 2 * stack.width as u64;
    let matrices = 2.0 * (stack.block_params() - norms) as f64 * len;
    let scores = 4.0 * pairs(len, window) * (stack.heads * stack.head_size) as f64;
    stack.layers as f64 * (matrices + scores)
}

impl Architecture {
    /// Counts the forward FLOPs for one token, on average over a full sequence, when a concept
    /// holds `realised_ratio` tokens.
    pub fn forward_flops(&self, realised_ratio: f64) -> ForwardFlops {
        match self {
            Architecture::Dense(dense) => {
                let len = dense.seq_len as f64;
                ForwardFlops {
                    encoder: stack_flops(&dense.stack, len, Window::Full) / len,
                    unembedding: 2.0 * (dense.vocab * dense.stack.width) as f64,
                    ..ForwardFlops::default()
                }
            }
            Architecture::Dlcm(dlcm) => dlcm.forward_flops(realised_ratio),
            Architecture::TokenOnly(control) => {
                let len = control.seq_len as f64;
                let stack = |stack| stack_flops(stack, len, control.token_window) / len;
                ForwardFlops {
                    encoder: stack(&control.encoder),
                    decoder: stack(&control.decoder),
                    unembedding: 2.0 * (control.vocab * control.encoder.width) as f64,
                    ..ForwardFlops::default()
                }
            }
        }
    }

    /// Counts training FLOPs per token under a convention.
    pub fn training_flops(&self, realised_ratio: f64, convention: Convention) -> f64 {
        let params = self.params();
        let n = params.non_embedding() as f64;
        match convention {
            Convention::SixN => 6.0 * n,
            Convention::SixNActive => {
                let p = params.concept_share();
                6.0 * (n * (1.0 - p) + n * p / realised_ratio)
            }
            Convention::Exact => 3.0 * self.forward_flops(realised_ratio).total(),
        }
    }
}

impl Dlcm {
    fn forward_flops(&self, realised_ratio: f64) -> ForwardFlops {
        let len = self.seq_len as f64;
        let concepts = (len / realised_ratio).max(1.0);
        let token = self.encoder.width as f64;
        let concept = self.backbone.width as f64;
        let kv_width = (self.decoder.kv_heads * self.decoder.head_size) as f64;
        // Token t sees the slots up to its own segment: (j(t) + 1) of them, (M + 1)/2 on average.
        let cross_pairs = len * (concepts + 1.0) / 2.0;
        let cross = 4.0 * len * token * token
            + 4.0 * concepts * concept * kv_width
            + 4.0 * cross_pairs * token;
        ForwardFlops {
            encoder: stack_flops(&self.encoder, len, self.token_window) / len,
            boundary: if self.boundaries.is_learned() {
                4.0 * token * token + 6.0 * token
            } else {
                0.0
            },
            up_projection: 2.0 * token * concept * concepts / len,
            backbone: stack_flops(&self.backbone, concepts, Window::Full) / len,
            cross_attention: cross / len,
            decoder: stack_flops(&self.decoder, len, self.token_window) / len,
            unembedding: 2.0 * self.vocab as f64 * token,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::solver::ShapeSettings;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_those_of_the_mask() {
        for len in 1..40usize {
            for w in 1..50usize {
                let counted: usize = (0..len).map(|t| (t + 1).min(w)).sum();
                assert_eq!(
                    pairs(len as f64, Window::Local(w)),
                    counted as f64,
                    "{len} {w}"
                );
            }
        }
    }

    #[test]
    fn a_dense_model_costs_about_6n_and_its_attention_and_unembedding() {
        let dense = ShapeSettings::default()
            .solve_dense(10_000_000, 0)
            .expect("solvable");
        let exact = dense.training_flops(1.0, Convention::Exact);
        let rule = dense.training_flops(1.0, Convention::SixN);
        assert!(exact > rule && exact < 1.3 * rule, "{exact} {rule}");
    }

    proptest! {
        #[test]
        fn flops_fall_with_r_and_grow_with_n(log_n in 5.5f64..9.0, share in 0.3f64..0.7, r in 1.0f64..32.0) {
            let settings = ShapeSettings::default();
            let solve = |n: f64| settings.solve_dlcm(n as u64, share, 4.0, 512);
            let n = 10f64.powf(log_n);
            let small = solve(n).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let large = solve(n * 2.0).map_err(|e| TestCaseError::fail(e.to_string()))?;
            for convention in [Convention::SixN, Convention::SixNActive, Convention::Exact] {
                let cost = |shape: &Architecture, r: f64| shape.training_flops(r, convention);
                prop_assert!(cost(&large, r) > cost(&small, r));
                prop_assert!(cost(&small, r * 1.5) <= cost(&small, r));
            }
        }
    }
}
