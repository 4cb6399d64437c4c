//! A law with known parameters: fitted here, read from a stored fit, or stated.

use super::LEVEL;
use super::allocate::wide;
use crate::fit::allocation::{Domain, Range, Variable};
use crate::fit::diagnostics::{DataRange, Extrapolation};
use crate::fit::law::{DlcmForm, Law};
use crate::fit::{FittedLaw, LawError, interval};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A law with known parameters, how sure they are, and where its data end.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The law.
    pub law: FittedLaw,
    /// Refits of resampled rows; empty when nothing says how sure the parameters are.
    pub draws: Vec<FittedLaw>,
    /// Range of every input in the data; empty when there are none.
    pub ranges: Vec<DataRange>,
    /// Declared values of R, each with the mean of what was realised; empty for a law without R.
    pub ratios: Vec<(f64, f64)>,
    /// The one D at which it holds; `None` when it knows what D does.
    pub at_tokens: Option<f64>,
    /// Standard deviation of the log loss of one run: between seeds, or what the fit leaves.
    pub noise: Option<f64>,
}

/// A predicted loss with its interval, and where it leaves the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictedLoss {
    /// Where.
    pub at: BTreeMap<String, f64>,
    /// The same of columns of words.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub words: BTreeMap<String, String>,
    /// The predicted response.
    pub prediction: f64,
    /// Its 95% interval over the resamples: of the law, not of a single run.
    pub interval: Option<[f64; 2]>,
    /// Inputs more than 10× outside the data; P and R outside them.
    pub extrapolation: Vec<Extrapolation>,
}

impl Fitted {
    /// Takes stated parameters.
    ///
    /// # Errors
    /// [`LawError`] when one is missing, not of this law, or not finite.
    pub fn of_parameters(
        law: &Arc<dyn Law>,
        parameters: &BTreeMap<String, f64>,
    ) -> Result<Self, LawError> {
        let names: Vec<String> = law.parameters().into_iter().map(|p| p.name).collect();
        if let Some(strange) = parameters.keys().find(|name| !names.contains(name)) {
            return Err(LawError::Parameters {
                law: law.name(),
                problem: format!("there is no `{strange}`"),
                expected: names,
            });
        }
        Ok(Self {
            law: FittedLaw::from_named(law.clone(), |name| parameters.get(name).copied())?
                .stated()?,
            draws: Vec::new(),
            ranges: Vec::new(),
            ratios: Vec::new(),
            at_tokens: None,
            noise: None,
        })
    }

    /// Returns the range of a quantity in the data; `None` where the law does not read it.
    pub fn extent(&self, variable: Variable) -> Option<[f64; 2]> {
        self.extent_of(variable.name())
    }

    /// Returns the range of a column in the data; `None` where the law does not read it.
    pub fn extent_of(&self, column: &str) -> Option<[f64; 2]> {
        let range = self.ranges.iter().find(|range| range.column == column)?;
        Some([range.lowest, range.highest])
    }

    /// Says where an optimum may lie: within the data in P and R, far beyond them in N, and in D upwards.
    /// What no data say has the range of [`Domain::default`].
    ///
    /// The law says nothing about where compression breaks down, and everything that is asked about
    /// is beyond the sizes that were trained.
    pub fn domain(&self) -> Domain {
        let mut domain = Domain::default();
        for variable in Variable::ALL {
            let Some([low, high]) = self.extent(variable) else {
                continue;
            };
            let range = match variable {
                Variable::Params => wide([low, high]),
                // With an offset the data term saturates below: less data would seem to cost nothing.
                Variable::Tokens => Range::between(low, wide([low, high]).high),
                Variable::ConceptShare => Range::between(low, high),
                // A law without R can say nothing about other R than that of its runs.
                Variable::CompressionRatio if !self.knows_ratio() => {
                    Range::fixed((low * high).sqrt())
                }
                Variable::CompressionRatio => Range::between(low, high),
            };
            domain = domain.with(variable, range);
        }
        match self.at_tokens {
            Some(tokens) => domain.with(Variable::Tokens, Range::fixed(tokens)),
            None => domain,
        }
    }

