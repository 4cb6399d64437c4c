//! Which runs to train next: those that narrow the optimum most per FLOP.

use crate::analysis::{Fitted, Warning, in_words};
use crate::fit::allocation::{
    Budget, Candidate, Cost, Optimum, Setting, Suggestion, Surface, Variable, optimum,
    suggest as choose,
};
use crate::fit::diagnostics::DataRange;
use experiment::quantity::human;
use serde::Serialize;
use std::fmt;

/// What is to be narrowed, and what may be trained for it.
pub struct SuggestQuestion<'a> {
    /// What settings cost.
    pub cost: &'a dyn Cost,
    /// Training FLOPs whose best use is asked.
    pub budget: f64,
    /// The most FLOPs that a suggested run may take; `None` for as much as the largest corner of
    /// the data took.
    pub most: Option<f64>,
    /// How many runs.
    pub count: usize,
}

/// Runs to train next.
#[derive(Clone, Debug, Serialize)]
pub struct SuggestionReport {
    /// Name of the law.
    pub law: String,
    /// Training FLOPs whose best use is to be narrowed.
    pub budget: f64,
    /// The optimum as it is known now.
    pub optimum: Optimum,
    /// The runs, in the order in which they should be trained.
    pub suggestions: Vec<Suggestion>,
    /// Settings that were considered.
    pub candidates: usize,
    /// The most FLOPs that one of them may take.
    pub most_flops: f64,
    /// Standard deviation of the log loss of one run.
    pub noise: f64,
    /// What a reader must know.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
}

/// Values of a quantity among the candidates.
const STEPS: usize = 5;

/// Chooses the runs that narrow the optimum most per FLOP, one after the other.
///
/// # Errors
/// When nothing says how sure the law is, or the optimum is not defined.
pub fn suggest(
    fitted: &Fitted,
    question: &SuggestQuestion<'_>,
) -> Result<SuggestionReport, String> {
    let law = fitted.law.law();
    if law.response() != "loss" {
        return Err(format!(
            "law `{}` predicts `{}`, not a loss",
            law.name(),
            law.response()
        ));
    }
    let Some(noise) = fitted.noise.filter(|noise| *noise > 0.0) else {
        return Err("nothing is known of the noise of a run: fit rows that scatter".into());
    };
    if fitted.draws.len() < 20 {
        return Err(
            "too few resamples to tell what is uncertain: use --bootstrap 1000, or \
                    `analysis.bootstrap: 1000` in the file"
                .into(),
        );
    }
    let surface = Surface::new(fitted.law.clone(), &[]).map_err(|error| error.to_string())?;
    let one = fitted
        .ranges
        .iter()
        .find(|range| range.lowest == range.highest);
    let budget = Budget::training(question.budget);
    let domain = fitted.domain();
    let found = optimum(&surface, question.cost, &domain, &budget).map_err(|e| e.to_string())?;
    let corner = |pick: fn(&DataRange) -> f64| setting(fitted, pick);
    let largest = corner(|range| range.highest).training_flops(question.cost);
    let most = question.most.unwrap_or(largest);
    let candidates = candidates(&surface, fitted, question.cost, most);
    if candidates.is_empty() {
        return Err(format!(
            "no setting within the data's range costs at most {most:.3e} FLOPs; the smallest takes \
             {:.3e}",
            corner(|range| range.lowest).training_flops(question.cost)
        ));
    }
    let suggestions = choose(
        &surface,
        &fitted.draws,
        question.cost,
        &domain,
        &budget,
        &found,
        &candidates,
        noise,
        &Variable::ALL,
        question.count,
    );
    let mut warnings = Vec::new();
    if let Some(range) = one {
        warnings.push(Warning::OneValue {
            column: range.column.clone(),
        });
    }
    if suggestions.len() < question.count {
        warnings.push(Warning::NoMoreRuns);
    }
    Ok(SuggestionReport {
        law: fitted.law.law().name(),
        budget: question.budget,
        optimum: found,
        suggestions,
        candidates: candidates.len(),
        most_flops: most,
        noise,
        warnings,
    })
}

