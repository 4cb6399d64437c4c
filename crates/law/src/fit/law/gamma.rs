//! The Chinchilla law with an outer power: `L(N, D) = E + (A/N^α + B/D^β)^γ`.

use super::{Frame, Input, Law, Parameter};

/// The parametric loss with interaction between size and data.
///
/// # Units
/// N in parameters, D in tokens, loss in nats per token.
///
/// # Source
/// Busbridge et al. (Distillation Scaling Laws), arXiv 2502.08606; γ = 1 is Hoffmann et al.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gamma;

const E: usize = 0;
// Internally an amplitude is the logarithm of the reducible loss its term alone would give.
const A: usize = 1;
const B: usize = 2;
const ALPHA: usize = 3;
const BETA: usize = 4;
const GAMMA: usize = 5;

impl Law for Gamma {
    fn name(&self) -> String {
        "gamma".into()
    }

    fn equation(&self) -> String {
        "loss = E + (A/params^alpha + B/tokens^beta)^gamma".into()
    }

    fn source(&self) -> &'static str {
        "Busbridge et al., arXiv 2502.08606"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::resource("params", "parameters"),
            Input::resource("tokens", "tokens"),
        ]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let term = |name, unit| Parameter::nonlinear(name, unit, (-30.0, 5.0), (-3.0, 0.0));
        vec![
            Parameter::amplitude("E", "nats per token"),
            term("A", "(nats per token)^(1/gamma) · parameters^alpha"),
            term("B", "(nats per token)^(1/gamma) · tokens^beta"),
            Parameter::exponent("alpha"),
            Parameter::exponent("beta"),
            Parameter::nonlinear("gamma", "1", (0.02, 20.0), (0.5, 2.0)),
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
        let gamma = u[GAMMA];
        let size = u[A] / gamma - u[ALPHA] * x[0];
        let data = u[B] / gamma - u[BETA] * x[1];
        let top = size.max(data);
        let (a, b) = ((size - top).exp(), (data - top).exp());
        let ln_sum = top + (a + b).ln();
        let reducible = (gamma * ln_sum).exp();
        let (a, b) = (reducible * a / (a + b), reducible * b / (a + b));
        gradient[E] = 1.0;
        gradient[A] = a;
        gradient[B] = b;
        gradient[ALPHA] = -gamma * a * x[0];
        gradient[BETA] = -gamma * b * x[1];
        gradient[GAMMA] = reducible * ln_sum - (a * u[A] + b * u[B]) / gamma;
        u[E] + reducible
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        let term = |at: usize, exponent: usize, size: f64| {
            ((u[at] + frame.response.ln()) / u[GAMMA]).exp() * size.powf(u[exponent])
        };
        vec![
            u[E] * frame.response,
            term(A, ALPHA, frame.sizes[0]),
            term(B, BETA, frame.sizes[1]),
            u[ALPHA],
            u[BETA],
            u[GAMMA],
        ]
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        let term = |at: usize, exponent: usize, size: f64| {
            p[GAMMA] * (p[at].ln() - p[exponent] * size.ln()) - frame.response.ln()
        };
        vec![
            p[E] / frame.response,
            term(A, ALPHA, frame.sizes[0]),
            term(B, BETA, frame.sizes[1]),
            p[ALPHA],
            p[BETA],
            p[GAMMA],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_coordinates_agree() {
        let rows = [vec![1e8, 2e9], vec![3e9, 5e10], vec![7e9, 1e12]];
        let p = [1.22, 3355.0, 18186.0, 0.408, 0.431, 0.452];
        super::super::checks::law_is_consistent(&Gamma, &p, &rows);
    }

    #[test]
    fn gamma_one_is_chinchilla() {
        let frame = Frame::unit(2);
        let p = [1.8, 400.0, 2000.0, 0.34, 0.37];
        let mut x = [2e9, 4e10];
        Gamma.features(&mut x, &frame);
        let u = Gamma.internal(&[p[0], p[1], p[2], p[3], p[4], 1.0], &frame);
        let gamma = Gamma.value(&u, &x, &mut [0.0; 6]);
        let u = super::super::Chinchilla.internal(&p, &frame);
        let chinchilla = super::super::Chinchilla.value(&u, &x, &mut [0.0; 5]);
        assert!((gamma - chinchilla).abs() < 1e-12);
    }
}
