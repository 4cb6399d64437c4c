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
    /// Reads a row as a run.
    ///
    /// # Errors
    /// Why it is none that can be used.
    pub(super) fn run(&self, row: usize, id: RunId) -> Result<Row, String> {
        let above_zero = |name: &str, values: &[f64]| {
            let value = Some(values[row]).filter(|v| v.is_finite() && *v > 0.0);
            value.ok_or_else(|| format!("`{name}` is no number above 0"))
        };
        let given = |values: &Option<Vec<f64>>| {
            let values = values.as_ref()?;
            Some(values[row]).filter(|value| value.is_finite())
        };
        let share = match &self.share {
            None => 0.0,
            Some(values) => values[row],
        };
        if !(0.0..1.0).contains(&share) {
            return Err("`concept_share` is no share of at least 0 and below 1".to_owned());
        }
        let kind = self.kinds[row].unwrap_or(if share > 0.0 {
            ModelKind::Dlcm
        } else {
            ModelKind::Dense
        });
        let params = above_zero("params", &self.params)?;
        let tokens = above_zero("tokens", &self.tokens)?;
        let loss = above_zero("loss", &self.loss)?;
        let run = Row::measured(id, kind, params, tokens, loss);
        let seed = given(&self.seed).map_or(0, |seed| seed as u64);
        if kind != ModelKind::Dlcm {
            return Ok(Row { seed, ..run });
        }
        let realised = given(&self.realised).filter(|ratio| *ratio >= 1.0);
        let realised = realised.ok_or("`compression_ratio` is no number of at least 1")?;
        Ok(Row {
            concept_share: share,
            declared_ratio: given(&self.declared).unwrap_or(realised),
            realised_ratio: Some(realised),
            seed,
            ..run
        })
    }
}
