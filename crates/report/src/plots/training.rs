//! Training curves: a panel for every N; run by run, or the mean of all runs of one R.

use super::axis::{Axis, about, range, short};
use super::curve::{Curve, axes, curves, cut_off, read_off, thinned, tokens, with_trunks};
use super::kinds::{Kind, Kinds, kind};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Colour, Dash, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{DASHES, Series};
use campaign::store::RunRecord;
use experiment::architecture::{Architecture, TokenOnly};
use experiment::event::Measurement;
use experiment::run::{RunId, RunOutcome};
use scaling_law::analysis::levels;
use std::collections::{BTreeMap, HashMap};

/// Panels of a figure; more sizes than this are thinned out.
const PANELS: usize = 9;

/// Curves are shown from this share of the shortest one's tokens.
const SHOWN_FROM: f64 = 0.05;

/// Curves of a panel; more runs than this cannot be told apart and are thinned out.
const CURVES: usize = 36;

/// Points of a mean curve.
const POINTS: usize = 80;

/// Draws every run.
pub(super) fn by_run<'a>(
    runs: &'a [RunRecord],
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<Sheet<'a>, String> {
    let curves = curves(runs, measurements)?;
    let (kinds, shares) = (kinds(&curves), Shares::of(&curves));
    // Dashes tell the P of DLCMs apart; what has no P keeps its own.
    let entry = |kind: Kind| {
        let style = kinds.series(kind);
        let dash = kind.ratio().map_or(style.dash, |_| Dash::Solid);
        Entry::both(Series { dash, ..style }, kind.name())
    };
    let mut legend: Vec<Entry> = kinds.all().map(entry).collect();
    legend.extend(shares.entries());
    let words = "Lines: training loss, smoothed over a fiftieth of the run; markers: held-out loss. \
                 The first steps are cut off.";
    let mut notes = vec![words.to_owned()];
    notes.extend(ended_badly(&curves));
    let (x, y) = axes(&curves.iter().collect::<Vec<_>>(), SHOWN_FROM);
    notes.extend(cut_off(&curves, &y));
    let panels = by_size(curves, &mut notes);
    if panels.iter().any(|(_, here)| here.len() > CURVES) {
        notes.push(format!(
            "Of more than {CURVES} runs of a size only some are shown."
        ));
    }
    let charts = panels.into_iter().map(|(size, here)| {
        let (kinds, shares) = (kinds.clone(), shares.clone());
        let here = thinned(here, CURVES);
        chart(size, (&x, &y), move |picture, panel| {
            for curve in &here {
                let kind = kind(curve.run);
                let style = kinds.series(kind);
                let dash = kind.ratio().map_or(style.dash, |_| shares.dash(curve.run));
                let width = if kind.ratio().is_none() { 1.8 } else { 1.3 };
                panel.curve(picture, curve.line(), width, dash, style.colour, 0.75);
                for &at in &curve.held_out {
                    panel.mark(picture, at, style.mark, 2.4, style.colour);
                }
            }
        })
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes,
        ..Sheet::default()
    })
}

/// Draws the mean over the runs of an R, whatever their P and seed, with the range of the runs.
pub(super) fn by_group<'a>(
    runs: &'a [RunRecord],
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<Sheet<'a>, String> {
    let mut curves = with_trunks(curves(runs, measurements)?);
    // A mean over runs of different length would jump where one ends.
    let ends = levels(curves.iter().map(|c| tokens(c.run)), 0.01);
    let longest = ends.last().copied().unwrap_or(0.0);
    let all = curves.len();
    curves.retain(|c| tokens(c.run) > 0.99 * longest);
    let kinds = kinds(&curves);
    let legend = kinds.entries(Entry::both);
    let mut notes = vec![
        "Lines: mean training loss over the runs of one R (all P and seeds), smoothed over a \
         fiftieth of the run; bands: from the lowest to the highest run; markers: mean held-out \
         loss at the end."
            .to_owned(),
    ];
    if curves.len() < all {
        let end = short(longest);
        notes.push(format!(
            "Of {all} runs, the {} of D = {end} tokens.",
            curves.len()
        ));
    }
    let (x, y) = axes(&curves.iter().collect::<Vec<_>>(), SHOWN_FROM);
    let charts = by_size(curves, &mut notes).into_iter().map(|(size, here)| {
        let means = kinds.all().filter_map(|one| {
            let group: Vec<_> = here.iter().filter(|c| kind(c.run) == one).collect();
            Some((kinds.series(one), Mean::of(&group, &x)?))
        });
        let means: Vec<(Series, Mean)> = means.collect();
        chart(size, (&x, &y), move |picture, panel| {
            for (style, mean) in &means {
                panel.band(picture, &mean.band, style.colour, 0.16);
            }
            for (k, (style, mean)) in means.iter().enumerate() {
                // What lies under another shows on both sides of it.
                let width = 1.6 + 0.5 * (means.len() - 1 - k) as f64;
                panel.curve(picture, &mean.line, width, style.dash, style.colour, 1.0);
                if let Some(end) = mean.end {
                    let end = panel.beside(end, k, means.len());
                    panel.mark(picture, end, style.mark, 3.6, style.colour);
                }
            }
        })
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes,
        ..Sheet::default()
    })
}

fn chart<'a>(
    size: f64,
    (x, y): (&Axis, &Axis),
    draw: impl Fn(&mut Picture, &Panel) + 'a,
) -> Chart<'a> {
    let title = format!("N ≈ {}", about(size));
    Chart::new(
        title,
        x.clone(),
        y.clone(),
        move |picture: &mut Picture, panel: &Panel| {
            panel.grid(picture);
            draw(picture, panel);
        },
    )
}

