//! The best loss over (P, R) within the budget, with the optimum and its region.

use super::axis::{Axis, LEAST, range, short};
use super::legend::Entry;
use super::panel::Panel;
use super::picture::{Align, Colour, Dash, Mark, Picture, Point, Shape};
use super::sheet::{Chart, Sheet};
use super::style::{GREY, INK, LABEL, PAPER, RED, SMALL, UNDETERMINED, viridis};
use scaling_law::analysis::{Allocation, AnalysisResult, Choice, LossSurface, Maybe};

/// Cells of the drawn surface along each side; the computed one is interpolated.
const CELLS: usize = 80;

/// Contours lie where the loss is this share above the best.
const CONTOURS: [(f64, Dash); 3] = [
    (0.0025, Dash::Solid),
    (0.01, Dash::Dashed),
    (0.03, Dash::Dotted),
];

pub(super) fn sheet(result: &AnalysisResult) -> Result<Sheet<'_>, String> {
    let allocation = match &result.allocation {
        Maybe::Known(allocation) => allocation,
        Maybe::Unknown(why) => return Err(why.clone()),
    };
    let surface = &allocation.surface;
    let Some([low, high]) = range(surface.loss.iter().flatten().flatten().copied()) else {
        return Err("the budget affords no setting of the fitted law".to_owned());
    };
    // From the best loss: what is hardly worse is hardly another colour.
    let high = high.max(low * (1.0 + LEAST));
    if surface.ratios.len() < 2 || surface.shares.len() < 2 {
        return Err("the runs share one R, so there is no surface over (P, R)".to_owned());
    }
    let ratio_ticks: Vec<(f64, String)> = allocation
        .by_ratio
        .iter()
        .filter_map(|choice| choice.declared_ratio)
        .map(|ratio| (ratio, short(ratio)))
        .collect();
    let mut y = Axis::log("R (tokens per concept)", ends_of(&surface.ratios));
    if ratio_ticks.len() > 1 {
        y = y.with_ticks(ratio_ticks);
    }
    let x = Axis::linear(
        "Concept share P of the parameters N",
        ends_of(&surface.shares),
    );
    let draw = move |picture: &mut Picture, panel: &Panel| {
        draw_surface(picture, panel, surface, [low, high]);
        for (above, dash) in CONTOURS {
            for piece in contour(surface, allocation.best.loss * (1.0 + above)) {
                let points: Vec<Point> = piece.iter().map(|&(p, r)| panel.at(p, r)).collect();
                // A shade keeps the white line visible where the surface is light.
                picture.shapes.push(Shape::Line {
                    points: points.clone(),
                    width: 3.2,
                    dash: Dash::Solid,
                    colour: INK,
                    opacity: 0.25,
                });
                picture.line(points, 1.6, dash, PAPER);
            }
        }
        draw_sampled(picture, panel, allocation);
        draw_optima(picture, panel, allocation);
    };
    let bar = move |picture: &mut Picture, panel: &Panel| colour_bar(picture, panel, [low, high]);
    Ok(Sheet {
        charts: vec![Chart::new("", x, y, draw).with_beside(bar)],
        legend: entries(allocation),
        notes: remarks(allocation),
        aside: 88.0,
        ..Sheet::default()
    })
}

/// The first and the last of the values along a side of the surface.
fn ends_of(values: &[f64]) -> [f64; 2] {
    [values[0], values[values.len() - 1]]
}

/// Loss at a place between computed points; `None` beside a place that affords nothing.
fn interpolate(surface: &LossSurface, across: f64, up: f64) -> Option<f64> {
    let place = |share: f64, count: usize| {
        let position = share.clamp(0.0, 1.0) * (count - 1) as f64;
        let low = (position.floor() as usize).min(count - 2);
        (low, position - low as f64)
    };
    let (column, x) = place(across, surface.shares.len());
    let (row, y) = place(up, surface.ratios.len());
    let at = |row: usize, column: usize| surface.loss.get(row)?.get(column).copied().flatten();
    let low = at(row, column)? * (1.0 - x) + at(row, column + 1)? * x;
    let high = at(row + 1, column)? * (1.0 - x) + at(row + 1, column + 1)? * x;
    Some(low * (1.0 - y) + high * y)
}

