//! The laws as far as the runs can determine them.
//!
//! Owns which form of which law was fitted: Eq. 22 whole or in part, and laws without concepts, whole
//! or at one D.

use crate::fit::FittedLaw;
pub use crate::fit::law::DlcmForm;
use crate::fit::law::{Frame, Input, Law, LawError, Parameter, by_name};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The form of a law that was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum LawForm {
    /// Eq. 22, whole or in part.
    Dlcm(DlcmForm),
    /// E + A/N^alpha + B/D^beta.
    Chinchilla,
    /// E + A/N^alpha at one D, of which E holds the data term.
    DenseAtOneD,
    /// The same with E taken over from the DLCM law at that D.
    DenseSharedFloor,
    /// A law as it is written.
    Named {
        /// Its name.
        law: String,
    },
}

impl LawForm {
    /// Makes the law, in which every parameter is free.
    ///
    /// # Errors
    /// When the fit engine does not know a law of that name.
    pub fn law(&self) -> Result<Arc<dyn Law>, LawError> {
        match self {
            Self::Named { law } => by_name(law),
            Self::Dlcm(form) => by_name(&form.name()),
            Self::Chinchilla => by_name("chinchilla"),
            Self::DenseAtOneD | Self::DenseSharedFloor => by_name("power:params"),
        }
    }

    /// Rebuilds the predicting law from named parameters, as stored.
    ///
    /// # Errors
    /// When a parameter is missing.
    pub fn fitted(&self, named: impl Fn(&str) -> Option<f64>) -> Result<FittedLaw, LawError> {
        FittedLaw::from_named(self.law()?, named)
    }

    /// Says whether the law is less than the one the literature writes.
    pub fn is_reduced(&self) -> bool {
        !matches!(
            self,
            Self::Dlcm(DlcmForm::WHOLE) | Self::Chinchilla | Self::Named { .. }
        )
    }

    /// Says whether the law knows what more tokens do.
    pub fn knows_tokens(&self) -> bool {
        matches!(
            self,
            Self::Chinchilla | Self::Dlcm(DlcmForm { data: true, .. })
        )
    }
}

/// `L = floor + A/N^alpha` with a floor that is known: it is read from the data.
#[derive(Clone, Copy, Debug)]
pub(super) struct DenseOverFloor;

impl Law for DenseOverFloor {
    fn name(&self) -> String {
        "dense_over_floor".into()
    }

    fn equation(&self) -> String {
        "loss = floor + A/params^alpha".into()
    }

    fn source(&self) -> &'static str {
        "Hoffmann et al., arXiv 2203.15556, Eq. 2, at one D and with a given E"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::resource("params", "non-embedding parameters"),
            Input::factor("floor", "nats per token"),
        ]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::amplitude("A", "nats per token · parameters^alpha"),
            Parameter::exponent("alpha"),
        ]
    }

    fn n_sizes(&self) -> usize {
        2
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        sizes.copy_from_slice(inputs);
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        sizes[0] = (sizes[0] / frame.sizes[0]).ln();
        sizes[1] /= frame.response;
    }

    fn value(&self, internal: &[f64], features: &[f64], gradient: &mut [f64]) -> f64 {
        let power = (-internal[1] * features[0]).exp();
        gradient[0] = power;
        gradient[1] = -internal[0] * power * features[0];
        features[1] + internal[0] * power
    }

    fn natural(&self, internal: &[f64], frame: &Frame) -> Vec<f64> {
        let [amplitude, alpha] = [internal[0], internal[1]];
        vec![
            amplitude * frame.response * frame.sizes[0].powf(alpha),
            alpha,
        ]
    }

    fn internal(&self, natural: &[f64], frame: &Frame) -> Vec<f64> {
        let [amplitude, alpha] = [natural[0], natural[1]];
        vec![
            amplitude / frame.response * frame.sizes[0].powf(-alpha),
            alpha,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consistent(law: &dyn Law, natural: &[f64], row: &[f64]) {
        let mut frame = Frame::unit(law.n_sizes());
        law.sizes(row, &mut frame.sizes);
        frame.sizes.iter_mut().for_each(|size| *size *= 0.7);
        frame.response = 2.5;
        let internal = law.internal(natural, &frame);
        for (back, given) in law.natural(&internal, &frame).iter().zip(natural) {
            assert!(
                (back - given).abs() < 1e-9 * given.abs().max(1e-9),
                "{back} {given}"
            );
        }
        let mut features = vec![0.0; law.n_sizes()];
        law.sizes(row, &mut features);
        law.features(&mut features, &frame);
        let mut gradient = vec![0.0; internal.len()];
        law.value(&internal, &features, &mut gradient);
        for (j, slope) in gradient.iter().enumerate() {
            let at = |shift: f64| {
                let mut moved = internal.clone();
                moved[j] += shift;
                law.value(&moved, &features, &mut vec![0.0; internal.len()])
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                (difference - slope).abs() < 1e-6 * (1.0 + slope.abs()),
                "{j}"
            );
        }
    }

    #[test]
    fn parts_of_eq_22_predict_what_the_whole_predicts() {
        let whole = LawForm::Dlcm(DlcmForm::WHOLE);
        for (offsets, ratio, data) in [
            (true, true, false),
            (false, true, true),
            (false, false, false),
        ] {
            let form = LawForm::Dlcm(DlcmForm {
                offsets,
                ratio,
                data,
            });
            let value = |name: &str| match name {
                "E0" => 1.6,
                "A_token" => 110.0,
                "A_concept" => 55.0,
                "delta1" => 0.3,
                "delta2" => 0.28,
                "gamma" if ratio => 0.15,
                "t_token" | "t_concept" if offsets => 1e5,
                "t_data" if offsets && data => 1e6,
                "A_data" if data => 850.0,
                "alpha" if data => 0.33,
                _ => 0.0,
            };
            let row = if data {
                vec![4e5, 2e6, 4.0, 0.5]
            } else {
                vec![4e5, 4.0, 0.5]
            };
            let part = form.fitted(|name| Some(value(name))).expect("all given");
            let all = whole.fitted(|name| Some(value(name))).expect("all given");
            let expected = all.predict(&[4e5, 2e6, 4.0, 0.5]);
            assert!((part.predict(&row) - expected).abs() < 1e-12 * expected);
            consistent(part.law().as_ref(), part.parameters(), &row);
        }
    }

    #[test]
    fn the_dense_law_over_a_floor_is_consistent() {
        consistent(&DenseOverFloor, &[110.0, 0.3], &[4e5, 1.7]);
    }
}
