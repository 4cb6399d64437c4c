//! The command that trains a run, and its environment.

use super::template::{Filling, Template};
use super::{ArgumentStyle, AxisValue, BooleanStyle, ExternalSpec};
use crate::folder::{ARGUMENTS, CHECKPOINTS, REPORT};
use crate::run::RunId;
use std::collections::BTreeMap;
use std::path::Path;

/// Names that stand for something of an attempt rather than of the run.
pub const NAMES: [&str; 8] = [
    "args",
    "attempt",
    "checkpoints",
    "device",
    "devices",
    "folder",
    "micro_batch",
    "step",
];

/// The variable that holds the run's folder, by which processes of a run are known.
pub const FOLDER_VARIABLE: &str = "ORCHESTRATOR_FOLDER";

/// What an attempt at a run is told beside what the run is.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The run's folder.
    pub folder: &'a Path,
    /// Its devices, separated by commas.
    pub device: &'a str,
    /// From 1.
    pub number: usize,
    /// The newest checkpoint that it may go on from.
    pub step: Option<u64>,
    /// Sequences computed at once; `None`: as the trainer will.
    pub micro_batch: Option<usize>,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// Variables of its environment beside those there are.
    pub environment: BTreeMap<String, String>,
    /// What is to stand in the file of arguments, where it reads them from one.
    pub file: Option<String>,
}

impl ExternalSpec {
    /// Writes the command of an attempt.
    ///
    /// # Errors
    /// When a template names what stands for nothing.
    pub fn command(&self, attempt: &Attempt) -> Result<Command, String> {
        let trainer = &self.trainer;
        let fill = |text: &str| Template::parse(text)?.fill(&|name| self.filling(name, attempt));
        let mut arguments = Vec::new();
        for text in &trainer.command {
            if Template::parse(text)?.is_name("args") {
                arguments.extend(self.axes_as_arguments(attempt.folder));
            } else {
                arguments.push(fill(text)?);
            }
        }
        if attempt.micro_batch.is_some() {
            for text in &trainer.micro_batch {
                arguments.push(fill(text)?);
            }
        }
        let mut by_step = false;
        for text in &trainer.resume {
            by_step |= Template::parse(text)?.uses("step");
        }
        if attempt.number > 1 && (attempt.step.is_some() || !by_step) {
            for text in &trainer.resume {
                arguments.push(fill(text)?);
            }
        }
        let file = (trainer.arguments == ArgumentStyle::Json).then(|| {
            let axes = self.passed();
            let axes = axes.map(|(name, value)| (name.to_owned(), value.json()));
            let object: serde_json::Map<String, serde_json::Value> = axes.collect();
            format!("{:#}\n", serde_json::Value::from(object))
        });
        let mut environment = self.environment(attempt);
        for (name, text) in &trainer.environment {
            environment.insert(name.clone(), fill(text)?);
        }
        Ok(Command {
            arguments,
            environment,
            file,
        })
    }

    /// Lists the axes that are passed, under the names they are passed under.
    fn passed(&self) -> impl Iterator<Item = (&str, &AxisValue)> {
        self.axes.iter().filter_map(|(name, value)| {
            let renamed = self.trainer.rename.get(name);
            let name = renamed.map_or(Some(name.as_str()), |renamed| renamed.as_deref());
            Some((name?, value))
        })
    }

    fn axes_as_arguments(&self, folder: &Path) -> Vec<String> {
        let (style, booleans) = (self.trainer.arguments, self.trainer.booleans);
        if style == ArgumentStyle::Json {
            return vec![path(&folder.join(ARGUMENTS))];
        }
        let mut arguments = Vec::new();
        for (name, value) in self.passed() {
            let flag = match (value, booleans) {
                (AxisValue::Null, _) => continue,
                (AxisValue::Flag(true), BooleanStyle::Flag | BooleanStyle::Negated) => {
                    Some(format!("--{name}"))
                }
                (AxisValue::Flag(false), BooleanStyle::Flag) => continue,
                (AxisValue::Flag(false), BooleanStyle::Negated) => Some(format!("--no-{name}")),
                _ => None,
            };
            let value = value.written();
            match (flag, style) {
                (Some(flag), ArgumentStyle::Joined | ArgumentStyle::Apart) => arguments.push(flag),
                (None, ArgumentStyle::Joined) => arguments.push(format!("--{name}={value}")),
                (None, ArgumentStyle::Apart) => {
                    arguments.extend([format!("--{name}"), value.to_owned()]);
                }
                // Such arguments have no flags: they are values.
                (_, ArgumentStyle::Bare | ArgumentStyle::Json) => {
                    arguments.push(format!("{name}={value}"));
                }
            }
        }
        arguments
    }

