//! Scales from values to places, their ticks, and how numbers are written on them.

use super::picture::text_width;
use super::style::SMALL;

/// A scale from values to places.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
    pub(super) label: String,
    /// Values with labels, where round ones will not do.
    ticks: Option<Vec<Tick>>,
}

/// A value and its label.
pub(super) type Tick = (f64, String);

/// Room between two labels side by side: what is good, and what is enough.
const APART: [f64; 2] = [24.0, 8.0];

/// Ticks that are worth crowding for.
const FEW: usize = 3;

/// The same between two labels one above the other, from middle to middle.
const LINES: [f64; 2] = [2.6 * SMALL, 1.7 * SMALL];

impl Axis {
    /// A linear axis over the values.
    pub(super) fn linear(label: &str, [low, high]: [f64; 2]) -> Self {
        let (low, high) = apart(low, high);
        Self {
            low,
            high,
            log: false,
            label: label.into(),
            ticks: None,
        }
    }

    /// A linear axis over losses and a share of room on either side.
    pub(super) fn losses(label: &str, ends: [f64; 2], room: f64) -> Self {
        Self::linear(label, roomy(spread(ends), room))
    }

    /// A logarithmic axis over positive values.
    pub(super) fn log(label: &str, [low, high]: [f64; 2]) -> Self {
        let bounded = |v: f64| if v.is_finite() { v.max(1e-300) } else { 1.0 };
        let (low, high) = (bounded(low), bounded(high));
        let (low, high) = if low < high {
            (low, high)
        } else {
            (low / 1.5, high * 1.5)
        };
        Self {
            low,
            high,
            log: true,
            label: label.into(),
            ticks: None,
        }
    }

    /// Puts ticks at these values.
    pub(super) fn with_ticks(mut self, ticks: Vec<Tick>) -> Self {
        self.ticks = Some(ticks);
        self
    }

    /// Chooses the densest ticks whose labels have room on an axis of this length.
    pub(super) fn ticks(&self, length: f64, across: bool) -> Vec<Tick> {
        let candidates: Vec<Vec<Tick>> = match &self.ticks {
            Some(given) => every(given),
            None if self.log => {
                let dense = [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]].map(|s| self.decades(s));
                if dense[0].len() < 2 {
                    // Within less than a factor of two round steps are what is round.
                    self.round_ticks()
                } else {
                    let thinned = every(&dense[2]).into_iter().skip(1);
                    dense.iter().cloned().chain(thinned).collect()
                }
            }
            None => self.round_ticks(),
        };
        let inside = |ticks: Vec<Tick>| -> Vec<Tick> {
            ticks.into_iter().filter(|(v, _)| self.holds(*v)).collect()
        };
        let has_room = |ticks: &[Tick], room: usize| {
            ticks.windows(2).all(|pair| {
                let [a, b] = [&pair[0], &pair[1]];
                let distance = (self.share(b.0) - self.share(a.0)).abs() * length;
                let needed = if across {
                    0.5 * (text_width(&a.1, SMALL) + text_width(&b.1, SMALL)) + APART[room]
                } else {
                    LINES[room]
                };
                distance >= needed
            })
        };
        let candidates: Vec<Vec<Tick>> = candidates.into_iter().map(inside).collect();
        let [good, enough] = [0, 1];
        let loose = candidates
            .iter()
            .find(|ticks| has_room(ticks, good))
            .filter(|ticks| ticks.len() >= FEW && self.ticks.is_none());
        let tight = || candidates.iter().find(|ticks| has_room(ticks, enough));
        loose.or_else(tight).cloned().unwrap_or_default()
    }

    /// The values of these mantissas within the axis, with labels.
    fn decades(&self, mantissas: &[f64]) -> Vec<Tick> {
        (self.low.log10().floor() as i32..=self.high.log10().ceil() as i32)
            .flat_map(|exponent| mantissas.iter().map(move |m| m * 10f64.powi(exponent)))
            .filter(|v| *v >= self.low * 0.999 && *v <= self.high * 1.001)
            .map(|v| (v, short(v)))
            .collect()
    }

    /// Ticks at round steps, the densest first.
    fn round_ticks(&self) -> Vec<Vec<Tick>> {
        let span = self.high - self.low;
        let power = 10f64.powf(span.log10().floor());
        let steps = [0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
        steps.map(|step| self.stepped(step)).into()
    }

    fn stepped(&self, step: f64) -> Vec<Tick> {
        let decimals = (0..6).find(|d| {
            let scaled = step * 10f64.powi(*d);
            (scaled - scaled.round()).abs() < 1e-6 * scaled
        });
        let decimals = decimals.unwrap_or(6) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last)
            .take(200)
            .map(|k| {
                let value = k as f64 * step;
                let text = if value.abs() < 1e4 {
                    format!("{value:.decimals$}")
                } else {
                    short(value)
                };
                (value, text.replace('-', "−"))
            })
            .collect()
    }

    /// The value at a place, 0 being the low end and 1 the high one.
    pub(super) fn value(&self, share: f64) -> f64 {
        if self.log {
            self.low * (self.high / self.low).powf(share)
        } else {
            self.low + share * (self.high - self.low)
        }
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
        (true, width) if width > 1e-9 * low.abs().max(high.abs()) => (low, high),
        _ => (
            low - 0.5 * low.abs().max(1e-3),
            high + 0.5 * high.abs().max(1e-3),
        ),
    }
}

