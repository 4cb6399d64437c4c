//! What of a panel's shapes lies within its frame.

use super::picture::{Point, Shape};
use super::style::{BEYOND, GREY};

/// The left, top, right and bottom edge of a frame.
pub(super) type Frame = [f64; 4];

/// Room for what stands on an edge, whose place is rounded.
const SLACK: f64 = 0.5;

/// Cuts shapes at a frame: lines, areas and boxes at its edges; markers and texts are within or not.
pub(super) fn clipped(shapes: Vec<Shape>, frame: Frame) -> Vec<Shape> {
    let cut = shapes.into_iter().flat_map(|shape| within(shape, frame));
    cut.collect()
}

fn within(shape: Shape, frame: Frame) -> Vec<Shape> {
    let [left, top, right, bottom] = frame;
    match shape {
        Shape::Line {
            points,
            width,
            dash,
            colour,
            opacity,
        } => {
            let pieces = polyline(&points, frame).into_iter();
            let line = |points| Shape::Line {
                points,
                width,
                dash,
                colour,
                opacity,
            };
            pieces.map(line).collect()
        }
        Shape::Area {
            points,
            colour,
            opacity,
        } => {
            let points = polygon(points, frame);
            let area = (points.len() > 2).then_some(Shape::Area {
                points,
                colour,
                opacity,
            });
            area.into_iter().collect()
        }
        Shape::Box {
            low,
            high,
            colour,
            opacity,
        } => {
            let low = (low.0.max(left), low.1.max(top));
            let high = (high.0.min(right), high.1.min(bottom));
            let inside = (low.0 < high.0 && low.1 < high.1).then_some(Shape::Box {
                low,
                high,
                colour,
                opacity,
            });
            inside.into_iter().collect()
        }
        Shape::Marker { at, .. } | Shape::Text { at, .. } => {
            let across = (left - SLACK..=right + SLACK).contains(&at.0);
            let up = (top - SLACK..=bottom + SLACK).contains(&at.1);
            if across && up {
                vec![shape]
            } else {
                Vec::new()
            }
        }
    }
}

/// The pieces of a line within a frame; a point that is no place cuts it too.
fn polyline(points: &[Point], frame: Frame) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for pair in points.windows(2) {
        let Some((from, to)) = segment(pair[0], pair[1], frame) else {
            continue;
        };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&from) => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
    }
    pieces
}

/// The part of a segment within a frame.
///
/// # Source
/// Liang & Barsky, A new concept and method for line clipping, 1984.
fn segment(a: Point, b: Point, [left, top, right, bottom]: Frame) -> Option<(Point, Point)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    if !(a.0.is_finite() && a.1.is_finite() && dx.is_finite() && dy.is_finite()) {
        return None;
    }
    let (mut start, mut end) = (0.0f64, 1.0f64);
    for (step, room) in [
        (-dx, a.0 - left + SLACK),
        (dx, right + SLACK - a.0),
        (-dy, a.1 - top + SLACK),
        (dy, bottom + SLACK - a.1),
    ] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            start = start.max(room / step);
        } else {
            end = end.min(room / step);
        }
    }
    let at = |share: f64| match share {
        0.0 => a,
        1.0 => b,
        _ => (a.0 + share * dx, a.1 + share * dy),
    };
    (start < end).then(|| (at(start), at(end)))
}

/// The part of a polygon within a frame.
///
/// # Source
/// Sutherland & Hodgman, Reentrant polygon clipping, 1974.
fn polygon(points: Vec<Point>, [left, top, right, bottom]: Frame) -> Vec<Point> {
    // How far a point lies on the inner side of each edge.
    let edges: [&dyn Fn(Point) -> f64; 4] =
        [&|p| p.0 - left, &|p| right - p.0, &|p| p.1 - top, &|p| {
            bottom - p.1
        }];
    let mut kept = points;
    kept.retain(|(x, y)| x.is_finite() && y.is_finite());
    for inner in edges {
        let before = kept.iter().cycle().skip(kept.len().saturating_sub(1));
        let pairs: Vec<(Point, Point)> = before.copied().zip(kept.iter().copied()).collect();
        kept = pairs
            .into_iter()
            .flat_map(|(from, to)| {
                let (a, b) = (inner(from), inner(to));
                let crossing = ((a < 0.0) != (b < 0.0)).then(|| {
                    let share = a / (a - b);
                    (
                        from.0 + share * (to.0 - from.0),
                        from.1 + share * (to.1 - from.1),
                    )
                });
                [crossing, (b >= 0.0).then_some(to)].into_iter().flatten()
            })
            .collect();
    }
    kept
}

/// Says whether a shape shows something that was measured or fitted: grids, levels, shades and lines
/// to compare with do not.
pub(super) fn carries_data(shape: &Shape) -> bool {
    match shape {
        Shape::Marker { .. } => true,
        Shape::Box { colour, .. } => *colour != BEYOND,
        Shape::Line { points, colour, .. } => {
            let (Some(a), Some(b)) = (points.first(), points.last()) else {
                return false;
            };
            let along_an_axis = points.len() == 2 && (a.0 == b.0 || a.1 == b.1);
            *colour != GREY && !along_an_axis
        }
        Shape::Area { .. } | Shape::Text { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame = [0.0, 0.0, 10.0, 10.0];

    #[test]
    fn lines_are_cut_at_every_edge_and_where_they_have_no_place() {
        let pieces = polyline(&[(-5.0, 5.0), (5.0, 5.0), (5.0, 20.0)], FRAME);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0], [(-SLACK, 5.0), (5.0, 5.0), (5.0, 10.0 + SLACK)]);
        let out = [(-5.0, -5.0), (-1.0, 20.0), (20.0, 20.0)];
        assert!(polyline(&out, FRAME).is_empty());
        let broken = [
            (1.0, 1.0),
            (2.0, 2.0),
            (3.0, f64::NAN),
            (4.0, 4.0),
            (5.0, 5.0),
        ];
        assert_eq!(polyline(&broken, FRAME).len(), 2);
    }

    #[test]
    fn areas_are_cut_at_every_edge() {
        let around = vec![(-5.0, -5.0), (15.0, -5.0), (15.0, 15.0), (-5.0, 15.0)];
        let mut kept = polygon(around, FRAME);
        kept.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        kept.dedup();
        assert_eq!(kept, [(0.0, 0.0), (0.0, 10.0), (10.0, 0.0), (10.0, 10.0)]);
        let beside = vec![(11.0, 1.0), (15.0, 1.0), (15.0, 9.0)];
        assert!(polygon(beside, FRAME).is_empty());
    }
}
