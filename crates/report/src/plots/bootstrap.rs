//! The spread of the laws' parameters over resamples: a histogram for each.

use super::axis::{Axis, range, roomy};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{INK, RED, series};
use scaling_law::analysis::{AnalysisResult, LawReport, Uncertainty};

/// Bars of a histogram.
const BARS: usize = 18;

/// Values that spread over more than this factor are drawn on a logarithmic scale.
const WIDE: f64 = 8.0;

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let laws = [
        ("", &result.dlcm),
        ("dense ", &result.dense),
        ("control ", &result.control),
    ];
    let laws: Vec<(&str, &LawReport)> = laws
        .into_iter()
        .filter_map(|(name, outcome)| Some((name, outcome.report()?)))
        .collect();
    if laws.is_empty() {
        return Err("no law is fitted".to_owned());
    }
    let charts: Vec<Chart<'_>> = laws
        .iter()
        .flat_map(|&(name, law)| (0..law.parameters.len()).filter_map(move |j| chart(name, law, j)))
        .collect();
    if charts.is_empty() {
        return Err(match laws[0].1.uncertainty {
            Uncertainty::None => "no resamples were asked for (analysis.bootstrap)".to_owned(),
            _ => "the stored fit keeps no resamples: fit again".to_owned(),
        });
    }
    let from = |law: &LawReport| match law.uncertainty {
        Uncertainty::None | Uncertainty::Profiles => None,
        Uncertainty::Signs { draws } => Some(format!("{draws} resamples of residuals")),
        Uncertainty::Runs { draws } => Some(format!("{draws} resamples of runs")),
        Uncertainty::Noise { draws, .. } => Some(format!("{draws} refits with fresh noise")),
    };
    let mut notes: Vec<String> = laws
        .iter()
        .filter_map(|(name, law)| {
            let name = if name.is_empty() { "DLCM" } else { name.trim() };
            let shown = law.draws.len();
            Some(format!(
                "{name} law: {}, {shown} of them drawn.",
                from(law)?
            ))
        })
        .collect();
    notes.push(
        "Resamples beyond the ends of an axis stand in its outer bars; a parameter whose name has \
         a * is not determined by the runs."
            .to_owned(),
    );
    Ok(Sheet {
        charts,
        legend: vec![
            Entry::line(RED, Dash::Solid, "fitted value"),
            Entry::line(INK, Dash::Dashed, "95% interval"),
            Entry::mark(series(0).colour, Mark::Square, "resamples"),
        ],
        notes,
        ..Sheet::default()
    })
}

fn chart<'a>(name: &str, law: &'a LawReport, j: usize) -> Option<Chart<'a>> {
    let parameter = &law.parameters[j];
    let mut values: Vec<f64> = law
        .draws
        .iter()
        .filter_map(|draw| draw.get(j))
        .copied()
        .collect();
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = |share: f64| values[(share * last as f64).round() as usize];
    // A few wild resamples would squeeze all others into one bar.
    let middle = [at(0.02), at(0.98), parameter.value];
    let inner = parameter.interval.into_iter().flatten().chain(middle);
    let ends = range(inner)?;
    let log = ends[0] > 0.0 && ends[1] > WIDE * ends[0];
    let x = if log {
        Axis::log("Value of the parameter", [ends[0] / 1.2, ends[1] * 1.2])
    } else {
        Axis::linear("Value of the parameter", roomy(ends, 0.05))
    };
    let mut counts = [0usize; BARS];
    for value in &values {
        let place = (x.share(x.clamp(*value)) * BARS as f64).floor().max(0.0);
        counts[(place as usize).min(BARS - 1)] += 1;
    }
    let most = counts.into_iter().max().unwrap_or(1) as f64;
    let total = values.len() as f64;
    let y = Axis::linear("Resamples (%)", [0.0, 112.0 * most / total]);
    let star = if parameter.unidentified.is_some() {
        "*"
    } else {
        ""
    };
    let title = format!("{name}{}{star}", parameter.name);
    let bins = x.clone();
    let draw = move |picture: &mut Picture, panel: &Panel| {
        panel.grid(picture);
        let edge = |k: usize, percent: f64| panel.at(bins.value(k as f64 / BARS as f64), percent);
        for (k, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, top) = edge(k, 100.0 * *count as f64 / total);
            let (right, bottom) = edge(k + 1, 0.0);
            let gap = (0.1 * (right - left)).min(0.6);
            picture.fill((left + gap, top), (right - gap, bottom), series(0).colour);
        }
        let upright = |picture: &mut Picture, value: f64, dash, colour| {
            if panel.x.holds(value) {
                let (x, _) = panel.at(value, panel.y.low);
                picture.line(vec![(x, panel.top), (x, panel.bottom)], 1.6, dash, colour);
            }
        };
        for end in parameter.interval.into_iter().flatten() {
            upright(picture, end, Dash::Dashed, INK);
        }
        upright(picture, parameter.value, Dash::Solid, RED);
    };
    Some(Chart::new(title, x, y, draw))
}
