//! How much disk runs take.

use experiment::plan::Run;
use experiment::run::Part;
use std::path::Path;

/// Bytes of a weight, and of a weight with its two moments.
const WEIGHT: f64 = 4.0;
const STATE: f64 = 12.0;
/// States that a run which trains may have: two checkpoints and the one being written.
const STATES: f64 = 3.0;
/// Bytes of a run's journal and of its rows in the database.
const NUMBERS: f64 = 200e3;

/// What runs take on disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DiskNeed {
    /// At their end.
    pub kept: f64,
    /// At most, while they train.
    pub most: f64,
}

/// Estimates what runs that are to train take on disk, `slots` of them at once.
pub fn disk_need(to_do: &[&Run], slots: usize, keep_weights: bool) -> DiskNeed {
    // What another trainer writes is its own affair.
    let total = |run: &Run| {
        let model = run.work.model();
        model.map_or(0.0, |spec| spec.architecture.params().total() as f64)
    };
    let kept = to_do.iter().map(|run| {
        let state = match run.part() {
            Part::Trunk => STATE * total(run),
            Part::Whole | Part::Branch | Part::Trial if keep_weights => WEIGHT * total(run),
            Part::Whole | Part::Branch | Part::Trial => 0.0,
        };
        NUMBERS + state
    });
    // Not `sum`, which is -0 where there is nothing.
    let kept = kept.fold(0.0, |sum, bytes| sum + bytes);
    let mut training: Vec<f64> = to_do
        .iter()
        .map(|run| STATES * STATE * total(run))
        .collect();
    training.sort_by(|a, b| b.total_cmp(a));
    DiskNeed {
        kept,
        // The largest at once, when all others have ended.
        most: training
            .iter()
            .take(slots)
            .fold(kept, |sum, bytes| sum + bytes),
    }
}

/// Finds the bytes that may still be written below a folder, which need not be there yet; `None`
/// where the system does not say.
pub fn disk_free(folder: &Path) -> Option<f64> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let disk = nix::sys::statvfs::statvfs(there).ok()?;
    Some(disk.blocks_available() as f64 * disk.fragment_size() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::plan::example::runs as planned;

    fn total(run: &Run) -> f64 {
        let spec = run.work.model().expect("a model");
        spec.architecture.params().total() as f64
    }

    #[test]
    fn disk_is_bounded_by_what_is_kept_and_by_what_trains_at_once() {
        let runs = planned("baselines: {params: [0.2M, 0.4M], tokens: 1M}");
        let runs: Vec<&Run> = runs.iter().collect();
        let [small, large] = [0, 1].map(|k| total(runs[k]));
        let need = disk_need(&runs, 1, true);
        assert_eq!(need.kept, 2.0 * NUMBERS + 4.0 * (small + large));
        assert_eq!(need.most, need.kept + 36.0 * large);
        let without = disk_need(&runs, 9, false);
        assert_eq!(without.kept, 2.0 * NUMBERS);
        assert_eq!(without.most, without.kept + 36.0 * (small + large));
        let branches = planned(
            "baselines: {params: 0.2M, tokens: [409600, 819200]}\ntraining: {branches: true}",
        );
        let branches: Vec<&Run> = branches.iter().collect();
        let total = total(branches[0]);
        let need = disk_need(&branches, 1, false);
        assert_eq!(
            need.kept,
            4.0 * NUMBERS + 2.0 * 12.0 * total,
            "trunks keep their states"
        );
        assert!(disk_free(Path::new("no/such/folder")).is_some_and(|bytes| bytes > 0.0));
    }
}
