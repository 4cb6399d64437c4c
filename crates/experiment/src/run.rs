//! What a run is: everything that determines its result, its identity, and how it can end.
//!
//! Owns the specification and the stable content hash; refuses IO.

mod sound;

pub use sound::SpecError;

use crate::architecture::Architecture;
use crate::digest;
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Bumped when a change to the program changes the numbers of a run: older results then keep
/// their identity and new ones get their own.
pub const NUMERICS_VERSION: u32 = 2;

/// How text becomes token ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerSpec {
    /// One token a byte, 256 in all.
    Bytes,
    /// Byte-level BPE trained on the training files.
    Bpe {
        /// Number of entries, the 256 bytes included.
        vocab: usize,
    },
    /// An existing `tokenizer.json`.
    File {
        /// Its path.
        path: PathBuf,
    },
}

/// Which rule of the synthetic language says what word follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LanguageKind {
    /// Every document draws some of the words and a cyclic order of them, its own.
    #[default]
    Cycles,
    /// Every document is written in one of the language's dialects, which differ in the word that
    /// follows each.
    Dialects,
}

impl LanguageKind {
    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cycles => "cycles",
            Self::Dialects => "dialects",
        }
    }

    fn is_cycles(&self) -> bool {
        *self == Self::Cycles
    }
}

/// The synthetic language: words predictable inside, chosen by a hidden process that must be
/// read from the document's own long-range context.
///
/// A parameter of the other kind of language is 0 and left out of what is written, as is the
/// first kind's name, so that data keep their identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyntheticSpec {
    /// The rule by which words follow each other.
    #[serde(default, skip_serializing_if = "LanguageKind::is_cycles")]
    pub language: LanguageKind,
    /// Letters in the alphabet; the vocabulary is these and nothing else.
    pub letters: usize,
    /// Words in the lexicon.
    pub words: usize,
    /// Shortest word, in letters.
    pub min_word: usize,
    /// Longest word, in letters.
    pub max_word: usize,
    /// `cycles`: words a document draws from the lexicon.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub document_words: usize,
    /// `dialects`: how many there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dialects: usize,
    /// `dialects`: how many different words may follow a word, over all dialects.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub choices: usize,
    /// `dialects`: exponent of Zipf's law by which documents draw theirs; at 0 all are as frequent.
    #[serde(default, skip_serializing_if = "is_zero_number")]
    pub skew: f64,
    /// Tokens in a document.
    pub document_tokens: usize,
    /// Probability that a word is a uniform draw instead of its document's successor.
    pub noise: f64,
    /// Training tokens generated before the stream repeats.
    pub train_tokens: u64,
    /// Held-out tokens generated.
    pub validation_tokens: u64,
    /// Seed of the language and its documents, apart from the run's seed.
    pub seed: u64,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

fn is_zero_number(x: &f64) -> bool {
    *x == 0.0
}

impl SyntheticSpec {
    /// Returns the language of a kind where nothing else is asked for.
    pub fn of(language: LanguageKind) -> Self {
        let cycles = Self {
            language: LanguageKind::Cycles,
            letters: 24,
            words: 64,
            min_word: 2,
            max_word: 6,
            document_words: 12,
            dialects: 0,
            choices: 0,
            skew: 0.0,
            document_tokens: 256,
            noise: 0.05,
            train_tokens: 4_194_304,
            validation_tokens: 65_536,
            seed: 0,
        };
        match language {
            LanguageKind::Cycles => cycles,
            LanguageKind::Dialects => Self {
                language,
                letters: 16,
                words: 32,
                min_word: 3,
                max_word: 4,
                document_words: 0,
                dialects: 64,
                choices: 4,
                skew: 1.0,
                ..cycles
            },
        }
    }
}

/// Integer width of a token file; all are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenWidth {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes; ids are the same with and without a sign.
    U32,
    /// Eight bytes; ids are the same with and without a sign.
    I64,
}

impl TokenWidth {
    /// Every width, the narrowest first.
    pub const ALL: [Self; 4] = [Self::U8, Self::U16, Self::U32, Self::I64];

    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::I64 => "i64",
        }
    }

    /// Returns the bytes a token takes.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::U32 => 4,
            Self::I64 => 8,
        }
    }
}

/// A path, a folder or a glob, or several of them.
///
/// One is written as a plain string, as all were before there could be several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// One.
    One(String),
    /// Several, in order.
    Several(Vec<String>),
}