/// A setting with an end of every range, at the one D of a law that knows no other; P = 0 and R = 1
/// where the data know neither.
fn setting(fitted: &Fitted, pick: fn(&DataRange) -> f64) -> Setting {
    let of = |variable: Variable, otherwise: f64| {
        let range = fitted
            .ranges
            .iter()
            .find(|range| range.column == variable.name());
        range.map_or(otherwise, pick)
    };
    Setting {
        params: of(Variable::Params, 1.0),
        tokens: of(Variable::Tokens, fitted.at_tokens.unwrap_or(1.0)),
        concept_share: of(Variable::ConceptShare, 0.0),
        compression_ratio: of(Variable::CompressionRatio, 1.0),
    }
}

/// A lattice over the data's range, twice as far in N and D, as far as it can be afforded.
fn candidates(surface: &Surface, fitted: &Fitted, cost: &dyn Cost, most: f64) -> Vec<Candidate> {
    let steps = |variable: Variable| -> Vec<f64> {
        let range = fitted
            .ranges
            .iter()
            .find(|range| range.column == variable.name());
        let Some(range) = range else {
            return vec![match variable {
                Variable::CompressionRatio => 1.0,
                Variable::Tokens => fitted.at_tokens.unwrap_or(0.0),
                Variable::Params | Variable::ConceptShare => 0.0,
            }];
        };
        let room = match variable {
            Variable::Params | Variable::Tokens => 2.0,
            Variable::ConceptShare | Variable::CompressionRatio => 1.0,
        };
        let (low, high) = (range.lowest / room, range.highest * room);
        if !surface.uses(variable) || low == high {
            return vec![low];
        }
        let at = |step: usize| step as f64 / (STEPS - 1) as f64;
        (0..STEPS)
            .map(|step| low * (high / low).powf(at(step)))
            .collect()
    };
    let mut found = Vec::new();
    for params in steps(Variable::Params) {
        for tokens in steps(Variable::Tokens) {
            for concept_share in steps(Variable::ConceptShare) {
                for compression_ratio in steps(Variable::CompressionRatio) {
                    let setting = Setting {
                        params,
                        tokens,
                        concept_share,
                        compression_ratio,
                    };
                    let flops = setting.training_flops(cost);
                    if flops <= most && flops > 0.0 {
                        found.push(Candidate { setting, flops });
                    }
                }
            }
        }
    }
    found
}

impl fmt::Display for SuggestionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Runs that narrow the best use of {:.3e} FLOPs most per FLOP (law {}, {} candidates of \
             at most {:.2e} FLOPs)\n",
            self.budget, self.law, self.candidates, self.most_flops
        )?;
        writeln!(
            f,
            "  {:>2}  {:>8}  {:>8}  {:>6}  {:>6}  {:>9}  {:>13}  {:>12}",
            "", "N", "D", "P", "R", "FLOPs", "uncertainty", "left after"
        )?;
        for (i, suggestion) in self.suggestions.iter().enumerate() {
            let setting = &suggestion.candidate.setting;
            writeln!(
                f,
                "  {:>2}  {:>8}  {:>8}  {:>6.2}  {:>6.2}  {:>9.2e}  {:>12.1}%  {:>11.1}%",
                i + 1,
                human(setting.params),
                human(setting.tokens),
                setting.concept_share,
                setting.compression_ratio,
                suggestion.candidate.flops,
                -100.0 * suggestion.reduction,
                100.0 * suggestion.remaining
            )?;
        }
        writeln!(
            f,
            "  uncertainty is the variance of the optimum over the resamples; one run is taken to \
             scatter by {:.2}%",
            100.0 * self.noise
        )?;
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        Ok(())
    }
}
