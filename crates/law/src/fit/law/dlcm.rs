//! The DLCM law, Eq. 22: token, concept and data terms, each with an offset.

use super::{
    Frame, Input, Law, Parameter, Term, offset_power, offset_power_internal, offset_power_natural,
};

/// The loss of a hierarchical token/concept model.
///
/// `L = E0 + A_token/(N(1−P) + t_token)^delta1 + A_concept·R^gamma/(N·P + t_concept)^delta2
/// + A_data/(D + t_data)^alpha`
///
/// # Units
/// N in non-embedding parameters, P a share in (0, 1), R in tokens per concept (realised), D in
/// tokens, loss in nats per token.
///
/// # Source
/// Dynamic Large Concept Models, arXiv 2512.24617, Eq. 22. The offsets are kept at or above 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dlcm;

// Positions of the parameters.
const E0: usize = 0;
const A_TOKEN: usize = 1;
const T_TOKEN: usize = 2;
const DELTA1: usize = 3;
const A_CONCEPT: usize = 4;
const GAMMA: usize = 5;
const T_CONCEPT: usize = 6;
const DELTA2: usize = 7;
const A_DATA: usize = 8;
const T_DATA: usize = 9;
const ALPHA: usize = 10;

// Positions of the sizes.
const TOKEN: usize = 0;
const CONCEPT: usize = 1;
const RATIO: usize = 2;
const DATA: usize = 3;

impl Law for Dlcm {
    fn name(&self) -> String {
        "dlcm".into()
    }

    fn equation(&self) -> String {
        "loss = E0 + A_token/(params·(1−concept_share) + t_token)^delta1 \
         + A_concept·compression_ratio^gamma/(params·concept_share + t_concept)^delta2 \
         + A_data/(tokens + t_data)^alpha"
            .into()
    }

