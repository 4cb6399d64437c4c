//! `orchestrator run`: plan, train what is missing, store, fit, draw.

mod detached;
mod until;

use super::evaluate::ask_all;
use super::fit;
use crate::application::{Asked, Asking, Chosen, Loaded, Runs};
use crate::application::{data_cache, devices, this_program, with_measured_memory};
use crate::cli::answer::in_json;
use crate::cli::experiment::{DeviceArgs, ExperimentArgs, OnArgs};
use crate::cli::failure::FAILED;
use crate::cli::progress::Progress;
use crate::cli::stops::Stops;
use crate::cli::terminal::{note, print};
use crate::cli::{Failure, provenance};
use crate::rows::Selection;
use campaign::cluster::leader::Cluster;
use campaign::cluster::workload::Workload;
use campaign::launch::Launcher;
use campaign::launch::local::{Device, Local};
use campaign::orchestrate::{self, Limit, Mode, Setting, Summary};
use campaign::store::{ExperimentRecord, Patience, PlannedRun, Store, shared_filesystem};
use detached::Round;
use experiment::clock::now;
use experiment::digest;
use experiment::folder::ClusterFolder;
use experiment::lock::{Lock, LockError};
use experiment::plan::{Planned, Run};
use experiment::quantity::{counted, human_bytes};
use experiment::run::RunId;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use until::Until;

/// Run an experiment: train what is missing, store it, fit the laws, draw the figures and
/// write the report.
///
/// Running the same file again trains only what is missing. Ctrl-C lets running runs write a
/// checkpoint and ends; a second one kills them. On a cluster it leaves the workers at work, and the same
/// command again takes in what they have done. A run that crashes, stalls or runs out of memory is
/// tried again; what fails for good waits for `orchestrator retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  orchestrator run experiments/quickstart.yaml")]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    #[command(flatten)]
    devices: DeviceArgs,

    #[command(flatten)]
    on: OnArgs,

    /// On a cluster: end the workers, take back what is offered, and train nothing.
    #[arg(long)]
    cancel: bool,

    /// On a cluster: submit the workers and a job that takes in what they measured, goes on where runs are
    /// left, and fits; and return.
    #[arg(long, conflicts_with_all = ["cancel", "max_runs", "first"])]
    detach: bool,

    /// Measurements before the round that has ended, and rounds without any before it.
    #[arg(long, hide = true, requires = "detach")]
    round: Option<Round>,

    /// Train, of the grid, the runs that narrow an answer most per FLOP, until it is narrow enough, as in
    /// 'interval(concept_share) < 0.1' [default: the experiment's file, the whole grid].
    #[arg(long, value_name = "GOAL")]
    until: Option<String>,

    /// With --until: the most training FLOPs that its runs may take.
    #[arg(long, value_name = "FLOPS")]
    budget: Option<String>,

    /// Start no more than so many runs.
    #[arg(long, value_name = "N")]
    max_runs: Option<usize>,

    /// Start these runs before all others: ids, or beginnings of them.
    #[arg(long, value_name = "RUN", value_delimiter = ',')]
    first: Vec<String>,

    /// Say nothing of runs that start, go on and finish: only what goes wrong, and the answer.
    #[arg(long, short)]
    quiet: bool,

    /// Say everything of the answer: all parameters, the optimum at every R, every warning.
    #[arg(long, short, conflicts_with = "json")]
    verbose: bool,

    /// Print JSON: a line with how many runs came to what, and, once none is left, a line with the
    /// fit, as `orchestrator fit --json` prints it.
    #[arg(long)]
    json: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let loaded = args.experiment.load()?;
    let cluster = args.on.find(&loaded, &args.experiment)?;
    let device_names = match &cluster {
        // Those of the workers are their own affair.
        Some(_) => vec!["cpu".to_owned()],
        None if args.cancel || args.detach => {
            return Err(Failure::input(
                "`--cancel` and `--detach` are for runs on a cluster: name it with `--on NAME`",
            ));
        }
        None => args.devices.names_for(&loaded.experiment)?,
    };
    crate::cli::block_on(async {
        let runs = loaded.runs().await?;
        for warning in runs.warnings() {
            note!("warning: {warning}");
        }
        train_and_fit(args, &device_names, &loaded, cluster.as_ref(), runs).await
    })
}

