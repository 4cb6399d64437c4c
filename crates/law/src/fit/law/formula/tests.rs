use super::super::checks::law_is_consistent;
use super::super::{FittedLaw, by_name};
use super::*;
use proptest::prelude::*;
use std::sync::Arc;

fn read(text: &str, table: &[String]) -> Result<Formula, LawError> {
    Formula::of(read::read(text, table)?)
}

fn formula(text: &str) -> Formula {
    read(text, &[]).expect("a formula")
}

fn names(law: &dyn Law) -> Vec<String> {
    law.parameters().into_iter().map(|one| one.name).collect()
}

/// The built-in laws as formulas, with parameters of each.
const BUILT_IN: [(&str, &str, &[f64]); 3] = [
    (
        "chinchilla",
        "E + A/params^alpha + B/tokens^beta",
        &[1.8, 400.0, 2000.0, 0.34, 0.37],
    ),
    (
        "power:params,tokens",
        "E + A_params/params^e_params + A_tokens/tokens^e_tokens",
        &[1.8, 400.0, 0.34, 2000.0, 0.37],
    ),
    (
        "dlcm_decay",
        "k * stable_loss^a * compression_ratio^b * params^c",
        &[0.01, 1.8, -0.1, 0.06],
    ),
];

/// Values of a law's parameters by name, in a formula's order.
fn in_order(formula: &Formula, law: &dyn Law, values: &[f64]) -> Vec<f64> {
    let known = names(law);
    let place = |name: String| {
        known
            .iter()
            .position(|known| *known == name)
            .expect("named alike")
    };
    names(formula)
        .into_iter()
        .map(|name| values[place(name)])
        .collect()
}

#[test]
fn slopes_are_exact_and_coordinates_invert() {
    let rows = [
        vec![3e8, 4e9, 0.3, 4.0],
        vec![9e8, 1e10, 0.5, 8.0],
        vec![5e8, 2e10, 0.7, 2.0],
    ];
    for (text, natural) in [
        (
            "E + A/params^alpha + B/tokens^beta",
            &[1.8, 400.0, 0.34, 2000.0, 0.37][..],
        ),
        (
            "E + A_t/(params*(1-concept_share) + t_t)^d1 + A_c*compression_ratio^g/(params*concept_share + t_c)^d2 + A_d/(tokens + t_d)^a",
            &[
                1.2, 400.0, 1e7, 0.3, 300.0, 0.2, 2e7, 0.35, 2000.0, 1e8, 0.4,
            ],
        ),
        (
            "E + exp(a*params^g + b) * tokens^(-exp(c*params^h + d))",
            &[0.4, -0.02, 0.15, 1.0, -0.1, 0.11, -0.3],
        ),
        (
            "c + k*exp(-concept_share/g) + b*log(params) where k in 0.1..9",
            &[3.0, 0.5, 0.4, -0.05],
        ),
        (
            "sqrt(E)*sigmoid(a*log(params) + b) + max(c/tokens^d, 0.01)",
            &[3.0, 0.1, -1.0, 2000.0, 0.37],
        ),
    ] {
        let law = formula(text);
        let rows: Vec<Vec<f64>> = rows
            .iter()
            .map(|row| {
                let column = |name: &String| match name.as_str() {
                    "params" => row[0],
                    "tokens" => row[1],
                    "concept_share" => row[2],
                    _ => row[3],
                };
                law.columns.iter().map(column).collect()
            })
            .collect();
        law_is_consistent(&law, natural, &rows);
    }
}

#[test]
fn a_formula_of_a_law_written_by_hand_is_that_law() {
    for (name, text, values) in BUILT_IN {
        let (law, formula) = (by_name(name).expect("known"), formula(text));
        let own = in_order(&formula, law.as_ref(), values);
        let fitted = FittedLaw::from_parts(law.clone(), values.to_vec()).expect("fits");
        let columns: Vec<String> = law.inputs().into_iter().map(|input| input.name).collect();
        let same = FittedLaw::from_parts(Arc::new(formula.clone()), own).expect("fits");
        let at = |column: &String| match column.as_str() {
            "params" => 7e8,
            "tokens" => 3e10,
            "stable_loss" => 2.3,
            _ => 4.0,
        };
        let here: Vec<f64> = columns.iter().map(at).collect();
        let there: Vec<f64> = formula.columns.iter().map(at).collect();
        let (a, b) = (fitted.predict(&here), same.predict(&there));
        assert!((a - b).abs() < 1e-13 * a, "{name}: {a} {b}");
        // The same coordinates, bounds and starts, so that a fit goes the same way.
        if name != "dlcm_decay" {
            for (one, other) in law
                .parameters()
                .iter()
                .zip(law.parameters().iter().map(|one| {
                    let known = formula.parameters();
                    known
                        .into_iter()
                        .find(|known| known.name == one.name)
                        .expect("named alike")
                }))
            {
                assert_eq!(
                    (one.role, one.bounds, one.start),
                    (other.role, other.bounds, other.start),
                    "{name}: {}",
                    one.name
                );
            }
            assert!(formula.terms().is_some(), "{name}");
        }
    }
}

