//! A score by what a law predicts, as accuracy by bits per byte: the second step of a law.
//!
//! Of small models accuracy says little while the bits of the right answers fall already. A law predicts the bits, and a
//! sigmoid says what accuracy goes with them. It is fitted by the same engine, to differences of the scores themselves:
//! an accuracy has a floor and a ceiling, and its logarithm has no meaning.
//!
//! # Source
//! Bhagia et al., arXiv 2412.04403 (task loss, then accuracy by a sigmoid); that few tasks can be predicted so:
//! arXiv 2507.00885.

use super::rows::Rows;
use crate::analysis::{LEVEL, Policy, Warning, number};
use crate::fit::law::{
    FittedLaw, Frame, Input, Law, LawError, MAX_SIZES, Parameter, Role, by_name, by_name_over,
    called, renamed,
};
use crate::fit::{
    BootstrapOptions, FitError, FitOptions, Objective, Observations, Resampling, bootstrap, fit,
    interval,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Runs that a sigmoid is fitted to, at least.
const FEWEST: usize = 6;
/// Share of the rows that are held out: those with the least of what the law predicts, as larger runs have.
const HELD_OUT: f64 = 0.25;
/// Rank correlations that are called monotone, at least.
const MONOTONE: f64 = 0.5;
/// Scores beyond this are none: their differences are fitted through exponentials.
const MOST: f64 = 100.0;

/// A run's scores of a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskScore {
    /// Bits for each byte of the right answers.
    pub bits_per_byte: f64,
    /// Share of right answers.
    pub accuracy: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Whether the accuracy is within two standard errors of it: then it is not fitted.
    pub at_chance: bool,
    /// Training FLOPs.
    pub flops: f64,
}

/// A score by what a law predicts.
#[derive(Clone, Debug, Serialize)]
pub struct SecondStep {
    /// The score.
    pub response: String,
    /// What it is, in terms of what the law predicts.
    pub equation: String,
    /// Natural parameters by name.
    pub parameters: BTreeMap<String, f64>,
    /// Their 95% intervals over resampled runs.
    pub intervals: BTreeMap<String, [f64; 2]>,
    /// Parameters on a bound.
    pub at_bound: Vec<String>,
    /// Rows that it was fitted to.
    pub rows: usize,
    /// Runs that answer no better than by guessing and are not fitted.
    pub at_chance: usize,
    /// Root mean square of what the fit leaves.
    pub error: f64,
    /// Root mean square error on the rows with the least of what the law predicts, fitted without them; null where the
    /// others are too few.
    pub held_out_error: Option<f64>,
    /// How many those are.
    pub held_out: usize,
    #[serde(skip)]
    law: FittedLaw,
    #[serde(skip)]
    draws: Vec<FittedLaw>,
}

/// A score that is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PredictedScore {
    /// What the law predicts.
    pub from: f64,
    /// The score that goes with it.
    pub score: f64,
    /// Its 95% interval: over resamples of the law and of this step together.
    pub interval: Option<[f64; 2]>,
}

/// What the loss is called where a second step reads it.
pub const LOSS: &str = "predicted_loss";

/// Reads `SCORE = FORMULA`, where the formula may read the loss, as [`LOSS`]; returns the score's name and the law.
///
/// # Errors
/// What cannot be read.
pub fn score_and_law(text: &str, columns: &[String]) -> Result<(String, Arc<dyn Law>), LawError> {
    let parts = text
        .split_once('=')
        .map(|(score, formula)| (score.trim(), formula.trim()));
    let named = parts.filter(|(score, _)| {
        columns
            .iter()
            .any(|column| column == score.trim_matches('`'))
    });
    let Some((score, formula)) = named else {
        return Err(LawError::Arguments {
            law: text.to_owned(),
            problem: format!(
                "a second step is written like `accuracy = b + a*sigmoid(k*(m - bits))`, with a column of its table before \
                 the sign; there are {}",
                columns.join(", ")
            ),
        });
    };
    let known: Vec<String> = columns.iter().cloned().chain([LOSS.to_owned()]).collect();
    let law = by_name_over(&renamed(formula, "loss", LOSS), &known)?;
    Ok((score.trim_matches('`').to_owned(), law))
}

