//! Where reports come from: a file, lines of output, a trainer's state, TensorBoard's event files.

use super::reports;
use experiment::external::{ReportFrom, compile};
use experiment::folder::REPORT;
use prost::Message;
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Time between two looks at files that are large, or many.
const EVERY: Duration = Duration::from_secs(2);

/// A report, or why what stands there is none.
pub(super) type Report = Result<Map<String, Value>, String>;

/// A source of reports.
pub(super) enum Source {
    File(Lines),
    Marker(String),
    Regex(Vec<(String, Regex)>),
    State(State),
    Tensorboard(EventFiles),
}

impl Source {
    /// Opens the source that is declared, `fill` being what makes a folder of a template.
    ///
    /// # Errors
    /// When a regular expression or a folder cannot be used.
    pub(super) fn open(
        from: &ReportFrom,
        folder: &Path,
        fill: impl Fn(&str) -> Result<PathBuf, String>,
    ) -> Result<Self, String> {
        Ok(match from {
            ReportFrom::File => Self::File(Lines::new(folder.join(REPORT))),
            ReportFrom::Stdout(marker) => Self::Marker(marker.clone()),
            ReportFrom::Regex(expressions) => Self::Regex(compile(expressions)?),
            ReportFrom::TrainerState(folder) => Self::State(State::new(fill(folder)?)),
            ReportFrom::Tensorboard { folder, tags } => {
                Self::Tensorboard(EventFiles::new(fill(folder)?, tags))
            }
        })
    }

    /// Reads what files hold beyond what was read before; `now` whether to look though it was just done.
    pub(super) fn poll(&mut self, now: bool) -> Vec<Report> {
        match self {
            Self::File(lines) => lines.read(),
            Self::Marker(_) | Self::Regex(_) => Vec::new(),
            Self::State(state) => state.read(now),
            Self::Tensorboard(files) => files.read(now),
        }
    }

    /// Says whether lines of output hold reports.
    pub(super) fn reads_output(&self) -> bool {
        matches!(self, Self::Marker(_) | Self::Regex(_))
    }

    /// Reads the report in a line of output; `None` where there is none.
    pub(super) fn line(&self, line: &str) -> Option<Report> {
        match self {
            Self::Marker(marker) => {
                let report = line.trim_start().strip_prefix(marker.as_str())?;
                Some(reports::read(report.trim_start_matches([' ', ':'])))
            }
            Self::Regex(expressions) => {
                let found = expressions.iter().filter_map(|(name, expression)| {
                    let number = expression.captures(line)?.get(1)?.as_str();
                    Some((name.clone(), Value::String(number.to_owned())))
                });
                let report: Map<String, Value> = found.collect();
                (!report.is_empty()).then_some(Ok(report))
            }
            Self::File(_) | Self::State(_) | Self::Tensorboard(_) => None,
        }
    }
}

/// A file of JSON lines that grows.
pub(super) struct Lines {
    path: PathBuf,
    offset: u64,
}

impl Lines {
    fn new(path: PathBuf) -> Self {
        Self { path, offset: 0 }
    }

    fn read(&mut self) -> Vec<Report> {
        let Ok(bytes) = from(&self.path, self.offset) else {
            return Vec::new();
        };
        // A line without its newline is still being written.
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        self.offset += end as u64 + 1;
        let text = String::from_utf8_lossy(&bytes[..=end]);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(reports::read).collect()
    }
}

