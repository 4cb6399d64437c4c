//! Folders that experiments share, and the program itself.

use super::Refused;
use std::path::{Path, PathBuf};

/// Finds the folder of what can be made again: `$ORCHESTRATOR_CACHE`, else the user's cache.
fn cache_folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("ORCHESTRATOR_CACHE") {
        return folder.into();
    }
    if let Some(folder) = variable("XDG_CACHE_HOME") {
        return Path::new(&folder).join("orchestrator");
    }
    match variable("HOME") {
        Some(home) => Path::new(&home).join(".cache/orchestrator"),
        None => std::env::temp_dir().join("orchestrator-cache"),
    }
}

/// Finds the folder of prepared data, which experiments share.
pub fn data_cache() -> PathBuf {
    cache_folder().join("data")
}

/// Finds the folder of what was measured of this machine.
pub fn cost_cache() -> PathBuf {
    cache_folder().join("costs")
}

/// Finds the file of this program.
///
/// # Errors
/// When the system does not say.
pub fn this_program() -> Result<PathBuf, Refused> {
    std::env::current_exe()
        .map_err(|error| Refused::machine(format!("cannot find this program: {error}")))
}
