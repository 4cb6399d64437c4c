//! Rows of others as runs of models.

use experiment::architecture::ModelKind;
use experiment::run::RunId;
use scaling_law::row::Row;

/// The columns by which rows of others are runs of models.
pub(super) struct Models {
    pub(super) params: Vec<f64>,
    pub(super) tokens: Vec<f64>,
    pub(super) loss: Vec<f64>,
    pub(super) share: Option<Vec<f64>>,
    pub(super) realised: Option<Vec<f64>>,
    pub(super) declared: Option<Vec<f64>>,
    pub(super) seed: Option<Vec<f64>>,
    pub(super) kinds: Vec<Option<ModelKind>>,
}

impl Models {
    /// Reads a row as a run; `None` where it is none that can be used.
    pub(super) fn run(&self, row: usize, id: RunId) -> Option<Row> {
        let above_zero = |values: &[f64]| Some(values[row]).filter(|v| v.is_finite() && *v > 0.0);
        let given = |values: &Option<Vec<f64>>| {
            let values = values.as_ref()?;
            Some(values[row]).filter(|value| value.is_finite())
        };
        let share = given(&self.share).unwrap_or(0.0);
        let kind = self.kinds[row].unwrap_or(if share > 0.0 {
            ModelKind::Dlcm
        } else {
            ModelKind::Dense
        });
        let (params, tokens) = (above_zero(&self.params)?, above_zero(&self.tokens)?);
        let run = Row::measured(id, kind, params, tokens, above_zero(&self.loss)?);
        let seed = given(&self.seed).map_or(0, |seed| seed as u64);
        if kind != ModelKind::Dlcm {
            return Some(Row { seed, ..run });
        }
        let realised = given(&self.realised).filter(|ratio| *ratio >= 1.0)?;
        Some(Row {
            concept_share: Some(share).filter(|share| *share > 0.0 && *share < 1.0)?,
            declared_ratio: given(&self.declared).unwrap_or(realised),
            realised_ratio: Some(realised),
            seed,
            ..run
        })
    }
}