/// Where a loss lies on the colour scale: its square root spreads out the flat middle.
fn tone(loss: f64, [low, high]: [f64; 2]) -> f64 {
    if high > low {
        ((loss - low) / (high - low)).max(0.0).sqrt()
    } else {
        0.0
    }
}

fn draw_surface(picture: &mut Picture, panel: &Panel, surface: &LossSurface, ends: [f64; 2]) {
    let step = 1.0 / CELLS as f64;
    let (shares, ratios) = (
        Axis::linear("", ends_of(&surface.shares)),
        Axis::log("", ends_of(&surface.ratios)),
    );
    for row in 0..CELLS {
        for column in 0..CELLS {
            let (across, up) = ((column as f64 + 0.5) * step, (row as f64 + 0.5) * step);
            let Some(loss) = interpolate(surface, across, up) else {
                continue;
            };
            let corner = |column: usize, row: usize| {
                let (across, up) = (column as f64 * step, row as f64 * step);
                panel.at(shares.value(across), ratios.value(up))
            };
            let (low, high) = (corner(column, row + 1), corner(column + 1, row));
            // A hair of overlap hides the seams that viewers draw between neighbours.
            let high = (high.0 + 0.5, high.1 + 0.5);
            picture.fill(low, high, viridis(1.0 - tone(loss, ends)));
        }
    }
}

/// The pieces of the line on which the surface has a value (marching squares).
fn contour(surface: &LossSurface, level: f64) -> Vec<[(f64, f64); 2]> {
    let mut pieces = Vec::new();
    let between = |a: (f64, f64, f64), b: (f64, f64, f64)| {
        let crosses = (a.2 < level) != (b.2 < level);
        crosses.then(|| {
            let t = (level - a.2) / (b.2 - a.2);
            (a.0 + t * (b.0 - a.0), a.1 * (b.1 / a.1).powf(t))
        })
    };
    for (row, ratios) in surface.ratios.windows(2).enumerate() {
        for (column, shares) in surface.shares.windows(2).enumerate() {
            let corner = |dr: usize, dc: usize| {
                let loss = surface.loss[row + dr][column + dc]?;
                Some((shares[dc], ratios[dr], loss))
            };
            let (Some(a), Some(b), Some(c), Some(d)) =
                (corner(0, 0), corner(0, 1), corner(1, 1), corner(1, 0))
            else {
                continue;
            };
            let ends: Vec<(f64, f64)> =
                [between(a, b), between(b, c), between(c, d), between(d, a)]
                    .into_iter()
                    .flatten()
                    .collect();
            for pair in ends.chunks_exact(2) {
                pieces.push([pair[0], pair[1]]);
            }
        }
    }
    pieces
}

/// Draws the range that was trained, in which the optimum is sought.
fn draw_sampled(picture: &mut Picture, panel: &Panel, allocation: &Allocation) {
    let [left, right] = allocation.sampled_shares;
    let [low, high] = allocation.sampled_ratios;
    // A veil over the rest: there the law extrapolates.
    let (a, b) = (panel.at(left, high), panel.at(right, low));
    for (low, high) in [
        ((panel.left, panel.top), (panel.right, a.1)),
        ((panel.left, b.1), (panel.right, panel.bottom)),
        ((panel.left, a.1), (a.0, b.1)),
        ((b.0, a.1), (panel.right, b.1)),
    ] {
        picture.shapes.push(Shape::Box {
            low,
            high,
            colour: PAPER,
            opacity: 0.3,
        });
    }
    let corners = [
        (left, low),
        (right, low),
        (right, high),
        (left, high),
        (left, low),
    ];
    let corners: Vec<Point> = corners.iter().map(|&(p, r)| panel.at(p, r)).collect();
    picture.line(corners, 1.4, Dash::Mixed, INK);
}

