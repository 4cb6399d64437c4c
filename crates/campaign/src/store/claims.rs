//! Claims as they were written down, and when.

use super::{Store, StoreError, content};
use experiment::claims::Claim;

/// A claim with when it was written down.
#[derive(Clone, Debug, PartialEq)]
pub struct RegisteredClaim {
    /// The claim.
    pub claim: Claim,
    /// When it was first seen, seconds since the Unix epoch.
    pub registered_at: f64,
    /// Runs of the experiment that had ended by then.
    pub runs_ended: u64,
    /// When the file no longer held it; `None` while it does.
    pub dropped_at: Option<f64>,
}

impl Store {
    /// Registers the claims of an experiment's file: those that are known keep their date, and those that are no
    /// longer there stay, marked as dropped.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn register_claims(
        &self,
        experiment: i64,
        claims: &[Claim],
        now: f64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "UPDATE claims SET dropped_at = ? WHERE experiment_id = ? AND dropped_at IS NULL",
        )
        .bind(now)
        .bind(experiment)
        .execute(&mut *transaction)
        .await?;
        for (place, claim) in claims.iter().enumerate() {
            sqlx::query(
                "INSERT INTO claims (experiment_id, name, digest, claim, place, registered_at, runs_ended)
                 VALUES (?, ?, ?, ?, ?, ?,
                         (SELECT count(*) FROM experiment_runs JOIN runs ON runs.id = experiment_runs.run_id
                          WHERE experiment_runs.experiment_id = ? AND runs.state = 'ended'))
                 ON CONFLICT (experiment_id, name, digest)
                 DO UPDATE SET dropped_at = NULL, place = excluded.place",
            )
            .bind(experiment)
            .bind(&claim.name)
            .bind(claim.digest())
            .bind(serde_json::to_string(claim).map_err(|error| content("a claim", error))?)
            .bind(place as i64)
            .bind(now)
            .bind(experiment)
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Reads the claims of an experiment in the order of its file, those that were dropped last.
    ///
    /// # Errors
    /// When the database refuses, or holds a claim that this program cannot read.
    pub async fn claims(&self, experiment: i64) -> Result<Vec<RegisteredClaim>, StoreError> {
        let rows: Vec<(String, f64, i64, Option<f64>)> = sqlx::query_as(
            "SELECT claim, registered_at, runs_ended, dropped_at FROM claims
             WHERE experiment_id = ? ORDER BY dropped_at IS NOT NULL, place, registered_at",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let read = |(claim, registered_at, runs_ended, dropped_at): (String, _, i64, _)| {
            Ok(RegisteredClaim {
                claim: serde_json::from_str(&claim)
                    .map_err(|error| content("claims.claim", error))?,
                registered_at,
                runs_ended: runs_ended as u64,
                dropped_at,
            })
        };
        rows.into_iter().map(read).collect()
    }
}
