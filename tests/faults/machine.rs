//! What a test does to the machine: processes, disks, permissions, the clock.

use super::desk::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long the system may take to do as it is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends a signal; a process that is gone already is as good.
pub(super) fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// A running process.
#[derive(Debug, PartialEq)]
pub(super) struct Process {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) arguments: String,
}

/// Finds the processes that work in a folder; those that have ended do not count.
pub(super) fn processes_in(folder: &Path) -> Vec<Process> {
    processes(|here| here == folder)
}

/// Finds the processes whose working folder is one that is meant.
fn processes(is_meant: impl Fn(&Path) -> bool) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let process = |pid: i32| {
        let here = std::fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
        if !is_meant(&here) {
            return None;
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // `pid (name) state parent …`: the name may hold anything.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        if fields.next()? == "Z" {
            return None;
        }
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(Process {
            pid,
            parent: fields.next()?.parse().ok()?,
            arguments: String::from_utf8_lossy(&arguments).replace('\0', " "),
        })
    };
    pids.filter_map(process).collect()
}

/// Finds the processes whose command names a folder.
pub(super) fn processes_with(folder: &Path) -> Vec<Process> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let folder = folder.display().to_string();
    let mut all = processes(|_| true);
    all.retain(|process| process.arguments.contains(&folder));
    all
}

/// Runs a command of the system and says whether it succeeded.
pub(super) fn system(program: &str, arguments: &[&str]) -> bool {
    let command = Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    command.is_ok_and(|status| status.success())
}

/// A small disk in memory, mounted on a folder.
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts it; `None` where that is not permitted.
    pub(super) fn mount(folder: &Path, megabytes: usize) -> Option<Self> {
        let size = format!("size={megabytes}m");
        let path = folder.to_str().expect("a plain path");
        let mounted = system("mount", &["-t", "tmpfs", "-o", &size, "faults", path]);
        let folder = folder.to_owned();
        mounted.then_some(Self { folder })
    }

    /// Makes it read-only, or writable again; nobody may have a file on it open for writing.
    pub(super) fn set_read_only(&self, read_only: bool) {
        let options = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        let path = self.folder.to_str().expect("a plain path");
        let remounted = || system("mount", &["-o", options, path]);
        // What was killed just now may still have to close its files.
        assert!(wait_until(PATIENCE, remounted), "cannot remount");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.folder.to_str().expect("a plain path");
        system("umount", &["-l", path]);
    }
}

/// Forbids new files in a folder, or allows them again; says whether that worked.
pub(super) fn set_fixed(folder: &Path, fixed: bool) -> bool {
    let path = folder.to_str().expect("a plain path");
    // Permissions do not bind root.
    let _ = system("chattr", &[if fixed { "+i" } else { "-i" }, path])
        || system("chmod", &[if fixed { "a-w" } else { "u+w" }, path]);
    let probe = folder.join("probe");
    let made = std::fs::write(&probe, "").is_ok();
    if made {
        std::fs::remove_file(probe).expect("removed");
    }
    made != fixed
}

/// A wall clock that jumps when told to, for programs started with [`Clock::variables`].
pub(super) struct Clock {
    library: PathBuf,
    jump: PathBuf,
}

impl Clock {
    /// Builds it in a folder; `None` without a C compiler.
    pub(super) fn build(folder: &Path) -> Option<Self> {
        let (library, source) = (folder.join("clock.so"), folder.join("clock.c"));
        let jump = folder.join("clock-jump");
        std::fs::write(&source, include_str!("clock.c")).expect("written");
        std::fs::write(&jump, 0i64.to_ne_bytes()).expect("written");
        let arguments = ["-shared", "-fPIC", "-O1", "-o"];
        let paths = [&library, &source].map(|path| path.to_str().expect("a plain path"));
        system("cc", &[&arguments[..], &paths].concat()).then_some(Self { library, jump })
    }

    /// Lists the environment in which a program reads this clock.
    pub(super) fn variables(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", &self.library), ("CLOCK_JUMP", &self.jump)]
    }

    /// Sets it to so many seconds from the right time.
    pub(super) fn set(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).open(&self.jump);
        let written = file.and_then(|file| file.write_all_at(&seconds.to_ne_bytes(), 0));
        written.expect("written");
    }
}
