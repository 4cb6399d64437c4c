//! Fits Chinchilla's law to `params,tokens,loss` lines on standard input and says what to train for a
//! budget: `cargo run --release -p scaling_law --example fit_csv < runs.csv`.

use scaling_law::analysis::{Policy, fit_as_written};
use scaling_law::fit::Observations;
use scaling_law::fit::allocation::{Budget, Convention, Surface, optimum};
use std::error::Error;
use std::io::BufRead;

fn main() -> Result<(), Box<dyn Error>> {
    let mut columns = [Vec::new(), Vec::new(), Vec::new()];
    for line in std::io::stdin().lock().lines().skip(1) {
        let line = line?;
        for (column, cell) in columns.iter_mut().zip(line.split(',')) {
            column.push(cell.trim().parse()?);
        }
    }
    let names = ["params", "tokens", "loss"];
    let data = Observations::new(names.into_iter().zip(columns))?;
    let places: Vec<_> = (0..data.len())
        .map(|row| format!("line {}", row + 2).into())
        .collect();
    let policy = Policy {
        draws: Some(200),
        ..Policy::default()
    };
    let found = fit_as_written("chinchilla", &data, &places, None, &policy)?;
    for parameter in &found.report.parameters {
        println!(
            "{:<6} {:>12.5} {:?}",
            parameter.name, parameter.value, parameter.interval
        );
    }
    let surface = Surface::new(found.fitted.law.clone(), &[])?;
    let budget = Budget::training(1e21);
    let best = optimum(&surface, &Convention::SixN, &found.fitted.domain(), &budget)?;
    println!("for 1e21 FLOPs: {:?}, loss {:.4}", best.setting, best.loss);
    Ok(())
}
