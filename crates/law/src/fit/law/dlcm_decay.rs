//! The gain of the learning-rate decay, Eq. 23: `Δ = k · L_stable^a · R^b · N^c`.

use super::{Frame, Input, Law, Parameter};

/// What decaying the learning rate takes off the loss of the stable phase.
///
/// # Units
/// Gain (`decay_gain`) and stable loss in nats per token, R in tokens per concept, N in
/// non-embedding parameters.
///
/// # Source
/// Dynamic Large Concept Models, arXiv 2512.24617, Eq. 23.
#[derive(Clone, Copy, Debug, Default)]
pub struct DlcmDecay;

impl Law for DlcmDecay {
    fn name(&self) -> String {
        "dlcm_decay".into()
    }

    fn equation(&self) -> String {
        "decay_gain = k·stable_loss^a·compression_ratio^b·params^c".into()
    }

    fn source(&self) -> &'static str {
        "Dynamic Large Concept Models, arXiv 2512.24617, Eq. 23"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::factor("stable_loss", "nats per token"),
            Input::factor("compression_ratio", "tokens per concept"),
            Input::factor("params", "non-embedding parameters"),
        ]
    }

    fn response(&self) -> &'static str {
        "decay_gain"
    }

    fn parameters(&self) -> Vec<Parameter> {
        let power = |name| Parameter::nonlinear(name, "1", (-30.0, 30.0), (-1.0, 1.0));
        vec![
            // Internally the logarithm of the gain at the centre.
            Parameter::nonlinear(
                "k",
                "nats per token, over the powers' units",
                (-50.0, 50.0),
                (-0.5, 0.5),
            ),
            power("a"),
            power("b"),
            power("c"),
        ]
    }

    fn n_sizes(&self) -> usize {
        3
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        sizes.copy_from_slice(inputs);
    }

    #[inline]
    fn value(&self, u: &[f64], x: &[f64], gradient: &mut [f64]) -> f64 {
        let gain = (u[0] + u[1] * x[0] + u[2] * x[1] + u[3] * x[2]).exp();
        gradient[0] = gain;
        for (slope, x) in gradient[1..].iter_mut().zip(x) {
            *slope = gain * x;
        }
        gain
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        let shift: f64 = frame
            .sizes
            .iter()
            .zip(&u[1..])
            .map(|(size, e)| e * size.ln())
            .sum();
        vec![frame.response * (u[0] - shift).exp(), u[1], u[2], u[3]]
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        let shift: f64 = frame
            .sizes
            .iter()
            .zip(&p[1..])
            .map(|(size, e)| e * size.ln())
            .sum();
        vec![(p[0] / frame.response).ln() + shift, p[1], p[2], p[3]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_coordinates_agree() {
        let rows = [
            vec![2.7, 4.0, 3e8],
            vec![2.2, 8.0, 9e8],
            vec![2.4, 2.0, 5e8],
        ];
        super::super::checks::law_is_consistent(&DlcmDecay, &[0.01, 1.8, -0.1, 0.06], &rows);
    }
}