fn draw_optima(picture: &mut Picture, panel: &Panel, allocation: &Allocation) {
    for &(share, ratio) in allocation.cloud.iter().filter(|(p, r)| panel.holds(*p, *r)) {
        let (at, mark) = (panel.at(share, ratio), Mark::Circle);
        picture.shapes.push(Shape::Marker {
            at,
            mark,
            radius: 3.0,
            colour: INK,
            opacity: 0.22,
            hollow: false,
        });
    }
    for choice in &allocation.by_ratio {
        let setting = choice.setting;
        let ratio = setting.compression_ratio;
        if let Some([low, high]) = choice.intervals.get("concept_share") {
            let ends = [*low, *high].map(|share| panel.at(share, ratio));
            picture.line(ends.to_vec(), 4.5, Dash::Solid, PAPER);
            picture.line(ends.to_vec(), 2.2, Dash::Solid, INK);
            for (x, y) in ends {
                picture.line(vec![(x, y - 6.0), (x, y + 6.0)], 2.2, Dash::Solid, INK);
            }
        }
        let at = (setting.concept_share, ratio);
        let open = !choice.undetermined.is_empty();
        panel.estimate(picture, at, Mark::Circle, 5.0, INK, open);
    }
    let setting = allocation.best.setting;
    let at = (setting.concept_share, setting.compression_ratio);
    let open = !allocation.best.undetermined.is_empty();
    panel.estimate(picture, at, Mark::Diamond, 7.0, RED, open);
}

fn colour_bar(picture: &mut Picture, panel: &Panel, ends: [f64; 2]) {
    let [low, high] = ends;
    let (left, right) = (panel.right + 14.0, panel.right + 28.0);
    let tall = panel.bottom - panel.top;
    const STEPS: usize = 96;
    for k in 0..STEPS {
        let share = (k as f64 + 0.5) / STEPS as f64;
        let bottom = panel.bottom - k as f64 / STEPS as f64 * tall;
        let top = panel.bottom - (k as f64 + 1.0) / STEPS as f64 * tall;
        let low = (left, top);
        let high = (right, (bottom + 0.5).min(panel.bottom));
        picture.fill(low, high, viridis(1.0 - share.sqrt()));
    }
    let bar = Panel {
        left,
        top: panel.top,
        right,
        bottom: panel.bottom,
        x: Axis::linear("", [0.0, 1.0]),
        y: Axis::linear("", [low, high]),
    };
    bar.outline(picture);
    for (value, text) in bar.y_ticks() {
        let (_, y) = bar.at(0.0, value);
        picture.line(vec![(right, y), (right + 4.0, y)], 1.0, Dash::Solid, INK);
        picture.text((right + 8.0, y), &text, SMALL, Align::Start, INK);
    }
    let middle = 0.5 * (panel.top + panel.bottom);
    let label = "Best loss (nats per token)";
    picture.upright((right + 54.0, middle), label, LABEL, INK);
}

fn entries(allocation: &Allocation) -> Vec<Entry> {
    let grey = Colour(0x77, 0x77, 0x77);
    let open = |choice: &Choice| !choice.undetermined.is_empty();
    let entry = |mark, colour, words: &str, hollow: bool| {
        if hollow {
            Entry::hollow(colour, mark, words)
        } else {
            Entry::mark(colour, mark, words)
        }
    };
    let best = entry(Mark::Diamond, RED, "optimum", open(&allocation.best));
    let mut held = allocation.by_ratio.iter();
    let words = "best P at an R, 95% interval";
    let held = entry(Mark::Circle, INK, words, held.all(open));
    let mut entries = vec![best, held];
    if allocation
        .by_ratio
        .iter()
        .chain([&allocation.best])
        .any(open)
    {
        entries.push(Entry::hollow(GREY, Mark::Circle, UNDETERMINED));
    }
    if !allocation.cloud.is_empty() {
        let pale = Colour(0x99, 0x99, 0x99);
        entries.push(Entry::mark(pale, Mark::Circle, "optima of resampled laws"));
    }
    entries.push(Entry::line(INK, Dash::Mixed, "trained range"));
    entries.push(Entry::heading("Above the best:"));
    entries.extend(
        CONTOURS.map(|(above, dash)| Entry::line(grey, dash, format!("{}%", 100.0 * above))),
    );
    entries
}

