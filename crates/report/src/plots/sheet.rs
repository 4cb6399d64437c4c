//! The layout that all figures share: panels in rows, a legend above them and notes below.
//!
//! A figure says what it shows; how many panels stand side by side, which labels they share and how
//! high they are follows from the size that is asked for.

use super::axis::Axis;
use super::clip::{carries_data, clipped};
use super::legend::{Entry, legend, notes};
use super::panel::Panel;
use super::picture::{Align, Picture, Shape, wrap};
use super::size::Size;
use super::style::{INK, LABEL, SMALL};

/// Draws what a panel holds, its grid included.
type Draw<'a> = Box<dyn Fn(&mut Picture, &Panel) + 'a>;

/// A panel that has no place yet.
pub(super) struct Chart<'a> {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    draw: Draw<'a>,
    /// Draws what stands beside the frame.
    beside: Option<Draw<'a>>,
}

impl<'a> Chart<'a> {
    pub(super) fn new(
        title: impl Into<String>,
        x: Axis,
        y: Axis,
        draw: impl Fn(&mut Picture, &Panel) + 'a,
    ) -> Self {
        Self {
            title: title.into(),
            x,
            y,
            draw: Box::new(draw),
            beside: None,
        }
    }

    /// Draws more beside the frame, where the sheet leaves room for it.
    pub(super) fn with_beside(mut self, draw: impl Fn(&mut Picture, &Panel) + 'a) -> Self {
        self.beside = Some(Box::new(draw));
        self
    }
}

/// A figure that has no size yet.
#[derive(Default)]
pub(super) struct Sheet<'a> {
    /// What somebody calls it, above all else.
    pub(super) title: Option<String>,
    /// What must be read before the panels.
    pub(super) heading: Option<String>,
    pub(super) charts: Vec<Chart<'a>>,
    pub(super) legend: Vec<Entry>,
    pub(super) notes: Vec<String>,
    /// Room right of the panels, in logical pixels.
    pub(super) aside: f64,
}

/// Room at the outer edges.
const EDGE: f64 = 8.0;

/// Height of one line of an axis label.
const LINE: f64 = 16.0;

/// A slide that is too full for its type is laid out as if it were so many times larger.
const ZOOMS: [f64; 5] = [1.0, 1.2, 1.45, 1.75, 2.1];

/// The smallest panel that can be read.
const LEAST: (f64, f64) = (120.0, 78.0);

/// Where panels go.
#[derive(Clone, Debug)]
struct Grid {
    columns: usize,
    rows: usize,
    /// From the left edge to the first panel.
    left: f64,
    /// Between two panels side by side.
    gap: f64,
    /// Above a panel, and below it, own labels included.
    above: f64,
    below: f64,
    wide: f64,
    tall: f64,
}

