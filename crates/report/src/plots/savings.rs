//! FLOPs saved against the size of the dense baseline: a panel for every R.

use super::axis::{Axis, range, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{BEYOND, GREY, INK, SHADE, Series, series};
use experiment::architecture::ModelKind;
use scaling_law::analysis::{
    AnalysisResult, Attribution, LawOutcome, Maybe, SavingCurve, SavingPoint, Savings,
};

/// Savings are shown down to here: twice the FLOPs of the dense model.
const LOWEST: f64 = -100.0;

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let (savings, against) = match (&result.savings, &result.control_savings) {
        (Maybe::Known(savings), _) => (savings, ModelKind::Dense),
        (Maybe::Unknown(_), Maybe::Known(savings)) => (savings, ModelKind::TokenOnly),
        (Maybe::Unknown(why), Maybe::Unknown(_)) => return Err(why.clone()),
    };
    let attribution = result.attribution();
    let points = || savings.curves.iter().flat_map(|curve| &curve.points);
    let parts = || points().filter_map(|point| point.parts.as_ref());
    let shown = points()
        .filter_map(|p| p.training)
        .chain(points().flat_map(|p| {
            // An end out of reach has no value; the others stretch the axis.
            p.interval.into_iter().flatten()
        }))
        .chain(parts().filter_map(|parts| parts.against_control));
    let Some([low, high]) = range(shown.map(|share| 100.0 * share)) else {
        return Err("no DLCM of the fitted law reaches the loss of any dense baseline".to_owned());
    };
    let low = low.clamp(LOWEST, -10.0);
    let high = high.clamp(10.0, 100.0);
    let sizes = range(points().map(|p| p.baseline)).unwrap_or([1.0, 10.0]);
    let sizes = [sizes[0] / 1.15, sizes[1] * 1.15];
    let label = match against {
        ModelKind::TokenOnly => "N of the token level alone (non-embedding parameters)",
        _ => "N of the dense baseline (non-embedding parameters)",
    };
    let x = Axis::log(label, sizes);
    let y = Axis::linear("FLOPs saved at equal loss (%)", [low - 4.0, high + 4.0]);
    let own = attribution.may_be_claimed();
    let charts = savings.curves.iter().enumerate().map(|(k, curve)| {
        Chart::new(
            format!("R = {}", short(curve.declared_ratio)),
            x.clone(),
            y.clone(),
            move |picture: &mut Picture, panel: &Panel| {
                draw_panel(picture, panel, curve, savings, style(k, own));
            },
        )
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend: legend(own, parts().next().is_some(), has_beyond(savings)),
        notes: remarks(result, &attribution, (savings, against)),
        heading: Some(attribution.title()),
        ..Sheet::default()
    })
}

/// Says whether a baseline is no larger than those that were trained, whose N differ a little from
/// those that were asked for.
fn was_trained(savings: &Savings, baseline: f64) -> bool {
    baseline <= savings.trained[1] * 1.03
}

/// The intervals along a curve; an end out of reach is a saving without bound on that side.
fn band(
    curve: &SavingCurve,
    interval: impl Fn(&SavingPoint) -> Option<[Option<f64>; 2]>,
) -> Vec<(f64, f64, f64)> {
    let ends = curve.points.iter().filter_map(|point| {
        let [low, high] = interval(point).filter(|ends| *ends != [None, None])?;
        let percent = |end: Option<f64>, none: f64| end.map_or(none, |v| 100.0 * v);
        Some((point.baseline, percent(low, -1e9), percent(high, 100.0)))
    });
    ends.collect()
}

