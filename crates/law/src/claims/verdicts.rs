//! Verdicts with when their claims were written down, and in words.

use super::{Judged, Verdict};
use experiment::quantity::counted;
use serde::Serialize;
use std::fmt;

/// A claim with its verdict, and when it was written down.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimVerdict {
    /// What the runs say of it.
    #[serde(flatten)]
    pub judged: Judged,
    /// When it was written down, seconds since the Unix epoch.
    pub registered_at: f64,
    /// Runs of the experiment that had ended by then.
    pub runs_ended: u64,
}

/// The claims of an experiment with their verdicts.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimVerdicts {
    /// In the order of the file.
    pub claims: Vec<ClaimVerdict>,
    /// Names of claims that were written down once and are no longer in the file, or were changed.
    pub dropped: Vec<String>,
    /// Runs of the experiment that have not ended: verdicts are final when none is left.
    pub runs_left: usize,
}

impl ClaimVerdicts {
    /// How many came to what, in words.
    pub fn tally(&self) -> String {
        let count = |verdict: Verdict| {
            let claims = self.claims.iter();
            claims
                .filter(|claim| claim.judged.verdict == verdict)
                .count()
        };
        format!(
            "{} reproduced, {} contradicted, {} not determined",
            count(Verdict::Reproduced),
            count(Verdict::Contradicted),
            count(Verdict::NotDetermined)
        )
    }

    /// What is to be known of all of them.
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.runs_left > 0 {
            remarks.push(format!(
                "{} left: whoever looks again and again until a verdict is there is wrong more often than 5%",
                counted(self.runs_left, "run")
            ));
        }
        if self.claims.len() > 1 {
            remarks.push(format!(
                "verdicts are corrected for {} claims (Holm): the chance that any is wrong is at most 5%; intervals are \
                 each claim's own, at 95%",
                self.claims.len()
            ));
        }
        if !self.dropped.is_empty() {
            remarks.push(format!(
                "claimed once and then changed or taken out: {}",
                self.dropped.join(", ")
            ));
        }
        remarks
    }
}

impl ClaimVerdict {
    /// What is to be known of it beside its number: what would decide it, runs that are missing, and that it was
    /// written down when runs were known already.
    pub fn notes(&self) -> Vec<String> {
        let missing = (self.judged.lost > 0).then(|| {
            format!(
                "{} ended without the quantity and not in it: diverged, failed, or not asked",
                counted(self.judged.lost, "run")
            )
        });
        let late = (self.runs_ended > 0).then(|| {
            format!(
                "written down when {} had ended: it may have been made for them",
                counted(self.runs_ended as usize, "run")
            )
        });
        let notes = [self.judged.open.clone(), missing, late];
        notes.into_iter().flatten().collect()
    }
}

impl fmt::Display for ClaimVerdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Claims: {}", self.tally())?;
        for claim in &self.claims {
            let judged = &claim.judged;
            let source = judged.source.as_ref();
            let source = source.map_or(String::new(), |source| format!(" ({source})"));
            writeln!(
                f,
                "  {:<15} {}: {}{source}",
                judged.verdict, judged.name, judged.says
            )?;
            let number = judged.number().into_iter();
            for line in number.chain(claim.notes()) {
                writeln!(f, "  {:<15}   {line}", "")?;
            }
        }
        for remark in self.remarks() {
            writeln!(f, "  {remark}")?;
        }
        Ok(())
    }
}