async fn train_and_fit(
    args: &Args,
    device_names: &[String],
    loaded: &Loaded,
    cluster: Option<&Chosen>,
    mut runs: Runs,
) -> Result<ExitCode, Failure> {
    let asked = || {
        let (goal, most) = (args.until.as_deref(), args.budget.as_deref());
        Until::read(goal, most, &loaded.experiment)
    };
    let until = if args.cancel { None } else { asked()? };
    let is_limited = args.max_runs.is_some() || !args.first.is_empty();
    if until.is_some() && (cluster.is_some() || is_limited) {
        return Err(Failure::input(
            "`--until`, or `analysis.until` in the file, chooses what is trained, on this machine: it goes with neither \
             `--on`, `--max-runs` nor `--first`; `--set analysis.until=null` trains the whole grid",
        ));
    }
    // First the lock: of two that start on a new folder, one would find its database half made.
    Store::make_folder(&loaded.results)?;
    let _lock = take_lock(args, &loaded.results)?;
    if let Some(kind) = shared_filesystem(&loaded.results) {
        note!(
            "{} is on {kind}, which machines may share: the database keeps a rollback journal there, and \
             one orchestrator at a time may work on it (docs/operations.md says what is safe)",
            loaded.results.display()
        );
    }
    if cluster.is_none() {
        refuse_what_workers_have(&loaded.results)?;
    }
    let stops = Stops::watch()?;
    let store = Store::create(&loaded.results).await?;
    let store = store.patient(patience(&stops));
    let mut setting = Setting {
        results: loaded.results.clone(),
        data_cache: data_cache(),
        execution: loaded.experiment.execution.clone(),
        max_runs: args.max_runs,
        first: find_planned(&args.first, &runs.all())?,
        mode: if args.detach {
            Mode::Offer
        } else {
            Mode::Train
        },
        provenance: provenance::of(device_names),
    };
    if let (true, Some(cluster)) = (args.cancel, cluster) {
        note!(
            "{}",
            cluster.open(loaded)?.cancel().map_err(Failure::machine)?
        );
        return Ok(ExitCode::SUCCESS);
    }
    let training = Training {
        args,
        cluster,
        store: &store,
        device_names,
        loaded,
        stops: &stops,
        is_quiet: args.quiet,
    };
    if !runs.untuned.is_empty() {
        // What is trained at the rates that trials find is not known before.
        let trials = runs.open_trials();
        note!(
            "first, {}: they find the learning rates",
            counted(trials.len(), "trial")
        );
        let (_, summary) = training.train(&trials, Vec::new(), &setting).await?;
        setting.max_runs = setting
            .max_runs
            .map(|most| most.saturating_sub(summary.started()));
        let found = loaded.runs().await?;
        if !found.untuned.is_empty() {
            return say_what_is_left(args, &summary, &setting, true);
        }
        for line in &found.tuned {
            note!("learning rate of {line}");
        }
        runs = found;
    }
    let external = std::mem::take(&mut runs.external);
    let (experiment, summary) = match &until {
        Some(until) => training.until(until, &runs.planned, &setting).await?,
        None => training.train(&runs.planned, external, &setting).await?,
    };
    let left = say_what_is_left(args, &summary, &setting, summary.left > 0)?;
    for said in loaded.differences().await? {
        note!("warning: {said}");
    }
    let set = loaded.evaluation_set()?;
    let mut unasked = 0;
    if summary.left == 0 && !set.is_empty() {
        let asking = Asking {
            store: &store,
            experiment,
            results: &loaded.results,
            set: &set,
        };
        let goes_on = |_: &str, _| stops.asked().load(Ordering::Relaxed) == 0;
        // Most were asked by their own processes.
        let asking = ask_all(&asking, &device_names[0], &goes_on);
        unasked = stops.train(asking).await?;
    }
    if summary.left == 0 {
        let (file, all) = (&loaded.experiment, Selection::default());
        let asked = Asked::of_experiment(&store, experiment, &file.name, Some(file), all).await?;
        let Ok(result) = stops.interruptible(|| asked.analyse(&asked.policy)) else {
            note!(
                "stopped before the laws were fitted: `orchestrator fit {}` fits and draws them",
                args.experiment.file.display()
            );
            return Ok(ExitCode::from(FAILED));
        };
        let said = fit::Said::of(args.json, args.verbose);
        fit::keep_and_draw(&store, experiment, &result?, &loaded.results, None, said).await?;
    }
    Ok(if unasked > 0 {
        ExitCode::from(FAILED)
    } else {
        left
    })
}

/// Takes the lock of the results; a command that nobody watches waits a while for whoever looks at them.
fn take_lock(args: &Args, results: &Path) -> Result<Lock, Failure> {
    let until = Instant::now() + LOCKED;
    loop {
        match Lock::take(results, "orchestrator") {
            Err(LockError::Held { .. }) if args.round.is_some() && Instant::now() < until => {
                std::thread::sleep(Duration::from_secs(1));
            }
            taken => return Ok(taken?),
        }
    }
}

