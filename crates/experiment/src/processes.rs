//! Processes of this machine, and what they have started.

use crate::external::command::FOLDER_VARIABLE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::path::Path;

/// Finds all that a process has started, directly or not; nothing where the system does not say.
pub fn descendants(root: i32) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for process in all() {
        let Some(parent) = parent(process) else {
            continue;
        };
        children.entry(parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(next) = open.pop() {
        for child in children.remove(&next).unwrap_or_default() {
            found.push(child);
            open.push(child);
        }
    }
    found
}

/// Finds the processes of an external trainer of a run, by the folder in their environment: also those
/// whose parent has gone and that lead a session of their own.
pub fn of_run(folder: &Path) -> Vec<i32> {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let wanted = format!("{FOLDER_VARIABLE}={}", folder.display());
    let own = std::process::id() as i32;
    let is_of_run = |process: &i32| {
        let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.any(|variable| variable == wanted.as_bytes())
    };
    all()
        .filter(|process| *process != own && is_of_run(process))
        .collect()
}

/// Kills processes; those that have ended are passed over.
pub fn kill_all(processes: &[i32]) {
    for process in processes {
        let _ = kill(Pid::from_raw(*process), Signal::SIGKILL);
    }
}

fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(process: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // A program's name stands in parentheses, and may hold some itself.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn what_a_process_has_started_is_found_and_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        // A session of its own, and no parent once the shell has gone.
        let mut shell = Command::new("sh")
            .args(["-c", "setsid sleep 60 & sleep 60 & wait"])
            .env(FOLDER_VARIABLE, folder.path())
            .spawn()
            .expect("started");
        let until = Instant::now() + Duration::from_secs(10);
        let all = |found: &dyn Fn() -> Vec<i32>, wanted: usize| {
            while found().len() != wanted && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            found()
        };
        let id = shell.id() as i32;
        assert_eq!(all(&|| descendants(id), 2).len(), 2);
        assert_eq!(all(&|| of_run(folder.path()), 3).len(), 3);
        shell.kill().expect("killed");
        shell.wait().expect("ended");
        assert_eq!(all(&|| of_run(folder.path()), 2).len(), 2);
        kill_all(&of_run(folder.path()));
        assert_eq!(all(&|| of_run(folder.path()), 0), Vec::<i32>::new());
    }
}
