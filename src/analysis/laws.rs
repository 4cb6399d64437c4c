//! The laws as far as the runs can determine them.
//!
//! Owns the reduced forms: Eq. 22 without the terms that a small grid leaves open, and a dense law
//! at one D. A reduced form has fewer parameters, not parameters that are held at a guess.

use crate::fit::FittedLaw;
use crate::fit::law::{Dlcm, Frame, Input, Law, LawError, Parameter, Term, by_name};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The form of a law that was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// Which parts of Eq. 22 a form keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DlcmForm {
    /// Keeps the offsets t_token, t_concept and t_data.
    pub offsets: bool,
    /// Keeps R^gamma.
    pub ratio: bool,
    /// Keeps A_data/(D + t_data)^alpha; without it E0 holds its value at the one D.
    pub data: bool,
}

impl DlcmForm {
    /// Eq. 22 as the paper writes it.
    pub const WHOLE: Self = Self {
        offsets: true,
        ratio: true,
        data: true,
    };

    /// Counts the parameters.
    pub fn parameters(self) -> usize {
        PartialDlcm::new(self).kept.len()
    }

    /// Lists what was left out, in words; empty for the whole law.
    pub fn left_out(self) -> Vec<&'static str> {
        let mut parts = Vec::new();
        if !self.data {
            parts.push("the data term is merged into E0 (the runs share one D)");
        }
        if !self.offsets {
            parts.push("the offsets t are 0 (the runs are too few for them or show none)");
        }
        if !self.ratio {
            parts.push("R^gamma is merged into A_concept (the runs share one R)");
        }
        parts
    }
}

impl LawForm {
    /// Makes the law, in which every parameter is free.
    ///
    /// # Errors
    /// When the fit engine does not know a law of that name.
    pub fn law(self) -> Result<Arc<dyn Law>, LawError> {
        match self {
            Self::Dlcm(DlcmForm::WHOLE) => by_name("dlcm"),
            Self::Dlcm(form) => Ok(Arc::new(PartialDlcm::new(form))),
            Self::Chinchilla => by_name("chinchilla"),
            Self::DenseAtOneD | Self::DenseSharedFloor => by_name("power:params"),
        }
    }

    /// Rebuilds the predicting law from named parameters, as stored.
    ///
    /// # Errors
    /// When a parameter is missing.
    pub fn fitted(self, named: impl Fn(&str) -> Option<f64>) -> Result<FittedLaw, LawError> {
        FittedLaw::from_named(self.law()?, named)
    }

    /// Says whether the law is less than the one the literature writes.
    pub fn is_reduced(self) -> bool {
        !matches!(self, Self::Dlcm(DlcmForm::WHOLE) | Self::Chinchilla)
    }

    /// Says whether the law knows what more tokens do.
    pub fn knows_tokens(self) -> bool {
        matches!(
            self,
            Self::Chinchilla | Self::Dlcm(DlcmForm { data: true, .. })
        )
    }
}

/// Eq. 22 with some parameters left out, computed by the whole law.
#[derive(Clone, Debug)]
struct PartialDlcm {
    form: DlcmForm,
    /// Positions, in the whole law, of the parameters that are kept.
    kept: Vec<usize>,
}

/// Parameters of the whole law, and of its internal coordinates.
const WHOLE: usize = 11;

impl PartialDlcm {
    fn new(form: DlcmForm) -> Self {
        let keeps = |name: &str| match name {
            "t_token" | "t_concept" => form.offsets,
            "t_data" => form.offsets && form.data,
            "A_data" | "alpha" => form.data,
            "gamma" => form.ratio,
            _ => true,
        };
        let names = Dlcm.parameters();
        let kept = (0..names.len())
            .filter(|&j| keeps(&names[j].name))
            .collect();
        Self { form, kept }
    }

