//! Plans on data that need not be there: for tests and examples.

use super::{Planned, Run, plan};
use crate::grid::parse;
use crate::run::DataFacts;

/// Half a million tokens of 512 kinds.
pub fn facts() -> DataFacts {
    DataFacts {
        fingerprint: "f".into(),
        vocab: 512,
        train_tokens: 500_000,
        validation_tokens: 50_000,
        bytes_per_token: None,
        entropy_floor: None,
    }
}

/// Plans the text of an experiment file on [`facts`].
///
/// # Panics
/// When the text is no valid experiment.
pub fn planned(text: &str) -> Vec<Planned> {
    let experiment = parse("example.yaml", text).expect("a valid experiment");
    plan(&experiment, &|_| Some(facts())).expect("an experiment that can be planned")
}

/// The same, as runs to carry out.
///
/// # Panics
/// When the text is no valid experiment.
pub fn runs(text: &str) -> Vec<Run> {
    planned(text).iter().map(Run::from).collect()
}
