//! Loss against learning rate at every width: whether the best rate stays where it is.

use super::axis::{Axis, about, range, short};
use super::kinds::{Kind, kind};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{RED, series};
use campaign::store::RunRecord;
use experiment::architecture::Architecture;
use experiment::recipe::LearningRates;
use experiment::run::{Part, RunOutcome};
use scaling_law::analysis::levels;

/// A base rate: its label, and how it is read.
type Rate = (&'static str, fn(&LearningRates) -> f64);

/// The base rates that an experiment may vary.
const RATES: [Rate; 3] = [
    ("Base learning rate", |rates| rates.token),
    ("Base learning rate of concept matrices", |rates| {
        rates.concept
    }),
    ("Base learning rate of vectors", |rates| rates.other),
];

/// A run that ended with a loss, or diverged.
struct Trial {
    rate: f64,
    width: usize,
    params: f64,
    loss: Option<f64>,
}

pub(super) fn sheet(runs: &[RunRecord]) -> Result<Sheet<'_>, String> {
    // Of other trainers only their users know what is a rate, and of which width.
    let models = || {
        let models = runs.iter();
        models.filter_map(|run| Some((run, run.spec.model()?)))
    };
    let varied = RATES.into_iter().find(|(_, rate)| {
        levels(models().map(|(_, spec)| rate(&spec.recipe.rates)), 1e-6).len() > 1
    });
    let Some((label, rate)) = varied else {
        return Err("all runs have one learning rate (training.learning_rate)".to_owned());
    };
    let base = models()
        .next()
        .map_or(0, |(_, spec)| spec.recipe.rates.base_width);
    // One panel for each R, P and D.
    let mut groups: Vec<(String, Vec<Trial>)> = Vec::new();
    for (run, spec) in models() {
        let loss = match run.outcome {
            Some(RunOutcome::Finished) => run.loss.filter(|loss| loss.is_finite()),
            Some(RunOutcome::Diverged) => None,
            _ => continue,
        };
        // A trunk's rate has not decayed, so its loss says little about rates.
        if run.part == Part::Trunk || loss.is_none() && run.outcome == Some(RunOutcome::Finished) {
            continue;
        }
        let width = match &spec.architecture {
            Architecture::Dense(shape) => shape.stack.width,
            Architecture::Dlcm(shape) => shape.encoder.width,
            Architecture::TokenOnly(shape) => shape.encoder.width,
        };
        let title = match kind(run) {
            kind @ Kind::Ratio(_) => format!("{}, P = {:.1}", kind.name(), run.concept_share),
            other => other.name(),
        };
        let title = format!("{title}, D = {}", short(spec.recipe.tokens as f64));
        let trial = Trial {
            rate: rate(&spec.recipe.rates),
            width,
            params: run.params.unwrap_or(0) as f64,
            loss,
        };
        match groups.iter_mut().find(|(known, _)| *known == title) {
            Some((_, trials)) => trials.push(trial),
            None => groups.push((title, vec![trial])),
        }
    }
    groups.retain(|(_, trials)| levels(trials.iter().map(|t| t.rate), 1e-6).len() > 1);
    let trials = || groups.iter().flat_map(|(_, trials)| trials);
    let Some(losses) = range(trials().filter_map(|t| t.loss)) else {
        return Err("no setting has ended with two learning rates".to_owned());
    };
    let rates = levels(trials().map(|t| t.rate), 1e-6);
    let sizes = levels(trials().map(|t| t.params), 0.05);
    let [low, high] = [rates[0], rates[rates.len() - 1]];
    let ticks = rates.iter().map(|rate| (*rate, short(*rate))).collect();
    let x = Axis::log(
        &format!("{label} (at width {base})"),
        [low / 1.2, high * 1.2],
    )
    .with_ticks(ticks);
    let y = Axis::losses("Held-out loss (nats per token)", losses, 0.08);
    let mut legend: Vec<Entry> = sizes
        .iter()
        .enumerate()
        .map(|(k, size)| {
            let of_size = trials().filter(|t| (t.params / size).ln().abs() < 0.05);
            let widths = levels(of_size.map(|t| t.width as f64), 1e-6);
            let widths: Vec<String> = widths.into_iter().map(short).collect();
            Entry::both(
                series(k),
                format!("N ≈ {} (width {})", about(*size), widths.join(", ")),
            )
        })
        .collect();
    legend.push(Entry::hollow(RED, Mark::Circle, "best rate"));
    let mut notes = vec![
        "Lines: mean over seeds; each marker is one run. Under muP the best rate should stay \
         where it is as models widen."
            .to_owned(),
    ];
    let diverged = trials().filter(|t| t.loss.is_none()).count();
    if diverged > 0 {
        legend.push(Entry::mark(RED, Mark::Cross, "diverged"));
        notes.push(format!(
            "{diverged} runs diverged; they stand at the upper edge."
        ));
    }
    let charts = groups.into_iter().map(|(title, trials)| {
        let (rates, sizes) = (rates.clone(), sizes.clone());
        let draw = move |picture: &mut Picture, panel: &Panel| {
            panel.grid(picture);
            for (k, size) in sizes.iter().enumerate() {
                let here = trials
                    .iter()
                    .filter(|t| (t.params / size).ln().abs() < 0.05);
                draw_size(picture, panel, k, &rates, &here.collect::<Vec<_>>());
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

/// Draws the runs of one size: their mean by rate, and where that is lowest.
fn draw_size(picture: &mut Picture, panel: &Panel, k: usize, rates: &[f64], trials: &[&Trial]) {
    let style = series(k);
    let mean = |rate: &f64| {
        let here = trials.iter().filter(|t| (t.rate / rate - 1.0).abs() < 1e-6);
        let losses: Vec<f64> = here.filter_map(|t| t.loss).collect();
        (!losses.is_empty()).then(|| (*rate, losses.iter().sum::<f64>() / losses.len() as f64))
    };
    let line: Vec<(f64, f64)> = rates.iter().filter_map(mean).collect();
    panel.curve(picture, &line, 1.8, style.dash, style.colour, 1.0);
    for trial in trials {
        match trial.loss {
            Some(loss) => {
                panel.mark(picture, (trial.rate, loss), style.mark, 3.4, style.colour);
            }
            None => {
                let (x, _) = panel.at(trial.rate, panel.y.low);
                let aside = 7.0 * k as f64;
                let x = (x + aside).min(panel.right - 6.0);
                picture.mark((x, panel.top + 8.0), Mark::Cross, 4.0, RED);
            }
        }
    }
    let best = line.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    if let Some(&(x, y)) = best.filter(|_| line.len() > 1) {
        picture.outline(panel.at(x, y), Mark::Circle, 7.0, RED);
    }
}
