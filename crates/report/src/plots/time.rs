//! Measured time against FLOPs, and the throughput that it means.

use super::axis::{Axis, range};
use super::kinds::{Kind, Kinds, kind};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Align, Dash, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{GREY, SMALL};
use campaign::store::RunRecord;
use experiment::event::Measurement;
use experiment::run::RunId;
use std::collections::BTreeMap;

/// What a run took.
#[derive(Clone)]
struct Timed {
    kind: Kind,
    params: f64,
    flops: f64,
    seconds: f64,
}

pub(super) fn sheet<'a>(
    runs: &'a [RunRecord],
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<Sheet<'a>, String> {
    let timed = runs.iter().filter_map(|run| {
        let rows = measurements.get(&run.id)?;
        let seconds_per_token = seconds_per_token(rows)?;
        let own = run.spec.model().map(|spec| spec.own_tokens() as f64);
        let whole = run.tokens? as f64;
        let tokens = own.unwrap_or(whole);
        let timed = Timed {
            kind: kind(run),
            params: run.params? as f64,
            flops: run.planned_flops? / whole * tokens,
            seconds: seconds_per_token * tokens,
        };
        (timed.flops > 0.0 && timed.seconds > 0.0).then_some(timed)
    });
    let timed: Vec<Timed> = timed.collect();
    let widened = |values: Option<[f64; 2]>| values.map(|[low, high]| [low / 1.4, high * 1.4]);
    let column = |value: fn(&Timed) -> f64| widened(range(timed.iter().map(value)));
    let rate = |run: &Timed| run.flops / run.seconds;
    let (Some(flops), Some(seconds), Some(params), Some(rates)) = (
        column(|run| run.flops),
        column(|run| run.seconds),
        column(|run| run.params),
        column(rate),
    ) else {
        return Err("no run has measured its tokens per second".to_owned());
    };
    let kinds = Kinds::of(timed.iter().map(|run| run.kind));
    let legend = kinds.entries(|style, text| Entry::mark(style.colour, style.mark, text));
    let dots = |at: fn(&Timed) -> (f64, f64)| {
        let (timed, kinds) = (timed.clone(), kinds.clone());
        move |picture: &mut Picture, panel: &Panel| {
            for run in &timed {
                let style = kinds.series(run.kind);
                panel.mark(picture, at(run), style.mark, 3.2, style.colour);
            }
        }
    };
    let times = dots(|run| (run.flops, run.seconds));
    let speeds = dots(|run| (run.params, run.flops / run.seconds / 1e9));
    let charts = vec![
        Chart::new(
            "",
            Axis::log("Training FLOPs (exact, at declared R)", flops),
            Axis::log("Training time (seconds)", seconds),
            move |picture: &mut Picture, panel: &Panel| {
                panel.grid(picture);
                draw_rates(picture, panel);
                times(picture, panel);
            },
        ),
        Chart::new(
            "",
            Axis::log("N (non-embedding parameters)", params),
            Axis::log("Throughput (GFLOP/s)", rates.map(|rate| rate / 1e9)),
            move |picture: &mut Picture, panel: &Panel| {
                panel.grid(picture);
                speeds(picture, panel);
            },
        ),
    ];
    Ok(Sheet {
        charts,
        legend,
        notes: vec![format!(
            "{} runs. Time is what the measured tokens per second mean for a run's own tokens: \
             validation and checkpoints are not in it. Grey: equal FLOPs per second.",
            timed.len()
        )],
        ..Sheet::default()
    })
}

/// Seconds per token over a run: the rows weighted by their tokens.
fn seconds_per_token(rows: &[Measurement]) -> Option<f64> {
    let (mut tokens, mut seconds, mut before) = (0.0, 0.0, None);
    for row in rows {
        let Some(seen) = row.tokens else { continue };
        let own = before.map_or(0, |before| seen.saturating_sub(before)) as f64;
        before = Some(seen);
        let rate = row
            .tokens_per_second
            .filter(|rate| rate.is_finite() && *rate > 0.0);
        if let Some(rate) = rate {
            // What the first row measured is not known; it counts as little.
            let own = own.max(1.0);
            tokens += own;
            seconds += own / rate;
        }
    }
    (tokens > 0.0).then(|| seconds / tokens)
}

/// Draws lines of equal FLOPs per second at powers of ten, with their names.
fn draw_rates(picture: &mut Picture, panel: &Panel) {
    let [slowest, fastest] = [panel.x.low / panel.y.high, panel.x.high / panel.y.low];
    let [low, high] = [
        slowest.log10().ceil() as i32,
        fastest.log10().floor() as i32,
    ];
    for exponent in low..=high.min(low + 30) {
        let rate = 10f64.powi(exponent);
        let line: Vec<(f64, f64)> = (0..=60)
            .map(|k| panel.x.low * (panel.x.high / panel.x.low).powf(f64::from(k) / 60.0))
            .map(|flops| (flops, flops / rate))
            .collect();
        panel.curve(picture, &line, 1.0, Dash::Dashed, GREY, 0.6);
        let inside = line.iter().rev().find(|at| panel.holds(at.0, at.1));
        if let Some(&(x, y)) = inside {
            let (x, y) = panel.at(x, y);
            // Left of the line's upper end, within the frame.
            let at = (x - 18.0, (y + 9.0).min(panel.bottom - 8.0));
            if x - panel.left > 90.0 {
                picture.text(at, &in_words(exponent), SMALL, Align::End, GREY);
            }
        }
    }
}

/// Names a power of ten of FLOPs per second.
fn in_words(exponent: i32) -> String {
    const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    let prefix = usize::try_from(exponent / 3)
        .ok()
        .and_then(|k| PREFIXES.get(k));
    match prefix {
        Some(prefix) => format!(
            "{} {prefix}FLOP/s",
            10i32.pow(exponent.rem_euclid(3) as u32)
        ),
        None => format!("1e{exponent} FLOP/s"),
    }
}
