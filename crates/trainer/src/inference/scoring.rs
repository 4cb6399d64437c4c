//! How likely a run finds texts that follow others.

use super::{InferenceError, Trained};
use crate::data::SEPARATOR;
use burn::tensor::{Int, Tensor};
use experiment::architecture::{Architecture, BoundaryRule};
use experiment::tasks::{Candidate, Scored};
use network::Placement;
use network::ops;
use network::prefixes::{Prefixes, common};

/// Numbers of logits that a forward pass may make: 256 MB.
const LOGITS: usize = 1 << 26;
/// Tokens in a forward pass, unless validation had more of them: more only leave the caches of a processor.
const TOKENS: usize = 2048;
/// Rows are laid out in full where their positions are mixed: to so many times the tokens.
const SPREAD: usize = 4;
/// Rows are computed together where one has at least one token in so many in common with the other; else rows of a
/// length are.
const COMMON: usize = 4;

/// A sequence, and which of its tokens are scored.
#[derive(Clone, Debug, PartialEq)]
struct Sequence {
    ids: Vec<u32>,
    /// The first token that is scored.
    from: usize,
    bytes: usize,
    truncated: usize,
}

impl Sequence {
    /// The tokens that others are predicted from: all but the last.
    fn inputs(&self) -> &[u32] {
        &self.ids[..self.ids.len() - 1]
    }

    fn scored(&self) -> &[u32] {
        &self.ids[self.from..]
    }
}

/// Moves the spaces at the end of a context to what follows: tokenizers put them there, and their bytes are predicted
/// there.
fn split(candidate: &Candidate) -> (&str, String) {
    let context = candidate.context.trim_end();
    let spaces = &candidate.context[context.len()..];
    (context, format!("{spaces}{}", candidate.continuation))
}

/// Puts sequences into rows: in one row are those whose tokens but the last begin its longest, as choices of a single
/// token after one context do. The longest comes first.
fn rows(sequences: &[Sequence]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    // Backwards, whatever goes on from a sequence comes right before it.
    order.sort_by(|&a, &b| {
        let inputs = (sequences[b].inputs()).cmp(sequences[a].inputs());
        inputs.then(a.cmp(&b))
    });
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for place in order {
        let inputs = sequences[place].inputs();
        match rows.last_mut() {
            Some(row) if sequences[row[0]].inputs().starts_with(inputs) => row.push(place),
            _ => rows.push(vec![place]),
        }
    }
    rows
}

/// Puts rows that begin alike behind each other, and otherwise those of a length.
fn arranged(rows: Vec<Vec<usize>>, sequences: &[Sequence]) -> Vec<Vec<usize>> {
    let inputs = |row: &Vec<usize>| sequences[row[0]].inputs();
    let mut alike: Vec<Vec<Vec<usize>>> = Vec::new();
    for row in rows {
        let last = alike
            .last_mut()
            .and_then(|rows| Some((rows.last()?.clone(), rows)));
        match last {
            Some((before, rows))
                if COMMON * common(inputs(&before), inputs(&row)) >= inputs(&row).len() =>
            {
                rows.push(row);
            }
            _ => alike.push(vec![row]),
        }
    }
    alike.sort_by_key(|rows| {
        let longest = rows.iter().map(|row| inputs(row).len()).max();
        (std::cmp::Reverse(longest), rows[0][0])
    });
    alike.concat()
}