impl SecondStep {
    /// Fits a score to rows in which it stands where the law's response does, and says what limits them.
    ///
    /// # Errors
    /// As [`SecondStep::fit`].
    pub fn of_rows(
        law: &Arc<dyn Law>,
        response: &str,
        rows: &Rows,
        policy: &Policy,
    ) -> Result<(Self, Vec<Warning>), String> {
        let warnings = rows.excluded.iter().map(|group| Warning::Rows {
            text: format!(
                "second step: {} rows are left out ({})",
                group.lines.len(),
                group.reason
            ),
        });
        let warnings = warnings.collect();
        Ok((
            Self::fit(law, response, &rows.observations, policy)?,
            warnings,
        ))
    }

    /// Fits a score, which stands where the law's response does, by least squares of its differences.
    ///
    /// # Errors
    /// What the rows lack, or scores that are none.
    pub fn fit(
        law: &Arc<dyn Law>,
        response: &str,
        data: &Observations,
        policy: &Policy,
    ) -> Result<Self, String> {
        let told = |error: FitError| error.to_string();
        let inputs = law.inputs();
        let [input] = inputs.as_slice() else {
            let names: Vec<String> = inputs.into_iter().map(|input| input.name).collect();
            return Err(format!(
                "a second step reads what the law predicts and nothing else; this one reads {}",
                names.join(", ")
            ));
        };
        if law.n_sizes() >= MAX_SIZES {
            return Err("a second step of so many quantities is not fitted".to_owned());
        }
        let scores = data.required(law.response()).map_err(|e| e.to_string())?;
        if let Some(score) = scores.iter().find(|score| score.abs() > MOST) {
            return Err(format!(
                "`{response}` is {score}: a second step is of scores such as accuracies, of at most {MOST}"
            ));
        }
        let raised = scores.iter().map(|score| score.exp()).collect();
        let data = data.clone().with_column(law.response(), raised);
        let differences: Arc<dyn Law> = Arc::new(Differences(law.clone()));
        let options = FitOptions {
            objective: Objective::L2,
            ..FitOptions::default()
        };
        let found = fit(&differences, &data, &options).map_err(told)?;
        let plain = FittedLaw::from_named(law.clone(), |name| found.parameters.get(name).copied());
        let resampled = match policy.draws(data.len(), found.parameters.len()) {
            0 => None,
            draws => {
                let options = BootstrapOptions {
                    draws,
                    resampling: Resampling::Pairs,
                    seed: policy.seed,
                    level: LEVEL,
                };
                Some(bootstrap(&differences, &data, &found, &options).map_err(told)?)
            }
        };
        let draws = resampled.as_ref().map(|resampled| resampled.fitted(law));
        let (held_out_error, held_out) = held_out(&differences, &data, &input.name, &found.options);
        Ok(Self {
            response: response.to_owned(),
            equation: called(&law.equation()).replacen("loss", response, 1),
            parameters: found.parameters.clone(),
            draws: draws.transpose().map_err(told)?.unwrap_or_default(),
            intervals: resampled.map_or_else(BTreeMap::new, |resampled| resampled.intervals),
            at_bound: found.at_bound.iter().map(|b| b.parameter.clone()).collect(),
            rows: data.len(),
            at_chance: 0,
            error: found.goodness.rms_residual,
            held_out_error,
            held_out,
            law: plain.map_err(|error| error.to_string())?,
        })
    }

