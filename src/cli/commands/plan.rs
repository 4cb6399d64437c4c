//! `orchestrator plan`: what would run, and what it would cost.

mod cluster;
mod external;

use crate::application::{Chosen, Loaded, Runs, devices, slots};
use crate::application::{at_once, costs};
use crate::cli::Failure;
use crate::cli::axes::Columns;
use crate::cli::experiment::{DeviceArgs, ExperimentArgs, OnArgs};
use crate::cli::terminal::{aligned, note, print};
use campaign::orchestrate::{by_urgency, disk_free, disk_need, to_do};
use campaign::store::RunRecord;
use experiment::architecture::{Architecture, ModelKind};
use experiment::flops::Convention;
use experiment::plan::{Costs, LevelRange, Planned, Run, Shapes, Task, makespan, shapes};
use experiment::quantity::{Flops, Params, Tokens, counted, human_bytes};
use experiment::run::{Part, RunId};
use rayon::prelude::*;
use std::collections::HashMap;
use std::process::ExitCode;

/// Print the runs of an experiment with their shapes, FLOPs, time and memory; run nothing.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  orchestrator plan experiments/text.yaml --set data.text=my.txt"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    #[command(flatten)]
    devices: DeviceArgs,

    #[command(flatten)]
    on: OnArgs,

    /// Do not measure what steps take here: no estimate of time, and a rough one of memory.
    #[arg(long)]
    no_time: bool,

    /// Measure what was measured before too: the machine was busy with something else then, say.
    #[arg(long, conflicts_with = "no_time")]
    measure_again: bool,

    /// Print the commands of another trainer (`trainer`), one a line, instead.
    #[arg(long)]
    commands: bool,

    /// Print JSON: an object whose `runs` array holds one object a run, the `shapes` by N, how many
    /// are `left` and run `at_once`, the `seconds` that takes, and `warnings`.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let on = args.on.find(&loaded, &args.experiment)?;
    let (runs, stored) =
        crate::cli::block_on(async { Ok((loaded.runs().await?, loaded.stored().await?)) })?;
    let warnings = runs.warnings();
    let Runs {
        planned,
        untuned,
        tuned,
        external,
        ..
    } = runs;
    let all: Vec<Run> = planned.iter().map(Run::from).collect();
    let names = args.devices.names_for(&loaded.experiment)?;
    if loaded.experiment.external.is_some() {
        let plan = external::Plan {
            loaded: &loaded,
            runs: &external,
            stored: &stored,
            warnings: &warnings,
            device: names.first().map_or("cpu", String::as_str),
            on: on.as_ref(),
        };
        return plan.print(args.commands, args.json);
    }
    if args.commands {
        return Err(Failure::input(
            "`--commands` is for experiments with another trainer (`trainer`): this program's own models \
             are trained by itself",
        ));
    }
    // Devices of one machine are taken to be alike.
    let costs = match (args.no_time, names.first()) {
        (false, Some(name)) => costs(&loaded, &planned, name, args.measure_again, &|said| {
            note!("{said}")
        })?,
        _ => Costs::default(),
    };
    let devices = devices(&loaded.experiment, &names)?;
    let left = to_do(&all, &stored, &loaded.results);
    let outlook = Outlook {
        at_once: match &on {
            Some(on) => cluster::at_once(on, left.len()),
            None => at_once(&devices, &planned, |run| costs.memory(run)),
        },
        left,
        on: on.as_ref(),
        loaded: &loaded,
        planned: &planned,
        untuned: &untuned,
        tuned: &tuned,
        warnings: &warnings,
        stored: &stored,
        own: planned.iter().map(|run| (&run.id, run)).collect(),
        costs: &costs,
    };
    if args.json {
        print(&format!("{:#}\n", outlook.json()))?
    } else {
        print(&format!(
            "{}{}{}\n",
            outlook.table(),
            shape_table(&shapes(&planned)),
            outlook.totals()
        ))?
    }
    Ok(ExitCode::SUCCESS)
}

