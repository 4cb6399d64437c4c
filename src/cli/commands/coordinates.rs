//! `orchestrator coordinates`: the coordinate check of muP, as a table and a figure.

use super::plot::formats;
use crate::cli::Failure;
use crate::cli::terminal::{note, print};
use experiment::recipe::Recipe;
use network::device;
use report::plots::{ActivationSize, Format, draw_coordinates};
use std::path::PathBuf;
use std::process::ExitCode;
use trainer::train::coordinates::{Coordinate, coordinates};

/// Check that activations stay as large as they are while width grows.
///
/// Models of growing width take a few steps with the default recipe; with muP the sizes of their
/// activations stay put, so that a learning rate found at one width holds at another.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator coordinates --figures results/coordinates")]
pub(in crate::cli) struct Args {
    /// Token widths, multiples of 16.
    #[arg(long, value_delimiter = ',', default_value = "32,64,128,256", value_parser = clap::value_parser!(u16).range(16..=16384))]
    widths: Vec<u16>,

    /// Optimizer steps.
    #[arg(long, default_value_t = 8)]
    steps: u64,

    /// Draw the figure into this folder.
    #[arg(long, value_name = "DIR")]
    figures: Option<PathBuf>,

    /// The figure's formats, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "svg,png", value_parser = formats())]
    format: Vec<Format>,

    /// Base learning rate of all groups, at width 64.
    #[arg(long)]
    learning_rate: Option<f64>,

    /// The device.
    #[arg(long, env = device::VARIABLE, default_value = "cpu")]
    device: String,

    /// Print JSON: an array with one object a site, width and step.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut recipe = Recipe::default();
    if let Some(rate) = args.learning_rate {
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(Failure::input(format!(
                "`--learning-rate {rate}` must be above 0, as in 2e-3"
            )));
        }
        (recipe.rates.token, recipe.rates.concept, recipe.rates.other) = (rate, rate, rate);
    }
    let widths: Vec<usize> = args.widths.iter().copied().map(usize::from).collect();
    let found = coordinates(&widths, args.steps, &recipe, &args.device)?;
    // Steps 0, 1, 2, 4, 8, … and the last.
    let shown = |step: u64| step == 0 || step.is_power_of_two() || step == args.steps;
    let found: Vec<Coordinate> = found.into_iter().filter(|c| shown(c.step)).collect();
    let sizes: Vec<ActivationSize> = found
        .iter()
        .map(|c| ActivationSize {
            site: c.site.name(),
            width: c.width,
            step: c.step,
            size: c.size,
        })
        .collect();
    if args.json {
        let text = serde_json::to_string(&sizes).map_err(Failure::machine)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&table(&found, &widths))?;
    }
    if let Some(folder) = &args.figures {
        for file in draw_coordinates(folder, &sizes, &args.format).map_err(Failure::machine)? {
            note!("{}", file.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(found: &[Coordinate], widths: &[usize]) -> String {
    let mut text = format!("{:<16} {:>5}", "root mean square", "step");
    for width in widths {
        text += &format!(" {:>9}", format!("d={width}"));
    }
    text.push('\n');
    let Some(first) = found.first() else {
        return text;
    };
    let mut rows: Vec<_> = found.iter().filter(|c| c.width == first.width).collect();
    rows.sort_by_key(|c| (c.site, c.step));
    for row in rows {
        text += &format!("{:<16} {:>5}", row.site.name(), row.step);
        for &width in widths {
            let at = |c: &&Coordinate| (c.width, c.step, c.site) == (width, row.step, row.site);
            let size = found.iter().find(at).map_or(f64::NAN, |c| c.size);
            text += &format!(" {size:>9.4}");
        }
        text.push('\n');
    }
    text
}
