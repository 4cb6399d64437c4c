//! The vocabulary between a training process and the orchestrator: JSON lines.
//!
//! Owns what is said and how a line is written, checked and read; refuses IO.

use crate::digest;
use crate::external::Quantities;
use crate::run::RunId;
use crate::tasks::{Score, TextScore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Version of the line format; readers refuse newer ones.
pub const FORMAT_VERSION: u32 = 1;

/// One row of measurements. What was not measured is `None`, never 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Optimizer steps taken.
    pub step: u64,
    /// Tokens seen in training; `None` where another trainer does not say.
    pub tokens: Option<u64>,
    /// Training FLOPs spent so far, convention `exact`, at realised R; `None` where another trainer does
    /// not say.
    pub flops: Option<f64>,
    /// Mean training cross-entropy of this step's batch, nats per token.
    pub loss: Option<f64>,
    /// Cross-entropy on the held-out tokens in evaluation mode, nats per token.
    pub validation_loss: Option<f64>,
    /// The held-out loss in bits per UTF-8 byte.
    pub bits_per_byte: Option<f64>,
    /// Tokens per concept with training's sampled boundaries.
    pub realised_sampled: Option<f64>,
    /// Tokens per concept with training's boundaries, over all steps so far; `None` where that was
    /// not kept from the first step on.
    pub realised_training: Option<f64>,
    /// Tokens per concept with evaluation's thresholded boundaries.
    pub realised_thresholded: Option<f64>,
    /// Held-out loss without concepts (only the start vector) minus with, nats per token.
    pub concept_gain: Option<f64>,
    /// Held-out loss with random boundaries at the same rate minus with learned ones.
    pub boundary_gain: Option<f64>,
    /// Auxiliary loss, not weighted by λ.
    pub auxiliary_loss: Option<f64>,
    /// Global gradient norm before clipping.
    pub gradient_norm: Option<f64>,
    /// The schedule's share of the base rates.
    pub rate_share: Option<f64>,
    /// Training tokens per second since the row before.
    pub tokens_per_second: Option<f64>,
    /// What else another trainer reports, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
}

/// What a training process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The process is up and about to train.
    Started {
        /// The run.
        run: RunId,
        /// Its process.
        pid: u32,
        /// The machine's name.
        host: String,
        /// The device the tensors live on.
        device: String,
        /// Version of the program.
        version: String,
        /// Step resumed from; 0 for a fresh start.
        resumed_step: u64,
    },
    /// A row of measurements.
    Measured(Measurement),
    /// A checkpoint is safely on disk.
    Checkpointed {
        /// Steps it holds.
        step: u64,
    },
    /// The run is done.
    Finished,
    /// The loss was not a number or passed the bound.
    Diverged {
        /// The step at which it was noticed.
        step: u64,
        /// The loss, where it is a number.
        loss: Option<f64>,
    },
    /// Stopped on request after a checkpoint.
    Interrupted {
        /// Steps the checkpoint holds.
        step: u64,
    },
    /// Another trainer ended without a fault, and without a result.
    WithoutResult {
        /// What is missing, with its last lines.
        message: String,
    },
    /// What another trainer says of its model and its training, which wins over what its file says.
    Reported(Quantities),
    /// What the trained run answers to a task, in place of what was said before of a task of that name.
    Scored(Score),
    /// What it makes of a text that is held out, in place of what was said before of a text of that name.
    Read(TextScore),
    /// The process gives up.
    Failed {
        /// What went wrong, with its causes.
        message: String,
    },
}

/// An event with its place in a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Format version.
    pub v: u32,
    /// Position in the journal, from 0, over all attempts.
    pub seq: u64,
    /// Seconds since the Unix epoch.
    pub time: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// First 8 hexadecimal digits of SHA-256 over the line without this field.
    pub check: String,
}

/// What stands in a line beside what its event says.
#[derive(Deserialize)]
struct Frame<'a> {
    v: u32,
    seq: u64,
    time: f64,
    event: &'a str,
    #[serde(default)]
    check: &'a str,
}

/// Why a journal line was refused.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not a line of this format: torn, or printed by something else.
    #[error("not an event line: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Written by a newer program.
    #[error("the line has format version {found}; this program reads up to {FORMAT_VERSION}")]
    Newer {
        /// Its version.
        found: u32,
    },
    /// The checksum does not match.
    #[error("the line's checksum does not match: it was damaged")]
    Damaged,
}

impl Line {
    /// Makes a line with its checksum.
    pub fn new(seq: u64, time: f64, event: Event) -> Self {
        let mut line = Line {
            v: FORMAT_VERSION,
            seq,
            time,
            event,
            check: String::new(),
        };
        let unsigned = line.encode();
        line.check = checksum(unsigned.strip_suffix(END_OF_LINE).unwrap_or(&unsigned));
        line
    }

    /// Writes the line as JSON, without a newline.
    pub fn encode(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|error| unreachable!("an event is plain data: {error}"))
    }

    /// Reads and checks a line.
    ///
    /// # Errors
    /// When it is torn or foreign, newer than this program, or damaged.
    pub fn decode(text: &str) -> Result<Self, LineError> {
        let frame: Frame = serde_json::from_str(text)?;
        if frame.v > FORMAT_VERSION {
            return Err(LineError::Newer { found: frame.v });
        }
        // Taken over the text as it stands: to write the line again would cost as much as to read it.
        let unsigned = text.trim_end().strip_suffix(END_OF_LINE);
        match unsigned.and_then(|unsigned| unsigned.strip_suffix(frame.check)) {
            Some(unsigned) if frame.check == checksum(unsigned) => {}
            _ => return Err(LineError::Damaged),
        }
        // Nearly all lines are rows, and read as such they take half the time.
        let event = match frame.event {
            "measured" => Event::Measured(serde_json::from_str(text)?),
            _ => serde_json::from_str(text)?,
        };
        Ok(Line {
            v: frame.v,
            seq: frame.seq,
            time: frame.time,
            event,
            check: frame.check.to_owned(),
        })
    }
}

/// What stands after the checksum, the last field.
const END_OF_LINE: &str = "\"}";

/// Computes the checksum of a line whose text up to its checksum is given.
fn checksum(unsigned: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(unsigned);
    digest.update(END_OF_LINE);
    digest::hex(&digest.finalize()[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line::new(
            3,
            1.5,
            Event::Measured(Measurement {
                step: 10,
                tokens: Some(40_960),
                flops: Some(1.25e12),
                loss: Some(0.1 + 0.2),
                ..Measurement::default()
            }),
        )
    }

    #[test]
    fn lines_round_trip() {
        assert_eq!(Line::decode(&line().encode()).expect("decodes"), line());
        let started = Line::new(
            0,
            0.0,
            Event::Started {
                run: RunId("0123456789ab".into()),
                pid: 1,
                host: "h".into(),
                device: "cpu".into(),
                version: "0.1.0".into(),
                resumed_step: 0,
            },
        );
        assert_eq!(Line::decode(&started.encode()).expect("decodes"), started);
    }

    #[test]
    fn torn_damaged_and_newer_lines_are_refused() {
        let text = line().encode();
        assert!(matches!(
            Line::decode(&text[..text.len() - 4]),
            Err(LineError::Malformed(_))
        ));
        let damaged = text.replace("\"step\":10", "\"step\":11");
        assert!(matches!(Line::decode(&damaged), Err(LineError::Damaged)));
        let newer = text.replace("\"v\":1", "\"v\":2");
        assert!(matches!(
            Line::decode(&newer),
            Err(LineError::Newer { found: 2 })
        ));
    }
}
