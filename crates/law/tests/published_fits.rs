//! Published fits, reproduced.
//!
//! Reads the data sets in `../shared/fits`; where they are absent every test says so and passes.

use std::path::PathBuf;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scaling_law::fit::allocation::{Budget, Convention, Domain, Range, Surface, Variable, optimum};
use scaling_law::fit::diagnostics::{Side, held_out_largest};
use scaling_law::fit::{
    BootstrapOptions, Fit, FitOptions, FittedLaw, Objective, Observations, bootstrap, fit, law,
};

/// Columns of a CSV file, as text.
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn text(&self, name: &str) -> Vec<&str> {
        let at = self.header.iter().position(|h| h == name).expect("column");
        self.rows.iter().map(|row| row[at].as_str()).collect()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.text(name)
            .iter()
            .map(|v| v.parse().expect("number"))
            .collect()
    }
}

/// Reads a published data set, or says loudly that it is not there.
fn table(name: &str) -> Option<Table> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fits")
        .join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!(
            "SKIPPED: {} is not there, so nothing was compared with it",
            path.display()
        );
        return None;
    };
    let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines();
    let header = split(lines.next().expect("header"));
    Some(Table {
        header,
        rows: lines.map(split).collect(),
    })
}

/// The laws of the published fits, by name and as formulas.
const CHINCHILLA: [&str; 2] = ["chinchilla", "E + A/N^alpha + B/D^beta"];
const EQ_22: [&str; 2] = [
    "dlcm",
    "E0 + A_token/(N*(1 - P) + t_token)^delta1 + A_concept*R^gamma/(N*P + t_concept)^delta2 + A_data/(D + t_data)^alpha",
];

fn chinchilla_data() -> Option<Observations> {
    let table = table("chinchilla_epoch.csv")?;
    let data = Observations::new([
        ("params", table.numbers("n_params")),
        ("tokens", table.numbers("d_tokens")),
        ("loss", table.numbers("loss")),
        ("used", table.numbers("used")),
    ])
    .expect("columns");
    Some(data.exclude("the replication leaves it out", |row| {
        row.get("used") != Some(1.0)
    }))
}

fn fitted(law_name: &str, data: &Observations, objective: Objective) -> Fit {
    let law = law::by_name(law_name).expect("law");
    let options = FitOptions {
        objective,
        ..FitOptions::default()
    };
    let fit = fit(&law, data, &options).expect("fit");
    assert!(
        fit.converged(),
        "{law_name} {objective:?}: {:?}",
        fit.outcome
    );
    fit
}

/// Asserts that `found` is `expected` to a relative precision.
fn close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found / expected - 1.0).abs();
    assert!(
        error <= relative,
        "{what}: {found:.12e}, not {expected:.12e} (off by {error:.1e})"
    );
}

#[test]
fn chinchilla_minimum() {
    let Some(data) = chinchilla_data() else {
        return;
    };
    for law in CHINCHILLA {
        let fit = fitted(law, &data, Objective::default());
        assert_eq!((fit.n_rows, fit.exclusions.len()), (240, 5));
        close(fit.objective, 0.0010182740178, 1e-9, "objective");
        for (name, value) in [
            ("A", 477.825868),
            ("B", 2143.417363),
            ("E", 1.817218),
            ("alpha", 0.3473105),
            ("beta", 0.3671724),
        ] {
            close(fit.parameters[name], value, 1e-5, name);
        }
        assert_eq!(fit.starts_at_minimum, fit.starts);
        assert!(fit.unidentified.is_empty() && fit.at_bound.is_empty());
    }
}

#[test]
fn chinchilla_as_published_is_least_absolute_deviations() {
    let Some(data) = chinchilla_data() else {
        return;
    };
    let fit = fitted("chinchilla", &data, Objective::L1);
    // The published minimum stops 9e-9 above the one found here.
    close(fit.objective, 1.129494664, 2e-8, "objective");
    assert!(fit.objective < 1.129494664);
    for (name, value, half_digit) in [
        ("A", 482.01, 5e-3),
        ("B", 2085.43, 1e-2),
        ("E", 1.8169, 5e-5),
        ("alpha", 0.3478, 5e-5),
        ("beta", 0.3658, 1e-4),
    ] {
        let found = fit.parameters[name];
        assert!(
            (found - value).abs() <= half_digit,
            "{name}: {found}, published {value}"
        );
    }
}

