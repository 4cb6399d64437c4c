//! The results folders that are served, and their databases, opened once.

use super::problem::Problem;
use campaign::store::{Store, StoreError};
use experiment::folder::DATABASE;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use tokio::sync::Mutex;

/// A results folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What addresses call it: the folder's name, with a number where two have the same.
    pub(super) key: String,
    pub(super) folder: PathBuf,
}

/// No results folder has this name.
#[derive(Debug, thiserror::Error)]
#[error("there is no results folder `{0}`")]
pub(super) struct UnknownPlace(String);

/// The results folders and what is open of them.
pub(super) struct Places {
    folders: Vec<PathBuf>,
    open: Mutex<HashMap<PathBuf, Open>>,
}

/// An open database, and which file it was when it was opened.
struct Open {
    file: Identity,
    /// When that had changed, of one of which a copy is read.
    changed: Option<[Option<SystemTime>; 2]>,
    store: Store,
}

/// Which file a path leads to: device and number.
type Identity = (u64, u64);

impl Places {
    pub(super) fn new(folders: Vec<PathBuf>) -> Self {
        Self {
            folders,
            open: Mutex::default(),
        }
    }

    /// Lists the results folders that there are by now.
    pub(super) fn list(&self) -> Vec<Place> {
        let mut found: Vec<PathBuf> = Vec::new();
        for folder in &self.folders {
            let below = std::fs::read_dir(folder).into_iter().flatten().flatten();
            let mut holds: Vec<PathBuf> = below
                .map(|entry| entry.path())
                .chain([folder.clone()])
                .filter(|path| path.join(DATABASE).is_file())
                .collect();
            holds.sort();
            found.extend(holds);
        }
        let mut times: HashMap<String, usize> = HashMap::new();
        let place = |folder: PathBuf| {
            let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            let name = whole.file_name().unwrap_or_default().to_string_lossy();
            let times = times.entry(name.to_string()).or_default();
            *times += 1;
            let key = match *times {
                1 => name.into_owned(),
                again => format!("{name}~{again}"),
            };
            Place { key, folder }
        };
        found.into_iter().map(place).collect()
    }

    /// Finds a results folder by its name.
    pub(super) fn find(&self, key: &str) -> Result<Place, UnknownPlace> {
        let found = self.list().into_iter().find(|place| place.key == key);
        found.ok_or_else(|| UnknownPlace(key.to_owned()))
    }

    /// Opens a results folder's database, or finds it open.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) async fn store(&self, place: &Place) -> Result<Store, StoreError> {
        let database = place.folder.join(DATABASE);
        let (file, now) = (identity(&database), changed(&database));
        let mut open = self.open.lock().await;
        if let Some(known) = open.get(&place.folder) {
            // A folder may be removed and made again.
            let is_same = Some(known.file) == file;
            if is_same && known.changed.is_none_or(|then| then == now) {
                return Ok(known.store.clone());
            }
        }
        let store = Store::open_to_read(&place.folder).await?;
        if let Some(remark) = store.remark() {
            tracing::warn!("{remark}");
        }
        if let Some(file) = file {
            let known = Open {
                file,
                changed: store.is_copy().then_some(now),
                store: store.clone(),
            };
            if let Some(before) = open.insert(place.folder.clone(), known) {
                // Who still reads it ends first.
                tokio::spawn(before.store.close());
            }
        }
        Ok(store)
    }

    /// Finds an experiment.
    pub(super) async fn experiment(&self, key: &str, name: &str) -> Result<(Store, i64), Problem> {
        let store = self.store(&self.find(key)?).await?;
        match store.experiment(name).await? {
            Some(experiment) => Ok((store, experiment)),
            None => Err(Problem::unknown(format!(
                "`{key}` holds no experiment `{name}`"
            ))),
        }
    }
}

/// Says when a database and its write-ahead log changed.
fn changed(database: &Path) -> [Option<SystemTime>; 2] {
    let log = database.with_file_name(format!("{DATABASE}-wal"));
    [database, &log].map(|file| std::fs::metadata(file).ok()?.modified().ok())
}

/// Says which file a path leads to.
fn identity(path: &Path) -> Option<Identity> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn folders_are_found_as_they_come_and_told_apart() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = |name: &str| root.path().join(name);
        std::fs::create_dir_all(folder("a/empty")).expect("made");
        let places = Places::new(vec![folder("a"), folder("b/same")]);
        assert_eq!(places.list(), []);
        for name in ["a/same", "b/same"] {
            Store::create(&folder(name)).await.expect("made");
        }
        let keys: Vec<String> = places.list().into_iter().map(|place| place.key).collect();
        assert_eq!(keys, ["same", "same~2"]);
        assert!(places.find("empty").is_err());
        let place = places.find("same").expect("there");
        let first = places.store(&place).await.expect("open");
        assert_eq!(first.experiments().await.expect("read"), [""; 0]);
        // The same name, another file.
        std::fs::remove_dir_all(&place.folder).expect("removed");
        let again = Store::create(&place.folder).await.expect("made");
        again
            .experiment_without_file("new", 1.0)
            .await
            .expect("kept");
        let store = places.store(&place).await.expect("open");
        assert_eq!(store.experiments().await.expect("read"), ["new"]);
    }
}
