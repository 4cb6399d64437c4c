//! Ctrl-C and SIGTERM: what they mean depends on what goes on.

use super::Failure;
use scaling_law::fit::{Interrupted, interruptible};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::emulate_default_handler;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What goes on, by the signals that it takes before the process dies of one.
#[derive(Clone, Copy)]
enum Doing {
    /// What a signal ends at once, as it does without a handler.
    Nothing = 0,
    /// What ends soon after the first.
    Work = 1,
    /// Training: the first stops it, the second kills it.
    Training = 2,
}

/// Signals to stop.
#[derive(Clone)]
pub(super) struct Stops {
    asked: Arc<AtomicUsize>,
    given_up: Arc<AtomicBool>,
    doing: Arc<AtomicUsize>,
}

impl Stops {
    /// Takes the signals from now on.
    pub(super) fn watch() -> Result<Self, Failure> {
        let stops = Self {
            asked: Arc::default(),
            given_up: Arc::default(),
            doing: Arc::new(AtomicUsize::new(Doing::Nothing as usize)),
        };
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .map_err(|error| Failure::machine(format!("cannot watch for signals: {error}")))?;
        let of_thread = stops.clone();
        std::thread::spawn(move || {
            for signal in signals.forever() {
                of_thread.hear(signal);
            }
        });
        Ok(stops)
    }

    /// Takes the signals for a worker, whose training each first of them stops: a batch system warns by
    /// SIGUSR1.
    pub(super) fn of_worker() -> Result<Self, Failure> {
        let stops = Self::watch()?;
        stops.during(Doing::Training);
        let asked = Arc::clone(&stops.asked);
        let mut warnings = signal_hook::iterator::Signals::new([SIGUSR1])
            .map_err(|error| Failure::machine(format!("cannot watch for signals: {error}")))?;
        std::thread::spawn(move || {
            for _ in warnings.forever() {
                // Once is enough: a second would kill what is being saved.
                let _ = asked.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed);
            }
        });
        Ok(stops)
    }

    fn hear(&self, signal: i32) {
        let asked = 1 + self.asked.fetch_add(1, Ordering::Relaxed);
        self.given_up.store(true, Ordering::Relaxed);
        if asked > self.doing.load(Ordering::Relaxed) {
            // It fails for signals that there are not.
            let _ = emulate_default_handler(signal);
        }
    }

    /// How often stopping was asked for.
    pub(super) fn asked(&self) -> &AtomicUsize {
        &self.asked
    }

    /// Says whether what trains is to be killed.
    pub(super) fn kill(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 1
    }

    /// Trains, which counts the signals itself.
    pub(super) async fn train<T>(&self, work: impl Future<Output = T>) -> T {
        self.during(Doing::Training);
        let done = work.await;
        self.during(Doing::Nothing);
        done
    }

    /// Does work that a signal ends.
    ///
    /// # Errors
    /// When one did.
    pub(super) fn interruptible<T: Send>(
        &self,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Interrupted> {
        self.during(Doing::Work);
        let done = interruptible(&self.given_up, work);
        self.during(Doing::Nothing);
        done
    }

    fn during(&self, doing: Doing) {
        self.doing.store(doing as usize, Ordering::Relaxed);
    }
}