#[test]
fn chinchilla_bootstrap_over_rows() {
    let Some(data) = chinchilla_data() else {
        return;
    };
    let law = law::by_name("chinchilla").expect("law");
    let fit = fitted("chinchilla", &data, Objective::default());
    let options = BootstrapOptions {
        draws: 4000,
        ..BootstrapOptions::default()
    };
    let result = bootstrap(&law, &data, &fit, &options).expect("bootstrap");
    assert_eq!((result.failed, result.not_converged), (0, 0));
    // Another 4,000 draws: a standard error has about 2% of noise, more where tails are heavy.
    for (name, value) in [
        ("A", 124.52),
        ("B", 1293.28),
        ("E", 0.0257),
        ("alpha", 0.0154),
        ("beta", 0.0206),
    ] {
        close(result.standard_errors[name], value, 0.08, name);
    }
}

#[test]
fn gemstone_minima() {
    let Some(table) = table("gemstone_hot.csv") else {
        return;
    };
    let data = Observations::new([
        ("params", table.numbers("n_params")),
        ("tokens", table.numbers("d_tokens")),
        ("loss", table.numbers("loss")),
    ])
    .and_then(|data| data.with_clusters(&table.text("run")))
    .expect("columns");
    for law in CHINCHILLA {
        let wide = fitted(law, &data, Objective::Huber { delta: 1e-3 });
        close(wide.objective, 0.00198161280881, 1e-9, "δ = 1e-3");
        let narrow = fitted(law, &data, Objective::Huber { delta: 1e-4 });
        close(narrow.objective, 0.000207505155601, 1e-9, "δ = 1e-4");
        // "Most starts stop short of it": not these.
        assert_eq!(narrow.starts_at_minimum, narrow.starts);
        assert_eq!(narrow.n_clusters, 22);
    }
}

fn dlcm_data(name: &str, keep: impl Fn(&str) -> bool) -> Option<(Observations, Table)> {
    let table = table(name)?;
    let kept: Vec<bool> = table.text("split").into_iter().map(keep).collect();
    let data = Observations::new([
        ("params", table.numbers("n_params")),
        ("tokens", table.numbers("d_tokens")),
        ("loss", table.numbers("loss")),
        ("compression_ratio", table.numbers("r")),
        ("concept_share", table.numbers("p")),
    ])
    .expect("columns");
    Some((data.keep(&kept, "held out"), table))
}

const TRUTH: [(&str, f64); 11] = [
    ("E0", 1.6),
    ("A_token", 110.0),
    ("t_token", 2e7),
    ("delta1", 0.3),
    ("A_concept", 55.0),
    ("gamma", 0.15),
    ("t_concept", 3e7),
    ("delta2", 0.28),
    ("A_data", 850.0),
    ("t_data", 1e9),
    ("alpha", 0.33),
];

#[test]
fn eq22_without_noise_is_recovered() {
    let training = |split: &str| split != "test_1T";
    let Some((data, _)) = dlcm_data("dlcm_A_sigma0.csv", training) else {
        return;
    };
    for law in EQ_22 {
        let fit = fitted(law, &data, Objective::default());
        assert_eq!(fit.n_rows, 540);
        for (name, value) in TRUTH {
            close(fit.parameters[name], value, 1e-9, name);
        }
        assert!(fit.unidentified.is_empty() && fit.at_bound.is_empty());
    }
}

/// Mean and worst relative error against the noise-free loss on the rows of one split.
fn prediction_errors(fit: &Fit, table: &Table, split: &str) -> (f64, f64) {
    let columns =
        ["n_params", "d_tokens", "r", "p", "loss_true"].map(|column| table.numbers(column));
    let law = fit.fitted().expect("a registered law");
    let of_split = table.text("split");
    let errors: Vec<f64> = (0..of_split.len())
        .filter(|row| of_split[*row] == split)
        .map(|row| {
            let [n, d, r, p, truth] = [0, 1, 2, 3, 4].map(|c: usize| columns[c][row]);
            (law.predict(&[n, d, r, p]) / truth - 1.0).abs()
        })
        .collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    (mean, errors.iter().copied().fold(0.0, f64::max))
}

