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
                "{} not ended: whoever looks again and again until a verdict is there is wrong more often than 5%",
                match self.runs_left {
                    1 => "1 run has".to_owned(),
                    left => format!("{left} runs have"),
                }
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
    /// Says that runs are missing; `None` where none is.
    pub fn missing(&self) -> Option<String> {
        (self.judged.lost > 0).then(|| {
            format!(
                "{} without the quantity and not in it: diverged, failed, or not asked",
                match self.judged.lost {
                    1 => "1 run ended".to_owned(),
                    lost => format!("{lost} runs ended"),
                }
            )
        })
    }

    /// Says that it was written down when runs were known already; `None` where it was not.
    pub fn lateness(&self) -> Option<String> {
        (self.runs_ended > 0).then(|| {
            format!(
                "written down when {} had ended: it may have been made for them",
                counted(self.runs_ended as usize, "run")
            )
        })
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
                judged.verdict.to_string(),
                judged.name,
                judged.says
            )?;
            let told = [
                Some(judged.number()),
                judged.open.clone(),
                claim.missing(),
                claim.lateness(),
            ];
            for line in told.into_iter().flatten().filter(|line| !line.is_empty()) {
                writeln!(f, "  {:<15}   {line}", "")?;
            }
        }
        for remark in self.remarks() {
            writeln!(f, "  {remark}")?;
        }
        Ok(())
    }
}