/// Time that a command which nobody watches waits for others.
const LOCKED: Duration = Duration::from_secs(300);

/// Refuses to train here what workers train.
fn refuse_what_workers_have(results: &Path) -> Result<(), Failure> {
    let workload = Workload::read(results);
    let (offered, claimed) = (workload.offered, workload.trained());
    if offered + claimed == 0 {
        return Ok(());
    }
    Err(Failure::input(format!(
        "workers have this folder ({} offered to them, {claimed} claimed by them): go on with `--on NAME`, or \
         take them back with `--on NAME --cancel` (what is claimed stands in {})",
        counted(offered, "run"),
        ClusterFolder(results).claims().display()
    )))
}

/// Has training go on while somebody else writes to the database, however long.
fn patience(stops: &Stops) -> Patience {
    let stops = stops.clone();
    Patience {
        waits: Arc::new(|holder| {
            note!(
                "the database is locked: {holder} writes to it. What trains goes on, and what it measures \
                 is taken in when that has ended; Ctrl-C twice gives up"
            );
        }),
        is_over: Arc::new(move || stops.kill()),
    }
}

/// Says what became of the runs, and how to go on.
fn say_what_is_left(
    args: &Args,
    summary: &Summary,
    setting: &Setting,
    more: bool,
) -> Result<ExitCode, Failure> {
    if args.json {
        print(&in_json(summary)?)?
    } else {
        note!("{}", describe(summary))
    }
    let failed = summary.failed + summary.cancelled > 0;
    if failed {
        note!(
            "`orchestrator retry {}` makes what failed or was cancelled run again",
            args.experiment.as_given()
        );
    }
    if summary.left > 0 {
        note!("{}", how_to_continue(summary, setting));
    }
    // What goes on without this command is not left.
    Ok(if failed || more && !args.detach {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    })
}

/// Finds the runs that are not done.
async fn to_do<'a>(
    store: &Store,
    experiment: i64,
    planned: &'a [Run],
    results: &Path,
) -> Result<Vec<&'a Run>, Failure> {
    let stored = store.runs(experiment).await?;
    let stored = stored.into_iter().map(|run| (run.id.clone(), run));
    Ok(orchestrate::to_do(planned, &stored.collect(), results))
}

/// Refuses to start what the disk cannot hold.
fn check_disk(loaded: &Loaded, to_do: &[&Run], devices: &[Device]) -> Result<(), Failure> {
    let slots = devices.iter().map(|device| device.slots).sum();
    let keep_weights = loaded.experiment.execution.keep_weights;
    let need = orchestrate::disk_need(to_do, slots, keep_weights);
    match orchestrate::disk_free(&loaded.results) {
        Some(free) if need.most > free => Err(Failure::input(format!(
            "the {} runs to do take up to {} in {}, where {} are free; \
             `execution.keep_weights: false` keeps no weights, `orchestrator prune` lists what can \
             go, and `--results DIR` puts them elsewhere",
            to_do.len(),
            human_bytes(need.most),
            loaded.results.display(),
            human_bytes(free)
        ))),
        _ => Ok(()),
    }
}

fn describe(summary: &Summary) -> String {
    let where_any = |number: usize, what: &str| match number {
        0 => String::new(),
        number => format!(", {number} {what}"),
    };
    format!(
        "{} finished, {} finished before, {} diverged, {} failed{}{}, {} left",
        summary.finished,
        summary.already,
        summary.diverged,
        summary.failed,
        where_any(summary.cancelled, "cancelled"),
        where_any(summary.blocked, "waiting for a failed trunk"),
        summary.left
    )
}

/// Says what kept runs from starting, and how to go on.
fn how_to_continue(summary: &Summary, setting: &Setting) -> String {
    const AGAIN: &str = "run the same command again to continue";
    match summary.left_by {
        Some(Limit::MaxRuns) => format!("as many as `--max-runs` allows have run: {AGAIN}"),
        Some(Limit::MaxTime) => format!("`execution.max_time` has passed: {AGAIN}"),
        Some(Limit::MaxFlops) => {
            let most = setting.execution.max_flops.unwrap_or(f64::INFINITY);
            format!(
                "the runs left would take the experiment past `execution.max_flops` ({most:e}): raise \
                 it to continue"
            )
        }
        Some(Limit::Elsewhere) => {
            "workers go on: `orchestrator status` says how far they are".to_owned()
        }
        Some(Limit::Stop) | None => AGAIN.to_owned(),
    }
}

