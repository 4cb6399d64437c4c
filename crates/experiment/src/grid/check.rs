//! What a cell needs to be run: a size, a shape, and settings that fit each other.

use super::Size;
use super::draft::{DataKind, Draft};
use super::places::Places;
use super::source::Problem;
use crate::architecture::solver::{SettingsKey, ShapeError, ShapeSettings};
use crate::architecture::{Causality, Pooling};
use crate::quantity::{Flops, Params};
use std::collections::HashMap;

/// Keys that can make a shape impossible.
const SHAPE_KEYS: [&str; 10] = [
    "params",
    "concept_share",
    "model.head_size",
    "model.d_token",
    "model.d_concept",
    "model.encoder_layers",
    "model.backbone_layers",
    "model.decoder_layers",
    "model.dense_layers",
    "model.dense_width",
];

/// Checks cells; what was found about a shape is kept for the cells that share it.
#[derive(Default)]
pub(super) struct Checker {
    /// What is wrong with a shape.
    shapes: HashMap<ShapeKey, Option<String>>,
}

/// Dense or not, N, the bits of P, and the settings.
type ShapeKey = (bool, Option<u64>, Option<u64>, SettingsKey);

impl Checker {
    /// Checks a cell and finds how it is sized.
    pub(super) fn check(
        &mut self,
        draft: &Draft,
        dense: bool,
        places: &Places<'_>,
    ) -> Result<Size, Problem> {
        let size = size(draft, dense).map_err(|sizing| sizing.problem(draft, dense, places))?;
        if !dense {
            concepts(draft, size, places)?;
        }
        if let (Some(params), Some(budget)) = (size.params(), size.tokens())
            && budget.resolve(params).0 == 0
        {
            let problem = Problem::new("this budget is less than one token");
            return Err(places
                .label(problem, &["tokens"])
                .help("write it like `20 per param`"));
        }
        if draft.shape.head_size.is_some_and(|size| size % 2 == 1) {
            let problem =
                Problem::new("an attention head of odd size cannot be rotated by position");
            return Err(places
                .label(problem, &["model.head_size"])
                .help("give an even `head_size`, such as 32"));
        }
        training(draft, places)?;
        if draft.data.kind == DataKind::Synthetic {
            language(draft, places)?;
        }
        self.shape(draft, dense, size, places)?;
        Ok(size)
    }

    /// Refuses what the solver cannot build.
    fn shape(
        &mut self,
        draft: &Draft,
        dense: bool,
        size: Size,
        places: &Places<'_>,
    ) -> Result<(), Problem> {
        let params = size.params();
        if matches!(size, Size::TokensFlops(..)) {
            return Ok(());
        }
        let key = (
            dense,
            params.map(|n| n.0),
            draft.concept_share.map(f64::to_bits),
            draft.shape.key(),
        );
        let solved = || {
            solve(draft, dense, params)
                .err()
                .map(|error| error.to_string())
        };
        match self.shapes.entry(key).or_insert_with(solved) {
            None => Ok(()),
            Some(why) => Err(places.label(Problem::new(&**why), &SHAPE_KEYS).help(
                "shapes come within 1% of N and 0.01 of P, with whole heads and layers; \
                     `orchestrator plan` shows what was reached",
            )),
        }
    }
}

/// Says whether a cell lacks a value that points could give.
pub(super) fn is_incomplete(draft: &Draft, dense: bool) -> bool {
    let ratio = dense || draft.compression_ratio.is_some();
    let share = dense || draft.concept_share.is_some() || is_explicit(&draft.shape, dense);
    !ratio || !share || matches!(size(draft, dense), Err(Sizing::Missing))
}

/// Solves a shape; neither vocabulary nor R changes whether there is one.
fn solve(draft: &Draft, dense: bool, params: Option<Params>) -> Result<(), ShapeError> {
    let (shape, ratio) = (&draft.shape, 2.0);
    match (params, draft.concept_share, dense) {
        (Some(params), _, true) => shape.solve_dense(params.0, 1),
        (Some(params), Some(share), false) => shape.solve_dlcm(params.0, share, ratio, 1),
        (None, _, true) => shape.explicit_dense(1),
        (_, _, false) => shape.explicit_dlcm(ratio, 1),
    }
    .map(drop)
}

/// Says whether the settings spell out a whole model.
fn is_explicit(shape: &ShapeSettings, dense: bool) -> bool {
    let needed = if dense {
        vec![shape.dense_width, shape.dense_layers]
    } else {
        let layers = [
            shape.encoder_layers,
            shape.backbone_layers,
            shape.decoder_layers,
        ];
        [shape.d_token, shape.d_concept]
            .into_iter()
            .chain(layers)
            .collect()
    };
    needed.iter().all(Option::is_some)
}

