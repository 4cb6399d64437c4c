//! A grid on a real Slurm, of three nodes on this machine, under faults of every part: its results must be the
//! bits of an undisturbed grid.

use super::desk::{Desk, GRID, Running};
use super::machine;
use super::taken::take;
use nix::sys::signal::Signal;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Nodes, of two cores and two GPUs that are none.
const NODES: usize = 3;

/// How long one grid may take, disturbed or not.
const PATIENCE: Duration = Duration::from_secs(400);

/// Workers of the profile `short` have a minute, and end a quarter of it before.
const PROFILES: &str = "
main: {slurm: {workers: 4, partition: main, gres: 'gpu:1', idle: 2, poll: 1, patience: 4}}
spot: {slurm: {workers: 4, partition: spot, gres: 'gpu:1', idle: 2, poll: 1, patience: 4}}
short: {slurm: {workers: 2, partition: main, gres: 'gpu:1', idle: 2, poll: 1, patience: 4, time: 1min}}
";

/// How long no worker may be at work before an administrator looks.
const JAMMED: Duration = Duration::from_secs(20);

/// Slurm as Debian packages it, on this machine alone.
struct Slurm {
    folder: tempfile::TempDir,
}

/// Runs a command of the system and returns what it printed.
fn printed(program: &str, arguments: &[&str], conf: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .env("SLURM_CONF", conf)
        .stdin(Stdio::null())
        .output();
    output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

impl Slurm {
    /// Starts it; says why it cannot where that is so.
    fn start() -> Result<Self, String> {
        let there = |program: &str| Path::new("/usr/sbin").join(program).exists();
        if !(there("slurmctld") && there("slurmd") && there("munged")) {
            return Err("slurmctld, slurmd and munge are not installed".to_owned());
        }
        if printed("id", &["-u"], Path::new("")).trim() != "0" {
            return Err("only root can start Slurm".to_owned());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let slurm = Self { folder };
        slurm.write_configuration();
        machine::system("mkdir", &["-p", "/run/munge"]);
        machine::system("chown", &["munge:munge", "/run/munge"]);
        if !machine::system("sh", &["-c", "munge -n </dev/null | unmunge"]) {
            machine::system("runuser", &["-u", "munge", "--", "/usr/sbin/munged"]);
        }
        slurm.start_controller();
        (1..=NODES).for_each(|node| slurm.start_node(node));
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let idle = slurm.ask("sinfo", &["-h", "-N", "-p", "main", "-o", "%T"]);
            if idle.lines().filter(|state| *state == "idle").count() == NODES {
                return Ok(slurm);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Err("its nodes do not come up".to_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn conf(&self) -> PathBuf {
        self.path("slurm.conf")
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> String {
        printed(program, arguments, &self.conf())
    }

    fn write_configuration(&self) {
        let dir = self.folder.path().display();
        let host = printed("hostname", &["-s"], Path::new(""));
        let host = host.trim();
        let last = 17100 + NODES;
        let text = format!(
            "ClusterName=faults\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nCryptoType=crypto/munge\nStateSaveLocation={dir}/state\n\
             SlurmdSpoolDir={dir}/spool.%n\nSlurmctldPidFile={dir}/slurmctld.pid\n\
             SlurmdPidFile={dir}/slurmd.%n.pid\nSlurmctldLogFile={dir}/slurmctld.log\n\
             SlurmdLogFile={dir}/slurmd.%n.log\nSlurmctldPort=16917\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core_Memory\nSchedulerType=sched/backfill\n\
             SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0\nMpiDefault=none\n\
             SwitchType=switch/none\nReturnToService=2\nJobRequeue=1\nKillWait=5\nGresTypes=gpu\n\
             NodeName=n[1-{NODES}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[17101-{last}] CPUs=2 \
             RealMemory=4000 Gres=gpu:fake:2 State=UNKNOWN\nPreemptType=preempt/partition_prio\n\
             PreemptMode=REQUEUE\n\
             PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=100 \
             PriorityTier=1 PreemptMode=REQUEUE GraceTime=5\n\
             PartitionName=spot Nodes=ALL MaxTime=INFINITE State=UP DefMemPerCPU=100 PriorityTier=1 \
             PreemptMode=CANCEL GraceTime=5\n\
             PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP DefMemPerCPU=100 \
             PriorityTier=10 PreemptMode=OFF\n"
        );
        std::fs::write(self.conf(), text).expect("written");
        let mut gres = String::new();
        for node in 1..=NODES {
            std::fs::create_dir_all(self.path(&format!("spool.n{node}"))).expect("made");
            let _ = writeln!(
                gres,
                "NodeName=n{node} Name=gpu Type=fake File=/dev/null,/dev/zero"
            );
        }
        std::fs::create_dir_all(self.path("state")).expect("made");
        std::fs::write(self.path("gres.conf"), gres).expect("written");
    }

    fn start_controller(&self) {
        let conf = self.conf();
        let conf = conf.to_str().expect("plain");
        printed("/usr/sbin/slurmctld", &["-f", conf], &self.conf());
    }

    fn start_node(&self, node: usize) {
        let (conf, name) = (self.conf(), format!("n{node}"));
        let conf = conf.to_str().expect("plain");
        printed("/usr/sbin/slurmd", &["-f", conf, "-N", &name], &self.conf());
    }

    /// Kills a daemon by the id in its file.
    fn kill(&self, file: &str) {
        let id = std::fs::read_to_string(self.path(file)).ok();
        if let Some(id) = id.and_then(|id| id.trim().parse().ok()) {
            machine::signal(id, Signal::SIGKILL);
        }
    }

    /// The workers' jobs in a state.
    fn jobs(&self, state: &str) -> Vec<String> {
        let workers = ["-h", "-r", "-p", "main,spot", "-t", state, "-o", "%i"];
        let jobs = self.ask("squeue", &workers);
        jobs.lines().map(|id| id.trim().to_owned()).collect()
    }

    /// What an administrator does: the controller is started anew, and nodes that it gave up come back. One that
    /// was killed before it saved a job forgets it; its GPUs then stay taken, its number goes to the next job, and
    /// its node is drained. And a job whose step was killed holds its nodes for minutes.
    fn repair(&self) {
        self.ask("scancel", &["-u", "root", "-t", "RUNNING"]);
        self.ask("scancel", &["-p", "urgent"]);
        self.kill("slurmctld.pid");
        std::thread::sleep(Duration::from_millis(300));
        self.start_controller();
        for node in 1..=NODES {
            let node = format!("nodename=n{node}");
            self.ask("scontrol", &["update", &node, "state=resume"]);
        }
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.ask("scancel", &["-u", "root"]);
        for node in 1..=NODES {
            self.kill(&format!("slurmd.n{node}.pid"));
        }
        self.kill("slurmctld.pid");
    }
}

/// How many times longer runs are trained where workers' time is to be over before the grid is done.
const LONGER: u32 = 40;

/// What is done to a grid that runs.
const FAULTS: [&str; 10] = [
    "a worker is killed",
    "a training process is killed",
    "a job's step is killed",
    "slurmd is killed and started again",
    "slurmctld is killed and started again",
    "a job is cancelled",
    "a job is requeued",
    "jobs are preempted",
    "the leader is killed and started again",
    "the leader is killed and started again on another machine",
];

struct Theatre {
    slurm: Slurm,
    rng: ChaCha8Rng,
    counts: [usize; FAULTS.len()],
    /// How often Slurm itself was jammed and an administrator came.
    repairs: usize,
}

impl Theatre {
    fn desk(&self, profile: &str) -> Desk {
        let mut desk = Desk::new();
        std::fs::write(desk.path().join("clusters.yaml"), PROFILES).expect("written");
        std::fs::write(desk.path().join("profile"), profile).expect("written");
        desk.variables = vec![(
            "SLURM_CONF".to_owned(),
            self.slurm.conf().display().to_string(),
        )];
        desk
    }

    /// A process that works in a folder, by a part of its command.
    fn pick(&mut self, desk: &Desk, part: &str) -> Option<i32> {
        let mut found = machine::processes_with(&desk.results());
        found.retain(|process| process.arguments.contains(part));
        let all = found.len();
        (all > 0).then(|| found[self.rng.random_range(0..all)].pid)
    }

    /// Does one of the faults, where it meets anything.
    fn disturb(&mut self, desk: &mut Desk, leader: &mut Running, profile: &str) {
        let kind = self.rng.random_range(0..FAULTS.len());
        let done = match kind {
            0 | 1 => {
                let part = if kind == 0 {
                    "worker"
                } else {
                    "train --folder"
                };
                let met = self.pick(desk, part);
                if let Some(pid) = met {
                    machine::signal(pid, Signal::SIGKILL);
                }
                met.is_some()
            }
            2 => machine::system("pkill", &["-KILL", "-n", "slurmstepd"]),
            3 => {
                let node = self.rng.random_range(1..=NODES);
                self.slurm.kill(&format!("slurmd.n{node}.pid"));
                std::thread::sleep(Duration::from_millis(300));
                self.slurm.start_node(node);
                true
            }
            4 => {
                self.slurm.kill("slurmctld.pid");
                std::thread::sleep(Duration::from_millis(300));
                self.slurm.start_controller();
                true
            }
            5 | 6 => {
                let jobs = self.slurm.jobs("RUNNING");
                let met = !jobs.is_empty();
                if met {
                    let job = &jobs[self.rng.random_range(0..jobs.len())];
                    if kind == 5 {
                        self.slurm.ask("scancel", &[job]);
                    } else {
                        self.slurm.ask("scontrol", &["requeue", job]);
                        let job = format!("JobId={job}");
                        self.slurm
                            .ask("scontrol", &["update", &job, "StartTime=now"]);
                    }
                }
                met
            }
            7 => {
                let submit = [
                    "-p",
                    "urgent",
                    "-n",
                    "4",
                    "-o",
                    "/dev/null",
                    "--wrap",
                    "sleep 2",
                ];
                !self.slurm.ask("sbatch", &submit).is_empty()
            }
            _ => {
                machine::signal(leader.pid(), Signal::SIGKILL);
                leader.wait(PATIENCE);
                if kind == 9 {
                    desk.host = [Some("login2"), None][usize::from(desk.host.is_some())];
                }
                *leader = desk.start(&["run", "grid.yaml", "--on", profile]);
                true
            }
        };
        self.counts[kind] += usize::from(done);
    }

    fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Runs a grid to its end, with up to so many faults, and waits for its last worker.
    fn run(&mut self, desk: &mut Desk, profile: &str, faults: usize) {
        let most = self.total() + faults;
        let until = Instant::now() + PATIENCE;
        for command in 1..=6 {
            if command > 1 {
                desk.start(&["retry", "grid.yaml"]).wait(PATIENCE);
            }
            let mut leader = desk.start(&["run", "grid.yaml", "--on", profile]);
            let mut moved = Instant::now();
            while leader.is_running() {
                assert!(Instant::now() < until, "not done: {}", desk.said());
                // A job whose step was killed is said to run for minutes: what counts are processes.
                let works = |process: &machine::Process| process.arguments.contains(" worker ");
                let processes = machine::processes_with(&desk.results());
                if processes.iter().any(works) {
                    moved = Instant::now();
                } else if moved.elapsed() > JAMMED {
                    self.slurm.repair();
                    self.repairs += 1;
                    moved = Instant::now();
                }
                let pause = self.rng.random_range(0.1..0.8);
                std::thread::sleep(Duration::from_secs_f64(pause));
                if self.total() < most && leader.is_running() {
                    self.disturb(desk, &mut leader, profile);
                }
            }
            if leader.wait(PATIENCE).is_some_and(|status| status.success()) {
                return;
            }
        }
        panic!("not done after six commands: {}", desk.said());
    }
}

/// A Slurm, or loudly none.
fn slurm() -> Option<Slurm> {
    let slurm = Slurm::start();
    slurm
        .map_err(|why| eprintln!("SKIPPED: no grid ran on Slurm: {why}"))
        .ok()
}

/// Has runs last long enough for workers to come to their end.
fn longer(desk: &Desk) {
    let tokens = |times: u32| format!("{:?}", [8192, 12288, 16384].map(|tokens| times * tokens));
    let (short, long) = (tokens(1), tokens(LONGER));
    assert!(GRID.contains(&short), "the grid has other tokens");
    std::fs::write(desk.path().join("grid.yaml"), GRID.replace(&short, &long)).expect("written");
}

fn survives(faults: usize, a_grid: usize, seed: u64) {
    let Some(slurm) = slurm() else { return };
    let undisturbed = Desk::new();
    undisturbed.finish().expect("nothing is in the way");
    let (right, wrong) = take(&undisturbed);
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut theatre = Theatre {
        slurm,
        rng: ChaCha8Rng::seed_from_u64(seed),
        counts: [0; FAULTS.len()],
        repairs: 0,
    };
    let mut grids = 0;
    while theatre.total() < faults {
        let profile = ["main", "spot"][grids % 2];
        let mut desk = theatre.desk(profile);
        theatre.run(&mut desk, profile, a_grid.min(faults - theatre.total()));
        let (taken, wrong) = take(&desk);
        assert!(wrong.is_empty(), "grid {grids}: {wrong:?}");
        assert!(taken.same_losses(&right), "grid {grids}: other losses");
        theatre.slurm.ask("scancel", &["-u", "root"]);
        grids += 1;
    }
    println!(
        "{grids} grids, seed {seed}, Slurm itself repaired {} times\n| fault | injected |\n| --- | --- |",
        theatre.repairs
    );
    for (fault, count) in FAULTS.iter().zip(theatre.counts) {
        println!("| {fault} | {count} |");
    }
}

#[test]
#[ignore = "takes minutes: `just faults-cluster`"]
fn workers_on_slurm_come_to_their_time_limit() {
    let Some(slurm) = slurm() else { return };
    let undisturbed = Desk::new();
    longer(&undisturbed);
    undisturbed.finish().expect("nothing is in the way");
    let (right, wrong) = take(&undisturbed);
    assert!(wrong.is_empty(), "{wrong:?}");
    let mut theatre = Theatre {
        slurm,
        rng: ChaCha8Rng::seed_from_u64(1),
        counts: [0; FAULTS.len()],
        repairs: 0,
    };
    let mut desk = theatre.desk("short");
    longer(&desk);
    theatre.run(&mut desk, "short", 0);
    let (taken, wrong) = take(&desk);
    assert!(wrong.is_empty() && taken.same_losses(&right), "{wrong:?}");
    let jobs = std::fs::read_dir(desk.results().join("cluster/jobs")).expect("there");
    let said = jobs
        .flatten()
        .map(|job| std::fs::read_to_string(job.path()).unwrap_or_default());
    let limits = said.filter(|said| said.contains("asked to stop")).count();
    println!("{limits} workers came to the end of their minute; losses identical");
    assert!(limits > 1, "the grid was done before");
}

#[test]
fn a_grid_on_slurm_survives_faults() {
    survives(10, 10, 1);
}

#[test]
#[ignore = "takes a quarter of an hour: `just faults-cluster`"]
fn a_grid_on_slurm_survives_a_hundred_faults() {
    survives(100, 10, 2);
}
