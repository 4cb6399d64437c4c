//! `orchestrator show`: everything that is known about a run.

use crate::cli::Failure;
use crate::cli::find_run::{Stored, find_stored};
use crate::cli::terminal::{harmless, print};
use campaign::store::{AttemptRecord, ChosenRun};
use experiment::clock::{now, utc};
use experiment::folder::ResultsFolder;
use experiment::quantity::{Params, Tokens, counted, human_bytes, or_dash};
use experiment::run::RunState;
use experiment::tasks::Scores;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Print everything that is known about a run: where it stands, where its numbers come from, every
/// attempt, its files and its configuration as resolved.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator show 4f2a --json")]
pub(in crate::cli) struct Args {
    /// The run: its id, the beginning of it, or its folder.
    run: String,

    /// Results folder to look for it in [default: every folder below results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    crate::cli::block_on(async {
        let found = find_stored(&args.run, args.results.as_deref()).await?;
        let attempts = found.store.history(&found.record.id).await?;
        let experiments = found.store.experiments_of(&found.record.id).await?;
        let scores = found.store.scores_of(&found.record.id).await?;
        let choices = found.store.choices_of(&found.record.id).await?;
        let folder = ResultsFolder(&found.results).run(&found.record.id);
        let files = files(&folder);
        if args.json {
            let experiments = experiments.iter();
            let experiments: Vec<Value> = experiments
                .map(|(name, wanted)| json!({"name": name, "wanted": wanted}))
                .collect();
            let mut value = serde_json::to_value(&found.record).map_err(Failure::machine)?;
            for (key, part) in [
                ("experiments", json!(experiments)),
                ("spec", json!(found.record.spec)),
                ("attempts", json!(attempts)),
                ("scores", json!(scores)),
                ("choices", json!(choices)),
                ("folder", json!(folder)),
                ("files", json!(files)),
            ] {
                value[key] = part;
            }
            print(&format!("{value:#}\n"))?;
        } else {
            let text = describe(
                &found,
                &attempts,
                &experiments,
                &scores,
                &choices,
                &folder,
                &files,
            )?;
            print(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The bytes of a file, or of all files below a folder.
fn size(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| size(&entry.path())).sum()
        }
        Ok(found) => found.len(),
        Err(_) => 0,
    }
}

/// Lists the files in a run's folder with their bytes; none where there is no folder yet.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(String, u64)> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, size(&entry.path()))
        })
        .collect();
    files.sort();
    files
}

fn describe(
    found: &Stored,
    attempts: &[AttemptRecord],
    experiments: &[(String, bool)],
    scores: &Scores,
    choices: &[ChosenRun],
    folder: &Path,
    files: &[(String, u64)],
) -> Result<String, Failure> {
    let run = &found.record;
    let mut text = String::new();
    let mut say = |name: &str, value: String| text += &format!("{name:<14}{value}\n");
    let unknown = || "-".to_owned();
    say("run", run.id.to_string());
    say("kind", super::plan::kind(run.kind, run.part));
    say("N", or_dash(run.params.map(Params)));
    if run.has_concepts() {
        say("P", format!("{:.3}", run.concept_share));
        say("R", format!("{}", run.compression_ratio));
    }
    say("D", or_dash(run.tokens.map(Tokens)));
    say("seed", run.seed.to_string());
    let stands = match (run.state, run.outcome) {
        (RunState::Ended, Some(outcome)) => outcome.to_string(),
        (RunState::Pending, Some(outcome)) => format!("pending; the last attempt: {outcome}"),
        (state, _) => state.to_string(),
    };
    say("state", stands);
    if let Some(message) = &run.message {
        say("", harmless(message.replace('\n', "\n              ")));
    }
    say(
        "loss",
        run.loss.map_or_else(unknown, |loss| loss.to_string()),
    );
    say(
        "FLOPs",
        run.flops
            .map_or_else(unknown, |flops| format!("{flops:.4e}")),
    );
    for (name, value) in scores.numbers() {
        say("", format!("{name} {value:.4}"));
    }
    if let Some(start) = &run.start_run {
        say("goes on from", start.to_string());
    }
    for (name, wanted) in experiments {
        let removed = if *wanted {
            ""
        } else {
            ", which no longer asks for it"
        };
        say("experiment", format!("{name}{removed}"));
    }
    for choice in choices {
        say(
            "chosen",
            format!("until {}: {}", choice.goal, choice.reason),
        );
    }
    say("folder", folder.display().to_string());
    for (name, bytes) in files {
        say("", format!("{name}  {}", human_bytes(*bytes as f64)));
    }
    for attempt in attempts {
        say(
            &format!("attempt {}", attempt.number),
            describe_attempt(attempt),
        );
    }
    let spec: Value = serde_json::to_value(&run.spec).map_err(Failure::machine)?;
    say("specification", format!("{spec:#}"));
    Ok(text)
}

fn describe_attempt(attempt: &AttemptRecord) -> String {
    let start = &attempt.start;
    let ended = attempt.ended_at.unwrap_or_else(now);
    let mut lines = vec![format!(
        "{}, {:.1} s from {} UTC",
        attempt.outcome.map_or("running", |outcome| outcome.name()),
        // A clock may be set back meanwhile.
        (ended - start.started_at).max(0.0),
        utc(start.started_at)
    )];
    let ends = [
        ("exit status", attempt.exit_code),
        ("signal", attempt.signal),
    ];
    for (name, number) in ends {
        if let Some(number) = number {
            lines.push(format!("{name} {number}"));
        }
    }
    let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".into());
    lines.push(format!(
        "on {}, device {} ({}), {}, micro-batch {}",
        start.host,
        start.device,
        optional(&start.hardware),
        counted(start.threads as usize, "thread"),
        start
            .micro_batch
            .map_or("unknown".into(), |rows| rows.to_string()),
    ));
    lines.push(format!(
        "orchestrator {}, lock file {}",
        start.program_version,
        optional(&start.lock_hash)
    ));
    lines.push(format!("git commit {}", optional(&start.git_commit)));
    lines.push(format!("log {}", start.log_path));
    if let Some(message) = &attempt.message {
        lines.extend(harmless(message.clone()).lines().map(str::to_owned));
    }
    lines.join("\n              ")
}
