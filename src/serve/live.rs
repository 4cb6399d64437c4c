//! What changes, as it changes: server-sent events.
//!
//! Every second a beat says which version each database has. What a page has missed, for whatever
//! reason, it learns from that, and asks again.

use super::Context;
use super::places::{Place, Places};
use super::problem::Problem;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::Event;
use campaign::cluster::workload::Workload;
use campaign::store::{Progress, Store, StoreError};
use experiment::clock::now;
use experiment::lock::Lock;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

/// Time between two looks at the databases.
const PERIOD: Duration = Duration::from_secs(1);

/// Messages a slow page may fall behind; what it misses it asks for.
const BEHIND: usize = 64;

/// What a page is told.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Message<'a> {
    /// The server is there.
    Beat {
        /// When it started: versions count from there.
        since: f64,
        /// Version of every database that can be read.
        versions: &'a BTreeMap<String, i64>,
        /// The places on which an orchestrator works, as far as can be told.
        at_work: Vec<String>,
    },
    /// A database has changed.
    Changed {
        place: &'a str,
        /// Version before and after.
        from: i64,
        to: i64,
        /// Whether experiments were planned anew, so that other runs may belong to them.
        planned: bool,
        /// The runs that are not what they were.
        runs: Vec<&'a Progress>,
    },
}

/// The stream of what changes.
#[derive(Clone)]
pub(super) struct Live {
    messages: broadcast::Sender<Arc<str>>,
}

/// What was last seen of a database.
struct Seen {
    version: i64,
    /// When experiments were planned, by name.
    planned: Vec<(String, f64)>,
    runs: HashMap<String, Progress>,
}

impl Live {
    /// Watches the databases for as long as the runtime lives.
    pub(super) fn watch(places: Arc<Places>) -> Self {
        let (messages, _) = broadcast::channel(BEHIND);
        let live = Self { messages };
        tokio::spawn(live.clone().look_again_and_again(places));
        live
    }

    async fn look_again_and_again(self, places: Arc<Places>) {
        let since = now();
        let mut seen: HashMap<String, Seen> = HashMap::new();
        loop {
            tokio::time::sleep(PERIOD).await;
            if self.messages.receiver_count() == 0 {
                continue;
            }
            let mut versions = BTreeMap::new();
            let mut at_work = Vec::new();
            for place in places.list() {
                let has_leader = !matches!(Lock::holder(&place.folder), Ok(None));
                if has_leader || Workload::read(&place.folder).trained() > 0 {
                    at_work.push(place.key.clone());
                }
                match self.look(&places, &place, seen.get(&place.key)).await {
                    Ok(Some(new)) => {
                        versions.insert(place.key.clone(), new.version);
                        seen.insert(place.key, new);
                    }
                    Ok(None) => {
                        let known = seen.get(&place.key).map(|seen| seen.version);
                        versions.extend(known.map(|version| (place.key, version)));
                    }
                    // Whoever asks for it is told why.
                    Err(error) => tracing::debug!(place = %place.key, %error, "cannot be read"),
                }
            }
            self.say(&Message::Beat {
                since,
                versions: &versions,
                at_work,
            });
        }
    }

    /// Looks at a database and tells what has changed; `None` when nothing has.
    async fn look(
        &self,
        places: &Places,
        place: &Place,
        before: Option<&Seen>,
    ) -> Result<Option<Seen>, StoreError> {
        let store = places.store(place).await?;
        let version = store.version().await?;
        if before.is_some_and(|before| before.version == version) {
            return Ok(None);
        }
        let now = see(&store, version).await?;
        if let Some(before) = before {
            let changed = |run: &&Progress| before.runs.get(&run.id) != Some(*run);
            self.say(&Message::Changed {
                place: &place.key,
                from: before.version,
                to: version,
                planned: now.planned != before.planned,
                runs: now.runs.values().filter(changed).collect(),
            });
        }
        Ok(Some(now))
    }

    fn say(&self, message: &Message) {
        let text = serde_json::to_string(message)
            .unwrap_or_else(|error| unreachable!("a message is plain data: {error}"));
        // Nobody listening is no fault.
        let _ = self.messages.send(text.into());
    }
}

async fn see(store: &Store, version: i64) -> Result<Seen, StoreError> {
    let planned = store.overviews().await?.into_iter();
    let runs = store.progress().await?.into_iter();
    Ok(Seen {
        version,
        planned: planned
            .map(|experiment| (experiment.name, experiment.updated_at))
            .collect(),
        runs: runs.map(|run| (run.id.clone(), run)).collect(),
    })
}

/// Answers with the stream.
pub(super) async fn stream(
    State(context): State<Context>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = context.followers.try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many pages follow what changes: close some of them",
        )
    })?;
    let messages = BroadcastStream::new(context.live.messages.subscribe());
    let events = messages.filter_map(|message| message.ok());
    Ok(Sse::new(events.map(move |text| {
        // Kept for as long as the stream.
        let _ = &place;
        Ok(Event::default().data(text))
    })))
}
