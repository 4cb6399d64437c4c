//! FLOPs saved against the size of the dense baseline: a panel for every R.

use super::axis::{Axis, range, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{BEYOND, INK, SHADE, series};
use crate::analysis::{AnalysisResult, LawOutcome, Maybe, SavingCurve, SavingPoint, Savings};

/// Savings are shown down to here: twice the FLOPs of the dense model.
const LOWEST: f64 = -100.0;

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let savings = match &result.savings {
        Maybe::Known(savings) => savings,
        Maybe::Unknown(why) => return Err(why.clone()),
    };
    let points = || savings.curves.iter().flat_map(|curve| &curve.points);
    let shown = points()
        .filter_map(|p| p.training)
        .chain(points().flat_map(|p| {
            // An end out of reach has no value; the others stretch the axis.
            p.interval.into_iter().flatten()
        }));
    let Some([low, high]) = range(shown.map(|share| 100.0 * share)) else {
        return Err("no DLCM of the fitted law reaches the loss of any dense baseline".to_owned());
    };
    let low = low.clamp(LOWEST, -10.0);
    let high = high.clamp(10.0, 100.0);
    let sizes = range(points().map(|p| p.baseline)).unwrap_or([1.0, 10.0]);
    let sizes = [sizes[0] / 1.15, sizes[1] * 1.15];
    let x = Axis::log("N of the dense baseline (non-embedding parameters)", sizes);
    let y = Axis::linear("FLOPs saved at equal loss (%)", [low - 4.0, high + 4.0]);
    let charts = savings.curves.iter().enumerate().map(|(k, curve)| {
        Chart::new(
            format!("R = {}", short(curve.declared_ratio)),
            x.clone(),
            y.clone(),
            move |picture: &mut Picture, panel: &Panel| {
                draw_panel(picture, panel, curve, savings, k);
            },
        )
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend: vec![Entry::mark(
            SHADE,
            Mark::Square,
            "beyond the trained baselines",
        )],
        notes: remarks(result, savings),
        aside: 0.0,
    })
}

fn draw_panel(
    picture: &mut Picture,
    panel: &Panel,
    curve: &SavingCurve,
    savings: &Savings,
    k: usize,
) {
    let style = series(k);
    let end = savings.trained[1];
    panel.stripe(picture, [end, panel.x.high], BEYOND);
    panel.grid(picture);
    panel.level(picture, 0.0, 1.4, Dash::Solid, INK);
    // An end out of reach is a saving without bound on that side.
    let band: Vec<(f64, f64, f64)> = curve
        .points
        .iter()
        .filter(|p| p.interval != [None, None])
        .map(|p| {
            let [low, high] = p.interval;
            let percent = |end: Option<f64>, none: f64| end.map_or(none, |v| 100.0 * v);
            (p.baseline, percent(low, -1e9), percent(high, 100.0))
        })
        .collect();
    panel.band(picture, &band, style.colour, 0.16);
    let line = |from: f64, to: f64| -> Vec<(f64, f64)> {
        let inside = curve
            .points
            .iter()
            .filter(|p| p.baseline >= from && p.baseline <= to);
        inside
            .map(|p| (p.baseline, p.training.map_or(f64::NAN, |v| 100.0 * v)))
            .collect()
    };
    let trained = curve.points.iter().filter(|p| p.baseline <= end * 1.03);
    let last = trained.map(|p| p.baseline).fold(0.0, f64::max);
    panel.curve(
        picture,
        &line(0.0, last * 1.001),
        2.2,
        Dash::Solid,
        style.colour,
        1.0,
    );
    panel.curve(
        picture,
        &line(last * 0.999, f64::INFINITY),
        2.2,
        Dash::Dashed,
        style.colour,
        1.0,
    );
    for point in &curve.points {
        let Some(saved) = point.training.map(|v| 100.0 * v) else {
            continue;
        };
        let at = (point.baseline, saved);
        panel.mark(picture, at, style.mark, 3.6, style.colour);
    }
}

fn remarks(result: &AnalysisResult, savings: &Savings) -> Vec<String> {
    let mut words = vec![format!(
        "Against dense models of the same loss, trained on the same D = {} tokens; FLOPs counted \
         as “{}”; training and inference save alike. P is the cheapest at each point. Bands: 95% \
         intervals; a band that leaves the panel goes on below it. Dashed: beyond the trained \
         baselines ({} to {}).",
        short(savings.tokens),
        savings.convention,
        short(savings.trained[0]),
        short(savings.trained[1]),
    )];
    let points = || savings.curves.iter().flat_map(|curve| &curve.points);
    let inside: Vec<&SavingPoint> = points()
        .filter(|p| p.baseline <= savings.trained[1] * 1.03)
        .collect();
    let known = |points: &[&SavingPoint]| points.iter().filter(|p| p.sign_is_known()).count();
    let (certain, all) = (known(&inside), inside.len());
    let everything: Vec<&SavingPoint> = points().collect();
    if certain == 0 {
        words.push(
            "Nowhere within the trained baselines does the interval exclude zero: these runs do \
             not show whether a DLCM saves FLOPs."
                .to_owned(),
        );
    } else if certain < all {
        words.push(format!(
            "Within the trained baselines the interval excludes zero at {certain} of {all} points."
        ));
    } else if known(&everything) < everything.len() {
        words.push(
            "Within the trained baselines every interval excludes zero; beyond them not all do."
                .to_owned(),
        );
    }
    if let LawOutcome::Fitted(report) = &result.dense
        && matches!(report.form, crate::analysis::LawForm::DenseSharedFloor)
    {
        words.push(format!(
            "The dense law has {} runs: its floor E is taken over from the DLCM law.",
            report.runs
        ));
    }
    words
}
