//! Every figure of simulated runs, and of runs with which there is little to draw.

use super::*;
use crate::comparison::tests::of_alike;
use campaign::store::{ReadContent, ReadPosition};
use experiment::grid::Analysis;
use experiment::quantity::Draws;
use scaling_law::analysis::simulated::ASKER;
use scaling_law::analysis::simulated::{self, Controls, Grid, as_stored_before};
use scaling_law::analysis::{Maybe, summary};

/// Runs, and all that figures are drawn from.
struct Made {
    runs: Vec<RunRecord>,
    measurements: BTreeMap<RunId, Vec<Measurement>>,
    readings: Vec<ReadingRecord>,
    answers: Answers,
    result: AnalysisResult,
}

impl Made {
    fn of(runs: Vec<RunRecord>, bootstrap: u16) -> Self {
        let settings = Analysis {
            bootstrap: Draws::from(bootstrap),
            ..Analysis::default()
        };
        let result = simulated::analysed(&runs, &settings);
        // Figures must be drawn from what is stored.
        let stored = serde_json::to_string(&result).expect("serialises");
        let measured = runs
            .iter()
            .map(|run| (run.id.clone(), simulated::measurements(run)));
        Self {
            measurements: measured.collect(),
            readings: Vec::new(),
            answers: Answers::default(),
            result: serde_json::from_str(&stored).expect("reads back"),
            runs,
        }
    }

    fn material(&self) -> Material<'_> {
        Material {
            runs: &self.runs,
            measurements: &self.measurements,
            readings: &self.readings,
            answers: &self.answers,
            result: &self.result,
        }
    }

    fn skipped(&self) -> Vec<&'static str> {
        let missing = Figure::ALL
            .into_iter()
            .filter_map(|figure| missing(figure, &self.material()));
        missing
            .inspect(|skipped| assert!(!skipped.why.is_empty()))
            .map(|skipped| skipped.figure.name())
            .collect()
    }

    /// Lays every figure out in every size.
    fn lay_out(&self) {
        for figure in Figure::ALL {
            for size in Size::ALL {
                let Ok(sheet) = sheet(figure, &self.material()) else {
                    continue;
                };
                let picture = sheet.picture(size);
                check(figure, size, &picture);
            }
        }
    }
}

/// Checks that a picture has its size and that no text leaves it or lies over another.
fn check(figure: Figure, size: Size, picture: &Picture) {
    let name = format!("{} as {}", figure.name(), size.name());
    if size == Size::Slide {
        let ratio = picture.width / picture.height;
        assert!((ratio - 16.0 / 9.0).abs() < 1e-6, "{name}: {ratio}");
    }
    let boxes = picture.text_boxes();
    for (text, [left, top, right, bottom]) in &boxes {
        let inside = *left >= -1.0
            && *top >= -1.0
            && *right <= picture.width + 1.0
            && *bottom <= picture.height + 1.0;
        assert!(
            inside,
            "{name}: `{text}` leaves the picture: {left:.0} {top:.0} {right:.0} {bottom:.0} of \
             {:.0} {:.0}",
            picture.width, picture.height
        );
    }
    for (k, (text, a)) in boxes.iter().enumerate() {
        for (other, b) in &boxes[..k] {
            let overlap = |low: usize, high: usize| a[high].min(b[high]) - a[low].max(b[low]);
            let overlaps = overlap(0, 2) > 1.0 && overlap(1, 3) > 1.0;
            assert!(!overlaps, "{name}: `{text}` lies over `{other}`");
        }
    }
}

/// Several D, rates and trunks: with this there is something in every figure.
fn everything() -> Vec<RunRecord> {
    let grid = Grid {
        sizes: &[200_000, 400_000],
        shares: &[0.3, 0.7],
        ratios: &[2.0, 4.0],
        tokens: &[2_000_000, 6_000_000, 20_000_000],
        dense_sizes: &[200_000, 400_000, 800_000],
        ..simulated::LARGE
    };
    let mut runs = simulated::with_trunks(grid.runs());
    let rates = Grid {
        shares: &[0.5],
        ratios: &[4.0],
        seeds: 2,
        tokens: &[1_000_000],
        dense_sizes: &[],
        ..grid
    };
    runs.extend(simulated::with_rates(rates.runs()));
    runs
}

