//! Figures of anybody's rows, and of how they are put into a paper.

use crate::fitting::desk::{SIZES, TOKENS, chinchilla, dlcm};
use crate::support::Desk;

/// Draws what a table carries, with few resamples.
const PLOT: [&str; 5] = ["plot", "--csv", "theirs.csv", "--bootstrap", "20"];

fn done(desk: &Desk, more: &[&str]) -> String {
    desk.done(&[&PLOT[..], more].concat())
}

#[test]
fn a_table_is_drawn_as_far_as_it_goes() {
    let desk = Desk::new().with("theirs.csv", dlcm(1.0));
    let said = done(&desk, &["--format", "svg,png,pdf"]);
    assert!(
        said.contains("24 figure files in results/theirs/figures"),
        "{said}"
    );
    for line in [
        "not drawn: training: it is drawn from what this program measures while it trains",
        "not drawn: realised_ratio: no row of a DLCM gives a realised R",
    ] {
        assert!(said.contains(line), "{line} is missing in\n{said}");
    }
    for name in [
        "allocation.svg",
        "savings.png",
        "frontier.pdf",
        "predicted.pdf",
    ] {
        let file = desk.path().join("results/theirs/figures").join(name);
        assert!(file.is_file(), "{name} is missing in\n{said}");
    }
    assert!(
        !desk.path().join("results/theirs/orchestrator.db").exists(),
        "nothing is stored"
    );
    // Rows under other names, of dense models alone, one figure of them.
    let rows = chinchilla(&SIZES, &TOKENS).replace("params", "n_params");
    let desk = desk.with("theirs.csv", rows);
    let one = [
        "isoflop",
        "--column",
        "params=n_params",
        "--output",
        "out/fig2.pdf",
    ];
    assert_eq!(done(&desk, &one), "figure: out/fig2.pdf\n");
    let page = std::fs::read(desk.path().join("out/fig2.pdf")).expect("drawn");
    assert!(page.starts_with(b"%PDF"));
    let other = ["savings", "--column", "params=n_params"];
    let output = desk
        .command(&[&PLOT[..], &other].concat())
        .output()
        .expect("ran");
    assert_eq!(
        output.status.code(),
        Some(1),
        "asked for by name and not drawn"
    );
}

#[test]
fn imported_runs_are_drawn_before_they_are_fitted_and_as_chosen() {
    let desk = Desk::new().with("theirs.csv", dlcm(1.0));
    desk.done(&["import", "theirs.csv", "--experiment", "theirs"]);
    let plot = [
        "plot",
        "theirs",
        "predicted",
        "--bootstrap",
        "0",
        "--format",
        "svg",
    ];
    let drawn = |more: &[&str]| {
        let said = desk.done(&[&plot, more].concat());
        assert!(
            said.contains("1 figure file in results/theirs/figures"),
            "{said}"
        );
        let file = desk.path().join("results/theirs/figures/predicted.svg");
        std::fs::read_to_string(file).expect("drawn")
    };
    let all = drawn(&[]);
    assert_ne!(
        all,
        drawn(&["--where", "params > 2e8"]),
        "other rows, other figure"
    );
    desk.done(&["fit", "theirs", "--bootstrap", "0"]);
    assert_eq!(all, drawn(&[]));
    // Of an experiment of that name, the figures of a table take no place.
    let said = done(&desk, &["predicted", "--format", "svg"]);
    assert!(said.contains("1 figure file in results/theirs"), "{said}");
}

#[test]
fn a_figure_is_put_into_a_paper() {
    let desk = Desk::new().with("theirs.csv", dlcm(1.0));
    let paper = [
        "savings",
        "--title",
        "Ours",
        "--x-label",
        "N (ours)",
        "--y-label",
        "saved",
        "--y-limits",
        "-20,80",
        "--x-limits",
        "100M,1B",
        "--no-notes",
        "--output",
        "fig.svg",
    ];
    assert_eq!(done(&desk, &paper), "figure: fig.svg\n");
    let drawn = std::fs::read_to_string(desk.path().join("fig.svg")).expect("drawn");
    for words in ["Ours", "N (ours)", "saved"] {
        assert!(drawn.contains(words), "{words}");
    }
    assert!(!drawn.contains("Trained baselines"), "a note");
    let beyond = done(&desk, &["predicted", "--x-limits", "50,60", "--json"]);
    let left = "nothing lies within the limits in the panel";
    assert!(beyond.contains(left), "{beyond}");
    for (args, right) in [
        (
            &["savings", "--y-limits", "3,1"][..],
            "two numbers, the lower first, as in 1e6,2B",
        ),
        (
            &["savings", "--x-limits", "a,b"],
            "two numbers, the lower first",
        ),
        (
            &["savings", "--x-limits", "0,1B"],
            "logarithmic: limits lie above 0",
        ),
        (&["frontier", "--y-label", "y"], "different y axes"),
        (&["--title", "Ours"], "are one figure's: name it"),
        (&["--output", "all.pdf"], "a file holds one figure"),
        (
            &["savings", "--output", "a.jpg"],
            "ends in .svg, .png or .pdf",
        ),
        (&["savngs"], "`savngs` is no figure"),
    ] {
        let said = desk.refused(&[&PLOT[..], args].concat());
        assert!(said.contains(right), "{args:?}: {said}");
    }
    let said = desk.refused(&["plot"]);
    assert!(said.contains("name what to draw"), "{said}");
}
