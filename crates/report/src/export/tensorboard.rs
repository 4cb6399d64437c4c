//! Event files for TensorBoard: a folder a run, with its scalars and its hyperparameters.
//!
//! # Source
//! TensorBoard's protocol buffers `event.proto`, `summary.proto`, `tensor.proto` and the HParams
//! plugin's `plugin_data.proto`; TFRecord frames as TensorFlow's `record_writer.cc` writes them. Only
//! the fields that are written are declared.

use super::{ExportError, Source, name};
use crate::WholeFile;
use campaign::store::{AttemptRecord, RunRecord};
use experiment::event::Measurement;
use experiment::run::{RunOutcome, RunState};
use prost::Message;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file in a run's folder; TensorBoard reads files with `tfevents` in their names.
const FILE: &str = "events.out.tfevents.0.orchestrator";
/// The first event of every file.
const FILE_VERSION: &str = "brain.Event:2";

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    /// 1 is single precision.
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    dimensions: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<Plugin>,
}

#[derive(Clone, PartialEq, Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

/// What the HParams plugin reads.
#[derive(Clone, PartialEq, Message)]
struct HParams {
    #[prost(message, optional, tag = "3")]
    start: Option<SessionStart>,
    #[prost(message, optional, tag = "4")]
    end: Option<SessionEnd>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, Setting>,
    #[prost(string, tag = "4")]
    group: String,
    #[prost(double, tag = "5")]
    start_time: f64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionEnd {
    /// 1 is success, 2 failure.
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time: f64,
}

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
struct Setting {
    #[prost(double, optional, tag = "2")]
    number: Option<f64>,
    #[prost(string, optional, tag = "3")]
    text: Option<String>,
}

pub(super) async fn write(source: &Source<'_>, folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    let scores = source.store.scores(source.experiment).await?;
    let mut written = Vec::new();
    for run in &source.runs {
        let measurements = source.store.measurements(&run.id).await?;
        // What has not begun would be an empty line in every list.
        if measurements.is_empty() {
            continue;
        }
        let attempts = source.store.history(&run.id).await?;
        let mut file = WholeFile::create(&folder.join(name::readable(run)).join(FILE))?;
        let scores = scores.get(&run.id);
        let scores = scores.map_or_else(Vec::new, |scores| scores.numbers().collect());
        for event in events(run, &attempts, &measurements, scores) {
            file.put(&record(&event))?;
        }
        written.push(file.finish()?);
    }
    Ok(written)
}

/// The events of a run in order.
fn events<'a>(
    run: &'a RunRecord,
    attempts: &[AttemptRecord],
    measurements: &'a [Measurement],
    scores: Vec<(String, f64)>,
) -> impl Iterator<Item = Event> + 'a {
    let begin = attempts
        .first()
        .map_or(0.0, |attempt| attempt.start.started_at);
    let end = attempts.last().and_then(|attempt| attempt.ended_at);
    let head = [
        Event {
            wall_time: begin,
            file_version: Some(FILE_VERSION.to_owned()),
            ..Event::default()
        },
        about(begin, &start(run, begin)),
    ];
    let mut clock = Clock {
        time: begin,
        tokens: None,
    };
    let rows = measurements.iter().map(move |row| Event {
        wall_time: clock.at(row),
        step: row.step as i64,
        summary: Some(Summary {
            values: scalars(row),
        }),
        ..Event::default()
    });
    let last = measurements.last().map_or(0, |row| row.step as i64);
    let scored = (!scores.is_empty()).then(|| Event {
        wall_time: end.unwrap_or(begin),
        step: last,
        summary: Some(Summary {
            values: scores
                .into_iter()
                .map(|(tag, value)| scalar(tag, value))
                .collect(),
        }),
        ..Event::default()
    });
    let tail = match (run.state, end) {
        (RunState::Ended, Some(end_time)) => {
            let finished = run.outcome == Some(RunOutcome::Finished);
            let end = SessionEnd {
                status: if finished { 1 } else { 2 },
                end_time,
            };
            let hparams = HParams {
                start: None,
                end: Some(end),
            };
            Some(about(end_time, &("_hparams_/session_end_info", hparams)))
        }
        _ => None,
    };
    head.into_iter().chain(rows).chain(scored).chain(tail)
}

/// The time of training at each row: journals have it, the database only the speed since the row
/// before.
struct Clock {
    time: f64,
    tokens: Option<u64>,
}

impl Clock {
    fn at(&mut self, row: &Measurement) -> f64 {
        let Some(tokens) = row.tokens else {
            return self.time;
        };
        let before = self.tokens.replace(tokens);
        let new = tokens.saturating_sub(before.unwrap_or(tokens));
        match row.tokens_per_second {
            Some(speed) if speed > 0.0 => self.time += new as f64 / speed,
            _ => {}
        }
        self.time
    }
}

