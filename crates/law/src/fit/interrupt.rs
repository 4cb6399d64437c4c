//! Giving up work that nobody waits for any more.

use rayon::ThreadPoolBuilder;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// Says whether the work of this thread is given up; `None` on threads of work that cannot be.
    static GIVEN_UP: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// The work was given up before it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work was given up")]
pub struct Interrupted;

/// Does work that ends soon after `given_up` becomes true, on threads of its own.
///
/// # Errors
/// When it was given up.
pub fn interruptible<T: Send>(
    given_up: &Arc<AtomicBool>,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Interrupted> {
    let of_threads = Arc::clone(given_up);
    let pool = ThreadPoolBuilder::new()
        .num_threads(rayon::current_num_threads())
        .start_handler(move |_| GIVEN_UP.set(Some(Arc::clone(&of_threads))))
        .build();
    // Without threads of its own it is done all the same, to its end.
    let Ok(pool) = pool else {
        return Ok(work());
    };
    let done = catch_unwind(AssertUnwindSafe(|| {
        pool.install(|| {
            check();
            work()
        })
    }));
    done.map_err(|cause| match cause.downcast::<Interrupted>() {
        Ok(interrupted) => *interrupted,
        Err(cause) => resume_unwind(cause),
    })
}

/// Leaves work that is given up, from wherever it is.
///
/// It unwinds, which no caller in between has to know of; [`interruptible`] alone takes it.
pub(crate) fn check() {
    let is_given_up = GIVEN_UP.with_borrow(|flag| {
        let flag = flag.as_ref();
        flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
    });
    if is_given_up {
        resume_unwind(Box::new(Interrupted));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn work_ends_when_it_is_given_up_and_else_with_its_result() {
        let given_up = Arc::new(AtomicBool::new(false));
        let sum = || (0..1000_u64).into_par_iter().map(|k| k + 1).sum::<u64>();
        assert_eq!(interruptible(&given_up, sum), Ok(500_500));
        // Without an end but for being given up.
        let rounds = AtomicUsize::new(0);
        let endless = || {
            (0..4).into_par_iter().for_each(|_| {
                loop {
                    check();
                    if rounds.fetch_add(1, Ordering::Relaxed) == 10_000 {
                        given_up.store(true, Ordering::Relaxed);
                    }
                }
            });
        };
        assert_eq!(interruptible(&given_up, endless), Err(Interrupted));
        assert_eq!(
            interruptible(&given_up, sum),
            Err(Interrupted),
            "from the start"
        );
        check();
    }
}
