//! The plan of an experiment whose runs another trainer carries out.

use super::{cluster, state};
use crate::application::{Chosen, Loaded};
use crate::cli::Failure;
use crate::cli::terminal::{aligned, print, quoted};
use campaign::orchestrate::to_do;
use campaign::store::RunRecord;
use experiment::external::ExternalSpec;
use experiment::external::command::Attempt;
use experiment::folder::ResultsFolder;
use experiment::plan::Run;
use experiment::quantity::{counted, human, or_dash};
use experiment::run::RunId;
use std::collections::HashMap;
use std::process::ExitCode;

/// Such a plan.
pub(super) struct Plan<'a> {
    pub(super) loaded: &'a Loaded,
    pub(super) runs: &'a [Run],
    pub(super) stored: &'a HashMap<RunId, RunRecord>,
    pub(super) warnings: &'a [String],
    /// The device that commands are written for.
    pub(super) device: &'a str,
    /// The cluster where; `None` for this machine.
    pub(super) on: Option<&'a Chosen>,
}

impl Plan<'_> {
    /// Prints it: as a table, as JSON, or the commands alone.
    pub(super) fn print(&self, commands: bool, json: bool) -> Result<ExitCode, Failure> {
        let text = match (commands, json) {
            (true, false) => self.commands()?,
            (_, true) => format!("{:#}\n", self.json()?),
            (false, false) => format!("{}{}\n", self.table(), self.totals()),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn specs(&self) -> impl Iterator<Item = (&Run, &ExternalSpec)> {
        let runs = self.runs.iter();
        runs.filter_map(|run| Some((run, run.work.external()?)))
    }

    fn command(&self, run: &Run, spec: &ExternalSpec) -> Result<Vec<String>, Failure> {
        let folder = ResultsFolder(&self.loaded.results).run(&run.id);
        let attempt = Attempt {
            folder: &folder,
            device: self.device,
            number: 1,
            step: None,
            micro_batch: run.work.micro_batch(),
        };
        let command = spec.command(&attempt).map_err(Failure::input)?;
        Ok(command.arguments)
    }

    /// One command a line, as a shell would read it.
    fn commands(&self) -> Result<String, Failure> {
        let mut text = String::new();
        for (run, spec) in self.specs() {
            let words = self.command(run, spec)?;
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            text += &words.join(" ");
            text.push('\n');
        }
        Ok(text)
    }

    fn table(&self) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (_, spec) in self.specs() {
            for (name, _) in &spec.axes {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        // An axis that is a quantity need not stand there twice.
        let more = ["params", "tokens", "flops"];
        let more: Vec<&str> = more
            .into_iter()
            .filter(|name| !names.contains(name))
            .collect();
        let heads = more.iter().map(|name| match *name {
            "params" => "N",
            "tokens" => "D",
            _ => "FLOPs",
        });
        let header = ["id"].into_iter().chain(names.iter().copied()).chain(heads);
        let mut rows = vec![header.chain(["state"]).map(str::to_owned).collect()];
        for (run, spec) in self.specs() {
            let mut row = vec![run.id.to_string()];
            row.extend(names.iter().map(|name| or_dash(run.axes.get(*name))));
            let value = |name: &&str| match *name {
                "flops" => run.flops,
                name => spec.declared.get(name),
            };
            row.extend(more.iter().map(|name| or_dash(value(name).map(human))));
            row.push(state(self.stored.get(&run.id)).to_owned());
            rows.push(row);
        }
        aligned(&rows)
    }

    fn totals(&self) -> String {
        let left = to_do(self.runs, self.stored, &self.loaded.results);
        let flops = left.iter().map(|run| run.flops).sum::<Option<f64>>();
        let flops = match flops {
            Some(flops) if !left.is_empty() => format!(": {flops:.3e} training FLOPs"),
            _ => String::new(),
        };
        let mut text = format!(
            "\n{}, {} done, {} to do{flops}",
            counted(self.runs.len(), "run"),
            self.runs.len() - left.len(),
            left.len()
        );
        text.extend(self.on.map(|on| cluster::describe(on, left.len(), None)));
        let unsaid = |name: &str| {
            self.specs()
                .all(|(_, spec)| spec.declared.get(name).is_none())
        };
        for (name, what) in [("params", "N"), ("tokens", "D")] {
            if unsaid(name) {
                text += &format!(
                    "\n{what} is not declared (`trainer.{name}`, or an axis): the trainer is to report it"
                );
            }
        }
        for warning in self.warnings {
            text += &format!("\nwarning: {warning}");
        }
        text
    }

    fn json(&self) -> Result<serde_json::Value, Failure> {
        let mut runs = Vec::new();
        for (run, spec) in self.specs() {
            runs.push(serde_json::json!({
                "id": run.id,
                "state": state(self.stored.get(&run.id)),
                "axes": run.axes,
                "declared": spec.declared,
                "seed": spec.seed,
                "code": spec.code,
                "command": self.command(run, spec)?,
            }));
        }
        let left = to_do(self.runs, self.stored, &self.loaded.results).len();
        Ok(serde_json::json!({ "runs": runs, "left": left, "warnings": self.warnings }))
    }
}