fn remarks(allocation: &Allocation) -> Vec<String> {
    let times = match allocation.times_largest {
        times if (times - 1.0).abs() < 1e-6 => "as many as the largest run took".to_owned(),
        times => format!("{} times the largest run's", short(times)),
    };
    let budget = format!(
        "{} training FLOPs ({}), {times}",
        short(allocation.budget),
        allocation.convention,
    );
    let mut words = vec![match allocation.at_tokens {
        Some(tokens) => format!(
            "Budget: {budget}, all on D = {} tokens: at each (P, R) the largest N it affords.",
            short(tokens)
        ),
        None => format!("Budget: {budget}; at each (P, R) the best N and D."),
    }];
    words.push(sentence("Optimum", &allocation.best));
    words.extend(
        scaling_law::analysis::remarks(&allocation.best)
            .into_iter()
            .map(|remark| {
                let mut letters = remark.chars();
                letters.next().map_or_else(String::new, |first| {
                    format!("{}{}.", first.to_uppercase(), letters.as_str())
                })
            }),
    );
    words
}

fn sentence(title: &str, choice: &Choice) -> String {
    let interval = |name: &str, print: fn(f64) -> String| {
        choice
            .intervals
            .get(name)
            .map_or_else(String::new, |[low, high]| {
                format!(" [{}, {}]", print(*low), print(*high))
            })
    };
    let setting = choice.setting;
    // An interval is all that is known of what is not determined.
    let quantity = |letter: &str, name: &str, value: f64, print: fn(f64) -> String| {
        if choice.undetermined.iter().any(|known| known == name) {
            format!("{letter} {UNDETERMINED}{}", interval(name, print))
        } else {
            format!("{letter} = {}{}", print(value), interval(name, print))
        }
    };
    format!(
        "{title}: {}, {}, N = {}{}, D = {}, loss {:.3}{} nats per token.",
        quantity("P", "concept_share", setting.concept_share, |v| {
            format!("{v:.2}")
        }),
        quantity("R", "compression_ratio", setting.compression_ratio, |v| {
            format!("{v:.1}")
        }),
        short(setting.params),
        interval("params", short),
        short(setting.tokens),
        choice.loss,
        interval("loss", |v| format!("{v:.3}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contour_of_a_cone_is_where_it_should_be() {
        let shares: Vec<f64> = (0..21).map(|k| k as f64 / 20.0).collect();
        let ratios: Vec<f64> = (0..21).map(|k| 2f64.powf(k as f64 / 10.0)).collect();
        let loss = ratios
            .iter()
            .map(|r| {
                shares
                    .iter()
                    .map(|p| Some((p - 0.5).hypot(r.log2() - 1.0)))
                    .collect()
            })
            .collect();
        let surface = LossSurface {
            shares,
            ratios,
            loss,
        };
        let pieces = contour(&surface, 0.3);
        assert!(pieces.len() > 20);
        for (share, ratio) in pieces.into_iter().flatten() {
            let radius = (share - 0.5).hypot(ratio.log2() - 1.0);
            assert!((radius - 0.3).abs() < 0.01, "{radius}");
        }
        let middle = interpolate(&surface, 0.5, 0.5).expect("known");
        assert!(middle < 1e-9, "{middle}");
    }
}
