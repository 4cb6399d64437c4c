//! The arguments that name a fitted law: rows to fit it to, a stored fit, or its parameters.

use super::Failure;
use super::fitting::FittingArgs;
use super::rows::{RowsArgs, Source, law};
use crate::analysis::CostModel;
use crate::fit::allocation::{Convention, Cost};
use crate::quantity::parse_number;
use crate::study::{self, FitQuestion, Fitted, Remark};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The arguments that name a fitted law.
#[derive(Debug, clap::Args)]
pub(super) struct FittedArgs {
    #[command(flatten)]
    rows: RowsArgs,

    /// The law, such as chinchilla, dlcm or power:width,depth,tokens.
    #[arg(long, value_name = "NAME", required_unless_present = "fit")]
    law: Option<String>,

    /// A stored fit: a file with the output of `orchestrator fit … --json`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["law", "experiment", "csv"])]
    fit: Option<PathBuf>,

    /// A parameter of the law, instead of rows to fit it to; give all of them.
    #[arg(
        long = "parameter",
        value_name = "NAME=VALUE",
        conflicts_with_all = ["experiment", "csv", "fit"]
    )]
    parameters: Vec<String>,

    #[command(flatten)]
    fitting: FittingArgs,
}

/// A fitted law, where it comes from, and what is to be known of it.
pub(super) struct Basis {
    pub(super) fitted: Fitted,
    pub(super) warnings: Vec<Remark>,
    /// The rows it was fitted to, and how, where it was fitted here.
    pub(super) rows: Option<FittedRows>,
}

/// The rows a law was fitted to, and how.
pub(super) struct FittedRows {
    source: Source,
    question: FitQuestion,
    /// Dense rows that were left out because the law is not about them.
    dense: usize,
}

/// How FLOPs are counted.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum CountedAs {
    /// The exact count of shapes as this program builds them, smoothed over N, P and R.
    Exact,
    /// 6 per active parameter and training token, N(1−P) + N·P/R being active.
    #[value(name = "6n_active")]
    SixNActive,
    /// 6 per parameter and training token.
    #[value(name = "6n")]
    SixN,
}

/// Vocabulary of models of which no experiment says it.
const USUAL_VOCAB: usize = 32_768;

/// Smallest N of models of which no data say it.
const USUAL_SMALLEST: f64 = 1e7;

impl FittedArgs {
    /// Finds the law: fits it, reads it or takes it as stated.
    pub(super) fn load(&self) -> Result<Basis, Failure> {
        if let Some(path) = &self.fit {
            let (fitted, warnings) = read_fit(path)?;
            return Ok(Basis {
                fitted,
                warnings,
                rows: None,
            });
        }
        let law = law(self.law.as_deref().unwrap_or_default())?;
        if !self.rows.are_given() {
            if self.parameters.is_empty() {
                return Err(Failure::input(
                    "name rows to fit the law to (an experiment, or --csv FILE), a stored fit \
                     (--fit FILE), or all parameters of the law (--parameter NAME=VALUE …)",
                ));
            }
            let parameters = self
                .parameters
                .iter()
                .map(|given| assignment("--parameter", given))
                .collect::<Result<BTreeMap<_, _>, _>>()?;
            return Ok(Basis {
                fitted: Fitted::of_parameters(&law, &parameters).map_err(Failure::input)?,
                warnings: Vec::new(),
                rows: None,
            });
        }
        let source = self.rows.load()?;
        let rows = source.rows(law.as_ref())?;
        let question = FitQuestion {
            checks: false,
            ..self.fitting.question()?
        };
        let report = study::fit(&law, &source.table, &rows, &question)?;
        Ok(Basis {
            fitted: Fitted::of_report(&law, &report).map_err(Failure::machine)?,
            warnings: report.warnings,
            rows: Some(FittedRows {
                source,
                question,
                dense: rows.dense,
            }),
        })
    }
}

impl Basis {
    /// Fits the dense law to the dense rows beside those of a law about concepts; `None` without
    /// any, or a remark when they cannot be fitted.
    pub(super) fn dense(&mut self) -> Result<Option<Fitted>, Failure> {
        let Some(rows) = self.rows.as_ref().filter(|rows| rows.dense > 0) else {
            return Ok(None);
        };
        let law = law("chinchilla")?;
        let dense = rows.source.rows(law.as_ref())?;
        match study::fit(&law, &rows.source.table, &dense, &rows.question) {
            Ok(report) => Ok(Fitted::of_report(&law, &report).ok()),
            Err(error) => {
                let message = format!("no dense law, so no saving: {error}");
                self.warnings.push(Remark::new("no_dense_law", message));
                Ok(None)
            }
        }
    }

    /// Returns what settings cost: as asked, or 6 per (active) parameter and token. Remarks what an
    /// exact count had to assume.
    pub(super) fn cost(&mut self, counted: Option<CountedAs>) -> Box<dyn Cost> {
        let inputs = self.fitted.law.law().inputs();
        let concepts = inputs.iter().any(|input| input.name == "concept_share");
        match counted {
            Some(CountedAs::Exact) => {
                let source = self.rows.as_ref().map(|rows| &rows.source);
                let shape = source.and_then(|source| source.shape.clone());
                let vocab = source.and_then(|source| source.vocab);
                if shape.is_none() || vocab.is_none() {
                    let shape = if shape.is_none() {
                        "sequence length, windows and head sizes are this program's defaults"
                    } else {
                        "shapes are the experiment's"
                    };
                    let message = format!(
                        "FLOPs are exact for assumed models: {shape}, the vocabulary has {} \
                         tokens; name an experiment file that has run for your own",
                        vocab.unwrap_or(USUAL_VOCAB)
                    );
                    self.warnings.push(Remark::new("assumed_shapes", message));
                }
                let data = self
                    .fitted
                    .ranges
                    .iter()
                    .find(|range| range.column == "params");
                Box::new(CostModel::new(
                    crate::flops::Convention::Exact,
                    &shape.unwrap_or_default(),
                    vocab.unwrap_or(USUAL_VOCAB),
                    data.map_or(USUAL_SMALLEST, |range| range.lowest),
                ))
            }
            Some(CountedAs::SixN) => Box::new(Convention::SixN),
            Some(CountedAs::SixNActive) => Box::new(Convention::SixNActive),
            None if concepts => Box::new(Convention::SixNActive),
            None => Box::new(Convention::SixN),
        }
    }
}

/// Reads a stored fit.
pub(super) fn read_fit(path: &Path) -> Result<(Fitted, Vec<Remark>), Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("cannot read {name}: {error}; is the path right?"))
    })?;
    Fitted::from_json(&text).map_err(|why| Failure::input(format!("{name}: {why}")))
}

/// Splits `name=value`.
pub(super) fn pair<'a>(flag: &str, given: &'a str) -> Result<(&'a str, &'a str), Failure> {
    let pair = given
        .split_once('=')
        .map(|(name, value)| (name.trim(), value.trim()));
    pair.filter(|(name, value)| !name.is_empty() && !value.is_empty())
        .ok_or_else(|| Failure::input(format!("`{flag} {given}`: write it like {flag} params=1e9")))
}

/// Reads `name=number`; the number may have a suffix, as in `params=1B`.
pub(super) fn assignment(flag: &str, given: &str) -> Result<(String, f64), Failure> {
    let (name, value) = pair(flag, given)?;
    Ok((name.to_owned(), number(flag, value)?))
}

/// Reads a number, with a suffix or without.
pub(super) fn number(flag: &str, text: &str) -> Result<f64, Failure> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => parse_number(text).map_err(|error| Failure::input(format!("`{flag}`: {error}"))),
    }
}