impl Paths {
    /// Returns them in order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Several(paths) => paths,
        }
    }
}

impl From<&[String]> for Paths {
    fn from(paths: &[String]) -> Self {
        match paths {
            [path] => Self::One(path.clone()),
            paths => Self::Several(paths.to_vec()),
        }
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.as_slice().join(", "))
    }
}

/// How text files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextForm {
    /// By what they hold: plain text, or documents as JSON lines, a JSON array or Parquet.
    #[default]
    Auto,
    /// As plain text, whatever they hold.
    Plain,
}

impl TextForm {
    /// The name used in experiment files and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
        }
    }

    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// The field or column of a document that holds its text, where none is named.
pub const TEXT_FIELD: &str = "text";

fn text_field() -> String {
    TEXT_FIELD.to_owned()
}

fn is_text_field(field: &String) -> bool {
    field == TEXT_FIELD
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataSpec {
    /// A generated language with a known floor.
    Synthetic(SyntheticSpec),
    /// UTF-8 text, in files of its own or as a field of documents.
    Text {
        /// Paths or globs, in order.
        text: Vec<String>,
        /// The field or column of a document that holds its text.
        #[serde(default = "text_field", skip_serializing_if = "is_text_field")]
        text_field: String,
        /// How the files are read.
        #[serde(default, skip_serializing_if = "TextForm::is_auto")]
        text_form: TextForm,
        /// How text becomes tokens.
        tokenizer: TokenizerSpec,
        /// Share of the tokens held out, from the tail of each file.
        validation: f64,
        /// Whether data that look wrong are taken as they are.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        accept_doubtful: bool,
    },
    /// Token files as nanoGPT, llm.c and NumPy write them, memory-mapped.
    Tokens {
        /// Training tokens: files, folders or globs.
        train: Paths,
        /// Held-out tokens; without them files of `train` that are named so, or else its tail.
        validation: Option<Paths>,
        /// Integer width; `None` takes what a file says of itself, or else two bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        width: Option<TokenWidth>,
        /// Vocabulary size.
        vocab: usize,
        /// Share of `train` held out when nothing else is.
        validation_share: f64,
        /// Whether data that look wrong are taken as they are.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        accept_doubtful: bool,
    },
}

impl DataSpec {
    /// Text with all else as it is where nothing is said.
    pub fn text(text: Vec<String>, tokenizer: TokenizerSpec, validation: f64) -> Self {
        Self::Text {
            text,
            text_field: text_field(),
            text_form: TextForm::Auto,
            tokenizer,
            validation,
            accept_doubtful: false,
        }
    }
}

/// What planning must know of data once it has been read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Hash of the token streams, hexadecimal: the data's identity, wherever its files lie.
    pub fingerprint: String,
    /// Vocabulary size.
    pub vocab: usize,
    /// Unique training tokens.
    pub train_tokens: u64,
    /// Held-out tokens.
    pub validation_tokens: u64,
    /// UTF-8 bytes a token stands for on the held-out part; `None` where tokens have no text.
    pub bytes_per_token: Option<f64>,
    /// Conditional entropy per token given the hidden state, in nats: no honest loss passes it.
    /// `None` where it is not known.
    pub entropy_floor: Option<f64>,
}

/// Everything that determines a run's result, and where its data lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The model's shape.
    pub architecture: Architecture,
    /// Where tokens come from; its fingerprint, not its paths, is part of the identity.
    pub data: DataSpec,
    /// What was found there.
    pub facts: DataFacts,
    /// How it is trained.
    pub recipe: Recipe,
    /// Seed of initial weights, order of batches and boundary sampling.
    pub seed: u64,
    /// How it is carried out; the result does not depend on it beyond rounding, nor the identity.
    pub execution: Execution,
}

/// How a run is carried out on a machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Execution {
    /// Sequences in one forward pass; the rest of the batch is accumulated.
    pub micro_batch: usize,
    /// Threads of a run's process.
    pub threads: usize,
    /// Seconds between two checkpoints.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: f64,
    /// The run it goes on from; `None` begins at the first step. The numbers are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Whether its whole state at the end is kept, for other runs to go on from.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_end: bool,
    /// What it is asked when it has been trained.
    #[serde(default, skip_serializing_if = "Evaluation::is_empty")]
    pub evaluation: Evaluation,
}

