//! What an experiment that is trained until something is known trains next.

use super::{AskError, Asked};
use experiment::architecture::ModelKind;
use experiment::flops::Convention;
use experiment::plan::Planned;
use experiment::run::Part;
use scaling_law::analysis::{CostModel, Policy};
use scaling_law::fit::allocation::Setting;
use scaling_law::study::{Course, Goal, Next, Open};

/// The runs that may be chosen, with their places in the plan: those with concepts that are trained as a whole.
pub fn open_runs(planned: &[Planned]) -> Vec<(usize, Open)> {
    let whole = planned.iter().enumerate().filter(|(_, run)| {
        let is_dlcm = run.spec.architecture.kind() == ModelKind::Dlcm;
        is_dlcm && !run.trial && run.part() == Part::Whole
    });
    let open = whole.map(|(place, run)| {
        let params = run.spec.architecture.params();
        let setting = Setting {
            params: params.non_embedding() as f64,
            tokens: run.spec.recipe.tokens as f64,
            concept_share: params.concept_share(),
            compression_ratio: run.spec.architecture.compression_ratio(),
        };
        let flops = run.flops;
        (place, Open { setting, flops })
    });
    open.collect()
}

/// Says what is trained where nothing was: runs that are spread over the grid.
pub fn first_runs(goal: Goal, grid: &[Open]) -> Next {
    let cost = CostModel::without_shapes(Convention::Exact);
    let course = Course {
        goal,
        budget: 0.0,
        cost: &cost,
        grid,
        at_once: 1,
    };
    course.next(Course::laws(&[], &Policy::default()), &[], false)
}

impl Asked {
    /// Says what comes next by the rows so far; `taken` are the places in the grid that were trained, and the interval may
    /// have been narrow enough in the round before.
    ///
    /// # Errors
    /// When the rows cannot be read as runs.
    pub fn next(
        &self,
        goal: Goal,
        grid: &[Open],
        (taken, was_narrow): (&[usize], bool),
        at_once: usize,
    ) -> Result<Next, AskError> {
        let runs = self.table.runs(&self.selection)?;
        let laws = Course::laws(&runs.rows, &self.policy);
        let models = self.models.as_ref();
        let cost = CostModel::of_rows(self.settings.flops_convention, models, &laws.used);
        let largest = grid.iter().map(|open| open.flops).fold(0.0, f64::max);
        let course = Course {
            goal,
            budget: self.settings.budget.unwrap_or(largest),
            cost: &cost,
            grid,
            at_once,
        };
        Ok(course.next(laws, taken, was_narrow))
    }
}
