//! The loop, with a launcher that plays what it is told to.

mod requests;

use super::*;
use crate::launch::{Exit, Job, Launcher};
use crate::store::{AttemptRecord, ExperimentRecord, PlannedRun, RunRecord, Store};
use experiment::clock::now;
use experiment::event::{Event, Line};
use experiment::folder::JOURNAL;
use experiment::grid::parse;
use experiment::lock::{Holder, Lock};
use experiment::plan::Run;
use experiment::plan::example::runs as planned;
use experiment::quantity::Seconds;
use experiment::run::RunState;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Finish,
    Diverge,
    /// Ends with success, but has said nothing of it.
    Mumble,
    Fail,
    RunOutOfMemory,
    /// Does nothing until it is stopped.
    Wait,
    /// Does nothing until it is killed.
    Hang,
}

/// A stage on which each run plays its acts in turn, and then finishes.
#[derive(Default)]
struct Stage {
    acts: HashMap<RunId, Vec<Act>>,
    slots: usize,
    /// Jobs in the order of their start.
    started: Vec<Job>,
    playing: Vec<(Job, Act, Option<i32>)>,
    /// Processes that were made to leave a run's folder.
    evicted: usize,
    held: Option<Lock>,
}

impl Stage {
    fn signal(&mut self, run: &RunId, signal: i32) {
        for (job, _, received) in &mut self.playing {
            if job.run == *run {
                *received = Some(signal);
            }
        }
    }
}

fn say(job: &Job, event: Event) {
    let path = job.folder.join(JOURNAL);
    let seq = std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("a journal");
    writeln!(file, "{}", Line::new(seq as u64, now(), event).encode()).expect("written");
}

fn steps(job: &Job) -> u64 {
    let text = std::fs::read(job.folder.join(experiment::folder::SPECIFICATION)).expect("a spec");
    let spec: experiment::run::RunSpec = serde_json::from_slice(&text).expect("readable");
    spec.recipe.steps(spec.architecture.seq_len())
}

fn measured(step: u64) -> Event {
    Event::Measured(Measurement {
        step,
        flops: Some(1.0),
        validation_loss: Some(2.0),
        ..Measurement::default()
    })
}

impl Launcher for Stage {
    fn place(&self, _memory: f64) -> Option<String> {
        (self.playing.len() < self.slots).then(|| "cpu".to_owned())
    }

    fn start(&mut self, job: &Job) -> Result<u32, LaunchError> {
        let acts = self.acts.entry(job.run.clone()).or_default();
        let act = if acts.is_empty() {
            Act::Finish
        } else {
            acts.remove(0)
        };
        self.started.push(job.clone());
        self.playing.push((job.clone(), act, None));
        Ok(1)
    }

    fn ended(&mut self) -> Result<Vec<Exit>, LaunchError> {
        let mut exits = Vec::new();
        self.playing.retain(|(job, act, received)| {
            let (code, signal, log_tail) = match (act, received) {
                (Act::Finish, _) => {
                    say(job, measured(steps(job)));
                    say(job, Event::Finished);
                    (Some(0), None, "")
                }
                (Act::Diverge, _) => {
                    say(
                        job,
                        Event::Diverged {
                            step: 1,
                            loss: None,
                        },
                    );
                    (Some(3), None, "")
                }
                (Act::Mumble, _) => (Some(0), None, ""),
                (Act::Fail, _) => (Some(101), None, "panicked"),
                (Act::RunOutOfMemory, _) => (None, Some(6), "memory allocation of 9 bytes failed"),
                (Act::Wait, Some(15)) => (Some(4), None, ""),
                (_, Some(9)) => (None, Some(9), ""),
                (Act::Wait | Act::Hang, _) => return true,
            };
            exits.push(Exit {
                run: job.run.clone(),
                code,
                signal,
                memory_ran_out: Some(false),
                log_tail: log_tail.into(),
                lost: None,
            });
            false
        });
        Ok(exits)
    }

    fn stop(&mut self, run: &RunId) {
        self.signal(run, 15);
    }

    fn kill(&mut self, run: &RunId) {
        self.signal(run, 9);
    }

    fn evict(&mut self, _run: &RunId, _holder: &Holder, by_force: bool) {
        self.evicted += 1;
        if by_force {
            self.held = None;
        }
    }
}

#[derive(Default)]
struct Notices(Vec<Notice>);

