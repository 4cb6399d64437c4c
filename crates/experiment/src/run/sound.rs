//! Whether a specification is one of a run that can be: its file may have been edited or damaged.

use super::RunSpec;
use crate::architecture::{
    Architecture, Dlcm, MOST_LAYERS, MOST_SEQUENCE, MOST_VOCAB, MOST_WIDTH, Stack, Window,
};
use crate::quantity::MOST_TOKENS;
use crate::recipe::{MOST_BATCH, Recipe};

/// Why a specification was refused.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// It is no JSON, or not that of a run.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No such run can be.
    #[error(
        "no such run can be trained: {0}; restore the file, or let `orchestrator run` write it again"
    )]
    Unsound(String),
}

impl RunSpec {
    /// Reads a specification from the JSON of its file.
    ///
    /// # Errors
    /// When it is no specification, or none that a plan makes: a size is 0 or beyond what can be built.
    pub fn read(json: &[u8]) -> Result<Self, SpecError> {
        let spec: Self = serde_json::from_slice(json)?;
        spec.check().map_err(SpecError::Unsound)?;
        Ok(spec)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        match &self.architecture {
            Architecture::Dense(dense) => stack("stack", &dense.stack)?,
            Architecture::TokenOnly(control) => {
                token_level(&control.encoder, &control.decoder, control.token_window)?;
            }
            Architecture::Dlcm(dlcm) => concepts(dlcm)?,
        }
        let (vocab, seq_len) = (self.architecture.vocab(), self.architecture.seq_len());
        within("vocab", vocab as u64, 1, MOST_VOCAB)?;
        within("seq_len", seq_len as u64, 1, MOST_SEQUENCE)?;
        if vocab != self.facts.vocab {
            let of_data = self.facts.vocab;
            return Err(format!(
                "the model's vocabulary is {vocab}, that of the data {of_data}"
            ));
        }
        recipe(&self.recipe)?;
        let (batch, micro_batch) = (self.recipe.batch, self.execution.micro_batch);
        if micro_batch == 0 || !batch.is_multiple_of(micro_batch) {
            return Err(format!(
                "`micro_batch` {micro_batch} does not divide `batch` {batch}"
            ));
        }
        let steps = self.recipe.steps(seq_len);
        match &self.execution.start {
            Some(start) if start.step > steps => {
                Err(format!("it starts at step {} of {steps}", start.step))
            }
            _ => Ok(()),
        }
    }
}

fn within(name: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is {value}, and must be {least} to {most}"
        ))
    }
}

fn above_zero(name: &str, value: f64) -> Result<(), String> {
    if value > 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(format!("`{name}` is {value:?}, and must be above 0"))
    }
}

fn stack(name: &str, stack: &Stack) -> Result<(), String> {
    let part = |part: &str| format!("{name}.{part}");
    within(&part("layers"), stack.layers as u64, 1, MOST_LAYERS)?;
    within(&part("width"), stack.width as u64, 1, MOST_WIDTH)?;
    // The solver's widest feed-forward network is eight times as wide.
    within(&part("ffn"), stack.ffn as u64, 1, 8 * MOST_WIDTH)?;
    within(&part("heads"), stack.heads as u64, 1, MOST_WIDTH)?;
    within(&part("head_size"), stack.head_size as u64, 2, MOST_WIDTH)?;
    if stack.heads * stack.head_size != stack.width || stack.head_size % 2 == 1 {
        let (heads, size, width) = (stack.heads, stack.head_size, stack.width);
        return Err(format!(
            "{name}: {heads} heads of size {size} do not fill a width of {width} with heads of even size"
        ));
    }
    if stack.kv_heads == 0 || !stack.heads.is_multiple_of(stack.kv_heads) {
        let (heads, kv_heads) = (stack.heads, stack.kv_heads);
        return Err(format!(
            "{name}: `kv_heads` {kv_heads} does not divide `heads` {heads}"
        ));
    }
    Ok(())
}

fn token_level(encoder: &Stack, decoder: &Stack, window: Window) -> Result<(), String> {
    stack("encoder", encoder)?;
    stack("decoder", decoder)?;
    if encoder.width != decoder.width {
        let (before, after) = (encoder.width, decoder.width);
        return Err(format!(
            "the encoder is {before} wide and the decoder {after}"
        ));
    }
    match window {
        Window::Local(tokens) => within("token_window", tokens as u64, 1, MOST_SEQUENCE),
        Window::Full => Ok(()),
    }
}