/// The least that an axis of losses spans, as a share of them: differences of a percent, which seeds
/// alone make, must not fill a page.
pub(super) const LEAST: f64 = 0.05;

/// Widens a range of losses to the least that is drawn, around its middle.
pub(super) fn spread([low, high]: [f64; 2]) -> [f64; 2] {
    let middle = 0.5 * (low + high);
    let half = (0.5 * (high - low)).max(0.5 * LEAST * middle.abs());
    [middle - half, middle + half]
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
        m if m >= 0.9995e15 || (m > 0.0 && m < 0.9995e-3) => {
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
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// All of them, every second, every third, and so on to one alone.
fn every(ticks: &[Tick]) -> Vec<Vec<Tick>> {
    (1..=ticks.len().max(1))
        .map(|step| ticks.iter().step_by(step).cloned().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_have_room_and_are_never_missing() {
        let texts = |axis: Axis, length: f64| -> Vec<String> {
            let ticks = axis.ticks(length, true);
            ticks.into_iter().map(|(_, text)| text).collect()
        };
        let shares = Axis::linear("", [0.27, 0.73]);
        assert_eq!(
            texts(shares.clone(), 250.0),
            ["0.3", "0.4", "0.5", "0.6", "0.7"]
        );
        assert_eq!(texts(shares, 90.0), ["0.4", "0.6"]);
        assert_eq!(
            texts(Axis::log("", [1.9e5, 8.4e5]), 250.0),
            ["200K", "500K"]
        );
        assert_eq!(texts(Axis::log("", [1e15, 1e19]), 250.0).len(), 5);
        assert_eq!(
            texts(Axis::log("", [1e15, 1e19]), 110.0),
            ["1e15", "1e17", "1e19"]
        );
        assert_eq!(
            texts(Axis::log("", [2e5, 3.2e7]), 230.0),
            ["300K", "1M", "3M", "10M", "30M"]
        );
        let narrow = texts(Axis::log("", [3.1e5, 4.4e5]), 250.0);
        assert!(
            narrow.len() > 1 && narrow.contains(&"400K".to_owned()),
            "{narrow:?}"
        );
        for [low, high] in [[3.0, 3.0], [f64::NAN, f64::NAN], [0.0, 0.0]] {
            assert!(!texts(Axis::linear("", [low, high]), 250.0).is_empty());
            assert!(!texts(Axis::log("", [low, high]), 250.0).is_empty());
        }
        let losses = Axis::losses("", [2.0, 2.002], 0.0);
        assert!((losses.high - losses.low - 0.05 * 2.001).abs() < 1e-9);
        let losses = Axis::losses("", [2.0, 3.0], 0.1);
        assert!((losses.low - 1.9).abs() < 1e-9 && (losses.high - 3.1).abs() < 1e-9);
        for axis in [losses, Axis::log("", [2.0, 50.0])] {
            assert!((axis.value(axis.share(2.7)) - 2.7).abs() < 1e-9);
        }
        assert_eq!(short(1.5e6), "1.5M");
        assert_eq!(short(2e18), "2e18");
        assert_eq!((short(0.002), short(5e-4)), ("0.002".into(), "5e-4".into()));
    }
}