#[test]
fn eq22_under_noise_reaches_a_minimum_no_truth_can_beat() {
    let at_truth = |data: &Observations| -> f64 {
        let law = law::by_name("dlcm").expect("law");
        let truth = FittedLaw::from_parts(law, TRUTH.map(|(_, v)| v).to_vec()).expect("truth");
        let column = |name: &str| data.column(name).expect("column");
        (0..data.len())
            .map(|row| {
                let inputs = ["params", "tokens", "compression_ratio", "concept_share"]
                    .map(|name| column(name)[row]);
                Objective::default().value((truth.predict(&inputs) / column("loss")[row]).ln())
            })
            .sum()
    };
    // Minima found from 300 starts; the offsets and amplitudes trade off, the objective does not.
    for (name, training, minimum) in [
        ("dlcm_A_sigma0.002.csv", "small", 3.5299450394e-4),
        ("dlcm_A_sigma0.002.csv", "all", 5.6071038227e-4),
        ("dlcm_A_sigma0.01.csv", "small", 2.3450837336e-3),
        ("dlcm_A_sigma0.01.csv", "all", 3.6887982625e-3),
    ] {
        let keep = |split: &str| match training {
            "small" => split == "train_small",
            _ => split != "test_1T",
        };
        let Some((data, _)) = dlcm_data(name, keep) else {
            return;
        };
        for law in EQ_22 {
            let fit = fitted(law, &data, Objective::default());
            close(fit.objective, minimum, 1e-9, &format!("{name} {training}"));
            assert!(fit.objective < at_truth(&data));
            // What noise hides is said, never passed over.
            assert!(!fit.unidentified.is_empty(), "{name} {training}");
        }
    }
}

#[test]
fn eq22_under_noise_predicts() {
    // Trained on N ≤ 468M. The reference fit's mean and worst errors in percent are beside; it ends
    // elsewhere in the valley. SciPy's Gauss-Newton (`benches/peer/scipy_fits.py`) ends where we do
    // from all of 60 starts, at the same objectives to 12 digits, with mean errors of 0.142% and
    // 0.717% at 833M, 0.168% and 0.508% at 1T. So twice the reference is allowed.
    for (name, split, reference) in [
        ("dlcm_A_sigma0.002.csv", "test_833M", (0.09, 0.28)),
        ("dlcm_A_sigma0.002.csv", "test_1T", (0.13, 0.40)),
        ("dlcm_A_sigma0.01.csv", "test_833M", (0.42, 1.6)),
        ("dlcm_A_sigma0.01.csv", "test_1T", (0.63, 2.3)),
    ] {
        let Some((data, table)) = dlcm_data(name, |split| split == "train_small") else {
            return;
        };
        let fit = fitted("dlcm", &data, Objective::default());
        let (mean, worst) = prediction_errors(&fit, &table, split);
        eprintln!(
            "{name} {split}: mean {:.3}%, worst {:.3}%",
            100.0 * mean,
            100.0 * worst
        );
        assert!(
            100.0 * mean < 2.0 * reference.0 && 100.0 * worst < 1.1 * reference.1,
            "{name} {split}"
        );
    }
}

#[test]
fn eq22_holds_out_the_largest() {
    let Some((data, _)) = dlcm_data("dlcm_A_sigma0.002.csv", |split| split != "test_1T") else {
        return;
    };
    let law = law::by_name("dlcm").expect("law");
    for column in ["params", "tokens"] {
        let held = held_out_largest(&law, &data, &FitOptions::default(), column).expect("held out");
        eprintln!("{column}: {held:?}");
        assert!(held.mean_error < 0.004, "{held:?}");
    }
}

