//! What of a table is a run, and what is said of the rest.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, number};
use crate::support::Desk;

#[test]
fn rows_that_are_no_runs_are_counted_and_said() {
    let mut table = "params,tokens,compression_ratio,concept_share,loss,weight\n".to_owned();
    for line in chinchilla(&SIZES, &TOKENS).lines().skip(1) {
        let (sizes, loss) = line.rsplit_once(',').expect("columns");
        table += &format!("{sizes},1,0,{loss},1\n");
    }
    for broken in [
        "1e8,4e9,1,0,,1",
        "1e8,4e9,2,1.5,3.0,1",
        "1e8,4e9,1,0,3.0,much",
    ] {
        table += &format!("{broken}\n");
    }
    let desk = Desk::new().with("runs.csv", table);
    let args = ["fit", "--csv", "runs.csv", "--bootstrap", "0", "--json"];
    let said = desk
        .json(&[&args[..], &["--weight", "weight"]].concat())
        .to_string();
    for why in [
        "1 rows are left out: `loss` is no number above 0",
        "1 rows are left out: `concept_share` is no share",
        "1 rows are left out: its weight is no number",
    ] {
        assert!(said.contains(why), "{why} is not in {said}");
    }
    let said = desk.refused(&[&args[..], &["--weight", "weigth"]].concat());
    assert!(said.contains("`weigth`"), "{said}");
}

#[test]
fn a_law_of_one_d_is_asked_about_no_other() {
    let mut table = "params,tokens,compression_ratio,concept_share,loss\n".to_owned();
    let sizes = [1e8_f64, 3e8, 1e9].into_iter();
    for (n, r) in sizes.flat_map(|n| [2.0_f64, 4.0, 8.0].map(|r| (n, r))) {
        for p in [0.2, 0.4, 0.6, 0.8] {
            let token = 110.0 / (n * (1.0 - p)).powf(0.3);
            let concept = 55.0 * r.powf(0.15) / (n * p).powf(0.28);
            let loss = 1.6 + token + concept;
            table += &format!("{n},2e10,{r},{p},{loss}\n");
        }
    }
    let desk = Desk::new().with("runs.csv", table);
    let args = [
        "allocate",
        "--csv",
        "runs.csv",
        "--law",
        "dlcm",
        "--bootstrap",
        "0",
        "--flops",
        "1e20",
    ];
    let said = desk.refused(&[&args[..], &["--fix", "tokens=4e10"]].concat());
    assert!(said.contains("holds at D = 20.0B alone"), "{said}");
    let same = desk.json(&[&args[..], &["--fix", "tokens=2e10", "--json"]].concat());
    assert_eq!(number(&same["optimum"]["tokens"]), 2e10, "{same}");
}

#[test]
fn a_fit_of_a_file_leaves_the_file_as_it_is() {
    let desk = Desk::new().with("runs.csv", chinchilla(&SIZES, &TOKENS));
    let said = desk.done(&[
        "fit",
        "--csv",
        "runs.csv",
        "--results",
        ".",
        "--bootstrap",
        "0",
    ]);
    assert!(
        said.contains(", fits.csv") && !said.contains(", runs.csv"),
        "{said}"
    );
    let kept = std::fs::read_to_string(desk.path().join("runs.csv")).expect("the file");
    assert_eq!(kept, chinchilla(&SIZES, &TOKENS));
}

#[test]
fn the_python_of_the_database_page_says_what_predict_says() {
    let page = include_str!("../../../docs/database.md");
    let (_, python) = page.split_once("```python\n").expect("a block of Python");
    let (python, _) = python.split_once("```").expect("its end");
    let desk = Desk::new()
        .with("runs.csv", chinchilla(&SIZES, &TOKENS))
        .with("law.py", python);
    let fit = [
        "fit",
        "--csv",
        "runs.csv",
        "--law",
        "chinchilla",
        "--bootstrap",
        "40",
        "--json",
    ];
    let desk = {
        let fit = desk.done(&fit);
        desk.with("fit.json", fit)
    };
    let mut python = std::process::Command::new("python3");
    let Ok(said) = python
        .args(["law.py", "fit.json"])
        .current_dir(desk.path())
        .output()
    else {
        eprintln!("SKIPPED: no python3 evaluates the law");
        return;
    };
    let said = String::from_utf8(said.stdout).expect("UTF-8");
    let numbers = said.lines().last().expect("numbers").split(' ');
    let numbers: Vec<f64> = numbers.map(|it| it.parse().expect("a number")).collect();
    let told = desk.json(&[
        "predict",
        "--fit",
        "fit.json",
        "--at",
        "N=1e9,D=20e9",
        "--json",
    ]);
    let told = &told["predictions"][0];
    assert!(
        (numbers[0] / number(&told["prediction"]) - 1.0).abs() < 1e-9,
        "{said} {told}"
    );
    assert!(numbers[1] < numbers[0] && numbers[0] < numbers[2], "{said}");
}
