//! Loss against P: a panel for every N, a curve with its band for every R, a marker for every run.

use super::axis::{Axis, about, range, roomy, short, spread};
use super::kinds::TOKEN_ONLY;
use super::legend::Entry;
use super::panel::Panel;
use super::picture::Picture;
use super::sheet::{Chart, Sheet};
use super::style::series;
use experiment::architecture::ModelKind;
use experiment::run::RunId;
use scaling_law::analysis::{
    AnalysisResult, LawOutcome, LossCurve, Observed, Uncertainty, levels, worth_in_words,
};
use std::collections::HashSet;

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let runs: Vec<&Observed> = result
        .runs
        .iter()
        .filter(|run| run.has_concepts())
        .collect();
    if runs.is_empty() {
        return Err("there are no finished DLCM runs".to_owned());
    }
    let groups = groups(result, &runs);
    let ratios = levels(groups.iter().map(|group| group.declared_ratio), 1e-6);
    let sizes = levels(groups.iter().map(|group| group.params), 0.05);
    let shares = groups.iter().flat_map(|g| {
        g.points
            .iter()
            .map(|p| p.share)
            .chain(g.runs.iter().map(|run| run.0))
    });
    let x = range(shares).unwrap_or([0.0, 1.0]);
    let x = if groups.iter().all(|g| g.points.is_empty()) {
        roomy(x, 0.15)
    } else {
        x
    };
    let x = Axis::linear("Concept share P of the parameters N", x);
    let of_size = |size: f64| {
        groups
            .iter()
            .filter(|g| (g.params / size).ln().abs() < 0.05)
            .collect::<Vec<_>>()
    };
    // Every panel spans as many nats, so that effects can be compared, around its own middle, so
    // that they can be seen.
    let ranges: Vec<[f64; 2]> = sizes
        .iter()
        .map(|size| {
            let here = of_size(*size);
            let alone = controls(result, &here).into_iter().map(|(_, loss)| loss);
            range(losses(&here).into_iter().flatten().chain(alone)).unwrap_or([0.0, 1.0])
        })
        .collect();
    let spans = ranges.iter().map(|ends| {
        let [low, high] = spread(*ends);
        high - low
    });
    let span = 1.16 * spans.fold(1e-3, f64::max);
    let is_fitted = result.dlcm.report().is_some();
    let entries = ratios.iter().enumerate().map(|(k, ratio)| {
        let text = format!("R = {}", short(*ratio));
        if is_fitted {
            Entry::both(series(k), text)
        } else {
            Entry::mark(series(k).colour, series(k).mark, text)
        }
    });
    let mut legend: Vec<Entry> = entries.collect();
    if !controls(result, &groups.iter().collect::<Vec<_>>()).is_empty() {
        legend.push(Entry::both(TOKEN_ONLY, ModelKind::TokenOnly.label()));
    }
    let charts = sizes.iter().zip(&ranges).map(|(size, [low, high])| {
        let middle = 0.5 * (low + high);
        let y = Axis::linear(
            "Held-out loss (nats per token)",
            [middle - span / 2.0, middle + span / 2.0],
        );
        let curves: Vec<LossCurve> = of_size(*size).into_iter().cloned().collect();
        let alone = controls(result, &of_size(*size));
        let ratios = ratios.clone();
        Chart::new(
            format!("N ≈ {}", about(*size)),
            x.clone(),
            y,
            move |picture: &mut Picture, panel: &Panel| {
                panel.grid(picture);
                draw_controls(picture, panel, &alone);
                draw_panel(picture, panel, &curves, &ratios);
            },
        )
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes: remarks(result, &groups),
        ..Sheet::default()
    })
}

