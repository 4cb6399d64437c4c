//! `orchestrator plan`: what would run, and what it would cost.

use super::Failure;
use super::axes::Columns;
use super::costs::{at_once, costs};
use super::experiment::{DeviceArgs, ExperimentArgs, Loaded, devices, slots, warnings};
use super::terminal::print;
use crate::architecture::Architecture;
use crate::flops::Convention;
use crate::orchestrate::{by_urgency, disk_free, disk_need, to_do};
use crate::plan::{Costs, Planned, Task, makespan};
use crate::quantity::{Flops, Params, Tokens, human_bytes};
use crate::run::{Part, RunId};
use crate::store::{RunRecord, Store};
use rayon::prelude::*;
use std::collections::HashMap;
use std::process::ExitCode;

/// Print the runs of an experiment with their shapes, FLOPs, time and memory; run nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator plan experiments/text.yaml --set data.text=my.txt"
)]
pub(super) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    #[command(flatten)]
    devices: DeviceArgs,

    /// Do not measure what steps take here: no estimate of time, and a rough one of memory.
    #[arg(long)]
    no_time: bool,

    /// Measure what was measured before too: the machine was busy with something else then, say.
    #[arg(long, conflicts_with = "no_time")]
    measure_again: bool,

    /// Print JSON: an object whose `runs` array holds one object a run, how many are `left` and run
    /// `at_once`, the `seconds` that takes, and `warnings`.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let planned = loaded.plan()?;
    let stored = super::runtime()?.block_on(stored(&loaded))?;
    let names = args.devices.names()?;
    // Devices of one machine are taken to be alike.
    let costs = match (args.no_time, names.first()) {
        (false, Some(name)) => costs(&loaded, &planned, name, args.measure_again)?,
        _ => Costs::default(),
    };
    let devices = devices(&loaded.experiment, &names);
    let outlook = Outlook {
        left: to_do(&planned, &stored, &loaded.results),
        at_once: at_once(&devices, &planned, |run| costs.memory(run)),
        loaded: &loaded,
        planned: &planned,
        stored: &stored,
        costs: &costs,
    };
    match args.json {
        true => print(&format!("{:#}\n", outlook.json()))?,
        false => print(&format!("{}{}\n", outlook.table(), outlook.totals()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan with what it would cost.
struct Outlook<'a> {
    loaded: &'a Loaded,
    planned: &'a [Planned],
    stored: &'a HashMap<RunId, RunRecord>,
    /// The runs that are not done.
    left: Vec<&'a Planned>,
    costs: &'a Costs,
    /// Runs that train at once.
    at_once: usize,
}

/// Reads the runs stored already; none when there is no database yet.
pub(super) async fn stored(loaded: &Loaded) -> Result<HashMap<RunId, RunRecord>, Failure> {
    if !loaded.results.join(crate::store::DATABASE).exists() {
        return Ok(HashMap::new());
    }
    let store = Store::open(&loaded.results).await?;
    let Some(experiment) = store.experiment(&loaded.experiment.name).await? else {
        return Ok(HashMap::new());
    };
    let runs = store.runs(experiment).await?;
    Ok(runs
        .into_iter()
        .map(|record| (record.id.clone(), record))
        .collect())
}

/// Writes what kind of model a run trains, and which part of its training.
pub(super) fn kind(dense: bool, part: Part) -> String {
    let kind = if dense { "dense" } else { "dlcm" };
    match part {
        Part::Whole => kind.to_owned(),
        part => format!("{kind} {part}"),
    }
}

fn state(record: Option<&RunRecord>) -> &'static str {
    match record {
        None => "pending",
        Some(record) => match record.outcome {
            Some(outcome) if record.state == crate::run::RunState::Ended => outcome.name(),
            _ => record.state.name(),
        },
    }
}

fn shape(architecture: &Architecture) -> String {
    match architecture {
        Architecture::Dense(dense) => {
            format!(
                "{}×{} ffn {}",
                dense.stack.layers, dense.stack.width, dense.stack.ffn
            )
        }
        Architecture::Dlcm(dlcm) => format!(
            "{}+{}×{} ffn {}, {}×{} ffn {}",
            dlcm.encoder.layers,
            dlcm.decoder.layers,
            dlcm.encoder.width,
            dlcm.encoder.ffn,
            dlcm.backbone.layers,
            dlcm.backbone.width,
            dlcm.backbone.ffn
        ),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

impl Outlook<'_> {
    fn table(&self) -> String {
        let Self {
            planned,
            stored,
            costs,
            ..
        } = self;
        let header = [
            "id",
            "kind",
            "N",
            "P",
            "R",
            "D",
            "seed",
            "shape (token, concept)",
            "FLOPs",
            "time",
            "memory",
            "state",
        ];
        // Further axes follow the seed.
        const FIRST: usize = 7;
        let columns = Columns::of(planned.iter().map(|run| &run.axes));
        let with = |row: [String; 12], further: &mut dyn Iterator<Item = String>| {
            let mut row = Vec::from(row);
            row.splice(FIRST..FIRST, further);
            row
        };
        let mut rows = vec![with(header.map(str::to_owned), &mut columns.names())];
        let row = |run: &Planned| {
            let architecture = &run.spec.architecture;
            let params = architecture.params();
            let cells = [
                run.id.to_string(),
                kind(architecture.is_dense(), run.spec.execution.part()),
                Params(params.non_embedding()).to_string(),
                match architecture.is_dense() {
                    true => "-".to_owned(),
                    false => format!("{:.3}", params.concept_share()),
                },
                match architecture.is_dense() {
                    true => "-".to_owned(),
                    false => format!("{}", architecture.compression_ratio()),
                },
                Tokens(run.spec.recipe.tokens).to_string(),
                run.spec.seed.to_string(),
                shape(architecture),
                Flops(run.flops).to_string(),
                costs.seconds(run).map_or("-".to_owned(), seconds),
                human_bytes(costs.memory(run)),
                state(stored.get(&run.id)).to_owned(),
            ];
            with(cells, &mut columns.values(&run.axes))
        };
        rows.par_extend(planned.par_iter().map(row));
        let mut widths = vec![0; rows[0].len()];
        for row in &rows {
            for (width, text) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let line = |row: &Vec<String>| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(text, &width)| format!("{text:<width$}"))
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        };
        let lines: Vec<String> = rows.par_iter().map(line).collect();
        lines.concat()
    }

    /// Estimates the seconds until all that is left is done; `None` when nothing was measured.
    fn seconds(&self) -> Option<f64> {
        let order = self.loaded.experiment.execution.order;
        let mut queue = by_urgency(&self.left, order, &[]);
        queue.reverse();
        let places: HashMap<&RunId, usize> = queue.iter().map(|run| &run.id).zip(0..).collect();
        let task = |run: &&Planned| {
            let start = run.spec.execution.start.as_ref();
            Some(Task {
                seconds: self.costs.seconds(run)?,
                is_running: false,
                // What it goes on from may be done.
                after: start.and_then(|start| places.get(&start.run).copied()),
            })
        };
        let tasks: Vec<Task> = queue.iter().map(task).collect::<Option<_>>()?;
        Some(makespan(&tasks, self.at_once))
    }

    fn totals(&self) -> String {
        let Self {
            loaded,
            planned,
            left,
            at_once,
            ..
        } = self;
        let flops = left.iter().fold(0.0, |sum, run| sum + run.flops);
        let (_, threads) = slots(&loaded.experiment);
        let mut text = format!(
            "\n{} runs, {} done, {} to do: {} training FLOPs",
            planned.len(),
            planned.len() - left.len(),
            left.len(),
            Flops(flops)
        );
        if let Some(whole) = self.seconds() {
            text += &format!(
                ", about {} with {at_once} at once on {threads} thread(s) each",
                seconds(whole)
            );
        }
        let keep_weights = loaded.experiment.execution.keep_weights;
        let need = disk_need(left, *at_once, keep_weights);
        text += &format!(
            "\nup to {} on disk while they train, {} kept",
            human_bytes(need.most),
            human_bytes(need.kept)
        );
        if let Some(free) = disk_free(&loaded.results).filter(|free| need.most > *free) {
            let results = loaded.results.display();
            text += &format!(
                "\nwarning: only {} are free for {results}",
                human_bytes(free)
            );
        }
        for warning in warnings(planned) {
            text += &format!("\nwarning: {warning}");
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let Self {
            planned,
            stored,
            costs,
            ..
        } = self;
        let runs: Vec<_> = planned
            .iter()
            .map(|run| {
                let architecture = &run.spec.architecture;
                let params = architecture.params();
                let ratio = architecture.compression_ratio();
                let own_tokens = run.spec.own_tokens();
                let own_flops =
                    |convention| architecture.training_flops(ratio, convention) * own_tokens as f64;
                serde_json::json!({
                    "id": run.id,
                    "part": run.spec.execution.part(),
                    "start": run.spec.execution.start,
                    "state": state(stored.get(&run.id)),
                    "axes": run.axes,
                    "architecture": architecture,
                    "params": params,
                    "non_embedding_params": params.non_embedding(),
                    "concept_share": params.concept_share(),
                    "compression_ratio": ratio,
                    "tokens": run.spec.recipe.tokens,
                    "own_tokens": own_tokens,
                    "epochs": run.epochs,
                    "seed": run.spec.seed,
                    "forward_flops_per_token": architecture.forward_flops(ratio),
                    "training_flops": {
                        "exact": run.flops,
                        "6N": own_flops(Convention::SixN),
                        "6N_active": own_flops(Convention::SixNActive),
                    },
                    "seconds": costs.seconds(run),
                    "memory_bytes": costs.memory(run),
                })
            })
            .collect();
        serde_json::json!({
            "runs": runs,
            "left": self.left.len(),
            "at_once": self.at_once,
            "seconds": self.seconds(),
            "warnings": warnings(planned),
        })
    }
}