/// The scalars that were measured.
fn scalars(row: &Measurement) -> Vec<SummaryValue> {
    let own = [
        ("loss", row.loss),
        ("validation_loss", row.validation_loss),
        ("bits_per_byte", row.bits_per_byte),
        ("realised_sampled", row.realised_sampled),
        ("realised_training", row.realised_training),
        ("realised_thresholded", row.realised_thresholded),
        ("concept_gain", row.concept_gain),
        ("boundary_gain", row.boundary_gain),
        ("auxiliary_loss", row.auxiliary_loss),
        ("gradient_norm", row.gradient_norm),
        ("rate_share", row.rate_share),
        ("tokens_per_second", row.tokens_per_second),
        ("tokens", row.tokens.map(|tokens| tokens as f64)),
        ("flops", row.flops),
    ];
    let more = row.metrics.iter();
    let more = more.map(|(name, value)| (name.as_str(), Some(*value)));
    own.into_iter()
        .chain(more)
        .filter_map(|(tag, value)| Some(scalar(tag.to_owned(), value?)))
        .collect()
}

fn scalar(tag: String, value: f64) -> SummaryValue {
    SummaryValue {
        tag,
        simple_value: Some(value as f32),
        ..SummaryValue::default()
    }
}

/// What the HParams plugin calls a session's start: the run's settings.
fn start(run: &RunRecord, start_time: f64) -> (&'static str, HParams) {
    let number = |number: f64| Setting {
        number: Some(number),
        text: None,
    };
    let text = |text: &str| Setting {
        number: None,
        text: Some(text.to_owned()),
    };
    let written = run.axes.iter().map(|(name, value)| {
        let setting =
            experiment::quantity::parse_number(value).map_or_else(|_| text(value), number);
        (name.clone(), setting)
    });
    let built = [
        ("kind", text(run.kind.name())),
        ("part", text(run.part.name())),
        ("concept_share", number(run.concept_share)),
        ("compression_ratio", number(run.compression_ratio)),
        ("seed", number(run.seed as f64)),
    ];
    let sizes = [("params", run.params), ("tokens", run.tokens)];
    let sizes = sizes
        .into_iter()
        .filter_map(|(name, size)| Some((name, number(size? as f64))));
    let built = built.into_iter().chain(sizes);
    // What was built stands in place of what was asked for.
    let built = built.map(|(name, setting)| (name.to_owned(), setting));
    let start = SessionStart {
        hparams: written.chain(built).collect(),
        group: name::readable(run),
        start_time,
    };
    let hparams = HParams {
        start: Some(start),
        end: None,
    };
    ("_hparams_/session_start_info", hparams)
}

/// An event that only the HParams plugin reads: its content goes as metadata of an empty tensor.
fn about(wall_time: f64, (tag, hparams): &(&str, HParams)) -> Event {
    let empty = TensorShape {
        dimensions: vec![Dimension { size: 0 }],
    };
    let value = SummaryValue {
        tag: (*tag).to_owned(),
        simple_value: None,
        tensor: Some(Tensor {
            dtype: 1,
            shape: Some(empty),
        }),
        metadata: Some(Metadata {
            plugin: Some(Plugin {
                name: "hparams".to_owned(),
                content: hparams.encode_to_vec(),
            }),
        }),
    };
    Event {
        wall_time,
        summary: Some(Summary {
            values: vec![value],
        }),
        ..Event::default()
    }
}

/// Frames an event as a TFRecord: length, its checksum, content, its checksum.
fn record(event: &Event) -> Vec<u8> {
    let content = event.encode_to_vec();
    let length = (content.len() as u64).to_le_bytes();
    [
        &length[..],
        &masked(&length).to_le_bytes(),
        &content,
        &masked(&content).to_le_bytes(),
    ]
    .concat()
}

/// TFRecord's checksum: CRC-32C, rotated and moved, so that the checksum of text that holds
/// checksums is no weaker.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_with_training_and_stands_still_where_the_speed_is_not_known() {
        let mut clock = Clock {
            time: 100.0,
            tokens: None,
        };
        let row = |tokens, speed| Measurement {
            tokens: Some(tokens),
            tokens_per_second: speed,
            ..Measurement::default()
        };
        let times: Vec<f64> = [
            row(10, None),
            row(30, Some(10.0)),
            row(40, None),
            row(50, Some(5.0)),
        ]
        .iter()
        .map(|row| clock.at(row))
        .collect();
        assert_eq!(times, [100.0, 102.0, 102.0, 104.0]);
    }

    #[test]
    fn frames_carry_masked_checksums() {
        // "123456789", whose CRC-32C is known: 0xE3069283.
        let expected = 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked(b"123456789"), expected);
        let event = Event {
            step: 3,
            ..Event::default()
        };
        let bytes = record(&event);
        assert_eq!(bytes[..8], (2_u64).to_le_bytes());
        assert_eq!(bytes[12..14], [0x10, 3]);
        assert_eq!(bytes.len(), 18);
    }
}
