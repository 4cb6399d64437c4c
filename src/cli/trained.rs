//! Naming a trained run, and loading it.

use super::Failure;
use super::find_run::{Stored, find_run, find_stored};
use super::terminal::note;
use crate::application::data_cache;
use std::path::{Path, PathBuf};
use trainer::inference::Trained;
use trainer::inference::exported::ENDING;

/// The arguments that name a trained run.
#[derive(Debug, clap::Args)]
pub(super) struct TrainedArgs {
    /// The run: its id, the beginning of it, its folder, or a file of its exported weights.
    run: String,

    /// Results folder to look for it in [default: every folder below results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,

    /// The device that computes.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

impl TrainedArgs {
    /// Loads the run; says so when it has not ended.
    pub(super) fn load(&self) -> Result<Trained, Failure> {
        self.load_other(&self.run)
    }

    /// Finds the run in its database.
    pub(super) async fn stored(&self) -> Result<Stored, Failure> {
        find_stored(&self.run, self.results.as_deref()).await
    }

    /// Loads another run of the same place.
    pub(super) fn load_other(&self, run: &str) -> Result<Trained, Failure> {
        load(run, self.results.as_deref(), &self.device)
    }
}

/// Says whether a path is of exported weights.
pub(super) fn is_exported(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ending == ENDING)
}

/// Loads a run, or weights that were exported; says so when it has not ended.
pub(super) fn load(run: &str, results: Option<&Path>, device: &str) -> Result<Trained, Failure> {
    let path = Path::new(run);
    if is_exported(path) {
        return Ok(Trained::of_exported(path, device)?);
    }
    let folder = find_run(run, results)?;
    let trained = Trained::load(&folder, &data_cache(), device)?;
    let (step, steps) = (trained.step, trained.steps());
    if step < steps {
        note!(
            "warning: run {} has not ended; these are its weights after {step} of {steps} steps",
            trained.spec.id()
        );
    }
    Ok(trained)
}

/// Reads token ids, separated by commas or white space.
pub(super) fn parse_tokens(text: &str) -> Result<Vec<u32>, Failure> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    let ids = words.filter(|word| !word.is_empty()).map(|word| {
        word.parse().map_err(|_| {
            Failure::input(format!(
                "`{word}` is no token id; give numbers, as in 17,4,256"
            ))
        })
    });
    ids.collect()
}
