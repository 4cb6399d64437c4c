//! Processes on this machine, one a run.

use super::{Exit, Job, LOG_FILE, LaunchError, Launcher};
use crate::run::RunId;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Bytes of a log that are kept as its last lines.
const LOG_TAIL: u64 = 2_000;

struct Running {
    run: RunId,
    log: PathBuf,
    child: Child,
}

/// Runs jobs as processes of this program's `train` command.
pub struct Local {
    program: PathBuf,
    slots: usize,
    running: Vec<Running>,
}

impl Local {
    /// Makes a launcher that runs `slots` processes of `program` at once.
    pub fn new(program: PathBuf, slots: usize) -> Self {
        Self {
            program,
            slots: slots.max(1),
            running: Vec::new(),
        }
    }

    fn signal(&self, signal: Signal) {
        for running in &self.running {
            // A child leads its own group; one that has just ended cannot be signalled, and
            // that is fine.
            let _ = kill(Pid::from_raw(-(running.child.id() as i32)), signal);
        }
    }
}

impl Launcher for Local {
    fn slots(&self) -> usize {
        self.slots
    }

    fn start(&mut self, job: &Job) -> Result<u32, LaunchError> {
        let failed = |source| LaunchError::Start {
            run: job.run.clone(),
            source,
        };
        let log = job.folder.join(LOG_FILE);
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(failed)?;
        let errors = output.try_clone().map_err(failed)?;
        let child = Command::new(&self.program)
            .arg("train")
            .arg("--folder")
            .arg(&job.folder)
            .arg("--data-cache")
            .arg(&job.data_cache)
            .args(["--device", &job.device])
            .args(["--parent", &std::process::id().to_string()])
            .env("RAYON_NUM_THREADS", job.threads.to_string())
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
            log,
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
                Some(status) => ended.push(Exit {
                    log_tail: tail(&running.log).unwrap_or_default(),
                    run: running.run,
                    code: status.code(),
                    signal: status.signal(),
                }),
            }
        }
        self.running = still;
        Ok(ended)
    }

    fn stop(&mut self) {
        self.signal(Signal::SIGTERM);
    }

    fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
    }
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
