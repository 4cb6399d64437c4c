//! The result in words, for a terminal.

use super::allocate::{Allocation, Choice};
use super::answer::{Asker, answer};
use super::attribution::nats;
use super::report::{LawOutcome, LawReport, NoiseSource, ParameterEstimate, Uncertainty};
use super::saving::{SavingPoint, Savings};
use super::{AnalysisResult, ConceptWorth, DecayGains, LawForm, Maybe, Severity};
use crate::fit::allocation::Variable;
use experiment::architecture::ModelKind;
use experiment::quantity::{counted, human};

use std::fmt::Write;

/// Most warnings and hints in the short form.
const FEW: usize = 2;

/// Writes the result as plain text: the verdict, what to do next, the law, the optimum, the saving and
/// what limits them. Short, it fits a screen; else it has every parameter, choice and warning.
pub fn summary(result: &AnalysisResult, asker: &Asker, short: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_summary(&mut text, result, asker, short);
    text
}

fn write_summary(
    out: &mut String,
    result: &AnalysisResult,
    asker: &Asker,
    short: bool,
) -> std::fmt::Result {
    let answer = answer(result, asker);
    for sentence in &answer.verdict {
        writeln!(out, "{sentence}")?;
    }
    writeln!(out)?;
    let most = if short { FEW } else { usize::MAX };
    for next in answer.next.iter().take(most) {
        writeln!(out, "Next: {next}")?;
    }
    writeln!(out)?;
    if short {
        write_figures(out, result, &answer.text())?;
    } else {
        write_details(out, result)?;
    }
    if let Some(noise) = result.seed_noise.filter(|_| !short) {
        writeln!(
            out,
            "\nSeed noise: {:.3} nats/token (from {} of {})",
            noise.nats,
            counted(noise.runs, "run"),
            counted(noise.settings, "setting")
        )?;
    }
    let mut told = answer.caveats;
    // Details stand with the parameters.
    let notes = result.warnings.iter();
    let notes = notes.filter(|warning| warning.severity() == Severity::Note);
    told.extend(notes.map(ToString::to_string));
    if !told.is_empty() {
        writeln!(out)?;
    }
    for warning in told.iter().take(most) {
        writeln!(out, "! {warning}")?;
    }
    match told.len().saturating_sub(most) {
        0 if short => writeln!(out, "--verbose says everything, and so does the report."),
        0 => Ok(()),
        more => writeln!(
            out,
            "{}: --verbose, or the report, with all parameters.",
            counted(more, "more warning")
        ),
    }
}

/// Writes a line for each law, the optimum, and what concepts are worth where the verdict does not say
/// it.
fn write_figures(out: &mut String, result: &AnalysisResult, verdict: &str) -> std::fmt::Result {
    for (title, law) in laws(result) {
        match law {
            LawOutcome::Fitted(report) => writeln!(out, "{title}: {}", in_a_line(report))?,
            LawOutcome::CannotFit { why } => writeln!(out, "{title}: none: {why}")?,
        }
    }
    if let Maybe::Known(allocation) = &result.allocation {
        let one_ratio = allocation.by_ratio.len() == 1;
        let quantities = quantities(&allocation.best).into_iter();
        let quantities = quantities.filter(|it| !(one_ratio && it.starts_with("R*")));
        writeln!(
            out,
            "Optimum: {}",
            quantities.collect::<Vec<_>>().join(", ")
        )?;
    }
    let is_told = verdict.contains("oncepts are worth");
    if let Some(worth) = result.concept_worth.known().filter(|_| !is_told) {
        writeln!(
            out,
            "Concepts are worth {} nats/token ({} of {} above noise)",
            nats(worth.median, worth.interval),
            worth.above_noise,
            counted(worth.runs.len(), "run")
        )?;
    }
    Ok(())
}

/// The laws worth a word, each with what it is called.
fn laws(result: &AnalysisResult) -> Vec<(&'static str, &LawOutcome)> {
    let all = [
        ("DLCM law", &result.dlcm),
        ("Dense law", &result.dense),
        ("Control law", &result.control),
    ];
    let asked = |(_, law): &(&str, &LawOutcome)| match law {
        LawOutcome::Fitted(_) => true,
        LawOutcome::CannotFit { why } => !why.is_no_runs(),
    };
    all.into_iter().filter(asked).collect()
}

/// Says in a line how good a law is.
fn in_a_line(report: &LawReport) -> String {
    let held_out = held_out_error(report).map_or_else(String::new, |[mean, ..]| {
        format!("; held out: {:.1}% off", 100.0 * mean)
    });
    let open = report
        .parameters
        .iter()
        .filter(|p| p.unidentified.is_some());
    let open = match open.count() {
        0 => String::new(),
        open => format!("; {open} of {} parameters open", report.parameters.len()),
    };
    format!(
        "{} over {}{held_out}{open}",
        r2(report.r2),
        counted(report.runs, "run")
    )
}

