//! Where numbers come from: machine, repository, configuration.

use campaign::launch::hardware;
use campaign::orchestrate::Provenance;
use experiment::digest;
use experiment::lock;
use network::device;
use std::process::Command;

/// The versions of everything that this program was built from.
const LOCK_FILE: &str = include_str!("../../Cargo.lock");

/// Collects where the numbers of runs on these devices come from.
pub(super) fn of(devices: &[String]) -> Provenance {
    let hardware = devices.iter();
    Provenance {
        host: lock::host(),
        git_commit: git_commit(),
        lock_hash: Some(digest::sha256(LOCK_FILE)),
        hardware: hardware
            .filter_map(|device| Some((device.clone(), describe(device)?)))
            .collect(),
    }
}

/// Describes a device as its system does, with its driver; `None` where the system does not.
fn describe(device: &str) -> Option<String> {
    match device::gpu_index(device) {
        None => hardware::processor(),
        Some(index) => {
            let gpus = hardware::gpus().ok()?;
            let gpu = gpus.get(index)?;
            Some(format!("{}, driver {}", gpu.name, gpu.driver))
        }
    }
}

/// Reads the commit of the working folder's repository, with a trailing `+` when it has changes;
/// `None` outside a repository.
fn git_commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    // Results that were not committed yet change nothing that trains.
    let changes = git(&["status", "--porcelain", "--", ":/", ":(exclude)results"]);
    let changed = changes.is_some_and(|changes| !changes.is_empty());
    Some(if changed {
        format!("{commit}+")
    } else {
        commit
    })
}
