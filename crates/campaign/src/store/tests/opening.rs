//! Databases that others hold, that can only be read, and what a process leaves at its end.

use super::*;
use crate::store::opening::{Journal, beside, options};
use experiment::folder::{DATABASE, ResultsFolder};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Names the database that [`another_process`] holds.
const HELD: &str = "ORCHESTRATOR_TEST_HELD";

async fn with_an_experiment(folder: &Path) -> Store {
    let store = Store::create(folder).await.expect("a database");
    let plan = store.plan(&experiment(), &[planned(0)], 1.0).await;
    plan.expect("planned");
    store
}

async fn be_impatient(store: &Store) {
    let set = sqlx::query("PRAGMA busy_timeout = 50").execute(&store.pool);
    set.await.expect("set");
}

#[tokio::test]
async fn a_closed_database_is_one_whole_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = with_an_experiment(folder.path()).await;
    // Beside a reader SQLite does not tidy up.
    let reader = Store::open_to_read(folder.path()).await.expect("open");
    assert_eq!(reader.experiments().await.expect("read"), ["e"]);
    store.close().await;
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder.path().join(DATABASE), copy.path().join(DATABASE)).expect("copied");
    let copied = Store::open_to_read(copy.path()).await.expect("open");
    assert_eq!(copied.experiments().await.expect("read"), ["e"]);
    reader.close().await;

    let alone = tempfile::tempdir().expect("a folder");
    with_an_experiment(alone.path()).await.close().await;
    let names = std::fs::read_dir(alone.path()).expect("read").flatten();
    let names: Vec<_> = names.map(|entry| entry.file_name()).collect();
    assert_eq!(names, [DATABASE]);
}

#[tokio::test]
async fn a_copy_is_whole_while_others_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = with_an_experiment(folder.path()).await;
    let writing = store.begin().await.expect("begun");
    let reader = Store::open_to_read(folder.path()).await.expect("open");
    let copy = tempfile::tempdir().expect("a folder");
    let file = copy.path().join(DATABASE);
    reader.copy_to(&file).await.expect("copied");
    let there = reader.copy_to(&file).await.expect_err("there is one");
    assert!(matches!(there, StoreError::Copy { .. }), "{there}");
    drop(writing);
    let copied = Store::open(copy.path()).await.expect("open");
    assert_eq!(copied.experiments().await.expect("read"), ["e"]);
}

/// Opens one folder from many threads at once, as many processes do.
fn at_once(folder: &Path, open: impl Fn(&Path) -> Result<(), StoreError> + Sync) {
    std::thread::scope(|scope| {
        let one = || open(folder);
        let all: Vec<_> = (0..24).map(|_| scope.spawn(one)).collect();
        for one in all {
            one.join().expect("no panic").expect("opened");
        }
    });
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn many_make_one_database_and_bring_an_old_one_forward() {
    let folder = tempfile::tempdir().expect("a folder");
    at_once(folder.path(), |folder| {
        block_on(async {
            let store = Store::create(folder).await?;
            store.experiment_without_file("e", 1.0).await?;
            store.close().await;
            Ok(())
        })
    });
    let old = tempfile::tempdir().expect("a folder");
    let kept = Path::new("tests/formats/0002").join(DATABASE);
    std::fs::copy(kept, old.path().join(DATABASE)).expect("copied");
    at_once(old.path(), |folder| {
        block_on(async {
            let store = Store::open(folder).await?;
            assert_eq!(store.experiments().await?, ["old"]);
            store.close().await;
            Ok(())
        })
    });
}

#[tokio::test]
async fn a_database_of_an_earlier_version_is_read_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(DATABASE);
    std::fs::copy(Path::new("tests/formats/0002").join(DATABASE), &path).expect("copied");
    let before = std::fs::read(&path).expect("read");
    let store = Store::open_to_read(folder.path()).await.expect("open");
    assert!(store.is_copy() && store.remark().is_none());
    let experiment = store.experiment("old").await.expect("read").expect("known");
    assert_eq!(store.runs(experiment).await.expect("read").len(), 2);
    assert_eq!(std::fs::read(&path).expect("read"), before);
}

/// Forbids new files in a folder; says so where that is not possible.
fn fix(folder: &Path, fixed: bool) -> bool {
    let flag = if fixed { "+i" } else { "-i" };
    let done = Command::new("chattr").arg(flag).arg(folder).status();
    let done = done.is_ok_and(|status| status.success());
    if !done {
        eprintln!("SKIPPED: chattr {flag} is not possible here");
    }
    done
}

