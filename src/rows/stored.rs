//! Stored runs → a table.

use super::{Places, RowsError, Table};
use crate::analysis::observed;
use crate::store::RunRecord;
use std::borrow::Cow;

/// Columns of the table of an experiment.
const HEADER: [&str; 12] = [
    "id",
    "run",
    "kind",
    "params",
    "tokens",
    "loss",
    "flops",
    "compression_ratio",
    "declared_ratio",
    "concept_share",
    "seed",
    "data",
];

/// Makes the table of an experiment's runs.
///
/// `run` is what varies by itself: the run, or the trunk that branches share. `compression_ratio` is
/// the realised one, as laws take it. Runs that cannot be fitted are left out with their reason.
///
/// # Errors
/// When the table is too large.
pub fn trained(name: String, runs: &[RunRecord]) -> Result<Table, RowsError> {
    let (used, unusable) = observed(runs);
    let mut left_out = Vec::new();
    let rows: Vec<[String; HEADER.len()]> = runs
        .iter()
        .enumerate()
        .map(|(row, run)| {
            let observed = used.iter().find(|observed| observed.id == run.id);
            if let Some(why) = unusable.iter().find(|unusable| unusable.id == run.id) {
                left_out.push((row, why.why.clone()));
            }
            let written = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
            [
                run.id.0.clone(),
                observed.map_or_else(|| run.id.0.clone(), |o| o.cluster().to_owned()),
                run.kind.clone(),
                run.params.to_string(),
                run.tokens.to_string(),
                written(run.loss),
                written(run.flops),
                written(observed.map(|o| o.ratio)),
                run.compression_ratio.to_string(),
                run.concept_share.to_string(),
                run.seed.to_string(),
                run.spec.facts.fingerprint.clone(),
            ]
        })
        .collect();
    let cells = rows
        .iter()
        .flatten()
        .map(|cell| Cow::Borrowed(cell.as_str()));
    let ids = runs.iter().map(|run| run.id.0.clone()).collect();
    let header = HEADER.map(str::to_owned).to_vec();
    let table = Table::of_cells(name, header, cells, Places::Runs(ids))?;
    Ok(Table { left_out, ..table })
}