impl Observer for Notices {
    fn notice(&mut self, notice: Notice) {
        self.0.push(notice);
    }
}

struct Theatre {
    folder: tempfile::TempDir,
    store: Store,
    experiment: i64,
    planned: Vec<Run>,
    setting: Setting,
    stage: Stage,
    notices: Notices,
    stop: AtomicUsize,
}

const THREE: &str = "grid: {params: [0.2M, 0.4M, 0.8M], tokens: 65536, concept_share: 0.5, \
                     compression_ratio: 4}\nexecution: {back_off: 0.01s, stall_limit: 0.05s}";
const BRANCHES: &str = "grid: {params: 0.2M, tokens: [409600, 819200], concept_share: 0.5, \
                        compression_ratio: 4}\ntraining: {branches: true}\n\
                        execution: {back_off: 0.01s, retries: 0}";

/// Makes the runs that a plan asks for, as they are stored.
fn stored(planned: &[Run]) -> Vec<PlannedRun> {
    planned.iter().map(PlannedRun::from).collect()
}

impl Theatre {
    async fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let planned = planned(text);
        let store = Store::create(folder.path()).await.expect("a database");
        let record = ExperimentRecord {
            name: "t".into(),
            config: text.into(),
            config_hash: "h".into(),
            program_version: "0".into(),
            git_commit: None,
        };
        Self {
            experiment: store
                .plan(&record, &stored(&planned), 0.0)
                .await
                .expect("planned"),
            setting: Setting {
                results: folder.path().to_owned(),
                data_cache: folder.path().to_owned(),
                execution: parse("t.yaml", text).expect("valid").execution,
                max_runs: None,
                first: Vec::new(),
                mode: Mode::Train,
                provenance: Provenance::default(),
            },
            folder,
            store,
            planned,
            stage: Stage {
                slots: 2,
                ..Stage::default()
            },
            notices: Notices::default(),
            stop: AtomicUsize::new(0),
        }
    }

    /// Has a run play acts before it finishes.
    fn plays(&mut self, run: usize, acts: &[Act]) {
        self.stage.acts.insert(self.id(run), acts.to_vec());
    }

    fn id(&self, run: usize) -> RunId {
        self.planned[run].id.clone()
    }

    async fn run(&mut self) -> Summary {
        self.stage.started.clear();
        let all = run(
            &self.store,
            self.experiment,
            &self.planned,
            &self.setting,
            &mut self.stage,
            &mut self.notices,
            &self.stop,
        );
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        all.expect("it ends").expect("it runs")
    }

    async fn record(&self, run: usize) -> RunRecord {
        let runs = self.store.runs(self.experiment).await.expect("read");
        let record = runs.into_iter().find(|record| record.id == self.id(run));
        record.expect("stored")
    }

    async fn outcomes(&self, run: usize) -> Vec<RunOutcome> {
        let history: Vec<AttemptRecord> = self.store.history(&self.id(run)).await.expect("read");
        let outcomes = history.into_iter().map(|attempt| attempt.outcome);
        outcomes.map(|outcome| outcome.expect("ended")).collect()
    }
}

use RunOutcome::{
    Cancelled, Crashed, Diverged, Finished, Interrupted, OutOfMemory, Stalled, TimedOut,
};

#[tokio::test]
async fn one_failure_does_not_kill_the_others_and_is_tried_again() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.plays(0, &[Act::Fail]);
    theatre.plays(1, &[Act::Mumble, Act::Fail, Act::Fail]);
    theatre.plays(2, &[Act::Diverge]);
    let summary = theatre.run().await;
    assert_eq!(
        (summary.finished, summary.diverged, summary.failed),
        (1, 1, 1)
    );
    assert_eq!(theatre.outcomes(0).await, [Crashed, Finished]);
    assert_eq!(theatre.outcomes(1).await, [Crashed; 3]);
    assert_eq!(theatre.outcomes(2).await, [Diverged]);
    let failed = theatre.record(1).await;
    assert_eq!(
        (failed.state, failed.outcome),
        (RunState::Ended, Some(Crashed))
    );
    assert_eq!(failed.message.as_deref(), Some("panicked"));
    let history = theatre.store.history(&failed.id).await.expect("read");
    assert_eq!(
        history[0].message.as_deref(),
        Some("its process ended with status 0"),
        "a success that the journal does not know"
    );
    assert!(history[1].start.log_path.ends_with("log.2.txt"));

    // What failed for good waits until it is made eligible.
    let again = theatre.run().await;
    assert_eq!((again.already, again.diverged, again.failed), (1, 1, 1));
    assert!(theatre.stage.started.is_empty());
    let id = theatre.id(1);
    theatre.store.make_eligible(&id).await.expect("eligible");
    assert_eq!(theatre.run().await.finished, 1);
}

