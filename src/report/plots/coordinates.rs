//! The coordinate check: activations against width, a panel for each place in the network.

use super::panel::{Axis, Entry, Panel, legend, notes, range, short};
use super::picture::{Align, Picture};
use super::style::{INK, LABEL, WIDTH, series};
use std::collections::BTreeSet;

/// How large activations were somewhere in a network, at some time, at some width.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ActivationSize {
    /// Where; panels stand in the order in which places come first.
    pub site: &'static str,
    /// Token width.
    pub width: usize,
    /// Optimizer steps taken before.
    pub step: u64,
    /// Root mean square.
    pub size: f64,
}

const COLUMNS: usize = 3;

pub(super) fn picture(sizes: &[ActivationSize]) -> Result<Picture, String> {
    let mut sites: Vec<&str> = Vec::new();
    for size in sizes {
        if !sites.contains(&size.site) {
            sites.push(size.site);
        }
    }
    let widths: BTreeSet<usize> = sizes.iter().map(|size| size.width).collect();
    let steps: BTreeSet<u64> = sizes.iter().map(|size| size.step).collect();
    let Some([low, high]) = range(sizes.iter().map(|s| s.size).filter(|size| *size > 0.0)) else {
        return Err("no activation was measured".to_owned());
    };
    let (Some(narrowest), Some(widest)) = (widths.first(), widths.last()) else {
        return Err("no width was measured".to_owned());
    };
    let ticks = widths
        .iter()
        .map(|w| (*w as f64, short(*w as f64)))
        .collect();
    let x = Axis::log(
        "Token width",
        [*narrowest as f64 / 1.2, *widest as f64 * 1.2],
    )
    .with_ticks(ticks);
    // At least two decades: a factor of two must not look like an explosion.
    let middle = (low * high).sqrt();
    let y = Axis::log(
        "Root mean square",
        [
            (low / 1.5).min(middle / 10.0),
            (high * 1.5).max(middle * 10.0),
        ],
    );
    let (left, gap, tall) = (78.0, 34.0, 200.0);
    let columns = sites.len().min(COLUMNS);
    let width = (WIDTH - left - 20.0 - gap * (columns - 1) as f64) / columns as f64;
    let mut picture = Picture::new(WIDTH, 0.0);
    let entries: Vec<Entry> = steps
        .iter()
        .enumerate()
        .map(|(k, step)| Entry {
            series: series(k),
            line: true,
            mark: true,
            text: match step {
                0 => "at the start".to_owned(),
                1 => "after 1 step".to_owned(),
                _ => format!("after {step}"),
            },
        })
        .collect();
    let top = legend(&mut picture, (left, 20.0), WIDTH - left - 20.0, &entries) + 22.0;
    for (k, site) in sites.iter().enumerate() {
        let start = left + (k % COLUMNS) as f64 * (width + gap);
        let panel_top = top + (k / COLUMNS) as f64 * (tall + 58.0);
        let panel = Panel {
            left: start,
            top: panel_top,
            right: start + width,
            bottom: panel_top + tall,
            x: x.clone(),
            y: y.clone(),
        };
        panel.grid(&mut picture);
        for (k, step) in steps.iter().enumerate() {
            let here = sizes
                .iter()
                .filter(|size| size.site == *site && size.step == *step);
            let line: Vec<(f64, f64)> = here.map(|size| (size.width as f64, size.size)).collect();
            let style = series(k);
            panel.curve(&mut picture, &line, 1.3, style.dash, style.colour, 0.8);
            for (x, y) in line.into_iter().filter(|(x, y)| panel.holds(*x, *y)) {
                picture.mark(panel.at(x, y), style.mark, 3.0, style.colour);
            }
        }
        panel.frame(&mut picture, false, k % COLUMNS == 0);
        panel.title(&mut picture, site);
    }
    let rows = sites.len().div_ceil(COLUMNS);
    let below = top + rows as f64 * (tall + 58.0) - 58.0;
    let middle = left + 0.5 * (columns as f64 * (width + gap) - gap);
    picture.text((middle, below + 36.0), &x.label, LABEL, Align::Middle, INK);
    let words = "Size of activations while width grows and depth stays. Level lines, or lines that \
                 fall towards one level: what is learned at one width holds at another.";
    let end = notes(
        &mut picture,
        (left, below + 62.0),
        WIDTH - left - 20.0,
        &[words.to_owned()],
    );
    picture.height = end + 6.0;
    Ok(picture)
}
