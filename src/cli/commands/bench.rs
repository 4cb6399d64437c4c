//! `orchestrator bench`: how fast this machine trains models of known shapes.

use crate::cli::Failure;
use crate::cli::terminal::print;
use campaign::launch::local::environment;
use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use experiment::architecture::Architecture;
use experiment::architecture::solver::ShapeError;
use experiment::flops::Convention;
use experiment::recipe::{Precision, Recipe};
use network::device;
use serde::Serialize;
use std::process::ExitCode;
use trainer::train::shapes::{SHAPES, Shape};
use trainer::train::timing::{matmul_peak, time_steps};

/// Time training steps of models of known shapes.
///
/// Each shape stands beside two dense models: one of equal N, one of equal training FLOPs.
/// Model FLOPs are counted exactly as masked, at the realised ratio; the peak is that of a large
/// matrix product on the same threads.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orchestrator bench\n  \
    orchestrator bench base --model dlcm --threads 2 --json")]
pub(in crate::cli) struct Args {
    /// The shapes [default: tiny, small and base].
    #[arg(value_name = "SHAPE", value_parser = SHAPES.map(|shape| shape.name))]
    shapes: Vec<String>,

    /// Which of a shape's models [default: all three].
    #[arg(long = "model", value_enum)]
    models: Vec<Model>,

    /// Timed steps of each model.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,

    /// Steps before them.
    #[arg(long, default_value_t = 3)]
    warmup: u64,

    /// Sequences in a step.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=65536))]
    batch: u64,

    /// Tokens per concept, above 1.
    #[arg(long, default_value_t = 4.0, value_name = "R")]
    compression_ratio: f64,

    /// Threads [default: all].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=4096))]
    threads: Option<u16>,

    /// The device.
    #[arg(long, env = device::VARIABLE, default_value = "cpu")]
    device: String,

    /// What layers compute in.
    #[arg(long, default_value = "f32", value_parser = precisions())]
    precision: Precision,

    /// Print JSON: an object whose `models` array holds one object a model.
    #[arg(long)]
    json: bool,
}

/// A shape's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Model {
    /// The hierarchical model.
    Dlcm,
    /// A dense model of as many parameters.
    #[value(name = "dense_n")]
    DenseN,
    /// A dense model of as many training FLOPs per token.
    #[value(name = "dense_flops")]
    DenseFlops,
}

/// Reads a precision by its name.
fn precisions() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::name)).map(|name| {
        let found = Precision::ALL.into_iter().find(|p| p.name() == name);
        found.unwrap_or_else(|| unreachable!("one of the possible values"))
    })
}

/// One timed model.
#[derive(Serialize)]
struct Row {
    shape: &'static str,
    model: Model,
    params: u64,
    batch: usize,
    realised_ratio: f64,
    flops_per_token: f64,
    tokens_per_second: f64,
    seconds_per_step: Vec<f64>,
    flops_per_second: f64,
    share_of_peak: f64,
    loss: f64,
    architecture: Architecture,
}

/// Everything that was measured.
#[derive(Serialize)]
struct Measured {
    device: String,
    precision: Precision,
    threads: usize,
    matmul_peak_flops_per_second: f64,
    /// Of the whole process on the device, over all models.
    peak_memory_bytes: Option<f64>,
    models: Vec<Row>,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    if !(args.compression_ratio > 1.0 && args.compression_ratio.is_finite()) {
        return Err(Failure::input(format!(
            "`--compression-ratio {}` must be above 1; dense models are timed beside it anyway",
            args.compression_ratio
        )));
    }
    if let Some((variable, value)) = environment(args.precision)
        && std::env::var_os(&variable).is_none()
    {
        return again_with(&variable, &value);
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.map_or(0, usize::from))
        .build()
        .map_err(Failure::machine)?;
    let measured = pool.install(|| measure(args))?;
    if args.json {
        let text = serde_json::to_string_pretty(&measured).map_err(Failure::machine)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&table(&measured))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs this command again in a process with a variable that is read as it starts.
fn again_with(variable: &str, value: &str) -> Result<ExitCode, Failure> {
    let program = std::env::current_exe().map_err(Failure::machine)?;
    let status = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(variable, value)
        .status()
        .map_err(Failure::machine)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(crate::cli::failure::FAILED)))
}

fn measure(args: &Args) -> Result<Measured, Failure> {
    let shapes: Vec<Shape> = match args.shapes.as_slice() {
        [] => SHAPES[..3].to_vec(),
        given => given
            .iter()
            .filter_map(|name| Shape::from_name(name))
            .collect(),
    };
    let models = match args.models.as_slice() {
        [] => &[Model::Dlcm, Model::DenseN, Model::DenseFlops],
        given => given,
    };
    let recipe = Recipe {
        batch: args.batch as usize,
        precision: args.precision,
        ..Recipe::default()
    };
    let peak = matmul_peak(&args.device, args.precision)?;
    let mut rows = Vec::new();
    for shape in shapes {
        for &model in models {
            let architecture =
                architecture(shape, model, args.compression_ratio).map_err(Failure::input)?;
            let timing = time_steps(
                &architecture,
                &recipe,
                args.warmup,
                args.steps,
                &args.device,
            )?;
            let flops_per_token =
                architecture.training_flops(timing.realised_ratio, Convention::Exact);
            let flops_per_second = flops_per_token * timing.tokens_per_second();
            rows.push(Row {
                shape: shape.name,
                model,
                params: architecture.params().non_embedding(),
                batch: recipe.batch,
                realised_ratio: timing.realised_ratio,
                flops_per_token,
                tokens_per_second: timing.tokens_per_second(),
                seconds_per_step: timing.seconds,
                flops_per_second,
                share_of_peak: flops_per_second / peak,
                loss: timing.loss,
                architecture,
            });
        }
    }
    Ok(Measured {
        device: args.device.clone(),
        precision: args.precision,
        threads: rayon::current_num_threads(),
        matmul_peak_flops_per_second: peak,
        peak_memory_bytes: device::peak_memory(&args.device),
        models: rows,
    })
}

fn architecture(shape: Shape, model: Model, ratio: f64) -> Result<Architecture, ShapeError> {
    let dlcm = shape.dlcm(ratio)?;
    match model {
        Model::Dlcm => Ok(dlcm),
        Model::DenseN => shape.dense_of_equal_params(&dlcm),
        Model::DenseFlops => shape.dense_of_equal_flops(&dlcm),
    }
}

fn table(measured: &Measured) -> String {
    let mut text = format!(
        "{}, {} threads; a large matrix product reaches {:.1} GFLOP/s\n\n",
        measured.device,
        measured.threads,
        measured.matmul_peak_flops_per_second / 1e9
    );
    text += &format!(
        "{:<6} {:<11} {:>7} {:>5} {:>12} {:>9} {:>9} {:>7}\n",
        "shape", "model", "N", "R", "MFLOP/token", "tokens/s", "GFLOP/s", "of peak"
    );
    for row in &measured.models {
        text += &format!(
            "{:<6} {:<11} {:>7} {:>5.2} {:>12.2} {:>9.0} {:>9.1} {:>6.1}%\n",
            row.shape,
            row.model
                .to_possible_value()
                .map_or(String::new(), |value| value.get_name().to_owned()),
            experiment::quantity::Params(row.params).to_string(),
            row.realised_ratio,
            row.flops_per_token / 1e6,
            row.tokens_per_second,
            row.flops_per_second / 1e9,
            100.0 * row.share_of_peak
        );
    }
    if let Some(bytes) = measured.peak_memory_bytes {
        text += &format!("\npeak memory {:.0} MB\n", bytes / 1e6);
    }
    text
}
