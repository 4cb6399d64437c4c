//! A law with its parameters: the thing that predicts.

use std::sync::Arc;

use super::{Frame, Law, LawError, MAX_PARAMETERS, MAX_SIZES, Role, is_formula};

/// A law together with natural parameters, ready to predict.
#[derive(Clone, Debug)]
pub struct FittedLaw {
    law: Arc<dyn Law>,
    natural: Vec<f64>,
    internal: Vec<f64>,
    frame: Frame,
}

impl FittedLaw {
    /// Builds a predicting law from natural parameters in the law's own order.
    ///
    /// # Errors
    /// [`LawError::Parameters`] when the number of parameters is wrong or one is not finite.
    pub fn from_parts(law: Arc<dyn Law>, natural: Vec<f64>) -> Result<Self, LawError> {
        let expected: Vec<String> = law.parameters().into_iter().map(|p| p.name).collect();
        let problem = if natural.len() != expected.len() {
            Some(format!("{} were given", natural.len()))
        } else {
            let bad = natural.iter().position(|v| !v.is_finite());
            bad.map(|i| format!("{} is {}", expected[i], natural[i]))
        };
        if let Some(problem) = problem {
            return Err(LawError::Parameters {
                law: law.name(),
                expected,
                problem,
            });
        }
        let frame = Frame::unit(law.n_sizes());
        let internal = law.internal(&natural, &frame);
        Ok(Self {
            law,
            natural,
            internal,
            frame,
        })
    }

    /// Builds a predicting law from named natural parameters.
    ///
    /// # Errors
    /// [`LawError::Parameters`] when a parameter is missing or not finite.
    pub fn from_named<'a>(
        law: Arc<dyn Law>,
        named: impl Fn(&str) -> Option<f64> + 'a,
    ) -> Result<Self, LawError> {
        let expected: Vec<String> = law.parameters().into_iter().map(|p| p.name).collect();
        let mut natural = Vec::with_capacity(expected.len());
        for name in &expected {
            match named(name) {
                Some(value) => natural.push(value),
                None => {
                    let problem = format!("{name} is missing");
                    return Err(LawError::Parameters {
                        law: law.name(),
                        expected,
                        problem,
                    });
                }
            }
        }
        Self::from_parts(law, natural)
    }

    /// Takes a law whose parameters were stated or read, not fitted here.
    ///
    /// # Errors
    /// [`LawError::Parameters`] when a parameter is one that no fit can have.
    pub fn stated(self) -> Result<Self, LawError> {
        let parameters = self.law.parameters();
        // Bounds of a formula's coordinates are in units of its data.
        if is_formula(&self.law.name()) {
            return match self.internal.iter().position(|value| !value.is_finite()) {
                None => Ok(self),
                Some(at) => Err(LawError::Parameters {
                    law: self.law.name(),
                    problem: format!(
                        "{} is {}, where the formula has no value",
                        parameters[at].name, self.natural[at]
                    ),
                    expected: parameters.into_iter().map(|p| p.name).collect(),
                }),
            };
        }
        for (at, parameter) in parameters.iter().enumerate() {
            // An offset has no upper bound of its own: it is bounded beside the sizes of a fit.
            let (value, (low, high)) = match parameter.role {
                Role::Offset => (self.natural[at], (0.0, f64::INFINITY)),
                _ => (self.internal[at], parameter.bounds),
            };
            let slack = 1e-9 * value.abs();
            if !(low - slack..=high + slack).contains(&value) {
                let name = &parameter.name;
                let bounds = if high.is_finite() {
                    format!("between {low} and {high}")
                } else {
                    format!("at least {low}")
                };
                return Err(LawError::Parameters {
                    law: self.law.name(),
                    problem: format!("{name} is {}: it must be {bounds}", self.natural[at]),
                    expected: parameters.into_iter().map(|p| p.name).collect(),
                });
            }
        }
        Ok(self)
    }

    /// Returns the law.
    pub fn law(&self) -> &Arc<dyn Law> {
        &self.law
    }

    /// Returns the natural parameters in the law's order.
    pub fn parameters(&self) -> &[f64] {
        &self.natural
    }

    /// Predicts the response at inputs given in the order of [`Law::inputs`].
    ///
    /// Returns NaN where the law has no value.
    pub fn predict(&self, inputs: &[f64]) -> f64 {
        let (mut x, mut g) = ([0.0; MAX_SIZES], [0.0; MAX_PARAMETERS]);
        let x = &mut x[..self.frame.sizes.len()];
        self.law.sizes(inputs, x);
        self.law.features(x, &self.frame);
        self.law
            .value(&self.internal, x, &mut g[..self.internal.len()])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Chinchilla, by_name};
    use super::*;

    #[test]
    fn predicts_the_equation() {
        let law = by_name("chinchilla").unwrap();
        let fitted = FittedLaw::from_parts(law, vec![1.8, 400.0, 2000.0, 0.34, 0.37]).unwrap();
        let expected = 1.8 + 400.0 / 1e9_f64.powf(0.34) + 2000.0 / 2e10_f64.powf(0.37);
        assert!((fitted.predict(&[1e9, 2e10]) - expected).abs() < 1e-13);
    }

    #[test]
    fn parameters_that_no_fit_has_are_refused() {
        let stated = |name: &str, values: &[f64]| {
            let law = FittedLaw::from_parts(by_name(name).unwrap(), values.to_vec());
            law.and_then(FittedLaw::stated)
                .map_err(|error| error.to_string())
        };
        assert!(stated("chinchilla", &[1.8, 400.0, 2000.0, 0.34, 0.37]).is_ok());
        for (values, why) in [
            ([-1.0, 400.0, 2000.0, 0.34, 0.37], "E is -1"),
            ([1.8, 400.0, 2000.0, -0.34, 0.37], "alpha is -0.34"),
            ([1.8, 400.0, 2000.0, 0.34, 37.0], "between 0 and 8"),
        ] {
            let said = stated("chinchilla", &values).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let error =
            FittedLaw::from_named(Arc::new(Chinchilla), |name| (name != "beta").then_some(1.0));
        assert!(error.unwrap_err().to_string().contains("beta is missing"));
    }
}