    /// Fits accuracy by the bits per byte of the right answers: from that of guessing to 1.
    ///
    /// # Errors
    /// Why it cannot be: too few runs that answer better than by guessing, bits that do not fall with training FLOPs, or
    /// accuracies that do not grow as bits fall.
    pub fn of_task(scores: &[TaskScore], target: &str, policy: &Policy) -> Result<Self, String> {
        let fitted: Vec<TaskScore> = scores.iter().copied().filter(|s| !s.at_chance).collect();
        if fitted.len() < FEWEST {
            return Err(format!(
                "{} of {} runs answer better than by guessing, and {FEWEST} are needed: predict its bits per byte \
                 (`--target TASK.bits_per_byte`), or train larger models",
                fitted.len(),
                scores.len()
            ));
        }
        let column = |of: &[TaskScore], value: fn(&TaskScore) -> f64| -> Vec<f64> {
            of.iter().map(value).collect()
        };
        let bits = |s: &TaskScore| s.bits_per_byte;
        let first = rank_correlation(&column(scores, |s| s.flops), &column(scores, bits));
        if first > -MONOTONE {
            return Err(format!(
                "bits per byte do not fall steadily with training FLOPs (rank correlation {first:.2}): what a law \
                 predicts of them would say nothing of accuracy"
            ));
        }
        let bits = column(&fitted, bits);
        let accuracy = column(&fitted, |s| s.accuracy);
        let second = rank_correlation(&bits, &accuracy);
        if second > -MONOTONE {
            return Err(format!(
                "accuracy does not grow steadily as bits per byte fall (rank correlation {second:.2})"
            ));
        }
        let chance = fitted[0].chance;
        let low = bits.iter().copied().fold(f64::INFINITY, f64::min);
        let high = bits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let width = (high - low).max(1e-6);
        // From hardly any change over the runs to a step between them.
        let formula = format!(
            "{chance} + {}*sigmoid(slope*(middle - `{target}`)) where slope in 0..{}, middle in {}..{}",
            1.0 - chance,
            40.0 / width,
            low - 4.0 * width,
            high + 4.0 * width
        );
        let law = by_name(&formula).map_err(|error| error.to_string())?;
        let columns = [(target, bits), (law.response(), accuracy)];
        let data = Observations::new(columns).map_err(|error| error.to_string())?;
        Ok(Self {
            at_chance: scores.len() - fitted.len(),
            ..Self::fit(&law, "accuracy", &data, policy)?
        })
    }

    /// Says what score goes with what a law predicts, and with what its resamples do.
    pub fn predict(&self, from: f64, draws: &[f64]) -> PredictedScore {
        let score = |law: &FittedLaw, from: f64| law.predict(&[from]);
        let both = draws.iter().enumerate().map(|(k, from)| {
            let drawn = self.draws.get(k % self.draws.len().max(1));
            score(drawn.unwrap_or(&self.law), *from)
        });
        PredictedScore {
            from,
            score: score(&self.law, from),
            interval: interval(&both.collect::<Vec<f64>>(), LEVEL),
        }
    }
}

/// Fits without the rows that have the least of the column, and finds the error on them.
fn held_out(
    law: &Arc<dyn Law>,
    data: &Observations,
    column: &str,
    options: &FitOptions,
) -> (Option<f64>, usize) {
    let (Some(from), Some(raised)) = (data.column(column), data.column(law.response())) else {
        return (None, 0);
    };
    let mut sorted = from.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = ((sorted.len() as f64 * HELD_OUT).round() as usize).max(1);
    let edge = sorted[(count - 1).min(sorted.len() - 1)];
    let tested: Vec<usize> = (0..from.len()).filter(|row| from[*row] <= edge).collect();
    let kept: Vec<bool> = from.iter().map(|from| *from > edge).collect();
    let others = data.clone().keep(&kept, "held out");
    let names = law.parameters().into_iter().map(|parameter| parameter.name);
    let refitted = fit(law, &others, options).ok().and_then(|found| {
        let values = names.map(|name| found.parameters[&name]).collect();
        FittedLaw::from_parts(law.clone(), values).ok()
    });
    let Some(refitted) = refitted else {
        return (None, tested.len());
    };
    let squares = tested.iter().map(|row| {
        let error = refitted.predict(&[from[*row]]).ln() - raised[*row].ln();
        error * error
    });
    let mean = squares.sum::<f64>() / tested.len() as f64;
    (Some(mean.sqrt()), tested.len())
}

/// A law whose exponential is fitted, so that residuals of logarithms are differences.
#[derive(Debug)]
struct Differences(Arc<dyn Law>);

impl Differences {
    fn frame(&self, frame: &Frame) -> Frame {
        Frame {
            sizes: frame.sizes[..self.0.n_sizes()].to_vec(),
            response: frame.response,
        }
    }
}

impl Law for Differences {
    fn name(&self) -> String {
        self.0.name()
    }

    fn equation(&self) -> String {
        self.0.equation()
    }

