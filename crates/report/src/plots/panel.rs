//! A pair of axes in a rectangle of a picture: grid, frame, curves and bands.

use super::axis::{Axis, Tick};
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

    /// Draws a line through values, cut where it leaves the frame.
    pub(super) fn curve(
        &self,
        picture: &mut Picture,
        values: &[(f64, f64)],
        width: f64,
        dash: Dash,
        colour: Colour,
        opacity: f64,
    ) {
        for piece in self.inside(values) {
            let points = piece.into_iter().map(|(x, y)| self.at(x, y)).collect();
            picture.shapes.push(Shape::Line {
                points,
                width,
                dash,
                colour,
                opacity,
            });
        }
    }

    /// Splits a line into the pieces within the frame, with ends interpolated onto its edges.
    fn inside(&self, values: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
        let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
        let mut piece: Vec<(f64, f64)> = Vec::new();
        for pair in values.windows(2) {
            let Some((from, to)) = self.cut(pair[0], pair[1]) else {
                continue;
            };
            if piece.last() != Some(&from) {
                pieces.push(std::mem::take(&mut piece));
                piece.push(from);
            }
            piece.push(to);
        }
        pieces.push(piece);
        pieces.retain(|piece| piece.len() > 1);
        pieces
    }

    /// The part of a segment between the lower and the upper edge; `None` if there is none.
    fn cut(&self, a: (f64, f64), b: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
        let finite = [a.0, a.1, b.0, b.1].iter().all(|v| v.is_finite());
        if !finite || !self.x.holds(a.0) || !self.x.holds(b.0) {
            return None;
        }
        let (ya, yb) = (self.y.share(a.1), self.y.share(b.1));
        if (ya < 0.0 && yb < 0.0) || (ya > 1.0 && yb > 1.0) || ya.is_nan() || yb.is_nan() {
            return None;
        }
        let onto = |from: (f64, f64), y_from: f64, to: (f64, f64), y_to: f64| {
            let edge = y_from.clamp(0.0, 1.0);
            if edge == y_from {
                return from;
            }
            let share = (edge - y_from) / (y_to - y_from);
            let y = if edge == 0.0 { self.y.low } else { self.y.high };
            (from.0 + share * (to.0 - from.0), y)
        };
        Some((onto(a, ya, b, yb), onto(b, yb, a, ya)))
    }

    /// Fills between two lines over the same x; ends that leave the frame stop at its edge.
    pub(super) fn band(
        &self,
        picture: &mut Picture,
        band: &[(f64, f64, f64)],
        colour: Colour,
        opacity: f64,
    ) {
        let side = |pick: fn(&(f64, f64, f64)) -> f64| {
            band.iter()
                .filter(|(x, low, high)| self.x.holds(*x) && !low.is_nan() && !high.is_nan())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_cut_at_the_frame() {
        let panel = Panel {
            left: 0.0,
            top: 0.0,
            right: 10.0,
            bottom: 10.0,
            x: Axis::linear("", [0.0, 1.0]),
            y: Axis::linear("", [0.0, 1.0]),
        };
        let pieces = panel.inside(&[(0.0, -1.0), (0.5, 0.5), (1.0, 2.0)]);
        assert_eq!(pieces.len(), 1);
        let (first, last) = (pieces[0][0], pieces[0][2]);
        assert!((first.1, last.1) == (0.0, 1.0) && first.0 > 0.3 && last.0 < 0.7);
        assert!(panel.inside(&[(0.0, f64::NAN), (1.0, 0.5)]).is_empty());
    }
}
