//! What a run makes of given tokens.

use super::{InferenceError, Trained};
use burn::tensor::{Int, Tensor, TensorData};
use experiment::recipe::BoundaryGradient;
use network::{Boundaries, ops};
use std::f64::consts::LN_2;

/// Windows in one forward pass.
const ROWS: usize = 8;

/// What a run makes of each token, in evaluation mode.
///
/// Tokens are read in windows of the run's `seq_len`, as in validation. A window starts afresh:
/// its first token has position 0 and starts a concept (p = 1) whatever comes before. The loss of
/// that token, though, is its prediction at the end of the window before; only the very first
/// token is predicted by nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The tokens.
    pub tokens: Vec<u32>,
    /// Tokens in a window.
    pub window: usize,
    /// Their boundaries; `None` for a dense model.
    pub segmentation: Option<Segmentation>,
    /// Loss of predicting each token but the first from those before it, nats.
    pub losses: Vec<f32>,
}

/// Where concepts start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segmentation {
    /// p of each token.
    pub probabilities: Vec<f32>,
    /// Whether each token starts a concept.
    pub boundaries: Vec<bool>,
}

/// A reading in a few numbers.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Totals {
    /// Tokens read.
    pub tokens: usize,
    /// Concepts; `None` for a dense model.
    pub concepts: Option<usize>,
    /// Tokens per concept; `None` for a dense model.
    pub tokens_per_concept: Option<f64>,
    /// Mean loss over all tokens but the first, nats; `None` when there is only one.
    pub loss: Option<f64>,
    /// The loss in bits per UTF-8 byte; `None` where tokens have no text.
    pub bits_per_byte: Option<f64>,
    /// UTF-8 bytes a token; `None` where tokens have no text.
    pub bytes_per_token: Option<f64>,
}

impl Segmentation {
    /// Numbers the concept of each token, from 0.
    pub fn concepts(&self) -> Vec<usize> {
        let mut started = 0;
        let index = self.boundaries.iter().map(|&starts| {
            started += usize::from(starts);
            // The first token starts a concept.
            started - 1
        });
        index.collect()
    }

    /// Counts the concepts.
    pub fn count(&self) -> usize {
        self.boundaries.iter().filter(|&&starts| starts).count()
    }

    fn extend(&mut self, boundaries: Boundaries) {
        self.probabilities.extend(boundaries.probabilities);
        self.boundaries.extend(boundaries.decided);
    }
}

impl Reading {
    /// Sums up; `bytes` is the length of the text, where there is one.
    pub fn totals(&self, bytes: Option<f64>) -> Totals {
        let tokens = self.tokens.len();
        let concepts = self.segmentation.as_ref().map(Segmentation::count);
        let sum = self.losses.iter().map(|&loss| f64::from(loss)).sum::<f64>();
        let loss = (!self.losses.is_empty()).then(|| sum / self.losses.len() as f64);
        let bytes_per_token = bytes.map(|bytes| bytes / tokens as f64);
        Totals {
            tokens,
            concepts,
            tokens_per_concept: concepts.map(|concepts| tokens as f64 / concepts as f64),
            loss,
            bits_per_byte: loss
                .zip(bytes_per_token)
                .map(|(loss, each)| loss / LN_2 / each),
            bytes_per_token,
        }
    }
}

impl Trained {
    /// Reads tokens.
    ///
    /// # Errors
    /// When there are none, or one is outside the vocabulary.
    pub fn read(&self, tokens: &[u32]) -> Result<Reading, InferenceError> {
        self.read_while(tokens, &|_| true)
    }

    /// Does the same; `goes_on` is told how many tokens are read and says whether to go on.
    ///
    /// # Errors
    /// As [`Trained::read`], and when it is not to go on.
    pub fn read_while(
        &self,
        tokens: &[u32],
        goes_on: &dyn Fn(usize) -> bool,
    ) -> Result<Reading, InferenceError> {
        self.check(tokens)?;
        let window = self.spec.architecture.seq_len();
        let mut reading = Reading {
            tokens: tokens.to_vec(),
            window,
            segmentation: (self.spec.architecture.has_concepts()).then(Segmentation::default),
            losses: Vec::with_capacity(tokens.len()),
        };
        let (whole, rest) = tokens.split_at(tokens.len() / window * window);
        for rows in whole.chunks(window * ROWS) {
            if !goes_on(reading.losses.len()) {
                return Err(InferenceError::Stopped);
            }
            self.pass(rows, window, &mut reading);
        }
        if !rest.is_empty() {
            self.pass(rest, rest.len(), &mut reading);
        }
        // After the last token comes nothing that could be predicted.
        reading.losses.pop();
        Ok(reading)
    }

    /// Reads the next rows of `length` tokens.
    fn pass(&self, rows: &[u32], length: usize, reading: &mut Reading) {
        let ids = |tokens: &[u32]| tokens.iter().map(|&token| token as i32).collect::<Vec<_>>();
        let start = reading.losses.len();
        let end = (start + rows.len() + 1).min(reading.tokens.len());
        let mut targets = ids(&reading.tokens[start + 1..end]);
        // The loss of what stands in for the token after the last is dropped.
        targets.resize(rows.len(), 0);
        let inputs = TensorData::new(ids(rows), [rows.len() / length, length]);
        let inputs = Tensor::<2, Int>::from_data(inputs, &self.device);
        let targets = TensorData::new(targets, [rows.len()]);
        let targets = Tensor::<1, Int>::from_data(targets, &self.device);
        let first = (start / length) as u64;
        let sequences = first..first + (rows.len() / length) as u64;
        let decision = self.placement().decision(sequences, length);
        let (logits, boundaries) =
            self.network
                .forward(inputs, &decision, BoundaryGradient::Detached);
        let losses = ops::cross_entropy(logits, self.output_multiplier(), targets);
        reading.losses.extend(losses.into_data().iter::<f32>());
        if let (Some(segmentation), Some(boundaries)) = (&mut reading.segmentation, boundaries) {
            segmentation.extend(boundaries);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_say_what_is_not_known() {
        let mut reading = Reading {
            tokens: vec![1, 2, 3, 4],
            window: 8,
            segmentation: Some(Segmentation {
                probabilities: vec![1.0, 0.1, 0.9, 0.2],
                boundaries: vec![true, false, true, false],
            }),
            losses: vec![1.0, 2.0, 3.0],
        };
        let totals = reading.totals(Some(8.0));
        assert_eq!(
            (totals.concepts, totals.tokens_per_concept),
            (Some(2), Some(2.0))
        );
        assert_eq!(totals.loss, Some(2.0));
        assert_eq!(totals.bits_per_byte, Some(2.0 / LN_2 / 2.0));
        let concepts = reading.segmentation.as_ref().map(Segmentation::concepts);
        assert_eq!(concepts, Some(vec![0, 0, 1, 1]));

        reading.segmentation = None;
        reading.losses.clear();
        let totals = reading.totals(None);
        assert_eq!((totals.concepts, totals.loss), (None, None));
        assert_eq!((totals.bits_per_byte, totals.bytes_per_token), (None, None));
    }
}
