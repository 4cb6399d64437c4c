//! A fit in words, for a terminal.

use super::fit::{FitReport, HeldOutError, SensitivityReport};
use super::rows::write_left_out;
use crate::analysis::{Uncertainty, Warning, intervals_from, number};
use crate::fit::law;
use experiment::quantity::{counted, human};
use std::fmt;

/// Most warnings in the short form.
const FEW: usize = 2;

impl fmt::Display for FitReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        writeln!(f, "  {}", self.equation)?;
        for reduction in &self.reduced {
            writeln!(f, "  reduced: {reduction}")?;
        }
        writeln!(f, "  {}\n", self.source)?;
        self.write_parameters(f)?;
        writeln!(f)?;
        self.write_quality(f)?;
        if let Some(sensitivity) = &self.sensitivity {
            write_sensitivity(f, sensitivity)?;
        }
        self.write_warnings(f, usize::MAX)
    }
}

/// Says first why a result may mean nothing.
pub(super) fn write_void(f: &mut fmt::Formatter<'_>, warnings: &[Warning]) -> fmt::Result {
    let mut void = warnings.iter().filter(|warning| warning.is_void());
    void.try_for_each(|warning| writeln!(f, "! {warning}\n"))
}

impl FitReport {
    /// Writes what fits a screen: the verdict, the parameters, how well they fit and the first warnings.
    ///
    /// # Errors
    /// Those of the formatter.
    pub fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        writeln!(f, "  {}\n", self.equation)?;
        self.write_parameters(f)?;
        self.write_warnings(f, FEW)
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_void(f, &self.warnings)?;
        writeln!(f, "{}\n", self.verdict())?;
        writeln!(
            f,
            "{} on {}: {} of {}",
            law::called(&self.law),
            self.data,
            counted(self.n_rows, "row"),
            counted(self.n_runs, "run")
        )?;
        write_left_out(f, &self.excluded)
    }

    /// Says in a sentence how far the law can be used.
    pub fn verdict(&self) -> String {
        if !self.converged {
            let law = law::called(&self.law);
            return format!("{law}: the fit did not converge; do not use it.");
        }
        let fits = format!(
            "{} leaves residuals of {:.1}%",
            law::called(&self.law),
            100.0 * self.residuals.rms_residual
        );
        let held_out = self
            .held_out
            .iter()
            .filter_map(|(column, error)| match error {
                HeldOutError::Measured { mean_error, .. } => Some((column, *mean_error)),
                HeldOutError::Unknown { .. } => None,
            });
        let worst = held_out.max_by(|a, b| a.1.total_cmp(&b.1));
        let worst = worst.map_or_else(String::new, |(column, error)| {
            format!(
                ", and predicts the rows of the largest {column} from the others to {:.1}%",
                100.0 * error
            )
        });
        let open = if self.unidentified.is_empty() {
            String::new()
        } else {
            format!(
                "; the rows do not determine {}: use predictions near them, not these values",
                self.unidentified.join(", ")
            )
        };
        let moves = self.sensitivity.as_ref().filter(|other| other.moves);
        let moves = moves.map_or_else(String::new, |other| {
            format!(
                "; other choices move what it says of ten times the data by up to {:.1}%",
                100.0 * other.largest_change
            )
        });
        format!("{fits}{worst}{open}{moves}.")
    }

    /// Writes warnings, but for those that stand before the result.
    fn write_warnings(&self, f: &mut fmt::Formatter<'_>, most: usize) -> fmt::Result {
        let told: Vec<&Warning> = self.warnings.iter().filter(|it| !it.is_void()).collect();
        if !told.is_empty() {
            writeln!(f, "\nWarnings")?;
        }
        for warning in told.iter().take(most) {
            writeln!(f, "  ! {warning}")?;
        }
        match told.len().saturating_sub(most) {
            0 if most == usize::MAX => Ok(()),
            0 => writeln!(
                f,
                "\n--verbose says how well it fits and under which choices it moves"
            ),
            more => writeln!(f, "  and {more} more: --verbose"),
        }
    }

    fn write_parameters(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In the order of the equation, not of the alphabet.
        let names: Vec<String> = match law::by_name(&self.law) {
            Ok(law) => law.parameters().into_iter().map(|p| p.name).collect(),
            Err(_) => self.parameters.keys().cloned().collect(),
        };
        let width = names.iter().map(String::len).max().unwrap_or(0).max(9);
        writeln!(
            f,
            "  {:<width$}  {:>10}  {:<24}  {:>10}",
            "parameter", "value", "95% interval", "std. error"
        )?;
        for name in &names {
            let end = |end: &Option<f64>| end.map_or_else(|| "open".to_owned(), number);
            let interval = match self.intervals.get(name) {
                None => String::new(),
                Some([None, None]) => "unknown".to_owned(),
                Some([low, high]) => format!("[{}, {}]", end(low), end(high)),
            };
            let error = self.standard_errors.get(name).copied().flatten();
            let mut remark = String::new();
            if let Some(why) = self.why_unidentified.get(name) {
                remark = format!("  not identified: {why}");
            }
            if self.at_bound.contains(name) {
                remark.push_str("  on its bound");
            }
            let value = self.parameters.get(name).copied().unwrap_or(f64::NAN);
            let line = format!(
                "  {name:<width$}  {:>10}  {interval:<24}  {:>10}{remark}",
                number(value),
                error.map_or_else(String::new, number),
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let failed = match self.failed {
            0 => String::new(),
            failed => format!("; {failed} could not be fitted"),
        };
        let from = match self.uncertainty {
            Uncertainty::None => {
                "no intervals; errors from the curvature, which take rows as independent".to_owned()
            }
            known => format!("{}{failed}", intervals_from(known)),
        };
        writeln!(f, "  {from}")
    }

    fn write_quality(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  minimum     {:.6e} ({} on log residuals), {} of {} starts, {} in {:.0} ms",
            self.objective,
            self.options.objective,
            self.starts_at_minimum,
            self.starts,
            if self.converged {
                "converged"
            } else {
                "NOT CONVERGED"
            },
            1e3 * self.seconds_point_fit
        )?;
        writeln!(
            f,
            "  quality     R² {}, residuals {:.2}% (typical {:.2}%), condition number {}",
            self.r2
                .map_or_else(|| "undefined".to_owned(), |r2| format!("{r2:.5}")),
            100.0 * self.residuals.rms_residual,
            100.0 * self.residuals.robust_residual,
            self.condition_number
                .map_or_else(|| "infinite".to_owned(), |number| format!("{number:.1e}")),
        )?;
        for (column, error) in &self.held_out {
            write!(f, "  held out    largest {column}")?;
            match error {
                HeldOutError::Measured {
                    from,
                    n_rows,
                    mean_error,
                    worst_error,
                    bias,
                } => writeln!(
                    f,
                    " (from {}, {n_rows} rows): off by {:.2}%, {:.2}% at worst, {:+.2}% bias",
                    human(*from),
                    100.0 * mean_error,
                    100.0 * worst_error,
                    100.0 * bias
                )?,
                HeldOutError::Unknown { problem } => writeln!(f, ": {problem}")?,
            }
        }
        match &self.seed_noise {
            Some(noise) => writeln!(
                f,
                "  seed noise  {:.4} nats per token from {} settings run more than once; \
                 differences below {:.4} are noise",
                noise.nats,
                noise.settings,
                noise.floor()
            ),
            None => writeln!(f, "  seed noise  unknown: no setting was run twice"),
        }
    }
}

