//! The settings a budget affords, as a unit box.

use super::budget::{Budget, Domain, Range, Setting};
use super::cost::{Cost, Shape};
use super::error::AllocationError;
use super::variable::Variable;

/// The feasible settings as a unit box.
///
/// P ranges over its bounds; R, given P, from the smallest ratio that can be afforded; N, given
/// both, up to the largest model that can be afforded; D is what the budget then pays for. So the
/// limits are edges of the box, and an optimum on a limit is as easy to find as any other.
pub(crate) struct Feasible<'a> {
    pub(crate) cost: &'a dyn Cost,
    pub(crate) domain: Domain,
    pub(crate) budget: &'a Budget,
}

impl Feasible<'_> {
    /// The quantities that can be chosen freely, one for each side of the box.
    pub(crate) fn axes(&self) -> Vec<Variable> {
        [
            Variable::ConceptShare,
            Variable::CompressionRatio,
            Variable::Params,
        ]
        .into_iter()
        .filter(|variable| !self.domain.get(*variable).is_fixed())
        .collect()
    }

    fn affordable(&self, shape: &Shape) -> bool {
        let least = self.domain.tokens.low * (1.0 - 1e-12);
        self.budget
            .most_tokens(self.cost, shape)
            .is_some_and(|tokens| tokens >= least)
    }

    /// Lower and upper end of R given P.
    fn ratios(&self, concept_share: f64) -> Option<(f64, f64)> {
        let Range { low, high } = self.domain.compression_ratio;
        let params = self.domain.params.low;
        let fits = |ln_ratio: f64| {
            let compression_ratio = ln_ratio.exp();
            self.affordable(&Shape {
                params,
                concept_share,
                compression_ratio,
            })
        };
        Some((bisect(high.ln(), low.ln(), fits)?.exp().max(low), high))
    }

    /// Lower and upper end of N given P and R.
    fn sizes(&self, concept_share: f64, compression_ratio: f64) -> Option<(f64, f64)> {
        let Range { low, high } = self.domain.params;
        let fits = |ln_params: f64| {
            let params = ln_params.exp();
            self.affordable(&Shape {
                params,
                concept_share,
                compression_ratio,
            })
        };
        Some((low, bisect(low.ln(), high.ln(), fits)?.exp().min(high)))
    }

    /// The setting at a point of the box; `None` when nothing there can be afforded.
    pub(crate) fn setting(&self, axes: &[Variable], x: &[f64]) -> Option<Setting> {
        let at = |variable: Variable| {
            axes.iter()
                .position(|axis| *axis == variable)
                .map_or(0.0, |i| x[i])
        };
        let share = self.domain.concept_share;
        let concept_share = blend(share.low, share.high, at(Variable::ConceptShare));
        let (low, high) = self.ratios(concept_share)?;
        let compression_ratio = blend_log(low, high, at(Variable::CompressionRatio));
        let (low, high) = self.sizes(concept_share, compression_ratio)?;
        let params = blend_log(low, high, at(Variable::Params));
        let shape = Shape {
            params,
            concept_share,
            compression_ratio,
        };
        let Range { low, high } = self.domain.tokens;
        let tokens = self.budget.most_tokens(self.cost, &shape)?.clamp(low, high);
        Some(Setting {
            params,
            tokens,
            concept_share,
            compression_ratio,
        })
    }

    /// The box coordinates of a setting, clipped into the box.
    pub(crate) fn coordinates(&self, axes: &[Variable], setting: &Setting) -> Vec<f64> {
        let place = |value: f64, ends: Option<(f64, f64)>| {
            let (low, high) = ends.unwrap_or((1.0, 2.0));
            let x = (value / low).ln() / (high / low).ln();
            if x.is_finite() {
                x.clamp(0.0, 1.0)
            } else {
                0.5
            }
        };
        let (share, ratio) = (setting.concept_share, setting.compression_ratio);
        axes.iter()
            .map(|axis| match axis {
                Variable::CompressionRatio => place(ratio, self.ratios(share)),
                Variable::ConceptShare => {
                    let Range { low, high } = self.domain.concept_share;
                    ((share - low) / (high - low)).clamp(0.0, 1.0)
                }
                _ => place(setting.params, self.sizes(share, ratio)),
            })
            .collect()
    }

    /// The error that says what the cheapest setting would take.
    pub(crate) fn unaffordable(&self) -> AllocationError {
        let shapes = [
            self.domain.concept_share.low,
            self.domain.concept_share.high,
        ]
        .map(|share| Shape {
            params: self.domain.params.low,
            concept_share: share,
            compression_ratio: self.domain.compression_ratio.high,
        });
        let total = |shape: &Shape| {
            self.domain.tokens.low * self.cost.training_per_token(shape)
                + self.budget.served_tokens * self.cost.inference_per_token(shape)
        };
        let [a, b] = shapes;
        let shape = if total(&a) <= total(&b) { a } else { b };
        let per_token = self.cost.inference_per_token(&shape);
        AllocationError::Unaffordable {
            cheapest: total(&shape),
            per_token,
        }
    }
}

/// Returns the point nearest to `far` that fits, given that `near` does; `None` if it does not.
fn bisect(near: f64, far: f64, fits: impl Fn(f64) -> bool) -> Option<f64> {
    if fits(far) {
        return Some(far);
    }
    if !fits(near) {
        return None;
    }
    let (mut good, mut bad) = (near, far);
    for _ in 0..80 {
        let middle = 0.5 * (good + bad);
        if middle == good || middle == bad {
            break;
        }
        if fits(middle) {
            good = middle
        } else {
            bad = middle
        }
    }
    Some(good)
}

fn blend(low: f64, high: f64, x: f64) -> f64 {
    if x >= 1.0 {
        high
    } else {
        low + (high - low) * x
    }
}

fn blend_log(low: f64, high: f64, x: f64) -> f64 {
    match x {
        x if x <= 0.0 => low,
        x if x >= 1.0 => high,
        x => (low.ln() + (high / low).ln() * x).exp().clamp(low, high),
    }
}