/// A plan with what it would cost.
struct Outlook<'a> {
    loaded: &'a Loaded,
    planned: &'a [Planned],
    /// The families of models whose learning rate is not found yet.
    untuned: &'a [ModelKind],
    /// What trials found of the others, in words.
    tuned: &'a [String],
    warnings: &'a [String],
    stored: &'a HashMap<RunId, RunRecord>,
    /// The planned runs by their ids.
    own: HashMap<&'a RunId, &'a Planned>,
    /// The runs that are not done.
    left: Vec<&'a Run>,
    costs: &'a Costs,
    /// Runs that train at once.
    at_once: usize,
    /// The cluster where; `None` for this machine.
    on: Option<&'a Chosen>,
}

/// Writes what kind of model a run trains, and which part of its training.
pub(in crate::cli) fn kind(kind: ModelKind, part: Part) -> String {
    match part {
        Part::Whole => kind.name().to_owned(),
        part => format!("{} {part}", kind.name()),
    }
}

fn state(record: Option<&RunRecord>) -> &'static str {
    match record {
        None => "pending",
        Some(record) => match record.outcome {
            Some(outcome) if record.state == experiment::run::RunState::Ended => outcome.name(),
            _ => record.state.name(),
        },
    }
}

/// Writes blocks and widths: of encoder + decoder and of the backbone, or of a dense model.
fn shape(architecture: &Architecture) -> String {
    match architecture {
        Architecture::Dense(dense) => format!("{}×{}", dense.stack.layers, dense.stack.width),
        Architecture::TokenOnly(control) => format!(
            "{}+{}×{}",
            control.encoder.layers, control.decoder.layers, control.encoder.width
        ),
        Architecture::Dlcm(dlcm) => format!(
            "{}+{}×{}, {}×{}",
            dlcm.encoder.layers,
            dlcm.decoder.layers,
            dlcm.encoder.width,
            dlcm.backbone.layers,
            dlcm.backbone.width,
        ),
    }
}

