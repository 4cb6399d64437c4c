//! Chinchilla's approaches 1 and 2: the optimum without a law, with what is wrong with it.

use super::rows::{LeftOutRows, Rows, write_left_out};
use crate::analysis::{Warning, in_words};
use crate::fit::isoflop::{Approach, Dropped, IsoflopError, envelope, parabolas};
use experiment::quantity::human;
use serde::Serialize;
use std::fmt;

/// What is known to be wrong with approach 1.
const ENVELOPE: &str = "approach 1 takes the minimum over curves that happen to exist: it picks \
    lucky seeds (biased down), is quantised to the sizes trained, and prefers runs whose schedule \
    was short";
/// What is known to be wrong with approach 2.
const PARABOLAS: &str = "approach 2 fits parabolas where there are none unless both exponents are \
    equal: wide or off-centre grids move the optimum, and its exponent when they drift with the \
    budget";
/// What is known to be wrong with both.
const BOTH: &str = "both inherit how parameters and FLOPs were counted: with or without embeddings \
    moves the exponent at small sizes";

/// The optimum read off measured losses.
#[derive(Clone, Debug, Serialize)]
pub struct IsoflopReport {
    /// What was read.
    pub data: String,
    /// Rows that were read.
    pub n_rows: usize,
    /// Rows left out.
    pub excluded: Vec<LeftOutRows>,
    /// The approaches, by number.
    pub approaches: Vec<NumberedApproach>,
    /// What a reader must know.
    #[serde(serialize_with = "in_words")]
    pub warnings: Vec<Warning>,
}

/// One approach.
#[derive(Clone, Debug, Serialize)]
pub struct NumberedApproach {
    /// 1 (envelope of training curves) or 2 (isoFLOP parabolas).
    pub approach: u8,
    /// What it found.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub found: Option<Approach>,
    /// Why it found nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What is known to be wrong with it.
    pub known_bias: &'static str,
}

/// Reads the optimum off the rows by the approaches that are named.
pub fn isoflop(rows: &Rows, approaches: &[u8], per_decade: usize, tolerance: f64) -> IsoflopReport {
    let data = &rows.observations;
    let run = |approach: u8| {
        let (found, known_bias): (Result<Approach, IsoflopError>, _) = match approach {
            1 => (envelope(data, per_decade), ENVELOPE),
            _ => (parabolas(data, tolerance), PARABOLAS),
        };
        let problem = found.as_ref().err().map(ToString::to_string);
        NumberedApproach {
            approach,
            found: found.ok(),
            problem,
            known_bias,
        }
    };
    let approaches: Vec<NumberedApproach> = approaches.iter().map(|a| run(*a)).collect();
    let biases = approaches.iter().map(|a| a.known_bias).chain([BOTH]);
    let biases = biases.map(|text| Warning::KnownBias {
        text: text.to_owned(),
    });
    IsoflopReport {
        data: rows.name.clone(),
        n_rows: data.len(),
        excluded: rows.excluded.clone(),
        warnings: biases.chain(rows.warnings()).collect(),
        approaches,
    }
}

impl fmt::Display for IsoflopReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for warning in self.warnings.iter().filter(|warning| warning.is_loud()) {
            writeln!(f, "! {warning}\n")?;
        }
        writeln!(
            f,
            "The optimum without a law, from {}: {} rows",
            self.data, self.n_rows
        )?;
        write_left_out(f, &self.excluded)?;
        for numbered in &self.approaches {
            let name = match numbered.approach {
                1 => "envelope of training curves",
                _ => "isoFLOP parabolas",
            };
            writeln!(f, "\nApproach {} ({name})", numbered.approach)?;
            match (&numbered.found, &numbered.problem) {
                (Some(found), _) => write_found(f, found)?,
                (None, problem) => {
                    writeln!(f, "  nothing: {}", problem.as_deref().unwrap_or("unknown"))?;
                }
            }
        }
        writeln!(f, "\nKnown biases")?;
        for warning in &self.warnings {
            writeln!(f, "  ! {warning}")?;
        }
        Ok(())
    }
}

fn write_found(f: &mut fmt::Formatter<'_>, found: &Approach) -> fmt::Result {
    for (name, power) in [("N*", found.params), ("D*", found.tokens)] {
        let error = power
            .exponent_error
            .map_or_else(String::new, |error| format!(" ± {error:.3}"));
        writeln!(
            f,
            "  {name} = {:.3e} · C^{:.3}{error}",
            power.coefficient, power.exponent
        )?;
    }
    writeln!(
        f,
        "  {:>9}  {:>8}  {:>8}  {:>7}",
        "FLOPs", "N*", "D*", "loss"
    )?;
    // The points are a figure's work: a line a decade says enough.
    let stride = found.points.len().div_ceil(8).max(1);
    for point in found.points.iter().step_by(stride) {
        writeln!(
            f,
            "  {:>9.2e}  {:>8}  {:>8}  {:>7.4}",
            point.flops,
            human(point.params),
            human(point.tokens),
            point.loss
        )?;
    }
    for (why, words) in [
        (Dropped::TooFewSizes, "had fewer than three sizes"),
        (
            Dropped::AtEdge,
            "had their optimum outside the sizes trained",
        ),
        (Dropped::NotConvex, "opened downwards"),
    ] {
        let count = found
            .dropped
            .iter()
            .filter(|(_, dropped)| *dropped == why)
            .count();
        if count > 0 {
            writeln!(f, "  {count} budgets {words}")?;
        }
    }
    Ok(())
}
