//! A trainer that is not this program's: what it is, and what a run of it is.
//!
//! Owns the specification of such a run, its identity and the command that trains it; refuses IO.

pub mod command;
pub mod template;

use crate::digest;
use crate::run::RunId;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::f64::consts::LN_2;
use std::path::PathBuf;

/// What losses are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossUnit {
    /// Natural logarithms, per token.
    #[default]
    Nats,
    /// Logarithms to base 2, per token.
    Bits,
    /// Logarithms to base 2, per UTF-8 byte.
    BitsPerByte,
}

impl LossUnit {
    /// Every unit.
    pub const ALL: [Self; 3] = [Self::Nats, Self::Bits, Self::BitsPerByte];

    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::Bits => "bits",
            Self::BitsPerByte => "bits_per_byte",
        }
    }

    /// Returns by what losses are multiplied to be nats; of a byte where they are of a byte.
    pub fn factor(self) -> f64 {
        match self {
            Self::Nats => 1.0,
            Self::Bits | Self::BitsPerByte => LN_2,
        }
    }
}

/// How an axis becomes an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgumentStyle {
    /// `--name=value`.
    #[default]
    #[serde(rename = "--name=value")]
    Joined,
    /// `--name value`: two arguments.
    #[serde(rename = "--name value")]
    Apart,
    /// `name=value`, as Hydra and OmegaConf read.
    #[serde(rename = "name=value")]
    Bare,
    /// One argument: the path of a JSON file with all of them.
    #[serde(rename = "json")]
    Json,
}

impl ArgumentStyle {
    /// Every style.
    pub const ALL: [Self; 4] = [Self::Joined, Self::Apart, Self::Bare, Self::Json];

    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Joined => "--name=value",
            Self::Apart => "--name value",
            Self::Bare => "name=value",
            Self::Json => "json",
        }
    }
}

/// How `true` and `false` become arguments; JSON has its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BooleanStyle {
    /// `--name` where it is true, nothing where it is false.
    #[default]
    Flag,
    /// `--name` and `--no-name`.
    Negated,
    /// `true` and `false`, as a value.
    Value,
}

impl BooleanStyle {
    /// Every style.
    pub const ALL: [Self; 3] = [Self::Flag, Self::Negated, Self::Value];

    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Negated => "negated",
            Self::Value => "value",
        }
    }
}

/// Where a trainer's reports are read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReportFrom {
    /// The file named in `ORCHESTRATOR_REPORT`: a JSON object a line.
    #[default]
    File,
    /// Lines of its output that begin with this marker, a JSON object after it.
    Stdout(String),
    /// Lines of its output, by a regular expression a quantity; its first group is the number.
    Regex(BTreeMap<String, String>),
    /// The newest `trainer_state.json` of Hugging Face's `Trainer` below this folder.
    TrainerState(String),
    /// TensorBoard's event files below a folder, by the tag of a quantity.
    Tensorboard {
        /// The folder.
        folder: String,
        /// Quantity → tag.
        tags: BTreeMap<String, String>,
    },
}

/// Compiles regular expressions.
///
/// # Errors
/// What is wrong with one, or that it has no group.
pub fn compile(expressions: &BTreeMap<String, String>) -> Result<Vec<(String, Regex)>, String> {
    let compiled = expressions.iter().map(|(name, text)| {
        let expression = Regex::new(text).map_err(|error| format!("`{name}`: {error}"))?;
        if expression.captures_len() < 2 {
            return Err(format!(
                "`{name}`: `{text}` has no group: put parentheses around the number"
            ));
        }
        Ok((name.clone(), expression))
    });
    compiled.collect()
}

/// A trainer, as an experiment's file declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trainer {
    /// The command: templates of its arguments, the first the program. `{args}` stands for all axes.
    pub command: Vec<String>,
    /// How an axis becomes an argument.
    pub arguments: ArgumentStyle,
    /// How true and false do.
    pub booleans: BooleanStyle,
    /// Axis → the name it is passed under; `None`: it is not passed.
    pub rename: BTreeMap<String, Option<String>>,
    /// Variables of its environment: templates.
    pub environment: BTreeMap<String, String>,
    /// The folder it is started in.
    pub directory: PathBuf,
    /// Files, folders and globs of its code, below that folder.
    pub code: Vec<String>,
    /// Arguments that are added to go on from a checkpoint: templates.
    pub resume: Vec<String>,
    /// Arguments that say how many sequences are computed at once: templates.
    pub micro_batch: Vec<String>,
    /// Where its reports are read from.
    pub report: ReportFrom,
    /// What it counts losses in.
    pub loss_unit: LossUnit,
    /// What it counts the losses of training batches in, where that is another unit.
    #[serde(default)]
    pub training_loss_unit: Option<LossUnit>,
    /// UTF-8 bytes that a token stands for, where that is known.
    pub bytes_per_token: Option<f64>,
    /// Seconds that it may take to end after SIGTERM.
    pub stop_limit: f64,
}

impl Trainer {
    /// Seconds that a trainer may take to end where nothing else is said: a checkpoint of a large model
    /// takes minutes.
    pub const STOP_LIMIT: f64 = 600.0;

    /// Says what stored losses are counted in.
    pub fn stored_unit(&self) -> &'static str {
        match (self.loss_unit, self.bytes_per_token) {
            (LossUnit::BitsPerByte, None) => "nats per byte",
            _ => "nats per token",
        }
    }
}

