//! The dynamic large concept model: encode, segment, pool, reason, smooth, decode.
//!
//! # Source
//! DLCM, arXiv 2512.24617, section 2. Different here: concepts are shifted by one, so that a token
//! reads only concepts that ended before its own began. The paper lets it read its own concept,
//! which holds later tokens.

use super::block::Blocks;
use super::boundary::{BoundaryPredictor, Segmentation};
use super::cross_attention::CrossAttention;
use super::decision::{Decision, Placement};
use super::decode::Boundary;
use super::embedding::{Embedding, Unembedding};
use super::flop_count::FlopCount;
use super::init::Initializer;
use super::observe::{Observer, Site};
use super::ops::{self, KeyValues};
use super::prefixes::Layout;
use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{DType, Int, Tensor};
use experiment::architecture::{Causality, Dlcm, Pooling, Window};
use experiment::recipe::{BoundaryGradient, Precision};

/// Standard deviation of the initial start vector, that of a normed concept.
const START_DEVIATION: f64 = 1.0;

/// A dynamic large concept model.
#[derive(Module, Debug)]
pub struct DlcmModel {
    embedding: Embedding,
    encoder: Blocks,
    /// `None` where boundaries are not learned.
    boundary: Option<BoundaryPredictor>,
    up_projection: Param<Tensor<2>>,
    backbone: Blocks,
    smoothing: Param<Tensor<1>>,
    /// What a token reads that has no concept before it; `None` where it reads its own.
    start: Option<Param<Tensor<1>>>,
    cross_attention: CrossAttention,
    decoder: Blocks,
    unembedding: Unembedding,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    causal: Causality,
}

/// What the segmentation did.
#[derive(Clone, Debug)]
pub struct Boundaries {
    /// p, [batch, seq_len], attached to the graph that trains W_q and W_k; 0 without them.
    pub probability: Tensor<2>,
    /// The same numbers on the host, row by row.
    pub probabilities: Vec<f32>,
    /// b, row by row.
    pub decided: Vec<bool>,
}

impl Boundaries {
    /// Reads probabilities [batch, seq_len] from the device and decides.
    pub fn decide(probability: Tensor<2>, decision: &Decision) -> Self {
        let [_, seq_len] = probability.dims();
        let read = probability.clone().inner().into_data();
        let probabilities: Vec<f32> = read.iter::<f32>().collect();
        let decided = decision.decide(&probabilities, seq_len);
        Self {
            probability,
            probabilities,
            decided,
        }
    }

    /// Counts the concepts.
    pub fn concepts(&self) -> usize {
        self.decided.iter().filter(|&&boundary| boundary).count()
    }
}

/// What a DLCM remembers of the tokens before, one sequence's.
#[derive(Debug)]
pub(crate) struct Memory {
    encoder: Vec<KeyValues>,
    /// The boundary predictor's query of the token before.
    query: Option<Tensor<3>>,
    /// Tokens so far.
    tokens: usize,
    /// The sum of the open concept's tokens, and how many they are; `None` where a concept is made
    /// of its first token.
    open: Option<(Tensor<3>, f32)>,
    backbone: Vec<KeyValues>,
    /// The newest concept before smoothing.
    z: Option<Tensor<3>>,
    slots: KeyValues,
    decoder: Vec<KeyValues>,
}

impl DlcmModel {
    pub(crate) fn new(shape: &Dlcm, init: &mut Initializer) -> Self {
        let d_token = shape.encoder.width;
        let d_concept = shape.backbone.width;
        Self {
            embedding: Embedding::new(shape.vocab, d_token, init),
            encoder: Blocks::new(&shape.encoder, shape.token_window, init),
            boundary: (shape.boundaries.is_learned())
                .then(|| BoundaryPredictor::new(d_token, init)),
            up_projection: init.matrix(d_token, d_concept, 1.0),
            backbone: Blocks::new(&shape.backbone, Window::Full, init),
            // sigmoid(2) = 0.88: mostly the concept itself to begin with.
            smoothing: init.constant(d_concept, 2.0),
            start: (shape.has_start()).then(|| init.vector(d_concept, START_DEVIATION)),
            cross_attention: CrossAttention::new(&shape.decoder, d_concept, init),
            decoder: Blocks::new(&shape.decoder, shape.token_window, init),
            unembedding: Unembedding::new(shape.vocab, d_token, init),
            pooling: shape.pooling,
            causal: shape.causal,
        }
    }

