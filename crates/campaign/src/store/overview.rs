//! Reading beside a writer: what somebody who watches asks for again and again.

use super::{Store, StoreError, records};
use experiment::event::Measurement;
use experiment::run::RunId;
use serde::Serialize;

/// An experiment in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct Overview {
    /// Its name.
    pub name: String,
    /// When it was first planned, in seconds since the Unix epoch.
    pub created_at: f64,
    /// When it was last planned.
    pub updated_at: f64,
    /// Runs that its file asks for.
    pub runs: i64,
    /// Of these, the ones that a process trains.
    pub running: i64,
    /// Of these, the ones that finished.
    pub finished: i64,
    /// Of these, the ones that diverged, which is a result too.
    pub diverged: i64,
    /// Of these, the ones that were given up.
    pub cancelled: i64,
    /// Of these, the ones that ended in any other way.
    pub failed: i64,
    /// The lowest held-out loss of those that finished with the most tokens, nats per token: losses of
    /// different D are not compared.
    pub lowest_loss: Option<f64>,
    /// Training FLOPs spent, convention `exact`.
    pub flops: Option<f64>,
    /// Runs that other people trained.
    pub imported: i64,
}

/// What changes of a run while it is carried out.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct Progress {
    /// The run.
    pub id: String,
    /// Where it stands.
    pub state: String,
    /// How it, or its last attempt, ended.
    pub outcome: Option<String>,
    /// What was said about that.
    pub message: Option<String>,
    /// Failures answered by a retry.
    pub retries: i64,
    /// Last held-out loss, nats per token.
    pub loss: Option<f64>,
    /// The same in bits per UTF-8 byte.
    pub bits_per_byte: Option<f64>,
    /// Training FLOPs spent, convention `exact`.
    pub flops: Option<f64>,
    /// Tokens per concept in evaluation.
    pub realised_ratio: Option<f64>,
    /// Loss without concepts minus with, nats per token.
    pub concept_gain: Option<f64>,
    /// Loss with random boundaries minus with learned ones, nats per token.
    pub boundary_gain: Option<f64>,
    /// Sequence number of the last journal line taken in.
    pub last_seq: Option<i64>,
}

