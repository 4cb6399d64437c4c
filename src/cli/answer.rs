//! An answer, as JSON or in words.

use super::Failure;
use super::terminal::print;
use serde::Serialize;
use std::fmt::Display;
use std::process::ExitCode;

/// Prints an answer: as one line of JSON, or in words.
pub(super) fn answer<T: Serialize + Display>(report: &T, json: bool) -> Result<ExitCode, Failure> {
    print(&if json {
        in_json(report)?
    } else {
        report.to_string()
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a value as one line of JSON.
pub(super) fn in_json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string(value).map_err(Failure::machine)?;
    Ok(format!("{text}\n"))
}
