//! Calls of libraries that panic where a file is damaged.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

/// A library panicked.
#[derive(Debug, thiserror::Error)]
#[error("it is damaged")]
pub struct Panicked;

/// Calls what may panic, and says nothing of it.
///
/// # Errors
/// When it panics.
pub fn quietly<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    /// One at a time, or the hook of one would be kept by another.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let called = catch_unwind(AssertUnwindSafe(call));
    set_hook(hook);
    called.map_err(|_| Panicked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(quietly(|| 1).ok(), Some(1));
        assert!(quietly(|| panic!("damaged")).is_err());
    }
}
