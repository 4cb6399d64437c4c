//! A pair of axes in a rectangle of a picture: grid, frame, curves and bands.

use super::axis::{Axis, Tick};
use super::clip::Frame;
use super::picture::{Align, Colour, Dash, Mark, Picture, Point, Shape, text_width};
use super::style::{FAINT, INK, LABEL, PAPER, SMALL};

/// A frame with its axes, in a rectangle of a picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Panel {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

impl Panel {
    fn x_ticks(&self) -> Vec<Tick> {
        self.x.ticks(self.right - self.left, true)
    }

    pub(super) fn y_ticks(&self) -> Vec<Tick> {
        self.y.ticks(self.bottom - self.top, false)
    }

    /// Places a point.
    pub(super) fn at(&self, x: f64, y: f64) -> Point {
        let (across, up) = (self.x.share(x), self.y.share(y));
        (
            self.left + across * (self.right - self.left),
            self.bottom - up * (self.bottom - self.top),
        )
    }

    /// Moves the k-th of `count` series that share a place aside, so that all of them are seen.
    pub(super) fn beside(&self, (x, y): (f64, f64), k: usize, count: usize) -> (f64, f64) {
        const APART: f64 = 4.0;
        let aside = APART * (k as f64 - 0.5 * count.saturating_sub(1) as f64);
        let across = aside / (self.right - self.left);
        (self.x.value(self.x.share(x) + across), y)
    }

    /// Says whether a point lies within the frame.
    pub(super) fn holds(&self, x: f64, y: f64) -> bool {
        self.x.holds(x) && self.y.holds(y)
    }

    /// Draws the grid; what is drawn next lies over it.
    pub(super) fn grid(&self, picture: &mut Picture) {
        for (value, _) in self.x_ticks() {
            let (x, _) = self.at(value, self.y.low);
            let line = vec![(x, self.top), (x, self.bottom)];
            picture.line(line, 1.0, Dash::Solid, FAINT);
        }
        for (value, _) in self.y_ticks() {
            let (_, y) = self.at(self.x.low, value);
            let line = vec![(self.left, y), (self.right, y)];
            picture.line(line, 1.0, Dash::Solid, FAINT);
        }
    }

    /// Draws the bare frame.
    pub(super) fn outline(&self, picture: &mut Picture) {
        let corners = [
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
            (self.left, self.top),
        ];
        picture.line(corners.to_vec(), 1.0, Dash::Solid, INK);
    }

    /// Draws the frame and the ticks, those of y with their labels where asked.
    pub(super) fn frame(&self, picture: &mut Picture, y_labels: bool) {
        self.outline(picture);
        for (value, text) in self.x_ticks() {
            let (x, _) = self.at(value, self.y.low);
            let tick = vec![(x, self.bottom), (x, self.bottom + 4.0)];
            picture.line(tick, 1.0, Dash::Solid, INK);
            picture.text((x, self.bottom + 14.0), &text, SMALL, Align::Middle, INK);
        }
        for (value, text) in self.y_ticks() {
            let (_, y) = self.at(self.x.low, value);
            let tick = vec![(self.left - 4.0, y), (self.left, y)];
            picture.line(tick, 1.0, Dash::Solid, INK);
            if y_labels {
                picture.text((self.left - 8.0, y), &text, SMALL, Align::End, INK);
            }
        }
    }

    /// Returns its edges.
    pub(super) fn edges(&self) -> Frame {
        [self.left, self.top, self.right, self.bottom]
    }

    /// Returns the room that the labels of the y ticks take.
    pub(super) fn y_room(&self) -> f64 {
        let widths = self.y_ticks().into_iter();
        widths
            .map(|(_, text)| text_width(&text, SMALL))
            .fold(0.0, f64::max)
            + 8.0
    }

    /// Writes a title above the frame.
    pub(super) fn title(&self, picture: &mut Picture, text: &str) {
        let middle = 0.5 * (self.left + self.right);
        let room = (self.right - self.left + 10.0) / text_width(text, LABEL).max(1.0);
        let size = LABEL * room.clamp(0.7, 1.0);
        picture.text((middle, self.top - 12.0), text, size, Align::Middle, INK);
    }

    /// Draws a marker with a thin light edge, if it lies within the frame.
    pub(super) fn mark(
        &self,
        picture: &mut Picture,
        (x, y): (f64, f64),
        mark: Mark,
        radius: f64,
        colour: Colour,
    ) {
        if self.holds(x, y) {
            if !matches!(mark, Mark::Cross | Mark::Plus) {
                picture.mark(self.at(x, y), mark, radius + 0.7, PAPER);
            }
            picture.mark(self.at(x, y), mark, radius, colour);
        }
    }

    /// Draws an estimate: as a marker, or where it is `open`, being not determined, as its outline.
    pub(super) fn estimate(
        &self,
        picture: &mut Picture,
        at: (f64, f64),
        mark: Mark,
        radius: f64,
        colour: Colour,
        open: bool,
    ) {
        if open {
            picture.mark(self.at(at.0, at.1), mark, radius + 0.7, PAPER);
            picture.outline(self.at(at.0, at.1), mark, radius, colour);
        } else {
            self.mark(picture, at, mark, radius, colour);
        }
    }

    /// Draws a level line across the frame.
    pub(super) fn level(
        &self,
        picture: &mut Picture,
        value: f64,
        width: f64,
        dash: Dash,
        colour: Colour,
    ) {
        let line = [(self.x.low, value), (self.x.high, value)];
        self.curve(picture, &line, width, dash, colour, 1.0);
    }

    /// Fills between two values of x over the whole height.
    pub(super) fn stripe(&self, picture: &mut Picture, [low, high]: [f64; 2], colour: Colour) {
        let (left, _) = self.at(self.x.clamp(low), self.y.low);
        let (right, _) = self.at(self.x.clamp(high), self.y.low);
        if right > left {
            picture.fill((left, self.top), (right, self.bottom), colour);
        }
    }

    /// Draws a line through values; those that are no numbers cut it.
    pub(super) fn curve(
        &self,
        picture: &mut Picture,
        values: &[(f64, f64)],
        width: f64,
        dash: Dash,
        colour: Colour,
        opacity: f64,
    ) {
        picture.shapes.push(Shape::Line {
            points: values.iter().map(|&(x, y)| self.at(x, y)).collect(),
            width,
            dash,
            colour,
            opacity,
        });
    }

    /// Fills between two lines over the same x; ends without bound stop at the frame.
    pub(super) fn band(
        &self,
        picture: &mut Picture,
        band: &[(f64, f64, f64)],
        colour: Colour,
        opacity: f64,
    ) {
        let side = |pick: fn(&(f64, f64, f64)) -> f64| {
            band.iter()
                .filter(|(_, low, high)| !low.is_nan() && !high.is_nan())
                .map(move |row| self.at(row.0, self.y.clamp(pick(row))))
                .collect::<Vec<_>>()
        };
        let mut outline = side(|row| row.1);
        outline.extend(side(|row| row.2).into_iter().rev());
        if outline.len() > 3 {
            picture.area(outline, colour, opacity);
        }
    }
}
