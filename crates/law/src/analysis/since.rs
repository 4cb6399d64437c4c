//! What has become of the runs since an analysis of them.

use super::AnalysisResult;
use crate::row::Row;
use std::collections::HashMap;

/// How the runs that can be fitted differ from those of an analysis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Runs that were not in it.
    pub added: usize,
    /// Runs whose loss or realised R is another now.
    pub changed: usize,
    /// Runs of it that are no longer there.
    pub gone: usize,
}

impl AnalysisResult {
    /// Compares the runs that were fitted with what there is to fit now.
    pub fn since(&self, rows: &[Row]) -> Since {
        let now: HashMap<_, _> = rows
            .iter()
            .filter(|row| row.unusable().is_none())
            .map(|row| (&row.id, row))
            .collect();
        let mut since = Since {
            added: now.len(),
            ..Since::default()
        };
        for run in &self.runs {
            let Some(row) = now.get(&run.id) else {
                since.gone += 1;
                continue;
            };
            since.added = since.added.saturating_sub(1);
            let ratio = if run.has_concepts() {
                row.realised_ratio
            } else {
                Some(run.ratio)
            };
            let same = is_same(row.loss, run.loss) && is_same(ratio, run.ratio);
            since.changed += usize::from(!same);
        }
        since
    }
}

impl Since {
    /// Says what has changed, in words; `None` where nothing has.
    pub fn words(&self) -> Option<String> {
        let count = |runs: usize, one: &str, several: &str| match runs {
            0 => None,
            1 => Some(format!("1 run {one}")),
            runs => Some(format!("{runs} runs {several}")),
        };
        let said = [
            count(self.added, "has finished", "have finished"),
            count(self.changed, "has changed", "have changed"),
            count(self.gone, "is gone", "are gone"),
        ];
        let said: Vec<String> = said.into_iter().flatten().collect();
        (!said.is_empty()).then(|| format!("since the analysis {}", said.join(", ")))
    }
}

/// Says whether a value is the stored one, but for what writing and reading leaves.
fn is_same(now: Option<f64>, then: f64) -> bool {
    now.is_some_and(|now| (now - then).abs() <= 1e-9 * then.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::simulated;
    use crate::row::rows;
    use experiment::grid::Analysis;
    use experiment::run::{RunOutcome, RunState};

    #[test]
    fn what_has_come_changed_and_gone_is_counted() {
        let mut runs = simulated::QUICK.runs();
        runs[0].state = RunState::Pending;
        runs[0].outcome = None;
        let result = simulated::analysed(&runs, &Analysis::default());
        assert_eq!(result.since(&rows(&runs)), Since::default());
        assert_eq!(Since::default().words(), None);
        runs[0].state = RunState::Ended;
        runs[0].outcome = Some(RunOutcome::Finished);
        runs[1].loss = runs[1].loss.map(|loss| loss + 0.1);
        runs.pop();
        let since = result.since(&rows(&runs));
        let expected = Since {
            added: 1,
            changed: 1,
            gone: 1,
        };
        assert_eq!(since, expected);
        let said = since.words().expect("something");
        assert_eq!(
            said,
            "since the analysis 1 run has finished, 1 run has changed, 1 run is gone"
        );
    }
}
