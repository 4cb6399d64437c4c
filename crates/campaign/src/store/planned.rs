//! What an experiment asks for becomes rows.

use super::{ExperimentRecord, PlannedRun, Store, StoreError, content};
use experiment::architecture::ModelKind;
use experiment::work::Work;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

/// Runs that one statement inserts: enough that its parts cost more than the whole.
const AT_ONCE: usize = 64;

impl Store {
    /// Records an experiment and its planned runs; runs known already keep what they have. A run
    /// stands after the one it goes on from.
    ///
    /// Runs of an earlier plan that are no longer asked for stay, marked as not wanted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn plan(
        &self,
        experiment: &ExperimentRecord,
        planned: &[PlannedRun],
        now: f64,
    ) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        let (id,): (i64,) = sqlx::query_as(
            "INSERT INTO experiments
                 (name, config, config_hash, program_version, git_commit, created_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET
                 config = excluded.config, config_hash = excluded.config_hash,
                 program_version = excluded.program_version, git_commit = excluded.git_commit,
                 updated_at = excluded.updated_at
             RETURNING id",
        )
        .bind(&experiment.name)
        .bind(&experiment.config)
        .bind(&experiment.config_hash)
        .bind(&experiment.program_version)
        .bind(&experiment.git_commit)
        .bind(now)
        .bind(now)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query("UPDATE experiment_runs SET wanted = 0 WHERE experiment_id = ?")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        for (position, runs) in (0..).step_by(AT_ONCE).zip(planned.chunks(AT_ONCE)) {
            insert_runs(&mut transaction, runs, now).await?;
            ask_for(&mut transaction, id, position, runs).await?;
        }
        transaction.commit().await?;
        Ok(id)
    }
}

/// Inserts runs; those that are known already keep what they have.
pub(super) async fn insert_runs(
    connection: &mut SqliteConnection,
    runs: &[PlannedRun],
    now: f64,
) -> Result<(), StoreError> {
    let specs: Vec<String> = texts(runs.iter().map(|run| &run.work))?;
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO runs
             (id, kind, spec, params, concept_share, compression_ratio, tokens, seed,
              planned_flops, created_at) ",
    );
    insert.push_values(runs.iter().zip(specs), |mut row, (run, spec)| {
        let model = Model::of(&run.work);
        row.push_bind(&run.id.0)
            .push_bind(model.kind.name())
            .push_bind(spec)
            .push_bind(model.params)
            .push_bind(model.concept_share)
            .push_bind(model.compression_ratio)
            .push_bind(run.work.tokens().map(|tokens| tokens as i64))
            .push_bind(run.work.seed() as i64)
            .push_bind(run.flops)
            .push_bind(now);
    });
    insert.push(" ON CONFLICT (id) DO UPDATE SET spec = excluded.spec WHERE spec <> excluded.spec");
    insert.build().execute(connection).await?;
    Ok(())
}

/// Has an experiment ask for runs, the first of which stands at `position` in its plan.
async fn ask_for(
    connection: &mut SqliteConnection,
    experiment: i64,
    position: usize,
    runs: &[PlannedRun],
) -> Result<(), StoreError> {
    let axes = texts(runs.iter().map(|run| &run.axes))?;
    let mut insert = QueryBuilder::<Sqlite>::new(
        "INSERT INTO experiment_runs (experiment_id, run_id, position, axes, part, start_run) ",
    );
    let rows = (position..).zip(runs).zip(axes);
    insert.push_values(rows, |mut row, ((position, run), axes)| {
        row.push_bind(experiment)
            .push_bind(&run.id.0)
            .push_bind(position as i64)
            .push_bind(axes)
            .push_bind(run.work.part(run.trial).name())
            .push_bind(run.work.start().map(|start| &start.run.0));
    });
    insert.push(
        " ON CONFLICT (experiment_id, run_id) DO UPDATE SET
             position = excluded.position, axes = excluded.axes, part = excluded.part,
             start_run = excluded.start_run, wanted = 1",
    );
    insert.build().execute(connection).await?;
    Ok(())
}

/// A run's model as its row says it.
struct Model {
    kind: ModelKind,
    params: Option<i64>,
    concept_share: f64,
    compression_ratio: f64,
}

impl Model {
    fn of(work: &Work) -> Self {
        match work {
            Work::Model(spec) => {
                let params = spec.architecture.params();
                Self {
                    kind: spec.architecture.kind(),
                    params: Some(params.non_embedding() as i64),
                    concept_share: params.concept_share(),
                    compression_ratio: spec.architecture.compression_ratio(),
                }
            }
            // A model without a share of concepts has none.
            Work::External(spec) => {
                let share = spec.declared.concept_share.unwrap_or(0.0);
                Self {
                    kind: if share > 0.0 {
                        ModelKind::Dlcm
                    } else {
                        ModelKind::Dense
                    },
                    params: spec.declared.params.map(|n| n as i64),
                    concept_share: share,
                    compression_ratio: spec.declared.compression_ratio.unwrap_or(1.0),
                }
            }
        }
    }
}

fn texts<T: serde::Serialize>(values: impl Iterator<Item = T>) -> Result<Vec<String>, StoreError> {
    let text = |value| serde_json::to_string(&value).map_err(|error| content("a plan", error));
    values.map(text).collect()
}
