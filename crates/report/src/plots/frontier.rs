//! The best N, D, P and R along budgets.

use super::axis::{Axis, range, roomy, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Dash, Mark, Picture};
use super::sheet::{Chart, Sheet};
use super::style::{BEYOND, RED, SHADE, series};
use scaling_law::analysis::{AnalysisResult, FrontierStep, Maybe};
use scaling_law::fit::allocation::Variable;

/// The quantities with their labels, and whether their axis is logarithmic.
const QUANTITIES: [(Variable, &str, bool); 4] = [
    (Variable::Params, "N* (parameters)", true),
    (Variable::Tokens, "D* (training tokens)", true),
    (Variable::ConceptShare, "P* (concept share)", false),
    (Variable::CompressionRatio, "R* (tokens per concept)", false),
];

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let allocation = match &result.allocation {
        Maybe::Known(allocation) => allocation,
        Maybe::Unknown(why) => return Err(why.clone()),
    };
    let steps: &[FrontierStep] = &allocation.frontier;
    let Some(flops) = range(steps.iter().map(|step| step.flops)).filter(|_| steps.len() > 1) else {
        return Err("the law has no optimum along budgets".to_owned());
    };
    let within = steps.iter().filter(|step| !step.extrapolated);
    let largest = within.map(|step| step.flops).fold(flops[0], f64::max);
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
                if steps.iter().any(|step| step.extrapolated) {
                    panel.stripe(picture, [largest, panel.x.high], BEYOND);
                }
                panel.grid(picture);
                let band: Vec<(f64, f64, f64)> = steps
                    .iter()
                    .filter_map(|step| interval(step).map(|[low, high]| (step.flops, low, high)))
                    .collect();
                panel.band(picture, &band, style.colour, 0.16);
                let line: Vec<(f64, f64)> = steps
                    .iter()
                    .map(|step| (step.flops, step.setting.get(variable)))
                    .collect();
                let inside = line.iter().filter(|at| at.0 <= largest).count();
                let (trained, beyond) = (&line[..inside], &line[inside.saturating_sub(1)..]);
                panel.curve(picture, trained, 2.0, Dash::Solid, style.colour, 1.0);
                panel.curve(picture, beyond, 2.0, Dash::Dashed, style.colour, 1.0);
                for &at in &line {
                    panel.mark(picture, at, style.mark, 3.0, style.colour);
                }
                panel.mark(picture, (allocation.budget, best), Mark::Diamond, 5.0, RED);
            };
            Chart::new("", x.clone(), y, draw)
        });
    let mut notes = vec![format!(
        "By the DLCM law. Bands: 95% intervals from resampled laws; dashed on grey: beyond the \
         largest run. P and R are sought where they were trained: P in [{:.2}, {:.2}], R in \
         [{:.1}, {:.1}].",
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
    Ok(Sheet {
        charts: charts.collect(),
        legend: vec![
            Entry::mark(RED, Mark::Diamond, "the budget of this experiment"),
            Entry::mark(SHADE, Mark::Square, "beyond the largest run"),
        ],
        notes,
        heading: None,
        aside: 0.0,
    })
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
