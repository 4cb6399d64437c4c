//! What stands in a figure in place of what it says by itself: its words and the limits of its axes.

use super::axis::Axis;
use super::sheet::{Chart, Sheet};

/// What replaces a figure's own words and limits, for a paper that has its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Stands above the figure.
    pub title: Option<String>,
    /// Label of the x axis.
    pub x_label: Option<String>,
    /// Label of the y axis.
    pub y_label: Option<String>,
    /// Where the x axis begins and ends.
    pub x_limits: Option<[f64; 2]>,
    /// Where the y axis begins and ends.
    pub y_limits: Option<[f64; 2]>,
    /// Whether the notes below it are left out.
    pub without_notes: bool,
}

/// Finds an axis of a chart.
type Pick = for<'a, 'b> fn(&'a mut Chart<'b>) -> &'a mut Axis;

const SIDES: [(&str, Pick); 2] = [("x", |chart| &mut chart.x), ("y", |chart| &mut chart.y)];

impl Overrides {
    /// Says whether something is replaced that is each figure's own.
    pub fn are_of_one_figure(&self) -> bool {
        let shared = Self {
            without_notes: self.without_notes,
            ..Self::default()
        };
        *self != shared
    }

    /// Replaces what a figure says by itself.
    ///
    /// Returns what a reader should know of the result, or why it cannot be done, in words.
    pub(super) fn apply(&self, sheet: &mut Sheet<'_>) -> Result<Vec<String>, String> {
        let labels = [&self.x_label, &self.y_label];
        let limits = [self.x_limits, self.y_limits];
        for (((name, axis), label), limits) in SIDES.into_iter().zip(labels).zip(limits) {
            if label.is_none() && limits.is_none() {
                continue;
            }
            one_quantity(name, axis, sheet)?;
            for chart in &mut sheet.charts {
                let axis = axis(chart);
                if let Some([low, high]) = limits {
                    if axis.log && low <= 0.0 {
                        return Err(format!(
                            "its {name} axis is logarithmic: limits lie above 0, as in \
                             --{name}-limits {},{}",
                            axis.low, axis.high
                        ));
                    }
                    (axis.low, axis.high) = (low, high);
                }
                if let Some(label) = label {
                    axis.label.clone_from(label);
                }
            }
        }
        sheet.title.clone_from(&self.title);
        if self.without_notes {
            sheet.notes.clear();
        }
        if self.x_limits.is_none() && self.y_limits.is_none() {
            return Ok(Vec::new());
        }
        let empty = sheet.charts.iter().filter(|chart| chart.is_empty());
        let said = empty.map(|chart| match chart.title.as_str() {
            "" => "nothing lies within the limits".to_owned(),
            title => format!("nothing lies within the limits in the panel “{title}”"),
        });
        Ok(said.collect())
    }
}

/// Refuses one label or range for panels of different quantities.
fn one_quantity(name: &str, axis: Pick, sheet: &mut Sheet<'_>) -> Result<(), String> {
    let labels = sheet
        .charts
        .iter_mut()
        .map(|chart| axis(chart).label.clone());
    let mut labels: Vec<String> = labels.collect();
    labels.dedup();
    if labels.len() < 2 {
        return Ok(());
    }
    Err(format!(
        "its panels have different {name} axes ({}), so that one label or range does not fit them all",
        labels.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::panel::Panel;
    use super::super::picture::{Mark, Picture};
    use super::super::size::Size;
    use super::super::style::INK;
    use super::*;

    fn sheet(labels: [&str; 2]) -> Sheet<'static> {
        let charts = labels.map(|label| {
            let (x, y) = (
                Axis::log(label, [1.0, 100.0]),
                Axis::linear("y", [0.0, 1.0]),
            );
            Chart::new(label, x, y, |picture: &mut Picture, panel: &Panel| {
                panel.grid(picture);
                panel.mark(picture, (10.0, 0.5), Mark::Circle, 3.0, INK);
            })
        });
        Sheet {
            charts: charts.into(),
            notes: vec!["noted".into()],
            ..Sheet::default()
        }
    }

    #[test]
    fn words_and_limits_are_replaced_and_what_is_lost_is_said() {
        let overrides = Overrides {
            title: Some("Ours".into()),
            y_label: Some("theirs".into()),
            x_limits: Some([2.0, 20.0]),
            without_notes: true,
            ..Overrides::default()
        };
        let mut ours = sheet(["x", "x"]);
        assert_eq!(overrides.apply(&mut ours), Ok(Vec::new()));
        let words = ours.picture(Size::Page).words();
        assert!(
            words.contains("Ours") && words.contains("theirs"),
            "{words}"
        );
        assert!(!words.contains("noted"), "{words}");
        let beyond = Overrides {
            x_limits: Some([20.0, 90.0]),
            ..Overrides::default()
        };
        let said = beyond.apply(&mut sheet(["x", "x"])).expect("drawn");
        assert_eq!(said.len(), 2);
        assert!(said[0].contains("nothing lies within"), "{said:?}");
    }

    #[test]
    fn what_fits_no_axis_is_refused() {
        let with = |low: f64| Overrides {
            x_limits: Some([low, 10.0]),
            ..Overrides::default()
        };
        let said = with(0.0).apply(&mut sheet(["x", "x"]));
        assert!(said.expect_err("refused").contains("--x-limits 1,100"));
        let said = with(1.0).apply(&mut sheet(["N", "D"]));
        assert!(said.expect_err("refused").contains("(N; D)"));
        assert!(!Overrides::default().are_of_one_figure());
        assert!(with(1.0).are_of_one_figure());
    }
}
