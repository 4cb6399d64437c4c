//! Published fits, reproduced.
//!
//! Reads the data sets in `../shared/fits`; where they are absent every test says so and passes.

use std::path::PathBuf;
use std::time::Instant;

use orchestrator::fit::{Fit, FitOptions, Objective, Observations, fit, law};

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
        self.text(name).iter().map(|v| v.parse().expect("number")).collect()
    }
}

/// Reads a published data set, or says loudly that it is not there.
fn table(name: &str) -> Option<Table> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/fits").join(name);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("SKIPPED: {} is not there, so nothing was compared with it", path.display());
        return None;
    };
    let split = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines();
    let header = split(lines.next().expect("header"));
    Some(Table { header, rows: lines.map(split).collect() })
}

fn chinchilla_data() -> Option<Observations> {
    let table = table("chinchilla_epoch.csv")?;
    let used = table.numbers("used");
    let data = Observations::new([
        ("params", table.numbers("n_params")),
        ("tokens", table.numbers("d_tokens")),
        ("loss", table.numbers("loss")),
        ("used", used),
    ])
    .expect("columns");
    Some(data.exclude("the replication leaves it out", |row| row.get("used") != Some(1.0)))
}

fn run(law_name: &str, data: &Observations, objective: Objective) -> Fit {
    let law = law::by_name(law_name).expect("law");
    let started = Instant::now();
    let options = FitOptions { objective, ..FitOptions::default() };
    let fit = fit(&law, data, &options).expect("fit");
    eprintln!(
        "{law_name} {objective:?}: {:.1} ms, {}/{} starts, objective {:.13e}, {:?}",
        started.elapsed().as_secs_f64() * 1e3,
        fit.starts_at_minimum,
        fit.starts,
        fit.objective,
        fit.parameters
    );
    fit
}

fn close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found / expected - 1.0).abs();
    assert!(error <= relative, "{what}: {found:.12e}, not {expected:.12e} (off by {error:.1e})");
}

#[test]
fn chinchilla_minimum() {
    let Some(data) = chinchilla_data() else { return };
    let fit = run("chinchilla", &data, Objective::default());
    assert_eq!(fit.n_rows, 240);
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
    assert!(fit.converged());
    eprintln!("{:#?}", fit);
}

#[test]
fn chinchilla_least_absolute_deviations() {
    let Some(data) = chinchilla_data() else { return };
    let fit = run("chinchilla", &data, Objective::L1);
    close(fit.objective, 1.129494664, 1e-9, "objective");
}

fn gemstone() -> Option<Observations> {
    let table = table("gemstone_hot.csv")?;
    let data = Observations::new([
        ("params", table.numbers("n_params")),
        ("tokens", table.numbers("d_tokens")),
        ("loss", table.numbers("loss")),
        ("width", table.numbers("width")),
        ("depth", table.numbers("depth")),
    ])
    .expect("columns");
    Some(data.with_clusters(&table.text("run")).expect("runs"))
}

#[test]
fn gemstone_minima() {
    let Some(data) = gemstone() else { return };
    let wide = run("chinchilla", &data, Objective::Huber { delta: 1e-3 });
    close(wide.objective, 0.00198161280881, 1e-9, "δ = 1e-3");
    let narrow = run("chinchilla", &data, Objective::Huber { delta: 1e-4 });
    close(narrow.objective, 0.000207505155601, 1e-9, "δ = 1e-4");
}

fn dlcm_data(name: &str, keep: impl Fn(&str, f64) -> bool) -> Option<(Observations, Table)> {
    let table = table(name)?;
    let kept: Vec<bool> = table
        .text("split")
        .iter()
        .zip(table.numbers("n_params"))
        .map(|(split, n)| keep(split, n))
        .collect();
    let data = Observations::new([
        ("params", table.numbers("n_params")),
        ("tokens", table.numbers("d_tokens")),
        ("loss", table.numbers("loss")),
        ("loss_true", table.numbers("loss_true")),
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
fn eq22_is_recovered_exactly() {
    let Some((data, _)) = dlcm_data("dlcm_A_sigma0.csv", |split, _| split != "test_1T") else {
        return;
    };
    assert_eq!(data.len(), 540);
    let fit = run("dlcm", &data, Objective::default());
    for (name, value) in TRUTH {
        close(fit.parameters[name], value, 1e-8, name);
    }
    eprintln!("{:?} {:?} {:?}", fit.outcome, fit.unidentified, fit.identification);
}

#[test]
fn eq22_under_noise_predicts() {
    for (name, limits) in
        [("dlcm_A_sigma0.002.csv", [0.0009, 0.0028]), ("dlcm_A_sigma0.01.csv", [0.0042, 0.016])]
    {
        let Some((data, table)) = dlcm_data(name, |split, _| split == "train_small") else {
            return;
        };
        let fit = run("dlcm", &data, Objective::default());
        let (n, d) = (table.numbers("n_params"), table.numbers("d_tokens"));
        let (r, p) = (table.numbers("r"), table.numbers("p"));
        let truth = table.numbers("loss_true");
        let split = table.text("split");
        for held in ["test_833M", "test_1T"] {
            let errors: Vec<f64> = (0..n.len())
                .filter(|row| split[*row] == held)
                .map(|row| {
                    let predicted = fit
                        .predict(|name| match name {
                            "params" => Some(n[row]),
                            "tokens" => Some(d[row]),
                            "compression_ratio" => Some(r[row]),
                            _ => Some(p[row]),
                        })
                        .expect("prediction");
                    (predicted.value / truth[row] - 1.0).abs()
                })
                .collect();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            let worst = errors.iter().copied().fold(0.0, f64::max);
            eprintln!("{name} {held}: mean {:.3}% worst {:.3}%", mean * 100.0, worst * 100.0);
            if held == "test_833M" {
                assert!(mean < 1.1 * limits[0] && worst < 1.1 * limits[1], "{name}");
            }
        }
        eprintln!("{:?} {:?} {:?} {:?}", fit.outcome, fit.unidentified, fit.at_bound, fit.identification);
    }
}
