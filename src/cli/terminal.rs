//! What is printed: results to standard output, what is said about them to standard error.

use super::Failure;
use std::io::{ErrorKind, IsTerminal, Write};

/// Takes out the control characters that a terminal would act on; what is piped stays as it is.
pub(super) fn harmless(text: String) -> String {
    if !std::io::stdout().is_terminal() {
        return text;
    }
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Tells whether colours are not refused (<https://no-color.org>).
pub(super) fn wants_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Finds what a failure comes down to: the last line of its message that says anything.
pub(super) fn last_line(message: &str) -> Option<String> {
    let line = message.lines().rfind(|line| !line.trim().is_empty())?;
    Some(harmless(line.trim().to_owned()))
}

/// Prints a result; a reader that has gone, as `head` goes, wants no more of it.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::machine(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error, on a line of its own, as `eprintln!` does; but work goes on
/// where nobody reads it any more, or the disk it goes to is full.
macro_rules! note {
    ($($text:tt)*) => {
        $crate::cli::terminal::say(format_args!($($text)*))
    };
}
pub(super) use note;

/// See [`note`].
pub(super) fn say(text: std::fmt::Arguments) {
    let line = format!("{text}\n");
    // There is no third place to say that it could not be said.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