/// Readings of two runs: three contents, and positions up to 16 with a gain over another run.
fn readings(runs: &[RunRecord]) -> Vec<ReadingRecord> {
    let dlcm = runs.iter().filter(|run| run.has_concepts()).take(2);
    let read = dlcm.map(|run| ReadingRecord {
        run: run.id.clone(),
        against: Some(RunId("0123456789ab".into())),
        contents: [
            ("english", 1.0),
            ("code", 0.8),
            ("a very long label indeed", 1.2),
        ]
        .map(|(label, factor)| ReadContent {
            label: label.into(),
            tokens: 5000,
            tokens_per_concept: Some(factor * run.compression_ratio),
            loss: Some(2.5),
        })
        .into(),
        positions: (0..=16)
            .map(|position| ReadPosition {
                position,
                tokens: 1000 >> position,
                loss: Some(3.0 - 0.4 * (position as f64).sqrt()),
                gain: Some(0.1 - 0.03 * position as f64),
            })
            .collect(),
    });
    read.collect()
}

#[test]
fn every_figure_is_drawn_in_every_format() {
    let mut made = Made::of(everything(), 10);
    made.readings = readings(&made.runs);
    made.answers = of_alike(&made.runs);
    assert!(made.skipped().is_empty(), "{:?}", made.skipped());
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = draw_all(folder.path(), &made.material()).expect("drawn");
    assert_eq!(drawn.files.len(), 2 * Figure::ALL.len());
    let files = std::fs::read_dir(folder.path()).expect("listed").count();
    assert_eq!(files, drawn.files.len(), "no temporary file is left");
    let style = Style {
        size: Size::Column,
        formats: vec![Format::Pdf],
        ..Style::default()
    };
    let drawn = draw_some(&Figure::ALL, folder.path(), &made.material(), &style).expect("drawn");
    assert_eq!(drawn.files.len(), Figure::ALL.len());
    for file in &drawn.files {
        let bytes = std::fs::read(file).expect("written");
        assert!(bytes.starts_with(b"%PDF"), "{}", file.display());
        // The font, of which only some letters are in the file, and none of the system's.
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.contains("+Inter") && text.contains("/FontFile"),
            "{}",
            file.display()
        );
    }
    let file = folder.path().join("mine.svg");
    let drawn = draw_into(&file, Figure::Time, &made.material(), &Style::default());
    assert_eq!(drawn.expect("drawn").files, [file]);
    made.lay_out();
}

/// Rows as anybody has them: no runs, and the result alone.
#[test]
fn rows_of_others_are_drawn_as_far_as_they_go() {
    let mut made = Made::of(simulated::LARGE.runs(), 8);
    (made.runs, made.measurements) = (Vec::new(), BTreeMap::new());
    let trained = Figure::ALL
        .into_iter()
        .filter(|figure| figure.needs_trained_runs());
    let trained: Vec<_> = trained.map(Figure::name).collect();
    assert_eq!(made.skipped(), trained);
    let why = missing(Figure::Training, &made.material()).expect("nothing to draw");
    assert!(why.why.contains("imported rows"), "{why}");
    made.result
        .runs
        .iter_mut()
        .for_each(|run| run.ratio = run.declared_ratio);
    assert!(
        made.skipped().contains(&"realised_ratio"),
        "one R measures nothing"
    );
}

#[test]
fn notes_name_dashes_and_shades_where_there_are_some() {
    let made = Made::of(simulated::FIRST.runs(), 8);
    let steps = &made.result.allocation.known().expect("an optimum").frontier;
    assert!(steps.iter().all(|step| !step.extrapolated));
    let frontier = words(Figure::Frontier, &made);
    assert!(
        !frontier.contains("ashed") && !frontier.contains("beyond the largest"),
        "{frontier}"
    );
    let made = Made::of(simulated::LARGE.runs(), 8);
    let frontier = words(Figure::Frontier, &made);
    assert!(
        frontier.contains("dashed on grey: beyond the largest run"),
        "{frontier}"
    );
    // In the legend, in the note, and in each of four panels.
    assert_eq!(
        frontier.matches("beyond the largest run").count(),
        6,
        "{frontier}"
    );
}