fn write_details(out: &mut String, result: &AnalysisResult) -> std::fmt::Result {
    for (title, law) in laws(result) {
        write_law(out, title, law)?;
    }
    if let Some(gains) = &result.decay {
        write_decay(out, gains)?;
    }
    writeln!(out)?;
    if let Maybe::Known(allocation) = &result.allocation {
        write_allocation(out, allocation)?;
        writeln!(out)?;
    }
    writeln!(out, "{}", result.attribution().words)?;
    write_savings(out, result)
}

fn write_law(out: &mut String, title: &str, outcome: &LawOutcome) -> std::fmt::Result {
    let report = match outcome {
        LawOutcome::CannotFit { why } => {
            return writeln!(out, "\n{title}: cannot be fitted: {why}");
        }
        LawOutcome::Fitted(report) => report,
    };
    writeln!(out, "\n{title}: {}", report.equation)?;
    for reduction in reductions(report) {
        writeln!(out, "  reduced: {reduction}")?;
    }
    writeln!(out, "  {}", quality(report))?;
    if let Some(held_out) = held_out(report) {
        writeln!(out, "  {held_out}")?;
    }
    write_parameters(out, &report.parameters)
}

/// Says in words how well a law fits and where its intervals come from.
pub fn quality(report: &LawReport) -> String {
    format!(
        "{} over {}; typical residual {:.2}%; {}",
        r2(report.r2),
        counted(report.runs, "run"),
        100.0 * report.rms_residual,
        intervals_from(report.uncertainty)
    )
}

/// Says in words how well the largest runs are predicted from the others; `None` where the others
/// are too few to try.
pub fn held_out(report: &LawReport) -> Option<String> {
    let [mean, worst, bias] = held_out_error(report)?.map(|error| 100.0 * error);
    let largest = match report.held_out.len() {
        1 => "the largest run, predicted from the others, is".to_owned(),
        many => format!("the {many} largest runs, predicted from the others, are"),
    };
    Some(format!(
        "held out: {largest} off by {mean:.2}%, {worst:.2}% at worst, {bias:+.2}% bias"
    ))
}

/// The mean and the worst error on the runs that were held out, and its mean with its sign.
fn held_out_error(report: &LawReport) -> Option<[f64; 3]> {
    let errors = report.held_out.iter();
    let errors: Vec<f64> = errors
        .map(|run| run.predicted / run.observed - 1.0)
        .collect();
    let mean = |value: fn(f64) -> f64| {
        errors.iter().map(|error| value(*error)).sum::<f64>() / errors.len() as f64
    };
    let worst = errors
        .iter()
        .fold(0.0, |worst: f64, error| worst.max(error.abs()));
    (!errors.is_empty()).then(|| [mean(f64::abs), worst, mean(|error| error)])
}

/// Names a column by the letter that the field gives it.
pub(super) fn letter(column: &str) -> &str {
    Variable::of_column(column).map_or(column, |variable| variable.letter())
}

fn write_decay(out: &mut String, gains: &DecayGains) -> std::fmt::Result {
    let without = match gains.without_gain {
        0 => String::new(),
        some => format!("; {some} without a gain are left out"),
    };
    let law = match &gains.law {
        Maybe::Known(law) => law,
        Maybe::Unknown(why) => {
            return writeln!(out, "\nDecay law: cannot be fitted: {why}{without}");
        }
    };
    writeln!(out, "\nDecay law: {}", law.equation)?;
    writeln!(
        out,
        "  {} over {}{without}",
        r2(law.r2),
        counted(law.decays, "decay")
    )?;
    write_parameters(out, &law.parameters)
}

fn r2(r2: Option<f64>) -> String {
    r2.map_or_else(|| "R² undefined".to_owned(), |r2| format!("R² = {r2:.4}"))
}