    /// What a name in a template stands for.
    fn filling(&self, name: &str, attempt: &Attempt) -> Option<Filling> {
        let number = |n: f64| Filling::Number(n, n.to_string());
        if let Some((_, value)) = self.axes.iter().find(|(axis, _)| axis == name) {
            return match value {
                AxisValue::Null => None,
                AxisValue::Flag(on) => Some(Filling::Truth(*on)),
                AxisValue::Number { value, written } => {
                    Some(Filling::Number(*value, written.clone()))
                }
                AxisValue::Text(text) => Some(Filling::Text(text.clone())),
            };
        }
        match name {
            "attempt" => Some(number(attempt.number as f64)),
            "checkpoints" => Some(Filling::Text(path(&attempt.folder.join(CHECKPOINTS)))),
            "device" => Some(Filling::Text(attempt.device.to_owned())),
            "devices" => Some(number(self.devices as f64)),
            "folder" => Some(Filling::Text(path(attempt.folder))),
            "micro_batch" => attempt.micro_batch.map(|rows| number(rows as f64)),
            "seed" => Some(number(self.seed as f64)),
            "step" => attempt.step.map(|step| number(step as f64)),
            name => self.declared.get(name).map(number),
        }
    }

    /// What every trainer finds in its environment.
    fn environment(&self, attempt: &Attempt) -> BTreeMap<String, String> {
        let folder = attempt.folder;
        let RunId(run) = self.id();
        let mut variables = BTreeMap::from([
            ("ORCHESTRATOR_ATTEMPT", attempt.number.to_string()),
            ("ORCHESTRATOR_CHECKPOINTS", path(&folder.join(CHECKPOINTS))),
            ("ORCHESTRATOR_DEVICE", attempt.device.to_owned()),
            (FOLDER_VARIABLE, path(folder)),
            ("ORCHESTRATOR_REPORT", path(&folder.join(REPORT))),
            ("ORCHESTRATOR_RUN", run),
            ("ORCHESTRATOR_SEED", self.seed.to_string()),
            // A line that stays in a buffer is no sign of life.
            ("PYTHONUNBUFFERED", "1".to_owned()),
        ]);
        if let Some(threads) = self.threads {
            variables.insert("OMP_NUM_THREADS", threads.to_string());
        }
        if let Some(rows) = attempt.micro_batch {
            variables.insert("ORCHESTRATOR_MICRO_BATCH", rows.to_string());
        }
        if let Some(step) = attempt.step {
            variables.insert("ORCHESTRATOR_RESUME_STEP", step.to_string());
        }
        if let Some(gpus) = visible_gpus(attempt.device) {
            variables.insert("CUDA_VISIBLE_DEVICES", gpus);
        }
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// The GPUs of devices such as `cuda:0,cuda:1`, as CUDA's variable lists them; `None` where one of them
/// is no numbered GPU.
fn visible_gpus(devices: &str) -> Option<String> {
    let index = |device: &str| {
        let (_, index) = device.split_once("cuda:")?;
        index.parse::<usize>().ok().map(|index| index.to_string())
    };
    let gpus: Option<Vec<String>> = devices.split(',').map(index).collect();
    Some(gpus?.join(","))
}

/// A path that means the same in whatever folder the trainer is started.
fn path(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::external::{LossUnit, Quantities, ReportFrom, Trainer};

    fn number(written: &str) -> AxisValue {
        AxisValue::Number {
            value: written.parse().expect("a number"),
            written: written.to_owned(),
        }
    }

    fn spec(style: ArgumentStyle, booleans: BooleanStyle) -> ExternalSpec {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        ExternalSpec {
            trainer: Trainer {
                command: texts(&["train", "{args}", "--tag=d{depth}"]),
                arguments: style,
                booleans,
                rename: BTreeMap::from([
                    ("flops".to_owned(), Some("target-flops".to_owned())),
                    ("seed".to_owned(), None),
                ]),
                environment: BTreeMap::from([("TAG".to_owned(), "{depth}".to_owned())]),
                directory: "/".into(),
                code: Vec::new(),
                resume: texts(&["--resume", "{step}"]),
                micro_batch: texts(&["--rows={micro_batch}"]),
                report: ReportFrom::File,
                loss_unit: LossUnit::Nats,
                training_loss_unit: None,
                bytes_per_token: None,
                stop_limit: 1.0,
            },
            code: None,
            axes: vec![
                ("depth".into(), number("4")),
                ("flops".into(), number("1e18")),
                ("fp8".into(), AxisValue::Flag(true)),
                ("bias".into(), AxisValue::Flag(false)),
                ("clip".into(), AxisValue::Null),
                ("data".into(), AxisValue::Text("a b".into())),
                ("seed".into(), number("3")),
            ],
            seed: 3,
            declared: Quantities::default(),
            micro_batch: Some(8),
            threads: None,
            devices: 1,
        }
    }

    fn first() -> Attempt<'static> {
        Attempt {
            folder: Path::new("/runs/r"),
            device: "cuda:2",
            number: 1,
            step: None,
            micro_batch: None,
        }
    }

    #[test]
    fn axes_become_arguments_as_declared() {
        use ArgumentStyle::{Apart, Bare, Joined, Json};
        use BooleanStyle::{Flag, Negated, Value};
        for (style, booleans, right) in [
            (
                Joined,
                Flag,
                "--depth=4|--target-flops=1e18|--fp8|--data=a b",
            ),
            (
                Joined,
                Negated,
                "--depth=4|--target-flops=1e18|--fp8|--no-bias|--data=a b",
            ),
            (
                Apart,
                Value,
                "--depth|4|--target-flops|1e18|--fp8|true|--bias|false|--data|a b",
            ),
            (
                Bare,
                Value,
                "depth=4|target-flops=1e18|fp8=true|bias=false|data=a b",
            ),
            (Json, Flag, "/runs/r/arguments.json"),
        ] {
            let command = spec(style, booleans).command(&first()).expect("a command");
            assert_eq!(
                command.arguments.join("|"),
                format!("train|{right}|--tag=d4"),
                "{style:?} {booleans:?}"
            );
            let object = r#"{"bias":false,"clip":null,"data":"a b","depth":4,"fp8":true,"target-flops":1e+18}"#;
            let file = command.file.map(|text| {
                let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                value.to_string()
            });
            assert_eq!(file.as_deref(), (style == Json).then_some(object));
        }
    }

    #[test]
    fn a_later_attempt_goes_on_where_there_is_a_checkpoint() {
        let spec = spec(ArgumentStyle::Joined, BooleanStyle::Flag);
        let ends = |attempt: Attempt| {
            let command = spec.command(&attempt).expect("a command");
            command.arguments[6..].join(" ")
        };
        assert_eq!(ends(first()), "");
        let again = Attempt {
            number: 2,
            ..first()
        };
        assert_eq!(ends(again), "", "there is none to go on from");
        let step = Some(40);
        assert_eq!(ends(Attempt { step, ..again }), "--resume 40");
        let micro_batch = Some(4);
        assert_eq!(
            ends(Attempt {
                micro_batch,
                ..again
            }),
            "--rows=4"
        );
        let variables = spec.command(&Attempt { step, ..again }).expect("a command");
        let variables = variables.environment;
        for (name, value) in [
            ("CUDA_VISIBLE_DEVICES", "2"),
            ("ORCHESTRATOR_ATTEMPT", "2"),
            ("ORCHESTRATOR_REPORT", "/runs/r/report.jsonl"),
            ("ORCHESTRATOR_RESUME_STEP", "40"),
            ("ORCHESTRATOR_SEED", "3"),
            ("TAG", "4"),
        ] {
            assert_eq!(variables.get(name).map(String::as_str), Some(value));
        }
    }

    #[test]
    fn identity_is_what_determines_the_result() {
        let spec = spec(ArgumentStyle::Joined, BooleanStyle::Flag);
        let changed = |change: &dyn Fn(&mut ExternalSpec)| {
            let mut other = spec.clone();
            change(&mut other);
            other.id() != spec.id()
        };
        assert!(changed(&|spec| spec.axes[0].1 = number("5")));
        assert!(changed(&|spec| spec.code = Some("c0de".into())));
        assert!(changed(&|spec| spec.trainer.command.push("-v".into())));
        assert!(!changed(
            &|spec| spec.axes[1].1 = number("1000000000000000000")
        ));
        assert!(!changed(&|spec| spec.axes.reverse()));
        assert!(!changed(&|spec| spec.trainer.resume.clear()));
        assert!(!changed(
            &|spec| spec.trainer.directory = "/elsewhere".into()
        ));
        assert!(!changed(&|spec| spec.declared.params = Some(1e6)));
        let mut other = spec.clone();
        (other.seed, other.axes[6].1) = (4, number("4"));
        assert_ne!(other.id(), spec.id());
        assert_eq!(other.setting(), spec.setting());
    }
}