    fn source(&self) -> &'static str {
        self.0.source()
    }

    fn inputs(&self) -> Vec<Input> {
        self.0.inputs()
    }

    fn response(&self) -> &'static str {
        self.0.response()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.0.parameters();
        for parameter in parameters.iter_mut().filter(|p| p.role == Role::Linear) {
            parameter.role = Role::Nonlinear;
        }
        parameters
    }

    /// The last one carries the unit of the response.
    fn n_sizes(&self) -> usize {
        self.0.n_sizes() + 1
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        let own = self.0.n_sizes();
        self.0.sizes(inputs, &mut sizes[..own]);
        sizes[own] = 1.0;
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        let own = self.0.n_sizes();
        self.0.features(&mut sizes[..own], &self.frame(frame));
        sizes[own] = frame.response;
    }

    fn value(&self, internal: &[f64], features: &[f64], gradient: &mut [f64]) -> f64 {
        let own = self.0.n_sizes();
        let unit = features[own];
        let raised = (unit * self.0.value(internal, &features[..own], gradient)).exp();
        gradient.iter_mut().for_each(|slope| *slope *= raised);
        raised / unit
    }

    fn natural(&self, internal: &[f64], frame: &Frame) -> Vec<f64> {
        self.0.natural(internal, &self.frame(frame))
    }

    fn internal(&self, natural: &[f64], frame: &Frame) -> Vec<f64> {
        self.0.internal(natural, &self.frame(frame))
    }
}