/// What a run is asked when it has been trained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The folder of tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<PathBuf>,
    /// Texts that are held out, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub texts: BTreeMap<String, Paths>,
}

impl Evaluation {
    /// Says whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_none() && self.texts.is_empty()
    }
}

/// The end of another run, up to which both are one training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The other run.
    pub run: RunId,
    /// Optimizer steps it has taken.
    pub step: u64,
}

/// Which part of a warmup–stable–decay training a run carries out, and what for.
///
/// # Source
/// Hägele et al., arXiv 2405.18392: many decays from one stable phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// All of it.
    Whole,
    /// A piece of the phase before any decay, whose end others go on from.
    Trunk,
    /// The decay, from the end of a trunk.
    Branch,
    /// All of one at a rate that may not be the best: the experiment asks for it to find which is.
    Trial,
}

/// What runs were carried out with before it could be set.
fn checkpoint_every() -> f64 {
    f64::from(Execution::CHECKPOINT_EVERY)
}

impl Execution {
    /// Seconds between two checkpoints where nothing else is asked for.
    pub const CHECKPOINT_EVERY: u16 = 60;

    /// Says which part of a training is carried out, `trial` whether to find a learning rate.
    pub fn part(&self, trial: bool) -> Part {
        match (self.keeps_end, &self.start) {
            _ if trial => Part::Trial,
            (true, _) => Part::Trunk,
            (false, Some(_)) => Part::Branch,
            (false, None) => Part::Whole,
        }
    }
}

/// A run's identity: a hash of what determines its result, never of names, paths or hardware.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl From<String> for RunId {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl RunSpec {
    /// Counts the tokens it trains on itself: without those of the runs it goes on from.
    pub fn own_tokens(&self) -> u64 {
        let before = self.execution.start.as_ref().map_or(0, |start| start.step);
        let step = (self.recipe.batch * self.architecture.seq_len()) as u64;
        self.recipe
            .tokens
            .saturating_sub(before.saturating_mul(step))
    }

    /// Computes the run's identity: 12 hexadecimal digits of SHA-256 over canonical JSON.
    pub fn id(&self) -> RunId {
        #[derive(Serialize)]
        struct Identity<'a> {
            numerics: u32,
            architecture: &'a Architecture,
            data: &'a str,
            recipe: &'a Recipe,
            seed: u64,
        }
        let identity = Identity {
            numerics: NUMERICS_VERSION,
            architecture: &self.architecture,
            data: &self.facts.fingerprint,
            recipe: &self.recipe,
            seed: self.seed,
        };
        // A `Value` keeps its keys sorted, so the order of fields in the source does not matter.
        let canonical = serde_json::to_value(&identity)
            .map(|value| value.to_string())
            .unwrap_or_else(|error| unreachable!("a run specification is plain data: {error}"));
        RunId(digest::name(&canonical))
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Planned, not started or interrupted before its end.
    Pending,
    /// A process is training it.
    Running,
    /// It ended by itself; its outcome says how.
    Ended,
}

/// How a run, or an attempt at it, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Trained to its last token.
    Finished,
    /// The loss was not a number or passed the bound.
    Diverged,
    /// The process was killed for memory, or said so.
    OutOfMemory,
    /// The process ended in any other wrong way.
    Crashed,
    /// Stopped on request; it can be continued.
    Interrupted,
    /// Not done within its time limit.
    TimedOut,
    /// Without a sign of life for too long, and killed.
    Stalled,
    /// Given up by the user.
    Cancelled,
    /// Another trainer's process ended without a fault, but without a final held-out loss.
    FinishedWithoutResult,
}

impl RunOutcome {
    /// Says whether it is a result, which training again would only repeat.
    pub fn is_result(self) -> bool {
        matches!(self, Self::Finished | Self::Diverged)
    }
}

macro_rules! names {
    ($type:ty { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// The name used in the database and in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Finds the value with this name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

names!(Part { Whole => "whole", Trunk => "trunk", Branch => "branch", Trial => "trial" });
names!(RunState { Pending => "pending", Running => "running", Ended => "ended" });
names!(RunOutcome {
    Finished => "finished",
    Diverged => "diverged",
    OutOfMemory => "out_of_memory",
    Crashed => "crashed",
    Interrupted => "interrupted",
    TimedOut => "timed_out",
    Stalled => "stalled",
    Cancelled => "cancelled",
    FinishedWithoutResult => "finished_without_result",
});
