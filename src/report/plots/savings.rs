//! FLOPs saved against the size of the dense baseline: a panel for every R.

use super::panel::{Axis, Panel, notes, range, short};
use super::picture::{Align, Dash, Picture};
use super::style::{BEYOND, GREY, INK, LABEL, SMALL, WIDTH, series};
use crate::analysis::{AnalysisResult, LawOutcome, Maybe, SavingCurve, SavingPoint, Savings};

/// Savings are shown down to here: twice the FLOPs of the dense model.
const LOWEST: f64 = -100.0;

const COLUMNS: usize = 3;

pub(super) fn picture(result: &AnalysisResult) -> Result<Picture, String> {
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
    let columns = savings.curves.len().clamp(1, COLUMNS);
    let rows = savings.curves.len().div_ceil(COLUMNS).max(1);
    let (left, gap, top, tall) = (82.0, 50.0, 40.0, 270.0);
    let mut picture = Picture::new(WIDTH, top + rows as f64 * (tall + 60.0) + 60.0);
    let width = ((WIDTH - left - 20.0 - gap * (columns - 1) as f64) / columns as f64).min(420.0);
    for (k, curve) in savings.curves.iter().enumerate() {
        let start = left + (k % COLUMNS) as f64 * (width + gap);
        let panel_top = top + (k / COLUMNS) as f64 * (tall + 60.0);
        let panel = Panel {
            left: start,
            top: panel_top,
            right: start + width,
            bottom: panel_top + tall,
            x: x.clone(),
            y: y.clone(),
        };
        draw_panel(&mut picture, &panel, curve, savings, k);
        panel.frame(&mut picture, false, k % COLUMNS == 0);
        panel.title(
            &mut picture,
            &format!("R = {}", short(curve.declared_ratio)),
        );
    }
    let below = top + (rows - 1) as f64 * (tall + 60.0) + tall;
    let middle = left + 0.5 * (columns as f64 * (width + gap) - gap);
    picture.text((middle, below + 36.0), &x.label, LABEL, Align::Middle, INK);
    let words = remarks(result, savings);
    let end = notes(
        &mut picture,
        (left, below + 62.0),
        WIDTH - left - 20.0,
        &words,
    );
    picture.height = end + 6.0;
    Ok(picture)
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
    let (beyond, _) = panel.at(panel.x.clamp(end), panel.y.low);
    picture.fill((beyond, panel.top), (panel.right, panel.bottom), BEYOND);
    panel.grid(picture);
    if panel.right - beyond > 90.0 {
        let middle = 0.5 * (beyond + panel.right);
        picture.text(
            (middle, panel.top + 12.0),
            "extrapolated",
            SMALL,
            Align::Middle,
            GREY,
        );
    }
    let zero = [(panel.x.low, 0.0), (panel.x.high, 0.0)];
    panel.curve(picture, &zero, 1.4, Dash::Solid, INK, 1.0);
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
        if panel.holds(point.baseline, saved) {
            picture.mark(
                panel.at(point.baseline, saved),
                style.mark,
                3.6,
                style.colour,
            );
        }
    }
}

fn remarks(result: &AnalysisResult, savings: &Savings) -> Vec<String> {
    let mut words = vec![format!(
        "Against dense models of the same loss, trained on the same D = {} tokens; FLOPs counted \
         as `{}`; training and inference save alike. P is the cheapest at each point. Bands: 95% \
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