impl Sheet<'_> {
    /// Lays the figure out.
    pub(super) fn picture(&self, size: Size) -> Picture {
        let width = size.width();
        let Some(height) = size.height() else {
            let grid = self.grid(width, self.columns(width), None);
            return self.draw(Picture::new(width, 0.0, size.inches()), &grid);
        };
        let mut best: Option<(f64, Picture)> = None;
        for zoom in ZOOMS {
            let (width, height) = (zoom * width, zoom * height);
            let grids = (1..=self.charts.len().clamp(1, 4)).map(|columns| {
                let grid = self.grid(width, columns, Some(height));
                let room = (grid.wide / LEAST.0).min(grid.tall / LEAST.1);
                // Places that stay empty make the others smaller for nothing.
                let filled = self.charts.len() as f64 / (grid.rows * columns) as f64;
                (room, room * filled, grid)
            });
            let Some((room, _, grid)) = grids.max_by(|a, b| a.1.total_cmp(&b.1)) else {
                break;
            };
            if best.as_ref().is_none_or(|(best, _)| room > *best) {
                let blank = Picture::new(width, height, size.inches());
                best = Some((room, self.draw(blank, &grid)));
            }
            if room >= 1.0 {
                break;
            }
        }
        let blank = || (0.0, Picture::new(width, height, size.inches()));
        let (_, mut picture) = best.unwrap_or_else(blank);
        // What does not fit makes the picture smaller, never cut.
        let ratio = height / width;
        picture.width = picture.width.max(picture.height / ratio);
        picture.height = picture.width * ratio;
        picture
    }

    /// Panels side by side where the height is free.
    fn columns(&self, width: f64) -> usize {
        match (self.charts.len(), width < 500.0) {
            (0 | 1, _) | (2, true) => 1,
            (_, true) | (2 | 4, false) => 2,
            (..10, false) => 3,
            (_, false) => 4,
        }
    }

    /// Says whether all panels share the label of x, that of y, and the whole of y.
    fn shared(&self) -> [bool; 3] {
        let all = |same: fn(&Chart, &Chart) -> bool| {
            self.charts.windows(2).all(|pair| same(&pair[0], &pair[1]))
        };
        [
            all(|a, b| a.x.label == b.x.label),
            all(|a, b| a.y.label == b.y.label),
            all(|a, b| a.y == b.y),
        ]
    }

    fn grid(&self, width: f64, columns: usize, height: Option<f64>) -> Grid {
        let rows = self.charts.len().div_ceil(columns).max(1);
        let titled = self.charts.iter().any(|chart| !chart.title.is_empty());
        let [shared_x, shared_y, same_y] = self.shared();
        let nominal = (width - 60.0) / columns as f64 - 30.0;
        let lines = |chart: &Chart| wrap(&chart.x.label, nominal, LABEL).len();
        let own = if shared_x {
            0
        } else {
            self.charts.iter().map(lines).max().unwrap_or(1)
        };
        let (above, below) = (if titled { 26.0 } else { 10.0 }, 24.0 + own as f64 * LINE);
        let tall = match height {
            None => {
                let most = match (width < 500.0, rows) {
                    (true, ..5) => 215.0,
                    // Many rows must not make a figure higher than a page.
                    (true, _) => LEAST.1,
                    (false, _) => 300.0,
                };
                (0.92 * nominal).clamp(LEAST.1, most)
            }
            Some(height) => {
                let around = self.around(width);
                let room = height - around - rows as f64 * (above + below);
                (room / rows as f64).max(30.0)
            }
        };
        let (mut numbers, mut label) = (0.0, 0.0);
        for chart in &self.charts {
            let panel = chart.at([0.0, 0.0, 1.0, tall]);
            numbers = panel.y_room().max(numbers);
            label = (LINE * wrap(&chart.y.label, 1.1 * tall, LABEL).len() as f64).max(label);
        }
        let left = EDGE + label + numbers + 4.0;
        let gap = match (same_y, shared_y) {
            (true, _) => 20.0,
            (false, true) => numbers + 16.0,
            (false, false) => numbers + label + 18.0,
        };
        let right = EDGE + 14.0 + self.aside;
        let wide = (width - left - right - gap * (columns - 1) as f64) / columns as f64;
        Grid {
            columns,
            rows,
            left,
            gap,
            above,
            below,
            wide: wide.max(30.0),
            tall,
        }
    }

    /// The height of all that is neither a panel nor stands between two.
    fn around(&self, width: f64) -> f64 {
        let mut scratch = Picture::new(width, 0.0, 1.0);
        let at = (EDGE, EDGE);
        let room = width - 2.0 * EDGE;
        // The legend is as wide as the panels; a line more does no harm.
        let headed = self.head(&mut scratch, at, room);
        let above = legend(&mut scratch, (EDGE, headed), room - 60.0, &self.legend);
        let below = notes(&mut scratch, at, room, &self.notes);
        above + below + 2.0 * LINE + 8.0
    }

    /// Writes title and heading and returns the y below them.
    fn head(&self, picture: &mut Picture, at: (f64, f64), room: f64) -> f64 {
        let mut y = at.1;
        for words in [&self.title, &self.heading].into_iter().flatten() {
            for line in wrap(words, room, LABEL) {
                picture.text((at.0, y), &line, LABEL, Align::Start, INK);
                y += LINE + 2.0;
            }
            y += 2.0;
        }
        y
    }

    fn draw(&self, mut picture: Picture, grid: &Grid) -> Picture {
        let width = picture.width;
        let [shared_x, shared_y, same_y] = self.shared();
        // Where room is scarce, what stands around the panels begins at the edge.
        let margin = if width < 500.0 { EDGE } else { grid.left };
        let room = width - margin - EDGE;
        let headed = self.head(&mut picture, (margin, EDGE + 8.0), room);
        let top = legend(&mut picture, (margin, headed), room, &self.legend);
        let pitch = grid.above + grid.tall + grid.below;
        for (k, chart) in self.charts.iter().enumerate() {
            let (column, row) = (k % grid.columns, k / grid.columns);
            let left = grid.left + column as f64 * (grid.wide + grid.gap);
            let start = top + row as f64 * pitch + grid.above;
            let panel = chart.at([left, start, left + grid.wide, start + grid.tall]);
            picture.shapes.extend(chart.within(&panel));
            if let Some(draw) = &chart.beside {
                draw(&mut picture, &panel);
            }
            panel.frame(&mut picture, column == 0 || !same_y);
            panel.title(&mut picture, &chart.title);
            if column == 0 || !shared_y {
                upright_label(&mut picture, &panel);
            }
            if !shared_x {
                let middle = 0.5 * (panel.left + panel.right);
                let room = grid.wide + 12.0;
                let y = panel.bottom + 31.0;
                lines(&mut picture, (middle, y), room, &chart.x.label);
            }
        }
        let mut y = top + grid.rows as f64 * pitch;
        if let Some(chart) = self.charts.first().filter(|_| shared_x) {
            let columns = grid.columns.min(self.charts.len()) as f64;
            let middle = grid.left + 0.5 * (columns * (grid.wide + grid.gap) - grid.gap);
            let room = 2.0 * (width - middle).min(middle) - EDGE;
            y = lines(&mut picture, (middle, y + 7.0), room, &chart.x.label);
        } else {
            y += 8.0;
        }
        let end = notes(&mut picture, (margin, y + 10.0), room, &self.notes);
        picture.height = picture
            .height
            .max(end + if self.notes.is_empty() { 0.0 } else { 2.0 });
        picture
    }
}

