//! Where what a cell says is written.

use super::key::Assignment;
use super::source::{Location, Problem};
/// Where the values of a cell stand.
pub(super) struct Places<'a> {
    pub(super) chosen: &'a [&'a Assignment],
    pub(super) base: &'a [(&'static str, Location)],
    pub(super) cell: &'a Location,
}

impl Places<'_> {
    /// Labels a problem with those of the keys that someone wrote, else with the cell.
    pub(super) fn label(&self, problem: Problem, keys: &[&str]) -> Problem {
        let written = keys.iter().filter_map(|key| {
            let chosen = self
                .chosen
                .iter()
                .rev()
                .find(|value| value.key.path == *key);
            let location = chosen.map(|value| &value.location);
            location.or(self
                .base
                .iter()
                .find(|(path, _)| path == key)
                .map(|(_, at)| at))
        });
        let mut written: Vec<&Location> = written.collect();
        if written.is_empty() {
            written.push(self.cell);
        }
        written
            .into_iter()
            .fold(problem, |problem, at| problem.label(at, ""))
    }
}
