//! `orchestrator logs`: what a run said.

use crate::cli::Failure;
use crate::cli::find_run::find_run;
use crate::cli::terminal::{harmless, print};
use campaign::orchestrate::Tail;
use experiment::clock::utc;
use experiment::event::{Event, Line};
use experiment::external::Quantities;
use experiment::quantity::{Tokens, human};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Print what a run said: the events of its journal, and the output of its last process.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator logs 4f2a -f")]
pub(in crate::cli) struct Args {
    /// The run: its id, the beginning of it, or its folder.
    run: String,

    /// Results folder to look for it in [default: every folder below results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// Go on as it says more, until it ends.
    #[arg(short, long)]
    follow: bool,

    /// Of what was said so far, only the last so many lines of the journal and of the output.
    #[arg(long, value_name = "N")]
    tail: Option<usize>,

    /// Print the journal's lines as they are, JSON each, and no output of processes.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let folder = find_run(&args.run, args.results.as_deref())?;
    let mut tail = Tail::new(&folder);
    let mut output = Output::default();
    let mut most = args.tail;
    loop {
        let lines = tail.read()?;
        // What comes later is all shown.
        let most = most.take().unwrap_or(usize::MAX);
        let shown = &lines[lines.len().saturating_sub(most)..];
        print(&if args.json {
            shown.iter().map(|line| line.encode() + "\n").collect()
        } else {
            let said: String = shown.iter().map(describe).collect();
            said + &harmless(last_lines(&output.read(&folder), most).to_owned())
        })?;
        let ended = matches!(
            lines.last().map(|line| &line.event),
            Some(Event::Finished | Event::Diverged { .. })
        );
        if !args.follow || ended {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Returns the last lines of a text.
fn last_lines(text: &str, most: usize) -> &str {
    let ends = text.trim_end_matches('\n').rmatch_indices('\n');
    let start = ends.map(|(at, _)| at + 1).nth(most.saturating_sub(1));
    match most {
        0 => "",
        _ => &text[start.unwrap_or(0)..],
    }
}

/// The output of a run's newest process, as far as it was read.
#[derive(Default)]
struct Output {
    file: Option<PathBuf>,
    offset: usize,
}

impl Output {
    /// Reads what is new; a log that cannot be read says nothing.
    fn read(&mut self, folder: &Path) -> String {
        let newest = newest_log(folder);
        if newest != self.file {
            (self.file, self.offset) = (newest, 0);
        }
        let Some(file) = &self.file else {
            return String::new();
        };
        let bytes = std::fs::read(file).unwrap_or_default();
        let new = bytes.get(self.offset..).unwrap_or_default();
        let mut text = String::from_utf8_lossy(new).into_owned();
        if self.offset == 0 && !text.is_empty() {
            text.insert_str(0, &format!("{}:\n", file.display()));
        }
        self.offset = bytes.len();
        text
    }
}

/// Finds the log of the newest attempt: `log.N.txt`, or `log.txt` of an earlier version.
fn newest_log(folder: &Path) -> Option<PathBuf> {
    let attempt = |path: &PathBuf| -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        match name.strip_prefix("log.")?.strip_suffix("txt")? {
            "" => Some(0),
            number => number.strip_suffix('.')?.parse().ok(),
        }
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let logs = entries.map(|entry| entry.path());
    logs.filter(|path| attempt(path).is_some())
        .max_by_key(|path| attempt(path))
}

fn describe(line: &Line) -> String {
    let what = match &line.event {
        Event::Started {
            pid,
            host,
            device,
            resumed_step,
            ..
        } => {
            let from = match resumed_step {
                0 => String::new(),
                step => format!(", from step {step}"),
            };
            format!("started: process {pid} on {host}, {device}{from}")
        }
        Event::Measured(row) => {
            let shown = |name: &str, value: Option<f64>| {
                value.map_or(String::new(), |value| format!(", {name} {value:.4}"))
            };
            format!(
                "step {}{}{}{}{}",
                row.step,
                row.tokens
                    .map_or(String::new(), |seen| format!(": {} tokens", Tokens(seen))),
                shown("loss", row.loss),
                shown("held-out loss", row.validation_loss),
                row.tokens_per_second.map_or(String::new(), |speed| format!(
                    ", {} tokens/s",
                    human(speed)
                ))
            )
        }
        Event::Checkpointed { step } => format!("checkpoint after step {step}"),
        Event::Finished => "finished".to_owned(),
        Event::Diverged { step, .. } => format!("diverged at step {step}"),
        Event::Interrupted { step } => format!("interrupted after step {step}"),
        Event::Failed { message } => format!("failed: {}", harmless(message.clone())),
        Event::WithoutResult { message } => {
            format!("without a result: {}", harmless(message.clone()))
        }
        Event::Scored(score) => format!(
            "{}: {:.3} bits per byte, accuracy {:.3} (chance {:.3})",
            harmless(score.task.clone()),
            score.bits_per_byte.mean,
            score.accuracy.mean,
            score.chance
        ),
        Event::Read(text) => format!(
            "{}: {:.3} bits per byte",
            harmless(text.text.clone()),
            text.bits_per_byte.mean
        ),
        Event::Reported(said) => {
            let said = Quantities::NAMES.iter().filter_map(|name| {
                let value = said.get(name)?;
                Some(format!("{name} {}", human(value)))
            });
            format!("reported: {}", said.collect::<Vec<_>>().join(", "))
        }
    };
    format!("{}  {what}\n", utc(line.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        let text = "one\ntwo\nthree\n";
        for (most, expected) in [(0, ""), (1, "three\n"), (2, "two\nthree\n"), (9, text)] {
            assert_eq!(last_lines(text, most), expected, "{most}");
        }
        assert_eq!(last_lines("", usize::MAX), "");
    }
}
