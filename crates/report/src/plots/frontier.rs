//! The best N, D, P and R along budgets.

use super::axis::{Axis, range, roomy, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Align, Dash, Mark, Picture, text_width};
use super::sheet::{Chart, Sheet};
use super::style::{BEYOND, GREY, RED, SHADE, SMALL, UNDETERMINED, series};
use scaling_law::analysis::{AnalysisResult, FrontierStep, Maybe};
use scaling_law::fit::allocation::Variable;

/// The quantities with their labels, and whether their axis is logarithmic.
const QUANTITIES: [(Variable, &str, bool); 4] = [
    (Variable::Params, "N* (parameters)", true),
    (Variable::Tokens, "D* (training tokens)", true),
    (Variable::ConceptShare, "P* (concept share)", false),
    (Variable::CompressionRatio, "R* (tokens per concept)", false),
];

/// What is extrapolated.
const BEYOND_LARGEST: &str = "beyond the largest run";

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let allocation = match &result.allocation {
        Maybe::Known(allocation) => allocation,
        Maybe::Unknown(why) => return Err(why.clone()),
    };
    let steps: &[FrontierStep] = &allocation.frontier;
    let Some(flops) = range(steps.iter().map(|step| step.flops)).filter(|_| steps.len() > 1) else {
        return Err("the law has no optimum along budgets".to_owned());
    };
    // The largest run's FLOPs, where budgets go beyond them.
    let beyond = steps
        .iter()
        .any(|step| step.extrapolated)
        .then_some(allocation.budget / allocation.times_largest);
    let label = format!("Training FLOPs C ({})", allocation.convention);
    let x = Axis::log(&label, [flops[0] / 1.2, flops[1] * 1.3]);
    let charts = QUANTITIES
        .into_iter()
        .enumerate()
        .map(|(k, (variable, label, log))| {
            let interval = move |step: &FrontierStep| step.intervals.get(variable.name()).copied();
            let best = allocation.best.setting.get(variable);
            let values = steps.iter().flat_map(|step| {
                let ends = interval(step).unwrap_or([f64::NAN; 2]);
                [step.setting.get(variable), ends[0], ends[1]]
            });
            // All of the trained range, so that its ends can be seen and small changes look small.
            let trained = match variable {
                Variable::ConceptShare => allocation.sampled_shares,
                Variable::CompressionRatio => allocation.sampled_ratios,
                _ => [best; 2],
            };
            let ends = range(values.chain(trained).chain([best])).unwrap_or([1.0, 2.0]);
            let y = if log {
                Axis::log(label, [ends[0] / 1.3, ends[1] * 1.3])
            } else {
                Axis::linear(label, roomy(ends, 0.1))
            };
            let style = series(k);
            let draw = move |picture: &mut Picture, panel: &Panel| {
                if let Some(largest) = beyond {
                    panel.stripe(picture, [largest, panel.x.high], BEYOND);
                }
                panel.grid(picture);
                if let Some(largest) = beyond {
                    draw_end(picture, panel, largest);
                }
                let band: Vec<(f64, f64, f64)> = steps
                    .iter()
                    .filter_map(|step| interval(step).map(|[low, high]| (step.flops, low, high)))
                    .collect();
                panel.band(picture, &band, style.colour, 0.16);
                let line: Vec<(f64, f64)> = steps
                    .iter()
                    .map(|step| (step.flops, step.setting.get(variable)))
                    .collect();
                let inside = steps.iter().filter(|step| !step.extrapolated).count();
                let (trained, beyond) = (&line[..inside], &line[inside.saturating_sub(1)..]);
                panel.curve(picture, trained, 2.0, Dash::Solid, style.colour, 1.0);
                panel.curve(picture, beyond, 2.0, Dash::Dashed, style.colour, 1.0);
                for (step, &at) in steps.iter().zip(&line) {
                    let open = is_in(variable, &step.undetermined);
                    panel.estimate(picture, at, style.mark, 3.0, style.colour, open);
                }
                let at = (allocation.budget, best);
                let open = is_in(variable, &allocation.best.undetermined);
                panel.estimate(picture, at, Mark::Diamond, 5.0, RED, open);
            };
            Chart::new("", x.clone(), y, draw)
        });
    let dashed = match beyond {
        Some(_) => "; dashed on grey: beyond the largest run",
        None => "",
    };
    let mut notes = vec![format!(
        "By the DLCM law. Bands: 95% intervals from resampled laws{dashed}. P and R are sought where \
         they were trained: P in [{:.2}, {:.2}], R in [{:.1}, {:.1}].",
        allocation.sampled_shares[0],
        allocation.sampled_shares[1],
        allocation.sampled_ratios[0],
        allocation.sampled_ratios[1],
    )];
    notes.push(match allocation.at_tokens {
        Some(tokens) => format!(
            "All runs have D = {} tokens, so the law knows no other D and all compute goes into N.",
            short(tokens)
        ),
        None => exponents(steps),
    });
    let mut legend = vec![Entry::mark(
        RED,
        Mark::Diamond,
        "the budget of this experiment",
    )];
    let all = steps.iter().map(|step| &step.undetermined);
    let mut all = all.chain([&allocation.best.undetermined]);
    if all.any(|names| !names.is_empty()) {
        legend.push(Entry::hollow(GREY, Mark::Circle, UNDETERMINED));
    }
    if beyond.is_some() {
        legend.push(Entry::mark(SHADE, Mark::Square, BEYOND_LARGEST));
    }
    Ok(Sheet {
        charts: charts.collect(),
        legend,
        notes,
        ..Sheet::default()
    })
}

/// Says whether a quantity is among those that are named.
fn is_in(variable: Variable, names: &[String]) -> bool {
    names.iter().any(|name| name == variable.name())
}

/// Draws where the runs end, with its words where they have room: across, or else along the line.
fn draw_end(picture: &mut Picture, panel: &Panel, largest: f64) {
    if !panel.x.holds(largest) {
        return;
    }
    let (x, _) = panel.at(largest, panel.y.low);
    picture.line(
        vec![(x, panel.top), (x, panel.bottom)],
        1.2,
        Dash::Mixed,
        GREY,
    );
    let room = text_width(BEYOND_LARGEST, SMALL) + 10.0;
    if panel.right - x > room {
        let at = (x + 5.0, panel.bottom - 9.0);
        picture.text(at, BEYOND_LARGEST, SMALL, Align::Start, GREY);
    } else if panel.bottom - panel.top > room && panel.right - x > 1.5 * SMALL {
        let at = (x + 0.8 * SMALL, panel.bottom - 0.5 * room);
        picture.upright(at, BEYOND_LARGEST, SMALL, GREY);
    }
}

/// States N* and D* as powers of C between the first and the last budget.
fn exponents(steps: &[FrontierStep]) -> String {
    let [first, last] = [&steps[0], &steps[steps.len() - 1]];
    let exponent = |variable: Variable| {
        let growth = last.setting.get(variable) / first.setting.get(variable);
        growth.ln() / (last.flops / first.flops).ln()
    };
    format!(
        "From C = {} to {}, N* grows as C^{:.2} and D* as C^{:.2}.",
        short(first.flops),
        short(last.flops),
        exponent(Variable::Params),
        exponent(Variable::Tokens)
    )
}
