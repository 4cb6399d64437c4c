//! Pictures → SVG, PNG and PDF, through the drawing library's simplest shapes.

use super::pdf;
use super::picture::{Align, Colour, Mark, Picture, Point, Shape};
use super::style::{FONT, FONT_FILE, PAPER};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::IntoDrawingArea;
use plotters::prelude::{Circle, DrawingArea, PathElement, Polygon, RGBAColor, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, IntoFont, ShapeStyle, register_font};
use std::path::Path;
use std::sync::Once;

/// Coordinates of the drawing library are whole numbers: vectors are drawn finer and scaled.
const SVG_SCALE: f64 = 8.0;

/// Points in an inch.
const POINTS: f64 = 72.0;

/// Dots an inch of a bitmap.
const DOTS: f64 = 240.0;

/// The library centres bitmap text on the box of a line, which is higher than its letters: by this
/// share of the type's size.
const DROP: f64 = 0.2;

/// Draws a picture as SVG text, as wide as it is printed.
pub(super) fn svg(picture: &Picture) -> Result<String, String> {
    sized_svg(picture, POINTS * picture.inches / picture.width, "pt")
}

/// Draws a picture as SVG text for a page on a screen, a pixel for each logical one.
pub(super) fn screen_svg(picture: &Picture) -> Result<String, String> {
    sized_svg(picture, 1.0, "px")
}

fn sized_svg(picture: &Picture, unit: f64, name: &str) -> Result<String, String> {
    let size = pixels(picture, SVG_SCALE);
    let mut text = String::new();
    let backend = SVGBackend::with_string(&mut text, size);
    draw(picture, backend, SVG_SCALE, 0.0)?;
    let drawn = format!("width=\"{}\" height=\"{}\"", size.0, size.1);
    let [width, height] = [size.0, size.1].map(|length| f64::from(length) / SVG_SCALE * unit);
    let shown = format!("width=\"{width:.1}{name}\" height=\"{height:.1}{name}\"");
    Ok(text.replacen(&drawn, &shown, 1))
}

/// Draws a picture as a PDF page, as large as it is printed.
pub(super) fn pdf(picture: &Picture) -> Result<Vec<u8>, String> {
    let unit = POINTS * picture.inches / picture.width / SVG_SCALE;
    pdf::page(pixels(picture, SVG_SCALE), unit as f32, |backend| {
        draw(picture, backend, SVG_SCALE, 0.0)
    })
}

/// Draws a picture as a PNG file that knows how large it is printed; the name must end in `.png`.
pub(super) fn png(picture: &Picture, path: &Path) -> Result<(), String> {
    let scale = DOTS * picture.inches / picture.width;
    let backend = BitMapBackend::new(path, pixels(picture, scale));
    draw(picture, backend, scale, DROP)?;
    let drawn = std::fs::read(path).map_err(|error| error.to_string())?;
    std::fs::write(path, with_density(&drawn)).map_err(|error| error.to_string())
}

/// Adds the chunk that says how many dots make a metre; it stands after the header, the first.
///
/// # Source
/// Portable Network Graphics, third edition, 11.3.4.3 and annex D.
fn with_density(png: &[u8]) -> Vec<u8> {
    const HEADER_END: usize = 8 + 25;
    let per_metre = ((DOTS / 0.0254).round() as u32).to_be_bytes();
    let mut chunk = b"pHYs".to_vec();
    chunk.extend(per_metre);
    chunk.extend(per_metre);
    chunk.push(1);
    let mut whole = png.to_vec();
    let at = HEADER_END.min(whole.len());
    let length = (chunk.len() as u32 - 4).to_be_bytes();
    let framed = length
        .into_iter()
        .chain(chunk.iter().copied())
        .chain(crc(&chunk).to_be_bytes());
    whole.splice(at..at, framed.collect::<Vec<u8>>());
    whole
}

/// The cyclic redundancy check of PNG chunks.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
        })
    })
}

fn pixels(picture: &Picture, scale: f64) -> (u32, u32) {
    (
        (picture.width * scale).round() as u32,
        (picture.height * scale).ceil() as u32,
    )
}

