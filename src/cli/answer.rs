//! An answer, as JSON or in words.

use super::Failure;
use super::trained::print;
use serde::Serialize;
use std::fmt::Display;
use std::process::ExitCode;

/// Prints an answer: as one line of JSON, or in words.
pub(super) fn answer<T: Serialize + Display>(report: &T, json: bool) -> Result<ExitCode, Failure> {
    if json {
        let text = serde_json::to_string(report).map_err(Failure::machine)?;
        print(&format!("{text}\n"))?;
    } else {
        print(&report.to_string())?;
    }
    Ok(ExitCode::SUCCESS)
}
