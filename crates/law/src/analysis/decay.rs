//! What decaying the learning rate takes off the loss (Eq. 23), from branches and their trunks.

use super::estimate::{Task, estimate};
use super::laws::LawForm;
use super::observe::{Observed, levels};
use super::policy::Policy;
use super::report::{CannotFit, ParameterEstimate};
use super::{Maybe, SAME_SIZE};
use crate::fit::Observations;
use crate::row::Row;
use experiment::run::RunId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The gains of an experiment's decays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecayGains {
    /// Hierarchical models with their losses before and after the decay.
    pub decays: Vec<Decay>,
    /// Eq. 23 on those that gained.
    pub law: Maybe<DecayLaw>,
    /// Decays that gained nothing, which the law cannot be about.
    #[serde(default)]
    pub without_gain: usize,
}

/// A branch, and its trunk where the branch left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decay {
    /// The branch.
    pub branch: RunId,
    /// Held-out loss of the trunk there, nats per token.
    pub stable_loss: f64,
    /// What the decay takes off it, nats per token.
    pub gain: f64,
}

impl DecayGains {
    /// Those that the law is fitted to, where there is one.
    pub fn fitted(&self) -> impl Iterator<Item = &Decay> {
        self.decays.iter().filter(|decay| has_gain(decay))
    }
}

/// A fitted Eq. 23.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecayLaw {
    /// Its equation in plain text.
    pub equation: String,
    /// Its parameters.
    pub parameters: Vec<ParameterEstimate>,
    /// Decays that were fitted.
    pub decays: usize,
    /// Whether the minimisation ended in a minimum.
    pub converged: bool,
    /// Coefficient of determination on the gain; `None` when all gains are equal.
    pub r2: Option<f64>,
}

/// Fewer decays than this do not show how well the four parameters fit.
const FEWEST: usize = 6;

/// Pairs branches with their trunks and fits Eq. 23; `None` when there are no branches.
pub(super) fn gains(rows: &[Row], used: &[Observed], policy: &Policy) -> Option<DecayGains> {
    let rows: HashMap<&RunId, &Row> = rows.iter().map(|row| (&row.id, row)).collect();
    let decays = used
        .iter()
        .filter(|run| run.has_concepts())
        .filter_map(|run| {
            let stable_loss = rows.get(&run.id)?.stable_loss;
            let stable_loss = stable_loss.filter(|loss| loss.is_finite())?;
            let decay = Decay {
                branch: run.id.clone(),
                stable_loss,
                gain: stable_loss - run.loss,
            };
            Some((run, decay))
        });
    let decays: Vec<(&Observed, Decay)> = decays.collect();
    (!decays.is_empty()).then(|| DecayGains {
        law: match law(&decays, policy) {
            Ok(law) => Maybe::Known(law),
            Err(why) => Maybe::Unknown(why),
        },
        without_gain: decays.iter().filter(|(_, d)| !has_gain(d)).count(),
        decays: decays.into_iter().map(|(_, decay)| decay).collect(),
    })
}

/// Says whether Eq. 23, which is positive, can be about a decay.
fn has_gain(decay: &Decay) -> bool {
    decay.gain > 0.0
}

fn law(decays: &[(&Observed, Decay)], policy: &Policy) -> Result<DecayLaw, String> {
    let gained: Vec<&(&Observed, Decay)> = decays.iter().filter(|(_, d)| has_gain(d)).collect();
    let sizes = levels(gained.iter().map(|(run, _)| run.params), SAME_SIZE).len();
    let ratios = levels(gained.iter().map(|(run, _)| run.declared_ratio), SAME_SIZE).len();
    if gained.len() < FEWEST || sizes < 2 || ratios < 2 {
        return Err(format!(
            "{} decays with a gain, of {sizes} N and {ratios} R; it needs {FEWEST}, of 2 and 2",
            gained.len()
        ));
    }
    let column = |value: fn(&(&Observed, Decay)) -> f64| gained.iter().map(|d| value(d)).collect();
    let columns: [(&str, Vec<f64>); 5] = [
        ("stable_loss", column(|(_, decay)| decay.stable_loss)),
        ("compression_ratio", column(|(run, _)| run.ratio)),
        ("declared_ratio", column(|(run, _)| run.declared_ratio)),
        ("params", column(|(run, _)| run.params)),
        ("decay_gain", column(|(_, decay)| decay.gain)),
    ];
    let trunks: Vec<&str> = gained.iter().map(|(run, _)| run.cluster()).collect();
    let task = || -> Result<Task<'_>, CannotFit> {
        Ok(Task {
            title: "decay law".to_owned(),
            form: LawForm::Named {
                law: "dlcm_decay".to_owned(),
            },
            at: None,
            data: Observations::new(columns)?.with_clusters(&trunks)?,
            names: gained.iter().map(|(run, _)| run.id.clone()).collect(),
            left_out: Vec::new(),
            floor: None,
            // Seeds tell the noise of a loss, not of a gain.
            noise: None,
            other: None,
        })
    };
    let found = task().and_then(|task| estimate(task, policy));
    let report = found.map_err(|why| why.to_string())?.report;
    Ok(DecayLaw {
        equation: report.equation,
        parameters: report.parameters,
        decays: report.runs,
        converged: report.converged,
        r2: report.r2,
    })
}

