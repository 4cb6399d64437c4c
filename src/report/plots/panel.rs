//! A pair of axes: scales, ticks, grid, labels and the frame they share.

use super::picture::{Align, Colour, Dash, Picture, Point, Shape, text_width};
use super::style::{FAINT, GREY, INK, LABEL, SMALL, Series};

/// A scale from values to pixels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
    pub(super) label: String,
    /// Values with tick labels.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Labels that a panel a third of a page wide has room for.
const MOST_TICKS: usize = 5;

impl Axis {
    /// A linear axis over the values with a little room, and round ticks.
    pub(super) fn linear(label: &str, [low, high]: [f64; 2]) -> Self {
        let (low, high) = apart(low, high);
        Self {
            low,
            high,
            log: false,
            label: label.into(),
            ticks: Vec::new(),
        }
        .with_round_ticks(5.0)
    }

    /// A logarithmic axis over positive values, with ticks also where it spans less than a decade.
    pub(super) fn log(label: &str, [low, high]: [f64; 2]) -> Self {
        let (low, high) = (low.max(1e-300), high.max(1e-300));
        let (low, high) = if low < high {
            (low, high)
        } else {
            (low / 1.5, high * 1.5)
        };
        let within = |steps: &[f64]| -> Vec<f64> {
            (low.log10().floor() as i32..=high.log10().ceil() as i32)
                .flat_map(|exponent| steps.iter().map(move |step| step * 10f64.powi(exponent)))
                .filter(|v| *v >= low * 0.999 && *v <= high * 1.001)
                .collect()
        };
        // The densest that leaves room for its labels.
        let ticks = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(within);
        let ticks = ticks
            .iter()
            .find(|ticks| ticks.len() <= MOST_TICKS)
            .unwrap_or(&ticks[2]);
        let every = ticks.len().div_ceil(MOST_TICKS).max(1);
        let ticks: Vec<f64> = ticks.iter().step_by(every).copied().collect();
        let ticks = ticks.into_iter().map(|v| (v, short(v))).collect();
        Self {
            low,
            high,
            log: true,
            label: label.into(),
            ticks,
        }
    }

    /// Replaces the ticks.
    pub(super) fn with_ticks(mut self, ticks: Vec<(f64, String)>) -> Self {
        self.ticks = ticks;
        self
    }

