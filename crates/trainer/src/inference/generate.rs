//! How a run goes on from a prompt.

use super::{InferenceError, Trained};
use experiment::architecture::solver::ShapeSettings;
use experiment::architecture::{Architecture, Dense, ModelKind};
use network::Decoder;
use network::decode::Step;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// How the next token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token.
    pub temperature: f64,
    /// Draw among so many likeliest tokens only.
    pub top_k: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
}

/// What was generated, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Concepts started by the tokens read; `None` for a dense model.
    pub concepts: Option<usize>,
    /// Tokens read: the prompt, and the new ones but the last.
    pub read: usize,
    /// FLOPs executed a new token: from the prompt's last token on, one step each.
    pub flops_per_token: f64,
    /// The time of those steps.
    pub elapsed: Duration,
    /// The FLOPs that a dense model of equal N takes for a token at the same positions; `None`
    /// for a dense run, and where no dense model has this N.
    pub dense_flops_per_token: Option<f64>,
}

impl Sampling {
    /// Refuses settings that make no sense.
    fn check(&self) -> Result<(), InferenceError> {
        if !(self.temperature >= 0.0 && self.temperature.is_finite()) {
            return Err(InferenceError::Sampling(format!(
                "a temperature of {} makes no sense; give 0 for the likeliest token, 1 for the \
                 model's own probabilities",
                self.temperature
            )));
        }
        if self.top_k == Some(0) {
            let why = "of the 0 likeliest tokens none can be drawn; give a top-k of 1 or more";
            return Err(InferenceError::Sampling(why.into()));
        }
        Ok(())
    }

    /// Draws a token; `None` when the logits are not numbers.
    fn draw(&self, logits: &[f64], random: &mut ChaCha8Rng) -> Option<u32> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        // Of equal logits the lower id comes first.
        let likelier = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
        let mut among: Vec<usize> = (0..logits.len()).collect();
        if let Some(kept) = self.top_k
            && kept < among.len()
        {
            among.select_nth_unstable_by(kept, likelier);
            among.truncate(kept);
        }
        let best = *among.iter().min_by(|a, b| likelier(a, b))?;
        if self.temperature == 0.0 {
            return Some(best as u32);
        }
        let weight = |token: usize| ((logits[token] - logits[best]) / self.temperature).exp();
        let total: f64 = among.iter().map(|&token| weight(token)).sum();
        let mut left = random.random::<f64>() * total;
        let drawn = among.iter().find(|&&token| {
            left -= weight(token);
            left < 0.0
        });
        // Rounding may leave a little over.
        Some(*drawn.unwrap_or(&best) as u32)
    }
}

impl Trained {
    /// Goes on from a prompt by `count` tokens, which is at least 1.
    ///
    /// Positions beyond the run's `seq_len` are computed like all others, though no training has
    /// reached them.
    ///
    /// # Errors
    /// When the prompt is empty or outside the vocabulary, the settings make no sense, or the
    /// model's logits are not numbers.
    pub fn generate(
        &self,
        prompt: &[u32],
        count: usize,
        sampling: &Sampling,
    ) -> Result<Generated, InferenceError> {
        self.check(prompt)?;
        sampling.check()?;
        let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
        let mut decoder = self.decoder();
        let mut concepts = 0;
        let mut read = |decoder: &mut Decoder, token: u32| {
            let step = decoder.step(token);
            concepts += usize::from(step.boundary.is_some_and(|boundary| boundary.decided));
            step
        };
        let (&last, before) = prompt.split_last().ok_or(InferenceError::NoTokens)?;
        for &token in before {
            read(&mut decoder, token);
        }
        let (start, flops) = (Instant::now(), decoder.flops());
        let mut tokens = Vec::new();
        let mut newest = last;
        for _ in 0..count {
            let step = read(&mut decoder, newest);
            newest = sampling
                .draw(&self.scaled(&step), &mut random)
                .ok_or(InferenceError::NotNumbers(before.len() + tokens.len()))?;
            tokens.push(newest);
        }
        let elapsed = start.elapsed();
        Ok(Generated {
            tokens,
            concepts: (self.spec.architecture.has_concepts()).then_some(concepts),
            read: before.len() + count,
            flops_per_token: (decoder.flops() - flops) as f64 / count as f64,
            elapsed,
            dense_flops_per_token: self.dense_flops(before.len(), count),
        })
    }

    fn scaled(&self, step: &Step) -> Vec<f64> {
        let multiplier = self.output_multiplier();
        let logits = step.logits.iter();
        logits.map(|&logit| f64::from(logit) * multiplier).collect()
    }

    /// FLOPs a token of a dense model of equal N, at the `count` positions after `before`.
    fn dense_flops(&self, before: usize, count: usize) -> Option<f64> {
        let architecture = &self.spec.architecture;
        if architecture.kind() == ModelKind::Dense {
            return None;
        }
        let params = architecture.params().non_embedding();
        let solved = ShapeSettings::default().solve_dense(params, architecture.vocab());
        let Ok(Architecture::Dense(dense)) = solved else {
            return None;
        };
        let first = |seq_len: usize| {
            let shape = Architecture::Dense(Dense {
                seq_len: seq_len.max(1),
                ..dense.clone()
            });
            shape.forward_flops(1.0).total() * seq_len as f64
        };
        Some((first(before + count) - first(before)) / count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(temperature: f64, top_k: Option<usize>, logits: &[f64]) -> Vec<u32> {
        let sampling = Sampling {
            temperature,
            top_k,
            seed: 1,
        };
        let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
        (0..4000)
            .map(|_| sampling.draw(logits, &mut random).expect("a token"))
            .collect()
    }

    fn share(draws: &[u32], token: u32) -> f64 {
        draws.iter().filter(|&&drawn| drawn == token).count() as f64 / draws.len() as f64
    }

    #[test]
    fn draws_follow_the_tempered_probabilities() {
        let logits = [2f64.ln(), 1f64.ln(), 5f64.ln()];
        let at_one = draws(1.0, None, &logits);
        for (token, expected) in [(0, 0.25), (1, 0.125), (2, 0.625)] {
            assert!((share(&at_one, token) - expected).abs() < 0.03, "{token}");
        }
        // At temperature 1/2 probabilities are squared: 4, 1, 25.
        assert!((share(&draws(0.5, None, &logits), 2) - 25.0 / 30.0).abs() < 0.03);
        assert_eq!(share(&draws(0.0, None, &logits), 2), 1.0);
        let two = draws(1.0, Some(2), &logits);
        assert!((share(&two, 0) - 2.0 / 7.0).abs() < 0.03 && share(&two, 1) == 0.0);
        assert_eq!(share(&draws(1.0, Some(9), &logits), 1), share(&at_one, 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let sampling = |temperature, top_k| Sampling {
            temperature,
            top_k,
            seed: 0,
        };
        for (temperature, top_k, right) in [
            (0.0, None, true),
            (-1.0, None, false),
            (f64::NAN, None, false),
            (f64::INFINITY, None, false),
            (1.0, Some(0), false),
            (1.0, Some(1), true),
        ] {
            assert_eq!(sampling(temperature, top_k).check().is_ok(), right);
        }
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let drawn = sampling(1.0, None).draw(&[0.0, f64::NAN], &mut random);
        assert_eq!(drawn, None);
    }
}
