//! Counts how often 95% intervals hold the truth on simulated grids, and prints the table of `docs/methodology.md`:
//! `cargo run --release --workspace --example coverage [GRIDS [PART OF A NAME]]`, 200 grids unless told otherwise.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use scaling_law::analysis::{LEVEL, Policy, ResampledBy, Uncertainty, fit_as_written};
use scaling_law::fit::allocation::{Budget, Convention, Surface, Variable, optimum};
use scaling_law::fit::{FittedLaw, Objective, Observations, law};
use scaling_law::study::{AllocateQuestion, allocate};
use std::collections::BTreeMap;
use std::error::Error;

/// Grids whose losses follow a known law.
struct Case {
    name: &'static str,
    law: &'static str,
    /// Natural parameters of the law, in its order.
    truth: &'static [f64],
    /// Values of every column of the law: the grid is all of their combinations.
    columns: &'static [&'static [f64]],
    /// Runs of every setting.
    seeds: usize,
    /// Standard deviation of ln loss.
    noise: f64,
    /// Whether the runs that differ in D alone are branches of one trunk, whose noise they share by half.
    branches: bool,
    /// How resamples are made; nothing leaves it to the rows.
    resampling: Option<ResampledBy>,
    objective: Objective,
}

const CHINCHILLA: &[f64] = &[1.8, 480.0, 2100.0, 0.35, 0.37];
const EQ_22: &[f64] = &[1.1, 14.0, 0.28, 9.0, 0.12, 0.3, 300.0, 0.42];
const SIZES: &[f64] = &[1e7, 3e7, 1e8, 3e8, 1e9, 3e9];
const TOKENS: &[f64] = &[2e8, 6e8, 2e9, 6e9, 2e10, 6e10];

const CASES: &[Case] = &[
    Case {
        name: "36 runs",
        ..BASE
    },
    Case {
        name: "36 runs, signs",
        resampling: Some(ResampledBy::Wild),
        ..BASE
    },
    Case {
        name: "36 runs, signs, L2",
        resampling: Some(ResampledBy::Wild),
        objective: Objective::L2,
        ..BASE
    },
    Case {
        name: "36 runs, drawn",
        resampling: Some(ResampledBy::Pairs),
        ..BASE
    },
    Case {
        name: "16 runs",
        columns: &[&[1e7, 1e8, 1e9, 3e9], &[2e8, 2e9, 2e10, 6e10]],
        ..BASE
    },
    Case {
        name: "108 runs, 3 seeds",
        seeds: 3,
        ..BASE
    },
    Case {
        name: "36 branches of 6 trunks",
        branches: true,
        ..BASE
    },
    Case {
        name: "Eq. 22, 108 runs",
        law: "dlcm_without_offsets",
        truth: EQ_22,
        columns: &[
            &[2e5, 8e5, 3.2e6, 1.28e7],
            &[2e6, 2e7, 2e8],
            &[2.0, 4.0, 8.0],
            &[0.3, 0.5, 0.7],
        ],
        ..BASE
    },
    Case {
        name: "Eq. 22, 27 runs at one D",
        law: "dlcm_at_one_d_without_offsets",
        truth: &[1.8, 14.0, 0.28, 9.0, 0.12, 0.3],
        columns: &[&[2e5, 8e5, 3.2e6], &[2.0, 4.0, 8.0], &[0.3, 0.5, 0.7]],
        ..BASE
    },
];

const BASE: Case = Case {
    name: "",
    law: "chinchilla",
    truth: CHINCHILLA,
    columns: &[SIZES, TOKENS],
    seeds: 1,
    noise: 0.005,
    branches: false,
    resampling: None,
    objective: Objective::Huber { delta: 1e-3 },
};

impl Case {
    /// Makes a grid's runs.
    fn runs(
        &self,
        law: &FittedLaw,
        random: &mut ChaCha8Rng,
    ) -> Result<Observations, Box<dyn Error>> {
        let inputs = law.law().inputs();
        let mut settings: Vec<Vec<f64>> = vec![Vec::new()];
        for values in self.columns {
            let longer = |setting: &Vec<f64>| {
                let one = |value: &f64| setting.iter().copied().chain([*value]).collect();
                values.iter().map(one).collect::<Vec<Vec<f64>>>()
            };
            settings = settings.iter().flat_map(longer).collect();
        }
        let tokens = inputs.iter().position(|input| input.name == "tokens");
        let mut columns = vec![Vec::new(); inputs.len() + 1];
        let (mut trunks, mut of_trunk) = (Vec::new(), BTreeMap::new());
        for seed in 0..self.seeds {
            for setting in &settings {
                let mut rest: Vec<u64> = setting.iter().map(|value| value.to_bits()).collect();
                if let (Some(at), true) = (tokens, self.branches) {
                    rest[at] = 0;
                }
                let trunk = format!("{seed} {rest:?}");
                let own = normal(random);
                let noise = if self.branches {
                    let shared = of_trunk
                        .entry(trunk.clone())
                        .or_insert_with(|| normal(random));
                    (*shared + own) / 2f64.sqrt()
                } else {
                    own
                };
                let loss = law.predict(setting) * (self.noise * noise).exp();
                for (column, value) in columns.iter_mut().zip(setting.iter().chain([&loss])) {
                    column.push(*value);
                }
                trunks.push(trunk);
            }
        }
        let names = inputs
            .into_iter()
            .map(|input| input.name)
            .chain(["loss".to_owned()]);
        let data = Observations::new(names.zip(columns))?;
        Ok(if self.branches {
            data.with_clusters(&trunks)?
        } else {
            data
        })
    }
}