#[cfg(test)]
mod tests {
    use super::super::simulated::{Grid, LARGE};
    use super::*;
    use experiment::architecture::ModelKind;
    use experiment::grid::Analysis;
    use experiment::quantity::Draws;
    use experiment::record::RunRecord;
    use experiment::run::Part;

    /// Branches that gain by Eq. 23, each followed by the piece of trunk it leaves.
    fn branched(grid: &Grid<'_>) -> Vec<RunRecord> {
        let mut all = Vec::new();
        for mut branch in grid.runs() {
            let stable = branch.loss.expect("a loss");
            let mut trunk = branch.clone();
            trunk.id = RunId(format!("trunk of {}", branch.id));
            trunk.part = Part::Trunk;
            let gain = 0.02
                * stable.powf(1.5)
                * branch.realised_ratio.unwrap_or(1.0).powf(-0.2)
                * (branch.params.expect("known") as f64).powf(0.05);
            branch.part = Part::Branch;
            branch.start_run = Some(trunk.id.clone());
            branch.loss = Some(stable - gain);
            all.extend([branch, trunk]);
        }
        all
    }

    fn analysed(runs: &[RunRecord]) -> super::super::AnalysisResult {
        let settings = Analysis {
            bootstrap: Draws::from(20),
            ..Analysis::default()
        };
        super::super::simulated::analysed(runs, &settings)
    }

    #[test]
    fn the_decay_law_is_recovered_from_branches_and_trunks() {
        let runs = branched(&LARGE);
        let result = analysed(&runs);
        let dlcm = runs
            .iter()
            .filter(|run| run.kind == ModelKind::Dlcm)
            .count()
            / 2;
        let gains = result.decay.as_ref().expect("branches");
        assert_eq!(gains.decays.len(), dlcm);
        let law = gains.law.known().expect("fitted");
        for (parameter, truth) in law.parameters.iter().zip([0.02, 1.5, -0.2, 0.05]) {
            let off = (parameter.value - truth).abs();
            assert!(off < 1e-3, "{}: {}", parameter.name, parameter.value);
            assert!(parameter.interval.is_some());
        }
        let said = super::super::summary(&result, &super::super::simulated::ASKER, false);
        assert!(said.contains("Decay law: decay_gain ="), "{said}");
        // No trunk is among the runs of the other laws, and none is missed there.
        assert_eq!(result.runs.len(), runs.len() / 2);
        assert!(result.runs.iter().all(|run| run.trunk.is_some()));
        let missed = |warning: &super::super::Warning| {
            matches!(warning, super::super::Warning::LeftOut { .. })
        };
        assert!(!result.warnings.iter().any(missed));
        assert!(result.left_out.iter().all(|run| run.why.contains("trunk")));
        let stored = serde_json::to_string(&result).expect("stored");
        let mut read: super::super::AnalysisResult = serde_json::from_str(&stored).expect("read");
        // Stored for other readers; here it follows from the rest.
        read.attribution = result.attribution.clone();
        assert_eq!(read, result);
    }

    #[test]
    fn without_branches_nothing_is_said_and_with_few_why() {
        assert_eq!(analysed(&LARGE.runs()[..4]).decay, None);
        let gains = analysed(&branched(&LARGE)[..6]).decay.expect("branches");
        let why = gains.law.known().is_none();
        assert!(why && gains.decays.len() == 3);
    }
}
