//! What whole steps make of the training tokens that cells ask for.

use super::Planned;
use crate::quantity::Tokens;
use std::collections::BTreeSet;

/// Largest distance of D from what was asked for that is passed over, as a ratio: from five steps on
/// rounding stays below it.
const SILENT: f64 = 1.1;

/// Says where training in whole steps changes what was asked for: cells that come to the same run,
/// and runs whose D is another by more than a tenth.
pub fn rounding(planned: &[Planned]) -> Vec<String> {
    let distinct = |run: &Planned| run.asked.iter().collect::<BTreeSet<_>>().len();
    let merged: usize = planned.iter().map(|run| distinct(run).max(1) - 1).sum();
    let step = |run: &Planned| (run.spec.recipe.batch * run.spec.architecture.seq_len()) as u64;
    let mut warnings = Vec::new();
    if let Some(run) = planned.iter().find(|run| distinct(run) > 1) {
        warnings.push(format!(
            "{merged} {} not run: training goes in whole steps (as of {} tokens, `training.batch` \
             times `model.seq_len`), in which its D is that of another",
            if merged == 1 { "cell is" } else { "cells are" },
            step(run)
        ));
    }
    let off = |run: &Planned| {
        let reached = run.spec.recipe.tokens;
        let ratio = |asked: &u64| {
            let ratio = reached as f64 / *asked as f64;
            (ratio.max(1.0 / ratio), *asked)
        };
        let all = run.asked.iter().map(ratio);
        all.max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(ratio, asked)| (ratio, asked, reached))
    };
    let far: Vec<_> = planned
        .iter()
        .filter_map(off)
        .filter(|off| off.0 > SILENT)
        .collect();
    if let Some((_, asked, reached)) = far.iter().max_by(|a, b| a.0.total_cmp(&b.0)) {
        warnings.push(format!(
            "training goes in whole steps, which makes the D of {} another by more than a tenth: at \
             worst {} for the {} asked; more tokens or a smaller `training.batch` come closer",
            match far.len() {
                1 => "one run".to_owned(),
                runs => format!("{runs} runs"),
            },
            Tokens(*reached),
            Tokens(*asked)
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::example::planned;
    use super::*;

    const SHAPE: &str = "concept_share: 0.5, compression_ratio: 4, params: 0.2M";

    #[test]
    fn cells_of_many_steps_are_what_was_asked() {
        let runs = planned(&format!(
            "grid: {{{SHAPE}, tokens: [0.1M, 0.2M], seed: [0, 1]}}"
        ));
        assert_eq!((runs.len(), rounding(&runs)), (4, vec![]));
        // A cell that is written twice over, as dense ones of every R are, is one run by intent.
        let text =
            format!("grid: {{{SHAPE}, tokens: 0.1M}}\nbaselines: {{params: 0.2M, tokens: 0.1M}}");
        assert_eq!(rounding(&planned(&text)), Vec::<String>::new());
    }

    #[test]
    fn cells_that_become_one_run_are_told() {
        // A step is 16 sequences of 256 tokens.
        let runs = planned(&format!(
            "grid: {{{SHAPE}, tokens: [1000, 2000, 5000, 41000, 82000]}}"
        ));
        assert_eq!(runs.len(), 3);
        let said = rounding(&runs);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(
            said[0].starts_with("2 cells are not run") && said[0].contains("4096 tokens"),
            "{said:?}"
        );
        assert!(
            said[1].contains("the D of one run") && said[1].contains("4.10K for the 1.00K"),
            "{said:?}"
        );
    }

    #[test]
    fn pieces_of_a_trunk_are_asked_for_by_nobody() {
        let text = format!("grid: {{{SHAPE}, tokens: [0.2M, 0.4M]}}\ntraining: {{branches: true}}");
        let runs = planned(&text);
        assert!(runs.len() > 2);
        assert_eq!(rounding(&runs), Vec::<String>::new());
    }
}
