//! Processes on this machine, one a run, on a pool of slots over its devices.

use super::{Exit, Job, LaunchError, Launcher};
use experiment::lock::{self, Holder};
use experiment::processes;
use experiment::recipe::Precision;
use experiment::run::RunId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Bytes of a log that are kept as its last lines.
const LOG_TAIL: u64 = 2_000;

/// A device on which jobs run.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Jobs that may run on it at once.
    pub slots: usize,
    /// Memory that they share, in bytes; `None` where it is not known.
    pub memory: Option<f64>,
    /// What each takes of it beyond its estimate, in bytes.
    pub overhead: f64,
}

struct Running {
    run: RunId,
    device: String,
    memory: f64,
    folder: PathBuf,
    log: PathBuf,
    child: Child,
}

/// Runs jobs as processes of this program's `train` command.
pub struct Local {
    program: PathBuf,
    devices: Vec<Device>,
    running: Vec<Running>,
    /// Processes the system had killed for memory when it was last asked.
    memory_kills: Option<u64>,
}

impl Local {
    /// Makes a launcher that runs processes of `program` on these devices.
    pub fn new(program: PathBuf, devices: Vec<Device>) -> Self {
        Self {
            program,
            devices,
            running: Vec::new(),
            memory_kills: memory_kills(),
        }
    }

    fn signal(&self, run: &RunId, signal: Signal) {
        for running in self.running.iter().filter(|running| running.run == *run) {
            signal_group(running.child.id() as i32, signal);
        }
    }
}

/// The variables that a process which computes in some precision is started with.
///
/// libtorch reads this one as it is loaded, and has no other way in a plain program.
pub fn environment(precision: Precision) -> Option<(String, String)> {
    let variable = (
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE".to_owned(),
        "1".to_owned(),
    );
    (precision == Precision::Tf32).then_some(variable)
}

/// Signals a process that leads its own group, and what it started.
fn signal_group(leader: i32, signal: Signal) {
    // One that has just ended cannot be signalled, and that is fine.
    let _ = kill(Pid::from_raw(-leader), signal);
}

impl Launcher for Local {
    fn place(&self, memory: f64) -> Option<String> {
        let load = |device: &Device| {
            let on = self.running.iter().filter(|job| job.device == device.name);
            on.fold((0, 0.0), |(jobs, used), job| {
                (jobs + 1, used + job.memory + device.overhead)
            })
        };
        let free = self.devices.iter().filter_map(|device| {
            let (jobs, used) = load(device);
            // A job larger than the device is tried alone: the estimate may be too high.
            let fits = jobs == 0
                || device
                    .memory
                    .is_none_or(|most| used + memory + device.overhead <= most);
            (jobs < device.slots && fits).then_some((jobs, &device.name))
        });
        let (_, name) = free.min_by_key(|(jobs, _)| *jobs)?;
        Some(name.clone())
    }

    fn start(&mut self, job: &Job) -> Result<u32, LaunchError> {
        let failed = |source| LaunchError::Start {
            run: job.run.clone(),
            source,
        };
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&job.log)
            .map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let claim = job.claim.iter().flat_map(|(path, token)| {
            let path = path.display().to_string();
            [
                "--claim".to_owned(),
                path,
                "--token".to_owned(),
                token.clone(),
            ]
        });
        let child = Command::new(&self.program)
            .arg("train")
            .arg("--folder")
            .arg(&job.folder)
            .arg("--data-cache")
            .arg(&job.data_cache)
            .args(["--device", &job.device])
            .args(["--parent", &std::process::id().to_string()])
            .args(["--attempt", &job.attempt.to_string()])
            .env("RAYON_NUM_THREADS", job.threads.to_string())
            .envs(job.environment.clone())
            .args(claim)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Its own group: Ctrl-C reaches the orchestrator, which stops its runs in order.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let pid = child.id();
        self.running.push(Running {
            run: job.run.clone(),
            device: job.device.clone(),
            memory: job.memory,
            folder: job.folder.clone(),
            log: job.log.clone(),
            child,
        });
        Ok(pid)
    }

    fn ended(&mut self) -> Result<Vec<Exit>, LaunchError> {
        let mut ended = Vec::new();
        let mut still = Vec::with_capacity(self.running.len());
        for mut running in self.running.drain(..) {
            let status = running
                .child
                .try_wait()
                .map_err(|source| LaunchError::Watch {
                    run: running.run.clone(),
                    source,
                })?;
            match status {
                None => still.push(running),
                Some(status) => {
                    // What it started and left behind ends with it.
                    signal_group(running.child.id() as i32, Signal::SIGKILL);
                    // What watches over another trainer ends all of it, unless it was killed itself.
                    if status.signal().is_some() {
                        processes::kill_all(&processes::of_run(&running.folder));
                    }
                    ended.push(Exit {
                        log_tail: tail(&running.log).unwrap_or_default(),
                        run: running.run,
                        code: status.code(),
                        signal: status.signal(),
                        memory_ran_out: None,
                        lost: None,
                    });
                }
            }
        }
        self.running = still;
        if ended.iter().any(Exit::was_killed) {
            let kills = memory_kills();
            let rose = kills.zip(self.memory_kills).map(|(now, then)| now > then);
            for exit in &mut ended {
                exit.memory_ran_out = rose;
            }
            self.memory_kills = kills;
        }
        Ok(ended)
    }

    fn stop(&mut self, run: &RunId) {
        self.signal(run, Signal::SIGTERM);
    }

    fn kill(&mut self, run: &RunId) {
        self.signal(run, Signal::SIGKILL);
        for running in self.running.iter().filter(|running| running.run == *run) {
            processes::kill_all(&processes::of_run(&running.folder));
        }
    }

    fn evict(&mut self, run: &RunId, holder: &Holder, by_force: bool) {
        if holder.host != lock::host() {
            return;
        }
        // The number alone could be another process's by now.
        let arguments = std::fs::read(format!("/proc/{}/cmdline", holder.pid)).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(&run.0) {
            let signal = if !by_force {
                Signal::SIGTERM
            } else {
                Signal::SIGKILL
            };
            signal_group(holder.pid, signal);
        }
    }
}

/// Counts the processes that the system has killed for memory; `None` where it does not say.
fn memory_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count?.trim().parse().ok()
}

/// Reads the end of a log.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, slots: usize, memory: Option<f64>) -> Device {
        Device {
            name: name.into(),
            slots,
            memory,
            overhead: 0.0,
        }
    }

    #[test]
    fn jobs_are_spread_over_devices_as_slots_and_memory_allow() {
        let devices = vec![device("a", 2, Some(10.0)), device("b", 1, None)];
        let mut local = Local::new("unused".into(), devices);
        let mut start = |run: &str, memory| {
            let device = local.place(memory)?;
            let mut sleep = Command::new("sleep");
            local.running.push(Running {
                run: RunId(run.into()),
                device: device.clone(),
                memory,
                folder: PathBuf::from("no/such/run"),
                log: PathBuf::new(),
                child: sleep.arg("60").process_group(0).spawn().expect("started"),
            });
            Some(device)
        };
        assert_eq!(start("1", 20.0).as_deref(), Some("a"), "alone it is tried");
        assert_eq!(start("2", 1.0).as_deref(), Some("b"));
        assert_eq!(start("3", 1.0), None, "a slot is free, but no memory");
        for run in ["1", "2"] {
            local.kill(&RunId(run.into()));
        }
        let mut ended = Vec::new();
        while ended.len() < 2 {
            ended.extend(local.ended().expect("watched"));
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(ended.iter().all(|exit| exit.signal == Some(9)));
    }
}