#[test]
fn a_formula_is_read_again_by_its_own_name() {
    let table = [
        "w_code".to_owned(),
        "w_web".to_owned(),
        "eval loss".to_owned(),
    ];
    for (text, name) in [
        ("loss = E + A/N^alpha", "E + A/`params`^alpha"),
        (
            "c + k*exp(sum(t_* * w_*)) where c = 1.5, k in 0..inf",
            "c + k*exp(((t_code * `w_code`) + (t_web * `w_web`))) where c = 1.5, k in 0..inf",
        ),
        ("E + b*`eval loss`", "E + b*`eval loss`"),
        ("E + A*sum(w_*)", "E + A*((`w_code`) + (`w_web`))"),
    ] {
        let law = read(text, &table).expect("a formula");
        assert_eq!(law.name(), name);
        let again = by_name(name).expect("its own name");
        assert_eq!(again.parameters(), law.parameters());
        assert_eq!(again.inputs(), law.inputs());
    }
    let odd = ["w_a-b".to_owned(), "w_web".to_owned()];
    let law = read("c + exp(sum(t_* * w_*))", &odd).expect("a formula");
    assert_eq!(names(&law), ["c", "t_a_b", "t_web"]);
    let difference = by_name("loss = E - a*`x`").expect("a formula");
    assert_eq!(difference.name(), "E - a*`x`");
    let clash = ["w_a-b".to_owned(), "w_a_b".to_owned()];
    assert!(read("c + exp(sum(t_* * w_*))", &clash).is_err());
    let pinned = read("c + k*w_web where c = 1.5", &table).expect("a formula");
    assert_eq!(names(&pinned), ["k"]);
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    for (text, said) in [
        ("E + A/parms^alpha", "did you mean the column `params`?"),
        (
            "E + A/params^",
            "a name or a number is missing here\n  E + A/params^\n               ^",
        ),
        ("E + A/n_params^alpha", "did you mean the column `params`?"),
        ("E + A", "it reads no column"),
        ("params^0.5 + 3", "it has no parameter to fit"),
        ("E + round(params)*a", "`round` has no slope"),
        ("E + a*if(params > 3, 1, 2)", "conditions have no slope"),
        ("E + a*(loss)", "the loss is what the law predicts"),
        (
            "E + a/params where A = 3",
            "the formula has no parameter `A`",
        ),
        (
            "E + a/params where a in 3..2",
            "the lower bound is not below the upper one",
        ),
        ("E + a/params where a in 3", "bounds are missing"),
        ("E + a/params where a = many", "is no number"),
        (
            "E + a/params where a = 1, a = 2",
            "`a` has a condition already",
        ),
        ("E + sum(x_* * y_*)", "no column is of this family"),
        ("E + sum(params", "this parenthesis is not closed"),
    ] {
        let error = by_name(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn hostile_formulas_end_at_once() {
    let many: Vec<String> = (0..200).map(|at| format!("a{at}*params^b{at}")).collect();
    for text in [
        "(".repeat(1_000_000),
        "+".repeat(1_000_000),
        format!("{}params{}", "(".repeat(1500), ")".repeat(1500)),
        "-".repeat(3000) + "params",
        format!("params{}", "^a".repeat(1500)),
        many.join(" + "),
        format!("exp({})", many.join("+")),
        "sum(".repeat(900),
        "E + a*params^b where ".to_owned() + &"a in 0..1,".repeat(300),
        // A tree that would double with each of its powers.
        format!("E + {}a{}", "(N*exp(a))^".repeat(40), "+".repeat(2)),
    ] {
        assert!(by_name(&text).is_err());
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-zEN0-9+*/^(),.`_ =]{0,60}") {
        if let Ok(law) = read(&text, &[]) {
            // What is read is read again alike.
            let again = read(&law.name(), &[]).expect("its own name");
            prop_assert_eq!(again.name(), law.name());
        }
    }
}

#[test]
fn long_exponents_are_not_copied_again_and_again() {
    let text = format!("E + {}a", "(N*exp(a))^".repeat(40));
    // Read or refused, at once.
    let _ = by_name(&text);
}

#[test]
fn names_stand_for_expressions() {
    let long = formula("E + A/m^alpha + B/D^beta where m = N*(1 - P), E = 1.69, alpha in 0.1..1");
    let short = formula("E + A/(N*(1 - P))^alpha + B/D^beta where E = 1.69, alpha in 0.1..1");
    assert_eq!(names(&long), names(&short));
    assert_eq!(long.inputs(), short.inputs());
    let chained = formula("E + A/a^alpha where a = b*2, b = min(N, c), c = exp(D)");
    assert_eq!(
        chained.name(),
        "E + A/((min(`params`, (exp(`tokens`))))*2)^alpha"
    );
    // What it goes by is read again as the same.
    assert_eq!(formula(&chained.name()).name(), chained.name());
    for (text, why) in [
        (
            "E + A/a^b where a = b*N, b = a*2",
            "`b` would stand for itself",
        ),
        ("E + A/a^b where a = a*N", "`a` would stand for itself"),
        (
            "E + A/N^b where a = 2*N",
            "nothing in the formula is called `a`",
        ),
        ("E + A/tokens^b where tokens = 2*N", "`tokens` is a column"),
        ("E + A/a^b where a = 2*N, a = 3*N", "has one already"),
        ("E + A/a^b where a = 2*(N", "is not closed"),
        ("E + A/N^b where D = 2*tokens", "`D` is a column"),
        (
            "E + A/N^b where 2 = N + b",
            "no name that an expression could have",
        ),
    ] {
        let said = read(text, &[]).expect_err("refused").to_string();
        assert!(said.contains(why) && said.contains('^'), "{text}: {said}");
    }
    // Each doubles what comes after it.
    let doubled: Vec<String> = (0..60)
        .map(|k| format!("v{k} = v{0} + v{0}", k + 1))
        .collect();
    let hostile = format!("E + A/v0^b where {}, v60 = N*2", doubled.join(", "));
    let said = read(&hostile, &[]).expect_err("refused").to_string();
    assert!(said.contains("written out"), "{said}");
}

#[test]
fn parameters_differ_by_the_words_of_a_column() {
    let text = "E + A[optimizer]/(N + t)^alpha + B[data]/D^beta[data] \
                where optimizer in (adam w, muon), data in (books, code, web), alpha in 0.1..1";
    let law = by_name(text).expect("a formula");
    assert_eq!(
        names(law.as_ref()).join(" "),
        "E A[adam w] A[muon] t alpha B[books] B[code] B[web] beta[books] beta[code] beta[web]"
    );
    let rows = [
        [3e8, 4e9, 0.0, 2.0],
        [9e8, 1e10, 1.0, 0.0],
        [5e8, 2e10, 0.0, 1.0],
    ];
    let rows: Vec<Vec<f64>> = rows.into_iter().map(Vec::from).collect();
    let natural = [1.8, 400.0, 300.0, 1e8, 0.34, 2e3, 1e3, 3e3, 0.37, 0.3, 0.4];
    law_is_consistent(law.as_ref(), &natural, &rows);
    // A row is predicted by its own words' values.
    let fitted = FittedLaw::from_parts(law, natural.to_vec()).expect("complete");
    let own = 1.8 + 300.0 / 1e9_f64.powf(0.34) + 2e3 / 1e10_f64.powf(0.37);
    assert!((fitted.predict(&rows[1]) - own).abs() < 1e-12);
    // With the words of a table.
    let said = with_words(
        "E + A[optimizer]/N^a",
        "optimizer",
        &["a", "b"].map(str::to_owned),
    );
    assert_eq!(said, "E + A[optimizer]/N^a where optimizer in (a, b)");
    assert_eq!(unsaid_words("E + A[x]/N^a + B[y] where x in (a, b)"), ["y"]);
    for (text, why) in [
        ("E + A[x]/N^a", "at least two words"),
        ("E + A[x]/N^a where x in (a, a)", "stands there twice"),
        ("E + A[x]/N^a where x in (a, b[c])", "cannot be a word"),
        (
            "E + d[x] + d[y]*N where x in (no, a), y in (no, b)",
            "would be called `d[no]`",
        ),
        (
            "E + A[x]/N^a where y in (a, b)",
            "no parameter differs by `y`",
        ),
        (
            "E + A[x]/N^a + b*`x` where x in (a, b)",
            "as a number and as words",
        ),
        (
            "E + A/N^a[x] where x in (a, b)",
            "let it differ too: `A[x]`",
        ),
        ("E + A[x/N^a where x in (a, b)", "^"),
    ] {
        let said = by_name(text).expect_err("refused").to_string();
        assert!(said.contains(why), "{text}: {said}");
    }
    // Between backticks it is a column, also where no table says so.
    let column = formula("E + A/`eval[web]`^a");
    assert_eq!(column.inputs()[0].name, "eval[web]");
    assert_eq!(
        by_name(&column.name()).expect("its own name").name(),
        column.name()
    );
    let said = by_name("E + A[x]/N^(a +").expect_err("refused").to_string();
    assert!(said.contains("\n  E + A[x]/N^(a +\n  "), "{said}");
    let words: Vec<String> = (0..100).map(|word| format!("w{word}")).collect();
    let many = format!("E + A[x]/N^a where x in ({})", words.join(", "));
    let said = by_name(&many).expect_err("refused").to_string();
    assert!(said.contains("102 parameters"), "{said}");
}