/// The fitted curves, or bare groups of runs when no law was fitted.
fn groups(result: &AnalysisResult, runs: &[&Observed]) -> Vec<LossCurve> {
    if !result.curves.is_empty() {
        return result.curves.clone();
    }
    let mut groups = Vec::new();
    for params in levels(runs.iter().map(|run| run.params), 0.05) {
        for declared_ratio in levels(runs.iter().map(|run| run.declared_ratio), 1e-6) {
            let here = runs.iter().filter(|run| {
                (run.params / params).ln().abs() < 0.05
                    && (run.declared_ratio / declared_ratio - 1.0).abs() < 1e-6
            });
            let here: Vec<_> = here
                .map(|run| (run.share, run.loss, run.id.clone()))
                .collect();
            if !here.is_empty() {
                groups.push(LossCurve {
                    params,
                    declared_ratio,
                    ratio: declared_ratio,
                    tokens: runs[0].tokens,
                    points: Vec::new(),
                    runs: here,
                });
            }
        }
    }
    groups
}

/// The range of the curves within the sampled P and of the runs.
fn losses(groups: &[&LossCurve]) -> Option<[f64; 2]> {
    let shares = range(groups.iter().flat_map(|g| g.runs.iter().map(|run| run.0)))?;
    // Outside of them a law may rise beyond everything that was measured.
    let [low, high] = roomy(shares, 0.02);
    range(groups.iter().flat_map(|g| {
        let curve = g
            .points
            .iter()
            .filter(|p| p.share >= low && p.share <= high);
        curve
            .map(|p| p.loss)
            .chain(g.runs.iter().map(|run| run.1))
            .collect::<Vec<_>>()
    }))
}

/// P and loss of the controls of the runs of these curves: each belongs to the runs whose token level
/// it is, and stands at their P.
fn controls(result: &AnalysisResult, groups: &[&LossCurve]) -> Vec<(f64, f64)> {
    let Some(worth) = result.concept_worth.known() else {
        return Vec::new();
    };
    let runs = groups.iter().flat_map(|group| &group.runs);
    let ids: HashSet<&RunId> = runs.map(|(_, _, id)| id).collect();
    let own = worth.runs.iter().filter(|worth| ids.contains(&worth.run));
    let mut found: Vec<(f64, f64)> = own.map(|run| (run.share, run.control_loss)).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    // The runs of all R share one.
    found.dedup();
    found
}

/// Draws every control, and a line through their means at each P.
fn draw_controls(picture: &mut Picture, panel: &Panel, controls: &[(f64, f64)]) {
    let shares = levels(controls.iter().map(|control| 1.0 + control.0), 0.02);
    let means = shares.into_iter().map(|share| {
        let here = controls
            .iter()
            .filter(|control| ((1.0 + control.0) / share).ln().abs() < 0.02);
        let losses: Vec<f64> = here.map(|control| control.1).collect();
        (
            share - 1.0,
            losses.iter().sum::<f64>() / losses.len() as f64,
        )
    });
    let line: Vec<(f64, f64)> = means.collect();
    let style = TOKEN_ONLY;
    panel.curve(picture, &line, 1.6, style.dash, style.colour, 1.0);
    for &control in controls {
        panel.mark(picture, control, style.mark, 4.0, style.colour);
    }
}

fn draw_panel(picture: &mut Picture, panel: &Panel, curves: &[LossCurve], ratios: &[f64]) {
    let place = |curve: &LossCurve| {
        let near = |r: &f64| (r / curve.declared_ratio - 1.0).abs() < 1e-6;
        ratios.iter().position(near).unwrap_or(0)
    };
    let style = |curve: &LossCurve| series(place(curve));
    for curve in curves {
        let band: Vec<(f64, f64, f64)> = curve
            .points
            .iter()
            .filter_map(|p| p.interval.map(|[low, high]| (p.share, low, high)))
            .collect();
        panel.band(picture, &band, style(curve).colour, 0.14);
    }
    for curve in curves {
        let line: Vec<(f64, f64)> = curve.points.iter().map(|p| (p.share, p.loss)).collect();
        let style = style(curve);
        panel.curve(picture, &line, 2.0, style.dash, style.colour, 1.0);
    }
    for curve in curves {
        let style = style(curve);
        for (share, loss, _) in &curve.runs {
            let at = panel.beside((*share, *loss), place(curve), ratios.len());
            panel.mark(picture, at, style.mark, 3.8, style.colour);
        }
    }
}

