//! What is printed: results to standard output, what is said about them to standard error.

use super::Failure;
use super::board::Window;
use rayon::prelude::*;
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

/// Takes out the control characters that a terminal would act on, but for line ends and colours: names in
/// files and databases may hold any.
pub(super) fn tamed(text: &str) -> String {
    let mut tame = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour(rest);
        let (shown, length) = match c {
            _ if colour > 0 => (&rest[..colour], colour),
            '\n' | '\t' => (&rest[..1], 1),
            c if c.is_control() => ("\u{fffd}", c.len_utf8()),
            c => (&rest[..c.len_utf8()], c.len_utf8()),
        };
        tame.push_str(shown);
        rest = &rest[length..];
    }
    tame
}

/// Measures the sequence that sets a colour at the start of a text, such as `ESC[31m`; 0 where there is none.
fn colour(text: &str) -> usize {
    let Some(rest) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let numbers = rest.find(|c: char| !c.is_ascii_digit() && c != ';');
    match numbers {
        Some(end) if rest[end..].starts_with('m') => 2 + end + 1,
        _ => 0,
    }
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
    if std::io::stdout().is_terminal() {
        draw(&wrapped(&tamed(text), Window::now().width))
    } else {
        draw(text)
    }
}

/// Breaks lines that are wider than a terminal between words; what follows stands below the text of its
/// line.
fn wrapped(text: &str, width: usize) -> String {
    let wrap = |line: &str| {
        if textwrap::core::display_width(line) <= width {
            return line.to_owned();
        }
        let text = line.trim_start_matches([' ', '-', '!']);
        let indent = " ".repeat((line.len() - text.len()).min(width / 2));
        let options = textwrap::Options::new(width).subsequent_indent(&indent);
        textwrap::fill(line, options.break_words(false))
    };
    let lines: Vec<String> = text.split('\n').map(wrap).collect();
    lines.join("\n")
}

/// Prints as it is what moves about on a terminal.
pub(super) fn draw(text: &str) -> Result<(), Failure> {
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
    let mut line = format!("{text}\n");
    if std::io::stderr().is_terminal() {
        line = wrapped(&tamed(&line), Window::now().width);
    }
    // There is no third place to say that it could not be said.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Quotes a word for a shell, where it needs that.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Writes rows of cells in columns.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let mut widths = vec![0; rows[0].len()];
    for row in rows {
        for (width, text) in widths.iter_mut().zip(row) {
            *width = (*width).max(text.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(text, &width)| format!("{text:<width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let lines: Vec<String> = rows.par_iter().map(line).collect();
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_lines_are_broken_between_words_and_keep_their_indentation() {
        let text = "short\n  - a line that is wider than that\nend\n";
        let broken = "short\n  - a line\n    that is\n    wider than\n    that\nend\n";
        assert_eq!(wrapped(text, 14), broken);
        assert_eq!(
            wrapped("  an-unbreakable-word\n", 8),
            "  an-\n  unbreakable-\n  word\n"
        );
    }

    #[test]
    fn of_control_characters_only_line_ends_and_colours_reach_a_terminal() {
        for (text, expected) in [
            ("plain é\n\tend", "plain é\n\tend"),
            (
                "\x1b[31mred\x1b[0m \x1b[30;46mblue",
                "\x1b[31mred\x1b[0m \x1b[30;46mblue",
            ),
            ("\x1b]0;title\x07", "\u{fffd}]0;title\u{fffd}"),
            ("\x1b[2J\x1b[", "\u{fffd}[2J\u{fffd}["),
            ("back\rover\u{9b}31m", "back\u{fffd}over\u{fffd}31m"),
        ] {
            assert_eq!(tamed(text), expected);
        }
    }
}
