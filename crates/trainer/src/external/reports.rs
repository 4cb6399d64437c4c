//! What a trainer reports → events: rows in nats, quantities of the model, and the end.

use crate::train::journal::Before;
use experiment::event::{Event, Measurement};
use experiment::external::{ExternalSpec, LossUnit, Quantities, ReportFrom};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::f64::consts::LN_2;

/// The largest cross-entropy per token that a trained model may have, in nats: what a vocabulary of ten
/// million millions has untrained. A larger one is a perplexity, or something else.
const LARGEST_LOSS: f64 = 30.0;

/// The most bits that a byte can take.
const BITS_OF_A_BYTE: f64 = 8.0;

/// Share of the training tokens or steps that must have been seen at the end.
const WHOLE: f64 = 0.99;

/// A trainer's reports, as far as they have been heard.
pub(super) struct Reports<'a> {
    spec: &'a ExternalSpec,
    row: Option<Measurement>,
    /// What it has said of its model and its whole training.
    said: Quantities,
    /// The last step it has spoken of, and the last with a held-out loss.
    step: Option<u64>,
    validated: Option<Validated>,
    /// Whether it has said that it is at its end.
    is_final: bool,
    /// Optimizer steps of the whole training.
    total_steps: Option<f64>,
    /// Whether this attempt has spoken of a step: before it has, its numbers wait for one.
    has_step: bool,
    /// The newest checkpoint it has spoken of.
    checkpoint: Option<u64>,
    /// Keys that mean nothing here, to be told of once.
    ignored: BTreeSet<String>,
}

/// The last held-out loss.
#[derive(Clone, Copy)]
struct Validated {
    step: u64,
    /// Nats, as stored.
    loss: f64,
    /// In bits per byte where it was reported so as well.
    bits_per_byte: Option<f64>,
}

impl Validated {
    fn of(row: &Measurement) -> Option<Self> {
        Some(Self {
            step: row.step,
            loss: row.validation_loss?,
            bits_per_byte: row.bits_per_byte,
        })
    }
}

/// What a report comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Heard {
    pub(super) events: Vec<Event>,
    /// A loss that is no number: the step, where it is known.
    pub(super) diverged: Option<u64>,
    /// What is to be said in the log.
    pub(super) notes: Vec<String>,
}

/// A reported value.
enum Told {
    Number(f64),
    /// Not a number, or one without bound.
    Broken,
    /// `null`: not known.
    Unknown,
    /// Something else.
    Other,
}

impl Told {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Unknown,
            Value::Number(number) => number
                .as_f64()
                .filter(|number| number.is_finite())
                .map_or(Self::Broken, Self::Number),
            Value::String(text) => {
                let text = text.trim();
                match text.replace(',', "").parse::<f64>() {
                    Ok(number) if number.is_finite() => Self::Number(number),
                    Ok(_) => Self::Broken,
                    Err(_) => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }
}

/// The name by which this program knows a key that several frameworks have names for.
fn known(key: &str) -> &str {
    match key {
        "val_loss" | "eval_loss" | "valid_loss" => "validation_loss",
        "train_loss" | "training_loss" => "loss",
        "bpb" | "val_bpb" | "validation_bpb" => "bits_per_byte",
        "lr" => "learning_rate",
        "grad_norm" => "gradient_norm",
        "num_params" | "n_params" => "params",
        "tok_per_sec" | "tokens_per_sec" => "tokens_per_second",
        key => key,
    }
}

impl<'a> Reports<'a> {
    pub(super) fn new(spec: &'a ExternalSpec) -> Self {
        Self {
            spec,
            row: None,
            said: Quantities::default(),
            step: None,
            validated: None,
            is_final: false,
            total_steps: None,
            has_step: false,
            checkpoint: None,
            ignored: BTreeSet::new(),
        }
    }

    /// The last step it has spoken of.
    pub(super) fn step(&self) -> Option<u64> {
        self.step
    }

    /// The newest checkpoint it has spoken of.
    pub(super) fn checkpoint(&self) -> Option<u64> {
        self.checkpoint
    }

    /// Starts to hear another attempt, knowing what the journal says of those before: what that says of a
    /// step stands in place of what was said before.
    pub(super) fn begin_attempt(&mut self, before: &Before) {
        self.row = None;
        self.has_step = false;
        self.step = self.step.or(before.step);
        self.checkpoint = self.checkpoint.or(before.checkpoint);
        let validated = before.validated.as_ref();
        self.validated = self.validated.or_else(|| validated.and_then(Validated::of));
    }