/// Sorts curves by N; of too many sizes it keeps some and says so.
fn by_size<'a>(curves: Vec<Curve<'a>>, notes: &mut Vec<String>) -> Vec<(f64, Vec<Curve<'a>>)> {
    let own = sizes(&curves);
    let all = levels(own.iter().copied(), 0.05);
    let every = all.len().div_ceil(PANELS).max(1);
    let mut sizes: Vec<f64> = all.iter().rev().step_by(every).copied().collect();
    sizes.reverse();
    if sizes.len() < all.len() {
        notes.push(format!("{} of {} sizes are shown.", sizes.len(), all.len()));
    }
    let mut panels: Vec<(f64, Vec<Curve<'a>>)> =
        sizes.into_iter().map(|size| (size, Vec::new())).collect();
    for (curve, size) in curves.into_iter().zip(own) {
        let near = |panel: &&mut (f64, Vec<Curve<'a>>)| (size / panel.0).ln().abs() < 0.05;
        if let Some((_, here)) = panels.iter_mut().find(near) {
            here.push(curve);
        }
    }
    panels
}

fn architecture(run: &RunRecord) -> Option<&Architecture> {
    run.spec.model().map(|spec| &spec.architecture)
}

/// N of a run; one of which nobody has said it stands by itself.
fn params(run: &RunRecord) -> f64 {
    run.params.map_or(0.0, |params| params as f64)
}

/// The N in whose panel each curve stands: its own, but a token level alone stands beside the model
/// whose token level it is.
fn sizes(curves: &[Curve<'_>]) -> Vec<f64> {
    let mut whole: HashMap<TokenOnly, f64> = HashMap::new();
    for Curve { run, .. } in curves {
        if let Some(Architecture::Dlcm(dlcm)) = architecture(run) {
            let size = params(run);
            whole.entry(dlcm.token_level()).or_insert(size);
        }
    }
    let size = |curve: &Curve<'_>| {
        let of_whole = match architecture(curve.run) {
            Some(Architecture::TokenOnly(level)) => whole.get(level).copied(),
            _ => None,
        };
        of_whole.unwrap_or(params(curve.run))
    };
    curves.iter().map(size).collect()
}

/// The mean of curves on their common stretch.
struct Mean {
    line: Vec<(f64, f64)>,
    /// The lowest and the highest curve.
    band: Vec<(f64, f64, f64)>,
    /// Mean held-out loss at the end.
    end: Option<(f64, f64)>,
}

impl Mean {
    fn of(curves: &[&Curve<'_>], x: &Axis) -> Option<Self> {
        let last = curves
            .iter()
            .map(|c| c.last())
            .fold(f64::INFINITY, f64::min);
        let (mut line, mut band) = (Vec::new(), Vec::new());
        for k in 0..POINTS {
            let share = k as f64 / (POINTS - 1) as f64;
            // A hair before the end, which rounding may put behind the last point.
            let tokens = x.low * (0.999_999 * last / x.low).powf(share);
            let losses = curves.iter().map(|c| read_off(c.line(), tokens));
            let Some(losses) = losses.collect::<Option<Vec<f64>>>() else {
                continue;
            };
            let [low, high] = range(losses.iter().copied())?;
            line.push((tokens, losses.iter().sum::<f64>() / losses.len() as f64));
            band.push((tokens, low, high));
        }
        let ends: Vec<f64> = curves
            .iter()
            .filter_map(|c| c.held_out.last().map(|end| end.1))
            .collect();
        let end = (!ends.is_empty()).then(|| (last, ends.iter().sum::<f64>() / ends.len() as f64));
        (line.len() > 1 || end.is_some()).then_some(Self { line, band, end })
    }
}

fn kinds(curves: &[Curve<'_>]) -> Kinds {
    Kinds::of(curves.iter().map(|curve| kind(curve.run)))
}

/// The values of P, which dashes tell apart.
#[derive(Clone)]
struct Shares(Vec<f64>);

impl Shares {
    fn of(curves: &[Curve<'_>]) -> Self {
        let dlcm = curves.iter().filter(|c| kind(c.run).ratio().is_some());
        Self(levels(dlcm.map(|c| c.run.concept_share), 0.05))
    }

    /// The dash of a DLCM.
    fn dash(&self, run: &RunRecord) -> Dash {
        let near = |share: &f64| (share / run.concept_share - 1.0).abs() <= 0.06;
        let place = self.0.iter().position(near);
        DASHES[place.unwrap_or(0) % DASHES.len()]
    }

    fn entries(&self) -> Vec<Entry> {
        if self.0.len() < 2 {
            return Vec::new();
        }
        let grey = Colour(0x55, 0x55, 0x55);
        // More shares than dashes cannot be told apart.
        let dashes = self.0.iter().zip(DASHES);
        dashes
            .enumerate()
            .map(|(k, (share, dash))| {
                let whose = if k == 0 { "DLCMs of " } else { "" };
                Entry::line(grey, dash, format!("{whose}P = {share:.1}"))
            })
            .collect()
    }
}

/// Counts the runs that did not end as they should.
fn ended_badly(curves: &[Curve<'_>]) -> Option<String> {
    let broken = curves.iter().filter(|c| {
        c.run
            .outcome
            .is_some_and(|o| !matches!(o, RunOutcome::Finished | RunOutcome::Interrupted))
    });
    match broken.count() {
        0 => None,
        1 => Some("1 of these runs did not end well.".to_owned()),
        count => Some(format!("{count} of these runs did not end well.")),
    }
}
