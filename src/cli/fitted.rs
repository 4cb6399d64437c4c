//! The arguments that name a fitted law: rows to fit it to, a stored fit, or its parameters.

use super::Failure;
use super::fitting::FittingArgs;
use super::rows::{RowsArgs, Source, law};
use crate::application::{Asked, cost_of_assumed};
use crate::rows::{Selection, Table};
use clap::ValueEnum;
use experiment::flops::Convention;
use experiment::quantity::parse_number;
use scaling_law::analysis::{CostModel, Fitted, Policy, Warning};
use scaling_law::fit::allocation::Variable;
use scaling_law::fit::law::Law;
use scaling_law::study::{Checks, SavingReport, SecondStep, StoredFit, Studied, TaskScore};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The arguments that name a fitted law.
#[derive(Debug, clap::Args)]
pub(super) struct FittedArgs {
    #[command(flatten)]
    rows: RowsArgs,

    /// The law, such as chinchilla, dlcm, power:width,depth,tokens or a formula, as in
    /// 'E + A/N^a + B/D^b' [default: the experiment's file, dlcm].
    #[arg(long, value_name = "NAME", required_unless_present_any = ["fit", "experiment"])]
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
    pub(super) warnings: Vec<Warning>,
    /// What it was fitted to, and how, where it was fitted here.
    rows: Option<(Asked, Policy, Studied)>,
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

impl FittedArgs {
    /// Names what the law is of in place of the loss, where it is.
    pub(super) fn target(&self) -> Option<&str> {
        self.rows.target()
    }

    /// Finds the law: fits it, reads it or takes it as stated.
    pub(super) fn load(&self) -> Result<Basis, Failure> {
        if let (Some(target), false) = (self.target(), self.rows.are_given()) {
            return Err(Failure::input(format!(
                "`--target {target}` says what a law is fitted to: name the runs, an experiment or --csv FILE"
            )));
        }
        if let Some(path) = &self.fit {
            let (fitted, warnings) = read_fit(path)?;
            return Ok(Basis {
                fitted,
                warnings,
                rows: None,
            });
        }
        let name = self.law.as_deref().unwrap_or("dlcm");
        if !self.rows.are_given() {
            let law = law(name)?;
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
        let Source { asked, .. } = self.rows.load()?;
        let policy = self.fitting.policy(asked.policy.clone())?;
        let of_file = asked.settings.law.as_deref();
        let name = self.law.as_deref().or(of_file).unwrap_or(name);
        let studied = asked.fit(name, &policy, Checks::NONE)?;
        Ok(Basis {
            fitted: studied.fitted.clone(),
            warnings: studied.report.warnings.clone(),
            rows: Some((asked, policy, studied)),
        })
    }
}

impl Basis {
    /// Returns what settings cost: as is asked for, as the experiment's file counts FLOPs, or 6 for
    /// each active parameter and token. Warns of what an exact count had to assume.
    pub(super) fn cost(&mut self, counted: Option<CountedAs>) -> CostModel {
        let counted = counted.map(CountedAs::convention);
        let (cost, warning) = match &self.rows {
            Some((asked, _, studied)) => asked.cost(studied, counted),
            None => {
                let smallest = self.fitted.extent(Variable::Params).map(|[low, _]| low);
                let convention = counted.unwrap_or(Convention::SixNActive);
                cost_of_assumed(convention, None, smallest)
            }
        };
        self.warnings.extend(warning);
        cost
    }

