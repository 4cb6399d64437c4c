//! The Chinchilla law: `L(N, D) = E + A/N^α + B/D^β`.

use super::{Frame, Input, Law, Parameter, Term};

/// The parametric loss of Hoffmann et al. for dense models.
///
/// # Units
/// N in parameters, D in tokens, loss in nats per token.
///
/// # Source
/// Hoffmann et al., arXiv 2203.15556, Eq. 2; estimated as in Besiroglu et al., arXiv 2404.10102.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chinchilla;

impl Law for Chinchilla {
    fn name(&self) -> String {
        "chinchilla".into()
    }

    fn equation(&self) -> String {
        "loss = E + A/params^alpha + B/tokens^beta".into()
    }

    fn source(&self) -> &'static str {
        "Hoffmann et al., arXiv 2203.15556, Eq. 2"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::resource("params", "parameters"),
            Input::resource("tokens", "tokens"),
        ]
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::amplitude("E", "nats per token"),
            Parameter::amplitude("A", "nats per token · parameters^alpha"),
            Parameter::amplitude("B", "nats per token · tokens^beta"),
            Parameter::exponent("alpha"),
            Parameter::exponent("beta"),
        ]
    }

    fn terms(&self) -> Option<(usize, Vec<Term>)> {
        let power = |amplitude, exponent| Term {
            amplitude,
            exponent,
            offset: None,
        };
        Some((0, vec![power(1, 3), power(2, 4)]))
    }

    fn n_sizes(&self) -> usize {
        2
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        sizes.copy_from_slice(inputs);
    }

    #[inline]
    fn value(&self, u: &[f64], x: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, d) = ((-u[3] * x[0]).exp(), (-u[4] * x[1]).exp());
        gradient[0] = 1.0;
        gradient[1] = n;
        gradient[2] = d;
        gradient[3] = -u[1] * n * x[0];
        gradient[4] = -u[2] * d * x[1];
        u[0] + u[1] * n + u[2] * d
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        vec![
            u[0] * frame.response,
            u[1] * frame.response * frame.sizes[0].powf(u[3]),
            u[2] * frame.response * frame.sizes[1].powf(u[4]),
            u[3],
            u[4],
        ]
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        vec![
            p[0] / frame.response,
            p[1] / frame.response * frame.sizes[0].powf(-p[3]),
            p[2] / frame.response * frame.sizes[1].powf(-p[4]),
            p[3],
            p[4],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_coordinates_agree() {
        let rows: Vec<Vec<f64>> = [[1e8, 2e9], [3e9, 5e10], [7e9, 1e12]]
            .iter()
            .map(|r| r.to_vec())
            .collect();
        super::super::checks::law_is_consistent(
            &Chinchilla,
            &[1.8172, 477.8, 2143.4, 0.3473, 0.3672],
            &rows,
        );
    }
}
