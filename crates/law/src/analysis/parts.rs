//! What of a saving against dense models the token level has by itself, and what concepts add.

use super::LEVEL;
use super::cost::{CostModel, TokenOnlyCost};
use crate::fit::allocation::{
    Baseline, Cost, Range, Saving, Surface, Unreachable, smallest_without_concepts,
};
use crate::fit::diagnostics::ALIKE;
use crate::fit::interval;
use crate::fit::{FittedLaw, allocation};
use serde::{Deserialize, Serialize};

/// The parts of a saving: a token level alone with the dense model's loss lies between both.
///
/// # Units
/// Shares of FLOPs; 0.3 is 30% saved, negative costs more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavingParts {
    /// N of the token level alone that has the loss; `None` where none reaches it.
    pub control_params: Option<f64>,
    /// Share of the dense model's FLOPs that the token level alone saves.
    pub locality: Option<f64>,
    /// Its 95% interval; an end is `None` where the loss is out of the control's reach.
    pub locality_interval: [Option<f64>; 2],
    /// Share of the control's FLOPs that the DLCM saves.
    pub against_control: Option<f64>,
    /// Its 95% interval; an end is `None` where the loss is out of the DLCM's reach, and 1 where it
    /// is out of the control's.
    pub against_control_interval: [Option<f64>; 2],
    /// The concepts' part, from 0 to 1: the share of ln(FLOPs of the dense model ÷ FLOPs of the DLCM)
    /// that lies between the control and the DLCM. 1 where the control does not reach the loss;
    /// `None` where nothing is saved.
    pub concepts: Option<f64>,
    /// Its 95% interval over the resamples in which something is saved.
    pub concepts_interval: Option<[f64; 2]>,
    /// Share of resamples in which the control does not reach the loss.
    pub out_of_reach: f64,
    /// Whether the control that has the loss is larger or smaller than any trained.
    pub extrapolated: bool,
}

/// The FLOPs of a control and of a DLCM over those of the dense model with their loss; infinite
/// where one does not reach it.
#[derive(Clone, Copy, Debug)]
struct Costs {
    control: f64,
    dlcm: f64,
}

impl Costs {
    fn locality(self) -> f64 {
        1.0 - self.control
    }

    fn against_control(self) -> f64 {
        if self.dlcm.is_finite() {
            1.0 - self.dlcm / self.control
        } else {
            f64::NEG_INFINITY
        }
    }

    fn concepts(self) -> Option<f64> {
        let part = if self.control.is_finite() {
            (self.control / self.dlcm).ln() / -self.dlcm.ln()
        } else {
            1.0
        };
        (self.dlcm < 1.0).then(|| part.clamp(0.0, 1.0))
    }
}

/// The law of the controls, as far as a saving needs it.
pub(super) struct Control<'a> {
    pub(super) surface: Surface,
    pub(super) draws: Vec<FittedLaw>,
    pub(super) cost: &'a CostModel,
    /// Sizes that were trained, smallest and largest.
    pub(super) trained: [f64; 2],
    /// Sizes among which one with the loss is sought.
    pub(super) searched: Range,
}

impl Control<'_> {
    /// Divides a saving and its resamples, whose k-th belongs to the k-th draw of the control's law.
    pub(super) fn parts(
        &self,
        found: &Result<Saving, Unreachable>,
        drawn: &[Result<Saving, Unreachable>],
    ) -> SavingParts {
        let (matched, costs) = self.costs(&self.surface, found);
        let drawn: Vec<Costs> = self
            .draws
            .iter()
            .zip(drawn)
            .map(|(law, saving)| self.costs(&self.surface.with_law(law.clone()), saving).1)
            .collect();
        let finite = |value: f64| value.is_finite().then_some(value);
        let ends = |value: fn(Costs) -> f64| {
            let values: Vec<f64> = drawn.iter().map(|costs| value(*costs)).collect();
            interval(&values, LEVEL).map_or([None; 2], |ends| ends.map(finite))
        };
        let shares: Vec<f64> = drawn.iter().filter_map(|costs| costs.concepts()).collect();
        let missed = drawn.iter().filter(|costs| costs.control.is_infinite());
        let [low, high] = self.trained;
        SavingParts {
            control_params: matched.map(|control| control.params),
            locality: finite(costs.locality()),
            locality_interval: ends(Costs::locality),
            against_control: matched.and_then(|_| finite(costs.against_control())),
            against_control_interval: ends(Costs::against_control),
            concepts: costs.concepts(),
            concepts_interval: interval(&shares, LEVEL),
            out_of_reach: missed.count() as f64 / drawn.len().max(1) as f64,
            extrapolated: matched.is_none_or(|control| {
                control.params < low / ALIKE || control.params > high * ALIKE
            }),
        }
    }

    fn costs(
        &self,
        surface: &Surface,
        saving: &Result<Saving, Unreachable>,
    ) -> (Option<Baseline>, Costs) {
        let (baseline, target_loss, dlcm) = match saving {
            Ok(saving) => (saving.baseline, saving.target_loss, 1.0 - saving.training),
            Err(missed) => (missed.baseline, missed.target_loss, f64::INFINITY),
        };
        let tokens = baseline.tokens;
        let matched = smallest_without_concepts(surface, tokens, self.searched, target_loss);
        let price = |cost: &dyn Cost, model: &Baseline| -> f64 {
            let shape: allocation::Shape = model.setting().shape();
            cost.training_per_token(&shape)
        };
        let dense = price(self.cost, &baseline);
        let control = matched.as_ref().map_or(f64::INFINITY, |control| {
            price(&TokenOnlyCost(self.cost), control) / dense
        });
        (matched, Costs { control, dlcm })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_in_logarithms_and_stay_between_none_and_all() {
        let both = Costs {
            control: 0.8,
            dlcm: 0.4,
        };
        let part = both.concepts().expect("something is saved");
        assert!((part - (2f64).ln() / (2.5f64).ln()).abs() < 1e-12);
        assert!((both.locality() - 0.2).abs() < 1e-12);
        assert!((both.against_control() - 0.5).abs() < 1e-12);
        let costs = |control, dlcm| Costs { control, dlcm };
        // The control cannot do it at all, or costs more than dense: all is the concepts'.
        assert_eq!(costs(f64::INFINITY, 0.4).concepts(), Some(1.0));
        assert_eq!(costs(f64::INFINITY, 0.4).against_control(), 1.0);
        assert_eq!(costs(1.5, 0.4).concepts(), Some(1.0));
        // It is the cheaper one: nothing is.
        assert_eq!(costs(0.3, 0.4).concepts(), Some(0.0));
        // Nothing is saved: there is nothing to divide.
        assert_eq!(costs(0.9, 1.2).concepts(), None);
        let lost = costs(f64::INFINITY, f64::INFINITY).against_control();
        assert_eq!(lost, f64::NEG_INFINITY);
    }
}
