//! Where what is found about runs is kept: experiments without a file, and folders of their own.

use super::{Store, StoreError};
use experiment::folder::ResultsFolder;
use std::path::{Path, PathBuf};

impl Store {
    /// Finds an experiment, or records one that has no file of its own: it holds imported runs.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn experiment_without_file(&self, name: &str, now: f64) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO experiments
                 (name, config, config_hash, program_version, created_at, updated_at)
             VALUES (?1, '', '', ?2, ?3, ?3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(now)
        .execute(&mut *transaction)
        .await?;
        let (id,): (i64,) = sqlx::query_as("SELECT id FROM experiments WHERE name = ?")
            .bind(name)
            .fetch_one(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(id)
    }

    /// Finds or records the experiment that holds the fits of a table of runs, and gives its name: `name`,
    /// or where that is another's `name~2`, `name~3`, …
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn experiment_of_table(
        &self,
        name: &str,
        table: &Path,
        now: f64,
    ) -> Result<(i64, String), StoreError> {
        let source = table.to_string_lossy();
        let mut transaction = self.begin().await?;
        let known: Option<(i64, String)> =
            sqlx::query_as("SELECT id, name FROM experiments WHERE source = ? ORDER BY id LIMIT 1")
                .bind(&*source)
                .fetch_optional(&mut *transaction)
                .await?;
        if let Some(known) = known {
            return Ok(known);
        }
        let mut own = name.to_owned();
        for number in 2.. {
            // One that holds nothing but fits, of a version that did not say of which table, is taken over.
            let taken: Option<(bool,)> = sqlx::query_as(
                "SELECT source IS NOT NULL OR config <> '' OR EXISTS
                     (SELECT 1 FROM imported_runs WHERE experiment_id = experiments.id)
                 FROM experiments WHERE name = ?",
            )
            .bind(&own)
            .fetch_optional(&mut *transaction)
            .await?;
            if taken != Some((true,)) {
                break;
            }
            own = format!("{name}~{number}");
        }
        let (id,): (i64,) = sqlx::query_as(
            "INSERT INTO experiments
                 (name, config, config_hash, program_version, created_at, updated_at, source)
             VALUES (?1, '', '', ?2, ?3, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET source = excluded.source
             RETURNING id",
        )
        .bind(&own)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(now)
        .bind(&*source)
        .fetch_one(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok((id, own))
    }

    /// Finds the folder of the figures, tables and reports of an experiment: the results folder, and of
    /// every further experiment in it one of its own, so that none writes over another's.
    ///
    /// # Errors
    /// When the database refuses or does not know the experiment.
    pub async fn outputs(&self, results: &Path, experiment: i64) -> Result<PathBuf, StoreError> {
        // One that only keeps the fits of a table does not drive away one that has runs.
        let (first,): (i64,) = sqlx::query_as(
            "SELECT id FROM experiments
             ORDER BY config = '' AND NOT EXISTS
                 (SELECT 1 FROM imported_runs WHERE experiment_id = experiments.id), id
             LIMIT 1",
        )
        .fetch_one(&self.pool)
        .await?;
        if first == experiment {
            return Ok(results.to_owned());
        }
        let (name,): (String,) = sqlx::query_as("SELECT name FROM experiments WHERE id = ?")
            .bind(experiment)
            .fetch_one(&self.pool)
            .await?;
        Ok(ResultsFolder(results).experiment(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::{experiment, planned};

    #[tokio::test]
    async fn tables_of_one_name_and_experiments_of_one_folder_are_kept_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::create(folder.path()).await.expect("a database");
        let of = async |table: &str| {
            let found = store
                .experiment_of_table("runs", Path::new(table), 1.0)
                .await;
            found.expect("found")
        };
        let (first, name) = of("/a/runs.csv").await;
        assert_eq!(name, "runs");
        let (second, name) = of("/b/runs.csv").await;
        assert_eq!(name, "runs~2");
        assert_ne!(first, second);
        assert_eq!(of("/c/runs.csv").await.1, "runs~3");
        assert_eq!(of("/b/runs.csv").await, (second, "runs~2".to_owned()));
        assert_eq!(of("/a/runs.csv").await.0, first);

        let outputs = async |id| store.outputs(folder.path(), id).await.expect("known");
        assert_eq!(outputs(first).await, folder.path());
        assert_eq!(
            outputs(second).await,
            folder.path().join("experiments/runs~2")
        );
        let plan = store.plan(&experiment(), &[planned(0)], 1.0).await;
        let planned = plan.expect("planned");
        assert_eq!(outputs(planned).await, folder.path());
        assert_eq!(outputs(first).await, folder.path().join("experiments/runs"));

        // What an earlier version recorded without saying of which table.
        let old = store
            .experiment_without_file("old", 1.0)
            .await
            .expect("made");
        let taken = store
            .experiment_of_table("old", Path::new("/old.csv"), 1.0)
            .await;
        assert_eq!(taken.expect("found"), (old, "old".to_owned()));
    }
}