    /// Takes note of a report.
    pub(super) fn hear(&mut self, report: &Map<String, Value>) -> Heard {
        let mut heard = Heard::default();
        if let Some(step) = report.get("step").and_then(|step| Told::of(step).number())
            && step >= 0.0
        {
            let step = step.round() as u64;
            match &mut self.row {
                // What was said before any step belongs to the first.
                Some(row) if !self.has_step => row.step = step,
                Some(row) if row.step != step => self.row = None,
                _ => {}
            }
            if !self.has_step {
                // It trains: an end that an earlier attempt spoke of is not this one's.
                self.is_final = false;
            }
            (self.step, self.has_step) = (Some(step), true);
        }
        let step = self.step.unwrap_or(0);
        let mut row = self.row.take().unwrap_or_else(|| Measurement {
            step,
            ..Measurement::default()
        });
        let mut said = Quantities::default();
        let mut has_row = false;
        for (key, value) in report {
            let told = Told::of(value);
            let key = known(key);
            let is_loss = matches!(key, "loss" | "validation_loss" | "bits_per_byte");
            if matches!(told, Told::Broken) && is_loss {
                heard.diverged = Some(step);
            }
            match (key, told.number()) {
                ("step", _) => {}
                ("final", _) => self.is_final |= *value == Value::Bool(true),
                ("checkpoint", Some(step)) => {
                    let step = step as u64;
                    self.checkpoint = Some(step);
                    heard.events.push(Event::Checkpointed { step });
                }
                ("total_steps", Some(steps)) => self.total_steps = Some(steps),
                ("total_tokens", Some(tokens)) => said.tokens = Some(tokens),
                ("total_flops", Some(flops)) => said.flops = Some(flops),
                ("params" | "concept_share" | "compression_ratio", Some(value)) => {
                    said.set(key, value);
                }
                (key, Some(value)) => {
                    has_row = true;
                    self.put(&mut row, key, value);
                }
                (_, None) if matches!(told, Told::Unknown | Told::Broken) => {}
                (key, None) => {
                    if self.ignored.insert(key.to_owned()) {
                        heard
                            .notes
                            .push(format!("`{key}` is no number and is left out"));
                    }
                }
            }
        }
        if said != Quantities::default() {
            let new = Quantities::NAMES
                .iter()
                .any(|name| said.get(name).is_some() && said.get(name) != self.said.get(name));
            for name in Quantities::NAMES {
                if let Some(value) = said.get(name) {
                    self.said.set(name, value);
                }
            }
            if new {
                heard.events.push(Event::Reported(said));
            }
        }
        if has_row && self.has_step {
            self.complete(&mut row);
            heard.events.push(Event::Measured(row.clone()));
        }
        self.row = Some(row);
        heard
    }

    /// Puts a reported number into a row.
    fn put(&self, row: &mut Measurement, key: &str, value: f64) {
        let unit = self.spec.trainer.loss_unit;
        match key {
            "tokens" => row.tokens = Some(value.max(0.0) as u64),
            "flops" => row.flops = Some(value),
            "loss" => {
                let unit = self.spec.trainer.training_loss_unit.unwrap_or(unit);
                row.loss = Some(self.in_nats(value, unit));
            }
            "validation_loss" if unit == LossUnit::BitsPerByte => {
                row.bits_per_byte = Some(value);
                row.validation_loss = Some(self.in_nats(value, unit));
            }
            "validation_loss" => row.validation_loss = Some(self.in_nats(value, unit)),
            "bits_per_byte" => {
                row.bits_per_byte = Some(value);
                // The unit of the file's is what `validation_loss` is in; this key says its own.
                if unit == LossUnit::BitsPerByte || row.validation_loss.is_none() {
                    let of_token = self.spec.trainer.bytes_per_token.unwrap_or(1.0);
                    row.validation_loss = Some(value * LN_2 * of_token);
                }
            }
            "gradient_norm" => row.gradient_norm = Some(value),
            "tokens_per_second" => row.tokens_per_second = Some(value),
            "realised_ratio" => row.realised_thresholded = Some(value),
            key => drop(row.metrics.insert(key.to_owned(), value)),
        }
    }

    fn in_nats(&self, loss: f64, unit: LossUnit) -> f64 {
        let of_token = match unit {
            LossUnit::BitsPerByte => self.spec.trainer.bytes_per_token.unwrap_or(1.0),
            LossUnit::Nats | LossUnit::Bits => 1.0,
        };
        loss * unit.factor() * of_token
    }

    /// Fills in what follows from the rest of a row, and remembers its held-out loss.
    fn complete(&mut self, row: &mut Measurement) {
        if row.tokens.is_none() {
            let share = self.total_steps.map(|all| row.step as f64 / all);
            let share = if self.is_final { Some(1.0) } else { share };
            let seen = share.zip(self.tokens()).map(|(share, all)| share * all);
            row.tokens = seen.map(|tokens| tokens.round() as u64);
        }
        if let (None, Some(tokens)) = (row.flops, row.tokens) {
            let whole = self
                .tokens()
                .zip(self.said.flops.or(self.spec.declared.flops));
            row.flops = whole.map(|(all, flops)| flops * tokens as f64 / all);
        }
        if let (None, Some(loss), Some(bytes)) = (
            row.bits_per_byte,
            row.validation_loss,
            self.spec.trainer.bytes_per_token,
        ) {
            row.bits_per_byte = Some(loss / (LN_2 * bytes));
        }
        self.validated = Validated::of(row).or(self.validated);
    }

