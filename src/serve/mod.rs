//! A local web page over the results: what runs do, what they reached and what follows.
//!
//! ```text
//! results folders ─► Places ─► answers (JSON) ─► a page that is one program without a build step
//!                        └──► Live (server-sent events)
//! ```
//!
//! Owns the server, what it answers and who may ask. Reads databases beside whoever writes them. What
//! it changes, where that is allowed, it changes as the commands `cancel` and `retry` do. Refuses SQL,
//! training and printing.

mod assets;
mod change;
mod experiment;
mod files;
mod fit;
mod guard;
mod live;
mod places;
mod plain_file;
mod problem;
mod run;

use axum::Router;
use axum::routing::{get, post};
use guard::Guard;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use live::Live;
use places::Places;
pub use problem::{Problem, nothing};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};

/// Where to serve, and to whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// What whoever asks must know; `None` lets everybody in that asks for this machine by a local
    /// name.
    pub token: Option<String>,
}

/// What to serve.
#[derive(Debug)]
pub enum Subject {
    /// A page over results.
    Results {
        /// Results folders, or folders of them.
        folders: Vec<PathBuf>,
        /// Whether runs can be cancelled and tried again.
        allows_changes: bool,
    },
    /// Something else, which is guarded alike.
    Other(Router),
}

/// Time in which whoever connects sends the head of a request, and after an answer the next one.
const HEAD: Duration = Duration::from_secs(30);

/// Connections that are served at once: others wait until one of them ends.
const CONNECTIONS: usize = 256;

/// Pages that follow what changes: each keeps its connection.
const FOLLOWERS: usize = 64;

/// What can go wrong with the server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens there.
    #[error(
        "port {} of {} is in use: choose another with --port, or --port 0 for a free one",
        address.port(), address.ip()
    )]
    InUse {
        /// Where.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Whoever can reach the address could read everything.
    #[error("{address} can be reached from other machines: serving there needs a token")]
    Open {
        /// Where.
        address: SocketAddr,
    },
}

/// A server that listens.
pub struct Server {
    listener: TcpListener,
    app: Router,
    address: SocketAddr,
}

/// What all answers are made of.
#[derive(Clone)]
struct Context {
    places: Arc<Places>,
    live: Live,
    /// Fits take all cores: one at a time.
    fitting: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    allows_changes: bool,
    /// Held by whoever changes something.
    changing: Arc<Mutex<()>>,
}

impl Server {
    /// Listens, and takes requests once it runs.
    ///
    /// # Errors
    /// When the address is taken, cannot be used, or is open to others without a token.
    pub async fn listen(options: Options, subject: Subject) -> Result<Self, ServeError> {
        let address = options.address;
        if options.token.is_none() && !address.ip().is_loopback() {
            return Err(ServeError::Open { address });
        }
        let failed = |source: std::io::Error| match source.kind() {
            ErrorKind::AddrInUse => ServeError::InUse { address },
            _ => ServeError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let app = match subject {
            Subject::Other(routes) => routes,
            Subject::Results {
                folders,
                allows_changes,
            } => {
                let places = Arc::new(Places::new(folders));
                routes(Context {
                    live: Live::watch(places.clone()),
                    places,
                    fitting: Arc::new(Semaphore::new(1)),
                    followers: Arc::new(Semaphore::new(FOLLOWERS)),
                    allows_changes,
                    changing: Arc::default(),
                })
            }
        };
        let guard = Arc::new(Guard::new(address.port(), options.token));
        Ok(Self {
            listener,
            app: app.layer(axum::middleware::from_fn_with_state(guard, guard::pass)),
            address,
        })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is done; open streams end with it.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = self.accept_all() => {}
            () = stop => {}
        }
    }

    /// Takes connections without end.
    async fn accept_all(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else {
                return;
            };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let app = self.app.clone();
                    tokio::spawn(async move {
                        serve_one(stream, app).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // As when no files are left: some will be closed.
                    tracing::debug!(%error, "a connection was not taken");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// Answers the requests of a connection until it ends.
async fn serve_one(stream: TcpStream, app: Router) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let service = TowerToHyperService::new(app);
    let served = server.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection broke");
    }
}

fn routes(context: Context) -> Router {
    let experiment = "/api/experiments/{place}/{name}";
    let run = "/api/runs/{place}/{id}";
    Router::new()
        .route("/api/experiments", get(experiment::list))
        .route(experiment, get(experiment::show))
        .route(
            &format!("{experiment}/fit"),
            get(fit::stored).post(fit::answer),
        )
        .route(
            &format!("{experiment}/figures/{{file}}"),
            get(files::figure),
        )
        .route(&format!("{experiment}/retry"), post(change::retry_all))
        .route(&format!("{experiment}/{{file}}"), get(files::download))
        .route(run, get(run::show))
        .route(&format!("{run}/measurements"), get(run::measurements))
        .route(&format!("{run}/cancel"), post(change::cancel))
        .route(&format!("{run}/retry"), post(change::retry))
        .route("/api/events", get(live::stream))
        .route("/api/{*rest}", get(problem::nothing))
        .fallback(assets::serve)
        .with_state(context)
}
