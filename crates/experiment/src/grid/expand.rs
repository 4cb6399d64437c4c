//! Axes and points → cells.

use super::axes::{Axis, Controls, Section, TokenLevel};
use super::check::{Checker, is_incomplete};
use super::combine::{Combinations, Length};
use super::draft::Draft;
use super::key::Assignment;
use super::places::Places;
use super::section::{Declared, stands_in};
use super::source::{GridError, Location, Problem};
use super::{Cell, CellKind, ControlSize};
use crate::recipe::Recipe;
use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::hash::Hasher;

/// With so many problems, more would not be read.
const MOST_PROBLEMS: usize = 10;
const SIZES: [&str; 3] = ["params", "tokens", "flops"];

/// Combines everything, applies the constraints and removes what is there twice.
pub(super) fn cells(declared: &Declared) -> Result<Vec<Cell>, GridError> {
    let mut expansion = Expansion {
        declared,
        checker: Checker::default(),
        cells: Vec::new(),
        seen: HashMap::new(),
        buffer: Vec::new(),
        problems: Vec::new(),
    };
    for section in &declared.sections {
        // An error here says all that there is to say about the section.
        if let Err(problem) = expansion.section(section, None) {
            expansion.report(problem);
        }
    }
    if let (Some(controls), Some(grid)) = (&declared.controls, declared.sections.first())
        && let Err(problem) = expansion.section(grid, Some(controls))
    {
        expansion.report(problem);
    }
    if expansion.problems.is_empty() {
        Ok(expansion.cells)
    } else {
        Err(expansion.problems.into())
    }
}

struct Expansion<'a> {
    declared: &'a Declared,
    checker: Checker,
    cells: Vec<Cell>,
    /// Hash of what a cell trains → its position.
    seen: HashMap<u64, usize>,
    buffer: Vec<u8>,
    problems: Vec<Problem>,
}

impl Expansion<'_> {
    fn report(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Makes the cells of a section; with `controls`, those of the controls of its models.
    fn section(&mut self, section: &Section, controls: Option<&Controls>) -> Result<(), Problem> {
        let mut offered = 0;
        let mut kept = 0;
        for batch in self.batches(section, controls)? {
            for at in batch.combinations {
                let values = batch.axes.iter().zip(at);
                let values = values.filter_map(|(axis, at)| axis.values.get(at));
                let chosen: Vec<&Assignment> = values.chain(batch.fixed).collect();
                let mut draft = self.declared.base.clone();
                chosen.iter().for_each(|value| value.apply(&mut draft));
                offered += 1;
                let mut holds = true;
                for constraint in &section.constraints {
                    holds &= constraint.holds(&draft)?;
                }
                if !holds {
                    continue;
                }
                kept += 1;
                let params = chosen.iter().find(|value| value.key.path == "params");
                let value = params.or(chosen.first()).map(|value| &value.location);
                let place = batch.point.or(value).unwrap_or(&section.location);
                let kinds = match controls {
                    None => vec![grid_kind(section.dense, &draft)],
                    Some(controls) => control_kinds(controls, &draft),
                };
                for kind in kinds {
                    if let Err(problem) = self.add(kind, &draft, &chosen, place) {
                        self.report(problem);
                        if self.problems.len() >= MOST_PROBLEMS {
                            return Ok(());
                        }
                    }
                }
            }
        }
        match section.constraints.first() {
            Some(constraint) if kept == 0 => {
                let message = format!("`where` leaves no cell: it excludes all {offered}");
                Err(Problem::new(message)
                    .label(constraint.location(), "")
                    .help("loosen it; several constraints must all hold, `or` joins alternatives"))
            }
            _ => Ok(()),
        }
    }

    /// Lists what a section combines: its own axes, then those that complete each point.
    fn batches<'s>(
        &self,
        section: &'s Section,
        controls: Option<&'s Controls>,
    ) -> Result<Vec<Batch<'s>>, Problem> {
        let mut batches = Vec::new();
        let own = controls.map_or(&[][..], |controls| controls.own.as_slice());
        let shared = section.axes.iter().filter(|axis| !stands_in(own, axis.key));
        let axes: Vec<&Axis> = shared.chain(own).collect();
        let mut draft = self.declared.base.clone();
        let first_values = axes.iter().filter_map(|axis| axis.values.first());
        first_values.for_each(|value| value.apply(&mut draft));
        // With points, axes that do not make a whole cell only complete them.
        if section.points.is_empty() || !is_incomplete(&draft, section.dense) {
            let combinations = combinations(&axes, section, &section.location)?;
            batches.push(Batch {
                axes: axes.clone(),
                combinations,
                fixed: &[],
                point: None,
            });
        }
        for point in &section.points {
            let gives = |name: &str| point.values.iter().any(|value| value.key.path == name);
            // A point that gives two sizes leaves no room for the grid's.
            let sized = SIZES.into_iter().filter(|name| gives(name)).count() >= 2;
            let closed = |name: &str| gives(name) || sized && SIZES.contains(&name);
            let open: Vec<&Axis> = axes
                .iter()
                .copied()
                .filter(|axis| !closed(axis.key.path))
                .collect();
            let combinations = combinations(&open, section, &point.location)?;
            let (fixed, point) = (point.values.as_slice(), Some(&point.location));
            batches.push(Batch {
                axes: open,
                combinations,
                fixed,
                point,
            });
        }
        Ok(batches)
    }

    fn add(
        &mut self,
        kind: Option<CellKind>,
        draft: &Draft,
        chosen: &[&Assignment],
        place: &Location,
    ) -> Result<(), Problem> {
        let places = Places {
            chosen,
            base: &self.declared.places,
            cell: place,
        };
        // A control has the size of a model of the grid, and so its faults.
        let dense = kind == Some(CellKind::Dense);
        let size = self.checker.check(draft, dense, &places)?;
        let Some(kind) = kind else {
            unreachable!("a cell without R was refused");
        };
        let is_control = matches!(kind, CellKind::TokenOnly(_));
        let mut recipe = draft.recipe.clone();
        if is_control {
            // What concerns concepts is nothing to it, and must not make two runs of it.
            recipe.boundary = Recipe::default().boundary;
            recipe.rates.concept = recipe.rates.token;
        }
        let cell = Cell {
            kind,
            size,
            seed: draft.seed,
            shape: draft.shape.clone(),
            data: draft.data.spec(),
            recipe,
            axes: chosen
                .iter()
                .filter(|value| !is_control || concerns_tokens(value))
                .map(|v| (v.key.path.into(), v.written.to_string()))
                .collect(),
            location: place.clone(),
        };
        match self.seen.entry(hash(&cell, &mut self.buffer)) {
            Entry::Occupied(entry) if same(&self.cells[*entry.get()], &cell) => {}
            Entry::Occupied(_) => self.cells.push(cell),
            Entry::Vacant(entry) => {
                entry.insert(self.cells.len());
                self.cells.push(cell);
            }
        }
        Ok(())
    }
}