fn write_sensitivity(f: &mut fmt::Formatter<'_>, sensitivity: &SensitivityReport) -> fmt::Result {
    let reference: Vec<String> = sensitivity
        .reference
        .iter()
        .map(|(name, value)| format!("{name} {}", human(*value)))
        .collect();
    let interval = sensitivity
        .interval
        .map_or_else(String::new, |[low, high]| format!(" [{low:.4}, {high:.4}]"));
    writeln!(
        f,
        "  ten times   {:.4}{interval} at {} (extrapolated)",
        sensitivity.prediction,
        reference.join(", ")
    )?;
    let change = |prediction: f64| (prediction / sensitivity.prediction - 1.0).abs();
    let farthest = sensitivity
        .refits
        .iter()
        .filter_map(|refit| Some((refit.prediction?, &refit.choice)))
        .max_by(|a, b| change(a.0).total_cmp(&change(b.0)));
    let Some((prediction, choice)) = farthest else {
        return Ok(());
    };
    let verdict = if sensitivity.moves {
        "it moves"
    } else {
        "it stays"
    };
    writeln!(
        f,
        "  other ways  {verdict}: at most {:.2}%, to {prediction:.4} ({choice}; {} choices tried)",
        100.0 * sensitivity.largest_change,
        sensitivity.refits.len()
    )
}
