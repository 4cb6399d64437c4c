//! Eq. 22 as far as rows determine it: a reduced form has fewer parameters, not parameters that are
//! held at a guess.

use super::{Dlcm, Frame, Input, Law, Parameter, Term};
use serde::{Deserialize, Serialize};

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

    /// Finds the form whose law has this name, such as `dlcm_without_offsets`.
    pub fn named(name: &str) -> Option<Self> {
        let flags = [true, false];
        let forms = flags.into_iter().flat_map(|offsets| {
            flags.into_iter().flat_map(move |ratio| {
                flags.into_iter().map(move |data| Self {
                    offsets,
                    ratio,
                    data,
                })
            })
        });
        forms.into_iter().find(|form| form.name() == name)
    }

    /// Names its law.
    pub fn name(self) -> String {
        let mut name = String::from("dlcm");
        for (keeps, suffix) in [
            (self.data, "_at_one_d"),
            (self.offsets, "_without_offsets"),
            (self.ratio, "_at_one_r"),
        ] {
            if !keeps {
                name.push_str(suffix);
            }
        }
        name
    }

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

/// Eq. 22 with some parameters left out, computed by the whole law.
#[derive(Clone, Debug)]
pub(super) struct PartialDlcm {
    form: DlcmForm,
    /// Positions, in the whole law, of the parameters that are kept.
    kept: Vec<usize>,
}

/// Parameters of the whole law, and of its internal coordinates.
const WHOLE: usize = 11;

impl PartialDlcm {
    pub(super) fn new(form: DlcmForm) -> Self {
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
        self.form.name()
    }

    fn equation(&self) -> String {
        let offset = |name: &str| {
            if self.form.offsets {
                format!(" + {name}")
            } else {
                String::new()
            }
        };
        let ratio = if self.form.ratio {
            "·compression_ratio^gamma"
        } else {
            ""
        };
        let data = if self.form.data {
            format!(" + A_data/(tokens{})^alpha", offset("t_data"))
        } else {
            String::new()
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

#[cfg(test)]
mod tests {
    use super::super::by_name;
    use super::*;

    #[test]
    fn every_form_is_found_by_its_name() {
        for (offsets, ratio, data) in [
            (true, true, false),
            (false, false, true),
            (true, true, true),
        ] {
            let form = DlcmForm {
                offsets,
                ratio,
                data,
            };
            assert_eq!(DlcmForm::named(&form.name()), Some(form));
            let law = by_name(&form.name()).expect("known");
            assert_eq!(law.name(), form.name());
            assert_eq!(law.parameters().len(), form.parameters());
        }
        assert_eq!(DlcmForm::named("dlcm_decay"), None);
    }
}
