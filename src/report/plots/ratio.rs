//! Realised against declared tokens per concept, as deviations, run by run.

use super::panel::{Axis, Entry, Panel, legend, notes, range, short};
use super::picture::{Align, Dash, Picture};
use super::style::{BEYOND, GREY, SMALL, WIDTH, series};
use crate::analysis::levels;
use crate::store::RunRecord;

/// Deviation in evaluation that is asked for, in percent.
const ASKED: f64 = 2.0;

pub(super) fn picture(runs: &[RunRecord]) -> Result<Picture, String> {
    let off = |declared: f64, realised: Option<f64>| {
        realised
            .map(|r| 100.0 * (r / declared - 1.0))
            .filter(|off| off.is_finite())
    };
    let rows: Vec<(f64, Option<f64>, Option<f64>)> = runs
        .iter()
        .filter(|run| !run.spec.architecture.is_dense())
        .map(|run| {
            let declared = run.compression_ratio;
            (
                declared,
                off(declared, run.realised_ratio),
                off(declared, run.realised_sampled),
            )
        })
        .filter(|(_, evaluated, sampled)| evaluated.is_some() || sampled.is_some())
        .collect();
    let Some([low, high]) = range(rows.iter().flat_map(|row| [row.1, row.2]).flatten()) else {
        return Err("no DLCM run has measured its realised R".to_owned());
    };
    let ratios = levels(rows.iter().map(|row| row.0), 1e-6);
    let reach = (1.15 * low.abs().max(high.abs())).max(1.5 * ASKED);
    let (first, last) = (ratios[0], ratios[ratios.len() - 1]);
    let ticks = ratios.iter().map(|r| (*r, short(*r))).collect();
    let x = Axis::log(
        "Declared R (tokens per concept)",
        [first / 1.35, last * 1.35],
    );
    let panel = Panel {
        left: 90.0,
        top: 48.0,
        right: WIDTH - 20.0,
        bottom: 350.0,
        x: x.with_ticks(ticks),
        y: Axis::linear("Realised R above declared (%)", [-reach, reach]),
    };
    let mut picture = Picture::new(WIDTH, 450.0);
    let (_, upper) = panel.at(first, ASKED);
    let (_, lower) = panel.at(first, -ASKED);
    picture.fill((panel.left, upper), (panel.right, lower), BEYOND);
    panel.grid(&mut picture);
    let zero = [(panel.x.low, 0.0), (panel.x.high, 0.0)];
    panel.curve(&mut picture, &zero, 1.2, Dash::Solid, GREY, 1.0);
    picture.text(
        (panel.right - 6.0, upper + 10.0),
        "within 2%",
        SMALL,
        Align::End,
        GREY,
    );
    let styles = [series(0), series(1)];
    for ratio in &ratios {
        let here: Vec<_> = rows
            .iter()
            .filter(|row| (row.0 / ratio - 1.0).abs() < 1e-6)
            .collect();
        for (k, row) in here.iter().enumerate() {
            // Runs stand side by side in plan order, the two measurements of a run as neighbours.
            let place = (k as f64 + 0.5) / here.len() as f64 - 0.5;
            let x = ratio * 1.22f64.powf(2.0 * place);
            for (value, style, aside) in [(row.1, styles[0], 0.994), (row.2, styles[1], 1.006)] {
                if let Some(value) = value.filter(|value| panel.y.holds(*value)) {
                    picture.mark(panel.at(x * aside, value), style.mark, 4.0, style.colour);
                }
            }
        }
    }
    panel.frame(&mut picture, true, true);
    let entry = |k: usize, text: &str| Entry {
        series: styles[k],
        line: false,
        mark: true,
        text: text.to_owned(),
    };
    let entries = [
        entry(
            0,
            "in evaluation (thresholded boundaries), the R of the laws",
        ),
        entry(1, "in training (sampled boundaries)"),
    ];
    legend(&mut picture, (panel.left, 22.0), WIDTH - 110.0, &entries);
    let off: Vec<f64> = rows.iter().filter_map(|row| row.1).map(f64::abs).collect();
    let out = off.iter().filter(|off| **off > ASKED).count();
    let worst = off.iter().copied().fold(0.0, f64::max);
    let words = format!(
        "{} DLCM runs, side by side in plan order at each R; in evaluation {out} of {} are more than 2% off, the worst by {worst:.1}%.",
        rows.len(),
        off.len()
    );
    let end = notes(
        &mut picture,
        (panel.left, panel.bottom + 64.0),
        WIDTH - 110.0,
        &[words],
    );
    picture.height = end + 6.0;
    Ok(picture)
}
