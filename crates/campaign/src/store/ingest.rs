//! Journal lines become rows.

use super::{Store, StoreError, content, scores};
use experiment::event::{Event, Line, Measurement};
use experiment::external::Quantities;
use experiment::run::RunId;
use sqlx::{AssertSqlSafe, SqliteConnection};

/// Rows that one statement inserts: enough that its parts cost more than the whole.
const ROWS: usize = 500;

impl Store {
    /// Takes in journal lines of a run; lines taken in before change nothing.
    ///
    /// # Errors
    /// When the database refuses; nothing of the batch is then kept.
    pub async fn ingest(&self, run: &RunId, lines: &[Line]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        take_in(&mut transaction, run, lines).await?;
        transaction.commit().await?;
        Ok(())
    }
}

/// Takes in journal lines of a run that were not taken in before.
pub(super) async fn take_in(
    connection: &mut SqliteConnection,
    run: &RunId,
    lines: &[Line],
) -> Result<(), StoreError> {
    let (last,): (Option<i64>,) = sqlx::query_as("SELECT last_seq FROM runs WHERE id = ?")
        .bind(&run.0)
        .fetch_one(&mut *connection)
        .await?;
    let is_new = |line: &&Line| last.is_none_or(|last| line.seq as i64 > last);
    let new: Vec<&Line> = lines.iter().filter(is_new).collect();
    let Some(newest) = new.iter().map(|line| line.seq as i64).max() else {
        return Ok(());
    };
    let rows: Vec<&Measurement> = new
        .iter()
        .filter_map(|line| match &line.event {
            Event::Measured(row) => Some(row),
            _ => None,
        })
        .collect();
    insert(connection, run, &rows).await?;
    for line in &new {
        match &line.event {
            Event::Reported(said) => report(connection, run, said).await?,
            Event::Scored(score) => scores::keep_score(connection, run, score).await?,
            Event::Read(text) => scores::keep_text(connection, run, text).await?,
            _ => {}
        }
    }
    sqlx::query(
        "UPDATE runs SET last_seq = ?2,
             (loss, bits_per_byte, realised_ratio, concept_gain, boundary_gain) =
             (SELECT validation_loss, bits_per_byte, realised_thresholded, concept_gain,
                     boundary_gain
              FROM measurements WHERE run_id = ?1 AND validation_loss IS NOT NULL
              ORDER BY step DESC LIMIT 1),
             (flops, realised_sampled, realised_training) =
             (SELECT flops, realised_sampled, realised_training FROM measurements WHERE run_id = ?1
              ORDER BY step DESC LIMIT 1)
         WHERE id = ?1",
    )
    .bind(&run.0)
    .bind(newest)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes note of what a trainer says of its model and its training.
async fn report(
    connection: &mut SqliteConnection,
    run: &RunId,
    said: &Quantities,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE runs SET
             params = COALESCE(?2, params), tokens = COALESCE(?3, tokens),
             planned_flops = COALESCE(?4, planned_flops),
             compression_ratio = COALESCE(?5, compression_ratio),
             concept_share = COALESCE(?6, concept_share),
             kind = CASE WHEN COALESCE(?6, concept_share) > 0 THEN 'dlcm' ELSE 'dense' END
         WHERE id = ?1",
    )
    .bind(&run.0)
    .bind(said.params.map(|n| n.round() as i64))
    .bind(said.tokens.map(|n| n.round() as i64))
    .bind(said.flops)
    .bind(said.compression_ratio)
    .bind(said.concept_share)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what else was measured as JSON; nothing where that is all.
fn metrics(row: &Measurement) -> Result<Option<String>, StoreError> {
    if row.metrics.is_empty() {
        return Ok(None);
    }
    let json = serde_json::to_string(&row.metrics);
    json.map(Some)
        .map_err(|error| content("a measurement", error))
}

/// Inserts measurements; a step measured again after a resume replaces its row.
async fn insert(
    connection: &mut SqliteConnection,
    run: &RunId,
    rows: &[&Measurement],
) -> Result<(), StoreError> {
    for rows in rows.chunks(ROWS) {
        // Parameters without numbers: to look up the numbers of so many takes longest of all.
        let values =
            vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
        let statement = format!(
            "INSERT OR REPLACE INTO measurements
                 (run_id, step, tokens, flops, loss, validation_loss, bits_per_byte,
                  realised_sampled, realised_training, realised_thresholded, concept_gain, boundary_gain,
                  auxiliary_loss, gradient_norm, rate_share, tokens_per_second, metrics)
             SELECT ?, * FROM (VALUES {values})"
        );
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(&run.0);
        for row in rows {
            query = query
                .bind(row.step as i64)
                .bind(row.tokens.map(|tokens| tokens as i64))
                .bind(row.flops)
                .bind(row.loss)
                .bind(row.validation_loss)
                .bind(row.bits_per_byte)
                .bind(row.realised_sampled)
                .bind(row.realised_training)
                .bind(row.realised_thresholded)
                .bind(row.concept_gain)
                .bind(row.boundary_gain)
                .bind(row.auxiliary_loss)
                .bind(row.gradient_norm)
                .bind(row.rate_share)
                .bind(row.tokens_per_second)
                .bind(metrics(row)?);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