impl Store {
    /// Returns a number that changes whenever somebody else has written, and with every new copy where one is
    /// read.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn version(&self) -> Result<i64, StoreError> {
        if let Some(copy) = &self.copy {
            return Ok(copy.number);
        }
        let (version,) = sqlx::query_as("PRAGMA data_version")
            .fetch_one(&self.pool)
            .await?;
        Ok(version)
    }

    /// Lists all experiments in numbers, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn overviews(&self) -> Result<Vec<Overview>, StoreError> {
        let rows = sqlx::query_as(
            "WITH largest AS (
                 SELECT experiment_id, MAX(tokens) AS tokens FROM experiment_runs
                 JOIN runs ON runs.id = run_id
                 WHERE wanted = 1 AND state = 'ended' AND outcome = 'finished'
                     AND loss IS NOT NULL
                 GROUP BY experiment_id)
             SELECT name, experiments.created_at AS created_at, updated_at,
                 COUNT(runs.id) AS runs,
                 COUNT(*) FILTER (WHERE runs.state = 'running') AS running,
                 COUNT(*) FILTER (WHERE runs.state = 'ended' AND runs.outcome = 'finished')
                     AS finished,
                 COUNT(*) FILTER (WHERE runs.state = 'ended' AND runs.outcome = 'diverged')
                     AS diverged,
                 COUNT(*) FILTER (WHERE runs.state = 'ended' AND runs.outcome = 'cancelled')
                     AS cancelled,
                 COUNT(*) FILTER (WHERE runs.state = 'ended'
                     AND runs.outcome NOT IN ('finished', 'diverged', 'cancelled')) AS failed,
                 MIN(runs.loss) FILTER (WHERE runs.state = 'ended' AND runs.outcome = 'finished'
                     AND runs.tokens = largest.tokens) AS lowest_loss,
                 -- A branch counts its trunk's too, as a model that was trained does.
                 SUM(runs.flops - COALESCE(trunks.flops, 0)) AS flops,
                 (SELECT COUNT(*) FROM imported_runs
                  WHERE imported_runs.experiment_id = experiments.id) AS imported
             FROM experiments
             LEFT JOIN largest ON largest.experiment_id = experiments.id
             LEFT JOIN experiment_runs
                 ON experiment_runs.experiment_id = experiments.id AND wanted = 1
             LEFT JOIN runs ON runs.id = run_id
             LEFT JOIN runs AS trunks ON trunks.id = start_run
             GROUP BY experiments.id ORDER BY name",
        );
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// Reads an experiment's file as it was given; empty where it has none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn config(&self, experiment: i64) -> Result<String, StoreError> {
        let (config,) = sqlx::query_as("SELECT config FROM experiments WHERE id = ?")
            .bind(experiment)
            .fetch_one(&self.pool)
            .await?;
        Ok(config)
    }

    /// Says how far every run is.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn progress(&self) -> Result<Vec<Progress>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT id, state, outcome, message, retries, loss, bits_per_byte, flops,
                 realised_ratio, concept_gain, boundary_gain, last_seq
             FROM runs",
        );
        Ok(rows.fetch_all(&self.pool).await?)
    }

    /// Reads a run's measurements after a step, in order of step.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn measurements_after(
        &self,
        run: &RunId,
        step: u64,
    ) -> Result<Vec<Measurement>, StoreError> {
        let rows: Vec<records::MeasurementRow> = sqlx::query_as(
            "SELECT * FROM measurements WHERE run_id = ? AND step > ? ORDER BY step",
        )
        .bind(&run.0)
        .bind(i64::try_from(step).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Measurement::try_from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PlannedRun;
    use crate::store::tests::{attempt, ended, experiment, planned};
    use experiment::event::{Event, Line};
    use experiment::run::{RunOutcome, Start};

    #[tokio::test]
    async fn a_reader_sees_what_a_writer_writes_and_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let missing = Store::open_to_read(folder.path()).await;
        assert!(matches!(missing, Err(StoreError::Missing { .. })));
        let writer = Store::create(folder.path()).await.expect("made");
        let reader = Store::open_to_read(folder.path()).await.expect("open");
        let before = reader.version().await.expect("read");
        assert_eq!(reader.version().await.expect("read"), before);

        let planned: Vec<PlannedRun> = (0..3).map(planned).collect();
        let id = writer.plan(&experiment(), &planned, 7.0).await;
        let id = id.expect("planned");
        let row = |step: u64| {
            Event::Measured(Measurement {
                step,
                validation_loss: Some(3.0 / step as f64),
                ..Measurement::default()
            })
        };
        let lines = [Line::new(0, 1.0, row(1)), Line::new(1, 2.0, row(2))];
        let run = &planned[0].id;
        writer.ingest(run, &lines).await.expect("taken in");

        assert_ne!(reader.version().await.expect("read"), before);
        let overviews = reader.overviews().await.expect("read");
        let [overview] = overviews.as_slice() else {
            panic!("{overviews:?}");
        };
        assert_eq!((overview.runs, overview.finished), (3, 0));
        assert_eq!((overview.updated_at, overview.lowest_loss), (7.0, None));
        assert_eq!(reader.config(id).await.expect("read"), "grid: {}");
        let progress = reader.progress().await.expect("read");
        let loss = |run: &Progress| run.loss;
        let mut losses: Vec<_> = progress.iter().filter_map(loss).collect();
        assert_eq!(
            (progress.len(), losses.pop(), losses.pop()),
            (3, Some(1.5), None)
        );
        let rows = reader.measurements_after(run, 1).await.expect("read");
        assert_eq!((rows.len(), rows[0].step), (1, 2));
        assert!(reader.experiment_without_file("x", 1.0).await.is_err());

        // What a branch goes on from was spent once.
        let mut branch = PlannedRun {
            id: RunId("branch".into()),
            ..planned[1].clone()
        };
        let model = branch.work.model_mut().expect("a model");
        model.execution.start = Some(Start {
            run: run.clone(),
            step: 2,
        });
        let both = [planned[0].clone(), branch];
        writer
            .plan(&experiment(), &both, 8.0)
            .await
            .expect("planned");
        let spent = |run, flops| {
            let row = Measurement {
                step: 3,
                flops: Some(flops),
                ..Measurement::default()
            };
            let lines = [Line::new(2, 3.0, Event::Measured(row))];
            let writer = &writer;
            async move { writer.ingest(run, &lines).await.expect("taken in") }
        };
        spent(run, 40.0).await;
        spent(&both[1].id, 60.0).await;
        let overviews = reader.overviews().await.expect("read");
        assert_eq!(overviews[0].flops, Some(60.0));
    }

    #[tokio::test]
    async fn the_lowest_loss_is_of_the_largest_d() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::create(folder.path()).await.expect("made");
        let mut runs: Vec<PlannedRun> = (0..3).map(planned).collect();
        for run in &mut runs[..2] {
            run.work.model_mut().expect("a model").recipe.tokens *= 2;
        }
        store
            .plan(&experiment(), &runs, 1.0)
            .await
            .expect("planned");
        for (run, loss) in runs.iter().zip([2.5, 2.4, 2.0]) {
            let number = store.start_attempt(&run.id, &attempt()).await;
            let row = Event::Measured(Measurement {
                step: 1,
                validation_loss: Some(loss),
                ..Measurement::default()
            });
            store
                .ingest(&run.id, &[Line::new(0, 1.0, row)])
                .await
                .expect("taken in");
            store
                .end_attempt(
                    &run.id,
                    number.expect("begun"),
                    &ended(RunOutcome::Finished),
                )
                .await
                .expect("ended");
        }
        let overviews = store.overviews().await.expect("read");
        assert_eq!(overviews[0].lowest_loss, Some(2.4));
    }
}