#[tokio::test]
async fn less_memory_is_used_as_long_as_there_is_less() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.plays(0, &[Act::RunOutOfMemory, Act::RunOutOfMemory]);
    theatre.plays(1, &[Act::RunOutOfMemory; 9]);
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.failed), (2, 1));
    assert_eq!(
        theatre.outcomes(0).await,
        [OutOfMemory, OutOfMemory, Finished]
    );
    let sizes = async |run| -> Vec<_> {
        let history = theatre.store.history(&theatre.id(run)).await.expect("read");
        let sizes = history.into_iter().map(|attempt| attempt.start.micro_batch);
        sizes.map(|rows| rows.expect("known")).collect()
    };
    assert_eq!(sizes(0).await, [16, 8, 4]);
    assert_eq!(sizes(1).await, [16, 8, 4, 2, 1]);
    assert_eq!(theatre.record(0).await.micro_batch, Some(4));
    let text = std::fs::read_to_string(theatre.setting.run_folder(&theatre.id(0)).join("run.json"));
    let spec: experiment::run::RunSpec =
        serde_json::from_str(&text.expect("a spec")).expect("readable");
    assert_eq!(spec.execution.micro_batch, 4);
    assert_eq!(spec.id(), theatre.id(0));
}

#[tokio::test]
async fn what_gives_no_sign_of_life_is_killed_and_what_takes_too_long_is_stopped() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.plays(0, &[Act::Hang, Act::Wait]);
    theatre.setting.execution.order = experiment::grid::Order::File;
    let summary = theatre.run().await;
    assert_eq!(summary.finished, 3);
    assert_eq!(theatre.outcomes(0).await, [Stalled, Stalled, Finished]);

    let mut theatre = Theatre::new(THREE).await;
    theatre.setting.execution.stall_limit = Seconds::from(30);
    theatre.setting.execution.time_limit = Seconds::try_from(0.02).ok();
    theatre.plays(1, &[Act::Wait]);
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.failed), (2, 1));
    let record = theatre.record(1).await;
    assert_eq!(
        (record.state, record.outcome),
        (RunState::Ended, Some(TimedOut))
    );
    assert!(record.message.expect("a reason").contains("0.02 s"));
}

#[tokio::test]
async fn caps_leave_what_would_pass_them() {
    let mut theatre = Theatre::new(THREE).await;
    theatre.setting.max_runs = Some(1);
    theatre.plays(2, &[Act::Fail]);
    let summary = theatre.run().await;
    assert_eq!(
        (summary.finished, summary.left, summary.left_by),
        (1, 2, Some(Limit::MaxRuns)),
        "a retry is no new run"
    );
    theatre.setting.max_runs = None;
    let flops = |run: usize| theatre.planned[run].flops.expect("known");
    theatre.setting.execution.max_flops = Some(flops(2) + flops(0));
    let summary = theatre.run().await;
    assert_eq!(
        (summary.finished, summary.left, summary.left_by),
        (1, 1, Some(Limit::MaxFlops)),
        "the smallest still fits"
    );
    theatre.setting.execution.max_flops = None;
    theatre.setting.execution.max_time = Some(Seconds::from(0));
    let summary = theatre.run().await;
    assert_eq!((summary.left, summary.left_by), (1, Some(Limit::MaxTime)));
    theatre.setting.execution.max_time = None;
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.left_by), (1, None));
}

