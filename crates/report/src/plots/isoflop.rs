//! Loss against N at equal training FLOPs: a valley for every budget, a panel for each law.

use super::axis::{Axis, range, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{RED, UNDETERMINED, series};
use experiment::run::RunId;
use scaling_law::analysis::{AnalysisResult, IsoflopCurve, Observed, levels};

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let curves = || result.isoflop.iter().filter(|curve| curve.points.len() > 1);
    if curves().count() == 0 {
        let fitted = [&result.dlcm, &result.dense];
        let fitted = fitted.iter().filter_map(|law| law.report());
        return Err(
            match fitted
                .map(|law| law.at_tokens.is_some())
                .reduce(|a, b| a && b)
            {
                None => "no law is fitted".to_owned(),
                Some(true) => {
                    "the laws hold at one D, so they say nothing about equal FLOPs".to_owned()
                }
                Some(false) => "the stored fit has no curves of equal FLOPs: fit again".to_owned(),
            },
        );
    }
    let budgets = levels(curves().map(|curve| curve.flops), 0.02);
    let mut legend = vec![Entry::heading("Training FLOPs:")];
    legend.extend(
        budgets
            .iter()
            .enumerate()
            .map(|(k, flops)| Entry::both(series(k), short(*flops))),
    );
    let lowest = curves().filter(|curve| curve.lowest().is_some());
    let (known, open): (Vec<_>, Vec<_>) = lowest.partition(|curve| is_determined(curve));
    if !known.is_empty() {
        legend.push(Entry::mark(RED, Mark::Diamond, "lowest"));
    }
    if !open.is_empty() {
        let words = format!("lowest, {UNDETERMINED}");
        legend.push(Entry::hollow(RED, Mark::Diamond, words));
    }
    let panels = [("DLCM law, best P and R", false), ("dense law", true)];
    let charts = panels.into_iter().filter_map(|(title, dense)| {
        let here: Vec<&IsoflopCurve> = curves().filter(|curve| curve.dense == dense).collect();
        let sizes = range(here.iter().flat_map(|c| c.points.iter().map(|p| p.params)))?;
        Some(chart(title, &here, sizes, result, &budgets))
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes: vec![format!(
            "FLOPs counted as “{}”. Curves and bands: the law and its 95% interval; markers: runs \
             within 10% of a curve's FLOPs, DLCMs of all P and R.",
            result.cost.name()
        )],
        ..Sheet::default()
    })
}

/// Says whether a curve rises out of the interval of its lowest point on both sides: if not, the best N
/// may as well lie beyond the sizes that are drawn.
fn is_determined(curve: &IsoflopCurve) -> bool {
    let Some(([_, high], [first, .., last])) = curve
        .lowest()
        .and_then(|lowest| lowest.interval)
        .zip(Some(&curve.points[..]))
    else {
        return true;
    };
    first.loss.min(last.loss) > high
}

fn chart<'a>(
    title: &str,
    curves: &[&'a IsoflopCurve],
    sizes: [f64; 2],
    result: &'a AnalysisResult,
    budgets: &[f64],
) -> Chart<'a> {
    let run = |id: &'a RunId| result.runs.iter().find(|run| run.id == *id);
    let drawn: Vec<(usize, &'a IsoflopCurve, Vec<&'a Observed>)> = curves
        .iter()
        .map(|curve| {
            let near = |flops: &f64| (flops / curve.flops).ln().abs() < 0.02;
            let place = budgets.iter().position(near).unwrap_or(0);
            (place, *curve, curve.runs.iter().filter_map(run).collect())
        })
        .collect();
    // Far from the trained sizes a curve rises out of what matters.
    let lowest = range(
        drawn
            .iter()
            .flat_map(|(_, curve, _)| curve.points.iter().map(|p| p.loss)),
    );
    let measured = range(
        drawn
            .iter()
            .flat_map(|(_, _, runs)| runs.iter().map(|run| run.loss)),
    );
    let [low, high] = lowest.unwrap_or([1.0, 2.0]);
    let bottoms = drawn
        .iter()
        .filter_map(|(_, curve, _)| range(curve.points.iter().map(|p| p.loss)).map(|[low, _]| low));
    let bottoms = range(bottoms).unwrap_or([low, high]);
    let top = (bottoms[1] + 0.6 * (bottoms[1] - bottoms[0]).max(0.1 * low)).min(high);
    let [low, top] = measured.map_or([low, top], |[a, b]| [low.min(a), top.max(b)]);
    let x = Axis::log("N (non-embedding parameters)", sizes);
    let y = Axis::losses("Held-out loss (nats per token)", [low, top], 0.06);
    let draw = move |picture: &mut Picture, panel: &Panel| {
        panel.grid(picture);
        for (k, curve, _) in &drawn {
            let band: Vec<(f64, f64, f64)> = curve
                .points
                .iter()
                .filter_map(|p| p.interval.map(|[low, high]| (p.params, low, high)))
                .collect();
            panel.band(picture, &band, series(*k).colour, 0.12);
        }
        for (k, curve, runs) in &drawn {
            let style = series(*k);
            let line: Vec<(f64, f64)> = curve.points.iter().map(|p| (p.params, p.loss)).collect();
            panel.curve(picture, &line, 1.8, style.dash, style.colour, 1.0);
            for run in runs {
                let at = (run.params, run.loss);
                panel.mark(picture, at, style.mark, 3.4, style.colour);
            }
            if let Some(lowest) = curve.lowest() {
                let at = (lowest.params, lowest.loss);
                let open = !is_determined(curve);
                panel.estimate(picture, at, Mark::Diamond, 4.4, RED, open);
            }
        }
    };
    Chart::new(title, x, y, draw)
}