/// The value of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AxisValue {
    /// Nothing: the argument is left out.
    Null,
    /// True or false.
    Flag(bool),
    /// A number.
    Number {
        /// Its value.
        value: f64,
        /// As it is passed.
        written: String,
    },
    /// A word.
    Text(String),
}

impl AxisValue {
    /// Writes it as it is passed; nothing where it is `null`.
    pub fn written(&self) -> &str {
        match self {
            Self::Null => "",
            Self::Flag(true) => "true",
            Self::Flag(false) => "false",
            Self::Number { written, .. } => written,
            Self::Text(text) => text,
        }
    }

    /// Writes it for people, `null` too.
    pub fn shown(&self) -> &str {
        match self {
            Self::Null => "null",
            value => value.written(),
        }
    }

    /// The number that it is.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number { value, .. } => Some(*value),
            _ => None,
        }
    }

    /// Its value as JSON, by which it is known: `1e6` and `1000000` are one.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Flag(on) => (*on).into(),
            Self::Number { value, .. } if value.fract() == 0.0 && value.abs() < 2f64.powi(53) => {
                (*value as i64).into()
            }
            Self::Number { value, .. } => (*value).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

/// The quantities that laws are about, as far as a file says them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantities {
    /// N: non-embedding parameters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<f64>,
    /// D: training tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<f64>,
    /// C: training FLOPs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<f64>,
    /// R: tokens per concept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_ratio: Option<f64>,
    /// P: share of N in the concept backbone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept_share: Option<f64>,
}

impl Quantities {
    /// Their names.
    pub const NAMES: [&'static str; 5] = [
        "params",
        "tokens",
        "flops",
        "compression_ratio",
        "concept_share",
    ];

    /// Finds a quantity by its name.
    pub fn get(&self, name: &str) -> Option<f64> {
        match name {
            "params" => self.params,
            "tokens" => self.tokens,
            "flops" => self.flops,
            "compression_ratio" => self.compression_ratio,
            "concept_share" => self.concept_share,
            _ => None,
        }
    }

    /// Sets a quantity by its name; another name is none.
    pub fn set(&mut self, name: &str, value: f64) {
        let place = match name {
            "params" => &mut self.params,
            "tokens" => &mut self.tokens,
            "flops" => &mut self.flops,
            "compression_ratio" => &mut self.compression_ratio,
            "concept_share" => &mut self.concept_share,
            _ => return,
        };
        *place = Some(value);
    }
}

/// A run of an external trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalSpec {
    /// The trainer.
    pub trainer: Trainer,
    /// Hash of its code; `None` where the file names none.
    pub code: Option<String>,
    /// The axes, in the order of the file.
    pub axes: Vec<(String, AxisValue)>,
    /// Seed, in the environment even where it is no axis.
    pub seed: u64,
    /// What the file says of the model and its training; what the trainer reports wins.
    pub declared: Quantities,
    /// How many sequences are computed at once at first; `None`: as the trainer will.
    pub micro_batch: Option<usize>,
    /// Threads that it is given; `None`: as it will.
    pub threads: Option<usize>,
    /// Devices that it takes.
    pub devices: usize,
}

impl ExternalSpec {
    /// Says why it cannot be started; its file may have been edited.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.trainer.command.is_empty() {
            return Err("its command is empty".into());
        }
        Ok(())
    }

    /// C of the whole training: as the file says it, or 6·N·D; `None` where it says neither.
    pub fn flops(&self) -> Option<f64> {
        let Quantities { params, tokens, .. } = self.declared;
        let product = params.zip(tokens).map(|(n, d)| 6.0 * n * d);
        self.declared.flops.or(product)
    }

    /// Computes the run's identity: 12 hexadecimal digits of SHA-256 over what determines its result.
    ///
    /// How it is resumed, watched and read does not, nor where it lies.
    pub fn id(&self) -> RunId {
        self.id_of(self.code.as_deref(), self.seed, &[])
    }

    /// Names what it is but for its seed: runs of one such name are replicates.
    pub fn setting(&self) -> String {
        self.id_of(self.code.as_deref(), 0, &["seed"]).0
    }

    /// Names what it is but for its seed and its learning rate.
    pub fn family(&self) -> String {
        let rate = ["seed", "learning_rate", "lr"];
        self.id_of(self.code.as_deref(), 0, &rate).0
    }

    /// Names what is asked, whatever the trainer's code is.
    pub fn asked(&self) -> String {
        self.id_of(None, self.seed, &[]).0
    }

    fn id_of(&self, code: Option<&str>, seed: u64, without: &[&str]) -> RunId {
        let axes = self.axes.iter();
        let axes: BTreeMap<&str, serde_json::Value> = axes
            .filter(|(name, _)| !without.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.json()))
            .collect();
        let trainer = &self.trainer;
        let identity = serde_json::json!({
            "command": trainer.command,
            "arguments": trainer.arguments,
            "booleans": trainer.booleans,
            "rename": trainer.rename,
            "environment": trainer.environment,
            "code": code,
            "axes": axes,
            "seed": seed,
        });
        RunId(digest::name(&identity.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_need_a_group() {
        let of = |text: &str| compile(&BTreeMap::from([("loss".to_owned(), text.to_owned())]));
        assert!(of("loss ([0-9.]+)").is_ok());
        for (text, why) in [("loss [0-9.]+", "no group"), ("loss (", "unclosed")] {
            let said = of(text).expect_err(text);
            assert!(said.contains(why), "{said}");
        }
    }
}
