//! What trained runs made of texts.

use super::{Store, StoreError, content};
use experiment::run::RunId;
use serde::{Deserialize, Serialize};

/// What a trained run made of some texts.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadingRecord {
    /// The run.
    pub run: RunId,
    /// The run that it was compared with by position.
    pub against: Option<RunId>,
    /// The texts.
    pub contents: Vec<ReadContent>,
    /// Losses by position inside a concept, over all texts; empty where they were not asked for.
    pub positions: Vec<ReadPosition>,
}

/// A text in a few numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadContent {
    /// What it is called.
    pub label: String,
    /// Its tokens.
    pub tokens: usize,
    /// Tokens per concept; `None` for a dense model.
    pub tokens_per_concept: Option<f64>,
    /// Mean loss, nats per token.
    pub loss: Option<f64>,
}

/// The tokens at one position inside their concepts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadPosition {
    /// The position: 0 for the token that starts a concept; the last stands for all after it too.
    pub position: usize,
    /// Tokens there.
    pub tokens: usize,
    /// Their mean loss, nats per token.
    pub loss: Option<f64>,
    /// What the run gains over the other one there, nats per token.
    pub gain: Option<f64>,
}

impl ReadingRecord {
    /// Lists what was found by position as numbers by name: `position_0.loss`, `position_0.gain` and so on.
    pub fn numbers(&self) -> impl Iterator<Item = (String, f64)> {
        self.positions.iter().flat_map(|at| {
            let numbers = [("loss", at.loss), ("gain", at.gain)].into_iter();
            numbers.filter_map(|(name, value)| {
                Some((format!("position_{}.{name}", at.position), value?))
            })
        })
    }
}

impl Store {
    /// Keeps a reading in place of the run's one before.
    ///
    /// # Errors
    /// When the database refuses, or does not know the run.
    pub async fn save_reading(&self, reading: &ReadingRecord, now: f64) -> Result<(), StoreError> {
        let wrong = |error| content("a reading", error);
        let insert = sqlx::query(
            "INSERT INTO readings (run_id, against, contents, positions, created_at)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (run_id) DO UPDATE SET
                 against = excluded.against, contents = excluded.contents,
                 positions = excluded.positions, created_at = excluded.created_at",
        )
        .bind(&reading.run.0)
        .bind(reading.against.as_ref().map(|run| &run.0))
        .bind(serde_json::to_string(&reading.contents).map_err(wrong)?)
        .bind(serde_json::to_string(&reading.positions).map_err(wrong)?)
        .bind(now);
        self.write(insert).await
    }

    /// Reads what is kept for the runs of an experiment, in plan order.
    ///
    /// # Errors
    /// When the database refuses or holds a reading this program cannot read.
    pub async fn readings(&self, experiment: i64) -> Result<Vec<ReadingRecord>, StoreError> {
        let rows: Vec<(String, Option<String>, String, String)> = sqlx::query_as(
            "SELECT run_id, against, contents, positions FROM readings
             JOIN experiment_runs USING (run_id)
             WHERE experiment_id = ? AND wanted = 1 ORDER BY position",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let wrong = |error: serde_json::Error| content("readings", error);
        let read =
            |(run, against, contents, positions): (String, Option<String>, String, String)| {
                Ok(ReadingRecord {
                    run: RunId(run),
                    against: against.map(RunId),
                    contents: serde_json::from_str(&contents).map_err(wrong)?,
                    positions: serde_json::from_str(&positions).map_err(wrong)?,
                })
            };
        rows.into_iter().map(read).collect()
    }
}