#[tokio::test]
async fn what_can_only_be_read_is_read_with_its_newest_rows() {
    let made = tempfile::tempdir().expect("a folder");
    let store = with_an_experiment(made.path()).await;
    // As a process that was killed leaves it: the last rows are in the log alone.
    let killed = tempfile::tempdir().expect("a folder");
    for ending in ["", "-wal"] {
        let name = format!("{DATABASE}{ending}");
        std::fs::copy(made.path().join(&name), killed.path().join(&name)).expect("copied");
    }
    store.close().await;
    let log = std::fs::metadata(beside(&killed.path().join(DATABASE), "-wal"));
    assert!(log.expect("a log").len() > 0);
    for folder in [&made, &killed] {
        if !fix(folder.path(), true) {
            return;
        }
        let opened = Store::open_to_read(folder.path()).await;
        fix(folder.path(), false);
        let store = opened.expect("open");
        assert!(store.is_copy() && store.remark().is_none());
        assert_eq!(store.experiments().await.expect("read"), ["e"]);
    }
}

#[tokio::test]
async fn a_rollback_journal_is_kept_where_machines_share_a_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    with_an_experiment(folder.path()).await.close().await;
    let path = ResultsFolder(folder.path()).database();
    let connect = async || Store::connect(&path, options(&path), Journal::Rollback).await;
    let store = connect().await.expect("open");
    store
        .experiment_without_file("new", 1.0)
        .await
        .expect("kept");
    assert!(!beside(&path, "-wal").exists() && !beside(&path, "-shm").exists());
    let reader = Store::open_to_read(folder.path()).await.expect("open");
    assert_eq!(reader.experiments().await.expect("read"), ["e", "new"]);
    let again = connect().await.expect("open");
    assert_eq!(again.experiments().await.expect("read"), ["e", "new"]);
}

/// Is started by the tests below as a process of its own.
#[tokio::test]
async fn another_process() {
    let Some(folder) = std::env::var_os(HELD) else {
        return;
    };
    let store = Store::open(Path::new(&folder)).await.expect("open");
    let writing = store.begin().await.expect("begun");
    std::fs::write(Path::new(&folder).join("held"), "").expect("told");
    let mut until_it_is_closed = String::new();
    std::io::stdin()
        .read_line(&mut until_it_is_closed)
        .expect("closed");
    drop(writing);
}

/// Has another process write to a database until its input ends.
fn hold(folder: &Path) -> std::process::Child {
    let program = std::env::current_exe().expect("this program");
    let child = Command::new(program)
        .args(["--exact", "store::tests::opening::another_process"])
        .env(HELD, folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    while !folder.join("held").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[tokio::test]
async fn who_holds_a_database_is_named_and_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = with_an_experiment(folder.path()).await;
    be_impatient(&store).await;
    let mut child = hold(folder.path());
    let holder = format!("process {} (`", child.id());

    let refused = store
        .end_run(&planned(0).id, RunOutcome::Crashed, "", 1.0)
        .await;
    let said = refused.expect_err("locked").to_string();
    assert!(said.contains(&holder) && said.contains(DATABASE), "{said}");

    let told = Arc::new(AtomicUsize::new(0));
    let patience = |most: usize| {
        let (told, looked) = (told.clone(), told.clone());
        Patience {
            waits: Arc::new(move |_| {
                told.fetch_add(1, Ordering::Relaxed);
            }),
            is_over: Arc::new(move || looked.load(Ordering::Relaxed) >= most),
        }
    };
    let given_up = store.clone().patient(patience(1));
    let given_up = given_up.experiment_without_file("no", 1.0).await;
    let said = given_up.expect_err("given up").to_string();
    assert!(said.contains(&holder), "{said}");

    let waited = store.clone().patient(patience(usize::MAX));
    let before = told.load(Ordering::Relaxed);
    let release = async {
        while told.load(Ordering::Relaxed) == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(child.stdin.take());
    };
    let (kept, ()) = tokio::join!(waited.experiment_without_file("yes", 1.0), release);
    kept.expect("kept in the end");
    child.wait().expect("ended");
    assert_eq!(store.experiments().await.expect("read"), ["e", "yes"]);
}