    /// Says whether a D is the one at which it holds.
    pub(crate) fn holds_at(&self, tokens: f64) -> bool {
        let at = self.at_tokens;
        at.is_some_and(|at| super::same_size(tokens, at))
    }

    fn knows_ratio(&self) -> bool {
        DlcmForm::named(&self.law.law().name()).is_none_or(|form| form.ratio)
    }

    /// Predicts at a named place.
    ///
    /// # Errors
    /// What is missing, strange or out of the law's range.
    pub fn predict(&self, at: &BTreeMap<String, f64>) -> Result<PredictedLoss, String> {
        Ok(self.predict_with_draws(at)?.0)
    }

    /// Predicts at a named place, and what every resample predicts there.
    ///
    /// # Errors
    /// As [`Fitted::predict`].
    pub(crate) fn predict_with_draws(
        &self,
        at: &BTreeMap<String, f64>,
    ) -> Result<(PredictedLoss, Vec<f64>), String> {
        let inputs = self.law.law().inputs();
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let at = &by_column(at, &names)?;
        // What a law of one D does not read may be named all the same, where it is that D.
        let held = |name: &str, value: f64| name == Variable::Tokens.name() && self.holds_at(value);
        let strange = at
            .iter()
            .find(|(name, value)| !names.contains(&name.as_str()) && !held(name, **value));
        if let Some((strange, _)) = strange {
            let only = self
                .at_tokens
                .filter(|_| strange == Variable::Tokens.name());
            let only = only.map_or_else(String::new, |at| {
                format!(
                    " but at {}, the one D of its data",
                    experiment::quantity::human(at)
                )
            });
            return Err(format!(
                "law `{}` does not read `{strange}`{only}; it reads {}",
                self.law.law().name(),
                names.join(", ")
            ));
        }
        let mut values = Vec::new();
        for input in &inputs {
            let value = *at.get(&input.name).ok_or_else(|| {
                format!(
                    "law `{}` reads {}: `{}` is missing",
                    self.law.law().name(),
                    names.join(", "),
                    input.name
                )
            })?;
            let is_word = input.words.is_empty() || value.fract() == 0.0;
            if !(value.is_finite() && value > input.above && value < input.below && is_word) {
                return Err(format!(
                    "`{}` is {value}, which must lie between {} and {}, both excluded",
                    input.name, input.above, input.below
                ));
            }
            values.push(value);
        }
        let draws = self.draws.iter();
        let over_draws: Vec<f64> = draws.map(|draw| draw.predict(&values)).collect();
        let far = |range: &DataRange| range.extrapolation(*at.get(&range.column)?);
        let words = inputs.iter().filter_map(|input| {
            let word = input.words.get(at[&input.name] as usize)?;
            Some((input.name.clone(), word.clone()))
        });
        let words: BTreeMap<String, String> = words.collect();
        let numbers = at.iter().filter(|(name, _)| !words.contains_key(*name));
        let predicted = PredictedLoss {
            at: numbers
                .map(|(name, value)| (name.clone(), *value))
                .collect(),
            words,
            prediction: self.law.predict(&values),
            interval: interval(&over_draws, LEVEL),
            extrapolation: self.ranges.iter().filter_map(far).collect(),
        };
        Ok((predicted, over_draws))
    }
}

/// Puts the columns in the place of the letters that stand for them, but for letters that are columns of
/// the law themselves.
fn by_column(at: &BTreeMap<String, f64>, inputs: &[&str]) -> Result<BTreeMap<String, f64>, String> {
    let mut named = BTreeMap::new();
    for (name, value) in at {
        let variable = Variable::of_name(name).filter(|_| !inputs.contains(&name.as_str()));
        let column = variable.map_or(name.as_str(), |variable| variable.name());
        if named.insert(column.to_owned(), *value).is_some() {
            return Err(format!("`{column}` is named twice, once by its letter"));
        }
    }
    Ok(named)
}