fn remarks(result: &AnalysisResult, groups: &[LossCurve]) -> Vec<String> {
    let tokens = groups.first().map_or(0.0, |group| group.tokens);
    let mut words = vec![format!(
        "R: tokens per concept. D = {} training tokens. Each marker is one run.",
        short(tokens)
    )];
    if groups
        .iter()
        .any(|g| g.declared_ratio != groups[0].declared_ratio)
    {
        words[0].push_str(" At one P those of different R stand side by side.");
    }
    if let Some(worth) = result.concept_worth.known() {
        words.push(format!("{}.", worth_in_words(worth)));
    }
    if let Some(noise) = &result.seed_noise {
        words[0].push_str(&format!(
            " Seeds alone move the loss by {:.3} nats (standard deviation).",
            noise.nats
        ));
    }
    let report = match &result.dlcm {
        LawOutcome::Fitted(report) => report,
        LawOutcome::CannotFit { why } => {
            words.push(format!("No law is fitted: {why}."));
            return words;
        }
    };
    let band = match report.uncertainty {
        Uncertainty::None | Uncertainty::Profiles => "no intervals were asked for",
        Uncertainty::Signs { .. } => "bands: 95% interval of the law, from resampled residuals",
        Uncertainty::Runs { .. } => "bands: 95% interval of the law, from resampled runs",
        Uncertainty::Noise { .. } => "bands: 95% interval of the law, from refits with fresh noise",
    };
    let reduced = if report.form.is_reduced() {
        "Eq. 22, reduced"
    } else {
        "Eq. 22"
    };
    let r2 = report
        .r2
        .map_or_else(String::new, |r2| format!(", R² = {r2:.3}"));
    words[0].push_str(&format!(" Curves: {reduced}{r2}; {band}."));
    let wide = groups
        .iter()
        .filter(|group| interval_exceeds_effect(group))
        .count();
    if wide > 0 {
        words.push(format!(
            "In {wide} of {} curves the interval is wider than the whole effect of P: these runs \
             do not show which P is best.",
            groups.len()
        ));
    }
    let loud = result.warnings.iter().filter(|warning| warning.is_loud());
    words.extend(loud.map(|warning| {
        let warning = warning.to_string();
        let end = if warning.ends_with('?') { "" } else { "." };
        format!("Warning: {warning}{end}")
    }));
    words
}

/// Says whether the band, within the sampled P, is wider than the curve's fall and rise.
fn interval_exceeds_effect(curve: &LossCurve) -> bool {
    let Some([low, high]) = range(curve.runs.iter().map(|run| run.0)) else {
        return false;
    };
    let inside = curve
        .points
        .iter()
        .filter(|p| p.share >= low - 0.02 && p.share <= high + 0.02);
    let inside: Vec<_> = inside.collect();
    let mut widths: Vec<f64> = inside
        .iter()
        .filter_map(|p| p.interval.map(|[low, high]| high - low))
        .collect();
    widths.sort_by(f64::total_cmp);
    let (Some(width), Some([least, most])) = (
        widths.get(widths.len() / 2),
        range(inside.iter().map(|p| p.loss)),
    ) else {
        return false;
    };
    *width > most - least
}

#[cfg(test)]
mod tests {
    use super::super::size::Size;
    use super::*;
    use experiment::grid::Analysis;
    use experiment::quantity::Draws;
    use scaling_law::analysis::simulated;

    #[test]
    fn a_grid_that_cannot_be_fitted_says_so() {
        let runs = &simulated::QUICK.runs()[..3];
        let result = simulated::analysed(runs, &Analysis::default());
        let words = sheet(&result).expect("drawn").picture(Size::Page).words();
        assert!(words.contains("No law is fitted"), "{words}");
    }

    #[test]
    fn noise_that_hides_the_effect_is_named() {
        let grid = simulated::Grid {
            noise: 0.1,
            ..simulated::QUICK
        };
        let settings = Analysis {
            bootstrap: Draws::from(40),
            ..Analysis::default()
        };
        let result = simulated::analysed(&grid.runs(), &settings);
        let words = sheet(&result).expect("drawn").picture(Size::Page).words();
        assert!(words.contains("wider than the whole effect"), "{words}");
    }
}
