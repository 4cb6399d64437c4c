//! Where numbers come from: machine, repository, configuration.

use sha2::{Digest, Sha256};
use std::process::Command;

/// Reads the machine's name.
pub(super) fn host() -> String {
    nix::unistd::gethostname().map_or_else(
        |_| "unknown".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Reads the commit of the working folder's repository, with a trailing `+` when it has changes;
/// `None` outside a repository.
pub(super) fn git_commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let changed = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    Some(if changed {
        format!("{commit}+")
    } else {
        commit
    })
}

/// Hashes a configuration: SHA-256, hexadecimal.
pub(super) fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