fn concepts(dlcm: &Dlcm) -> Result<(), String> {
    token_level(&dlcm.encoder, &dlcm.decoder, dlcm.token_window)?;
    stack("backbone", &dlcm.backbone)?;
    if dlcm.compression_ratio >= 1.0 && dlcm.compression_ratio.is_finite() {
        Ok(())
    } else {
        let ratio = dlcm.compression_ratio;
        Err(format!(
            "`compression_ratio` is {ratio:?}, and must be at least 1"
        ))
    }
}

fn recipe(recipe: &Recipe) -> Result<(), String> {
    within("batch", recipe.batch as u64, 1, MOST_BATCH)?;
    // Whole steps are at most one more than was asked for.
    within("tokens", recipe.tokens, 1, 2 * MOST_TOKENS)?;
    within("base_width", recipe.rates.base_width as u64, 1, MOST_WIDTH)?;
    above_zero("token", recipe.rates.token)?;
    above_zero("concept", recipe.rates.concept)?;
    above_zero("other", recipe.rates.other)?;
    above_zero("temperature", recipe.boundary.temperature)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::example::planned;
    use serde_json::{Value, json};

    /// The specifications of a small plan, as JSON.
    fn specs() -> Vec<Value> {
        let grid = "grid: {params: 20000, tokens: 4096, concept_share: 0.5, compression_ratio: 2}\n\
                    baselines: {params: 20000}\ncontrols: tokens\nmodel: {seq_len: 32, token_window: 8}\n\
                    training: {batch: 4, branches: true}\nexecution: {micro_batch: 2}\n";
        let runs = planned(grid);
        runs.iter().map(|run| json!(run.spec)).collect()
    }

    fn read(spec: &Value) -> Result<RunSpec, SpecError> {
        RunSpec::read(spec.to_string().as_bytes())
    }

    #[test]
    fn what_is_planned_is_read_as_it_was() {
        for spec in specs() {
            assert_eq!(json!(read(&spec).expect("planned")), spec);
        }
    }

    #[test]
    fn sizes_that_no_run_has_are_refused_by_name() {
        let huge = json!(1_u64 << 62);
        let wrong = [
            ("/recipe/batch", json!(0), "`batch` is 0"),
            ("/recipe/tokens", json!(0), "`tokens` is 0"),
            ("/recipe/rates/base_width", json!(0), "`base_width` is 0"),
            ("/recipe/rates/token", json!(-1.0), "`token` is -1.0"),
            ("/architecture/vocab", huge.clone(), "`vocab` is"),
            (
                "/architecture/vocab",
                json!(7),
                "the model's vocabulary is 7",
            ),
            ("/architecture/seq_len", json!(0), "`seq_len` is 0"),
            ("/execution/micro_batch", json!(0), "`micro_batch` 0"),
            (
                "/execution/micro_batch",
                json!(3),
                "`micro_batch` 3 does not divide",
            ),
        ];
        for spec in specs() {
            let mut wrong = wrong.to_vec();
            let (mut parts, mut names) = (vec!["stack"], Vec::new());
            if spec["architecture"]["encoder"].is_object() {
                parts = vec!["encoder", "decoder"];
            }
            for part in parts {
                for (field, value) in [
                    ("layers", huge.clone()),
                    ("layers", json!(0)),
                    ("width", huge.clone()),
                    ("ffn", json!(0)),
                    ("heads", json!(0)),
                    ("head_size", json!(0)),
                    ("kv_heads", json!(0)),
                ] {
                    names.push((format!("/architecture/{part}/{field}"), value));
                }
            }
            wrong.extend(
                names
                    .iter()
                    .map(|(path, value)| (path.as_str(), value.clone(), "")),
            );
            for (path, value, said) in wrong {
                let mut spec = spec.clone();
                *spec
                    .pointer_mut(path)
                    .unwrap_or_else(|| panic!("{path} is there")) = value;
                let refused = read(&spec).expect_err(path).to_string();
                assert!(
                    refused.starts_with("no such run") && refused.contains(said),
                    "{refused}"
                );
            }
        }
        assert!(matches!(RunSpec::read(b"{"), Err(SpecError::Json(_))));
    }
}
