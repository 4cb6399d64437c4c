//! What stands around the panels: legends above, notes below.

use super::picture::{Align, Colour, Dash, Mark, Picture, Point, text_width};
use super::style::{GREY, INK, SMALL, Series};

/// An entry of a legend; without line and mark it is a heading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    series: Series,
    line: bool,
    mark: bool,
    hollow: bool,
    text: String,
}

impl Entry {
    /// A line with markers.
    pub(super) fn both(series: Series, text: impl Into<String>) -> Self {
        Self {
            series,
            line: true,
            mark: true,
            hollow: false,
            text: text.into(),
        }
    }

    /// A line.
    pub(super) fn line(colour: Colour, dash: Dash, text: impl Into<String>) -> Self {
        let mark = Mark::Circle;
        Self {
            mark: false,
            ..Self::both(Series { colour, dash, mark }, text)
        }
    }

    /// A marker.
    pub(super) fn mark(colour: Colour, mark: Mark, text: impl Into<String>) -> Self {
        let dash = Dash::Solid;
        Self {
            line: false,
            ..Self::both(Series { colour, dash, mark }, text)
        }
    }

    /// A marker of which only the outline is drawn.
    pub(super) fn hollow(colour: Colour, mark: Mark, text: impl Into<String>) -> Self {
        Self {
            hollow: true,
            ..Self::mark(colour, mark, text)
        }
    }

    /// A heading of the entries after it.
    pub(super) fn heading(text: impl Into<String>) -> Self {
        Self {
            mark: false,
            ..Self::mark(INK, Mark::Circle, text)
        }
    }
}

/// Draws a legend in rows from `at`, outside every panel, and returns the y below it.
pub(super) fn legend(picture: &mut Picture, at: Point, width: f64, entries: &[Entry]) -> f64 {
    const SAMPLE: f64 = 28.0;
    if entries.is_empty() {
        return at.1;
    }
    let (mut x, mut y) = at;
    for entry in entries {
        let sample = match (entry.line, entry.mark) {
            (true, _) => SAMPLE + 6.0,
            (false, true) => 16.0,
            (false, false) => 0.0,
        };
        let needed = sample + text_width(&entry.text, SMALL);
        let is_heading = sample == 0.0 && x > at.0;
        if is_heading || (x > at.0 && x + needed > at.0 + width) {
            (x, y) = (at.0, y + 18.0);
        }
        let Series { colour, dash, mark } = entry.series;
        if entry.line {
            picture.line(vec![(x, y), (x + SAMPLE, y)], 2.0, dash, colour);
        }
        if entry.mark {
            let middle = if entry.line { 0.5 * SAMPLE } else { 5.0 };
            let at = (x + middle, y);
            if entry.hollow {
                picture.outline(at, mark, 4.5, colour)
            } else {
                picture.mark(at, mark, 4.0, colour)
            }
        }
        picture.text((x + sample, y), &entry.text, SMALL, Align::Start, INK);
        x += needed + 18.0;
    }
    y + 18.0
}

/// Draws notes under a figure and returns the y below them.
pub(super) fn notes(picture: &mut Picture, at: Point, width: f64, notes: &[String]) -> f64 {
    let mut y = at.1;
    for note in notes {
        y = picture.paragraph((at.0, y), width, note, SMALL, GREY) + 3.0;
    }
    y
}
