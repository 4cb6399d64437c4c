//! Stored fits.

use super::{FitRecord, Store, StoreError, content};

impl Store {
    /// Stores a fit.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn save_fit(&self, experiment: i64, fit: &FitRecord) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO fits (experiment_id, law, result, runs, program_version, created_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(experiment)
        .bind(&fit.law)
        .bind(fit.result.to_string())
        .bind(serde_json::to_string(&fit.runs).map_err(|error| content("a fit", error))?)
        .bind(env!("CARGO_PKG_VERSION"))
        .bind(fit.created_at)
        .execute(&self.pool)
        .await?;
        Ok(())
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
        row.map(|(result, runs, created_at)| {
            let wrong = |error: serde_json::Error| content("fits", error);
            Ok(FitRecord {
                law: law.to_owned(),
                result: serde_json::from_str(&result).map_err(wrong)?,
                runs: serde_json::from_str(&runs).map_err(wrong)?,
                created_at,
            })
        })
        .transpose()
    }
}
