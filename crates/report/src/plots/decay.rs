//! Trunks and the branches that leave them and decay.

use super::axis::{about, short};
use super::curve::{Curve, axes, curves, tokens};
use super::kinds::{Kind, kind};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{INK, series};
use campaign::store::RunRecord;
use experiment::event::Measurement;
use experiment::run::{Part, RunId};
use scaling_law::analysis::levels;
use std::collections::{BTreeMap, HashMap};

/// Panels of a figure.
const PANELS: usize = 6;

/// Curves are shown from this share of the shortest piece: what matters is at the ends.
const SHOWN_FROM: f64 = 0.35;

/// The pieces of a trunk, and the branches that leave it.
#[derive(Default)]
struct Family<'a> {
    trunk: Vec<Curve<'a>>,
    branches: Vec<Curve<'a>>,
}

pub(super) fn sheet<'a>(
    runs: &'a [RunRecord],
    measurements: &BTreeMap<RunId, Vec<Measurement>>,
) -> Result<Sheet<'a>, String> {
    if runs.iter().all(|run| run.part != Part::Branch) {
        return Err("no run branches off a trunk (training.branches)".to_owned());
    }
    let starts: HashMap<&RunId, &RunId> = runs
        .iter()
        .filter_map(|run| Some((&run.id, run.start_run.as_ref()?)))
        .collect();
    let mut families: Vec<(&RunId, Family<'a>)> = Vec::new();
    for curve in curves(runs, measurements)? {
        if curve.run.part == Part::Whole {
            continue;
        }
        let pieces = std::iter::successors(Some(&curve.run.id), |piece| starts.get(piece).copied());
        let Some(root) = pieces.last() else {
            continue;
        };
        let place = families.iter().position(|(id, _)| *id == root);
        let place = place.unwrap_or_else(|| {
            families.push((root, Family::default()));
            families.len() - 1
        });
        let family = &mut families[place].1;
        match curve.run.part {
            Part::Trunk => family.trunk.push(curve),
            _ => family.branches.push(curve),
        }
    }
    families.retain(|(_, family)| !family.branches.is_empty());
    if families.is_empty() {
        return Err("no branch has measured a loss".to_owned());
    }
    let all = families.len();
    let shown = all.min(PANELS);
    // Evenly, but not every second one: that could be one R throughout.
    let chosen: Vec<usize> = (0..shown).map(|k| k * all / shown).collect();
    let families: Vec<Family<'a>> = families
        .into_iter()
        .enumerate()
        .filter(|(k, _)| chosen.contains(k))
        .map(|(_, (_, family))| family)
        .collect();
    let branches = || families.iter().flat_map(|family| &family.branches);
    let ends = levels(branches().map(|c| tokens(c.run)), 0.01);
    let mut legend = vec![Entry::line(INK, Dash::Solid, "trunk")];
    legend.extend(
        ends.iter()
            .enumerate()
            .map(|(k, end)| Entry::both(series(k), format!("decay to D = {}", short(*end)))),
    );
    let mut notes = vec![
        "Lines: loss of the training batches, smoothed; markers: held-out loss where a branch \
         leaves the trunk (hollow) and at its end."
            .to_owned(),
    ];
    if families.len() < all {
        notes.push(format!("{} of {all} trunks are shown.", families.len()));
    }
    let everything: Vec<&Curve<'_>> = families
        .iter()
        .flat_map(|family| family.trunk.iter().chain(&family.branches))
        .collect();
    let (x, y) = axes(&everything, SHOWN_FROM);
    let charts = families.into_iter().map(|family| {
        let run = family.branches[0].run;
        let size = about(run.params.unwrap_or(0) as f64);
        let title = match kind(run) {
            kind @ Kind::Ratio(_) => {
                format!("N ≈ {size}, {}, P = {:.1}", kind.name(), run.concept_share)
            }
            other => format!("{}, N ≈ {size}", other.name()),
        };
        let ends = ends.clone();
        let draw = move |picture: &mut Picture, panel: &Panel| {
            panel.grid(picture);
            for piece in &family.trunk {
                panel.curve(picture, piece.line(), 1.6, Dash::Solid, INK, 0.9);
            }
            for branch in &family.branches {
                let near = |end: &f64| (end / tokens(branch.run)).ln().abs() < 0.01;
                let style = series(ends.iter().position(near).unwrap_or(0));
                panel.curve(picture, branch.line(), 1.6, style.dash, style.colour, 1.0);
                let leaves = branch.run.start_run.as_ref().and_then(|start| {
                    let piece = family.trunk.iter().find(|piece| piece.run.id == *start)?;
                    piece.held_out.last().copied()
                });
                if let Some((x, y)) = leaves.filter(|at| panel.holds(at.0, at.1)) {
                    picture.outline(panel.at(x, y), Mark::Circle, 3.2, style.colour);
                }
                if let Some(&end) = branch.held_out.last() {
                    panel.mark(picture, end, style.mark, 3.8, style.colour);
                }
            }
        };
        Chart::new(title, x.clone(), y.clone(), draw)
    });
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes,
        ..Sheet::default()
    })
}
