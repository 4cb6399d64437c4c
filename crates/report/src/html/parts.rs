//! Parts of the report that stand elsewhere too, each as markup of its own: what is said of an
//! analysis, or of one law, is said in one place.

use super::{answer, law};
use scaling_law::analysis::{AnalysisResult, Asker, LawOutcome, LawReport, Since, Warning};
use scaling_law::study::AllocationReport;

/// The question, the answer and what stands behind it.
pub fn answer(result: &AnalysisResult, asker: &Asker) -> String {
    answer::section(result, asker, Since::default()).into_string()
}

/// The equation of a law, how well it fits and its parameters, or why there is none.
pub fn law(outcome: &LawOutcome) -> String {
    law::outcome(outcome).into_string()
}

/// The same of a law that was fitted by itself.
pub fn one_law(report: &LawReport) -> String {
    law::fitted(report).into_string()
}

/// What to train for a budget by one law, and what that saves; or why that is not known.
pub fn allocated(allocated: Result<&AllocationReport, &str>, budget: f64) -> String {
    let report = match allocated {
        Ok(report) => report,
        Err(why) => return answer::unknown(why).into_string(),
    };
    let mut page = answer::optimum(budget, std::iter::once(&report.choice)).into_string();
    if let Some(saving) = &report.saving {
        let saving = answer::against_dense(&saving.dense, saving.attribution.as_ref());
        page += &saving.into_string();
    }
    page
}

/// All warnings, the serious ones marked.
pub fn warnings(warnings: &[Warning]) -> String {
    law::warnings(warnings).into_string()
}