#[test]
fn optima_that_are_not_determined_are_no_points() {
    let mut made = Made::of(simulated::LARGE.runs(), 8);
    let Maybe::Known(allocation) = &mut made.result.allocation else {
        panic!("an optimum")
    };
    let open = vec!["concept_share".to_owned()];
    allocation.best.undetermined = open.clone();
    allocation
        .frontier
        .iter_mut()
        .for_each(|step| step.undetermined = open.clone());
    for figure in [Figure::Allocation, Figure::Frontier] {
        let words = words(figure, &made);
        assert!(words.contains("not determined by these runs"), "{words}");
    }
    let allocation = words(Figure::Allocation, &made);
    assert!(
        allocation.contains("P not determined by these runs ["),
        "{allocation}"
    );
    made.lay_out();
}

#[test]
fn texts_have_room_in_every_size() {
    let with = |controls, grid| Grid { controls, ..grid };
    for grid in [
        simulated::FIRST,
        simulated::QUICK,
        with(Controls::Worse, simulated::FIRST),
        with(Controls::AsGood, simulated::QUICK),
    ] {
        let made = Made::of(grid.runs(), 8);
        made.lay_out();
        let sparse = [
            "isoflop", "decay", "transfer", "content", "position", "tasks",
        ];
        assert_eq!(made.skipped(), sparse);
    }
}

#[test]
fn an_analysis_of_before_draws_what_it_holds() {
    let mut made = Made::of(simulated::QUICK.runs(), 5);
    let mut stored = serde_json::to_value(&made.result).expect("serialises");
    stored.as_object_mut().expect("an object").remove("isoflop");
    for law in ["dlcm", "dense"] {
        let law = stored[law].as_object_mut().expect("an object");
        law.remove("held_out").expect("stored");
        law.remove("draws").expect("stored");
    }
    made.result = serde_json::from_value(stored).expect("reads");
    assert_eq!(
        made.skipped(),
        [
            "isoflop",
            "bootstrap",
            "decay",
            "transfer",
            "content",
            "position",
            "tasks"
        ]
    );
}

#[test]
fn what_lies_outside_the_limits_is_not_moved_to_their_edge() {
    let made = Made::of(simulated::LARGE.runs(), 8);
    let best = &made.result.allocation.known().expect("an optimum").best;
    assert!(best.setting.concept_share > 0.5);
    let limits = Overrides {
        x_limits: Some([0.4, 0.5]),
        ..Overrides::default()
    };
    let mut sheet = sheet(Figure::Allocation, &made.material()).expect("something to draw");
    assert_eq!(limits.apply(&mut sheet), Ok(Vec::new()));
    let picture = sheet.picture(Size::Page);
    let diamonds = picture.shapes.iter().filter(|shape| {
        let is = picture::Mark::Diamond;
        matches!(shape, picture::Shape::Marker { mark, .. } if *mark == is)
    });
    assert_eq!(diamonds.count(), 1, "that of the legend alone");
}

/// Reads a figure's words.
fn words(figure: Figure, made: &Made) -> String {
    let sheet = sheet(figure, &made.material()).expect("something to draw");
    sheet.picture(Size::Page).words()
}

#[test]
fn a_saving_that_is_not_the_concepts_is_drawn_as_such() {
    let worthless = Grid {
        controls: Controls::AsGood,
        noise: 0.003,
        ..simulated::FIRST
    };
    let with_controls = Made::of(worthless.runs(), 30);
    // Old results hold no more than that the concepts are unused.
    let mut unused = simulated::FIRST.runs();
    unused.iter_mut().for_each(|run| {
        run.concept_gain = run.concept_gain.map(|_| 0.001);
    });
    let mut before = Made::of(unused, 30);
    before.result = as_stored_before(&before.result);
    for made in [with_controls, before] {
        let title = title(Figure::Savings, &made.result);
        assert!(title.contains("not the concepts'"), "{title}");
        let words = words(Figure::Savings, &made);
        assert!(words.contains(&title), "{words}");
        assert!(words.contains("The saving is not the concepts'"), "{words}");
        assert!(!words.contains("excludes zero"), "{words}");
        made.lay_out();
    }
}