impl Trained {
    /// Scores what follows contexts: each text as a whole, in one strictly causal pass; what texts begin with alike is
    /// computed once.
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
        let rows = arranged(rows(&sequences), &sequences);
        let mut scored: Vec<Option<Scored>> = vec![None; sequences.len()];
        let mut left = rows.as_slice();
        let mut done = 0;
        while !left.is_empty() {
            if !goes_on(done) {
                return Err(InferenceError::Stopped);
            }
            let (now, later) = left.split_at(self.fitting(left, &sequences));
            for (place, found) in self.score_rows(&sequences, now) {
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

    /// Counts the rows that a forward pass has room for.
    fn fitting(&self, rows: &[Vec<usize>], sequences: &[Sequence]) -> usize {
        let architecture = &self.spec.architecture;
        // Random boundaries are drawn for each row: by its place alone a text would answer otherwise among others.
        if matches!(architecture, Architecture::Dlcm(shape) if shape.boundaries == BoundaryRule::Random)
        {
            return 1;
        }
        let most = TOKENS.max(self.spec.execution.micro_batch * architecture.seq_len());
        let (mut tokens, mut logits, mut length) = (0, 0, 0);
        let mut before: &[u32] = &[];
        let has_room = |(at, row): (usize, &Vec<usize>)| {
            let inputs = sequences[row[0]].inputs();
            tokens += inputs.len() - common(before, inputs);
            logits += row
                .iter()
                .map(|&place| sequences[place].scored().len())
                .sum::<usize>();
            length = length.max(inputs.len());
            before = inputs;
            let is_small = tokens <= most && (at + 1) * length <= SPREAD * most;
            at == 0 || is_small && logits * architecture.vocab() <= LOGITS
        };
        rows.iter()
            .enumerate()
            .map(has_room)
            .take_while(|&fits| fits)
            .count()
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

    /// Scores the sequences of some rows in a forward pass.
    fn score_rows(&self, sequences: &[Sequence], rows: &[Vec<usize>]) -> Vec<(usize, Scored)> {
        let inputs: Vec<&[u32]> = rows.iter().map(|row| sequences[row[0]].inputs()).collect();
        let prefixes = Prefixes::new(&inputs);
        let uses = rows.iter().enumerate();
        let uses = uses.flat_map(|(row, uses)| uses.iter().map(move |&place| (row, place)));
        let uses: Vec<(usize, &Sequence)> =
            uses.map(|(row, place)| (row, &sequences[place])).collect();
        let read = uses.iter().flat_map(|&(row, sequence)| {
            let before = sequence.from - 1..sequence.ids.len() - 1;
            before
                .map(|place| prefixes.at(row, place))
                .collect::<Vec<_>>()
        });
        let read: Vec<usize> = read.collect();
        let targets = uses.iter().flat_map(|(_, sequence)| sequence.scored());
        let targets: Vec<u32> = targets.copied().collect();
        let logits = self.logits(&prefixes, &read);
        let likeliest = likeliest(&logits);
        let losses = self.losses(logits, &targets);
        let mut done = 0;
        let places = rows.iter().flatten();
        let score = |(&place, (_, sequence)): (&usize, &(usize, &Sequence))| {
            let own = done..done + sequence.scored().len();
            done = own.end;
            let losses = losses[own.clone()].iter().map(|&loss| f64::from(loss));
            let scored = Scored {
                log_likelihood: -losses.sum::<f64>(),
                tokens: own.len(),
                bytes: sequence.bytes,
                is_greedy: likeliest[own] == *sequence.scored(),
                truncated: sequence.truncated,
            };
            (place, scored)
        };
        places.zip(&uses).map(score).collect()
    }

    /// Computes the logits after the tokens that are read.
    fn logits(&self, prefixes: &Prefixes, read: &[usize]) -> Tensor<2> {
        let rows = 0..prefixes.rows() as u64;
        let (placement, length) = (self.placement(), prefixes.length());
        let decision = match self.placement() {
            // The rate of the tokens after the first depends on how long a sequence may be.
            Placement::Random { .. } => {
                let decision = placement.decision(rows, self.spec.architecture.seq_len());
                decision.of(0..length)
            }
            _ => placement.decision(rows, length),
        };
        (self.network).forward_sharing(prefixes, &decision, read, &self.device)
    }

    /// Finds how unlikely targets are, in nats.
    fn losses(&self, logits: Tensor<2>, targets: &[u32]) -> Vec<f32> {
        let targets: Vec<i32> = targets.iter().map(|&id| id as i32).collect();
        let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &self.device);
        let losses = ops::cross_entropy(logits, self.output_multiplier(), targets);
        losses.into_data().iter::<f32>().collect()
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
        let prefixes = Prefixes::new(&[ids]);
        let read: Vec<usize> = (0..ids.len()).collect();
        let logits = self.logits(&prefixes, &read);
        let likeliest = likeliest(&logits);
        let best = self.losses(logits.clone(), &likeliest);
        if let Some(at) = best.iter().position(|loss| !loss.is_finite()) {
            return Err(InferenceError::NotNumbers(at));
        }
        // After the last token nothing comes.
        let next = [&ids[1..], &likeliest[ids.len() - 1..]].concat();
        let losses = self.losses(logits, &next);
        let predicted = (0..ids.len()).map(|at| Predicted {
            log_probability: ids.get(at + 1).map(|_| -f64::from(losses[at])),
            likeliest: likeliest[at],
            likeliest_log_probability: -f64::from(best[at]),
        });
        Ok(predicted.collect())
    }
}

/// Finds the likeliest tokens.
fn likeliest(logits: &Tensor<2>) -> Vec<u32> {
    let likeliest = logits.clone().argmax(1).into_data();
    likeliest.iter::<i64>().map(|id| id as u32).collect()
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
        let rows = rows(&all);
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
