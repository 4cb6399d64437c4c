//! How likely a run finds texts that follow others.

use super::{InferenceError, Trained};
use crate::data::SEPARATOR;
use burn::tensor::{Int, Tensor, TensorData};
use experiment::architecture::{Architecture, BoundaryRule};
use experiment::recipe::BoundaryGradient;
use experiment::tasks::{Candidate, Scored};
use network::ops;

/// Numbers of logits that a forward pass may make: 256 MB.
const LOGITS: usize = 1 << 26;
/// Tokens in a forward pass, unless validation had more of them: more only leave the caches of a processor.
const TOKENS: usize = 2048;

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

/// Puts sequences into rows that are computed once: in one row are those whose tokens but the last begin its longest,
/// as choices of a single token after one context do. The longest comes first.
fn shared(sequences: &[Sequence]) -> Vec<Vec<usize>> {
    let inputs = |place: usize| {
        let ids = &sequences[place].ids;
        &ids[..ids.len() - 1]
    };
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    // Backwards, whatever goes on from a sequence comes right before it.
    order.sort_by(|&a, &b| inputs(b).cmp(inputs(a)).then(a.cmp(&b)));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for place in order {
        match rows.last_mut() {
            Some(row) if inputs(row[0]).starts_with(inputs(place)) => row.push(place),
            _ => rows.push(vec![place]),
        }
    }
    rows
}

impl Trained {
    /// Scores what follows contexts: each text as a whole, in one strictly causal pass.
    ///
    /// A text is encoded as a whole and divided after its context's own tokens. Of one longer than `seq_len` the left
    /// end is left out. `goes_on` is told how many are scored and says whether to go on.
    ///
    /// # Errors
    /// When a text has no tokens in this run's vocabulary, nothing stands before what is scored, or a probability is
    /// no number; and when it is not to go on.
    pub fn score(
        &self,
        candidates: &[Candidate],
        goes_on: &dyn Fn(usize) -> bool,
    ) -> Result<Vec<Scored>, InferenceError> {
        let sequences = candidates.iter().map(|candidate| self.sequence(candidate));
        let sequences: Vec<Sequence> = sequences.collect::<Result<_, _>>()?;
        // Those of a length together: what is added to the right changes nothing, but takes time.
        let mut rows = shared(&sequences);
        rows.sort_by_key(|uses| (std::cmp::Reverse(sequences[uses[0]].ids.len()), uses[0]));
        let validated = self.spec.execution.micro_batch * self.spec.architecture.seq_len();
        let most = (LOGITS / self.spec.architecture.vocab()).clamp(1, TOKENS.max(validated));
        // Random boundaries are drawn for each row: by its place alone a text would answer otherwise among others.
        let is_random = matches!(&self.spec.architecture, Architecture::Dlcm(shape)
            if shape.boundaries == BoundaryRule::Random);
        let most = if is_random { 1 } else { most };
        let mut scored: Vec<Option<Scored>> = vec![None; sequences.len()];
        let mut left = rows.as_slice();
        let mut done = 0;
        while let Some(longest) = left.first() {
            if !goes_on(done) {
                return Err(InferenceError::Stopped);
            }
            let length = sequences[longest[0]].ids.len() - 1;
            let (now, later) = left.split_at((most / length).clamp(1, left.len()));
            for (place, found) in self.score_batch(&sequences, now, length) {
                if !found.log_likelihood.is_finite() {
                    return Err(InferenceError::NotNumbers(sequences[place].from));
                }
                scored[place] = Some(found);
                done += 1;
            }
            left = later;
        }
        Ok(scored.into_iter().flatten().collect())
    }

