//! Databases of other versions, and what is no database.

use super::*;
use experiment::folder::DATABASE;
use sqlx::sqlite::SqliteConnectOptions;
use std::path::Path;

#[tokio::test]
async fn a_database_of_the_first_schema_is_brought_forward() {
    let old = tempfile::tempdir().expect("a folder");
    std::fs::copy(
        "../../migrations/0001_first.sql",
        old.path().join("0001_first.sql"),
    )
    .expect("copied");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(DATABASE);
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.expect("a database");
    let first = sqlx::migrate::Migrator::new(old.path()).await;
    first.expect("readable").run(&pool).await.expect("migrated");
    let spec = serde_json::to_string(&spec(0)).expect("plain data");
    for (sql, value) in [
        (
            "INSERT INTO experiments (name, config, config_hash, program_version, created_at,
                 updated_at) VALUES ('e', ?, 'h', '0', 1.0, 1.0)",
            "grid: {}",
        ),
        (
            "INSERT INTO runs (id, kind, spec, params, concept_share, compression_ratio, tokens,
                 seed, planned_flops, created_at)
             VALUES ('r', 'dlcm', ?, 1, 0.5, 4.0, 1, 0, 1.0, 1.0)",
            spec.as_str(),
        ),
        (
            "INSERT INTO experiment_runs (experiment_id, run_id, position, axes)
             VALUES (1, 'r', 0, ?)",
            "{}",
        ),
    ] {
        sqlx::query(sql)
            .bind(value)
            .execute(&pool)
            .await
            .expect("inserted");
    }
    pool.close().await;
    let store = Store::open(folder.path()).await.expect("opened");
    let record = store.runs(1).await.expect("read").pop().expect("one");
    assert_eq!((record.part, record.start_run), (Part::Whole, None));
    assert_eq!(record.spec.start(), None);
}

#[tokio::test]
async fn foreign_newer_and_missing_databases_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = Store::open(folder.path()).await.expect_err("nothing there");
    assert!(matches!(missing, StoreError::Missing { .. }));

    let store = Store::create(folder.path()).await.expect("a database");
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', 1, x'00', 0)",
    )
    .execute(&store.pool)
    .await
    .expect("inserted");
    store.pool.close().await;
    let newer = Store::open(folder.path()).await.expect_err("newer");
    assert!(
        matches!(newer, StoreError::Newer { found: 9999, .. }),
        "{newer}"
    );

    let other = tempfile::tempdir().expect("a folder");
    std::fs::write(
        other.path().join(DATABASE),
        "this is no database, but long enough to be read",
    )
    .expect("written");
    let foreign = Store::open(other.path()).await.expect_err("foreign");
    assert!(matches!(foreign, StoreError::Open { .. }), "{foreign}");

    let file = other.path().join("file");
    std::fs::write(&file, "").expect("written");
    let unwritable = Store::create(&file.join("results"))
        .await
        .expect_err("no folder");
    assert!(
        matches!(unwritable, StoreError::Folder { .. }),
        "{unwritable}"
    );
}

#[tokio::test]
async fn results_of_earlier_versions_are_read() {
    let kept = Path::new("tests/formats/0002");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(kept.join(DATABASE), folder.path().join(DATABASE)).expect("copied");
    let store = Store::open(folder.path()).await.expect("opened");
    let experiment = store.experiment("old").await.expect("read").expect("known");
    let runs = store.runs(experiment).await.expect("read");
    let states: Vec<_> = runs.iter().map(|run| (run.state, run.outcome)).collect();
    let crashed = Some(RunOutcome::Crashed);
    assert_eq!(
        states,
        [
            (RunState::Ended, Some(RunOutcome::Finished)),
            // It was tried again by the next command, and still is.
            (RunState::Pending, crashed)
        ]
    );
    assert_eq!(runs[0].loss, Some(3.098_421_884_933_486_6));
    assert_eq!(runs[1].message.as_deref(), Some("panicked"));
    let history = store.history(&runs[1].id).await.expect("read");
    assert_eq!((history.len(), history[0].outcome), (1, crashed));
    assert_eq!(history[0].start.lock_hash, None);

    // Its journal says what its database does.
    let before = store.measurements(&runs[0].id).await.expect("read");
    let journal = kept
        .join("runs")
        .join(&runs[0].id.0)
        .join(experiment::folder::JOURNAL);
    let text = std::fs::read_to_string(journal).expect("a journal");
    let rows = text.lines().filter_map(|line| {
        match Line::decode(line)
            .expect("a line of an earlier version")
            .event
        {
            Event::Measured(row) => Some(row),
            _ => None,
        }
    });
    assert_eq!(rows.collect::<Vec<_>>(), before);
}