/// Spearman's rank correlation; ties take their mean rank.
fn rank_correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let spread = (product(&a, &a) * product(&b, &b)).sqrt();
    if spread > 0.0 {
        product(&a, &b) / spread
    } else {
        0.0
    }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count() as f64;
        let same = values.iter().filter(|other| *other == value).count() as f64;
        below + (same - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

impl fmt::Display for SecondStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  then {}", self.equation)?;
        let parameters = self.parameters.iter().map(|(name, value)| {
            let interval = self.intervals.get(name);
            let interval = interval.map_or_else(String::new, |[low, high]| {
                format!(" [{}, {}]", number(*low), number(*high))
            });
            let bound = if self.at_bound.contains(name) {
                " on its bound"
            } else {
                ""
            };
            format!("{name} {}{interval}{bound}", number(*value))
        });
        let parameters: Vec<String> = parameters.collect();
        writeln!(f, "    {}", parameters.join(", "))?;
        let guessing = match self.at_chance {
            0 => String::new(),
            runs => format!(" ({runs} that answer no better than by guessing are left out)"),
        };
        let held_out = match self.held_out_error {
            Some(error) => format!(
                "{error:.3} on the {} with the least of what the law predicts when those are held out",
                self.held_out
            ),
            None => "too few to hold any out".to_owned(),
        };
        writeln!(
            f,
            "    wrong by {:.3} on its {} rows{guessing}; {held_out}",
            self.error, self.rows
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANTED: &str = "0.25 + 0.75*sigmoid(slope*(middle - `bits`))";

    fn drawn(draws: usize) -> Policy {
        Policy {
            draws: Some(draws),
            ..Policy::default()
        }
    }

    fn scores(n: usize) -> Vec<TaskScore> {
        let law = by_name(PLANTED).expect("a formula");
        let planted = FittedLaw::from_parts(law, vec![2.5, 1.7]).expect("complete");
        let score = |k: usize| {
            let bits_per_byte = 3.0 - 0.2 * k as f64;
            TaskScore {
                bits_per_byte,
                accuracy: planted.predict(&[bits_per_byte]),
                chance: 0.25,
                at_chance: false,
                flops: 10f64.powi(k as i32),
            }
        };
        (0..n).map(score).collect()
    }

    #[test]
    fn a_planted_sigmoid_is_found() {
        let step = SecondStep::of_task(&scores(10), "bits", &drawn(20)).expect("monotone");
        assert_eq!(
            step.equation,
            "accuracy = 0.25 + 0.75·sigmoid(slope·(middle - bits))"
        );
        for (name, value) in [("slope", 2.5), ("middle", 1.7)] {
            assert!((step.parameters[name] - value).abs() < 1e-7, "{step:?}");
        }
        assert!(step.error < 1e-9 && step.held_out == 3, "{step:?}");
        assert!(step.held_out_error.expect("seven are left") < 1e-7);
        let predicted = step.predict(1.7, &[1.5, 1.7, 2.0]);
        assert!((predicted.score - 0.625).abs() < 1e-7);
        let [low, high] = predicted.interval.expect("one");
        assert!(low < predicted.score && high > predicted.score);
    }

    #[test]
    fn differences_are_fitted_and_not_ratios() {
        let rows: Vec<f64> = (0..40).map(|k| 0.5 + 0.05 * f64::from(k)).collect();
        let law = by_name(
            "b + a*sigmoid(k*(m - `bits`)) where a in 0..1, b in 0..1, k in 0..20, m in 0..4",
        );
        let law = law.expect("a formula");
        let truth =
            FittedLaw::from_parts(law.clone(), vec![0.02, 0.9, 3.0, 1.4]).expect("complete");
        // Errors of one size where scores are small and where they are large.
        let noisy = |(k, bits): (usize, &f64)| {
            truth.predict(&[*bits]) + if k % 2 == 0 { 0.01 } else { -0.01 }
        };
        let accuracy: Vec<f64> = rows.iter().enumerate().map(noisy).collect();
        let data = Observations::new([("bits", rows), ("loss", accuracy)]).expect("columns");
        let step = SecondStep::fit(&law, "accuracy", &data, &drawn(0)).expect("fits");
        assert!((step.error - 0.01).abs() < 1e-3, "{}", step.error);
        assert!((step.parameters["b"] - 0.02).abs() < 0.01, "{step:?}");
        assert!(step.intervals.is_empty() && step.predict(1.0, &[]).interval.is_none());
    }

    #[test]
    fn a_law_of_differences_is_consistent() {
        let law = by_name("b + a*sigmoid(k*(m - `bits`)) where a in 0..1, k in 0..20")
            .expect("a formula");
        let differences = Differences(law);
        let natural = [0.1, 0.7, 3.0, 1.4];
        let frame = Frame {
            sizes: vec![1.0; differences.n_sizes()],
            response: 1.7,
        };
        let internal = differences.internal(&natural, &frame);
        for (back, given) in differences.natural(&internal, &frame).iter().zip(natural) {
            assert!((back - given).abs() < 1e-12);
        }
        let mut features = vec![0.0; differences.n_sizes()];
        differences.sizes(&[1.1], &mut features);
        differences.features(&mut features, &frame);
        let mut slopes = [0.0; 4];
        let value = differences.value(&internal, &features, &mut slopes);
        let score = 0.1 + 0.7 / (1.0 + f64::exp(-3.0 * (1.4 - 1.1)));
        assert!((value * 1.7 - score.exp()).abs() < 1e-12, "{value}");
        for (at, slope) in slopes.iter().enumerate() {
            let moved = |by: f64| {
                let mut internal = internal.clone();
                internal[at] += by;
                differences.value(&internal, &features, &mut [0.0; 4])
            };
            assert!(
                ((moved(1e-6) - moved(-1e-6)) / 2e-6 - slope).abs() < 1e-8,
                "{at}"
            );
        }
    }

    #[test]
    fn what_says_nothing_is_refused() {
        let refused = |scores: &[TaskScore]| {
            SecondStep::of_task(scores, "bits", &drawn(0)).expect_err("refused")
        };
        let mut guessed = scores(10);
        guessed[..5].iter_mut().for_each(|s| s.at_chance = true);
        assert!(refused(&guessed).contains("5 of 10 runs answer better"));
        let mut flat = scores(8);
        flat.iter_mut()
            .enumerate()
            .for_each(|(k, s)| s.flops = [1.0, 2.0][k % 2]);
        assert!(refused(&flat).contains("do not fall steadily"));
        let mut wrong = scores(8);
        wrong.iter_mut().for_each(|s| s.accuracy = 1.0 - s.accuracy);
        assert!(refused(&wrong).contains("does not grow steadily"));
        let law = by_name("a + `bits`*b + c*`others`").expect("a formula");
        let data = Observations::new([("bits", vec![1.0]), ("loss", vec![1.0])]).expect("columns");
        let said = SecondStep::fit(&law, "accuracy", &data, &drawn(0)).expect_err("refused");
        assert!(said.contains("reads bits, others"), "{said}");
    }

    #[test]
    fn a_step_names_its_score_and_may_read_the_loss() {
        let columns = ["loss", "error", "bits"].map(str::to_owned);
        let (score, law) = score_and_law("error = e - k*exp(-g*loss)", &columns).expect("read");
        assert_eq!((&*score, &*law.inputs()[0].name), ("error", LOSS));
        for text in ["e - k*exp(-g*loss)", "errors = e - k*bits"] {
            let said = score_and_law(text, &columns)
                .expect_err("refused")
                .to_string();
            assert!(
                said.contains("accuracy = ") && said.contains("loss, error, bits"),
                "{said}"
            );
        }
    }

    #[test]
    fn ties_take_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [1.5, 0.0, 1.5]);
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[3.0, 2.0]), 0.0);
    }
}