    fn sequence(&self, candidate: &Candidate) -> Result<Sequence, InferenceError> {
        let (context, continuation) = split(candidate);
        let (mut ids, before) = if context.is_empty() {
            // Nothing but the end of what was before: each document begins after one.
            let separator = self.separator();
            let separator = separator
                .ok_or_else(|| InferenceError::NoContext(candidate.continuation.clone()))?;
            ([vec![separator], self.encode(&continuation)?].concat(), 1)
        } else {
            let ids = self.encode(&format!("{context}{continuation}"))?;
            (ids, self.encode(context)?.len())
        };
        if ids.len() < 2 {
            // A tokenizer may make one token of the context and what follows.
            return Err(InferenceError::NoContext(candidate.continuation.clone()));
        }
        let from = before.clamp(1, ids.len() - 1);
        let truncated = ids
            .len()
            .saturating_sub(self.spec.architecture.seq_len() + 1);
        ids.drain(..truncated);
        let all = ids.len() + truncated - from;
        let from = from.saturating_sub(truncated).max(1);
        // Of what follows, too, the beginning may be cut off: then only what is scored counts.
        let scored = &ids[from..];
        let bytes = if scored.len() == all {
            continuation.len()
        } else {
            let mean = continuation.len() as f64 / all as f64;
            let bytes = self.vocabulary().bytes(scored);
            (bytes.unwrap_or(mean * scored.len() as f64).round() as usize).max(1)
        };
        Ok(Sequence {
            from,
            bytes,
            truncated,
            ids,
        })
    }

    /// The token with which documents are separated; `None` where tokens have no text.
    pub fn separator(&self) -> Option<u32> {
        let tokenizer = self.vocabulary().tokenizer()?;
        let ids = tokenizer.encode(SEPARATOR).ok()?;
        ids.first().copied()
    }

    /// Scores the sequences of some rows of at most `length` tokens.
    fn score_batch(
        &self,
        sequences: &[Sequence],
        rows: &[Vec<usize>],
        length: usize,
    ) -> Vec<(usize, Scored)> {
        let longest = || rows.iter().map(|uses| &sequences[uses[0]].ids);
        let inputs: Vec<&[u32]> = longest().map(|ids| &ids[..ids.len() - 1]).collect();
        let targets: Vec<&[u32]> = longest().map(|ids| &ids[1..]).collect();
        let pass = self.batched(&inputs, &targets, length);
        // A sequence ends in a token of its own; what is before it is its row's.
        let uses = rows.iter().enumerate();
        let uses = uses.flat_map(|(row, uses)| uses.iter().map(move |&place| (row, place)));
        let uses: Vec<(usize, usize)> = uses.collect();
        let end = |&(row, place): &(usize, usize)| row * length + sequences[place].ids.len() - 2;
        let ends: Vec<i32> = uses.iter().map(|at| end(at) as i32).collect();
        let last = |place: usize| sequences[place].ids[sequences[place].ids.len() - 1];
        let lasts: Vec<i32> = uses.iter().map(|&(_, place)| last(place) as i32).collect();
        let on_device = |ids: Vec<i32>| {
            let count = ids.len();
            Tensor::<1, Int>::from_data(TensorData::new(ids, [count]), &self.device)
        };
        let logits = pass.logits.select(0, on_device(ends));
        let losses = ops::cross_entropy(logits, self.output_multiplier(), on_device(lasts));
        let losses: Vec<f32> = losses.into_data().iter::<f32>().collect();
        let score = |(at, loss): (&(usize, usize), f32)| {
            let &(row, place) = at;
            let sequence = &sequences[place];
            let before = row * length + sequence.from - 1..end(at);
            let sum = pass.losses[before.clone()].iter();
            let sum = sum.fold(f64::from(loss), |sum, &loss| sum + f64::from(loss));
            let likeliest = &pass.likeliest[before.start..=before.end];
            let scored = Scored {
                log_likelihood: -sum,
                tokens: likeliest.len(),
                bytes: sequence.bytes,
                is_greedy: *likeliest == sequence.ids[sequence.from..],
                truncated: sequence.truncated,
            };
            (place, scored)
        };
        uses.iter().zip(losses).map(score).collect()
    }

