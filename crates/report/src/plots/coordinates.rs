//! The coordinate check: activations against width, a panel for each place in the network.

use super::axis::{Axis, range, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::Picture;
use super::sheet::{Chart, Sheet};
use super::style::series;
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

pub(super) fn sheet(sizes: &[ActivationSize]) -> Result<Sheet<'_>, String> {
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
    let entries = steps.iter().enumerate().map(|(k, step)| {
        let text = match step {
            0 => "at the start".to_owned(),
            1 => "after 1 step".to_owned(),
            _ => format!("after {step}"),
        };
        Entry::both(series(k), text)
    });
    let legend = entries.collect();
    let charts = sites.into_iter().map(|site| {
        let steps = steps.clone();
        let draw = move |picture: &mut Picture, panel: &Panel| {
            panel.grid(picture);
            for (k, step) in steps.iter().enumerate() {
                let here = sizes
                    .iter()
                    .filter(|size| size.site == site && size.step == *step);
                let line: Vec<(f64, f64)> =
                    here.map(|size| (size.width as f64, size.size)).collect();
                let style = series(k);
                panel.curve(picture, &line, 1.3, style.dash, style.colour, 0.8);
                for at in line {
                    panel.mark(picture, at, style.mark, 3.0, style.colour);
                }
            }
        };
        Chart::new(site, x.clone(), y.clone(), draw)
    });
    let words = "Size of activations while width grows and depth stays. Level lines, or lines that \
                 fall towards one level: what is learned at one width holds at another.";
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes: vec![words.to_owned()],
        ..Sheet::default()
    })
}