fn from(path: &Path, offset: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    if file.metadata()?.len() > offset {
        file.seek(SeekFrom::Start(offset))?;
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The state of Hugging Face's `Trainer`, which it writes beside every checkpoint and at its end.
pub(super) struct State {
    folder: PathBuf,
    looked: Option<Instant>,
    seen: Option<(PathBuf, SystemTime)>,
    /// Entries of its history that were read.
    read: usize,
}

impl State {
    const FILE: &str = "trainer_state.json";

    fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            looked: None,
            seen: None,
            read: 0,
        }
    }

    fn read(&mut self, now: bool) -> Vec<Report> {
        if !now && self.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        let files = files_below(&self.folder, 4);
        let states = files.into_iter().filter_map(|path| {
            let is_state = path.file_name().is_some_and(|name| name == Self::FILE);
            let modified = path.metadata().ok()?.modified().ok()?;
            is_state.then_some((path, modified))
        });
        let Some(newest) = states.max_by_key(|(_, modified)| *modified) else {
            return Vec::new();
        };
        if self.seen.as_ref() == Some(&newest) {
            return Vec::new();
        }
        // One that is being written is whole the next time.
        let Ok(text) = std::fs::read_to_string(&newest.0) else {
            return Vec::new();
        };
        let Ok(state) = reports::read(&text) else {
            return Vec::new();
        };
        self.seen = Some(newest);
        let history = state.get("log_history").and_then(Value::as_array);
        let entries = history.map_or(&[][..], Vec::as_slice);
        let mut found: Vec<Report> = Vec::new();
        for entry in entries.iter().skip(self.read) {
            // What sums up a training is no row of it.
            if let Value::Object(entry) = entry
                && !entry.contains_key("train_loss")
            {
                let mut entry = entry.clone();
                entry.remove("train_runtime");
                if let Some(tokens) = entry.remove("num_input_tokens_seen") {
                    entry.insert("tokens".to_owned(), tokens);
                }
                found.push(Ok(entry));
            }
        }
        self.read = self.read.max(entries.len());
        if let Some(steps) = state.get("max_steps").filter(|steps| steps.is_number()) {
            let whole = Map::from_iter([("total_steps".to_owned(), steps.clone())]);
            found.insert(0, Ok(whole));
        }
        if let Some(step) = state.get("global_step").filter(|step| step.is_number()) {
            let checkpoint = Map::from_iter([
                ("step".to_owned(), step.clone()),
                ("checkpoint".to_owned(), step.clone()),
            ]);
            found.push(Ok(checkpoint));
        }
        found
    }
}

