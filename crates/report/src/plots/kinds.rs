//! What tells runs apart in every figure: their R, or which kind of model without concepts they are.

use super::axis::short;
use super::legend::Entry;
use super::picture::{Dash, Mark};
use super::style::{GREY, INK, Series, series};
use campaign::store::RunRecord;
use experiment::architecture::ModelKind;
use scaling_law::analysis::{Observed, levels};

/// What a run is drawn as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A DLCM of this declared R.
    Ratio(f64),
    /// A dense model.
    Dense,
    /// A token level alone.
    TokenOnly,
}

/// How dense models are drawn: with a dash that no DLCM has.
const DENSE: Series = Series {
    colour: INK,
    dash: Dash::Long,
    mark: Mark::Cross,
};

/// How token levels alone are drawn.
pub(super) const TOKEN_ONLY: Series = Series {
    colour: GREY,
    dash: Dash::Dotted,
    mark: Mark::Plus,
};

impl Kind {
    fn of(kind: ModelKind, ratio: f64) -> Self {
        match kind {
            ModelKind::Dlcm => Self::Ratio(ratio),
            ModelKind::Dense => Self::Dense,
            ModelKind::TokenOnly => Self::TokenOnly,
        }
    }

    /// Returns the declared R; `None` without concepts.
    pub(super) fn ratio(self) -> Option<f64> {
        match self {
            Self::Ratio(ratio) => Some(ratio),
            Self::Dense | Self::TokenOnly => None,
        }
    }

    /// Names it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Ratio(ratio) => format!("R = {}", short(ratio)),
            Self::Dense => ModelKind::Dense.label().to_owned(),
            Self::TokenOnly => ModelKind::TokenOnly.label().to_owned(),
        }
    }
}

/// Returns the kind of a run.
pub(super) fn kind(run: &RunRecord) -> Kind {
    Kind::of(run.kind, run.compression_ratio)
}

/// Returns the same of a run as the laws see it.
pub(super) fn observed_kind(run: &Observed) -> Kind {
    Kind::of(run.kind, run.declared_ratio)
}

/// The kinds of some runs.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    ratios: Vec<f64>,
    /// Those without concepts.
    others: Vec<Kind>,
}

impl Kinds {
    /// Finds those of runs.
    pub(super) fn of(kinds: impl Iterator<Item = Kind> + Clone) -> Self {
        let mut others = vec![Kind::Dense, Kind::TokenOnly];
        others.retain(|other| kinds.clone().any(|kind| kind == *other));
        Self {
            ratios: levels(kinds.filter_map(Kind::ratio), 1e-6),
            others,
        }
    }

    /// Returns how a kind is drawn.
    pub(super) fn series(&self, kind: Kind) -> Series {
        match kind {
            Kind::Ratio(ratio) => {
                let near = |known: &f64| (known / ratio - 1.0).abs() <= 1e-6;
                self.ratios.iter().position(near).map_or(DENSE, series)
            }
            Kind::Dense => DENSE,
            Kind::TokenOnly => TOKEN_ONLY,
        }
    }

    /// Lists the kinds.
    pub(super) fn all(&self) -> impl Iterator<Item = Kind> {
        let ratios = self.ratios.iter().map(|ratio| Kind::Ratio(*ratio));
        ratios.chain(self.others.iter().copied())
    }

    /// Makes the entries of a legend.
    pub(super) fn entries(&self, entry: impl Fn(Series, String) -> Entry) -> Vec<Entry> {
        let entries = self.all().map(|kind| entry(self.series(kind), kind.name()));
        entries.collect()
    }
}
