//! What tells runs apart in every figure: their R, and whether they are dense.

use super::axis::short;
use super::legend::Entry;
use super::picture::{Dash, Mark};
use super::style::{INK, Series, series};
use crate::analysis::{Observed, levels};
use crate::store::RunRecord;

/// How dense models are drawn.
const DENSE: Series = Series {
    colour: INK,
    dash: Dash::Solid,
    mark: Mark::Cross,
};

/// Returns the declared R of a run; `None` for a dense model.
pub(super) fn kind(run: &RunRecord) -> Option<f64> {
    (!run.spec.architecture.is_dense()).then_some(run.compression_ratio)
}

/// Returns the same of a run as the laws see it.
pub(super) fn observed_kind(run: &Observed) -> Option<f64> {
    (!run.dense).then_some(run.declared_ratio)
}

/// The declared R of some runs; a dense model has none.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    ratios: Vec<f64>,
    has_dense: bool,
}

impl Kinds {
    /// Finds those of runs.
    pub(super) fn of(ratios: impl Iterator<Item = Option<f64>> + Clone) -> Self {
        Self {
            ratios: levels(ratios.clone().flatten(), 1e-6),
            has_dense: ratios.into_iter().any(|ratio| ratio.is_none()),
        }
    }

    /// Returns how a kind is drawn.
    pub(super) fn series(&self, ratio: Option<f64>) -> Series {
        let place = ratio.and_then(|ratio| {
            let near = |known: &f64| (known / ratio - 1.0).abs() <= 1e-6;
            self.ratios.iter().position(near)
        });
        place.map_or(DENSE, series)
    }

    /// Lists the kinds.
    pub(super) fn all(&self) -> impl Iterator<Item = Option<f64>> {
        let dense = self.has_dense.then_some(None);
        self.ratios.iter().copied().map(Some).chain(dense)
    }

    /// Makes the entries of a legend.
    pub(super) fn entries(&self, entry: impl Fn(Series, String) -> Entry) -> Vec<Entry> {
        let entries = self.all().map(|ratio| {
            let text = match ratio {
                Some(ratio) => format!("R = {}", short(ratio)),
                None => "dense".to_owned(),
            };
            entry(self.series(ratio), text)
        });
        entries.collect()
    }
}