    pub(crate) fn set_precision(&mut self, precision: Precision) {
        self.embedding.set_precision(precision);
    }

    /// Returns what concepts are made of.
    pub(crate) fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Runs the encoder and the boundary predictor; p is 0 without one.
    ///
    /// # Shapes
    /// `tokens` [batch, seq_len] and h [batch, seq_len, d_token], or as the layout says; p [batch, seq_len].
    pub(crate) fn encode(
        &self,
        tokens: Tensor<2, Int>,
        layout: &Layout,
        gradient: BoundaryGradient,
        observe: &mut Observer<'_>,
    ) -> (Tensor<3>, Tensor<2>) {
        let x = self.embedding.forward(tokens);
        let h = (self.encoder).forward(x, layout, |x| observe(Site::Encoder, x));
        let probability = match &self.boundary {
            Some(predictor) => predictor.forward(h.clone(), layout, gradient),
            None => {
                let [batch, seq_len] = layout.rows(&h);
                Tensor::zeros([batch, seq_len], (&h.device(), DType::F32))
            }
        };
        (h, probability)
    }

    /// Computes what logits are made from out of what [`Self::encode`] gave.
    ///
    /// # Shapes
    /// h [batch, seq_len, d_token], or as the layout of tokens says, in and out.
    pub(crate) fn decode(
        &self,
        h: Tensor<3>,
        probability: Tensor<2>,
        segmentation: &Segmentation,
        (layout, concepts): (&Layout, &Layout),
        gradient: BoundaryGradient,
        observe: &mut Observer<'_>,
    ) -> Tensor<3> {
        let segments = &segmentation.segments;
        let confidence = (segmentation.starts.as_ref())
            .filter(|_| gradient == BoundaryGradient::LanguageModel && self.boundary.is_some())
            .map(|starts| confidence(probability, starts.clone()));
        let rows = layout.spread(h.clone());
        let slots = self.reason(rows, segmentation, concepts, confidence, observe);
        let read = (self.cross_attention).forward(h.clone(), layout, slots, segments);
        observe(Site::CrossAttention, &read);
        (self.decoder).forward(h + read, layout, |x| observe(Site::Decoder, x))
    }

    pub(crate) fn unembedding(&self) -> &Unembedding {
        &self.unembedding
    }

    /// Pools tokens into concepts, runs the backbone and smooths; each concept is multiplied by its
    /// confidence if there is one. Slot m is what a token of segment m is the first to read: the
    /// concept before, after the start vector, or its own where that is made of its first token.
    ///
    /// # Shapes
    /// [batch, seq_len, d_token] → [batch, concepts, d_concept]; `confidence` [batch, concepts, 1].
    fn reason(
        &self,
        h: Tensor<3>,
        segmentation: &Segmentation,
        layout: &Layout,
        confidence: Option<Tensor<3>>,
        observe: &mut Observer<'_>,
    ) -> Tensor<3> {
        let [batch, _, d_token] = h.dims();
        let segments = &segmentation.segments;
        let h_type = h.dtype();
        let start = self.start.as_ref().map(|start| {
            let start = start.val();
            let [d_concept] = start.dims();
            let start = start.reshape([1, 1, d_concept]).repeat_dim(0, batch);
            start.cast(h_type)
        });
        let (pooled, read) = match (&start, &segmentation.starts) {
            // The only concept of each row is still open everywhere: nobody may read it.
            (Some(start), _) if segments.concepts == 1 => return start.clone(),
            // The last slot's concept is read by no token, so the backbone runs on the others only.
            (Some(_), _) => {
                let read = segments.concepts - 1;
                (ops::segment_mean(h, segments).narrow(1, 0, read), read)
            }
            // The paper's mask: a token reads its own concept, and what comes later in it.
            (None, _) if self.pooling == Pooling::Mean => {
                (ops::segment_mean(h, segments), segments.concepts)
            }
            (None, Some(starts)) => {
                let [_, concepts] = starts.dims();
                let starts = starts.clone().reshape([batch, concepts, 1]);
                (h.gather(1, starts.repeat_dim(2, d_token)), concepts)
            }
            (None, None) => unreachable!("concepts of first tokens are told which those are"),
        };
        let concepts = ops::linear(layout.collect(pooled), self.up_projection.val());
        let z = (self.backbone).forward(concepts, layout, |x| observe(Site::Backbone, x));
        let z = layout.spread(z);
        let z = match confidence {
            Some(confidence) => self.smooth(z) * confidence.narrow(1, 0, read).cast(h_type),
            None => self.smooth(z),
        };
        match start {
            Some(start) => Tensor::cat(vec![start, z], 1),
            None => z,
        }
    }

