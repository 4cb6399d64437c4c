//! What a Slurm does rarely, by one that does it on demand: silence, errors that look like answers, ids that come
//! again, limits, maintenance. None of it may lose a run, train one twice, or submit without end.

use crate::support::{Desk, TINY};
use serde_json::Value;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a command says that does not end is cut off here.
const LONGEST: Duration = Duration::from_secs(120);

/// Twelve runs that train nothing.
const NOTHING: &str = "
name: tiny
trainer:
  command: [sh, train.sh, \"{args}\"]
grid: {params: [1M, 2M, 3M], tokens: [20M, 40M], seed: [0, 1]}
analysis: {bootstrap: 0}
";

/// How they do so.
const TRAIN: &str = r#"sleep 0.3
while [ -f "$FAKE/wait" ]; do sleep 0.05; done
echo '{"step": 1, "validation_loss": 2.5, "final": true}' >> "$ORCHESTRATOR_REPORT"
"#;

/// A desk with a Slurm that is none.
struct Fake {
    desk: Desk,
}

impl Fake {
    /// Sets one up with an experiment and keys of the profile `slurm`; `rest` adds other keys.
    fn new(experiment: &str, keys: &str) -> Self {
        let profile = format!(
            "slurm: {{slurm: {{{keys}, idle: 1, poll: 0.2, patience: 1, answer: 1}}}}\n\
             hand: {{by_hand: {{patience: 1}}}}\n"
        );
        let desk = Desk::new()
            .with("tiny.yaml", experiment)
            .with("train.sh", TRAIN)
            .with("clusters.yaml", profile)
            .with("fake.sh", include_str!("fake.sh"));
        let fake = Self { desk };
        let script = fake.path("fake.sh");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&script, mode).expect("executable");
        for folder in ["bin", "fake/jobs", "fake/pids"] {
            std::fs::create_dir_all(fake.path(folder)).expect("made");
        }
        for name in [
            "sbatch", "squeue", "scancel", "srun", "sacct", "scontrol", "sacctmgr",
        ] {
            symlink(&script, fake.path("bin").join(name)).expect("linked");
        }
        fake.does("next", "100");
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    /// Has a command of Slurm behave so from now on.
    fn does(&self, name: &str, script: &str) {
        let path = self.path("fake").join(name);
        let new = self.path("new");
        std::fs::write(&new, script).expect("written");
        std::fs::rename(new, path).expect("there");
    }

    /// Has it behave as it should again.
    fn behaves(&self, name: &str) {
        std::fs::remove_file(self.path("fake").join(name)).expect("it did not");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin("orchestrator"));
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(args)
            .current_dir(self.desk.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("FAKE", self.path("fake"))
            .env("ORCHESTRATOR_CACHE", self.path("cache"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Starts a leader whose words go to a file.
    fn start(&self, args: &[&str]) -> Child {
        let said = std::fs::File::create(self.path("said")).expect("a file");
        let command = self
            .command(args)
            .stdout(Stdio::null())
            .stderr(said)
            .spawn();
        command.expect("started")
    }

    fn run(&self) -> Child {
        self.start(&["run", "tiny.yaml", "--on", "slurm", "--quiet"])
    }

    /// What the leader has said so far, without line breaks.
    fn said(&self) -> String {
        let said = std::fs::read_to_string(self.path("said")).unwrap_or_default();
        words(&said)
    }

    fn ends(&self, mut leader: Child) -> Option<i32> {
        wait_until("the leader does not end", || {
            leader.try_wait().expect("watched").is_some()
        });
        leader.wait().expect("ended").code()
    }

    /// When a command was called, in seconds.
    fn times(&self, name: &str) -> Vec<f64> {
        let log = std::fs::read_to_string(self.path("fake/log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| line.split_once(' '));
        let of_name = lines.filter(|(_, call)| call.split(' ').next() == Some(name));
        let times = of_name.map(|(time, _)| time.parse().expect("a time"));
        times.collect()
    }

    /// How often a command was called.
    fn calls(&self, name: &str) -> usize {
        self.times(name).len()
    }

    fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("ran")
    }

    fn status(&self) -> Value {
        let output = self.output(&["status", "tiny.yaml", "--json"]);
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Says whether every run has finished, each by a single attempt.
    fn all_is_done(&self) {
        let status = self.status();
        for run in status["runs"].as_array().expect("runs") {
            assert_eq!(run["outcome"], "finished", "{run} {}", self.said());
            let id = run["id"].as_str().expect("an id");
            let folder = self.path("results/tiny/runs").join(id);
            let is_log = |name: &str| name.starts_with("log.");
            let logs = std::fs::read_dir(folder).expect("a folder").flatten();
            let logs = logs.filter(|entry| is_log(&entry.file_name().to_string_lossy()));
            assert_eq!(logs.count(), 1, "{id} was trained more than once");
        }
    }
}

/// What sbatch does where one may have so many jobs at once.
fn no_more_than(jobs: usize) -> String {
    format!(
        "new=1; for word in \"$@\"; do case $word in --array=0-*) new=$((1 + ${{word#--array=0-}})) ;; esac; done\n\
         if [ $(($(ls \"$FAKE/jobs\" | grep -vc new) + new)) -gt {jobs} ]; then\n\
         echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1; fi\n"
    )
}

fn words(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| *word != "│");
    words.collect::<Vec<_>>().join(" ")
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + LONGEST;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn another_trainers_grid_is_trained_and_accounting_is_not_asked() {
    let fake = Fake::new(NOTHING, "workers: 3");
    // Sites greet whoever submits, on either stream.
    fake.does(
        "sbatch",
        "echo Welcome; echo 'sbatch: info: your budget is fine' >&2\n",
    );
    assert_eq!(fake.ends(fake.run()), Some(0), "{}", fake.said());
    fake.all_is_done();
    assert_eq!(fake.calls("sacct") + fake.calls("sacctmgr"), 0);
    assert_eq!(fake.calls("sbatch"), 1);
    // Between two questions lies `poll` at least; processes take a moment to start.
    let asked = fake.times("squeue");
    let pauses = asked.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(pauses.fold(f64::INFINITY, f64::min) > 0.1, "{asked:?}");
    assert!(
        fake.said().contains("your budget is fine"),
        "{}",
        fake.said()
    );
}

#[test]
fn silence_and_errors_that_look_like_answers_change_nothing() {
    let fake = Fake::new(NOTHING, "workers: 2");
    fake.does("wait", "");
    let leader = fake.run();
    wait_until("nothing is submitted", || fake.calls("sbatch") == 1);
    // No answer in time; then an error on standard output, and status 0; then one with a word on standard error.
    for trouble in [
        "sleep 3",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller'; exit 0",
        "echo 'squeue: error: Invalid user' >&2; exit 0",
        "exit 1",
    ] {
        fake.does("squeue", trouble);
        let before = fake.calls("squeue");
        wait_until("it does not ask again", || fake.calls("squeue") > before);
    }
    fake.behaves("wait");
    assert_eq!(fake.ends(leader), Some(0), "{}", fake.said());
    fake.all_is_done();
    assert_eq!(fake.calls("sbatch"), 1, "{}", fake.said());
    assert!(
        fake.said().contains("nothing is concluded from that"),
        "{}",
        fake.said()
    );
}

#[test]
fn a_submission_that_seems_to_fail_is_not_repeated() {
    let fake = Fake::new(NOTHING, "workers: 2");
    fake.does("sbatch", "late=3\n");
    assert_eq!(fake.ends(fake.run()), Some(0), "{}", fake.said());
    fake.all_is_done();
    assert_eq!(fake.calls("sbatch"), 1);
    assert!(
        fake.said().contains("did not answer in 1 s"),
        "{}",
        fake.said()
    );
}

#[test]
fn ids_that_come_again_confuse_nobody() {
    let fake = Fake::new(NOTHING, "workers: 2, runs_per_worker: 1");
    fake.does("sbatch", "id=7\n");
    assert_eq!(fake.ends(fake.run()), Some(0), "{}", fake.said());
    fake.all_is_done();
    assert!(fake.calls("sbatch") > 2, "a worker takes one run");
}

#[test]
fn limits_on_jobs_are_kept_and_named() {
    let fake = Fake::new(NOTHING, "workers: 8");
    fake.does("sbatch", &no_more_than(2));
    assert_eq!(fake.ends(fake.run()), Some(0), "{}", fake.said());
    fake.all_is_done();
    let said = fake.said();
    assert!(
        said.contains("refused 8 workers at once") && said.contains("MaxSubmitJob"),
        "{said}"
    );
}

#[test]
fn arrays_are_as_large_as_a_site_takes_them() {
    let fake = Fake::new(NOTHING, "workers: 12");
    fake.does(
        "sbatch",
        "for word in \"$@\"; do case $word in --array=0-*) last=${word#--array=0-} ;; esac; done\n\
         if [ \"$last\" -ge 10 ]; then\n\
         echo 'sbatch: error: Batch job submission failed: Invalid job array specification' >&2; exit 1; fi\n",
    );
    assert_eq!(fake.ends(fake.run()), Some(0), "{}", fake.said());
    fake.all_is_done();
    let said = fake.said();
    assert!(
        said.contains("6 workers submitted to Slurm as job 100 6 workers submitted"),
        "{said}"
    );
}

#[test]
fn maintenance_is_waited_for_and_said() {
    let fake = Fake::new(NOTHING, "workers: 2");
    fake.does("hold", "ReqNodeNotAvail, Reserved for maintenance");
    let leader = fake.run();
    wait_until("it does not say why", || {
        fake.said().contains("may fit before the maintenance")
    });
    let status = words(&String::from_utf8_lossy(
        &fake.output(&["status", "tiny.yaml"]).stdout,
    ));
    assert!(status.contains("2 waiting (ReqNodeNotAvail"), "{status}");
    assert!(status.contains("12 offered"), "{status}");
    assert_eq!(fake.calls("sbatch"), 1, "one array waits at most");
    fake.behaves("hold");
    assert_eq!(fake.ends(leader), Some(0), "{}", fake.said());
    fake.all_is_done();
}

#[test]
fn what_can_never_begin_ends_the_command() {
    let fake = Fake::new(NOTHING, "workers: 2, partition: gup");
    fake.does(
        "sbatch",
        "case \"$*\" in *--version*) ;; *) echo 'sbatch: error: invalid partition specified: gup' >&2; exit 1 ;; esac\n",
    );
    assert_eq!(fake.ends(fake.run()), Some(1));
    assert!(
        fake.said().contains("invalid partition specified: gup"),
        "{}",
        fake.said()
    );
    let check = fake.output(&["check", "tiny.yaml", "--on", "slurm"]);
    assert_eq!(check.status.code(), Some(2));
    let said = words(&String::from_utf8_lossy(&check.stdout));
    assert!(said.contains("refuses a worker"), "{said}");

    // Jobs that begin, and end before their worker does.
    let fake = Fake::new(NOTHING, "workers: 4, wrap: 'echo no such image; false'");
    assert_eq!(fake.ends(fake.run()), Some(1));
    let said = fake.said();
    assert!(
        said.contains("ended before their worker began") && said.contains("no such image"),
        "{said}"
    );
    assert!(
        fake.calls("sbatch") < 5,
        "{} submissions",
        fake.calls("sbatch")
    );
}

#[test]
fn a_grid_that_nobody_watches_comes_to_its_fit() {
    let fake = Fake::new(TINY, "workers: 2, runs_per_worker: 1");
    fake.does("hold", "Resources");
    let detached = fake.output(&["run", "tiny.yaml", "--on", "slurm", "--detach"]);
    let said = words(&String::from_utf8_lossy(&detached.stderr));
    assert_eq!(detached.status.code(), Some(0), "{said}");
    assert!(said.contains("follows them"), "{said}");
    // Again, while it goes on: nothing is submitted twice.
    let again = fake.output(&["run", "tiny.yaml", "--on", "slurm", "--detach"]);
    let said = words(&String::from_utf8_lossy(&again.stderr));
    assert_eq!(again.status.code(), Some(0), "{said}");
    assert!(said.contains("already"), "{said}");
    fake.behaves("hold");
    let report = fake.path("results/tiny/report.html");
    wait_until("no report is written", || report.exists());
    fake.all_is_done();
    // Three runs by two workers of one each: two rounds, and a job after each.
    assert_eq!(fake.calls("sbatch"), 4);
}

#[test]
fn a_chain_of_rounds_survives_dead_workers_silence_and_limits() {
    let fake = Fake::new(
        &format!("{NOTHING}execution: {{stall_limit: 2}}\n"),
        "workers: 3",
    );
    fake.does("wait", "");
    // No more than three jobs at once, that which fits now and that which will among them; and the queue is silent once
    // when it is asked for that.
    fake.does("sbatch", &no_more_than(3));
    fake.does(
        "squeue",
        "case \"$*\" in *-fit*) if mkdir \"$FAKE/silent\" 2>/dev/null; then exit 1; fi ;; esac\n",
    );
    let detached = fake.output(&["run", "tiny.yaml", "--on", "slurm", "--detach"]);
    let said = words(&String::from_utf8_lossy(&detached.stderr));
    assert_eq!(detached.status.code(), Some(0), "{said}");
    let claims = fake.path("results/tiny/cluster/claims");
    wait_until("nothing is claimed", || {
        std::fs::read_dir(&claims).is_ok_and(|claims| claims.count() > 0)
    });
    // The worker dies with what it trains, and tells nobody.
    for part in ["worker", "train"] {
        let pattern = format!("{part} .*{}", fake.desk.path().display());
        let killed = Command::new("pkill")
            .args(["-KILL", "-f", &pattern])
            .status();
        assert!(killed.is_ok_and(|status| status.success()), "no {part}");
    }
    fake.behaves("wait");
    wait_until("the runs are not done", || {
        let status = fake.status();
        let runs = status["runs"].as_array().expect("runs");
        runs.iter()
            .all(|run| run["outcome"] == "finished" && run["retries"] == 0)
    });
}

#[test]
fn all_is_cancelled_whatever_a_site_says_meanwhile() {
    let fake = Fake::new(NOTHING, "workers: 2");
    fake.does("wait", "");
    let leader = fake.run();
    wait_until("nothing is submitted", || fake.calls("sbatch") == 1);
    fake.does("scancel", "echo 'Have a nice day' >&2\n");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(leader.id() as i32),
        nix::sys::signal::Signal::SIGINT,
    )
    .expect("there");
    fake.ends(leader);
    let cancel = ["run", "tiny.yaml", "--on", "slurm", "--cancel"];
    assert_eq!(fake.output(&cancel).status.code(), Some(0));
    assert_eq!(
        fake.calls("scancel"),
        2,
        "the workers, and what follows them"
    );
    let jobs = fake.path("fake/jobs");
    wait_until("workers go on", || {
        std::fs::read_dir(&jobs).is_ok_and(|jobs| jobs.count() == 0)
    });
    fake.does("scancel", "echo 'scancel: error: down' >&2; exit 1\n");
    assert_eq!(fake.output(&cancel).status.code(), Some(1));
}

#[test]
fn status_takes_in_what_no_leader_does() {
    let fake = Fake::new(NOTHING, "workers: 2");
    let detached = fake.output(&["run", "tiny.yaml", "--on", "hand", "--detach"]);
    assert_eq!(detached.status.code(), Some(0), "{detached:?}");
    let status = fake.status();
    assert_eq!(status["workers"]["offered"], 12, "{status}");
    // A run that is cancelled meanwhile is not trained.
    let unwanted = status["runs"][0]["id"].as_str().expect("an id");
    let cancelled = fake.output(&["cancel", unwanted, "--results", "results/tiny"]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    // So is one that a worker has.
    fake.does("wait", "");
    let mut worker = fake.start(&["worker", "results/tiny", "--device", "cpu", "--idle", "0.5"]);
    wait_until("nothing is claimed", || {
        fake.status()["workers"]["claimed"] != serde_json::json!({})
    });
    let running = fake.status();
    let running = running["runs"].as_array().expect("runs").iter();
    let mut running = running.filter(|run| run["state"] == "running");
    let begun = running.next().expect("one that trains")["id"].clone();
    let begun = begun.as_str().expect("an id");
    let cancelled = fake.output(&["cancel", begun, "--results", "results/tiny"]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    // Whoever looks with another plan leaves all as it is.
    let other = fake.output(&["status", "tiny.yaml", "--set", "grid.seed=[7]"]);
    assert!(other.status.success(), "{other:?}");
    fake.behaves("wait");
    assert!(worker.wait().expect("ended").success());
    let other = fake.output(&["status", "tiny.yaml", "--set", "grid.seed=[7]"]);
    assert!(other.status.success(), "{other:?}");
    let status = fake.status();
    assert_eq!(status["workers"], Value::Null, "{status}");
    let unwanted = [unwanted, begun];
    for run in status["runs"].as_array().expect("runs") {
        let is_unwanted = unwanted.iter().any(|id| run["id"] == *id);
        let outcome = if is_unwanted { "cancelled" } else { "finished" };
        assert_eq!(run["outcome"], outcome, "{run}");
    }
}

#[test]
fn a_plan_says_what_it_asks_of_a_cluster() {
    let fake = Fake::new(NOTHING, "workers: 8, time: 4h, runs_per_worker: 1");
    let plan = fake.output(&["plan", "tiny.yaml", "--on", "slurm"]);
    let said = words(&String::from_utf8_lossy(&plan.stdout));
    assert!(
        said.contains("on slurm: 8 workers at once, in at least 12 jobs (4.0 h each at most)"),
        "{said}"
    );
    let tiny = Fake::new(&format!("{TINY}execution: {{on: slurm}}\n"), "workers: 2");
    let plan = tiny.output(&["plan", "tiny.yaml", "--no-time"]);
    let said = words(&String::from_utf8_lossy(&plan.stdout));
    assert!(said.contains("on slurm: 2 workers at once"), "{said}");
    let here = tiny.output(&["plan", "tiny.yaml", "--no-time", "--on", "local"]);
    let said = words(&String::from_utf8_lossy(&here.stdout));
    assert!(!said.contains("on slurm"), "{said}");
}