impl Chart<'_> {
    fn at(&self, [left, top, right, bottom]: [f64; 4]) -> Panel {
        Panel {
            left,
            top,
            right,
            bottom,
            x: self.x.clone(),
            y: self.y.clone(),
        }
    }

    /// Draws what lies within the frame.
    fn within(&self, panel: &Panel) -> Vec<Shape> {
        let mut scratch = Picture::new(0.0, 0.0, 0.0);
        (self.draw)(&mut scratch, panel);
        clipped(scratch.shapes, panel.edges())
    }

    /// Says whether its limits leave nothing that was measured or fitted.
    pub(super) fn is_empty(&self) -> bool {
        let panel = self.at([0.0, 0.0, 300.0, 200.0]);
        !self.within(&panel).iter().any(carries_data)
    }
}

/// Writes centred lines and returns the y of the next one.
fn lines(picture: &mut Picture, at: (f64, f64), room: f64, text: &str) -> f64 {
    let mut y = at.1;
    for line in wrap(text, room, LABEL) {
        picture.text((at.0, y), &line, LABEL, Align::Middle, INK);
        y += LINE;
    }
    y
}

/// Writes the label of the y axis beside its numbers.
fn upright_label(picture: &mut Picture, panel: &Panel) {
    let middle = 0.5 * (panel.top + panel.bottom);
    let lines = wrap(&panel.y.label, 1.1 * (panel.bottom - panel.top), LABEL);
    let right = panel.left - panel.y_room() - 0.5 * SMALL - 6.0;
    for (k, line) in lines.iter().rev().enumerate() {
        picture.upright((right - k as f64 * LINE, middle), line, LABEL, INK);
    }
}
