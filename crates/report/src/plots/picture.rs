//! A figure as a list of shapes in logical pixels; `render` makes files of it.
//!
//! Figures are built as values first: what they say can be tested without looking at pixels, and
//! one drawing serves both formats.

/// A colour, red green blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) u8, pub(super) u8, pub(super) u8);

/// How a line is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dash {
    Solid,
    Dashed,
    Dotted,
    Mixed,
    Long,
}

impl Dash {
    /// Lengths of ink and gap, in line widths.
    pub(super) fn pattern(self) -> &'static [f64] {
        match self {
            Self::Solid => &[],
            Self::Dashed => &[5.0, 3.0],
            Self::Dotted => &[1.5, 2.0],
            Self::Mixed => &[6.0, 2.2, 1.5, 2.2],
            Self::Long => &[11.0, 2.5],
        }
    }
}

/// The form of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Plus,
}

/// Where a text stands with respect to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Start,
    Middle,
    End,
}

/// A place in logical pixels, from the top left.
pub(super) type Point = (f64, f64);

/// Something drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Line {
        points: Vec<Point>,
        width: f64,
        dash: Dash,
        colour: Colour,
        opacity: f64,
    },
    Area {
        points: Vec<Point>,
        colour: Colour,
        opacity: f64,
    },
    Box {
        low: Point,
        high: Point,
        colour: Colour,
        opacity: f64,
    },
    Marker {
        at: Point,
        mark: Mark,
        radius: f64,
        colour: Colour,
        opacity: f64,
        hollow: bool,
    },
    Text {
        at: Point,
        text: String,
        size: f64,
        align: Align,
        upright: bool,
        colour: Colour,
    },
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Picture {
    pub(super) width: f64,
    pub(super) height: f64,
    /// How wide it is when printed.
    pub(super) inches: f64,
    pub(super) shapes: Vec<Shape>,
}

impl Picture {
    pub(super) fn new(width: f64, height: f64, inches: f64) -> Self {
        Self {
            width,
            height,
            inches,
            shapes: Vec::new(),
        }
    }

    pub(super) fn line(&mut self, points: Vec<Point>, width: f64, dash: Dash, colour: Colour) {
        self.shapes.push(Shape::Line {
            points,
            width,
            dash,
            colour,
            opacity: 1.0,
        });
    }

    pub(super) fn area(&mut self, points: Vec<Point>, colour: Colour, opacity: f64) {
        self.shapes.push(Shape::Area {
            points,
            colour,
            opacity,
        });
    }

    pub(super) fn fill(&mut self, low: Point, high: Point, colour: Colour) {
        self.shapes.push(Shape::Box {
            low,
            high,
            colour,
            opacity: 1.0,
        });
    }

    pub(super) fn mark(&mut self, at: Point, mark: Mark, radius: f64, colour: Colour) {
        self.marker(at, mark, radius, colour, false);
    }

    /// Draws the outline of a marker.
    pub(super) fn outline(&mut self, at: Point, mark: Mark, radius: f64, colour: Colour) {
        self.marker(at, mark, radius, colour, true);
    }

    fn marker(&mut self, at: Point, mark: Mark, radius: f64, colour: Colour, hollow: bool) {
        self.shapes.push(Shape::Marker {
            at,
            mark,
            radius,
            colour,
            opacity: 1.0,
            hollow,
        });
    }

    pub(super) fn text(&mut self, at: Point, text: &str, size: f64, align: Align, colour: Colour) {
        let text = text.to_owned();
        self.shapes.push(Shape::Text {
            at,
            text,
            size,
            align,
            upright: false,
            colour,
        });
    }

    /// Writes text that reads upwards, centred on its point.
    pub(super) fn upright(&mut self, at: Point, text: &str, size: f64, colour: Colour) {
        let (text, align) = (text.to_owned(), Align::Middle);
        self.shapes.push(Shape::Text {
            at,
            text,
            size,
            align,
            upright: true,
            colour,
        });
    }

    /// Writes a paragraph of at most `width` pixels and returns the y below it.
    pub(super) fn paragraph(
        &mut self,
        at: Point,
        width: f64,
        text: &str,
        size: f64,
        colour: Colour,
    ) -> f64 {
        let mut y = at.1;
        for line in wrap(text, width, size) {
            self.text((at.0, y), &line, size, Align::Start, colour);
            y += 1.35 * size;
        }
        y
    }

    /// Returns all its texts with the boxes they fill (left, top, right, bottom), for tests.
    #[cfg(test)]
    pub(super) fn text_boxes(&self) -> Vec<(&str, [f64; 4])> {
        let texts = self.shapes.iter().filter_map(|shape| match shape {
            Shape::Text {
                at: (x, y),
                text,
                size,
                align,
                upright,
                ..
            } if !text.is_empty() => {
                let (wide, tall) = (text_width(text, *size), 0.8 * size);
                let left = match align {
                    Align::Start => *x,
                    Align::Middle => x - 0.5 * wide,
                    Align::End => x - wide,
                };
                let around = [left, y - 0.5 * tall, left + wide, y + 0.5 * tall];
                let turned = [
                    x - 0.5 * tall,
                    y - 0.5 * wide,
                    x + 0.5 * tall,
                    y + 0.5 * wide,
                ];
                Some((text.as_str(), if *upright { turned } else { around }))
            }
            _ => None,
        });
        texts.collect()
    }

    /// Returns all its words, for tests.
    #[cfg(test)]
    pub(super) fn words(&self) -> String {
        let texts = self.text_boxes().into_iter();
        texts.map(|(text, _)| text).collect::<Vec<_>>().join(" ")
    }
}

/// Estimates how wide a text is; Inter's letters are a little over half as wide as their size.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    let em: f64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.27,
            ' ' | 'f' | 't' | 'r' | 'I' | '(' | ')' | '[' | ']' | '/' => 0.34,
            'm' | 'w' | 'M' | 'W' | '%' => 0.88,
            'A'..='Z' => 0.68,
            _ => 0.6,
        })
        .sum();
    em * size
}

/// Breaks a text into lines of at most `width` pixels.
pub(super) fn wrap(text: &str, width: f64, size: f64) -> Vec<String> {
    // Room for a viewer that falls back to a wider font.
    let width = 0.94 * width;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(line, size) + text_width(word, size) + 0.3 * size <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
