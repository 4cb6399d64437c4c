//! Runs from their folders alone.

use super::{PlannedRun, Store, StoreError, ingest, is_validated, planned};
use experiment::event::{Event, Line};
use experiment::run::{RunId, RunOutcome};
use sqlx::SqliteConnection;

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

/// A run as its folder tells of it.
#[derive(Clone, Debug)]
pub struct FoundRun {
    /// What it is.
    pub planned: PlannedRun,
    /// Its journal.
    pub lines: Vec<Line>,
}

impl Store {
    /// Records runs from their folders alone, with the attempts that their journals tell of; all of
    /// them or none. `log` gives the path of an attempt's log.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn rebuild_runs(
        &self,
        runs: &[FoundRun],
        log: impl Fn(&RunId, usize) -> String,
        now: f64,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for run in runs {
            rebuild_run(&mut transaction, run, &log, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

async fn rebuild_run(
    connection: &mut SqliteConnection,
    found: &FoundRun,
    log: &impl Fn(&RunId, usize) -> String,
    now: f64,
) -> Result<(), StoreError> {
    let run = &found.planned;
    let attempts = attempts(&found.lines);
    let created_at = attempts.first().map_or(now, |attempt| attempt.started_at);
    planned::insert_runs(connection, std::slice::from_ref(run), created_at).await?;
    for (number, attempt) in (1_usize..).zip(&attempts) {
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
        .bind(run.work.threads() as i64)
        .bind(&attempt.version)
        .bind(attempt.started_at)
        .bind(log(&run.id, number))
        .bind(run.work.micro_batch().map(|rows| rows as i64))
        .bind(attempt.ended_at)
        .bind(attempt.outcome.name())
        .bind(&attempt.message)
        .execute(&mut *connection)
        .await?;
    }
    ingest::take_in(connection, &run.id, &found.lines).await?;
    let Some(last) = attempts.last() else {
        return Ok(());
    };
    let steps = run.work.steps();
    let is_result = match last.outcome {
        RunOutcome::Finished => is_validated(connection, &run.id, steps).await?,
        outcome => outcome.is_result(),
    };
    sqlx::query("UPDATE runs SET state = ?, outcome = ?, message = ?, ended_at = ? WHERE id = ?")
        .bind(if is_result { "ended" } else { "pending" })
        .bind(last.outcome.name())
        .bind(&last.message)
        .bind(last.ended_at)
        .bind(&run.id.0)
        .execute(connection)
        .await?;
    Ok(())
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
            Event::WithoutResult { message } => {
                (RunOutcome::FinishedWithoutResult, Some(message.clone()))
            }
            Event::Failed { message } => (RunOutcome::Crashed, Some(message.clone())),
            _ => continue,
        };
        (attempt.outcome, attempt.message) = (outcome, message);
    }
    attempts
}