/// Draws from the standard normal distribution (Box–Muller).
fn normal(random: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}

/// How often something was held, of how many intervals, and how wide they were.
#[derive(Clone, Copy, Default)]
struct Count {
    held: usize,
    of: usize,
    low: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let grids: usize = arguments.next().map_or(Ok(200), |grids| grids.parse())?;
    let part = arguments.next().unwrap_or_default();
    println!(
        "| grid | resamples of | quantity | intervals that hold the truth | truth below | truth above |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    for case in CASES.iter().filter(|case| case.name.contains(&part)) {
        let mut counts: Vec<(String, Count)> = Vec::new();
        let mut resampled = "nothing";
        let law = FittedLaw::from_parts(law::by_name(case.law)?, case.truth.to_vec())?;
        for grid in 0..grids {
            let mut random = ChaCha8Rng::seed_from_u64(grid as u64);
            let data = case.runs(&law, &mut random)?;
            let places: Vec<_> = (0..data.len()).map(|row| row.to_string().into()).collect();
            let policy = Policy {
                draws: Some(400),
                resampling: case.resampling,
                objective: case.objective,
                seed: grid as u64,
                ..Policy::default()
            };
            let found = fit_as_written(case.law, &data, &places, None, &policy)?;
            resampled = match found.report.uncertainty {
                Uncertainty::Runs { .. } => "runs",
                Uncertainty::Signs { .. } => "signs of residuals",
                Uncertainty::Noise { .. } => "noise",
                Uncertainty::None | Uncertainty::Profiles => "nothing",
            };
            let mut judge = |name: &str, truth: f64, interval: Option<[f64; 2]>| {
                let Some([low, high]) = interval else { return };
                let at = counts.iter().position(|(known, _)| known == name);
                let at = at.unwrap_or_else(|| {
                    counts.push((name.to_owned(), Count::default()));
                    counts.len() - 1
                });
                let count = &mut counts[at].1;
                count.of += 1;
                count.held += usize::from(low <= truth && truth <= high);
                count.low += usize::from(truth < low);
            };
            for (parameter, truth) in found.report.parameters.iter().zip(case.truth) {
                judge(&parameter.name, *truth, parameter.interval);
            }
            // The middle of the grid, its far corner, and ten times beyond it in N and D.
            let inputs = law.law().inputs();
            let place = |beyond: bool, last: bool| -> BTreeMap<String, f64> {
                let one = |(input, values): (&law::Input, &&[f64])| {
                    let at = if last {
                        values.len() - 1
                    } else {
                        values.len() / 2
                    };
                    let sized = matches!(&*input.name, "params" | "tokens");
                    let factor = if beyond && sized { 10.0 } else { 1.0 };
                    (input.name.clone(), values[at] * factor)
                };
                inputs.iter().zip(case.columns).map(one).collect()
            };
            for (name, at) in [
                ("loss in the middle", place(false, false)),
                ("loss at the corner", place(false, true)),
                ("loss 10× beyond", place(true, true)),
            ] {
                let values: Vec<f64> = inputs.iter().map(|input| at[&input.name]).collect();
                judge(
                    name,
                    law.predict(&values),
                    found.fitted.predict(&at)?.interval,
                );
            }
            // Ten times the largest run's FLOPs.
            let corner = place(false, true);
            let cost = Convention::SixNActive;
            let most = |name: &str, missing: f64| corner.get(name).copied().unwrap_or(missing);
            let spent = most("params", 1.0) * most("tokens", 2e7);
            let question = AllocateQuestion {
                cost: &cost,
                limits: &[],
                budget: Budget::training(60.0 * spent),
                bounds: Vec::new(),
                constants: Vec::new(),
                frontier: Vec::new(),
                saving: None,
            };
            // With one D only P and R are asked for.
            let asked: &[Variable] = match (law.law().inputs().len(), case.law) {
                (2, _) => &[Variable::Params, Variable::Tokens],
                (_, "dlcm_without_offsets") => &[Variable::Params, Variable::ConceptShare],
                _ => &[],
            };
            if !asked.is_empty() {
                let report = allocate(&found.fitted, &question)?;
                let surface = Surface::new(law.clone(), &[])?;
                let best = optimum(&surface, &cost, &report.domain, &question.budget)?;
                for variable in asked {
                    let region = report.region.as_ref();
                    let interval = region.and_then(|region| region.intervals.get(variable.name()));
                    let name = format!("best {}", variable.name());
                    judge(&name, best.setting.get(*variable), interval.copied());
                }
                let region = report.region.as_ref();
                let interval = region.and_then(|region| region.intervals.get("loss"));
                judge("loss at the optimum", best.loss, interval.copied());
            }
        }
        for (name, count) in counts {
            let share = |n: usize| 100.0 * n as f64 / count.of as f64;
            println!(
                "| {} | {resampled} | {name} | {:.1}% of {} | {:.1}% | {:.1}% |",
                case.name,
                share(count.held),
                count.of,
                share(count.low),
                share(count.of - count.held - count.low),
            );
        }
    }
    println!(
        "\nLevel {LEVEL}; with {grids} grids a share of 95% is known to ±{:.1}% (two standard errors).",
        200.0 * (0.95 * 0.05 / grids as f64).sqrt()
    );
    Ok(())
}
