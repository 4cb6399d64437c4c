//! Realised against declared tokens per concept, as deviations, run by run.

use super::axis::{Axis, range, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Align, Dash, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{BEYOND, GREY, SMALL, series};
use campaign::store::RunRecord;
use scaling_law::analysis::{AnalysisResult, Observed, levels};

/// Deviation in evaluation that is asked for, in percent.
const ASKED: f64 = 2.0;

/// Declared R, and by how much the realised one is off in evaluation and in training.
type Deviation = (f64, Option<f64>, Option<f64>);

fn deviations(runs: &[RunRecord], result: &AnalysisResult) -> Vec<Deviation> {
    let off = |declared: f64, realised: Option<f64>| {
        realised
            .map(|r| 100.0 * (r / declared - 1.0))
            .filter(|off| off.is_finite())
    };
    let mut rows: Vec<Deviation> = if runs.is_empty() {
        // Rows of others that give one R have it stand for both: that measures nothing.
        let both = |run: &&Observed| run.has_concepts() && run.ratio != run.declared_ratio;
        let imported = result.runs.iter().filter(both);
        let row = |run: &Observed| {
            let declared = run.declared_ratio;
            (declared, off(declared, Some(run.ratio)), None)
        };
        imported.map(row).collect()
    } else {
        let trained = runs.iter().filter(|run| run.has_concepts());
        let row = |run: &RunRecord| {
            let declared = run.compression_ratio;
            let [evaluated, sampled] =
                [run.realised_ratio, run.realised_sampled].map(|r| off(declared, r));
            (declared, evaluated, sampled)
        };
        trained.map(row).collect()
    };
    rows.retain(|(_, evaluated, sampled)| evaluated.is_some() || sampled.is_some());
    rows
}

pub(super) fn sheet<'a>(runs: &[RunRecord], result: &AnalysisResult) -> Result<Sheet<'a>, String> {
    let rows = deviations(runs, result);
    let Some([low, high]) = range(rows.iter().flat_map(|row| [row.1, row.2]).flatten()) else {
        return Err(if runs.is_empty() {
            "no row of a DLCM gives a realised R beside the declared one".to_owned()
        } else {
            "no DLCM run has measured its realised R".to_owned()
        });
    };
    let ratios = levels(rows.iter().map(|row| row.0), 1e-6);
    let reach = (1.15 * low.abs().max(high.abs())).max(1.5 * ASKED);
    let (first, last) = (ratios[0], ratios[ratios.len() - 1]);
    let ticks = ratios.iter().map(|r| (*r, short(*r))).collect();
    let x = Axis::log(
        "Declared R (tokens per concept)",
        [first / 1.35, last * 1.35],
    )
    .with_ticks(ticks);
    let y = Axis::linear("Realised R above declared (%)", [-reach, reach]);
    let (evaluated, sampled) = (series(0), series(1));
    let mut legend = vec![Entry::mark(
        evaluated.colour,
        evaluated.mark,
        "in evaluation: the R of the laws",
    )];
    if rows.iter().any(|row| row.2.is_some()) {
        legend.push(Entry::mark(
            sampled.colour,
            sampled.mark,
            "in training (sampled boundaries)",
        ));
    }
    let off: Vec<f64> = rows.iter().filter_map(|row| row.1).map(f64::abs).collect();
    let out = off.iter().filter(|off| **off > ASKED).count();
    let worst = off.iter().copied().fold(0.0, f64::max);
    let note = format!(
        "{} DLCM runs, side by side in plan order at each R; in evaluation {out} of {} are more \
         than 2% off, the worst by {worst:.1}%.",
        rows.len(),
        off.len()
    );
    let draw = move |picture: &mut Picture, panel: &Panel| {
        let (_, upper) = panel.at(first, ASKED);
        let (_, lower) = panel.at(first, -ASKED);
        picture.fill((panel.left, upper), (panel.right, lower), BEYOND);
        panel.grid(picture);
        panel.level(picture, 0.0, 1.2, Dash::Solid, GREY);
        let corner = (panel.right - 6.0, upper - 9.0);
        picture.text(corner, "within 2%", SMALL, Align::End, GREY);
        for ratio in &ratios {
            let here: Vec<_> = rows
                .iter()
                .filter(|row| (row.0 / ratio - 1.0).abs() < 1e-6)
                .collect();
            for (k, row) in here.iter().enumerate() {
                // Runs stand side by side in plan order, the measurements of a run as neighbours.
                let place = (k as f64 + 0.5) / here.len() as f64 - 0.5;
                let x = ratio * 1.22f64.powf(2.0 * place);
                for (value, style, aside) in [(row.1, evaluated, 0.994), (row.2, sampled, 1.006)] {
                    if let Some(value) = value {
                        let at = (x * aside, value);
                        panel.mark(picture, at, style.mark, 3.6, style.colour);
                    }
                }
            }
        }
    };
    Ok(Sheet {
        charts: vec![Chart::new("", x, y, draw)],
        legend,
        notes: vec![note],
        ..Sheet::default()
    })
}
