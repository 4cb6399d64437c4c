//! Writes the tasks in the default synthetic language that ship with the project:
//! `cargo run --release -p trainer --example synthetic_tasks -- experiments/tasks/dialects`.

use experiment::run::{LanguageKind, SyntheticSpec};
use std::path::PathBuf;
use trainer::data::synthetic::tasks::{self, ITEMS, SEED};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args()
        .nth(1)
        .map(PathBuf::from)
        .ok_or("name a folder")?;
    std::fs::create_dir_all(&folder)?;
    let spec = SyntheticSpec::of(LanguageKind::Dialects);
    for (name, text) in tasks::files(&spec, ITEMS, SEED)? {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
