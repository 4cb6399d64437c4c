//! Writing beside others that write.

use super::error::is_busy;
use super::{Store, StoreError, locks};
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, Transaction};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks at whether anybody still wants to wait.
const LOOK: Duration = Duration::from_millis(200);

/// What is done where somebody else writes for longer than a statement waits: wait on.
#[derive(Clone)]
pub struct Patience {
    /// Is told whose end is waited for, again and again.
    pub waits: Arc<dyn Fn(&str) + Send + Sync>,
    /// Says whether waiting has an end.
    pub is_over: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patience")
    }
}

impl Store {
    /// Has whatever is written wait for others that write as long as it takes, where an error would end
    /// work that cannot be taken up again.
    pub fn patient(self, patience: Patience) -> Self {
        Self {
            patience: Some(patience),
            ..self
        }
    }

    /// Begins to write: waits for others that write, as long as the busy timeout says, or with
    /// [`Patience`] until they end.
    ///
    /// A transaction that reads first and writes then would be refused at once where another has
    /// written meanwhile (<https://sqlite.org/rescode.html#busy_snapshot>).
    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        let locked = |holder| StoreError::Locked {
            path: self.path.clone(),
            holder,
        };
        loop {
            let begun = self.pool.begin_with("BEGIN IMMEDIATE");
            let begun = match &self.patience {
                None => begun.await,
                Some(patience) => tokio::select! {
                    begun = begun => begun,
                    () = patience.end() => return Err(locked(locks::holder(&self.path))),
                },
            };
            match begun {
                Err(error) if is_busy(&error) => {
                    let holder = locks::holder(&self.path);
                    match &self.patience {
                        Some(patience) => (patience.waits)(&holder),
                        None => return Err(locked(holder)),
                    }
                }
                begun => return Ok(begun?),
            }
        }
    }

    /// Carries out one statement that writes.
    pub(super) async fn write(
        &self,
        statement: Query<'_, Sqlite, SqliteArguments>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        statement.execute(&mut *transaction).await?;
        Ok(transaction.commit().await?)
    }
}

impl Patience {
    async fn end(&self) {
        while !(self.is_over)() {
            tokio::time::sleep(LOOK).await;
        }
    }
}