/// Why a size is not two of three.
enum Sizing {
    Missing,
    TooMuch,
}

/// Finds which two of N, D and C are given.
fn size(draft: &Draft, dense: bool) -> Result<Size, Sizing> {
    let explicit = is_explicit(&draft.shape, dense);
    let flops = draft.flops.map(Flops);
    match (draft.params, draft.tokens, flops) {
        (Some(_), Some(_), Some(_)) => Err(Sizing::TooMuch),
        (Some(params), Some(tokens), None) => Ok(Size::ParamsTokens(params, tokens)),
        (Some(params), None, Some(flops)) => Ok(Size::ParamsFlops(params, flops)),
        (None, Some(_), Some(_)) if explicit => Err(Sizing::TooMuch),
        (None, Some(tokens), Some(flops)) => Ok(Size::TokensFlops(tokens, flops)),
        (None, Some(tokens), None) if explicit => Ok(Size::ShapeTokens(tokens)),
        (None, None, Some(flops)) if explicit => Ok(Size::ShapeFlops(flops)),
        _ => Err(Sizing::Missing),
    }
}

impl Sizing {
    fn problem(self, draft: &Draft, dense: bool, places: &Places<'_>) -> Problem {
        let given: Vec<&str> = [
            ("params", draft.params.is_some()),
            ("tokens", draft.tokens.is_some()),
            ("flops", draft.flops.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        let listed = match given.as_slice() {
            [] => "none of `params`, `tokens` and `flops` is".to_owned(),
            names => format!(
                "`{}` {}",
                names.join("`, `"),
                if names.len() > 1 { "are" } else { "is" }
            ),
        };
        let explicit = is_explicit(&draft.shape, dense);
        match self {
            Sizing::Missing => {
                let missing = Problem::new(format!("the size is open: {listed} given"));
                places.label(missing, &given).help(
                    "give two of `params`, `tokens` and `flops`: the third follows (or every \
                     width and depth under `model`, and `tokens` or `flops`)",
                )
            }
            Sizing::TooMuch => {
                let too_much = Problem::new(format!("the size is given twice: {listed} given"));
                places
                    .label(too_much, &given)
                    .help(if explicit && draft.params.is_none() {
                        "the widths and depths under `model` give N: keep `tokens` or `flops`"
                    } else {
                        "give two of `params`, `tokens` and `flops`: the third follows"
                    })
            }
        }
    }
}

/// Checks P and R.
fn concepts(draft: &Draft, size: Size, places: &Places<'_>) -> Result<(), Problem> {
    let Some(ratio) = draft.compression_ratio else {
        return Err(places
            .label(Problem::new("`compression_ratio` is missing"), &[])
            .help("give R, the tokens per concept, such as `compression_ratio: [2, 4, 8]`"));
    };
    match (draft.concept_share, size.is_explicit_shape()) {
        (None, false) => {
            return Err(places
                .label(Problem::new("`concept_share` is missing"), &[])
                .help(
                    "give P, the backbone's share of N, such as `concept_share: [0.3, 0.5, 0.7]`",
                ));
        }
        (Some(_), true) => {
            return Err(places
                .label(
                    Problem::new("`concept_share` is given twice"),
                    &["concept_share"],
                )
                .help("the widths and depths under `model` give P: take one of them out"));
        }
        _ => {}
    }
    if ratio > draft.shape.seq_len as f64 {
        let problem = Problem::new(format!(
            "a sequence of {} tokens holds no concept of {ratio} tokens",
            draft.shape.seq_len
        ));
        return Err(places
            .label(problem, &["compression_ratio", "model.seq_len"])
            .help("give a smaller `compression_ratio` or a longer `model.seq_len`"));
    }
    if let (Some(token), Some(concept)) = (draft.shape.d_token, draft.shape.d_concept)
        && concept < token
    {
        let problem = Problem::new(format!("`d_concept` {concept} is below `d_token` {token}"));
        return Err(places
            .label(problem, &["model.d_concept", "model.d_token"])
            .help("concepts are at least as wide as tokens; the paper makes them twice as wide"));
    }
    if draft.shape.causal == Causality::Paper {
        if draft.shape.pooling == Pooling::Boundary {
            let problem = Problem::new("concepts of first tokens hold nothing that comes later");
            return Err(places
                .label(problem, &["model.causal", "model.pooling"])
                .help("the paper's mask is of concepts that are means: take one of the two out"));
        }
        if !draft.evaluation.is_empty() {
            let problem = Problem::new("a model that reads ahead cannot be asked what follows");
            return Err(places
                .label(problem, &["model.causal", "evaluation.tasks"])
                .help("take `evaluation` out of the file that studies the leak"));
        }
    }
    Ok(())
}

/// Checks the recipe's settings against each other.
fn training(draft: &Draft, places: &Places<'_>) -> Result<(), Problem> {
    let schedule = &draft.recipe.schedule;
    if schedule.warmup + schedule.decay > 1.0 {
        return Err(places
            .label(
                Problem::new("warmup and decay take more than all steps"),
                &["training.warmup", "training.decay"],
            )
            .help("they are shares of all steps: their sum is at most 1"));
    }
    if draft.branches && schedule.decay == 0.0 {
        return Err(places
            .label(
                Problem::new("a branch is a decay, and there is none"),
                &["training.branches", "training.decay"],
            )
            .help("give `training.decay` a share above 0, or leave `branches` out"));
    }
    let batch = draft.recipe.batch;
    if let Some(micro_batch) = draft.execution.micro_batch
        && !batch.is_multiple_of(micro_batch)
    {
        let problem = Problem::new(format!(
            "`micro_batch` {micro_batch} does not divide `batch` {batch}"
        ));
        return Err(places
            .label(problem, &["execution.micro_batch", "training.batch"])
            .help(format!(
                "for a batch of {batch} it can be {}",
                divisors(batch)
            )));
    }
    Ok(())
}

/// Lists the divisors of a batch, the largest first, as far as anyone reads.
fn divisors(n: usize) -> String {
    let divisors: Vec<String> = (1..=n)
        .rev()
        .filter(|d| n.is_multiple_of(*d))
        .take(8)
        .map(|d| d.to_string())
        .collect();
    divisors.join(", ")
}

/// Checks the synthetic language's settings against each other.
fn language(draft: &Draft, places: &Places<'_>) -> Result<(), Problem> {
    let spec = &draft.data.synthetic.spec();
    let refuse = |message: String, keys: &[&str], help: &str| {
        Err(places.label(Problem::new(message), keys).help(help))
    };
    if let Some((key, kind)) = draft.data.synthetic.foreign() {
        return refuse(
            format!(
                "`{key}` has no meaning in a language of {}",
                spec.language.name()
            ),
            &[&format!("data.synthetic.{key}"), "data.synthetic.language"],
            &format!("it belongs to `language: {}`", kind.name()),
        );
    }
    if spec.min_word > spec.max_word {
        return refuse(
            format!(
                "the shortest word ({}) is longer than the longest",
                spec.min_word
            ),
            &["data.synthetic.min_word", "data.synthetic.max_word"],
            "`min_word` is at most `max_word`",
        );
    }
    if spec.document_words > spec.words {
        return refuse(
            format!(
                "a document cannot draw {} of {} words",
                spec.document_words, spec.words
            ),
            &["data.synthetic.document_words", "data.synthetic.words"],
            "`document_words` is at most `words`",
        );
    }
    if spec.choices > spec.words {
        return refuse(
            format!(
                "of {} words, {} cannot follow one",
                spec.words, spec.choices
            ),
            &["data.synthetic.choices", "data.synthetic.words"],
            "`choices` is at most `words`",
        );
    }
    let beginnings = spec.letters * spec.letters;
    if spec.words > beginnings {
        return refuse(
            format!(
                "{} letters begin only {beginnings} different words",
                spec.letters
            ),
            &["data.synthetic.words", "data.synthetic.letters"],
            "words differ in their first two letters: `words` is at most `letters` squared",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::TokenBudget;

    #[test]
    fn a_size_is_two_of_three_or_a_shape_and_one() {
        let n = Some(Params(1000));
        let d = Some(TokenBudget::PerParam(20.0));
        let c = Some(1e12);
        let sized = |params, tokens, flops, explicit: bool| {
            let mut draft = Draft {
                params,
                tokens,
                flops,
                ..Draft::default()
            };
            if explicit {
                (draft.shape.dense_width, draft.shape.dense_layers) = (Some(64), Some(2));
            }
            size(&draft, true).ok()
        };
        assert!(matches!(
            sized(n, d, None, false),
            Some(Size::ParamsTokens(..))
        ));
        assert!(matches!(
            sized(n, None, c, false),
            Some(Size::ParamsFlops(..))
        ));
        assert!(matches!(
            sized(None, d, c, false),
            Some(Size::TokensFlops(..))
        ));
        assert!(matches!(
            sized(None, d, None, true),
            Some(Size::ShapeTokens(_))
        ));
        assert!(matches!(
            sized(None, None, c, true),
            Some(Size::ShapeFlops(_))
        ));
        assert_eq!(sized(n, d, c, false), None);
        assert_eq!(sized(None, d, c, true), None);
        assert_eq!(sized(n, None, None, true), None);
        assert_eq!(sized(None, None, None, false), None);
    }
}
