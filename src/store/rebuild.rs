//! Runs from their folders alone.

use super::{PlannedRun, Store, StoreError, planned};
use crate::event::{Event, Line};
use crate::run::RunOutcome;

/// An attempt as far as a journal tells of it.
struct Told {
    pid: u32,
    host: String,
    device: String,
    version: String,
    started_at: f64,
    ended_at: f64,
    outcome: RunOutcome,
    message: Option<String>,
}

impl Store {
    /// Records a run from its journal alone, with the attempts that it tells of; `log` gives the
    /// path of an attempt's log.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn rebuild_run(
        &self,
        run: &PlannedRun,
        lines: &[Line],
        log: impl Fn(usize) -> String,
        now: f64,
    ) -> Result<(), StoreError> {
        let attempts = attempts(lines);
        let mut transaction = self.pool.begin().await?;
        let created_at = attempts.first().map_or(now, |attempt| attempt.started_at);
        planned::insert_runs(&mut transaction, std::slice::from_ref(run), created_at).await?;
        for (number, attempt) in (1..).zip(&attempts) {
            sqlx::query(
                "INSERT INTO attempts
                     (run_id, number, pid, host, device, threads, program_version, started_at,
                      log_path, micro_batch, ended_at, outcome, message)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&run.id.0)
            .bind(number as i64)
            .bind(attempt.pid)
            .bind(&attempt.host)
            .bind(&attempt.device)
            .bind(run.spec.execution.threads as i64)
            .bind(&attempt.version)
            .bind(attempt.started_at)
            .bind(log(number))
            .bind(run.spec.execution.micro_batch as i64)
            .bind(attempt.ended_at)
            .bind(attempt.outcome.name())
            .bind(&attempt.message)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        self.ingest(&run.id, lines).await?;
        let Some(last) = attempts.last() else {
            return Ok(());
        };
        let steps = run.spec.recipe.steps(run.spec.architecture.seq_len());
        let is_result = match last.outcome {
            RunOutcome::Finished => self.is_validated(&run.id, steps).await?,
            outcome => outcome.is_result(),
        };
        sqlx::query(
            "UPDATE runs SET state = ?, outcome = ?, message = ?, ended_at = ? WHERE id = ?",
        )
        .bind(if is_result { "ended" } else { "pending" })
        .bind(last.outcome.name())
        .bind(&last.message)
        .bind(last.ended_at)
        .bind(&run.id.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

fn attempts(lines: &[Line]) -> Vec<Told> {
    let mut attempts: Vec<Told> = Vec::new();
    for line in lines {
        if let Event::Started {
            pid,
            host,
            device,
            version,
            ..
        } = &line.event
        {
            attempts.push(Told {
                pid: *pid,
                host: host.clone(),
                device: device.clone(),
                version: version.clone(),
                started_at: line.time,
                ended_at: line.time,
                outcome: RunOutcome::Interrupted,
                message: Some("its journal does not say how it ended".into()),
            });
            continue;
        }
        let Some(attempt) = attempts.last_mut() else {
            continue;
        };
        attempt.ended_at = line.time;
        let (outcome, message) = match &line.event {
            Event::Finished => (RunOutcome::Finished, None),
            Event::Diverged { .. } => (RunOutcome::Diverged, None),
            Event::Interrupted { .. } => (RunOutcome::Interrupted, None),
            Event::Failed { message } => (RunOutcome::Crashed, Some(message.clone())),
            _ => continue,
        };
        (attempt.outcome, attempt.message) = (outcome, message);
    }
    attempts
}
