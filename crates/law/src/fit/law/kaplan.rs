//! The law of Kaplan et al.: `L(N, D) = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D`.

use super::{Frame, Input, Law, Parameter};

/// The first joint law of size and data, without an irreducible loss.
///
/// # Units
/// N in non-embedding parameters, D in tokens, loss in nats per token.
///
/// # Source
/// Kaplan et al., arXiv 2001.08361, Eq. 1.5.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kaplan;

// Internally a limit is the logarithm of the loss to which it alone would lead at the centre.
const N_C: usize = 0;
const D_C: usize = 1;
const ALPHA_N: usize = 2;
const ALPHA_D: usize = 3;

impl Law for Kaplan {
    fn name(&self) -> String {
        "kaplan".into()
    }

    fn equation(&self) -> String {
        "loss = ((N_c/params)^(alpha_N/alpha_D) + D_c/tokens)^alpha_D".into()
    }

    fn source(&self) -> &'static str {
        "Kaplan et al., arXiv 2001.08361, Eq. 1.5"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::resource("params", "non-embedding parameters"),
            Input::resource("tokens", "tokens"),
        ]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let limit = |name, unit| Parameter::nonlinear(name, unit, (-30.0, 10.0), (-2.0, 0.0));
        let exponent = |name| Parameter::nonlinear(name, "1", (1e-3, 8.0), (0.03, 0.6));
        vec![
            limit("N_c", "parameters"),
            limit("D_c", "tokens"),
            exponent("alpha_N"),
            exponent("alpha_D"),
        ]
    }

    fn n_sizes(&self) -> usize {
        2
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        sizes.copy_from_slice(inputs);
    }

    #[inline]
    fn value(&self, u: &[f64], x: &[f64], gradient: &mut [f64]) -> f64 {
        let power = u[ALPHA_D];
        let size = (u[N_C] - u[ALPHA_N] * x[0]) / power;
        let data = u[D_C] / power - x[1];
        let top = size.max(data);
        let (a, b) = ((size - top).exp(), (data - top).exp());
        let ln_sum = top + (a + b).ln();
        let value = (power * ln_sum).exp();
        let (a, b) = (value * a / (a + b), value * b / (a + b));
        gradient[N_C] = a;
        gradient[D_C] = b;
        gradient[ALPHA_N] = -a * x[0];
        gradient[ALPHA_D] = value * ln_sum - a * size - b * u[D_C] / power;
        value
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        let response = frame.response.ln();
        vec![
            frame.sizes[0] * ((u[N_C] + response) / u[ALPHA_N]).exp(),
            frame.sizes[1] * ((u[D_C] + response) / u[ALPHA_D]).exp(),
            u[ALPHA_N],
            u[ALPHA_D],
        ]
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        let response = frame.response.ln();
        vec![
            p[ALPHA_N] * (p[N_C] / frame.sizes[0]).ln() - response,
            p[ALPHA_D] * (p[D_C] / frame.sizes[1]).ln() - response,
            p[ALPHA_N],
            p[ALPHA_D],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_coordinates_agree() {
        let rows = [vec![1e7, 2e9], vec![3e9, 5e10], vec![7e9, 1e8]];
        super::super::checks::law_is_consistent(&Kaplan, &[6.4e13, 1.8e13, 0.076, 0.103], &rows);
    }

    #[test]
    fn endless_data_leave_the_size_limit() {
        let frame = Frame::unit(2);
        let u = Kaplan.internal(&[8.8e13, 5.4e13, 0.076, 0.095], &frame);
        let mut x = [1e9, 1e40];
        Kaplan.features(&mut x, &frame);
        let loss = Kaplan.value(&u, &x, &mut [0.0; 4]);
        assert!((loss - (8.8e13_f64 / 1e9).powf(0.076)).abs() < 1e-9);
    }
}