    fn source(&self) -> &'static str {
        "Dynamic Large Concept Models, arXiv 2512.24617, Eq. 22"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::resource("params", "non-embedding parameters"),
            Input::resource("tokens", "tokens"),
            Input::factor("compression_ratio", "tokens per concept"),
            Input::share("concept_share"),
        ]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::amplitude("E0", "nats per token"),
            Parameter::amplitude("A_token", "nats per token · parameters^delta1"),
            Parameter::offset("t_token", "parameters"),
            Parameter::exponent("delta1"),
            Parameter::amplitude("A_concept", "nats per token · parameters^delta2"),
            Parameter::nonlinear("gamma", "1", (-8.0, 8.0), (-0.2, 0.6)),
            Parameter::offset("t_concept", "parameters"),
            Parameter::exponent("delta2"),
            Parameter::amplitude("A_data", "nats per token · tokens^alpha"),
            Parameter::offset("t_data", "tokens"),
            Parameter::exponent("alpha"),
        ]
    }

    fn terms(&self) -> Option<(usize, Vec<Term>)> {
        let power = |amplitude, exponent, offset| Term {
            amplitude,
            exponent,
            offset: Some(offset),
        };
        let token = power(A_TOKEN, DELTA1, T_TOKEN);
        let concept = power(A_CONCEPT, DELTA2, T_CONCEPT);
        Some((E0, vec![token, concept, power(A_DATA, ALPHA, T_DATA)]))
    }

    fn n_sizes(&self) -> usize {
        4
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        let [params, tokens, ratio, share] = [inputs[0], inputs[1], inputs[2], inputs[3]];
        sizes[TOKEN] = params * (1.0 - share);
        sizes[CONCEPT] = params * share;
        sizes[RATIO] = ratio;
        sizes[DATA] = tokens;
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        for (size, reference) in sizes.iter_mut().zip(&frame.sizes) {
            *size /= reference;
        }
        sizes[RATIO] = sizes[RATIO].ln();
    }

    #[inline]
    fn value(&self, u: &[f64], x: &[f64], g: &mut [f64]) -> f64 {
        let ratio = u[GAMMA] * x[RATIO];
        let (token, token_s, token_e) = offset_power(x[TOKEN], u[T_TOKEN], u[DELTA1], 0.0);
        let (concept, concept_s, concept_e) =
            offset_power(x[CONCEPT], u[T_CONCEPT], u[DELTA2], ratio);
        let (data, data_s, data_e) = offset_power(x[DATA], u[T_DATA], u[ALPHA], 0.0);
        let terms = [u[A_TOKEN] * token, u[A_CONCEPT] * concept, u[A_DATA] * data];
        g[E0] = 1.0;
        g[A_TOKEN] = token;
        g[T_TOKEN] = terms[0] * token_s;
        g[DELTA1] = terms[0] * token_e;
        g[A_CONCEPT] = concept;
        g[GAMMA] = terms[1] * x[RATIO];
        g[T_CONCEPT] = terms[1] * concept_s;
        g[DELTA2] = terms[1] * concept_e;
        g[A_DATA] = data;
        g[T_DATA] = terms[2] * data_s;
        g[ALPHA] = terms[2] * data_e;
        u[E0] + terms[0] + terms[1] + terms[2]
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        let term = |a: usize, t: usize, e: usize, size: usize| {
            offset_power_natural(u[a], u[t], u[e], frame.sizes[size], frame.response)
        };
        let (a_token, t_token) = term(A_TOKEN, T_TOKEN, DELTA1, TOKEN);
        let (a_concept, t_concept) = term(A_CONCEPT, T_CONCEPT, DELTA2, CONCEPT);
        let (a_data, t_data) = term(A_DATA, T_DATA, ALPHA, DATA);
        vec![
            u[E0] * frame.response,
            a_token,
            t_token,
            u[DELTA1],
            a_concept * frame.sizes[RATIO].powf(-u[GAMMA]),
            u[GAMMA],
            t_concept,
            u[DELTA2],
            a_data,
            t_data,
            u[ALPHA],
        ]
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        let term = |a: usize, t: usize, e: usize, size: usize| {
            offset_power_internal(p[a], p[t], p[e], frame.sizes[size], frame.response)
        };
        let (a_token, s_token) = term(A_TOKEN, T_TOKEN, DELTA1, TOKEN);
        let (a_concept, s_concept) = term(A_CONCEPT, T_CONCEPT, DELTA2, CONCEPT);
        let (a_data, s_data) = term(A_DATA, T_DATA, ALPHA, DATA);
        vec![
            p[E0] / frame.response,
            a_token,
            s_token,
            p[DELTA1],
            a_concept * frame.sizes[RATIO].powf(p[GAMMA]),
            p[GAMMA],
            s_concept,
            p[DELTA2],
            a_data,
            s_data,
            p[ALPHA],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_coordinates_agree() {
        let rows: Vec<Vec<f64>> = [
            [3e8, 2e10, 4.0, 0.5],
            [8e8, 1e12, 8.0, 0.7],
            [2e7, 1e9, 1.5, 0.1],
        ]
        .iter()
        .map(|r| r.to_vec())
        .collect();
        super::super::checks::law_is_consistent(
            &Dlcm,
            &[
                1.6, 110.0, 2e7, 0.3, 55.0, 0.15, 3e7, 0.28, 850.0, 1e9, 0.33,
            ],
            &rows,
        );
    }

    #[test]
    fn without_offset_the_concept_term_is_a_plain_power() {
        let frame = Frame::unit(4);
        let p = [
            1.6, 110.0, 0.0, 0.3, 55.0, 0.15, 0.0, 0.28, 850.0, 0.0, 0.33,
        ];
        let mut x = [0.0; 4];
        Dlcm.sizes(&[1e9, 1e11, 4.0, 0.6], &mut x);
        Dlcm.features(&mut x, &frame);
        let loss = Dlcm.value(&Dlcm.internal(&p, &frame), &x, &mut [0.0; 11]);
        let expected = 1.6
            + 110.0 / 4e8_f64.powf(0.3)
            + 55.0 * 4_f64.powf(0.15) / 6e8_f64.powf(0.28)
            + 850.0 / 1e11_f64.powf(0.33);
        assert!(
            (loss - expected).abs() < 1e-12 * expected,
            "{loss} {expected}"
        );
    }
}
