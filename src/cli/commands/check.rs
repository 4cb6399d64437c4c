//! `orchestrator check`: is this experiment file right?

use crate::application::{Chosen, Loaded, submission};
use crate::cli::Failure;
use crate::cli::answer::answer;
use crate::cli::experiment::{ExperimentArgs, OnArgs};
use crate::cli::terminal::harmless;
use campaign::cluster::profile::Profile;
use campaign::cluster::slurm::{Finding, check};
use experiment::quantity::{counted, human_bytes};
use std::fmt;
use std::process::ExitCode;
use trainer::data::Described;

/// Check an experiment file, its data and its shapes; run nothing, and write nothing but prepared data
/// into the cache.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator check experiments/text.yaml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    #[command(flatten)]
    on: OnArgs,

    /// Print JSON: an object with the experiment's name and the number of its runs, `data`: what was
    /// read, `cluster`: what Slurm says of the workers, and `warnings`.
    #[arg(long)]
    json: bool,
}

/// What was found right.
#[derive(serde::Serialize)]
struct Checked {
    experiment: String,
    runs: usize,
    data: Vec<Described>,
    /// How often the longest run reads its training tokens.
    epochs: f64,
    /// What was found of the cluster where.
    cluster: Vec<Finding>,
    warnings: Vec<String>,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.experiment, counted(self.runs, "run"))?;
        for data in &self.data {
            describe(f, data)?;
        }
        if !self.data.is_empty() {
            writeln!(
                f,
                "  epochs: {} in the longest run",
                significant(self.epochs)
            )?;
        }
        for finding in &self.cluster {
            match finding {
                Finding::Fine(said) => writeln!(f, "  cluster: {said}")?,
                Finding::Doubt(said) | Finding::Wrong(said) => {
                    writeln!(f, "warning: cluster: {said}")?;
                }
            }
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

/// Says what data are, so that a person sees whether they are the right ones.
fn describe(f: &mut fmt::Formatter<'_>, data: &Described) -> fmt::Result {
    /// Characters of the sample that are shown.
    const SHOWN: usize = 70;
    let summary = &data.summary;
    let mut parts = vec![summary.form.clone()];
    if summary.files > 0 {
        parts.push(counted(summary.files, "file"));
        parts.push(human_bytes(summary.bytes as f64));
    }
    if let Some(documents) = summary.documents {
        parts.push(counted(documents as usize, "document"));
    }
    writeln!(f, "  data: {}", parts.join(", "))?;
    let (train, held_out) = (data.train_tokens, data.validation_tokens);
    let share = 100.0 * held_out as f64 / (train + held_out) as f64;
    writeln!(f, "  training tokens: {train}, of {} ids", data.vocab)?;
    writeln!(
        f,
        "  held out: {held_out} tokens ({share:.1}%), {}",
        summary.held_out
    )?;
    if let Some(bytes) = data.bytes_per_token {
        writeln!(f, "  bytes a token: {bytes:.2}")?;
    }
    for remark in &summary.remarks {
        writeln!(f, "  {remark}")?;
    }
    let sample: String = data.sample.chars().take(SHOWN).collect();
    writeln!(f, "  begins: {}", harmless(format!("{sample:?}")))
}

/// Writes a number with two digits, as far as it has some.
fn significant(x: f64) -> String {
    if x < 0.1 {
        format!("{x:.1e}")
    } else {
        format!("{x:.1}")
    }
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let on = args.on.find(&loaded, &args.experiment)?;
    let runs = crate::cli::block_on(async { Ok(loaded.runs().await?) })?;
    let epochs = runs.planned.iter().map(|run| run.epochs);
    let checked = Checked {
        runs: runs.all().len(),
        epochs: epochs.fold(0.0, f64::max),
        warnings: runs.warnings(),
        data: runs.data,
        cluster: match &on {
            Some(on) => of_cluster(on, &loaded)?,
            None => Vec::new(),
        },
        experiment: loaded.experiment.name,
    };
    let said = answer(&checked, args.json)?;
    let is_wrong = |finding: &Finding| matches!(finding, Finding::Wrong(_));
    match on.filter(|_| checked.cluster.iter().any(is_wrong)) {
        Some(on) => Err(Failure::input(format!(
            "no worker would begin on {}: its profile asks for what Slurm does not give",
            on.name
        ))),
        None => Ok(said),
    }
}

/// Finds out whether workers would begin.
fn of_cluster(on: &Chosen, loaded: &Loaded) -> Result<Vec<Finding>, Failure> {
    match &on.profile {
        Profile::Slurm(slurm) => Ok(check(&submission(slurm, loaded)?)),
        Profile::ByHand(_) => Ok(vec![Finding::Fine(format!(
            "workers are started by hand: `orchestrator worker {}`",
            loaded.results.display()
        ))]),
    }
}