    /// Fits accuracy to the bits per byte that the runs which the law was fitted to have of its task.
    pub(super) fn accuracy(&self) -> Result<SecondStep, Failure> {
        let (scores, target, policy) = match &self.rows {
            Some((asked, policy, studied)) => {
                let fitted = asked.trained(&studied.estimate);
                let scores = asked.task_scores.iter();
                let scores = scores.filter(|(run, _)| fitted.contains(run));
                let scores: Vec<TaskScore> = scores.map(|(_, score)| *score).collect();
                (scores, asked.selection.target.as_deref(), policy.clone())
            }
            None => (Vec::new(), None, Policy::default()),
        };
        let (Some(target), false) = (target, scores.is_empty()) else {
            return Err(Failure::input(
                "`--accuracy` is of a task: name an experiment whose runs were evaluated, and \
                 `--target TASK.bits_per_byte`",
            ));
        };
        SecondStep::of_task(&scores, target, &policy).map_err(Failure::input)
    }

    /// Fits `SCORE = FORMULA` to the rows that the law was fitted to, or to those of another table.
    pub(super) fn then(
        &self,
        text: &str,
        other: Option<Table>,
    ) -> Result<(SecondStep, Vec<Warning>), Failure> {
        let Some((asked, policy, _)) = &self.rows else {
            return Err(Failure::input(
                "`--then` is fitted to rows beside the law: name the table of both, --csv FILE",
            ));
        };
        Ok(asked.second_step(text, other, policy)?)
    }

    /// Fits the same law to other rows of the same table: those for which an expression holds.
    pub(super) fn of_other_rows(&self, filter: &str) -> Result<Fitted, Failure> {
        let Some((asked, policy, studied)) = &self.rows else {
            return Err(Failure::input(
                "`--against` names other rows: name an experiment or --csv FILE that has them",
            ));
        };
        let other = Asked {
            selection: Selection {
                filters: vec![filter.to_owned()],
                ..asked.selection.clone()
            },
            ..asked.clone()
        };
        Ok(other.fit(&studied.report.law, policy, Checks::NONE)?.fitted)
    }

    /// Says what is saved against models without concepts, where rows tell.
    pub(super) fn saving(
        &mut self,
        cost: &CostModel,
        budget: Option<f64>,
    ) -> Result<Option<SavingReport>, Failure> {
        match &mut self.rows {
            Some((asked, policy, studied)) => Ok(asked.saving(studied, policy, cost, budget)?),
            None => Ok(None),
        }
    }
}

impl CountedAs {
    fn convention(self) -> Convention {
        match self {
            Self::Exact => Convention::Exact,
            Self::SixNActive => Convention::SixNActive,
            Self::SixN => Convention::SixN,
        }
    }
}

/// Reads a stored fit, and what limits it.
pub(super) fn read_fit(path: &Path) -> Result<(Fitted, Vec<Warning>), Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::input(format!("cannot read {name}: {error}; is the path right?"))
    })?;
    let stored: StoredFit = serde_json::from_str(&text).map_err(|error| {
        Failure::input(format!(
            "{name}: this is not the JSON of a fit: {error}; write it with \
             `orchestrator fit … --law NAME --json`"
        ))
    })?;
    let fitted = stored.fitted();
    let fitted = fitted.map_err(|why| Failure::input(format!("{name}: {why}")))?;
    Ok((fitted, stored.warnings()))
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

/// Reads the value of a law's column: a number, or one of its words.
pub(super) fn value_of(law: &dyn Law, flag: &str, given: &str) -> Result<(String, f64), Failure> {
    let (name, value) = pair(flag, given)?;
    let input = law.inputs().into_iter().find(|input| input.name == name);
    let Some(words) = input
        .map(|input| input.words)
        .filter(|words| !words.is_empty())
    else {
        return assignment(flag, given);
    };
    match words.iter().position(|word| word == value) {
        Some(word) => Ok((name.to_owned(), word as f64)),
        None => Err(Failure::input(format!(
            "`{flag} {given}`: `{name}` is one of {}",
            words.join(", ")
        ))),
    }
}

/// Reads a number, with a suffix or without.
pub(super) fn number(flag: &str, text: &str) -> Result<f64, Failure> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => parse_number(text).map_err(|error| Failure::input(format!("`{flag}`: {error}"))),
    }
}
