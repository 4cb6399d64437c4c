//! Axes and points → cells.

use super::read::{Choice, Declared, Section};
use super::{External, ExternalCell};
use crate::expression::{NoValue, Value};
use crate::external::{AxisValue, Quantities};
use crate::grid::combine::{Combinations, Length};
use crate::grid::source::{GridError, Problem};
use std::collections::HashSet;

/// Combines everything, applies the constraints, computes the quantities and removes what is there twice.
pub(in crate::grid) fn cells(
    declared: &Declared,
    devices_per_run: usize,
) -> Result<External, GridError> {
    let mut cells: Vec<ExternalCell> = Vec::new();
    let mut seen = HashSet::new();
    for section in &declared.sections {
        let mut offered = 0;
        let mut kept = 0;
        for chosen in combinations(section)? {
            offered += 1;
            let Some(cell) = cell(declared, section, &chosen)? else {
                continue;
            };
            kept += 1;
            let axes = cell
                .axes
                .iter()
                .map(|(name, value)| (name, value.json().to_string()));
            let mut identity: Vec<_> = axes.collect();
            identity.sort_unstable();
            if seen.insert(format!("{identity:?}")) {
                cells.push(cell);
            }
        }
        if let (Some(constraint), 0) = (section.constraints.first(), kept) {
            let message = format!("`where` leaves no cell: it excludes all {offered}");
            return Err(Problem::new(message)
                .label(constraint.location(), "")
                .help("loosen it; several constraints must all hold, `or` joins alternatives")
                .into());
        }
    }
    Ok(External {
        trainer: declared.trainer.clone(),
        devices_per_run,
        cells,
    })
}

/// Lists what each cell of a section chooses, by axis.
fn combinations(section: &Section) -> Result<Vec<Vec<(&str, &Choice)>>, Problem> {
    let mut all = Vec::new();
    // With points, axes only complete them.
    let points: Vec<&[(String, Choice)]> = match section.points.as_slice() {
        [] => vec![&[]],
        points => points.iter().map(|point| point.values.as_slice()).collect(),
    };
    for (place, point) in points.into_iter().enumerate() {
        let given = |name: &str| point.iter().any(|(of_point, _)| of_point == name);
        let open: Vec<_> = section
            .axes
            .iter()
            .filter(|axis| !given(&axis.name))
            .collect();
        let lengths = open.iter().map(|axis| Length {
            name: &axis.name,
            values: axis.values.len(),
            last: axis.values.last().map(|value| &value.location),
        });
        let at = section
            .points
            .get(place)
            .map_or(&section.location, |point| &point.location);
        for at in Combinations::new(&lengths.collect::<Vec<_>>(), section.zip, at)? {
            let values = open.iter().zip(at);
            let values =
                values.filter_map(|(axis, at)| Some((axis.name.as_str(), axis.values.get(at)?)));
            let fixed = point.iter().map(|(name, choice)| (name.as_str(), choice));
            all.push(values.chain(fixed).collect());
        }
    }
    Ok(all)
}

/// Makes a cell; `None` where a constraint excludes it.
fn cell(
    declared: &Declared,
    section: &Section,
    chosen: &[(&str, &Choice)],
) -> Result<Option<ExternalCell>, Problem> {
    let number = |name: &str| {
        let found = chosen.iter().find(|(axis, _)| *axis == name);
        found.and_then(|(_, choice)| choice.value.number())
    };
    let mut quantities = Quantities::default();
    for name in Quantities::NAMES {
        if let Some(value) = number(name) {
            quantities.set(name, value);
        }
    }
    // Each may need others: as often as there are some left that can be computed.
    let mut open: Vec<_> = declared.expressions.iter().collect();
    while !open.is_empty() {
        let before = open.len();
        let mut left = Vec::new();
        for (name, expression) in open {
            let value = expression.number(&|name| value_of(name, chosen, &quantities));
            match value {
                Ok(value) if value.is_finite() && (value > 0.0 || *name == "concept_share") => {
                    quantities.set(name, value);
                }
                Ok(value) => {
                    return Err(
                        Problem::new(format!("`{name}` comes to {value} in this cell"))
                            .label(expression.location(), "")
                            .label(place(section, chosen), "this cell")
                            .help("a quantity is a number above 0"),
                    );
                }
                Err(problem) => left.push((name, expression, problem)),
            }
        }
        if left.len() == before {
            return Err(left.swap_remove(0).2);
        }
        open = declared
            .expressions
            .iter()
            .filter(|(name, _)| left.iter().any(|(of_left, ..)| *of_left == name))
            .collect();
    }
    for constraint in &section.constraints {
        if !constraint.truth(&|name| value_of(name, chosen, &quantities))? {
            return Ok(None);
        }
    }
    Ok(Some(ExternalCell {
        axes: chosen
            .iter()
            .map(|(name, choice)| ((*name).to_owned(), choice.value.clone()))
            .collect(),
        written: chosen
            .iter()
            .map(|(name, choice)| ((*name).to_owned(), choice.written()))
            .collect(),
        seed: number("seed").unwrap_or(0.0) as u64,
        declared: quantities,
        location: place(section, chosen).clone(),
    }))
}

fn place<'a>(
    section: &'a Section,
    chosen: &[(&str, &'a Choice)],
) -> &'a crate::grid::source::Location {
    chosen
        .first()
        .map_or(&section.location, |(_, choice)| &choice.location)
}

/// What a name stands for in a cell.
fn value_of(
    name: &str,
    chosen: &[(&str, &Choice)],
    quantities: &Quantities,
) -> Result<Value, NoValue> {
    if let Some((_, choice)) = chosen.iter().find(|(axis, _)| *axis == name) {
        return Ok(match &choice.value {
            AxisValue::Null => Value::Missing,
            AxisValue::Flag(on) => Value::Word(on.to_string()),
            AxisValue::Number { value, .. } => Value::Number(*value),
            AxisValue::Text(text) => Value::Word(text.clone()),
        });
    }
    quantities
        .get(name)
        .map(Value::Number)
        .ok_or_else(|| NoValue {
            why: format!("`{name}` has no value here"),
            help: "not every cell has it: give it in `grid` and `baselines` alike".to_owned(),
        })
}