/// Says what a cell of `grid` or `baselines` trains; `None` where a model of the grid lacks its R.
fn grid_kind(dense: bool, draft: &Draft) -> Option<CellKind> {
    match draft.compression_ratio {
        _ if dense => Some(CellKind::Dense),
        Some(compression_ratio) => Some(CellKind::Dlcm {
            concept_share: draft.concept_share,
            compression_ratio,
        }),
        None => None,
    }
}

/// Says which controls a model of the grid has.
fn control_kinds(controls: &Controls, draft: &Draft) -> Vec<Option<CellKind>> {
    let size = |level: &TokenLevel| match level {
        TokenLevel::Params => Some(ControlSize::Params),
        TokenLevel::Level => Some(ControlSize::Level {
            concept_share: draft.concept_share,
            compression_ratio: draft.compression_ratio?,
        }),
    };
    let sizes = controls.sizes.iter().map(size);
    sizes.map(|size| size.map(CellKind::TokenOnly)).collect()
}

/// Says whether a value means anything to a token level alone.
fn concerns_tokens(value: &Assignment) -> bool {
    const CONCEPTS: [&str; 10] = [
        "compression_ratio",
        "model.boundaries",
        "model.pooling",
        "training.aux_weight",
        "training.boundary_gradient",
        "training.hold_ratio",
        "training.learning_rate.concept",
        "training.regularisation",
        "training.temperature",
        "training.threshold",
    ];
    !CONCEPTS.contains(&value.key.path)
}

/// Combinations of axes, each completed by the values of a point.
struct Batch<'a> {
    axes: Vec<&'a Axis>,
    combinations: Combinations,
    fixed: &'a [Assignment],
    point: Option<&'a Location>,
}

/// Combines axes as a section says.
fn combinations(
    axes: &[&Axis],
    section: &Section,
    place: &Location,
) -> Result<Combinations, Problem> {
    let lengths = axes.iter().map(|axis| Length {
        name: axis.key.path,
        values: axis.values.len(),
        last: axis.values.last().map(|value| &value.location),
    });
    Combinations::new(
        &lengths.collect::<Vec<_>>(),
        section.zip.unwrap_or(false),
        place,
    )
}

/// What two cells have in common when they are the same run.
fn same(a: &Cell, b: &Cell) -> bool {
    (a.kind, a.size, a.seed) == (b.kind, b.size, b.seed)
        && (&a.shape, &a.data, &a.recipe) == (&b.shape, &b.data, &b.recipe)
}

/// Hashes what [`same`] compares, through its JSON in `buffer`.
fn hash(cell: &Cell, buffer: &mut Vec<u8>) -> u64 {
    buffer.clear();
    let identity = (
        cell.kind,
        cell.size,
        cell.seed,
        &cell.shape,
        &cell.data,
        &cell.recipe,
    );
    // Plain data into memory: nothing can fail, and a poorer hash would only cost time.
    serde_json::to_writer(&mut *buffer, &identity).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    hasher.write(buffer);
    hasher.finish()
}