/// Finds planned runs by the beginnings of their ids.
fn find_planned(names: &[String], planned: &[Run]) -> Result<Vec<RunId>, Failure> {
    let mut found = Vec::new();
    for name in names {
        let before = found.len();
        let runs = planned.iter().map(|run| run.id.clone());
        found.extend(runs.filter(|id| id.0.starts_with(name)));
        if found.len() == before {
            return Err(Failure::input(format!(
                "no run of this experiment begins with `{name}`; `orchestrator plan` lists them"
            )));
        }
    }
    Ok(found)
}

/// Records the experiment and its plan; returns the experiment's id.
async fn record(
    store: &Store,
    loaded: &Loaded,
    planned: &[Run],
    git_commit: Option<String>,
) -> Result<i64, Failure> {
    let config = &loaded.experiment.source.text;
    let experiment = ExperimentRecord {
        name: loaded.experiment.name.clone(),
        config_hash: digest::sha256(config),
        config: config.clone(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_commit,
    };
    let runs: Vec<PlannedRun> = planned.iter().map(PlannedRun::from).collect();
    let id = store.plan(&experiment, &runs, now()).await?;
    // Before anything is trained for it.
    store
        .register_claims(id, &loaded.experiment.claims, now())
        .await?;
    Ok(id)
}

/// What runs are trained by.
struct Training<'a> {
    args: &'a Args,
    /// The cluster where; `None` for this machine.
    cluster: Option<&'a Chosen>,
    store: &'a Store,
    device_names: &'a [String],
    loaded: &'a Loaded,
    stops: &'a Stops,
    is_quiet: bool,
}

impl Training<'_> {
    /// Records runs as those that the experiment asks for; returns its id.
    async fn record(&self, own: &[Planned], setting: &Setting) -> Result<i64, Failure> {
        let runs: Vec<Run> = own.iter().map(Run::from).collect();
        let git_commit = setting.provenance.git_commit.clone();
        record(self.store, self.loaded, &runs, git_commit).await
    }

    /// Records the experiment's runs and trains those that are not done; returns the experiment's id
    /// too.
    async fn train(
        &self,
        own: &[Planned],
        external: Vec<Run>,
        setting: &Setting,
    ) -> Result<(i64, Summary), Failure> {
        let runs = |own: &[Planned]| -> Vec<Run> {
            let own = own.iter().map(Run::from);
            own.chain(external.iter().cloned()).collect()
        };
        let planned = runs(own);
        let (store, loaded) = (self.store, self.loaded);
        let git_commit = setting.provenance.git_commit.clone();
        let experiment = record(store, loaded, &planned, git_commit).await?;
        let devices = devices(&loaded.experiment, self.device_names)?;
        let missing = to_do(store, experiment, &planned, &loaded.results).await?;
        check_disk(loaded, &missing, &devices)?;
        // Devices of one machine are taken to be alike.
        let planned = match self.device_names.first() {
            Some(name) if !missing.is_empty() && !own.is_empty() && self.cluster.is_none() => {
                let own = with_measured_memory(loaded, own, name, &|said| note!("{said}"))?;
                runs(&own)
            }
            _ => planned,
        };
        let missing = to_do(store, experiment, &planned, &loaded.results).await?;
        let slots = devices.iter().map(|device| device.slots).sum();
        let by_urgency = orchestrate::by_urgency(&missing, setting.execution.order, &setting.first);
        let mut progress = Progress::new(&by_urgency, slots, self.is_quiet);
        let mut workers = self
            .cluster
            .map(|cluster| cluster.open(loaded))
            .transpose()?;
        let mut local = Local::new(this_program()?, devices);
        let launcher: &mut dyn Launcher = match &mut workers {
            Some(workers) => workers,
            None => &mut local,
        };
        let training = orchestrate::run(
            store,
            experiment,
            &planned,
            setting,
            launcher,
            &mut progress,
            self.stops.asked(),
        );
        let summary = self.stops.train(training).await?;
        if let (Some(workers), true) = (&mut workers, self.args.detach && summary.left > 0) {
            note!("{}", self.follow(workers).await?);
        }
        Ok((experiment, summary))
    }

    /// Has this command carried out again when the workers have ended.
    async fn follow(&self, workers: &mut Cluster) -> Result<String, Failure> {
        let round = Round::next(self.args.round, self.store.amount_done().await?)?;
        let mut words = vec![this_program()?.display().to_string()];
        words.extend(["run", "--detach", "--quiet", "--round"].map(str::to_owned));
        words.push(round.to_string());
        let on = self.cluster.map(|cluster| cluster.name.clone());
        words.extend(on.into_iter().flat_map(|name| ["--on".to_owned(), name]));
        words.extend(self.args.experiment.words());
        let folder = std::env::current_dir().map_err(Failure::machine)?;
        workers.follow(&words, &folder).map_err(Failure::machine)
    }
}
