//! Colours, marks, dashes and type: one place, so that all figures look alike.
//!
//! Every series differs in colour, dash and marker at once, so that it can be told apart by a
//! colour-blind reader and in grayscale.

use super::picture::{Colour, Dash, Mark};

/// The bundled font followed by what a viewer without it falls back to. It is at once the name
/// under which the font is registered for bitmaps and the `font-family` written into SVG files.
pub(super) const FONT: &str = "Inter, Helvetica, Arial, sans-serif";

/// Inter 4.0, SIL Open Font License (assets/Inter-LICENSE.txt).
pub(super) static FONT_FILE: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../assets/Inter-Regular.otf"
));

/// Size of panel titles and axis labels.
pub(super) const LABEL: f64 = 13.5;

/// Size of tick labels, legends and notes.
pub(super) const SMALL: f64 = 12.0;

/// Text and axes.
pub(super) const INK: Colour = Colour(0x22, 0x22, 0x22);

/// Ticks, notes and reference lines.
pub(super) const GREY: Colour = Colour(0x66, 0x66, 0x66);

/// Grid lines.
pub(super) const FAINT: Colour = Colour(0xe4, 0xe4, 0xe4);

/// Background.
pub(super) const PAPER: Colour = Colour(0xff, 0xff, 0xff);

/// What stands out.
pub(super) const RED: Colour = Colour(0xd5, 0x5e, 0x00);

/// The sample of that background in a legend, where its own shade would be too faint.
pub(super) const SHADE: Colour = Colour(0xd4, 0xd4, 0xd4);

/// Background of what is extrapolated.
pub(super) const BEYOND: Colour = Colour(0xf1, 0xf1, 0xf1);

/// What is said of an optimum that is drawn as an outline.
pub(super) const UNDETERMINED: &str = "not determined by these runs";

/// Okabe and Ito's colours, those legible on white first.
///
/// # Source
/// Okabe & Ito, Color Universal Design, 2008; yellow is left out: it vanishes on paper.
const COLOURS: [Colour; 6] = [
    Colour(0x00, 0x72, 0xb2),
    Colour(0xd5, 0x5e, 0x00),
    Colour(0x00, 0x9e, 0x73),
    Colour(0xcc, 0x79, 0xa7),
    Colour(0x56, 0xb4, 0xe9),
    Colour(0xe6, 0x9f, 0x00),
];

/// Dashes, in the order of the colours.
pub(super) const DASHES: [Dash; 4] = [Dash::Solid, Dash::Dashed, Dash::Dotted, Dash::Mixed];

const MARKS: [Mark; 6] = [
    Mark::Circle,
    Mark::Square,
    Mark::Triangle,
    Mark::Diamond,
    Mark::Cross,
    Mark::Plus,
];

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) colour: Colour,
    pub(super) dash: Dash,
    pub(super) mark: Mark,
}

/// Returns the k-th series.
pub(super) fn series(k: usize) -> Series {
    Series {
        colour: COLOURS[k % COLOURS.len()],
        dash: DASHES[k % DASHES.len()],
        mark: MARKS[k % MARKS.len()],
    }
}

/// Returns the colour of the viridis map at `t` in [0, 1].
///
/// # Source
/// van der Walt & Smith, viridis; anchors of the published table, interpolated.
pub(super) fn viridis(t: f64) -> Colour {
    const ANCHORS: [[f64; 3]; 9] = [
        [68.0, 1.0, 84.0],
        [71.0, 44.0, 122.0],
        [59.0, 81.0, 139.0],
        [44.0, 113.0, 142.0],
        [33.0, 144.0, 141.0],
        [39.0, 173.0, 129.0],
        [92.0, 200.0, 99.0],
        [170.0, 220.0, 50.0],
        [253.0, 231.0, 37.0],
    ];
    let position = if t.is_finite() {
        t.clamp(0.0, 1.0)
    } else {
        0.0
    } * 8.0;
    let low = (position.floor() as usize).min(7);
    let share = position - low as f64;
    let [red, green, blue] = [0, 1, 2].map(|channel| {
        (ANCHORS[low][channel] * (1.0 - share) + ANCHORS[low + 1][channel] * share).round() as u8
    });
    Colour(red, green, blue)
}