fn write_parameters(out: &mut String, parameters: &[ParameterEstimate]) -> std::fmt::Result {
    for parameter in parameters {
        let interval = parameter.interval.map_or_else(String::new, |[low, high]| {
            format!("  [{}, {}]", number(low), number(high))
        });
        let mut remark = String::new();
        if let Some(why) = &parameter.unidentified {
            write!(remark, "  not identified: {why}")?;
        }
        if let Some(side) = parameter.at_bound {
            write!(remark, "  at its {} bound", super::describe::side(side))?;
        }
        let value = number(parameter.value);
        let line = format!(
            "    {:<10} {value:>10}{interval:<24}{remark}",
            parameter.name
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Says in words how a fitted law is less than the whole one; empty for a whole law.
pub fn reductions(report: &LawReport) -> Vec<String> {
    let at = report
        .at_tokens
        .map_or_else(String::new, |at| format!(" at D = {}", human(at)));
    match &report.form {
        LawForm::Named { .. } => Vec::new(),
        LawForm::Dlcm(form) => form.left_out().into_iter().map(str::to_owned).collect(),
        LawForm::Chinchilla => Vec::new(),
        LawForm::DenseAtOneD => vec![format!("holds only{at}; E includes the data term")],
        LawForm::DenseSharedFloor => vec![format!(
            "holds only{at}; too few sizes for an E of its own: E is the DLCM law's loss of an \
             infinite model at that D"
        )],
    }
}

/// Says in words where intervals come from.
pub(crate) fn intervals_from(uncertainty: Uncertainty) -> String {
    match uncertainty {
        Uncertainty::None => "no intervals".to_owned(),
        Uncertainty::Runs { draws } => {
            format!("95% intervals from {draws} resamples of whole runs")
        }
        Uncertainty::Signs { draws } => {
            format!("95% intervals from {draws} resamples of residuals, run by run (wild)")
        }
        Uncertainty::Profiles => {
            "95% intervals from profiles, which take rows as independent".to_owned()
        }
        Uncertainty::Noise {
            draws,
            sigma,
            source,
        } => {
            let source = match source {
                NoiseSource::Replicates => "as replicates show".to_owned(),
                NoiseSource::Residuals { freedom } => {
                    format!("as the fit leaves, {freedom} runs to spare")
                }
                NoiseSource::BothLaws => "as both laws' fits leave".to_owned(),
            };
            format!(
                "95% intervals from {draws} refits with {:.1}% noise ({source})",
                100.0 * sigma
            )
        }
    }
}

fn write_allocation(out: &mut String, allocation: &Allocation) -> std::fmt::Result {
    let times = match allocation.times_largest {
        times if (times - 1.0).abs() < 1e-6 => "the largest run's".to_owned(),
        times => format!("{} times the largest run's", number(times)),
    };
    let origin = if allocation.stated {
        times
    } else {
        format!("no budget was stated: {times}")
    };
    writeln!(
        out,
        "Optimum for {} training FLOPs ({}; {origin})",
        human(allocation.budget),
        allocation.convention
    )?;
    if let Some(tokens) = allocation.at_tokens {
        writeln!(
            out,
            "  D is held at {}: runs at one D cannot tell how to divide a budget between N and D",
            human(tokens)
        )?;
    }
    write_choice(out, "R free", &allocation.best)?;
    for choice in &allocation.by_ratio {
        let label = choice
            .declared_ratio
            .map_or_else(String::new, |ratio| format!("R = {ratio}"));
        write_choice(out, &label, choice)?;
    }
    Ok(())
}

fn write_choice(out: &mut String, label: &str, choice: &Choice) -> std::fmt::Result {
    writeln!(out, "  {label:<7} {}", quantities(choice).join("  "))?;
    for remark in remarks(choice) {
        writeln!(out, "          {remark}")?;
    }
    Ok(())
}

/// Lists what a choice comes to, each quantity with its interval, such as `P* = 0.61 [0.52, 0.70]`.
pub(super) fn quantities(choice: &Choice) -> Vec<String> {
    let with = |name: &str, value: f64, print: &dyn Fn(f64) -> String| {
        let interval = choice
            .intervals
            .get(name)
            .map_or_else(String::new, |[low, high]| {
                format!(" [{}, {}]", print(*low), print(*high))
            });
        format!("{}{interval}", print(value))
    };
    let setting = &choice.setting;
    // A value that the runs do not determine is none.
    let told = |name: &str, value: f64, print: &dyn Fn(f64) -> String| {
        let letter = letter(name);
        if choice.undetermined.iter().any(|open| open == name) {
            let within = with(name, value, print);
            let within = within.split_once(' ').map_or("", |(_, interval)| interval);
            return format!("{letter}* not determined {within}");
        }
        format!("{letter}* = {}", with(name, value, print))
    };
    let mut quantities = vec![
        told("concept_share", setting.concept_share, &|p| {
            format!("{p:.2}")
        }),
        told("params", setting.params, &human),
    ];
    if choice.declared_ratio.is_none() {
        quantities.push(told("compression_ratio", setting.compression_ratio, &|r| {
            format!("{r:.1}")
        }));
    }
    quantities.push(format!("D = {}", human(setting.tokens)));
    let loss = with("loss", choice.loss, &|loss| format!("{loss:.3}"));
    quantities.push(format!("loss {loss}"));
    quantities
}

/// Says in words how far a choice is from what was trained and how little it may be determined.
pub fn remarks(choice: &Choice) -> Vec<String> {
    let mut remarks = Vec::new();
    if !choice.undetermined.is_empty() {
        let names: Vec<_> = choice
            .undetermined
            .iter()
            .map(|name| letter(name))
            .collect();
        let names = names.join(" and ");
        remarks.push(format!("{names} not determined by these runs"));
    }
    remarks.extend(beyond(choice));
    if !choice.at_edge.is_empty() {
        let edges = choice.at_edge.iter().map(|edge| {
            let (name, end) = edge.split_once(' ').unwrap_or((edge, ""));
            format!("{} {end}", letter(name))
        });
        let edges: Vec<_> = edges.collect();
        remarks.push(format!(
            "at the edge of what was trained: {}; better may lie beyond",
            edges.join(", ")
        ));
    }
    remarks
}

/// Says in words how far a choice is from what was trained.
pub(super) fn beyond(choice: &Choice) -> Option<String> {
    let far = choice.outside.iter();
    let far = far.map(|o| format!("{} {:.1}×", letter(&o.quantity), o.factor));
    let far: Vec<String> = far.collect();
    (!far.is_empty()).then(|| format!("beyond the runs: {}", far.join(", ")))
}

/// Writes what concepts are worth, and one line for each kind of model that a DLCM is compared with.
fn write_savings(out: &mut String, result: &AnalysisResult) -> std::fmt::Result {
    if let Maybe::Known(worth) = &result.concept_worth {
        writeln!(out, "{}", worth_in_words(worth))?;
    }
    let attribution = result.attribution();
    let own = match (attribution.may_be_claimed(), attribution.untuned.is_empty()) {
        (false, _) => "  (not the concepts')",
        (true, false) => "  (rates not tuned)",
        (true, true) => "",
    };
    let mut line = |against: &str, savings: &Maybe<Savings>| {
        let savings = match savings {
            Maybe::Known(savings) => savings,
            Maybe::Unknown(why) => {
                return writeln!(out, "FLOPs saved against {against}: not known: {why}");
            }
        };
        match savings.headline(result.best_ratio()) {
            Some((curve, point)) => writeln!(
                out,
                "FLOPs saved against {against} N = {}, R = {}, D = {} ({}): {}{own}",
                human(point.baseline),
                curve.declared_ratio,
                human(savings.tokens),
                savings.convention,
                saved(point)
            ),
            None => Ok(()),
        }
    };
    let has_dense = result.runs.iter().any(|run| run.kind == ModelKind::Dense);
    if has_dense {
        line("dense", &result.savings)?;
    }
    if result.has_controls() {
        line("the token level alone,", &result.control_savings)?;
    }
    Ok(())
}

/// Says in words what concepts are worth over a grid.
pub fn worth_in_words(worth: &ConceptWorth) -> String {
    format!(
        "Concepts are worth {} nats/token against the token level alone (median of {}, {} above \
         noise; noise between seeds {:.3}{})",
        nats(worth.median, worth.interval),
        counted(worth.runs.len(), "run"),
        worth.above_noise,
        worth.noise,
        if worth.noise_is_assumed {
            ", assumed"
        } else {
            ""
        }
    )
}

/// Says in words which share of a baseline's FLOPs is saved, and how sure that is.
pub fn saved(point: &SavingPoint) -> String {
    let Some(saved) = point.training else {
        return "its loss is out of reach of the DLCM law".to_owned();
    };
    // Beyond twice the dense FLOPs the number says nothing more.
    let end = |end: Option<f64>| match end {
        Some(saved) if saved >= -1.0 => format!("{:+.0}%", 100.0 * saved),
        _ => "below −100%".to_owned(),
    };
    let interval = match point.interval {
        [None, None] => String::new(),
        [low, high] => format!(" [{}, {}]", end(low), end(high)),
    };
    let doubt = if point.sign_is_known() {
        ""
    } else {
        "  (may be none, or a loss)"
    };
    let far = if point.extrapolated {
        "  extrapolated"
    } else {
        ""
    };
    let saved = if saved >= -1.0 {
        end(Some(saved))
    } else {
        "costs over twice as much".into()
    };
    format!("{saved}{interval}{far}{doubt}")
}

/// Prints a parameter with three significant digits.
pub fn number(value: f64) -> String {
    match value.abs() {
        // What a fit on a bound leaves is rounding.
        m if m < 1e-9 => "0".to_owned(),
        m if (1e-3..1e4).contains(&m) => {
            let decimals = (2 - m.log10().floor() as i32).clamp(0, 5) as usize;
            format!("{value:.decimals$}")
        }
        _ => format!("{value:.2e}"),
    }
}
