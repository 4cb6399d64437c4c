//! What trained runs answer to tasks, and make of texts.

use super::{Store, StoreError, content};
use experiment::run::RunId;
use experiment::tasks::{Kind, Mean, Score, Scores, TextScore};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// Keeps a score in place of the one before.
pub(super) async fn keep_score(
    connection: &mut SqliteConnection,
    run: &RunId,
    score: &Score,
) -> Result<(), StoreError> {
    let mean = |mean: Option<Mean>| mean.map(|mean| mean.mean);
    let error = |mean: Option<Mean>| mean.and_then(|mean| mean.standard_error);
    sqlx::query(
        "INSERT OR REPLACE INTO scores
             (run_id, task, kind, digest, items, truncated, bits_per_byte, bits_per_byte_error, accuracy,
              accuracy_error, accuracy_per_byte, accuracy_per_byte_error, share, share_error, chance, at_chance)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&run.0)
    .bind(&score.task)
    .bind(score.kind.name())
    .bind(&score.digest)
    .bind(score.items as i64)
    .bind(score.truncated as i64)
    .bind(score.bits_per_byte.mean)
    .bind(score.bits_per_byte.standard_error)
    .bind(score.accuracy.mean)
    .bind(score.accuracy.standard_error)
    .bind(mean(score.accuracy_per_byte))
    .bind(error(score.accuracy_per_byte))
    .bind(mean(score.share))
    .bind(error(score.share))
    .bind(score.chance)
    .bind(score.at_chance)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps what a run makes of a text in place of what was kept before.
pub(super) async fn keep_text(
    connection: &mut SqliteConnection,
    run: &RunId,
    text: &TextScore,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT OR REPLACE INTO texts
             (run_id, text, digest, tokens, bytes_per_token, loss, bits_per_byte, bits_per_byte_error,
              realised_ratio)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&run.0)
    .bind(&text.text)
    .bind(&text.digest)
    .bind(text.tokens as i64)
    .bind(text.bytes_per_token)
    .bind(text.loss)
    .bind(text.bits_per_byte.mean)
    .bind(text.bits_per_byte.standard_error)
    .bind(text.realised_ratio)
    .execute(connection)
    .await?;
    Ok(())
}

#[derive(sqlx::FromRow)]
struct ScoreRow {
    run_id: String,
    task: String,
    kind: String,
    digest: String,
    items: i64,
    truncated: i64,
    bits_per_byte: f64,
    bits_per_byte_error: Option<f64>,
    accuracy: f64,
    accuracy_error: Option<f64>,
    accuracy_per_byte: Option<f64>,
    accuracy_per_byte_error: Option<f64>,
    share: Option<f64>,
    share_error: Option<f64>,
    chance: f64,
    at_chance: bool,
}

impl TryFrom<ScoreRow> for Score {
    type Error = StoreError;

    fn try_from(row: ScoreRow) -> Result<Self, StoreError> {
        let mean = |mean, standard_error| Mean {
            mean,
            standard_error,
        };
        Ok(Self {
            kind: Kind::from_name(&row.kind).ok_or_else(|| content("scores.kind", &row.kind))?,
            task: row.task,
            digest: row.digest,
            items: row.items as usize,
            truncated: row.truncated as usize,
            bits_per_byte: mean(row.bits_per_byte, row.bits_per_byte_error),
            accuracy: mean(row.accuracy, row.accuracy_error),
            accuracy_per_byte: (row.accuracy_per_byte)
                .map(|value| mean(value, row.accuracy_per_byte_error)),
            share: row.share.map(|value| mean(value, row.share_error)),
            chance: row.chance,
            at_chance: row.at_chance,
        })
    }
}

#[derive(sqlx::FromRow)]
struct TextRow {
    run_id: String,
    text: String,
    digest: String,
    tokens: i64,
    bytes_per_token: f64,
    loss: f64,
    bits_per_byte: f64,
    bits_per_byte_error: Option<f64>,
    realised_ratio: Option<f64>,
}

impl From<TextRow> for TextScore {
    fn from(row: TextRow) -> Self {
        Self {
            text: row.text,
            digest: row.digest,
            tokens: row.tokens as usize,
            bytes_per_token: row.bytes_per_token,
            loss: row.loss,
            bits_per_byte: Mean {
                mean: row.bits_per_byte,
                standard_error: row.bits_per_byte_error,
            },
            realised_ratio: row.realised_ratio,
        }
    }
}

impl Store {
    /// Reads what a run answers.
    ///
    /// # Errors
    /// When the database refuses, or holds a score this program cannot read.
    pub async fn scores_of(&self, run: &RunId) -> Result<Scores, StoreError> {
        let tasks: Vec<ScoreRow> =
            sqlx::query_as("SELECT * FROM scores WHERE run_id = ? ORDER BY task")
                .bind(&run.0)
                .fetch_all(&self.pool)
                .await?;
        let texts: Vec<TextRow> =
            sqlx::query_as("SELECT * FROM texts WHERE run_id = ? ORDER BY text")
                .bind(&run.0)
                .fetch_all(&self.pool)
                .await?;
        Ok(Scores {
            tasks: tasks
                .into_iter()
                .map(Score::try_from)
                .collect::<Result<_, _>>()?,
            texts: texts.into_iter().map(TextScore::from).collect(),
        })
    }

    /// Reads what the runs of an experiment answer, of those that were asked.
    ///
    /// # Errors
    /// When the database refuses, or holds a score this program cannot read.
    pub async fn scores(&self, experiment: i64) -> Result<BTreeMap<RunId, Scores>, StoreError> {
        let scores: Vec<ScoreRow> = sqlx::query_as(
            "SELECT scores.* FROM scores JOIN experiment_runs USING (run_id)
             WHERE experiment_id = ? AND wanted = 1 ORDER BY position, task",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let texts: Vec<TextRow> = sqlx::query_as(
            "SELECT texts.* FROM texts JOIN experiment_runs USING (run_id)
             WHERE experiment_id = ? AND wanted = 1 ORDER BY position, text",
        )
        .bind(experiment)
        .fetch_all(&self.pool)
        .await?;
        let mut all: BTreeMap<RunId, Scores> = BTreeMap::new();
        for mut row in scores {
            let run = RunId(std::mem::take(&mut row.run_id));
            all.entry(run).or_default().tasks.push(row.try_into()?);
        }
        for mut row in texts {
            let run = RunId(std::mem::take(&mut row.run_id));
            all.entry(run).or_default().texts.push(row.into());
        }
        Ok(all)
    }
}
