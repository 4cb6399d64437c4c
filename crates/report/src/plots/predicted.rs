//! Predicted against measured loss, with the runs that were held out; and what the laws leave.

use super::axis::{Axis, range, roomy};
use super::kinds::{Kinds, observed_kind};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{BEYOND, GREY, INK, RED};
use scaling_law::analysis::{AnalysisResult, LawReport, Observed, Predicted, levels};

/// A run with what its law predicts.
type Judged<'a> = (&'a Observed, &'a Predicted);

/// The fitted laws with their runs.
fn laws(result: &AnalysisResult) -> Result<Vec<(&'static str, &LawReport)>, String> {
    let laws = [
        ("DLCM law", &result.dlcm),
        ("dense law", &result.dense),
        ("control law", &result.control),
    ];
    let fitted = laws.map(|(name, outcome)| Some((name, outcome.report()?)));
    let fitted: Vec<_> = fitted.into_iter().flatten().collect();
    if fitted.is_empty() {
        Err("no law is fitted".to_owned())
    } else {
        Ok(fitted)
    }
}

fn judged<'a>(result: &'a AnalysisResult, predicted: &'a [Predicted]) -> Vec<Judged<'a>> {
    let find = |one: &'a Predicted| Some((result.runs.iter().find(|run| run.id == one.run)?, one));
    predicted.iter().filter_map(find).collect()
}

/// Draws predicted against measured loss, a panel for each law.
pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let laws = laws(result)?;
    let kinds = Kinds::of(result.runs.iter().map(observed_kind));
    let mut legend = kinds.entries(|style, text| Entry::mark(style.colour, style.mark, text));
    let mut notes = vec![
        "On the line the law predicts what was measured; the grey band is the law's root mean \
         square error."
            .to_owned(),
    ];
    let held_out = laws.iter().flat_map(|(_, law)| &law.held_out);
    match held_out.count() {
        0 => notes.push("No run is held out: too few are left to fit.".to_owned()),
        count => {
            legend.push(Entry::hollow(RED, Mark::Diamond, "held out"));
            notes.push(format!(
                "Held out: the {count} runs of most N·D, also predicted by a fit to the others."
            ));
        }
    }
    let charts = laws.into_iter().filter_map(|(name, law)| {
        let all = law.predicted.iter().chain(&law.held_out);
        let losses = all.flat_map(|one| [one.observed, one.predicted]);
        let losses = range(losses)?;
        let fitted = judged(result, &law.predicted);
        let kinds = kinds.clone();
        let rms = law.rms_residual;
        let draw = move |picture: &mut Picture, panel: &Panel| {
            let ends = [panel.x.low, panel.x.high];
            if rms.is_finite() {
                let along = (0..=40).map(|k| ends[0] + (ends[1] - ends[0]) * f64::from(k) / 40.0);
                let band: Vec<_> = along
                    .map(|v| (v, v * (-rms).exp(), v * rms.exp()))
                    .collect();
                panel.band(picture, &band, GREY, 0.15);
            }
            panel.grid(picture);
            let diagonal = ends.map(|v| (v, v));
            panel.curve(picture, &diagonal, 1.2, Dash::Solid, GREY, 1.0);
            for (run, one) in &fitted {
                let style = kinds.series(observed_kind(run));
                let at = (one.observed, one.predicted);
                panel.mark(picture, at, style.mark, 3.4, style.colour);
            }
            for one in &law.held_out {
                if panel.holds(one.observed, one.predicted) {
                    let at = panel.at(one.observed, one.predicted);
                    picture.outline(at, Mark::Diamond, 5.5, RED);
                }
            }
        };
        let r2 = law.r2.map_or(String::new(), |r2| format!(", R² = {r2:.3}"));
        Some(Chart::new(
            format!("{name}{r2}"),
            Axis::losses("Measured loss (nats per token)", losses, 0.06),
            Axis::losses("Predicted loss (nats per token)", losses, 0.06),
            draw,
        ))
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes,
        ..Sheet::default()
    })
}

/// A quantity that residuals are drawn against.
type Quantity = (&'static str, bool, fn(&Judged) -> Option<f64>);

const QUANTITIES: [Quantity; 5] = [
    ("Fitted loss (nats per token)", false, |(_, one)| {
        Some(one.predicted)
    }),
    ("N (non-embedding parameters)", true, |(run, _)| {
        Some(run.params)
    }),
    ("D (training tokens)", true, |(run, _)| Some(run.tokens)),
    ("Realised R (tokens per concept)", true, |(run, _)| {
        run.has_concepts().then_some(run.ratio)
    }),
    ("Concept share P", false, |(run, _)| {
        run.has_concepts().then_some(run.share)
    }),
];

/// Draws what the laws leave against fitted loss, N, D, R and P.
pub(super) fn residuals(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let laws = laws(result)?;
    let rows: Vec<Judged<'_>> = laws
        .iter()
        .flat_map(|(_, law)| judged(result, &law.predicted))
        .collect();
    let residual = |(_, one): &Judged<'_>| 100.0 * (one.observed / one.predicted - 1.0);
    let Some([low, high]) = range(rows.iter().map(residual)) else {
        return Err("no residual is a number".to_owned());
    };
    let noise = result.seed_noise.map(|noise| 100.0 * noise.log);
    let reach = 1.1
        * low
            .abs()
            .max(high.abs())
            .max(noise.unwrap_or(0.0))
            .max(1e-3);
    let y = Axis::linear("Above fitted loss (%)", [-reach, reach]);
    let kinds = Kinds::of(rows.iter().map(|(run, _)| observed_kind(run)));
    let charts = QUANTITIES.into_iter().filter_map(|(label, log, value)| {
        let ends = range(rows.iter().filter_map(value))?;
        // Against a quantity that all runs share there is nothing to see.
        (levels(rows.iter().filter_map(value), 0.03).len() > 1).then_some(())?;
        let x = if log {
            let room = (ends[1] / ends[0]).powf(0.06);
            Axis::log(label, [ends[0] / room, ends[1] * room])
        } else {
            Axis::linear(label, roomy(ends, 0.06))
        };
        let (rows, kinds) = (rows.clone(), kinds.clone());
        let draw = move |picture: &mut Picture, panel: &Panel| {
            if let Some(noise) = noise {
                let band = [panel.x.low, panel.x.high].map(|x| (x, -noise, noise));
                panel.band(picture, &band, BEYOND, 1.0);
            }
            panel.grid(picture);
            panel.level(picture, 0.0, 1.2, Dash::Solid, INK);
            for row in &rows {
                let Some(x) = value(row) else {
                    continue;
                };
                let style = kinds.series(observed_kind(row.0));
                panel.mark(picture, (x, residual(row)), style.mark, 3.0, style.colour);
            }
        };
        Some(Chart::new("", x, y.clone(), draw))
    });
    let charts: Vec<Chart<'_>> = charts.collect();
    if charts.is_empty() {
        return Err("all runs are of one setting".to_owned());
    }
    let mut notes = vec![
        "Measured loss above the fitted one, run by run. A trend within a panel is what the law \
         does not know."
            .to_owned(),
    ];
    notes.push(match &result.seed_noise {
        Some(seeds) => format!(
            "Grey band: one standard deviation between seeds, from {} runs of {} settings.",
            seeds.runs, seeds.settings
        ),
        None => "No setting was run with two seeds, so their noise is not known.".to_owned(),
    });
    Ok(Sheet {
        charts,
        legend: kinds.entries(|style, text| Entry::mark(style.colour, style.mark, text)),
        notes,
        ..Sheet::default()
    })
}