    /// Passes rows of at most `length` tokens, what is missing on the right filled up.
    fn batched(&self, rows: &[&[u32]], targets: &[&[u32]], length: usize) -> Pass {
        let padded = |rows: &[&[u32]]| -> Vec<i32> {
            let row = |row: &&[u32]| {
                let mut row: Vec<i32> = row.iter().map(|&id| id as i32).collect();
                row.resize(length, 0);
                row
            };
            rows.iter().flat_map(row).collect()
        };
        let inputs = TensorData::new(padded(rows), [rows.len(), length]);
        let inputs = Tensor::<2, Int>::from_data(inputs, &self.device);
        let decision = self.placement().decision(0..rows.len() as u64, length);
        let gradient = BoundaryGradient::Detached;
        let (logits, _) = self.network.forward(inputs, &decision, gradient);
        let likeliest = logits.clone().argmax(1).into_data();
        let targets = TensorData::new(padded(targets), [rows.len() * length]);
        let targets = Tensor::<1, Int>::from_data(targets, &self.device);
        let losses = ops::cross_entropy(logits.clone(), self.output_multiplier(), targets);
        Pass {
            losses: losses.into_data().iter::<f32>().collect(),
            likeliest: likeliest.iter::<i64>().map(|id| id as u32).collect(),
            logits,
        }
    }

    /// Predicts every token of a sequence from those before it, and the one after the last.
    ///
    /// # Errors
    /// When there are no tokens, one is outside the vocabulary, there are more than `seq_len`, or a probability is no
    /// number.
    pub fn predict(&self, ids: &[u32]) -> Result<Vec<Predicted>, InferenceError> {
        self.check(ids)?;
        let most = self.spec.architecture.seq_len();
        if ids.len() > most {
            return Err(InferenceError::TooLong {
                tokens: ids.len(),
                most,
            });
        }
        let pass = self.batched(&[ids], &[&ids[1..]], ids.len());
        let likeliest = pass.likeliest.iter().map(|&id| id as i32).collect();
        let targets = TensorData::new(likeliest, [ids.len()]);
        let targets = Tensor::<1, Int>::from_data(targets, &self.device);
        let best = ops::cross_entropy(pass.logits, self.output_multiplier(), targets).into_data();
        let best: Vec<f32> = best.iter::<f32>().collect();
        if let Some(at) = best.iter().position(|loss| !loss.is_finite()) {
            return Err(InferenceError::NotNumbers(at));
        }
        let predicted = (0..ids.len()).map(|at| Predicted {
            log_probability: ids.get(at + 1).map(|_| -f64::from(pass.losses[at])),
            likeliest: pass.likeliest[at],
            likeliest_log_probability: -f64::from(best[at]),
        });
        Ok(predicted.collect())
    }
}

/// What a forward pass gives for each place of its rows.
struct Pass {
    /// Losses of the targets.
    losses: Vec<f32>,
    /// The likeliest next tokens.
    likeliest: Vec<u32>,
    logits: Tensor<2>,
}

/// What is predicted after a token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Predicted {
    /// Logarithm of the probability of the token that comes next; `None` after the last.
    pub log_probability: Option<f64>,
    /// The likeliest next token.
    pub likeliest: u32,
    /// Its logarithm.
    pub likeliest_log_probability: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_another_is_computed_with_it() {
        let sequence = |ids: &[u32]| Sequence {
            ids: ids.to_vec(),
            from: 1,
            bytes: 1,
            truncated: 0,
        };
        let all = [
            sequence(&[1, 2, 3]),
            sequence(&[1, 2, 4]),
            sequence(&[1, 2, 3, 5]),
            sequence(&[1, 3, 3]),
            sequence(&[1, 9]),
            sequence(&[2, 2]),
        ];
        // The first two end where the third goes on; the fifth is before all that begin with 1.
        let rows = shared(&all);
        assert_eq!(rows.len(), 3);
        for row in &rows {
            let longest = &all[row[0]].ids;
            for &place in row {
                let ids = &all[place].ids;
                assert!(longest.starts_with(&ids[..ids.len() - 1]), "{rows:?}");
            }
        }
        let mut places = rows.concat();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4, 5]);
    }

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
