//! `orchestrator plan`: what would run, and what it would cost.

use super::Failure;
use super::experiment::{DeviceArgs, ExperimentArgs, Loaded, calibration, devices, slots};
use crate::architecture::Architecture;
use crate::flops::Convention;
use crate::orchestrate::{disk_free, disk_need, to_do};
use crate::plan::{Calibration, Planned, costs_to_the_end};
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

    /// Do not time this machine, and do not estimate time.
    #[arg(long)]
    no_time: bool,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let planned = loaded.plan()?;
    let stored = super::runtime()?.block_on(stored(&loaded))?;
    let names = args.devices.names()?;
    // Devices of one machine are taken to be alike.
    let calibration = match (args.no_time, names.first()) {
        (false, Some(name)) => calibration(&loaded.experiment, name),
        _ => None,
    };
    let devices = devices(&loaded.experiment, &names);
    let parallel = devices.iter().map(|device| device.slots).sum();
    if args.json {
        println!("{:#}", json(&planned, &stored, calibration.as_ref()));
        return Ok(ExitCode::SUCCESS);
    }
    print!("{}", table(&planned, &stored, calibration.as_ref()));
    println!(
        "{}",
        totals(&loaded, &planned, &stored, calibration.as_ref(), parallel)
    );
    Ok(ExitCode::SUCCESS)
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

fn table(
    planned: &[Planned],
    stored: &HashMap<RunId, RunRecord>,
    calibration: Option<&Calibration>,
) -> String {
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
    let mut rows = vec![header.map(str::to_owned)];
    let row = |run: &Planned| {
        let architecture = &run.spec.architecture;
        let params = architecture.params();
        [
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
            calibration
                .and_then(|c| run.seconds(c))
                .map_or("-".to_owned(), seconds),
            human_bytes(run.memory),
            state(stored.get(&run.id)).to_owned(),
        ]
    };
    rows.par_extend(planned.par_iter().map(row));
    let mut widths = vec![0; rows[0].len()];
    for row in &rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let line = |row: &[String; 12]| {
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

fn totals(
    loaded: &Loaded,
    planned: &[Planned],
    stored: &HashMap<RunId, RunRecord>,
    calibration: Option<&Calibration>,
    parallel: usize,
) -> String {
    let left = to_do(planned, stored, &loaded.results);
    let flops: f64 = left.iter().map(|run| run.flops).sum();
    let (_, threads) = slots(&loaded.experiment);
    let mut text = format!(
        "\n{} runs, {} done, {} to do: {} training FLOPs",
        planned.len(),
        planned.len() - left.len(),
        left.len(),
        Flops(flops)
    );
    let times: Option<HashMap<&RunId, f64>> = calibration.and_then(|c| {
        let times = left.iter().map(|run| Some((&run.id, run.seconds(c)?)));
        times.collect()
    });
    if let Some(times) = times {
        let longest = costs_to_the_end(&left, |run| times[&run.id]);
        let longest = longest.into_iter().fold(0.0, f64::max);
        let wall = (times.values().sum::<f64>() / parallel as f64).max(longest);
        text += &format!(
            ", about {} with {parallel} at once on {threads} thread(s) each",
            seconds(wall)
        );
    }
    let keep_weights = loaded.experiment.execution.keep_weights;
    let need = disk_need(&left, parallel, keep_weights);
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
    let epochs = planned.iter().map(|run| run.epochs).fold(0.0, f64::max);
    if epochs > 1.0 {
        text += &format!(
            "\nwarning: the text is read up to {epochs:.1} times; a law fitted on repeated text \
             is not one of fresh text"
        );
    }
    text
}

fn json(
    planned: &[Planned],
    stored: &HashMap<RunId, RunRecord>,
    calibration: Option<&Calibration>,
) -> serde_json::Value {
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
                "seconds": calibration.and_then(|c| run.seconds(c)),
                "memory_bytes": run.memory,
            })
        })
        .collect();
    serde_json::json!({ "runs": runs })
}
