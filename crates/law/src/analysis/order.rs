//! Whether a law puts the lowest loss at the concept share at which it was measured.

use super::LawReport;
use super::observe::{Observed, SeedNoise, levels};
use super::suspicion::USUAL_NOISE;
use super::warning::Warning;
use super::{SAME_SIZE, same_size};

/// A run with its measured and its predicted loss.
struct Pair<'a> {
    run: &'a Observed,
    predicted: f64,
}

/// Means over the runs of one P.
struct AtShare {
    share: f64,
    runs: usize,
    observed: f64,
    predicted: f64,
}

/// Warns of a law whose best P, among those that were trained, is worse than another by more than
/// noise in at least half of the settings (of N, D and R) that were run at two P or more.
pub(super) fn against_the_runs(
    report: &LawReport,
    used: &[Observed],
    noise: Option<SeedNoise>,
) -> Option<Warning> {
    let pairs = report.predicted.iter().filter_map(|one| {
        let run = used.iter().find(|run| run.id == one.run)?;
        Some(Pair {
            run,
            predicted: one.predicted,
        })
    });
    let pairs: Vec<Pair> = pairs.filter(|pair| pair.run.has_concepts()).collect();
    let noise = noise.map_or(USUAL_NOISE, |noise| noise.nats);
    let (mut of, mut measured, mut by_law) = (0, Vec::new(), Vec::new());
    for group in settings(&pairs) {
        let shares = by_share(&group);
        let lowest =
            |loss: fn(&AtShare) -> f64| shares.iter().min_by(|a, b| loss(a).total_cmp(&loss(b)));
        let (Some(best), Some(law)) = (lowest(|it| it.observed), lowest(|it| it.predicted)) else {
            continue;
        };
        if shares.len() < 2 {
            continue;
        }
        of += 1;
        let deviation = noise * (1.0 / best.runs as f64 + 1.0 / law.runs as f64).sqrt();
        if law.observed - best.observed > 1.96 * deviation {
            measured.push(best.share);
            by_law.push(law.share);
        }
    }
    let groups = measured.len();
    (groups > 0 && 2 * groups >= of).then(|| Warning::OrderOfShares {
        groups,
        of,
        measured: middle(measured),
        predicted: middle(by_law),
    })
}

/// Groups runs of one N, D and declared R.
fn settings<'a>(pairs: &'a [Pair<'a>]) -> Vec<Vec<&'a Pair<'a>>> {
    let mut groups: Vec<Vec<&Pair>> = Vec::new();
    for pair in pairs {
        let alike = |group: &&mut Vec<&Pair>| {
            let first = group[0].run;
            same_size(first.params, pair.run.params)
                && same_size(first.tokens, pair.run.tokens)
                && same_size(first.declared_ratio, pair.run.declared_ratio)
        };
        match groups.iter_mut().find(alike) {
            Some(group) => group.push(pair),
            None => groups.push(vec![pair]),
        }
    }
    groups
}

fn by_share(group: &[&Pair]) -> Vec<AtShare> {
    let shares = levels(group.iter().map(|pair| pair.run.share), SAME_SIZE);
    let at = |share: f64| {
        let here = group.iter().filter(|pair| same_size(pair.run.share, share));
        let here: Vec<_> = here.collect();
        let mean = |value: fn(&Pair) -> f64| {
            here.iter().map(|pair| value(pair)).sum::<f64>() / here.len().max(1) as f64
        };
        AtShare {
            share,
            runs: here.len().max(1),
            observed: mean(|pair| pair.run.loss),
            predicted: mean(|pair| pair.predicted),
        }
    };
    shares.into_iter().map(at).collect()
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::simulated;
    use experiment::grid::Analysis;
    use experiment::quantity::Draws;

    #[test]
    fn a_law_that_turns_the_order_of_shares_round_is_told_and_one_that_keeps_it_is_not() {
        let settings = Analysis {
            bootstrap: Draws::from(0),
            ..Analysis::default()
        };
        let result = simulated::analysed(&simulated::FIRST.runs(), &settings);
        let report = result.dlcm.report().expect("fitted");
        let noise = result.seed_noise;
        assert_eq!(against_the_runs(report, &result.runs, noise), None);
        let mut turned = report.clone();
        for one in &mut turned.predicted {
            one.predicted = -one.predicted;
        }
        // Far above noise.
        let mut runs = result.runs.clone();
        for run in &mut runs {
            run.loss = 3.0 + 10.0 * (run.loss - 3.0);
        }
        let Some(Warning::OrderOfShares { groups, of, .. }) =
            against_the_runs(&turned, &runs, noise)
        else {
            panic!("it is not told");
        };
        assert!(2 * groups >= of && of > 0, "{groups} of {of}");
    }
}