/// Lists what shapes are by N, and at which P their widths are others.
fn shape_table(shapes: &[Shapes]) -> String {
    const MOST: usize = 12;
    let mut rows = vec![
        [
            "N", "P", "tokens", "aspect", "ffn", "concepts", "aspect", "ffn", "strays",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    rows.extend(shapes.iter().take(MOST).map(shape_row));
    let mut text =
        "\nshapes by N: blocks×width of the token and the concept level; aspect, width over \
                    blocks;\nffn, feed-forward width over width; strays, the farthest from smooth \
                    width and 8/3 ffn\n"
            .to_owned();
    text += &aligned(&rows);
    if let Some(more @ 1..) = shapes.len().checked_sub(MOST) {
        text += &format!("… and {more} more; --json lists all\n");
    }
    let widths = |token: usize, concept: Option<usize>| match concept {
        Some(concept) => format!("{token} and {concept}"),
        None => token.to_string(),
    };
    let exceptions = shapes
        .iter()
        .flat_map(|of_n| of_n.exceptions.iter().map(move |one| (of_n, one)));
    for (of_n, one) in exceptions.take(MOST) {
        text += &format!(
            "N {} at P {:.3}: widths {}; elsewhere {}, which do not reach this P\n",
            Params(of_n.params),
            one.share,
            widths(one.token, one.concept),
            widths(of_n.token.width, of_n.concept.map(|level| level.width)),
        );
    }
    text
}

fn shape_row(shapes: &Shapes) -> Vec<String> {
    let nothing = || "-".to_owned();
    let span = |[low, high]: [String; 2]| {
        if low == high {
            low
        } else {
            format!("{low}–{high}")
        }
    };
    let short = |value: f64| match value {
        v if v < 9.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    };
    let level = |level: Option<&LevelRange>| match level {
        None => [nothing(), nothing(), nothing()],
        Some(level) => [
            format!(
                "{}×{}",
                span(level.layers.map(|n| n.to_string())),
                level.width
            ),
            span(level.aspect.map(short)),
            span(level.feed_forward.map(|ratio| format!("{ratio:.2}"))),
        ],
    };
    let levels = match &shapes.concept {
        Some(concept) => vec![("token ", &shapes.token), ("concept ", concept)],
        None => vec![("", &shapes.token)],
    };
    let strays = levels
        .into_iter()
        .flat_map(|(name, level)| {
            let far = level.farthest;
            [(name, "width", far.width), (name, "ffn", far.feed_forward)]
        })
        .max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()))
        .map_or_else(nothing, |(name, of, far)| {
            format!("{name}{of} {:+.0}%", 100.0 * far.exp_m1())
        });
    let mut row = vec![
        Params(shapes.params).to_string(),
        shapes.share.map_or_else(nothing, |share| {
            span(share.map(|share| format!("{share:.2}")))
        }),
    ];
    row.extend(level(Some(&shapes.token)));
    row.extend(level(shapes.concept.as_ref()));
    row.push(strays);
    row
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
            "id", "kind", "N", "P", "R", "D", "seed", "shape", "FLOPs", "time", "memory", "state",
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
                kind(architecture.kind(), run.part()),
                Params(params.non_embedding()).to_string(),
                if !architecture.has_concepts() {
                    "-".to_owned()
                } else {
                    format!("{:.3}", params.concept_share())
                },
                if !architecture.has_concepts() {
                    "-".to_owned()
                } else {
                    format!("{}", architecture.compression_ratio())
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
        aligned(&rows)
    }

    /// Estimates the seconds of a run; `None` when nothing was measured.
    fn seconds_of(&self, run: &Run) -> Option<f64> {
        self.costs.seconds(self.own.get(&run.id)?)
    }

    /// Estimates the seconds until all that is left is done; `None` when nothing was measured.
    fn seconds(&self) -> Option<f64> {
        let order = self.loaded.experiment.execution.order;
        let mut queue = by_urgency(&self.left, order, &[]);
        queue.reverse();
        let places: HashMap<&RunId, usize> = queue.iter().map(|run| &run.id).zip(0..).collect();
        let task = |run: &&Run| {
            let start = run.work.start();
            Some(Task {
                seconds: self.seconds_of(run)?,
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
        let flops = left.iter().fold(0.0, |sum, run| sum + run.amount());
        let (_, threads) = slots(&loaded.experiment);
        let mut text = format!(
            "\n{}, {} done, {} to do: {} training FLOPs",
            counted(planned.len(), "run"),
            planned.len() - left.len(),
            left.len(),
            Flops(flops)
        );
        if let Some(whole) = self.seconds() {
            text += &format!(
                ", about {} with {at_once} at once on {} each",
                seconds(whole),
                counted(threads, "thread")
            );
        }
        let keep_weights = loaded.experiment.execution.keep_weights;
        let need = disk_need(left, *at_once, keep_weights);
        text += &format!(
            "\nup to {} on disk while they train, {} kept",
            human_bytes(need.most),
            human_bytes(need.kept)
        );
        let all = left.iter().map(|run| self.seconds_of(run)).sum();
        text.extend(self.on.map(|on| cluster::describe(on, left.len(), all)));
        if let Some(free) = disk_free(&loaded.results).filter(|free| need.most > *free) {
            let results = loaded.results.display();
            text += &format!(
                "\nwarning: only {} are free for {results}",
                human_bytes(free)
            );
        }
        for line in self.tuned {
            text += &format!("\nlearning rate of {line}");
        }
        if !self.untuned.is_empty() {
            let kinds: Vec<&str> = self.untuned.iter().map(|kind| kind.name()).collect();
            text += &format!(
                "\nthe trials find the learning rates of {} first: their other runs are shown at the \
                 default rate, and will have others' ids",
                kinds.join(", ")
            );
        }
        for warning in self.warnings {
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
                    "part": run.part(),
                    "start": run.spec.execution.start,
                    "state": state(stored.get(&run.id)),
                    "axes": run.axes,
                    "architecture": architecture,
                    "straying": run.straying,
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
            "shapes": shapes(planned),
            "left": self.left.len(),
            "at_once": self.at_once,
            "seconds": self.seconds(),
            "on": self.on.map(|on| on.name.as_str()),
            "warnings": self.warnings,
        })
    }
}