fn draw<B: DrawingBackend>(
    picture: &Picture,
    backend: B,
    scale: f64,
    lowered: f64,
) -> Result<(), String> {
    static REGISTERED: Once = Once::new();
    // A font that cannot be read would show as an error of the first text.
    REGISTERED.call_once(|| drop(register_font(FONT, FontStyle::Normal, FONT_FILE)));
    let area = backend.into_drawing_area();
    let said = |error: &dyn std::fmt::Display| error.to_string();
    area.fill(&paint(PAPER, 1.0))
        .map_err(|error| said(&error))?;
    for shape in &picture.shapes {
        draw_shape(&area, shape, scale, lowered).map_err(|error| said(&error))?;
    }
    area.present().map_err(|error| said(&error))
}

type Drawn<B> =
    Result<(), plotters::drawing::DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

fn paint(Colour(red, green, blue): Colour, opacity: f64) -> RGBAColor {
    RGBAColor(red, green, blue, opacity)
}

fn draw_shape<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    shape: &Shape,
    scale: f64,
    lowered: f64,
) -> Drawn<B> {
    let place = |&(x, y): &Point| ((x * scale).round() as i32, (y * scale).round() as i32);
    let stroke = |colour, opacity, width: f64| {
        let width = (width * scale).round().max(1.0) as u32;
        ShapeStyle {
            color: paint(colour, opacity),
            filled: false,
            stroke_width: width,
        }
    };
    match shape {
        Shape::Line {
            points,
            width,
            dash,
            colour,
            opacity,
        } => {
            for piece in dashed(points, dash.pattern(), *width) {
                let piece: Vec<_> = piece.iter().map(place).collect();
                area.draw(&PathElement::new(piece, stroke(*colour, *opacity, *width)))?;
            }
            Ok(())
        }
        Shape::Area {
            points,
            colour,
            opacity,
        } => {
            let points: Vec<_> = points.iter().map(place).collect();
            area.draw(&Polygon::new(points, paint(*colour, *opacity)))
        }
        Shape::Box {
            low,
            high,
            colour,
            opacity,
        } => area.draw(&Rectangle::new(
            [place(low), place(high)],
            paint(*colour, *opacity).filled(),
        )),
        Shape::Marker {
            at,
            mark,
            radius,
            colour,
            opacity,
            hollow,
        } => {
            let style = stroke(*colour, *opacity, 1.4);
            let outlines = outlines(*mark, *at, *radius);
            if *mark == Mark::Circle {
                let filled = if *hollow {
                    style
                } else {
                    paint(*colour, *opacity).filled()
                };
                return area.draw(&Circle::new(
                    place(at),
                    (radius * scale).round() as i32,
                    filled,
                ));
            }
            for outline in outlines {
                let points: Vec<_> = outline.iter().map(place).collect();
                if *hollow || matches!(mark, Mark::Cross | Mark::Plus) {
                    area.draw(&PathElement::new(points, style))?;
                } else {
                    area.draw(&Polygon::new(points, paint(*colour, *opacity)))?;
                }
            }
            Ok(())
        }
        Shape::Text {
            at,
            text,
            size,
            align,
            upright,
            colour,
        } => {
            let horizontal = match align {
                Align::Start => HPos::Left,
                Align::Middle => HPos::Center,
                Align::End => HPos::Right,
            };
            // The library takes the height of a line, 1.24 times the size of the type.
            let font = (FONT, 1.24 * size * scale).into_font();
            let font = if *upright {
                font.transform(FontTransform::Rotate270)
            } else {
                font
            };
            let style = font
                .color(&paint(*colour, 1.0))
                .pos(Pos::new(horizontal, VPos::Center));
            let at = if *upright {
                (at.0 + lowered * size, at.1)
            } else {
                (at.0, at.1 + lowered * size)
            };
            area.draw(&Text::new(text.as_str(), place(&at), style))
        }
    }
}

