//! A sum of powers of any columns: `L = E + Σ A_k / x_k^e_k`.

use super::{Frame, Input, Law, LawError, MAX_PARAMETERS, Parameter, Term};

/// The most columns: each has two parameters.
const MOST: usize = (MAX_PARAMETERS - 1) / 2;

/// An irreducible loss plus one decreasing power for each named column.
///
/// # Units
/// The columns' own; loss in nats per token.
///
/// # Source
/// The additive form of Hoffmann et al., arXiv 2203.15556, over other columns, as in McLeish et al.
/// (Gemstones), arXiv 2502.06857, for width and depth.
#[derive(Clone, Debug)]
pub struct Power {
    columns: Vec<String>,
}

impl Power {
    /// Builds the law over the given columns.
    ///
    /// # Errors
    /// [`LawError::Arguments`] without columns, with too many, with one column twice, or with the loss.
    pub fn new<T: AsRef<str>>(columns: &[T]) -> Result<Self, LawError> {
        let columns: Vec<String> = columns
            .iter()
            .map(|c| c.as_ref().trim().to_owned())
            .collect();
        let repeated = columns
            .iter()
            .enumerate()
            .find(|(i, c)| columns[..*i].contains(c));
        let problem = if columns.is_empty() || columns.iter().any(String::is_empty) {
            Some("name the columns, as in `power:width,depth,tokens`".to_owned())
        } else if let Some((_, column)) = repeated {
            Some(format!("column `{column}` is named twice"))
        } else if columns.iter().any(|column| column == "loss") {
            Some("`loss` is what it predicts: name what that depends on, as in `power:params,tokens`".to_owned())
        } else if columns.len() > MOST {
            Some(format!("{} columns are more than {MOST}", columns.len()))
        } else {
            None
        };
        match problem {
            Some(problem) => Err(LawError::Arguments {
                law: "power".into(),
                problem,
            }),
            None => Ok(Self { columns }),
        }
    }

    /// Builds the law from the text after `power:`.
    pub(crate) fn parse(arguments: Option<&str>) -> Result<Self, LawError> {
        Self::new(&arguments.unwrap_or_default().split(',').collect::<Vec<_>>())
    }

    fn amplitude(k: usize) -> usize {
        1 + 2 * k
    }
}

impl Law for Power {
    fn name(&self) -> String {
        format!("power:{}", self.columns.join(","))
    }

    fn equation(&self) -> String {
        let terms = self.columns.iter().map(|c| format!(" + A_{c}/{c}^e_{c}"));
        format!("loss = E{}", terms.collect::<String>())
    }

    fn source(&self) -> &'static str {
        "the additive form of Hoffmann et al., arXiv 2203.15556, over any columns"
    }

    fn inputs(&self) -> Vec<Input> {
        self.columns
            .iter()
            .map(|c| Input::resource(c.as_str(), "the column's own"))
            .collect()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = vec![Parameter::amplitude("E", "nats per token")];
        for column in &self.columns {
            let unit = "nats per token · column^exponent";
            parameters.push(Parameter::amplitude(format!("A_{column}"), unit));
            parameters.push(Parameter::exponent(format!("e_{column}")));
        }
        parameters
    }

    fn terms(&self) -> Option<(usize, Vec<Term>)> {
        let term = |k| {
            let amplitude = Self::amplitude(k);
            Term {
                amplitude,
                exponent: amplitude + 1,
                offset: None,
            }
        };
        Some((0, (0..self.columns.len()).map(term).collect()))
    }

    fn n_sizes(&self) -> usize {
        self.columns.len()
    }

    fn sizes(&self, inputs: &[f64], sizes: &mut [f64]) {
        sizes.copy_from_slice(inputs);
    }

    #[inline]
    fn value(&self, u: &[f64], x: &[f64], gradient: &mut [f64]) -> f64 {
        gradient[0] = 1.0;
        let mut total = u[0];
        for (k, x) in x.iter().enumerate() {
            let a = Self::amplitude(k);
            let power = (-u[a + 1] * x).exp();
            gradient[a] = power;
            gradient[a + 1] = -u[a] * power * x;
            total += u[a] * power;
        }
        total
    }

    fn natural(&self, u: &[f64], frame: &Frame) -> Vec<f64> {
        let mut p = u.to_vec();
        p[0] *= frame.response;
        for (k, size) in frame.sizes.iter().enumerate() {
            let a = Self::amplitude(k);
            p[a] *= frame.response * size.powf(u[a + 1]);
        }
        p
    }

    fn internal(&self, p: &[f64], frame: &Frame) -> Vec<f64> {
        let mut u = p.to_vec();
        u[0] /= frame.response;
        for (k, size) in frame.sizes.iter().enumerate() {
            let a = Self::amplitude(k);
            u[a] *= size.powf(-p[a + 1]) / frame.response;
        }
        u
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn gradient_and_coordinates_agree() {
        let law = Power::new(&["width", "depth", "tokens"]).unwrap();
        let rows = [vec![512.0, 12.0, 1e10], vec![2048.0, 24.0, 3e11]];
        let p = [1.9, 30.0, 0.6, 2.0, 0.8, 4000.0, 0.38];
        super::super::checks::law_is_consistent(&law, &p, &rows);
    }

    #[test]
    fn columns_are_checked() {
        for (text, said) in [
            (None, "name the columns"),
            (Some("a,a"), "twice"),
            (Some("a,,b"), "name"),
            (Some("params,loss"), "what it predicts"),
        ] {
            let message = Power::parse(text).unwrap_err().to_string();
            assert!(message.contains(said), "{message}");
        }
    }
}
