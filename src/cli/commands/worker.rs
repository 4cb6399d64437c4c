//! `orchestrator worker`: a process that takes runs which are offered, on whatever machine it is started.

use crate::application::{Packing, data_cache, of_this_machine, places, this_program};
use crate::cli::Failure;
use crate::cli::experiment::check_device_names;
use crate::cli::failure::FAILED;
use crate::cli::stops::Stops;
use crate::cli::terminal::note;
use campaign::cluster::worker::{Over, Worker, WorkerError, work};
use campaign::launch::local::Local;
use experiment::{digest, lock};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Train runs that are offered in a results folder, until none is left.
///
/// `orchestrator run FILE --on NAME` offers them, and starts workers where it can; by hand any number of
/// them may be started, on any machines that share the folder.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator worker results/quickstart --idle 60")]
pub(in crate::cli) struct Args {
    /// The results folder.
    results: PathBuf,

    /// The devices it trains on, separated by commas: all GPUs it sees by default, or else the CPU.
    #[arg(long, value_delimiter = ',', value_name = "DEVICE")]
    device: Vec<String>,

    /// Runs at once on each device [default: as many as its memory and the cores allow].
    #[arg(long, value_name = "RUNS")]
    per_device: Option<NonZeroUsize>,

    /// Devices that a run of another trainer takes together.
    #[arg(long, value_name = "DEVICES", default_value = "1")]
    devices_per_run: NonZeroUsize,

    /// Runs after which it ends.
    #[arg(long, value_name = "RUNS")]
    runs: Option<NonZeroUsize>,

    /// Seconds without work after which it ends.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0)]
    idle: f64,

    /// Seconds after which it begins nothing more, and stops what it trains.
    #[arg(long, value_name = "SECONDS")]
    time: Option<f64>,

    /// Where prepared data are kept.
    #[arg(long, value_name = "DIR")]
    data_cache: Option<PathBuf>,
}

/// Variables by which Slurm names a task of an array, as its queue shows it.
fn job() -> Option<String> {
    let variable = |name| std::env::var(name).ok();
    let task = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    task.map(|(job, task)| format!("{job}_{task}"))
        .or_else(|| variable("SLURM_JOB_ID"))
}

/// Counts the cores that it may use: those of its job, where a batch system gave it some.
fn cores() -> usize {
    let here = std::thread::available_parallelism().map_or(1, usize::from);
    let of_job = std::env::var("SLURM_CPUS_PER_TASK").ok();
    let of_job = of_job.and_then(|cores| cores.parse().ok());
    of_job.map_or(here, |cores: usize| cores.clamp(1, here))
}

/// Names a worker: no other has this name.
fn token(host: &str) -> String {
    let now = experiment::clock::now();
    digest::name(&format!("{host} {} {now} {:?}", std::process::id(), job()))
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value)
            .map_err(|_| Failure::input(format!("`--{name} {value}` must be a time from 0 on")))
    };
    let idle = seconds("idle", args.idle)?;
    let time = args.time.map(|time| seconds("time", time)).transpose()?;
    check_device_names(&args.device)?;
    let devices = if args.device.is_empty() {
        of_this_machine()
    } else {
        args.device.clone()
    };
    let threads = cores();
    let packing = Packing {
        on_processor: threads,
        most: None,
        per_device: args.per_device.map(usize::from),
        together: args.devices_per_run.get(),
    };
    let devices = places(&devices, &packing).map_err(Failure::input)?;
    let stops = Stops::of_worker()?;
    // As Slurm calls its machine, which need not be the machine's own name: nodes are excluded by it.
    let host = std::env::var("SLURMD_NODENAME").unwrap_or_else(|_| lock::host());
    let worker = Worker {
        token: token(&host),
        host,
        job: job(),
        results: args.results.clone(),
        together: packing.together,
        threads,
        runs: args.runs.map_or(usize::MAX, usize::from),
        data_cache: args.data_cache.clone().unwrap_or_else(data_cache),
        idle,
        until: time.map(|time| Instant::now() + time),
    };
    let mut launcher = Local::new(this_program()?, devices);
    let over = work(&worker, &mut launcher, stops.asked(), &|said| {
        note!("{said}")
    });
    match over.map_err(refused)? {
        Over::Idle => note!("nothing is left to do"),
        Over::Enough => note!("it has trained as many runs as it was to"),
        Over::Asked => note!("asked to stop"),
        Over::Suspect => {
            note!("what begins here dies before its first step: this machine may be broken");
            return Ok(ExitCode::from(FAILED));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(error: WorkerError) -> Failure {
    match error {
        WorkerError::NoOffers { .. } => Failure::input(error),
        error => Failure::machine(error),
    }
}