/// The corners of a marker of about equal ink whatever its form.
fn outlines(mark: Mark, (x, y): Point, r: f64) -> Vec<Vec<Point>> {
    match mark {
        Mark::Circle => Vec::new(),
        Mark::Square => {
            let r = 0.89 * r;
            vec![vec![
                (x - r, y - r),
                (x + r, y - r),
                (x + r, y + r),
                (x - r, y + r),
                (x - r, y - r),
            ]]
        }
        Mark::Triangle => {
            let r = 1.2 * r;
            let (w, h) = (0.87 * r, 0.5 * r);
            vec![vec![(x, y - r), (x + w, y + h), (x - w, y + h), (x, y - r)]]
        }
        Mark::Diamond => {
            let r = 1.25 * r;
            vec![vec![
                (x, y - r),
                (x + r, y),
                (x, y + r),
                (x - r, y),
                (x, y - r),
            ]]
        }
        Mark::Cross => {
            vec![
                vec![(x - r, y - r), (x + r, y + r)],
                vec![(x - r, y + r), (x + r, y - r)],
            ]
        }
        Mark::Plus => vec![vec![(x - r, y), (x + r, y)], vec![(x, y - r), (x, y + r)]],
    }
}

/// Breaks a line into its inked pieces.
fn dashed(points: &[Point], pattern: &[f64], width: f64) -> Vec<Vec<Point>> {
    if pattern.is_empty() {
        return vec![points.to_vec()];
    }
    let mut pieces = Vec::new();
    let (mut index, mut left) = (0, pattern[0] * width);
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    for pair in points.windows(2) {
        let ((mut x, mut y), (to_x, to_y)) = (pair[0], pair[1]);
        loop {
            let (dx, dy) = (to_x - x, to_y - y);
            let length = dx.hypot(dy);
            if !length.is_finite() || length <= left {
                left -= if length.is_finite() { length } else { 0.0 };
                if index % 2 == 0 {
                    piece.push((to_x, to_y));
                }
                break;
            }
            (x, y) = (x + dx * left / length, y + dy * left / length);
            if index % 2 == 0 {
                piece.push((x, y));
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![(x, y)];
            }
            index += 1;
            left = pattern[index % pattern.len()] * width;
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::super::picture::Dash;
    use super::*;

    #[test]
    fn dashes_keep_their_share_of_ink() {
        let line = [(0.0, 0.0), (30.0, 0.0), (100.0, 0.0)];
        let ink: f64 = dashed(&line, Dash::Dashed.pattern(), 1.0)
            .iter()
            .map(|piece| piece[piece.len() - 1].0 - piece[0].0)
            .sum();
        assert!((ink - 62.5).abs() < 2.6, "{ink}");
        assert_eq!(dashed(&line, &[], 1.0).len(), 1);
        assert!(dashed(&[], &[5.0, 3.0], 1.0).is_empty());
    }

    #[test]
    fn files_know_their_size_on_paper() {
        let mut picture = Picture::new(200.0, 100.0, 2.5);
        let text = "γ ≤ 1 · N";
        picture.text((10.0, 10.0), text, 12.0, Align::Start, Colour(0, 0, 0));
        let text = svg(&picture).expect("drawn");
        assert!(
            text.contains("<svg width=\"180.0pt\" height=\"90.0pt\""),
            "{text}"
        );
        assert!(text.contains("sans-serif"), "{text}");
        let text = screen_svg(&picture).expect("drawn");
        assert!(text.contains("<svg width=\"200.0px\""), "{text}");
        let page = pdf(&picture).expect("drawn");
        let page = String::from_utf8_lossy(&page);
        assert!(page.contains("/MediaBox [0 0 180 90]"), "{page}");
        assert!(
            page.contains("/FontFile3"),
            "the font is in the file: {page}"
        );
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.png");
        png(&picture, &path).expect("drawn");
        let bytes = std::fs::read(&path).expect("readable");
        assert!(bytes.starts_with(b"\x89PNG"));
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four"));
        assert_eq!((number(16), number(20)), (600, 300));
        assert_eq!(&bytes[37..41], b"pHYs");
        assert_eq!(number(41), 9449);
        // The check of the end chunk, which is empty, is in the standard.
        assert_eq!(crc(b"IEND"), 0xae42_6082);
    }
}