#[tokio::test]
async fn a_request_to_stop_leaves_what_can_be_continued() {
    for (asked, act, expected) in [
        (1, Act::Wait, Interrupted),
        (2, Act::Hang, Interrupted),
        (1, Act::Finish, Finished),
    ] {
        let mut theatre = Theatre::new(THREE).await;
        theatre.setting.execution.stall_limit = Seconds::from(30);
        for run in 0..3 {
            theatre.plays(run, &[act]);
        }
        theatre.stage.slots = 3;
        let (store, stop) = (theatre.store.clone(), &theatre.stop);
        let all = run(
            &store,
            theatre.experiment,
            &theatre.planned,
            &theatre.setting,
            &mut theatre.stage,
            &mut theatre.notices,
            stop,
        );
        let ask = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            stop.store(asked, Ordering::Relaxed);
        };
        let (summary, ()) = tokio::join!(all, ask);
        let summary = summary.expect("it runs");
        assert_eq!(summary.finished + summary.left, 3);
        assert_eq!(theatre.outcomes(0).await, [expected]);
        let wanted = match expected {
            Finished => RunState::Ended,
            _ => RunState::Pending,
        };
        assert_eq!(theatre.record(0).await.state, wanted);
    }
}

#[tokio::test]
async fn a_folder_in_which_somebody_works_is_waited_for() {
    let mut theatre = Theatre::new(THREE).await;
    let folder = theatre.setting.run_folder(&theatre.id(0));
    std::fs::create_dir_all(&folder).expect("made");
    theatre.stage.held = Some(Lock::take(&folder, "training process").expect("free"));
    let summary = theatre.run().await;
    assert_eq!(summary.finished, 3);
    assert!(theatre.stage.evicted > 1, "asked first, then by force");
    let held = |notice: &&Notice| matches!(notice, Notice::Held(..));
    assert_eq!(theatre.notices.0.iter().filter(held).count(), 1);
}

#[tokio::test]
async fn what_ended_while_nobody_listened_is_not_trained_again() {
    let mut theatre = Theatre::new(THREE).await;
    let attempt = crate::store::StartedAttempt {
        host: "h".into(),
        device: "cpu".into(),
        hardware: None,
        threads: 1,
        micro_batch: None,
        program_version: "0".into(),
        git_commit: None,
        lock_hash: None,
        started_at: 1.0,
        log_path: "log".into(),
    };
    for run in 0..2 {
        let id = theatre.id(run);
        let started = theatre.store.start_attempt(&id, &attempt).await;
        started.expect("started");
        let folder = theatre.setting.run_folder(&id);
        std::fs::create_dir_all(&folder).expect("made");
        let steps = theatre.planned[run].work.steps().expect("known");
        let text = [(0, measured(steps)), (1, Event::Finished)]
            .map(|(seq, event)| Line::new(seq, 1.0, event).encode())
            .join("\n");
        // The second one's last words are torn.
        let whole = [format!("{text}\n"), text];
        std::fs::write(folder.join(JOURNAL), &whole[run]).expect("written");
    }
    let summary = theatre.run().await;
    assert_eq!((summary.already, summary.finished), (1, 2));
    assert_eq!(theatre.outcomes(0).await, [Finished]);
    assert_eq!(theatre.outcomes(1).await, [Interrupted, Finished]);
}

#[tokio::test]
async fn branches_of_a_failed_trunk_wait_for_it() {
    let mut theatre = Theatre::new(BRANCHES).await;
    theatre.plays(0, &[Act::Fail]);
    let summary = theatre.run().await;
    assert_eq!((summary.failed, summary.blocked), (1, 3));
    let records = theatre.store.runs(theatre.experiment).await.expect("read");
    let blocked = blocked_by(&records);
    assert_eq!(blocked.len(), 3);
    assert!(blocked.values().all(|by| *by == theatre.id(0)));
    let again = theatre.run().await;
    assert_eq!((again.failed, again.blocked), (1, 3), "and still do");
    let trunk = theatre.id(0);
    theatre.store.make_eligible(&trunk).await.expect("eligible");
    let done = theatre.run().await;
    assert_eq!((done.finished, done.blocked), (4, 0));
}

#[tokio::test]
async fn a_run_whose_folder_cannot_be_written_fails_alone() {
    let mut theatre = Theatre::new(THREE).await;
    let folder = theatre.setting.run_folder(&theatre.id(1));
    std::fs::create_dir_all(folder.parent().expect("runs")).expect("made");
    std::fs::write(&folder, "in the way").expect("written");
    let summary = theatre.run().await;
    assert_eq!((summary.finished, summary.failed), (2, 1));
    assert_eq!(theatre.outcomes(1).await, [Crashed; 3]);
    let message = theatre.record(1).await.message.expect("a reason");
    assert!(message.contains(&theatre.id(1).0), "{message}");
}
