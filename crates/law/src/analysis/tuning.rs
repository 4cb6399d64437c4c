//! What the trials of each family of models found: its best learning rate, and whether that holds.

use crate::row::Row;
use experiment::architecture::ModelKind;
use experiment::plan::Rates;
use experiment::quantity::human;
use experiment::run::{Part, RunOutcome, RunState};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What the trials of a family found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuning {
    /// The family.
    pub kind: ModelKind,
    /// The trials at each N, the smallest first.
    pub sizes: Vec<Tried>,
}

/// The trials at one N.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Non-embedding parameters N.
    pub params: u64,
    /// Training tokens D.
    pub tokens: u64,
    /// Base rate and held-out loss of each run, nats per token, by rate; no loss where it diverged.
    pub losses: Vec<(f64, Option<f64>)>,
}

impl Tried {
    /// Returns the rate of the lowest loss; `None` where all diverged.
    pub fn best(&self) -> Option<f64> {
        let finite = self
            .losses
            .iter()
            .filter_map(|&(rate, loss)| Some((rate, loss?)));
        let best = finite.min_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(rate, _)| rate)
    }

    /// Says whether the best rate is the lowest or highest that was tried: better may lie beyond.
    pub fn at_edge(&self) -> bool {
        let ends = [self.losses.first(), self.losses.last()];
        let best = self.best();
        ends.into_iter()
            .flatten()
            .any(|(rate, _)| Some(*rate) == best)
    }
}

impl Tuning {
    /// Returns the rate that was found at the smallest N.
    pub fn rate(&self) -> Option<f64> {
        self.sizes.first()?.best()
    }

    /// Says whether the family can be said to be at its best rate: the best one lies between others,
    /// and at the larger N too it is the best or next to it.
    pub fn is_tuned(&self) -> bool {
        let Some(rate) = self.rate() else {
            return false;
        };
        let near = |tried: &Tried| {
            let rates: Vec<f64> = tried.losses.iter().map(|(rate, _)| *rate).collect();
            let place = |rate: f64| rates.iter().position(|other| *other == rate);
            match (place(rate), tried.best().and_then(place)) {
                (Some(here), Some(best)) => here.abs_diff(best) <= 1,
                _ => false,
            }
        };
        !self.sizes[0].at_edge() && self.sizes.iter().all(near)
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(rate) = self.rate() else {
            return write!(
                f,
                "{}: every rate that was tried diverged",
                self.kind.name()
            );
        };
        write!(
            f,
            "{}: {rate} at N = {}",
            self.kind.name(),
            human(self.sizes[0].params as f64)
        )?;
        if self.sizes[0].at_edge() {
            write!(f, ", at the edge of what was tried: better may lie beyond")?;
        }
        for larger in &self.sizes[1..] {
            let size = human(larger.params as f64);
            match larger.best() {
                Some(best) if best == rate => write!(f, "; the same at N = {size}")?,
                Some(best) => write!(f, "; {best} at N = {size}")?,
                None => write!(f, "; none at N = {size}, where all diverged")?,
            }
        }
        Ok(())
    }
}

/// Reads what trials found from the rows of an experiment; a family whose trials have not all come to
/// a result is left out.
pub fn tunings(rows: &[Row]) -> Vec<Tuning> {
    // The best trial may be one of the other runs: it is found by what it is but for its rate.
    let tried = rows.iter().filter(|row| row.part == Part::Trial);
    let families: BTreeSet<&str> = tried.filter_map(|row| row.family.as_deref()).collect();
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.part != Part::Trunk) {
        match row.family.as_deref() {
            Some(family) if families.contains(family) => {
                groups.entry(family).or_default().push(row)
            }
            _ => {}
        }
    }
    let mut tunings: BTreeMap<ModelKind, Tuning> = BTreeMap::new();
    let mut open: BTreeSet<ModelKind> = BTreeSet::new();
    for mut group in groups.into_values() {
        let kind = group[0].kind;
        let ended = |row: &&Row| {
            row.state == RunState::Ended && row.outcome.is_some_and(RunOutcome::is_result)
        };
        if !group.iter().all(ended) {
            open.insert(kind);
            continue;
        }
        let rate = |row: &Row| row.learning_rate.unwrap_or(f64::NAN);
        group.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        let tried = Tried {
            params: group[0].params as u64,
            tokens: group[0].tokens as u64,
            losses: group
                .iter()
                .map(|row| (rate(row), row.finished_loss()))
                .collect(),
        };
        let sizes = Vec::new();
        let tuning = tunings.entry(kind).or_insert(Tuning { kind, sizes });
        tuning.sizes.push(tried);
    }
    let mut tunings: Vec<Tuning> = tunings.into_values().collect();
    tunings.retain(|tuning| !open.contains(&tuning.kind));
    for tuning in &mut tunings {
        tuning.sizes.sort_by_key(|tried| tried.params);
    }
    tunings
}

/// Returns the rates that trials found.
pub fn rates(tunings: &[Tuning]) -> Rates {
    let found = tunings.iter();
    found
        .filter_map(|tuning| Some((tuning.kind, tuning.rate()?)))
        .collect()
}