    /// Says whether its reports prove that all of the training is done.
    pub(super) fn proves_its_end(&self, last: Option<&Measurement>) -> bool {
        let seen = last.and_then(|row| Some((row.tokens? as f64, self.tokens()?)));
        let steps = self.step.map(|step| step as f64).zip(self.total_steps);
        let whole = |(done, all): (f64, f64)| done >= WHOLE * all;
        self.is_final || steps.is_some_and(whole) || steps.is_none() && seen.is_some_and(whole)
    }

    /// D, as far as it is known.
    fn tokens(&self) -> Option<f64> {
        self.said.tokens.or(self.spec.declared.tokens)
    }

    /// Says why a process that ended without a fault has no result; the quantities that its last row
    /// settles where it has one.
    pub(super) fn result(&self, last: Option<&Measurement>) -> Result<Quantities, String> {
        let Some(validated) = self.validated else {
            return Err(match self.step {
                None => "it has reported nothing".to_owned(),
                Some(step) => format!("it has reported no held-out loss (up to step {step})"),
            });
        };
        let step = self.step.unwrap_or(validated.step);
        let says_so = matches!(
            self.spec.trainer.report,
            ReportFrom::File | ReportFrom::Stdout(_)
        );
        if says_so && !self.is_final {
            return Err(format!(
                "it ended after step {step} without a last report with \"final\": true"
            ));
        }
        if (validated.step as f64) < WHOLE * step as f64 {
            return Err(format!(
                "its last held-out loss is of step {}, and it trained to step {step}",
                validated.step
            ));
        }
        if let (Some(all), false) = (self.total_steps, self.is_final)
            && (step as f64) < WHOLE * all
        {
            return Err(format!("it ended after step {step} of {all}"));
        }
        let seen = last.and_then(|row| row.tokens).map(|tokens| tokens as f64);
        if let (Some(seen), Some(all), false) = (seen, self.tokens(), self.is_final)
            && seen < WHOLE * all
        {
            return Err(format!("it ended after {seen:.3e} of {all:.3e} tokens"));
        }
        self.doubt(&validated).map_or(Ok(()), Err)?;
        Ok(Quantities {
            tokens: self.said.tokens.or(seen),
            ..Quantities::default()
        })
    }

    /// Says why a held-out loss is not in the unit that the file says.
    fn doubt(&self, validated: &Validated) -> Option<String> {
        let trainer = &self.spec.trainer;
        let unit = trainer.loss_unit.name();
        let reported = validated.loss / self.in_nats(1.0, trainer.loss_unit);
        let help = "`trainer.loss_unit` is `nats`, `bits` or `bits_per_byte`";
        if validated.loss <= 0.0 {
            return Some(format!(
                "its held-out loss is {reported:.4}: a cross-entropy is above 0 (is it a \
                 log-likelihood, with its sign?)"
            ));
        }
        if validated.loss > LARGEST_LOSS {
            return Some(format!(
                "its held-out loss of {reported:.4} is no cross-entropy per token in {unit}: a \
                 perplexity is exp of it; {help}"
            ));
        }
        let bits_per_byte = validated.bits_per_byte?;
        if bits_per_byte > BITS_OF_A_BYTE {
            return Some(format!(
                "its held-out loss is {bits_per_byte:.4} bits per byte, and a byte has 8 bits; {help}"
            ));
        }
        let both = trainer.bytes_per_token? * bits_per_byte * LN_2;
        let ratio = validated.loss / both;
        let near = |factor: f64| (ratio / factor - 1.0).abs() < 0.02;
        (near(LN_2) || near(1.0 / LN_2)).then(|| {
            format!(
                "its held-out loss of {reported:.4} and its {bits_per_byte:.4} bits per byte differ by \
                 ln 2: they are not in the units said; {help}"
            )
        })
    }
}

/// Reads a report from JSON; `NaN` and infinities, which JSON has not and Python writes, stand for
/// themselves.
///
/// # Errors
/// When it is no JSON object.
pub(super) fn read(line: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(line) {
        Ok(Value::Object(report)) => return Ok(report),
        Ok(_) => return Err("it is no JSON object".to_owned()),
        Err(error) if !line.contains("NaN") && !line.contains("Infinity") => {
            return Err(error.to_string());
        }
        Err(_) => {}
    }
    let mut quoted = String::with_capacity(line.len() + 16);
    let mut rest = line;
    let mut inside = false;
    'characters: while let Some(c) = rest.chars().next() {
        if !inside {
            for word in ["NaN", "-Infinity", "Infinity"] {
                if let Some(after) = rest.strip_prefix(word) {
                    quoted.push_str("\"NaN\"");
                    rest = after;
                    continue 'characters;
                }
            }
        }
        if inside && c == '\\' {
            let end = rest
                .char_indices()
                .nth(2)
                .map_or(rest.len(), |(end, _)| end);
            quoted.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        inside ^= c == '"';
        quoted.push(c);
        rest = &rest[c.len_utf8()..];
    }
    match serde_json::from_str(&quoted) {
        Ok(Value::Object(report)) => Ok(report),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
