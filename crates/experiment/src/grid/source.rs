//! Where something was written, and what is said about it when it is wrong.

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use std::fmt;
use std::sync::Arc;

/// A text with the name under which errors show it.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// A file's path as the user gave it, or the option that held the text.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Shows what is said of a text under its name.
impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let part = self.text.read_span(span, before, after)?;
        let (line, column, lines) = (part.line(), part.column(), part.line_count());
        let named = MietteSpanContents::new_named(
            printable(self.name.clone()),
            part.data(),
            *part.span(),
            line,
            column,
            lines,
        );
        Ok(Box::new(named.with_language("yaml")))
    }
}

impl Source {
    /// Takes a text; a carriage return alone, which ends a line to YAML but sends a terminal back to
    /// where the line begins, becomes a line feed.
    pub(super) fn new(name: impl Into<String>, text: &str) -> Self {
        let lines: Vec<String> = text
            .split("\r\n")
            .map(|line| line.replace('\r', "\n"))
            .collect();
        Self {
            name: name.into(),
            text: lines.join("\r\n"),
        }
    }
}

/// Longer messages are cut, and longer lines not shown: nobody reads them, and terminals lose
/// themselves in them.
const MOST_CHARACTERS: usize = 2000;

/// Writes out the characters that a terminal would act on, or that would show a text in another order.
fn printable(text: String) -> String {
    let acts = |c: char| {
        c.is_control() && c != '\n'
            || "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}"
                .contains(c)
    };
    let end = text.char_indices().nth(MOST_CHARACTERS);
    let text = match end {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    };
    if !text.contains(acts) {
        return text;
    }
    let shown = |c: char| {
        if acts(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    text.chars().map(shown).collect()
}

/// A stretch of a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct Location {
    source: Arc<Source>,
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub length: usize,
}

impl Location {
    pub(super) fn new(source: &Arc<Source>, start: usize, end: usize) -> Self {
        let start = start.min(source.text.len());
        let length = end.clamp(start, source.text.len()) - start;
        Self {
            source: Arc::clone(source),
            offset: start,
            length,
        }
    }

    /// The text this is a stretch of.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The stretch as written.
    pub fn written(&self) -> &str {
        self.source
            .text
            .get(self.offset..self.offset + self.length)
            .unwrap_or_default()
    }

    /// The line of the first byte, from 1.
    pub fn line(&self) -> usize {
        self.before().matches('\n').count() + 1
    }

    /// The column of the first byte, from 1, in characters.
    pub fn column(&self) -> usize {
        let before = self.before();
        before[before.rfind('\n').map_or(0, |newline| newline + 1)..]
            .chars()
            .count()
            + 1
    }

    /// Makes an error that points here: what is wrong, and what would be right.
    pub fn error(&self, message: impl Into<String>, help: impl Into<String>) -> GridError {
        Problem::new(message).label(self, "").help(help).into()
    }

    /// A part of this stretch, when `start..end` counts bytes from its own first byte.
    pub(super) fn part(&self, start: usize, end: usize) -> Self {
        Self::new(&self.source, self.offset + start, self.offset + end)
    }

    fn before(&self) -> &str {
        self.source.text.get(..self.offset).unwrap_or_default()
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = printable(self.source.name.clone());
        write!(f, "{name}:{}:{}", self.line(), self.column())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// One thing that is wrong with an experiment file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    message: String,
    labels: Vec<(Location, String)>,
    help: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: printable(message.into()),
            labels: Vec::new(),
            help: None,
        }
    }

    pub(super) fn label(mut self, location: &Location, text: impl Into<String>) -> Self {
        // A diagnostic shows one source: what another one contributes is left to the message.
        if self
            .labels
            .first()
            .is_none_or(|(first, _)| first.source == location.source)
        {
            self.labels.push((location.clone(), printable(text.into())));
        }
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        let help = printable(help.into());
        self.help = (!help.is_empty()).then_some(help);
        self
    }

    /// Says whether the lines that it is about, and those beside them, can be shown.
    fn is_visible(&self) -> bool {
        let is_end = |byte: &u8| *byte == b'\n';
        self.labels.iter().all(|(at, _)| {
            // Bytes: a label may end inside a character.
            let text = at.source.text.as_bytes();
            let (before, rest) = text.split_at(at.offset);
            let (own, after) = rest.split_at(at.length.min(rest.len()));
            let before = before.rsplit(is_end).take(2).map(<[u8]>::len);
            let after = after.split(is_end).take(2).map(<[u8]>::len);
            let own = own.split(is_end).map(<[u8]>::len);
            before
                .chain(own)
                .chain(after)
                .all(|length| length <= MOST_CHARACTERS)
        })
    }

    /// Where it is; `None` when it concerns the whole file.
    pub fn location(&self) -> Option<&Location> {
        self.labels.first().map(|(location, _)| location)
    }
}

/// More problems than anybody reads at once.
const MOST_SHOWN: usize = 20;

/// What is wrong with an experiment file: at least one problem, in the order of the file.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.first_message())]
pub struct GridError {
    shown: Vec<Shown>,
}

impl GridError {
    /// The problems, in the order of the file; of very many the first.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.shown.iter().map(|shown| &shown.0)
    }

    fn first_message(&self) -> String {
        let first = self.shown.first();
        first.map_or_else(|| "the experiment file is wrong".into(), Shown::to_string)
    }
}

impl From<Vec<Problem>> for GridError {
    fn from(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_cached_key(|problem| {
            problem
                .location()
                .map(|at| (at.source.name.clone(), at.offset))
        });
        // What stands at an anchor is read once for every place that names it.
        problems.dedup();
        let more = problems.len().saturating_sub(MOST_SHOWN);
        if more > 0 {
            problems.truncate(MOST_SHOWN);
            problems.push(Problem::new(format!("{more} more problems are not shown")));
        }
        let shown = problems.into_iter().map(Shown).collect();
        Self { shown }
    }
}

impl From<Problem> for GridError {
    fn from(problem: Problem) -> Self {
        vec![problem].into()
    }
}

/// A problem in the form in which it is printed.
#[derive(Debug)]
struct Shown(Problem);

impl std::error::Error for Shown {}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.location() {
            Some(at) if !self.0.is_visible() => write!(f, "{at}: {}", self.0),
            _ => self.0.fmt(f),
        }
    }
}

impl Diagnostic for Shown {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        let help = self.0.help.as_ref()?;
        Some(Box::new(help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if !self.0.is_visible() {
            return None;
        }
        Some(Box::new(self.0.labels.iter().map(|(at, text)| {
            let text = (!text.is_empty()).then(|| text.clone());
            LabeledSpan::new(text, at.offset, at.length)
        })))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        let at = self.0.location().filter(|_| self.0.is_visible())?;
        Some(&*at.source)
    }
}

/// Shows the first problem as its own and the others as related ones.
impl Diagnostic for GridError {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.shown.first().and_then(Diagnostic::help)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.shown.first().and_then(Diagnostic::labels)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.shown.first().and_then(Diagnostic::source_code)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let rest = self.shown.get(1..).filter(|rest| !rest.is_empty())?;
        Some(Box::new(rest.iter().map(|shown| shown as &dyn Diagnostic)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let source = Arc::new(Source {
            name: "a.yaml".into(),
            text: "é: ü\nb: 3\n".into(),
        });
        let at = Location::new(&source, 4, 6);
        assert_eq!((at.to_string().as_str(), at.written()), ("a.yaml:1:4", "ü"));
        assert_eq!(Location::new(&source, 10, 11).to_string(), "a.yaml:2:4");
        assert_eq!(Location::new(&source, 99, 120).length, 0);
    }
}
