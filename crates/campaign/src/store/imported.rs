//! Runs that other people trained, and the exact rows behind a fit.

use super::{Store, StoreError, content};
use std::collections::{BTreeMap, BTreeSet};

/// A run that somebody else trained.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ImportedRun {
    /// Hash of its cells, and which of equal rows it is.
    pub id: String,
    /// The file it comes from, as it was given.
    pub source: String,
    /// The line there.
    pub line: u32,
    /// Held-out loss, nats per token.
    pub loss: f64,
    /// Every cell as written, under the names that laws read.
    pub cells: BTreeMap<String, String>,
}

/// What an import changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Imported {
    /// Rows that are new.
    pub added: usize,
    /// Rows that were there already.
    pub known: usize,
    /// Rows of an earlier import of the file that it no longer holds; they are taken out.
    pub removed: usize,
}

/// Rows as a law took them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedRows {
    /// SHA-256 of the content, hexadecimal.
    pub hash: String,
    /// Their number.
    pub n_rows: usize,
    /// The rows as CSV.
    pub content: String,
}

impl Store {
    /// Takes in runs of a file, in place of those of an earlier import of it that it no longer holds:
    /// `whole` are the identities of all that it holds, whether they are taken in now or not.
    ///
    /// # Errors
    /// When the database refuses; nothing is then changed.
    pub async fn import(
        &self,
        experiment: i64,
        source: &str,
        runs: &[ImportedRun],
        whole: &BTreeSet<String>,
        now: f64,
    ) -> Result<Imported, StoreError> {
        let mut transaction = self.begin().await?;
        let before: Vec<(String,)> =
            sqlx::query_as("SELECT id FROM imported_runs WHERE experiment_id = ? AND source = ?")
                .bind(experiment)
                .bind(source)
                .fetch_all(&mut *transaction)
                .await?;
        let before = before.into_iter().map(|(id,)| id);
        let mut gone: BTreeSet<String> = before.filter(|id| !whole.contains(id)).collect();
        let mut added = 0;
        for run in runs {
            gone.remove(&run.id);
            let cells =
                serde_json::to_string(&run.cells).map_err(|error| content("a run", error))?;
            added += sqlx::query(
                "INSERT INTO imported_runs
                     (experiment_id, id, source, line, loss, cells, imported_at)
                 VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (experiment_id, id) DO NOTHING",
            )
            .bind(experiment)
            .bind(&run.id)
            .bind(&run.source)
            .bind(run.line)
            .bind(run.loss)
            .bind(cells)
            .bind(now)
            .execute(&mut *transaction)
            .await?
            .rows_affected() as usize;
        }
        for id in &gone {
            sqlx::query("DELETE FROM imported_runs WHERE experiment_id = ? AND id = ?")
                .bind(experiment)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Imported {
            added,
            known: runs.len() - added,
            removed: gone.len(),
        })
    }

    /// Reads the imported runs of an experiment, by file and line.
    ///
    /// # Errors
    /// When the database refuses or holds a run this program cannot read.
    pub async fn imported(&self, experiment: i64) -> Result<Vec<ImportedRun>, StoreError> {
        let rows: Vec<(String, String, u32, f64, String)> = sqlx::query_as(
            "SELECT id, source, line, loss, cells FROM imported_runs
             WHERE experiment_id = ? ORDER BY source, line",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(id, source, line, loss, cells)| {
                let cells = serde_json::from_str(&cells)
                    .map_err(|error| content("imported_runs.cells", error))?;
                Ok(ImportedRun {
                    id,
                    source,
                    line,
                    loss,
                    cells,
                })
            })
            .collect()
    }

    /// Counts the imported runs of an experiment.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn count_imported(&self, experiment: i64) -> Result<u64, StoreError> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT COUNT(*) FROM imported_runs WHERE experiment_id = ?")
                .bind(experiment)
                .fetch_one(&self.pool)
                .await?;
        Ok(count as u64)
    }

    /// Reads the rows behind the newest fit of a law, as CSV; `None` where none are stored.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn newest_rows(
        &self,
        experiment: i64,
        law: &str,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as(
            "SELECT content FROM fits JOIN fitted_rows ON hash = rows_hash
             WHERE experiment_id = ? AND law = ? ORDER BY fits.id DESC LIMIT 1",
        )
        .bind(experiment)
        .bind(law)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(rows,)| rows))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FitRecord;

    fn run(id: &str, line: u32) -> ImportedRun {
        ImportedRun {
            id: id.into(),
            source: "theirs.csv".into(),
            line,
            loss: 2.5,
            cells: BTreeMap::from([("params".to_owned(), "1e9".to_owned())]),
        }
    }

    #[tokio::test]
    async fn an_import_is_idempotent_and_a_corrected_file_takes_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::create(folder.path()).await.expect("a database");
        let experiment = store.experiment_without_file("e", 1.0).await.expect("made");
        assert_eq!(
            store
                .experiment_without_file("e", 2.0)
                .await
                .expect("known"),
            experiment
        );
        let (first, second) = ([run("a", 2), run("b", 3)], [run("a", 2), run("c", 3)]);
        for (runs, added, known, removed) in
            [(&first, 2, 0, 0), (&first, 0, 2, 0), (&second, 1, 1, 1)]
        {
            let done = store
                .import(experiment, "theirs.csv", runs, &BTreeSet::new(), 1.0)
                .await
                .expect("taken in");
            let expected = Imported {
                added,
                known,
                removed,
            };
            assert_eq!(done, expected);
        }
        assert_eq!(store.imported(experiment).await.expect("read"), second);
    }

    #[tokio::test]
    async fn a_fit_keeps_its_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::create(folder.path()).await.expect("a database");
        let experiment = store.experiment_without_file("e", 1.0).await.expect("made");
        let rows = FittedRows {
            hash: "h".into(),
            n_rows: 1,
            content: "line,loss\n2,2.5\n".into(),
        };
        for created_at in [1.0, 2.0] {
            let fit = FitRecord {
                law: "chinchilla".into(),
                result: serde_json::json!({}),
                runs: Vec::new(),
                created_at,
            };
            store
                .save_fit(experiment, &fit, Some(&rows))
                .await
                .expect("saved");
        }
        let read = store
            .newest_rows(experiment, "chinchilla")
            .await
            .expect("read");
        assert_eq!(read, Some(rows.content));
        assert_eq!(
            store.newest_rows(experiment, "kaplan").await.expect("read"),
            None
        );
    }
}
