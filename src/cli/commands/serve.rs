//! `orchestrator serve`: a local web page over the results.

use crate::cli::Failure;
use crate::cli::terminal::print;
use crate::cli::trained;
use crate::complete;
use crate::serve::{Options, ServeError, Server, Subject};
use experiment::digest;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use trainer::inference::Trained;

/// Serve a web page over the results: grids, runs, training curves, comparisons and fits.
///
/// It follows runs as they train, reads beside `orchestrator run` and changes nothing, unless
/// --allow-changes lets it. Everything comes from this program: no other machine is asked. Ctrl-C
/// ends it. With --complete a trained run is served in place of the page, to programs that ask for
/// completions, such as lm-evaluation-harness.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator serve\n  orchestrator serve --results /data/results \
    --port 9000\n  orchestrator serve --complete 3f2a"
)]
pub(in crate::cli) struct Args {
    /// Results folders, or folders of them.
    #[arg(long, value_name = "DIR", num_args = 1.., default_value = "results")]
    results: Vec<PathBuf>,

    /// Serve completions of a trained run (its id, the beginning of it, or its folder): POST /v1/completions,
    /// /tokenize and /detokenize, GET /tokenizer_info.
    #[arg(long, value_name = "RUN", conflicts_with = "allow_changes")]
    complete: Option<String>,

    /// The device that computes completions.
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "cpu",
        requires = "complete"
    )]
    device: String,

    /// Port to listen on; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 7433)]
    port: u16,

    /// Address to listen on; any but a local one needs a token.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    bind: IpAddr,

    /// What a browser must show [default: none on a local address, else a new one, printed]. Others on the
    /// machine see arguments: the variable and --token-file keep it from them.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "ORCHESTRATOR_TOKEN",
        hide_env_values = true,
        conflicts_with = "token_file"
    )]
    token: Option<String>,

    /// A file whose first line is the token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Let the page cancel runs and make them eligible again, as `cancel` and `retry` do.
    #[arg(long)]
    allow_changes: bool,
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    for folder in &args.results {
        if args.complete.is_none() && !folder.is_dir() {
            return Err(Failure::input(format!(
                "there is no folder {}: name one with --results, or run an experiment first",
                folder.display()
            )));
        }
    }
    let token = match (&args.token, &args.token_file) {
        (Some(token), _) => Some(checked("--token", token)?),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::input(format!(
                    "cannot read the token in {}: {error}",
                    file.display()
                ))
            })?;
            Some(checked(
                "--token-file",
                text.lines().next().unwrap_or_default(),
            )?)
        }
        (None, None) if args.bind.is_loopback() => None,
        (None, None) => Some(new_token()?),
    };
    let subject = match &args.complete {
        Some(run) => Subject::Other(complete::routes(load(run, args)?)),
        None => Subject::Results {
            folders: args.results.clone(),
            allows_changes: args.allow_changes,
        },
    };
    crate::cli::block_on(async {
        let options = Options {
            address: SocketAddr::new(args.bind, args.port),
            token: token.clone(),
        };
        let server = Server::listen(options, subject)
            .await
            .map_err(|error| match error {
                ServeError::InUse { .. } | ServeError::Open { .. } => Failure::input(error),
                ServeError::Listen { .. } => Failure::input(format!("{error}; is --bind right?")),
            })?;
        let stopped = stopped()?;
        let (address, token) = (server.address(), token.as_deref());
        let place = match (&args.complete, token) {
            (None, None) => format!("http://{address}/"),
            (None, Some(token)) => format!("http://{address}/?token={token}"),
            (Some(_), None) => format!("http://{address}/v1/completions"),
            (Some(_), Some(token)) => {
                format!("http://{address}/v1/completions\nAuthorization: Bearer {token}")
            }
        };
        print(&format!("{place}\nCtrl-C ends it.\n"))?;
        server.run(stopped).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Loads the run whose completions are served, from one of the results folders where some are named.
fn load(run: &str, args: &Args) -> Result<Trained, Failure> {
    let named = args.results.as_slice();
    let results = match named {
        [one] if one.as_os_str() != "results" => Some(one.as_path()),
        [_] => None,
        _ => {
            return Err(Failure::input(
                "`--complete` looks in one results folder: name it alone",
            ));
        }
    };
    trained::load(run, results, &args.device)
}

/// Refuses a token that does not fit into an address or a cookie, or can be guessed.
fn checked(from: &str, token: &str) -> Result<String, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if token.len() >= 12 && token.chars().all(plain) {
        Ok(token.to_owned())
    } else {
        Err(Failure::input(format!(
            "the token of `{from}` must be at least 12 letters, digits, `-`, `.`, `_` or `~`"
        )))
    }
}

fn new_token() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| {
            Failure::machine(format!(
                "cannot make a token: {error}; give one with --token"
            ))
        })?;
    Ok(digest::hex(&bytes))
}

/// Waits for Ctrl-C or a request to end.
fn stopped() -> Result<impl Future<Output = ()>, Failure> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::machine(format!("cannot watch for signals: {error}")))?;
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut signals = signals.forever();
        signals.next();
        // Whoever waited may be gone by now.
        let _ = tell.send(());
        if let Some(signal) = signals.next() {
            // It fails for signals that there are not.
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    });
    Ok(async {
        let _ = told.await;
    })
}