/// Lists the files below a folder, some folders deep.
fn files_below(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => files.extend(files_below(&path, depth - 1)),
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

/// An event of TensorBoard, as far as scalars need it.
///
/// # Source
/// TensorBoard's `event.proto`, `summary.proto` and `tensor.proto`.
#[derive(Clone, PartialEq, Message)]
struct ScalarEvent {
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Scalars>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalars {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
}

/// A scalar as TensorFlow 2 writes it.
#[derive(Clone, PartialEq, Message)]
struct Tensor {
    /// Little-endian, in single precision.
    #[prost(bytes = "vec", tag = "4")]
    content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    floats: Vec<f32>,
}

impl Scalar {
    fn value(&self) -> Option<f32> {
        let tensor = || {
            let tensor = self.tensor.as_ref()?;
            let content = tensor.content.first_chunk().map(|x| f32::from_le_bytes(*x));
            tensor.floats.first().copied().or(content)
        };
        self.simple.or_else(tensor)
    }
}

/// The event files below a folder, which grow.
pub(super) struct EventFiles {
    folder: PathBuf,
    /// Tag → quantity.
    tags: BTreeMap<String, String>,
    looked: Option<Instant>,
    read: BTreeMap<PathBuf, u64>,
}

impl EventFiles {
    fn new(folder: PathBuf, tags: &BTreeMap<String, String>) -> Self {
        let tags = tags.iter();
        Self {
            folder,
            tags: tags
                .map(|(name, tag)| (tag.clone(), name.clone()))
                .collect(),
            looked: None,
            read: BTreeMap::new(),
        }
    }

    fn read(&mut self, now: bool) -> Vec<Report> {
        if !now && self.looked.is_some_and(|at| at.elapsed() < EVERY) {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        let mut found = Vec::new();
        for path in files_below(&self.folder, 4) {
            let name = path.file_name().map(|name| name.to_string_lossy());
            if !name.is_some_and(|name| name.contains("tfevents")) {
                continue;
            }
            let offset = self.read.entry(path.clone()).or_default();
            let Ok(bytes) = from(&path, *offset) else {
                continue;
            };
            let (events, end) = events(&bytes);
            *offset += end as u64;
            for event in events {
                let values = event.summary.map_or(Vec::new(), |summary| summary.values);
                let scalars = values.iter().filter_map(|scalar| {
                    let value = f64::from(scalar.value()?);
                    let value = serde_json::Number::from_f64(value)
                        .map_or(Value::String("NaN".to_owned()), Value::Number);
                    Some((self.tags.get(&scalar.tag)?.clone(), value))
                });
                let mut report: Map<String, Value> = scalars.collect();
                if !report.is_empty() {
                    report.insert("step".to_owned(), event.step.into());
                    found.push(Ok(report));
                }
            }
        }
        found
    }
}

/// Reads the whole records of a TFRecord file, and says how many bytes they take.
///
/// A record is its length in eight bytes, a checksum of four, its content, and another checksum.
fn events(bytes: &[u8]) -> (Vec<ScalarEvent>, usize) {
    let mut events = Vec::new();
    let mut at = 0;
    while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let length = u64::from_le_bytes(*length) as usize;
        let end = at.saturating_add(12).saturating_add(length);
        let Some(content) = bytes.get(at + 12..end).filter(|_| bytes.len() >= end + 4) else {
            break;
        };
        // One that cannot be read is of a newer kind: what it says is not known.
        events.extend(ScalarEvent::decode(content));
        at = end + 4;
    }
    (events, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_files_are_read_as_they_grow() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.out.tfevents.1");
        let record = |step, tag: &str, scalar: Scalar| {
            let scalar = Scalar {
                tag: tag.to_owned(),
                ..scalar
            };
            let event = ScalarEvent {
                step,
                summary: Some(Scalars {
                    values: vec![scalar],
                }),
            };
            let content = event.encode_to_vec();
            let mut bytes = (content.len() as u64).to_le_bytes().to_vec();
            bytes.extend([0; 4]);
            bytes.extend(content);
            bytes.extend([0; 4]);
            bytes
        };
        let simple = Scalar {
            simple: Some(2.5),
            ..Scalar::default()
        };
        let tensor = Scalar {
            tensor: Some(Tensor {
                content: 1.25f32.to_le_bytes().to_vec(),
                floats: Vec::new(),
            }),
            ..Scalar::default()
        };
        let mut all = record(10, "eval/loss", simple.clone());
        all.extend(record(10, "other", simple));
        let second = record(20, "eval/loss", tensor);
        let (half, rest) = second.split_at(9);
        all.extend(half);
        std::fs::write(&path, &all).expect("written");
        let tags = BTreeMap::from([("validation_loss".to_owned(), "eval/loss".to_owned())]);
        let mut files = EventFiles::new(folder.path().to_owned(), &tags);
        let said = |reports: Vec<Report>| -> Vec<String> {
            let reports = reports.into_iter();
            reports
                .map(|report| Value::from(report.expect("a report")).to_string())
                .collect()
        };
        assert_eq!(
            said(files.read(true)),
            [r#"{"step":10,"validation_loss":2.5}"#]
        );
        assert_eq!(said(files.read(true)), Vec::<String>::new());
        all.extend(rest);
        std::fs::write(&path, &all).expect("written");
        assert_eq!(
            said(files.read(true)),
            [r#"{"step":20,"validation_loss":1.25}"#]
        );
    }

    #[test]
    fn a_trainer_state_is_read_entry_by_entry() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |at: &str, text: &str| {
            let folder = folder.path().join(at);
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join(State::FILE), text).expect("written");
        };
        let mut state = State::new(folder.path().to_owned());
        assert_eq!(state.read(true), []);
        write(
            "checkpoint-2",
            r#"{"global_step": 2, "log_history": [{"loss": 3.5, "step": 2, "train_runtime": 0.5}]}"#,
        );
        let first = state.read(true);
        assert_eq!(first.len(), 2, "{first:?}");
        std::thread::sleep(Duration::from_millis(20));
        write(
            "",
            r#"{"global_step": 4, "log_history": [{"loss": 3.5, "step": 2, "train_runtime": 0.5},
                {"eval_loss": NaN, "step": 4, "num_input_tokens_seen": 800},
                {"train_runtime": 1.5, "train_loss": 3.2, "step": 4}]}"#,
        );
        let second = state.read(true);
        assert_eq!(second.len(), 2, "{second:?}");
        let report = second[0].as_ref().expect("a report");
        assert_eq!(report["tokens"], 800);
        assert_eq!(report["eval_loss"], "NaN");
    }
}