    /// Computes z̃_k = g ⊙ z_k + (1 − g) ⊙ z_{k−1} (Eq. 11); the first concept stays as it is.
    fn smooth(&self, z: Tensor<3>) -> Tensor<3> {
        let [_, concepts, d_concept] = z.dims();
        if concepts == 1 {
            return z;
        }
        let gate = sigmoid(self.smoothing.val())
            .reshape([1, 1, d_concept])
            .cast(z.dtype());
        let first = z.clone().narrow(1, 0, 1);
        let before = z.clone().narrow(1, 0, concepts - 1);
        let current = z.narrow(1, 1, concepts - 1);
        let mixed = before.clone() + (current - before) * gate;
        Tensor::cat(vec![first, mixed], 1)
    }

    /// Makes what [`Self::step`] remembers.
    pub(crate) fn memory(&self) -> Memory {
        assert!(
            self.causal.is_strict(),
            "what a token reads is not there yet when it comes"
        );
        Memory {
            encoder: self.encoder.memory(),
            query: None,
            tokens: 0,
            open: None,
            backbone: self.backbone.memory(),
            z: None,
            slots: self.cross_attention.memory(),
            decoder: self.decoder.memory(),
        }
    }

    /// Computes the logits after the next token alone; `memory` holds those before it.
    ///
    /// The backbone runs only when the token starts a concept: on the one that it ends, or on its own
    /// where that is made of its first token.
    ///
    /// # Shapes
    /// `token` [1, 1] → [1, vocab].
    pub(crate) fn step(
        &self,
        token: Tensor<2, Int>,
        (placement, seq_len): (&Placement, usize),
        memory: &mut Memory,
        flops: &FlopCount,
    ) -> (Tensor<2>, Boundary) {
        let x = self.embedding.forward(token);
        let h = self.encoder.step(x, &mut memory.encoder, flops);
        let probability = match &self.boundary {
            Some(predictor) => predictor.step(h.clone(), &mut memory.query, flops),
            None => 0.0,
        };
        let boundary = Boundary {
            probability,
            decided: placement.starts(memory.tokens, seq_len, probability),
        };
        memory.tokens += 1;
        let slot = match (&self.start, memory.open.take()) {
            (None, _) => boundary
                .decided
                .then(|| self.conclude(h.clone(), memory, flops)),
            (Some(_), Some((sum, tokens))) if !boundary.decided => {
                memory.open = Some((sum + h.clone(), tokens + 1.0));
                None
            }
            (Some(start), ended) => {
                memory.open = Some((h.clone(), 1.0));
                Some(match ended {
                    Some((sum, tokens)) => self.conclude(sum / tokens, memory, flops),
                    None => start.val().unsqueeze().cast(h.dtype()),
                })
            }
        };
        match slot {
            Some(slot) => self.cross_attention.push(slot, &mut memory.slots, flops),
            None => memory.slots.repeat(),
        }
        let h = h.clone() + self.cross_attention.step(h, &memory.slots, flops);
        let h = self.decoder.step(h, &mut memory.decoder, flops);
        (self.unembedding.forward(h, flops), boundary)
    }

    /// Runs the backbone on the concept of a pooled segment, and smooths.
    ///
    /// # Shapes
    /// [1, 1, d_token] → [1, 1, d_concept].
    fn conclude(&self, pooled: Tensor<3>, memory: &mut Memory, flops: &FlopCount) -> Tensor<3> {
        let concept = flops.linear(pooled, &self.up_projection);
        let z = self.backbone.step(concept, &mut memory.backbone, flops);
        match memory.z.replace(z.clone()) {
            None => z,
            Some(before) => self.smooth(Tensor::cat(vec![before, z], 1)).narrow(1, 1, 1),
        }
    }
}

/// Computes 1 for every concept, with the gradient of the probability that it starts: what the
/// cross-entropy wants of a concept becomes what it wants of its boundary.
///
/// # Shapes
/// `probability` [batch, seq_len], `starts` [batch, concepts] → [batch, concepts, 1].
fn confidence(probability: Tensor<2>, starts: Tensor<2, Int>) -> Tensor<3> {
    let [batch, concepts] = starts.dims();
    let chosen = probability.gather(1, starts);
    let confidence = chosen.clone() - chosen.detach() + 1.0;
    confidence.reshape([batch, concepts, 1])
}