    /// Places kept values among those of the whole law; the others are such that they do nothing.
    fn whole(&self, kept: &[f64], nothing: [f64; WHOLE]) -> [f64; WHOLE] {
        let mut all = nothing;
        for (&position, &value) in self.kept.iter().zip(kept) {
            all[position] = value;
        }
        all
    }

    fn select(&self, all: &[f64]) -> Vec<f64> {
        self.kept.iter().map(|&position| all[position]).collect()
    }
}

/// Internal values of the whole law that do nothing: an offset t = 0 is the coordinate 1.
const NOTHING_INTERNAL: [f64; WHOLE] = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0];

impl Law for PartialDlcm {
    fn name(&self) -> String {
        let mut name = String::from("dlcm");
        for (keeps, suffix) in [
            (self.form.data, "_at_one_d"),
            (self.form.offsets, "_without_offsets"),
            (self.form.ratio, "_at_one_r"),
        ] {
            if !keeps {
                name.push_str(suffix);
            }
        }
        name
    }

    fn equation(&self) -> String {
        let offset = |name: &str| match self.form.offsets {
            true => format!(" + {name}"),
            false => String::new(),
        };
        let ratio = if self.form.ratio {
            "·compression_ratio^gamma"
        } else {
            ""
        };
        let data = match self.form.data {
            true => format!(" + A_data/(tokens{})^alpha", offset("t_data")),
            false => String::new(),
        };
        format!(
            "loss = E0 + A_token/(params·(1−concept_share){})^delta1 \
             + A_concept{ratio}/(params·concept_share{})^delta2{data}",
            offset("t_token"),
            offset("t_concept"),
        )
    }

    fn source(&self) -> &'static str {
        "Dynamic Large Concept Models, arXiv 2512.24617, Eq. 22, in part"
    }

    fn inputs(&self) -> Vec<Input> {
        let mut inputs = Dlcm.inputs();
        inputs.retain(|input| self.form.data || input.name != "tokens");
        inputs
    }

    fn parameters(&self) -> Vec<Parameter> {
        let all = Dlcm.parameters();
        self.kept
            .iter()
            .map(|&position| all[position].clone())
            .collect()
    }

    fn terms(&self) -> Option<(usize, Vec<Term>)> {
        let (floor, terms) = Dlcm.terms()?;
        let place = |position: usize| self.kept.iter().position(|&kept| kept == position);
        let terms = terms.into_iter().filter_map(|term| {
            Some(Term {
                amplitude: place(term.amplitude)?,
                exponent: place(term.exponent)?,
                offset: term.offset.and_then(place),
            })
        });
        Some((place(floor)?, terms.collect()))
    }

    fn n_sizes(&self) -> usize {
        Dlcm.n_sizes()
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        match (self.form.data, inputs) {
            (false, &[params, ratio, share]) => Dlcm.sizes(&[params, 1.0, ratio, share], sizes),
            _ => Dlcm.sizes(inputs, sizes),
        }
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        Dlcm.features(sizes, frame);
    }

    fn value(&self, internal: &[f64], features: &[f64], gradient: &mut [f64]) -> f64 {
        let mut whole = [0.0; WHOLE];
        let value = Dlcm.value(
            &self.whole(internal, NOTHING_INTERNAL),
            features,
            &mut whole,
        );
        for (to, &position) in gradient.iter_mut().zip(&self.kept) {
            *to = whole[position];
        }
        value
    }

    fn natural(&self, internal: &[f64], frame: &Frame) -> Vec<f64> {
        self.select(&Dlcm.natural(&self.whole(internal, NOTHING_INTERNAL), frame))
    }

    fn internal(&self, natural: &[f64], frame: &Frame) -> Vec<f64> {
        self.select(&Dlcm.internal(&self.whole(natural, [0.0; WHOLE]), frame))
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
            let row = match data {
                true => vec![4e5, 2e6, 4.0, 0.5],
                false => vec![4e5, 4.0, 0.5],
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