#[test]
fn allocations_of_the_truth() {
    let law = law::by_name("dlcm").expect("law");
    let truth = FittedLaw::from_parts(law, TRUTH.map(|(_, v)| v).to_vec()).expect("truth");
    let surface = Surface::new(truth, &[]).expect("columns");
    let free = Domain::default();
    let at_four = free.with(Variable::CompressionRatio, Range::fixed(4.0));
    let at_833m = free.with(Variable::Params, Range::fixed(8.33e8));
    let cases = [
        (
            free,
            1e21,
            [2.27881e10, 4.78807e10, 0.903733, 16.0],
            2.133157536,
        ),
        (
            at_four,
            1e21,
            [8.63139e9, 4.26227e10, 0.729293, 4.0],
            2.153723052,
        ),
        (
            at_833m,
            1e20,
            [8.33e8, 2.82463e10, 0.546032, 2.146591],
            2.416396839,
        ),
    ];
    for (domain, flops, coordinates, loss) in cases {
        let budget = Budget::training(flops);
        let found = optimum(&surface, &Convention::SixNActive, &domain, &budget).expect("optimum");
        for (variable, expected) in Variable::ALL.into_iter().zip(coordinates) {
            close(found.setting.get(variable), expected, 1e-5, variable.name());
        }
        close(found.loss, loss, 1e-9, "loss");
        let bounds: Vec<(Variable, Side)> = found
            .active_bounds
            .iter()
            .map(|b| (b.variable, b.side))
            .collect();
        if domain == free {
            assert_eq!(bounds, [(Variable::CompressionRatio, Side::Upper)])
        } else {
            assert!(bounds.is_empty(), "{bounds:?}")
        }
    }
}

/// Best of several timings in milliseconds: what the machine can do when nothing disturbs it.
fn milliseconds<T>(times: usize, work: impl Fn() -> T) -> f64 {
    let once = || {
        let began = Instant::now();
        std::hint::black_box(work());
        began.elapsed().as_secs_f64() * 1e3
    };
    (0..times).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// `rows` simulated runs of Chinchilla's law with 0.5% noise.
fn simulated(rows: usize) -> Observations {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut columns = vec![Vec::new(); 3];
    for _ in 0..rows {
        let n = 1e7 * 1e3_f64.powf(random.random());
        let d = 1e9 * 1e3_f64.powf(random.random());
        let noise: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let loss = (1.8 + 480.0 / n.powf(0.35) + 2100.0 / d.powf(0.37)) * (0.005 * noise).exp();
        columns
            .iter_mut()
            .zip([n, d, loss])
            .for_each(|(column, value)| column.push(value));
    }
    Observations::new(["params", "tokens", "loss"].into_iter().zip(columns)).expect("columns")
}

/// Prints how long fits take; `benches/peer/scipy_fits.py` does the same work in SciPy.
#[test]
#[ignore = "prints timings; run it alone on a quiet machine, with --ignored --nocapture"]
fn timings() {
    let options = FitOptions::default();
    let run = |name: &str, data: &Observations| {
        fit(&law::by_name(name).expect("law"), data, &options).expect("fit")
    };
    if let Some(data) = chinchilla_data() {
        for law in CHINCHILLA {
            let time = milliseconds(20, || run(law, &data));
            eprintln!("{law}, point fit, 24 starts: {time:.1} ms (limit 30 of the law)");
        }
        let draws = BootstrapOptions {
            draws: 4000,
            ..BootstrapOptions::default()
        };
        for name in CHINCHILLA {
            let (law, point) = (law::by_name(name).expect("law"), run(name, &data));
            let time = milliseconds(3, || {
                bootstrap(&law, &data, &point, &draws).expect("bootstrap")
            });
            eprintln!("{name}, 4,000 bootstrap refits: {time:.0} ms (limit 2,000)");
        }
    }
    for sigma in ["0", "0.002", "0.01"] {
        let name = format!("dlcm_A_sigma{sigma}.csv");
        let Some((data, _)) = dlcm_data(&name, |split| split != "test_1T") else {
            return;
        };
        for law in EQ_22 {
            let time = milliseconds(5, || run(law, &data));
            eprintln!("{law}, 540 rows, σ {sigma}: {time:.0} ms (limit 150 of the law)");
        }
    }
    for exponent in 3..=6 {
        let rows = 10_usize.pow(exponent);
        let data = simulated(rows);
        let time = milliseconds(2, || run("chinchilla", &data));
        eprintln!(
            "{rows} rows: {time:.0} ms, {:.2} µs a row",
            1e3 * time / rows as f64
        );
    }
}
