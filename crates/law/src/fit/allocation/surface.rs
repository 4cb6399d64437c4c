//! A fitted law as a function of what can be chosen.

use super::budget::{Domain, Range, Setting};
use super::error::AllocationError;
use super::variable::Variable;
use crate::fit::law::{FittedLaw, MAX_SIZES};

/// A fitted law as a function of a [`Setting`].
#[derive(Clone, Debug)]
pub struct Surface {
    law: FittedLaw,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
enum Slot {
    Variable(Variable),
    Constant(f64),
}

impl Surface {
    /// Builds the surface of a law; columns other than N, D, P, R take their value from `constants`.
    ///
    /// # Errors
    /// [`AllocationError::Column`] when a column is neither.
    pub fn new(law: FittedLaw, constants: &[(&str, f64)]) -> Result<Self, AllocationError> {
        let slot = |name: &str| {
            let constant = constants.iter().find(|(known, _)| *known == name);
            constant
                .map(|(_, value)| Slot::Constant(*value))
                .or_else(|| Variable::of_column(name).map(Slot::Variable))
        };
        let mut slots = Vec::new();
        for input in law.law().inputs() {
            slots.push(slot(&input.name).ok_or_else(|| AllocationError::Column {
                law: law.law().name(),
                column: input.name.clone(),
            })?);
        }
        Ok(Self { law, slots })
    }

    /// Returns the same surface with the parameters of another fit of the same law.
    #[must_use]
    pub fn with_law(&self, law: FittedLaw) -> Self {
        Self {
            law,
            slots: self.slots.clone(),
        }
    }

    /// Returns the law.
    pub fn law(&self) -> &FittedLaw {
        &self.law
    }

    /// Returns the predicted loss.
    pub fn loss(&self, setting: &Setting) -> f64 {
        let mut inputs = [0.0; MAX_SIZES];
        for (input, slot) in inputs.iter_mut().zip(&self.slots) {
            *input = match slot {
                Slot::Variable(variable) => setting.get(*variable),
                Slot::Constant(value) => *value,
            };
        }
        self.law.predict(&inputs[..self.slots.len()])
    }

    /// Returns whether the loss depends on a quantity.
    pub fn uses(&self, variable: Variable) -> bool {
        self.slots
            .iter()
            .any(|slot| matches!(slot, Slot::Variable(v) if *v == variable))
    }

    /// Fixes P = 0 and R = 1 where the law knows neither (a dense law).
    pub(crate) fn restrict(&self, mut domain: Domain) -> Domain {
        for (variable, value) in [
            (Variable::ConceptShare, 0.0),
            (Variable::CompressionRatio, 1.0),
        ] {
            if !self.uses(variable) {
                domain = domain.with(variable, Range::fixed(value));
            }
        }
        domain
    }
}