#[test]
fn controls_stand_beside_the_models_whose_token_level_they_are() {
    let made = Made::of(with_controls(Controls::Worse), 60);
    let loss = words(Figure::LossByShare, &made);
    assert!(loss.contains("token level alone"), "{loss}");
    let savings = words(Figure::Savings, &made);
    assert!(
        savings.contains("against the token level alone"),
        "{savings}"
    );
    let title = title(Figure::Savings, &made.result);
    assert!(
        title.contains("by concepts"),
        "{}",
        summary(&made.result, &ASKER, false)
    );
    let judged = words(Figure::Predicted, &made);
    assert!(judged.contains("control law"), "{judged}");
}

#[test]
fn degenerate_runs_are_skipped_with_reasons() {
    let mut runs = simulated::QUICK.runs();
    runs.iter_mut().for_each(|run| {
        run.loss = Some(f64::NAN);
        run.realised_ratio = None;
        run.realised_sampled = None;
    });
    for runs in [&runs[..], &runs[..1], &[]] {
        let made = Made {
            measurements: BTreeMap::new(),
            ..Made::of(runs.to_vec(), 5)
        };
        assert_eq!(made.skipped().len(), Figure::ALL.len());
    }
}

#[test]
fn little_data_never_breaks_a_figure() {
    let one = simulated::QUICK.runs()[..1].to_vec();
    let made = Made::of(one.clone(), 5);
    assert!(!made.skipped().contains(&"training"));
    assert!(!made.skipped().contains(&"loss_by_share"));
    made.lay_out();
    // All equal; one value on every axis; measurements that are no numbers.
    let equal = vec![one[0].clone(); 5];
    Made::of(equal, 5).lay_out();
    let mut same = simulated::FIRST.runs();
    same.iter_mut().for_each(|run| run.loss = Some(3.0));
    Made::of(same, 5).lay_out();
    let mut broken = Made::of(simulated::with_trunks(simulated::QUICK.runs()), 5);
    for row in broken.measurements.values_mut().flatten() {
        row.loss = Some(f64::NAN);
        row.tokens_per_second = Some(0.0);
        row.validation_loss = Some(f64::INFINITY);
    }
    broken.lay_out();
    let one_rate = simulated::with_rates(one);
    Made::of(one_rate, 5).lay_out();
}

fn with_controls(controls: Controls) -> Vec<RunRecord> {
    let grid = Grid {
        controls,
        dense_sizes: &[200_000, 400_000, 800_000, 1_600_000],
        noise: 0.005,
        ..simulated::FIRST
    };
    grid.runs()
}

/// `FIGURES=folder cargo test --release -- --ignored figures_to_look_at` draws simulated
/// experiments in every size for a look.
#[test]
#[ignore = "for looking at"]
fn figures_to_look_at() {
    let Some(folder) = std::env::var_os("FIGURES") else {
        return;
    };
    for (name, runs) in [
        ("first", simulated::FIRST.runs()),
        ("large", simulated::LARGE.runs()),
        ("quick", simulated::QUICK.runs()),
        ("everything", everything()),
        ("worthless", with_controls(Controls::AsGood)),
        ("worthwhile", with_controls(Controls::Worse)),
    ] {
        let mut made = Made::of(runs, 100);
        made.readings = readings(&made.runs);
        made.answers = of_alike(&made.runs);
        println!("== {name}\n{}", summary(&made.result, &ASKER, false));
        for size in Size::ALL {
            let style = Style {
                size,
                formats: vec![Format::Png, Format::Pdf],
                ..Style::default()
            };
            let folder = Path::new(&folder).join(name);
            draw_some(&Figure::ALL, &folder, &made.material(), &style).expect("drawn");
        }
    }
}
