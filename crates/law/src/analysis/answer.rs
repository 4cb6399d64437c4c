//! The question of an experiment and its answer, in one sentence each.

use super::summary::{quantities, remarks, saved};
use super::{AnalysisResult, Maybe, Verdict};
use experiment::quantity::human;

/// The question of an experiment and its answer in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is asked.
    pub question: String,
    /// What must be read before the answer; the most serious first.
    pub caveats: Vec<String>,
    /// The answer with its intervals, or why there is none.
    pub sentence: String,
}

/// Answers in one sentence: what to train for the budget, how sure that is and what it saves.
pub fn answer(result: &AnalysisResult) -> Answer {
    let loud = result.warnings.iter().filter(|warning| warning.is_loud());
    let mut caveats: Vec<String> = loud.map(ToString::to_string).collect();
    let allocation = match &result.allocation {
        Maybe::Known(allocation) => allocation,
        Maybe::Unknown(why) => {
            return Answer {
                question: question(result.settings.budget),
                caveats,
                sentence: format!("Not known: {why}."),
            };
        }
    };
    caveats.extend(remarks(&allocation.best));
    if let Some(tokens) = allocation.at_tokens {
        caveats.push(format!(
            "D is held at {}: runs at one D cannot tell how to divide a budget between N and D",
            human(tokens)
        ));
    }
    let mut sentence = format!(
        "At {} training FLOPs: {}",
        human(allocation.budget),
        quantities(&allocation.best).join(", ")
    );
    sentence += &saving(result);
    let unidentified = unidentified(result);
    if !unidentified.is_empty() {
        sentence += &format!("; the data do not identify {}", unidentified.join(", "));
    }
    Answer {
        question: question(Some(allocation.budget)),
        caveats,
        sentence: sentence + ".",
    }
}

fn question(budget: Option<f64>) -> String {
    let budget = budget.map_or_else(
        || "the budget".to_owned(),
        |budget| format!("{} training FLOPs", human(budget)),
    );
    format!(
        "Which concept share P, compression ratio R and size N are best for {budget}, and what does \
         that save against a dense model?"
    )
}

/// Says what is saved against dense models, and whose that is; a saving that is not the concepts' is
/// said to be none of theirs, and how large it is stands below.
fn saving(result: &AnalysisResult) -> String {
    let attribution = result.attribution();
    let savings = match (&result.savings, &attribution.verdict) {
        (_, Verdict::NotConcepts { why }) => {
            return format!("; what is saved against dense models is not the concepts': {why}");
        }
        (Maybe::Known(savings), _) => match attribution.doubt() {
            Some(doubt) => {
                return format!("; what is saved against dense models is not told here: {doubt}");
            }
            None => savings,
        },
        (Maybe::Unknown(why), _) => return format!("; FLOPs saved are not known: {why}"),
    };
    let Some((curve, point)) = savings.headline(result.best_ratio()) else {
        return String::new();
    };
    let whose = match &attribution.verdict {
        Verdict::Concepts { part: Some(part) } | Verdict::Partly { part } => {
            format!(", of which concepts have {part}")
        }
        Verdict::Unknown { why } => format!(", of which the concepts' part is not known ({why})"),
        _ => String::new(),
    };
    format!(
        "; FLOPs saved against dense N = {} at equal loss with R = {}: {}{whose}",
        human(point.baseline),
        curve.declared_ratio,
        saved(point)
    )
}

/// Names the parameters of the DLCM law that the data do not determine.
fn unidentified(result: &AnalysisResult) -> Vec<&str> {
    let report = result.dlcm.report();
    let parameters = report.into_iter().flat_map(|report| &report.parameters);
    parameters
        .filter(|parameter| parameter.unidentified.is_some())
        .map(|parameter| parameter.name.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::simulated;
    use experiment::grid::Analysis;
    use experiment::quantity::Draws;

    fn answered(runs: &[experiment::record::RunRecord]) -> (AnalysisResult, Answer) {
        let settings = Analysis {
            bootstrap: Draws::from(30),
            ..Analysis::default()
        };
        let result = simulated::tuned(simulated::analysed(runs, &settings));
        let answer = answer(&result);
        (result, answer)
    }

    #[test]
    fn the_sentence_says_what_to_train_and_what_it_saves() {
        let (result, answer) = answered(&simulated::FIRST.runs());
        let best = &result.allocation.known().expect("an optimum").best;
        let share = format!("P* = {:.2} [", best.setting.concept_share);
        assert!(answer.sentence.contains(&share), "{}", answer.sentence);
        assert!(answer.sentence.contains("FLOPs saved against dense N ="));
        for remark in remarks(best) {
            assert!(answer.caveats.contains(&remark), "{remark}");
        }
    }

    #[test]
    fn a_saving_at_rates_that_were_not_tuned_is_no_headline() {
        let (mut result, _) = answered(&simulated::FIRST.runs());
        result.tuning.pop();
        // At the edge of what was tried.
        result.tuning[0].sizes[0].losses.pop();
        let told = super::answer(&result).sentence;
        assert!(!told.contains("FLOPs saved against dense N ="), "{told}");
        assert!(
            told.contains("the learning rates of DLCM were not tuned"),
            "{told}"
        );
        assert!(result.attribution().title().ends_with("(rates not tuned)"));
    }

    #[test]
    fn no_answer_says_why() {
        let (_, answer) = answered(&[]);
        assert!(answer.sentence.starts_with("Not known: "), "{answer:?}");
        assert!(answer.sentence.contains("no finished DLCM runs"));
    }
}