    /// Puts about `count` round ticks on a linear axis.
    pub(super) fn with_round_ticks(self, count: f64) -> Self {
        let raw = (self.high - self.low) / count;
        let power = 10f64.powf(raw.log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        let step = steps
            .into_iter()
            .find(|step| *step >= raw * 0.999)
            .unwrap_or(raw);
        let decimals = (0..6).find(|d| {
            let scaled = step * 10f64.powi(*d);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        let decimals = decimals.unwrap_or(6) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        let ticks = (first..=last).take(50).map(|k| {
            let value = k as f64 * step;
            (value, format!("{value:.decimals$}").replace('-', "−"))
        });
        let ticks = ticks.collect();
        self.with_ticks(ticks)
    }

    /// Where a value lies, 0 at the low end and 1 at the high one.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Says whether a value can be shown.
    pub(super) fn holds(&self, value: f64) -> bool {
        (-1e-9..=1.0 + 1e-9).contains(&self.share(value))
    }

    /// Moves a value that lies outside to the nearer end.
    pub(super) fn clamp(&self, value: f64) -> f64 {
        value.clamp(self.low, self.high)
    }
}

/// Keeps a range from being empty.
fn apart(low: f64, high: f64) -> (f64, f64) {
    match (low.is_finite() && high.is_finite(), high - low) {
        (false, _) => (0.0, 1.0),
        (true, width) if width > 0.0 => (low, high),
        _ => (
            low - 0.5 * low.abs().max(1e-3),
            high + 0.5 * high.abs().max(1e-3),
        ),
    }
}

/// Returns the range of the finite values; `None` without any.
pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let mut values = values.filter(|value| value.is_finite());
    let first = values.next()?;
    Some(values.fold([first, first], |[low, high], v| [low.min(v), high.max(v)]))
}

/// Widens a range on both sides by a share of its width.
pub(super) fn roomy([low, high]: [f64; 2], share: f64) -> [f64; 2] {
    let room = share * (high - low);
    [low - room, high + room]
}

/// Writes a number shortly: `200K`, `1.5M`, `1e18`.
pub(super) fn short(value: f64) -> String {
    let (scale, suffix) = match value.abs() {
        m if m >= 0.9995e15 => {
            let exponent = m.log10().floor();
            let mantissa = value / 10f64.powf(exponent);
            return format!("{}e{exponent}", digits(mantissa));
        }
        m if m >= 0.9995e12 => (1e12, "T"),
        m if m >= 0.9995e9 => (1e9, "B"),
        m if m >= 0.9995e6 => (1e6, "M"),
        m if m >= 0.9995e3 => (1e3, "K"),
        _ => (1.0, ""),
    };
    format!("{}{suffix}", digits(value / scale))
}

/// Writes a number as [`short`] does, to two digits: sizes are reached within 1%.
pub(super) fn about(value: f64) -> String {
    if !(value.is_finite() && value > 0.0) {
        return short(value);
    }
    let power = 10f64.powf(value.log10().floor() - 1.0);
    short((value / power).round() * power)
}

/// Three significant digits without trailing zeros.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        m if m >= 99.5 => 0,
        m if m >= 9.95 => 1,
        m if m >= 0.995 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

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
        for (value, _) in self
            .x
            .ticks
            .iter()
            .filter(|(value, _)| self.x.holds(*value))
        {
            let (x, _) = self.at(*value, self.y.low);
            picture.line(
                vec![(x, self.top), (x, self.bottom)],
                1.0,
                Dash::Solid,
                FAINT,
            );
        }
        for (value, _) in self
            .y
            .ticks
            .iter()
            .filter(|(value, _)| self.y.holds(*value))
        {
            let (_, y) = self.at(self.x.low, *value);
            picture.line(
                vec![(self.left, y), (self.right, y)],
                1.0,
                Dash::Solid,
                FAINT,
            );
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

    /// Draws the frame, the ticks and, where asked, the labels of the axes.
    pub(super) fn frame(&self, picture: &mut Picture, x_label: bool, y_label: bool) {
        self.outline(picture);
        for (value, text) in self
            .x
            .ticks
            .iter()
            .filter(|(value, _)| self.x.holds(*value))
        {
            let (x, _) = self.at(*value, self.y.low);
            picture.line(
                vec![(x, self.bottom), (x, self.bottom + 4.0)],
                1.0,
                Dash::Solid,
                INK,
            );
            picture.text((x, self.bottom + 14.0), text, SMALL, Align::Middle, INK);
        }
        if x_label {
            let middle = 0.5 * (self.left + self.right);
            picture.text(
                (middle, self.bottom + 35.0),
                &self.x.label,
                LABEL,
                Align::Middle,
                INK,
            );
        }
        for (value, text) in self
            .y
            .ticks
            .iter()
            .filter(|(value, _)| self.y.holds(*value))
        {
            let (_, y) = self.at(self.x.low, *value);
            picture.line(
                vec![(self.left - 4.0, y), (self.left, y)],
                1.0,
                Dash::Solid,
                INK,
            );
            picture.text((self.left - 8.0, y), text, SMALL, Align::End, INK);
        }
        if y_label {
            let middle = 0.5 * (self.top + self.bottom);
            let widest = self.y.ticks.iter().map(|(_, text)| text_width(text, SMALL));
            let widest = widest.fold(0.0, f64::max);
            picture.upright(
                (self.left - widest - 24.0, middle),
                &self.y.label,
                LABEL,
                INK,
            );
        }
    }

    /// Writes a title above the frame.
    pub(super) fn title(&self, picture: &mut Picture, text: &str) {
        let middle = 0.5 * (self.left + self.right);
        picture.text((middle, self.top - 12.0), text, LABEL, Align::Middle, INK);
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

/// An entry of a legend.
pub(super) struct Entry {
    pub(super) series: Series,
    pub(super) line: bool,
    pub(super) mark: bool,
    pub(super) text: String,
}

/// Draws a legend in rows from `at`, outside every panel, and returns the y below it.
pub(super) fn legend(picture: &mut Picture, at: Point, width: f64, entries: &[Entry]) -> f64 {
    const SAMPLE: f64 = 30.0;
    let (mut x, mut y) = at;
    for entry in entries {
        let needed = SAMPLE + 6.0 + text_width(&entry.text, SMALL) + 20.0;
        if x > at.0 && x + needed > at.0 + width {
            (x, y) = (at.0, y + 19.0);
        }
        let Series { colour, dash, mark } = entry.series;
        if entry.line {
            picture.line(vec![(x, y), (x + SAMPLE, y)], 2.0, dash, colour);
        }
        if entry.mark {
            picture.mark((x + 0.5 * SAMPLE, y), mark, 4.0, colour);
        }
        picture.text((x + SAMPLE + 6.0, y), &entry.text, SMALL, Align::Start, INK);
        x += needed;
    }
    y + 19.0
}

/// Draws notes under a figure and returns the y below them.
pub(super) fn notes(picture: &mut Picture, at: Point, width: f64, notes: &[String]) -> f64 {
    let mut y = at.1;
    for note in notes {
        y = picture.paragraph((at.0, y), width, note, SMALL, GREY) + 3.0;
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_never_missing() {
        let texts = |axis: Axis| axis.ticks.into_iter().map(|(_, t)| t).collect::<Vec<_>>();
        assert_eq!(
            texts(Axis::linear("", [0.27, 0.73])),
            ["0.3", "0.4", "0.5", "0.6", "0.7"]
        );
        assert_eq!(texts(Axis::log("", [1.9e5, 8.4e5])), ["200K", "500K"]);
        assert_eq!(texts(Axis::log("", [1e15, 1e19])).len(), 5);
        assert_eq!(
            texts(Axis::log("", [2e5, 3.2e7])),
            ["300K", "1M", "3M", "10M", "30M"]
        );
        assert!(!texts(Axis::linear("", [3.0, 3.0])).is_empty());
        assert!(!texts(Axis::linear("", [f64::NAN, f64::NAN])).is_empty());
        assert_eq!(short(1.5e6), "1.5M");
        assert_eq!(short(2e18), "2e18");
    }

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
