//! The data-constrained law of Muennighoff et al.: repeated tokens and excess parameters decay.

use super::{Frame, Input, Law, Parameter};

/// The Chinchilla law with effective data and effective parameters.
///
/// `L = E + A/N'^alpha + B/D'^beta`, where U tokens seen over `R_D + 1` epochs are worth
/// `D' = U·(1 + R_D_star·(1 − exp(−R_D/R_D_star)))`, and N parameters, of which `U_N` are optimal for
/// U tokens, are worth `N' = U_N·(1 + R_N_star·(1 − exp(−R_N/R_N_star)))` with `R_N = N/U_N − 1`.
///
/// # Units
/// N in parameters, D and U in tokens, loss in nats per token.
///
/// # Source
/// Muennighoff et al., arXiv 2305.16264, Eq. 5–8 and appendix A. All parameters are fitted together
/// here; the paper fits the starred two with the others fixed.
#[derive(Clone, Copy, Debug, Default)]
pub struct DataConstrained;

const E: usize = 0;
const A: usize = 1;
const B: usize = 2;
const ALPHA: usize = 3;
const BETA: usize = 4;
// Internally the logarithms.
const R_D: usize = 5;
const R_N: usize = 6;

/// Amplitudes below this have no optimum to speak of.
const TINY: f64 = 1e-9;

impl Law for DataConstrained {
    fn name(&self) -> String {
        "data_constrained".into()
    }

    fn equation(&self) -> String {
        "loss = E + A/N'^alpha + B/D'^beta, D' = unique_tokens·(1 + R_D_star·(1 − exp(−R_D/R_D_star))), \
         N' = U_N·(1 + R_N_star·(1 − exp(−R_N/R_N_star)))"
            .into()
    }

    fn source(&self) -> &'static str {
        "Muennighoff et al., arXiv 2305.16264, Eq. 5-8"
    }

    fn inputs(&self) -> Vec<Input> {
        vec![
            Input::resource("params", "parameters"),
            Input::resource("tokens", "tokens"),
            Input::resource("unique_tokens", "tokens"),
        ]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let repeat = |name| {
            let ln = |low: f64, high: f64| (low.ln(), high.ln());
            Parameter::nonlinear(name, "repetitions", ln(0.01, 1e4), ln(2.0, 40.0))
        };
        vec![
            Parameter::amplitude("E", "nats per token"),
            Parameter::amplitude("A", "nats per token · parameters^alpha"),
            Parameter::amplitude("B", "nats per token · tokens^beta"),
            Parameter::exponent("alpha"),
            Parameter::exponent("beta"),
            repeat("R_D_star"),
            repeat("R_N_star"),
        ]
    }

    fn n_sizes(&self) -> usize {
        3
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        let [params, tokens, unique] = [inputs[0], inputs[1], inputs[2]];
        sizes.copy_from_slice(&[params, tokens, unique.min(tokens)]);
    }

    fn features(&self, sizes: &mut [f64], frame: &Frame) {
        // Unique tokens are compared with tokens, so they share their reference.
        let references = [frame.sizes[0], frame.sizes[1], frame.sizes[1]];
        for (size, reference) in sizes.iter_mut().zip(references) {
            *size = (*size / reference).ln();
        }
    }

    #[inline]
    fn value(&self, u: &[f64], x: &[f64], g: &mut [f64]) -> f64 {
        let (alpha, beta) = (u[ALPHA].max(1e-3), u[BETA].max(1e-3));
        let (t_n, t_d) = (u[A].max(TINY), u[B].max(TINY));
        // ln of the parameters that are optimal for the unique tokens.
        let best = ((alpha * t_n / (beta * t_d)).ln() + beta * x[2]) / alpha;
        let (size, size_best, size_star) = worth(x[0].min(best), x[0], u[R_N].exp());
        let (data, _, data_star) = worth(x[2], x[1], u[R_D].exp());
        let (n, d) = ((-u[ALPHA] * size).exp(), (-u[BETA] * data).exp());
        // The chain through `best` matters only where there are excess parameters.
        let through = if best < x[0] {
            -u[A] * n * u[ALPHA] * size_best
        } else {
            0.0
        };
        g[E] = 1.0;
        g[A] = n + through / (alpha * t_n);
        g[B] = d - through / (alpha * t_d);
        g[ALPHA] = -u[A] * n * size + through * (1.0 / alpha - best) / alpha;
        g[BETA] = -u[B] * d * data + through * (x[2] - 1.0 / beta) / alpha;
        g[R_D] = -u[B] * d * u[BETA] * data_star;
        g[R_N] = -u[A] * n * u[ALPHA] * size_star;
        u[E] + u[A] * n + u[B] * d
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        vec![
            u[E] * frame.response,
            u[A] * frame.response * frame.sizes[0].powf(u[ALPHA]),
            u[B] * frame.response * frame.sizes[1].powf(u[BETA]),
            u[ALPHA],
            u[BETA],
            u[R_D].exp(),
            u[R_N].exp(),
        ]
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        vec![
            p[E] / frame.response,
            p[A] / frame.response * frame.sizes[0].powf(-p[ALPHA]),
            p[B] / frame.response * frame.sizes[1].powf(-p[BETA]),
            p[ALPHA],
            p[BETA],
            p[R_D].ln(),
            p[R_N].ln(),
        ]
    }
}

/// Returns `ln` of what `total` is worth when only `base` of it is fresh (both as logarithms), and
/// its derivatives with respect to `base` and to `ln star`.
#[inline]
fn worth(base: f64, total: f64, star: f64) -> (f64, f64, f64) {
    let repeats = (total - base).exp() - 1.0;
    let z = repeats / star;
    let decay = (-z).exp();
    let factor = 1.0 + star * (1.0 - decay);
    let by_base = 1.0 - decay * (1.0 + repeats) / factor;
    let by_star = star * (1.0 - decay - z * decay) / factor;
    (base + factor.ln(), by_base, by_star)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: [f64; 7] = [1.87, 521.0, 1488.0, 0.353, 0.353, 15.4, 5.3];

    #[test]
    fn gradient_and_coordinates_agree() {
        // With and without repetition, with and without excess parameters.
        let rows = [
            vec![1e8, 2e9, 2e9],
            vec![8e9, 5e10, 4e9],
            vec![2e8, 3e10, 3e9],
            vec![9e9, 1e10, 1e10],
        ];
        super::super::checks::law_is_consistent(&DataConstrained, &PUBLISHED, &rows);
    }

    #[test]
    fn few_repeats_are_almost_fresh_and_many_are_worth_little() {
        let (fresh, _, _) = worth(0.0, 0.1_f64.ln_1p(), 15.0);
        assert!((fresh.exp() - 1.1).abs() < 1e-3);
        let (many, _, _) = worth(0.0, 1e9_f64.ln(), 15.0);
        assert!((many.exp() - 16.0).abs() < 1e-9);
    }
}
