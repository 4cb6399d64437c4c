//! Stored fits.

use super::{FitRecord, FittedRows, Store, StoreError, StoredFit, content};

impl Store {
    /// Stores a fit, and the rows it used where the runs alone do not tell them.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_fit(
        &self,
        experiment: i64,
        fit: &FitRecord,
        rows: Option<&FittedRows>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        if let Some(rows) = rows {
            // Once, however often they are fitted.
            sqlx::query(
                "INSERT INTO fitted_rows (hash, n_rows, content) VALUES (?, ?, ?)
                 ON CONFLICT (hash) DO NOTHING",
            )
            .bind(&rows.hash)
            .bind(rows.n_rows as i64)
            .bind(&rows.content)
            .execute(&mut *transaction)
            .await?;
        }
        sqlx::query(
            "INSERT INTO fits
                 (experiment_id, law, result, runs, program_version, created_at, rows_hash)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(experiment)
        .bind(&fit.law)
        .bind(fit.result.to_string())
        .bind(serde_json::to_string(&fit.runs).map_err(|error| content("a fit", error))?)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(fit.created_at)
        .bind(rows.map(|rows| &rows.hash))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// Reads all fits of an experiment, the oldest first.
    ///
    /// # Errors
    /// When the database refuses or holds a fit this program cannot read.
    pub async fn fits(&self, experiment: i64) -> Result<Vec<StoredFit>, StoreError> {
        let rows: Vec<(i64, String, String, String, String, f64)> = sqlx::query_as(
            "SELECT id, law, result, runs, program_version, created_at FROM fits
             WHERE experiment_id = ? ORDER BY id",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter()
            .map(|(id, law, result, runs, program_version, created_at)| {
                Ok(StoredFit {
                    id,
                    program_version,
                    fit: read_fit(law, &result, &runs, created_at)?,
                })
            })
            .collect()
    }

    /// Reads the newest fit of a law.
    ///
    /// # Errors
    /// When the database refuses or holds a fit this program cannot read.
    pub async fn newest_fit(
        &self,
        experiment: i64,
        law: &str,
    ) -> Result<Option<FitRecord>, StoreError> {
        let row: Option<(String, String, f64)> = sqlx::query_as(
            "SELECT result, runs, created_at FROM fits
             WHERE experiment_id = ? AND law = ? ORDER BY id DESC LIMIT 1",
        )
        .bind(experiment)
        .bind(law)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|(result, runs, created_at)| read_fit(law.to_owned(), &result, &runs, created_at))
            .transpose()
    }
}

fn read_fit(
    law: String,
    result: &str,
    runs: &str,
    created_at: f64,
) -> Result<FitRecord, StoreError> {
    let wrong = |error: serde_json::Error| content("fits", error);
    Ok(FitRecord {
        law,
        result: serde_json::from_str(result).map_err(wrong)?,
        runs: serde_json::from_str(runs).map_err(wrong)?,
        created_at,
    })
}
