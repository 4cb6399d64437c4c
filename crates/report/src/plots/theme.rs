//! Figures within a page follow its light or dark theme: their colours are variables of its style.
//!
//! What stands for a number, as the colours of a map do, stays what it is.

use super::picture::Colour;
use super::style::{BEYOND, FAINT, GREY, INK, PAPER, SHADE, series};
use std::fmt::Write;

/// The name of every colour that follows the theme, on light and on dark ground.
fn colours() -> Vec<(String, Colour, Colour)> {
    let neutral = [
        ("ink", INK, Colour(0xe4, 0xe7, 0xea)),
        ("grey", GREY, Colour(0xa4, 0xad, 0xb6)),
        ("grid", FAINT, Colour(0x34, 0x3a, 0x40)),
        ("ground", PAPER, Colour(0x1b, 0x1f, 0x23)),
        ("shade", SHADE, Colour(0x4a, 0x52, 0x5a)),
        ("beyond", BEYOND, Colour(0x26, 0x2b, 0x30)),
    ];
    // Okabe and Ito's hues, lighter.
    let lighter = [
        Colour(0x5d, 0xb4, 0xf0),
        Colour(0xff, 0x93, 0x50),
        Colour(0x2f, 0xc9, 0x9b),
        Colour(0xe7, 0x9c, 0xc4),
        Colour(0x9a, 0xd8, 0xfa),
        Colour(0xf2, 0xb1, 0x34),
    ];
    let neutral = neutral.map(|(name, light, dark)| (name.to_owned(), light, dark));
    let of_series = lighter
        .into_iter()
        .enumerate()
        .map(|(k, dark)| (format!("series-{k}"), series(k).colour, dark));
    neutral.into_iter().chain(of_series).collect()
}

/// Puts variables in place of the colours of a drawing.
pub(super) fn themed(svg: &str) -> String {
    let mut themed = svg.to_owned();
    for (name, light, _) in colours() {
        let variable = format!("\"var(--figure-{name})\"");
        themed = themed.replace(&format!("\"{}\"", hex(light)), &variable);
    }
    themed
}

/// The variables of the figures that [`svg`](super::svg) draws, for the style of the page around them:
/// light, and on a dark screen dark.
pub fn theme() -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (name, on_light, on_dark) in colours() {
        // Writing to a string cannot fail.
        let _ = write!(light, "--figure-{name}:{};", hex(on_light));
        let _ = write!(dark, "--figure-{name}:{};", hex(on_dark));
    }
    format!(":root{{{light}}}\n@media screen and (prefers-color-scheme: dark){{:root{{{dark}}}}}\n")
}

/// A colour as the drawing library writes it.
fn hex(Colour(red, green, blue): Colour) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::super::picture::{Align, Dash, Picture};
    use super::super::render;
    use super::*;

    #[test]
    fn every_colour_of_a_drawing_follows_the_theme() {
        let mut picture = Picture::new(200.0, 100.0, 2.5);
        let line = vec![(0.0, 0.0), (10.0, 10.0)];
        for (_, colour, _) in colours() {
            picture.line(line.clone(), 1.0, Dash::Solid, colour);
            picture.text((5.0, 5.0), "N", 12.0, Align::Start, colour);
        }
        let drawn = render::screen_svg(&picture).expect("drawn");
        let themed = themed(&drawn);
        assert!(
            drawn.contains("\"#222222\"") && !themed.contains('#'),
            "{themed}"
        );
        let theme = theme();
        for used in themed.split("var(").skip(1) {
            let (name, _) = used.split_once(')').expect("closes");
            assert_eq!(theme.matches(&format!("{name}:")).count(), 2, "{name}");
        }
    }
}
