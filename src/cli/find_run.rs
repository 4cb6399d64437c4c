//! From what a person calls a run to its folder.

use super::Failure;
use campaign::store::{RunRecord, Store};
use experiment::folder::{DATABASE, ResultsFolder, SPECIFICATION};
use std::path::{Path, PathBuf};

/// Matches that a message lists before it only counts.
const LISTED: usize = 8;

/// Finds a run's folder from its path, its id or a prefix of its id.
///
/// Ids are looked up in `results`, or else in every folder below `results/`.
///
/// # Errors
/// When there is no such run, or more than one.
pub(super) fn find_run(run: &str, results: Option<&Path>) -> Result<PathBuf, Failure> {
    look_up(run, results).map_err(Failure::input)
}

/// A run in a database, which is open to be read.
pub(super) struct Stored {
    pub(super) results: PathBuf,
    pub(super) store: Store,
    pub(super) record: RunRecord,
}

/// Finds a run in a database, trained or not, from its folder, its id or a prefix of its id.
///
/// Ids are looked up in `results`, or else in every folder below `results/`.
///
/// # Errors
/// When there is no such run, or more than one, or a database cannot be read.
pub(super) async fn find_stored(run: &str, results: Option<&Path>) -> Result<Stored, Failure> {
    let path = Path::new(run);
    let (prefix, places) = if path.join(SPECIFICATION).is_file() {
        // A run's folder is results/NAME/runs/ID.
        let path = path.canonicalize().map_err(Failure::input)?;
        let results = path.ancestors().nth(2).map(Path::to_owned);
        (name(&path), results.into_iter().collect())
    } else {
        (run.to_owned(), places(results))
    };
    let mut found = Vec::new();
    for place in places.iter().filter(|place| place.join(DATABASE).exists()) {
        let store = super::open_to_read(place).await?;
        for id in store.runs_beginning_with(&prefix).await? {
            found.push((place, store.clone(), id));
        }
    }
    if found.len() > 1 {
        let folders: Vec<PathBuf> = found
            .iter()
            .map(|(place, _, id)| ResultsFolder(place).run(id))
            .collect();
        return Err(Failure::input(several(
            run,
            &folders.iter().collect::<Vec<_>>(),
        )));
    }
    let (results, store, id) = found.pop().ok_or_else(|| {
        let searched = match results {
            Some(results) => results.join(DATABASE).display().to_string(),
            None => format!("results/*/{DATABASE}"),
        };
        Failure::input(format!(
            "no run in {searched} begins with `{run}`; `orchestrator status FILE` lists them, and \
             `--results DIR` looks in another results folder"
        ))
    })?;
    let record = store.run(&id).await?;
    Ok(Stored {
        results: results.clone(),
        record: record.ok_or_else(|| Failure::machine(format!("run {id} has gone")))?,
        store,
    })
}

fn several(run: &str, found: &[&PathBuf]) -> String {
    // The same run can be in two results folders.
    let is_one = found.windows(2).all(|pair| name(pair[0]) == name(pair[1]));
    let help = if is_one {
        "Give the folder itself, or `--results DIR`."
    } else {
        "Give more of the id, or the folder itself."
    };
    format!(
        "{} runs begin with `{run}`:\n{}\n{help}",
        found.len(),
        list(found)
    )
}

/// Lists the results folders to look in.
fn places(results: Option<&Path>) -> Vec<PathBuf> {
    match results {
        Some(results) => vec![results.to_owned()],
        None => folders(Path::new("results")),
    }
}

fn look_up(run: &str, results: Option<&Path>) -> Result<PathBuf, String> {
    let path = Path::new(run);
    if path.join(SPECIFICATION).is_file() {
        return Ok(path.to_owned());
    }
    if run.is_empty() || path.components().count() > 1 || run.starts_with('.') {
        return Err(format!(
            "`{run}` is no run: a run's folder holds `{SPECIFICATION}`, as results/NAME/runs/ID does; \
             an id or the beginning of one works too"
        ));
    }
    let searched = results.map_or("results/*/runs".into(), |results| {
        ResultsFolder(results).runs()
    });
    let runs: Vec<PathBuf> = places(results)
        .iter()
        .flat_map(|place| folders(&ResultsFolder(place).runs()))
        .filter(|folder| folder.join(SPECIFICATION).is_file())
        .collect();
    let searched = searched.display();
    let matches = |folder: &&PathBuf| name(folder).starts_with(run);
    let found: Vec<&PathBuf> = runs.iter().filter(matches).collect();
    match found[..] {
        [found] => Ok(found.clone()),
        [] if runs.is_empty() => Err(format!(
            "there are no runs in {searched}; `--results DIR` looks in another results folder"
        )),
        [] => Err(format!(
            "no run in {searched} begins with `{run}`; there are:\n{}",
            list(&runs.iter().collect::<Vec<_>>())
        )),
        _ => Err(several(run, &found)),
    }
}

/// Lists the folders in a folder, in order; none where it cannot be read.
fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn name(folder: &Path) -> String {
    folder
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn list(folders: &[&PathBuf]) -> String {
    let mut lines: Vec<String> = folders
        .iter()
        .take(LISTED)
        .map(|folder| format!("  {}", folder.display()))
        .collect();
    if folders.len() > LISTED {
        lines.push(format!("  and {} more", folders.len() - LISTED));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(runs: &[&str]) -> tempfile::TempDir {
        let results = tempfile::tempdir().expect("a folder");
        for run in runs {
            let folder = ResultsFolder(results.path()).runs().join(run);
            std::fs::create_dir_all(&folder).expect("made");
            std::fs::write(folder.join(SPECIFICATION), "{}").expect("written");
        }
        results
    }

    fn found(run: &str, results: &tempfile::TempDir) -> Result<String, String> {
        look_up(run, Some(results.path())).map(|folder| name(&folder))
    }

    #[test]
    fn a_unique_prefix_finds_its_run() {
        let results = results(&["aa11", "ab22"]);
        // Not a run: it holds no specification.
        std::fs::create_dir_all(results.path().join("runs/abcd")).expect("made");
        assert_eq!(found("aa11", &results), Ok("aa11".into()));
        assert_eq!(found("ab", &results), Ok("ab22".into()));
        let path = results.path().join("runs/aa11").display().to_string();
        assert_eq!(found(&path, &results), Ok("aa11".into()));
    }

    #[test]
    fn no_run_and_several_runs_say_what_there_is() {
        let some = results(&["aa11", "ab22"]);
        let said = found("a", &some).expect_err("two");
        assert!(said.starts_with("2 runs begin with `a`"), "{said}");
        assert!(said.contains("aa11") && said.contains("ab22"), "{said}");
        let said = found("c", &some).expect_err("none");
        assert!(
            said.contains("begins with `c`") && said.contains("ab22"),
            "{said}"
        );
        let said = found("no/such", &some).expect_err("none");
        assert!(said.contains("`no/such` is no run"), "{said}");
        let said = found("a", &results(&[])).expect_err("none");
        assert!(said.contains("there are no runs in"), "{said}");
    }
}
