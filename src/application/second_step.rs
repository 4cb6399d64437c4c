//! The second step of a law: a score of the rows by what the law predicts.

use super::{AskError, Asked};
use crate::rows::{LossUnit, Selection, Table, Wanted};
use scaling_law::analysis::{Policy, Warning};
use scaling_law::study::{LOSS, SecondStep, score_and_law};

/// By what the seed of another table's draws differs.
const OTHER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Asked {
    /// Fits `SCORE = FORMULA` to the rows, or to those of another table, and says what limits them.
    ///
    /// # Errors
    /// When the formula cannot be read, reads another column than the law predicts, or cannot be fitted.
    pub fn second_step(
        &self,
        text: &str,
        other: Option<Table>,
        policy: &Policy,
    ) -> Result<(SecondStep, Vec<Warning>), AskError> {
        if self.table.is_of_experiment() {
            let why = "`--then` reads a table (--csv FILE); of an experiment's runs that were evaluated, `--accuracy` \
                       says what accuracy goes with bits per byte";
            return Err(AskError::Target(why.to_owned()));
        }
        let target = self.selection.target.as_deref().unwrap_or("loss");
        if self.selection.loss_unit != LossUnit::Nats {
            let why = "`--then` reads losses as its table has them: give the table in nats per token, without --loss-unit";
            return Err(AskError::Target(why.to_owned()));
        }
        let is_of_loss = |text: &String| {
            let mut words = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            words.any(|word| word == "loss")
        };
        let chooses_by_loss =
            !self.selection.best_of.is_empty() || self.selection.filters.iter().any(is_of_loss);
        if other.is_none() && chooses_by_loss {
            let why = "with `--then` a score stands where the loss does, so --best-of and a --where about the loss would \
                       choose by it: write the rows that are meant to a table, and name it with --then-csv";
            return Err(AskError::Target(why.to_owned()));
        }
        let mut policy = policy.clone();
        if other.is_some() {
            // The draws of one table say nothing of those of another.
            policy.seed = policy.seed.wrapping_add(OTHER);
        }
        let (table, mut selection) = match other {
            Some(table) => (table, Selection::default()),
            None => (self.table.clone(), self.selection.clone()),
        };
        // What stands for the loss is the score; a law's own loss has another name beside it.
        let (score, law) = score_and_law(text, table.header())?;
        let read = match target {
            "loss" => LOSS,
            target => target,
        };
        if let Some(strange) = law.inputs().iter().find(|input| input.name != read) {
            return Err(AskError::Target(format!(
                "the second step reads `{}`, and what the law predicts is `{target}`: `--target` says what laws are of",
                strange.name
            )));
        }
        let own = selection.columns.iter().find(|(name, _)| name == "loss");
        let own = own.map_or("loss", |(_, theirs)| theirs).to_owned();
        selection.columns.retain(|(name, _)| name != "loss");
        if read == LOSS {
            selection.columns.push((LOSS.to_owned(), own));
        }
        selection.target = Some(score.clone());
        let asked = Self::of_table(table, selection);
        let rows = asked
            .table
            .select(&Wanted::of_score(law.as_ref()), &asked.selection)?;
        SecondStep::of_rows(&law, &score, &rows, &policy).map_err(AskError::Target)
    }
}
