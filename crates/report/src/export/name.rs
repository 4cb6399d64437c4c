//! What a run is called where people look at a list of runs.

use campaign::store::RunRecord;
use experiment::quantity::{Params, Tokens};
use experiment::run::Part;

/// Names a run by its kind, its part of a training, its size, tokens and seed and, at the end, its id:
/// `dlcm_N0.1M_P0.3_R4_D0.4M_s0_021d4c0d6641`. The name may stand in a path.
pub(super) fn readable(run: &RunRecord) -> String {
    let part = match run.part {
        Part::Whole => String::new(),
        part => format!("-{part}"),
    };
    let concepts = if !run.has_concepts() {
        String::new()
    } else {
        format!(
            "_P{}_R{}",
            (run.concept_share * 100.0).round() / 100.0,
            run.compression_ratio
        )
    };
    let params = run.params.map(|n| format!("_N{}", Params(n)));
    let tokens = run.tokens.map(|d| format!("_D{}", Tokens(d)));
    format!(
        "{}{part}{}{concepts}{}_s{}_{}",
        run.kind.name(),
        params.unwrap_or_default(),
        tokens.unwrap_or_default(),
        run.seed,
        run.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use experiment::architecture::ModelKind;
    use scaling_law::analysis::simulated;

    #[test]
    fn names_are_readable_unique_and_fit_into_paths() {
        let runs = simulated::QUICK.runs();
        let names: std::collections::BTreeSet<String> = runs.iter().map(readable).collect();
        assert_eq!(names.len(), runs.len());
        for (run, name) in runs.iter().map(|run| (run, readable(run))) {
            assert!(
                name.starts_with(run.kind.name()) && name.ends_with(&run.id.0),
                "{name}"
            );
            assert_eq!(name.contains("_P"), run.kind == ModelKind::Dlcm, "{name}");
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            assert!(name.chars().all(plain), "{name}");
        }
    }
}
