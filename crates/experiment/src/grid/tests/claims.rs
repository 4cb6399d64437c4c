//! What claims are read as, and what is said of those that are none.

use super::{GRID, parse, refused};
use crate::claims::{Along, Bound, COLUMNS, Fitted, Test};
use std::collections::BTreeSet;

#[test]
fn claims_are_read_in_the_order_of_the_file() {
    let experiment = parse("a.yaml", &format!(
        "{GRID}\nclaims:\n  inside: {{says: there is a best P, source: a paper, test: optimum_inside, along: concept_share, among: kind = dlcm}}\n  \
         pays: {{says: it pays, test: differs, between: [kind = token_only, kind = dlcm], of: words.bits_per_byte, at_least: 0.02}}\n  \
         carries: {{says: it carries, test: transfers, along: training.learning_rate.token, over: params, within: 0.01}}\n  \
         fits: {{says: it fits, test: law, law: dlcm, number: r_squared, at_least: 0.98}}\n  \
         gains: {{says: it decays, test: law, law: decay, number: r_squared, at_least: 0.9}}\n  \
         starts: {{says: more at the start, test: mean, of: position_0.gain - position_3.gain, at_least: 0}}\n"
    ))
    .expect("right");
    let tests: Vec<&Test> = experiment.claims.iter().map(|claim| &claim.test).collect();
    assert_eq!(experiment.claims[0].source.as_deref(), Some("a paper"));
    assert_eq!(
        tests[0],
        &Test::OptimumInside(Along {
            along: "concept_share".into(),
            of: "loss".into(),
            among: Some("kind = dlcm".into()),
        })
    );
    assert!(
        matches!(tests[1], Test::Differs { at_least, of, .. } if *at_least == 0.02 && of == "words.bits_per_byte")
    );
    assert!(
        matches!(tests[2], Test::Transfers { over, within, .. } if over == "params" && *within == 0.01)
    );
    assert!(
        matches!(tests[3], Test::Law { law: Fitted::Dlcm, bound: Bound::AtLeast(bound), .. } if *bound == 0.98)
    );
    assert!(matches!(
        tests[4],
        Test::Law {
            law: Fitted::Decay,
            ..
        }
    ));
    assert!(
        matches!(tests[5], Test::Mean { of, bound: Bound::AtLeast(0.0), among: None } if of == "position_0.gain - position_3.gain")
    );
    // Another statement is another claim.
    let digests: BTreeSet<String> = experiment
        .claims
        .iter()
        .map(|claim| claim.digest())
        .collect();
    assert_eq!(digests.len(), 6);
}

#[test]
fn what_is_wrong_with_a_claim_is_said_where_it_stands() {
    for (claim, said) in [
        (
            "a: {test: rises, along: params}",
            "the claim `a` lacks `says`",
        ),
        ("a: {says: b}", "the claim `a` lacks `test`"),
        (
            "a: {says: b, test: raises, along: params}",
            "did you mean `rises`?",
        ),
        (
            "a: {says: b, test: rises, along: prams}",
            "did you mean `params`?",
        ),
        (
            "a: {says: b, test: rises, along: params, of: los}",
            "did you mean `loss`?",
        ),
        (
            "a: {says: b, test: rises, along: params, among: kind =}",
            "a name or a number is missing here",
        ),
        (
            "a: {says: b, test: rises, along: params, over: seed}",
            "`over` means nothing to the test `rises`",
        ),
        (
            "a: {says: b, test: rises, along: params, allong: seed}",
            "did you mean `along`?",
        ),
        (
            "a: {says: b, test: differs, between: kind = dlcm}",
            "write two groups",
        ),
        (
            "a: {says: b, test: differs, between: [kind = dlcm, kind = dense], at_least: many}",
            "`many` is no number",
        ),
        (
            "a: {says: b, test: transfers, along: seed, over: params}",
            "the claim `a` lacks `within`",
        ),
        (
            "a: {says: b, test: transfers, along: seed, over: params, within: 0}",
            "`within` must be above 0",
        ),
        (
            "a: {says: b, test: law, law: dlcm, number: r_squared}",
            "the claim `a` needs one bound",
        ),
        (
            "a: {says: b, test: mean, of: loss, at_least: 0, at_most: 1}",
            "the claim `a` needs one bound",
        ),
        (
            "a: {says: b, test: law, law: moe, number: E, at_most: 1}",
            "write one of dlcm, dense, token_only, decay",
        ),
        (
            "a: {says: b, test: law, law: dlcm, number: r_sqaured, at_least: 0.9}",
            "did you mean `r_squared`?",
        ),
        (
            "a: {says: b, test: law, law: dlcm, number: r_squared, at_least: 1.5}",
            "R² cannot be bounded by 1.5",
        ),
        (
            "a: {says: b, test: rises, along: kind}",
            "`kind` has no numbers to look along",
        ),
        (
            "a b: {says: b, test: rises, along: params}",
            "cannot be the name of a claim",
        ),
        ("a: rises", "`claims.a` cannot be `rises`"),
    ] {
        let refused = refused(&format!("{GRID}\nclaims:\n  {claim}\n"));
        assert!(refused.contains(said), "{claim}:\n{refused}");
    }
    let refused = refused(&format!("{GRID}\nclaims: many\n"));
    assert!(refused.contains("`claims` cannot be `many`"), "{refused}");
}

#[test]
fn every_column_is_in_the_documentation_of_claims() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/claims.md");
    let text = std::fs::read_to_string(path).expect("docs/claims.md");
    for (name, meaning) in COLUMNS {
        let line = format!("| `{name}` | {meaning} |");
        assert!(text.contains(&line), "docs/claims.md lacks\n{line}");
    }
}

#[test]
fn every_file_about_the_paper_claims_something_and_says_where_the_paper_does() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments/paper");
    let mut files = 0;
    for file in std::fs::read_dir(folder).expect("experiments").flatten() {
        let path = file.path().display().to_string();
        let text = std::fs::read_to_string(file.path()).expect("readable");
        let experiment = parse(&path, &text).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert!(!experiment.claims.is_empty(), "{path}");
        assert!(text.contains("arXiv 2512.24617"), "{path}");
        assert!(text.contains("minutes on two CPU cores"), "{path}");
        files += 1;
    }
    assert!(files >= 8, "{files}");
}
