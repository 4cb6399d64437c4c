//! How likely a run finds texts that follow others.

use super::{InferenceError, Trained};
use burn::tensor::{Int, Tensor, TensorData};
use experiment::recipe::BoundaryGradient;
use experiment::tasks::Candidate;
use network::ops;

/// Numbers of logits that a forward pass may make: 256 MB.
const LOGITS: usize = 1 << 26;
/// Tokens in a forward pass, at most.
const TOKENS: usize = 8192;

/// What a run makes of a continuation.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Scored {
    /// Sum of the logarithms of its tokens' probabilities, nats.
    pub log_likelihood: f64,
    /// Tokens of the continuation.
    pub tokens: usize,
    /// UTF-8 bytes of the continuation, with the spaces before it.
    pub bytes: usize,
    /// Whether each of its tokens is the likeliest there.
    pub is_greedy: bool,
    /// Tokens on the left that did not fit into the run's `seq_len`.
    pub truncated: usize,
}

/// A sequence, and which of its tokens are scored.
#[derive(Clone, Debug, PartialEq)]
struct Sequence {
    ids: Vec<u32>,
    /// The first token that is scored.
    from: usize,
    bytes: usize,
    truncated: usize,
}

/// Moves the spaces at the end of a context to what follows: tokenizers put them there, and their bytes are predicted
/// there.
fn split(candidate: &Candidate) -> (&str, String) {
    let context = candidate.context.trim_end();
    let spaces = &candidate.context[context.len()..];
    (context, format!("{spaces}{}", candidate.continuation))
}

impl Trained {
    /// Scores what follows contexts: each text as a whole, in one strictly causal pass.
    ///
    /// A text is encoded as a whole and divided after its context's own tokens. Of one longer than `seq_len` the left
    /// end is left out.
    ///
    /// # Errors
    /// When a text has no tokens in this run's vocabulary, or nothing stands before what is scored.
    pub fn score(
        &self,
        candidates: &[Candidate],
        alive: &dyn Fn(usize),
    ) -> Result<Vec<Scored>, InferenceError> {
        let sequences = candidates.iter().map(|candidate| self.sequence(candidate));
        let sequences: Vec<Sequence> = sequences.collect::<Result<_, _>>()?;
        // Those of a length together: what is added to the right changes nothing, but takes time.
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&place| (std::cmp::Reverse(sequences[place].ids.len()), place));
        let most = (LOGITS / self.spec.architecture.vocab()).clamp(1, TOKENS);
        let mut scored: Vec<Option<Scored>> = vec![None; sequences.len()];
        let mut left = order.as_slice();
        while let Some(&longest) = left.first() {
            alive(sequences.len() - left.len());
            let length = sequences[longest].ids.len() - 1;
            let (now, later) = left.split_at((most / length).clamp(1, left.len()));
            let batch: Vec<&Sequence> = now.iter().map(|&place| &sequences[place]).collect();
            for (&place, found) in now.iter().zip(self.score_batch(&batch, length)) {
                scored[place] = Some(found);
            }
            left = later;
        }
        Ok(scored.into_iter().flatten().collect())
    }

    fn sequence(&self, candidate: &Candidate) -> Result<Sequence, InferenceError> {
        let (context, continuation) = split(candidate);
        if context.is_empty() {
            return Err(InferenceError::NoContext(candidate.continuation.clone()));
        }
        let before = self.encode(context)?.len();
        let mut ids = self.encode(&format!("{context}{continuation}"))?;
        if ids.len() < 2 {
            // A tokenizer may make one token of the context and what follows.
            return Err(InferenceError::NoContext(candidate.continuation.clone()));
        }
        let from = before.clamp(1, ids.len() - 1);
        let truncated = ids
            .len()
            .saturating_sub(self.spec.architecture.seq_len() + 1);
        ids.drain(..truncated);
        Ok(Sequence {
            from: from.saturating_sub(truncated).max(1),
            bytes: continuation.len(),
            truncated,
            ids,
        })
    }

    /// Scores sequences of at most `length` tokens and one, the longest first.
    fn score_batch(&self, sequences: &[&Sequence], length: usize) -> Vec<Scored> {
        let rows = sequences.len();
        let padded = |from: usize| -> Vec<i32> {
            let row = |sequence: &&Sequence| {
                let mut row: Vec<i32> = sequence.ids[from..].iter().map(|&id| id as i32).collect();
                row.resize(length, 0);
                row
            };
            sequences.iter().flat_map(row).collect()
        };
        let inputs = TensorData::new(padded(0), [rows, length]);
        let inputs = Tensor::<2, Int>::from_data(inputs, &self.device);
        let targets = padded(1);
        let decision = self.placement().decision(0..rows as u64, length);
        let gradient = BoundaryGradient::Detached;
        let (logits, _) = self.network.forward(inputs, &decision, gradient);
        let likeliest = logits.clone().argmax(1).into_data();
        let likeliest: Vec<i64> = likeliest.iter::<i64>().collect();
        let on_device = TensorData::new(targets.clone(), [rows * length]);
        let on_device = Tensor::<1, Int>::from_data(on_device, &self.device);
        let losses = ops::cross_entropy(logits, self.output_multiplier(), on_device).into_data();
        let losses: Vec<f32> = losses.iter::<f32>().collect();
        let score = |(row, sequence): (usize, &&Sequence)| {
            let scored = row * length + sequence.from - 1..row * length + sequence.ids.len() - 1;
            let is_likeliest = |at: usize| likeliest[at] == i64::from(targets[at]);
            Scored {
                log_likelihood: -losses[scored.clone()]
                    .iter()
                    .map(|&loss| f64::from(loss))
                    .sum::<f64>(),
                tokens: scored.len(),
                bytes: sequence.bytes,
                is_greedy: scored.clone().all(is_likeliest),
                truncated: sequence.truncated,
            }
        };
        sequences.iter().enumerate().map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_at_the_end_of_a_context_belong_to_what_follows() {
        let candidate = |context: &str, continuation: &str| Candidate {
            context: context.into(),
            continuation: continuation.into(),
        };
        assert_eq!(split(&candidate("a b ", "c")), ("a b", " c".into()));
        assert_eq!(split(&candidate("a\n\n", " c")), ("a", "\n\n c".into()));
        assert_eq!(split(&candidate("ä", "ö")), ("ä", "ö".into()));
        assert_eq!(split(&candidate("  ", "c")), ("", "  c".into()));
    }
}