fn draw_panel(
    picture: &mut Picture,
    panel: &Panel,
    curve: &SavingCurve,
    savings: &Savings,
    style: Series,
) {
    if has_beyond(savings) {
        panel.stripe(picture, [savings.trained[1], panel.x.high], BEYOND);
    }
    panel.grid(picture);
    panel.level(picture, 0.0, 1.4, Dash::Solid, INK);
    panel.band(
        picture,
        &band(curve, |p| Some(p.interval)),
        style.colour,
        0.16,
    );
    let of_concepts = |p: &SavingPoint| Some(p.parts.as_ref()?.against_control_interval);
    // Beyond the trained baselines two wide bands would hide each other.
    let mut inside = band(curve, of_concepts);
    inside.retain(|(baseline, ..)| was_trained(savings, *baseline));
    panel.band(picture, &inside, INK, 0.1);
    let line = |from: f64, to: f64| -> Vec<(f64, f64)> {
        let inside = curve
            .points
            .iter()
            .filter(|p| p.baseline >= from && p.baseline <= to);
        inside
            .map(|p| (p.baseline, p.training.map_or(f64::NAN, |v| 100.0 * v)))
            .collect()
    };
    let points = curve.points.iter();
    let trained = points.filter(|p| was_trained(savings, p.baseline));
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
    let against_control = curve.points.iter().map(|point| {
        let parts = point.parts.as_ref();
        let saved = parts.and_then(|parts| parts.against_control);
        (point.baseline, saved.map_or(f64::NAN, |v| 100.0 * v))
    });
    let against_control: Vec<(f64, f64)> = against_control.collect();
    panel.curve(picture, &against_control, 1.8, Dash::Dotted, INK, 1.0);
    for point in &curve.points {
        let Some(saved) = point.training.map(|v| 100.0 * v) else {
            continue;
        };
        let at = (point.baseline, saved);
        panel.mark(picture, at, style.mark, 3.6, style.colour);
    }
}

/// How a curve against dense models is drawn: in grey where the saving is not the concepts'.
fn style(k: usize, own: bool) -> Series {
    let colour = if own { series(k).colour } else { GREY };
    Series {
        colour,
        ..series(k)
    }
}

/// Names the models that DLCMs are compared with.
fn named(against: ModelKind) -> &'static str {
    match against {
        ModelKind::TokenOnly => "token levels alone",
        _ => "dense models",
    }
}

/// Says whether a curve goes beyond the baselines that were trained.
fn has_beyond(savings: &Savings) -> bool {
    let mut points = savings.curves.iter().flat_map(|curve| &curve.points);
    points.any(|point| !was_trained(savings, point.baseline))
}

fn legend(own: bool, divided: bool, beyond: bool) -> Vec<Entry> {
    let mut entries = Vec::new();
    if divided || !own {
        let dense = Series {
            dash: Dash::Solid,
            ..style(0, own)
        };
        entries.push(Entry::both(dense, "against dense models"));
    }
    if divided {
        let alone = ModelKind::TokenOnly.label();
        let text = format!("against the {alone}, at the same loss");
        entries.push(Entry::line(INK, Dash::Dotted, text));
    }
    if beyond {
        entries.push(Entry::mark(
            SHADE,
            Mark::Square,
            "beyond the trained baselines",
        ));
    }
    entries
}

fn remarks(
    result: &AnalysisResult,
    attribution: &Attribution,
    (savings, against): (&Savings, ModelKind),
) -> Vec<String> {
    let baseline = named(against);
    let dashed = if has_beyond(savings) {
        "; dashed: beyond them"
    } else {
        ""
    };
    let mut words = vec![format!("{}.", attribution.words)];
    words.push(format!(
        "Against {baseline} of the same loss, trained on the same D = {} tokens; FLOPs counted \
         as “{}”; training and inference save alike. P is the cheapest at each point. Bands: 95% \
         intervals; a band that leaves the panel goes on below it. Trained baselines: {} to {}\
         {dashed}.",
        short(savings.tokens),
        savings.convention,
        short(savings.trained[0]),
        short(savings.trained[1]),
    ));
    let points = || savings.curves.iter().flat_map(|curve| &curve.points);
    let inside: Vec<&SavingPoint> = points()
        .filter(|p| was_trained(savings, p.baseline))
        .collect();
    let known = |points: &[&SavingPoint]| points.iter().filter(|p| p.sign_is_known()).count();
    let (certain, all) = (known(&inside), inside.len());
    let everything: Vec<&SavingPoint> = points().collect();
    if !attribution.may_be_claimed() {
        words.push(format!(
            "Grey: what DLCMs need less than {baseline} of their loss, which is not the concepts'."
        ));
    } else if certain == 0 {
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
    let laws = [("dense", &result.dense), ("control", &result.control)];
    for (name, law) in laws {
        if let LawOutcome::Fitted(report) = law
            && matches!(
                report.form,
                scaling_law::analysis::LawForm::DenseSharedFloor
            )
        {
            words.push(format!(
                "The {name} law has {} runs: its floor E is taken over from the DLCM law.",
                report.runs
            ));
        }
    }
    words
}
