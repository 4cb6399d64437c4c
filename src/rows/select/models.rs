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
    /// Reads a row as a run; `variant` is how it differs from rows that laws take for its replicates.
    ///
    /// # Errors
    /// Why it is none that can be used.
    pub(super) fn run(
        &self,
        row: usize,
        id: RunId,
        variant: &[(String, String)],
    ) -> Result<Row, String> {
        let given = |values: &Option<Vec<f64>>| {
            let values = values.as_ref()?;
            Some(values[row]).filter(|value| value.is_finite())
        };
        let share = match &self.share {
            None => 0.0,
            Some(values) => values[row],
        };
        let share = is_share(share)?;
        let kind = self.kinds[row].unwrap_or(if share > 0.0 {
            ModelKind::Dlcm
        } else {
            ModelKind::Dense
        });
        let params = above_zero("params", self.params[row])?;
        let tokens = above_zero("tokens", self.tokens[row])?;
        let loss = above_zero("loss", self.loss[row])?;
        let mut run = Row::measured(id, kind, params, tokens, loss);
        run.seed = given(&self.seed).map_or(0, |seed| seed as u64);
        run.axes = variant.iter().cloned().collect();
        if kind == ModelKind::Dlcm {
            let realised = given(&self.realised).filter(|ratio| *ratio >= 1.0);
            let realised = realised.ok_or("`compression_ratio` is no number of at least 1")?;
            run.concept_share = share;
            run.declared_ratio = given(&self.declared).unwrap_or(realised);
            run.realised_ratio = Some(realised);
        }
        Ok(run)
    }

    /// Takes the columns that were named for a run of this program in place of its own.
    ///
    /// # Errors
    /// Why it is none that can be used.
    pub(super) fn renamed(
        &self,
        run: &Row,
        row: usize,
        columns: &[(String, String)],
    ) -> Result<Row, String> {
        let mut run = run.clone();
        let about_concepts = run.kind == ModelKind::Dlcm;
        for (name, _) in columns {
            match (name.as_str(), &self.share, &self.realised, &self.declared) {
                ("params", ..) => run.params = above_zero(name, self.params[row])?,
                ("tokens", ..) => run.tokens = above_zero(name, self.tokens[row])?,
                ("loss", ..) => run.loss = Some(above_zero(name, self.loss[row])?),
                ("concept_share", Some(share), ..) if about_concepts => {
                    run.concept_share = is_share(share[row])?;
                }
                ("compression_ratio", _, Some(ratio), _) if about_concepts => {
                    run.realised_ratio = Some(above_zero(name, ratio[row])?);
                }
                ("declared_ratio", .., Some(ratio)) if about_concepts => {
                    run.declared_ratio = above_zero(name, ratio[row])?;
                }
                _ => {}
            }
        }
        Ok(run)
    }
}

fn above_zero(name: &str, value: f64) -> Result<f64, String> {
    let value = Some(value).filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| format!("`{name}` is no number above 0"))
}

fn is_share(value: f64) -> Result<f64, String> {
    let share = Some(value).filter(|value| (0.0..1.0).contains(value));
    share.ok_or_else(|| "`concept_share` is no share of at least 0 and below 1".to_owned())
}
