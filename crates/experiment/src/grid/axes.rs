//! `grid`, `baselines` and `controls`: their axes, points and rules.

use super::constraint::Constraint;
use super::document::{Content, Entry, Node};
use super::draft::Draft;
use super::key::{Assignment, Key, Role};
use super::section::Reader;
use super::settings::{self, AXES};
use super::source::{Location, Problem};

/// `grid` or `baselines`.
pub(super) struct Section {
    pub(super) dense: bool,
    pub(super) axes: Vec<Axis>,
    /// Whether axes are zipped, where it is said.
    pub(super) zip: Option<bool>,
    pub(super) points: Vec<Point>,
    pub(super) constraints: Vec<Constraint>,
    /// Values of `training` for these models alone; they stand in place of the others.
    pub(super) own: Vec<Axis>,
    pub(super) location: Location,
}

/// `controls`: which token levels of the grid are trained alone.
pub(super) struct Controls {
    pub(super) sizes: Vec<TokenLevel>,
    /// As in [`Section`].
    pub(super) own: Vec<Axis>,
    pub(super) location: Location,
}

/// A word of `controls.tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenLevel {
    /// That of each model of the grid.
    Level,
    /// One of each N.
    Params,
}

/// A key with its values.
#[derive(Clone)]
pub(super) struct Axis {
    pub(super) key: &'static Key,
    pub(super) values: Vec<Assignment>,
}

/// An explicit point.
pub(super) struct Point {
    pub(super) values: Vec<Assignment>,
    pub(super) location: Location,
}

impl Reader {
    /// Reads `grid` or `baselines`.
    pub(super) fn section(&mut self, entry: &Entry) -> Section {
        let dense = entry.key == "baselines";
        let mut section = Section {
            dense,
            axes: Vec::new(),
            zip: None,
            points: Vec::new(),
            constraints: Vec::new(),
            own: Vec::new(),
            location: entry.key_location.clone(),
        };
        let Some(entries) = entry.node.entries() else {
            self.not_a_mapping(&entry.key, &entry.node);
            return section;
        };
        if entries.is_empty() {
            self.problems.push(
                Problem::new(format!("`{}` is empty", entry.key))
                    .label(&entry.key_location, "")
                    .help("give `params`, `points` or another of its keys, or take it out"),
            );
        }
        for entry in entries {
            match entry.key.as_str() {
                "combine" => section.zip = Some(self.combine(&entry.node)),
                "points" => section.points = self.points(&entry.node, dense),
                "where" => section.constraints = self.constraints(&entry.node),
                "training" if dense => section.own = self.own_training(&entry.node),
                name => match AXES.iter().find(|key| key.path == name) {
                    Some(key) if dense && key.role == Role::Dlcm => self.not_dense(entry),
                    Some(key) => {
                        if let Some(values) = self.keep(key.read(&entry.node)) {
                            section.axes.push(Axis { key, values });
                        }
                    }
                    None => {
                        let keys: Vec<&str> = AXES
                            .iter()
                            .filter(|key| !dense || key.role != Role::Dlcm)
                            .map(|key| key.path)
                            .chain(settings::RULES.map(|(name, ..)| name))
                            .chain(dense.then_some(settings::OWN_TRAINING.0))
                            .collect();
                        self.unknown(entry, if dense { "baselines" } else { "grid" }, &keys);
                    }
                },
            }
        }
        section
    }

    /// Reads `controls`.
    pub(super) fn controls(&mut self, entry: &Entry) -> Controls {
        let mut controls = Controls {
            sizes: vec![TokenLevel::Level],
            own: Vec::new(),
            location: entry.key_location.clone(),
        };
        match &entry.node.content {
            Content::Scalar { written, .. } if written == "tokens" => {}
            Content::Map(entries) if !entries.is_empty() => {
                for entry in entries {
                    match entry.key.as_str() {
                        "tokens" => controls.sizes = self.token_levels(&entry.node),
                        "training" => {
                            controls.own = self.own_training(&entry.node);
                        }
                        _ => self.unknown(
                            entry,
                            "controls",
                            &settings::CONTROLS.map(|(name, ..)| name),
                        ),
                    }
                }
            }
            _ => self.problems.push(
                Problem::new(format!("`controls` cannot be {}", entry.node.describe()))
                    .label(&entry.node.location, "")
                    .help(
                        "write `controls: tokens`, or a mapping such as \
                         `controls: {tokens: [level, params], training: {learning_rate: 2e-3}}`",
                    ),
            ),
        }
        controls
    }

    fn token_levels(&mut self, node: &Node) -> Vec<TokenLevel> {
        let nodes = match &node.content {
            Content::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut levels = Vec::new();
        for node in nodes {
            match &node.content {
                Content::Scalar { written, .. } if written == "level" => {
                    levels.push(TokenLevel::Level);
                }
                Content::Scalar { written, .. } if written == "params" => {
                    levels.push(TokenLevel::Params);
                }
                _ => self.problems.push(
                    Problem::new(format!("`tokens` cannot be {}", node.describe()))
                        .label(&node.location, "")
                        .help(
                            "`level` trains the token level of each model of the grid, `params` one \
                             of each N",
                        ),
                ),
            }
        }
        levels
    }

    fn not_dense(&mut self, entry: &Entry) {
        self.problems.push(
            Problem::new(format!(
                "baselines are dense models: they have no `{}`",
                entry.key
            ))
            .label(&entry.key_location, "")
            .help("their P is 0 and their R is 1; declare it under `grid`"),
        );
    }

    pub(super) fn combine(&mut self, node: &Node) -> bool {
        match &node.content {
            Content::Scalar { written, .. } if written == "product" => return false,
            Content::Scalar { written, .. } if written == "zip" => return true,
            _ => {}
        }
        self.problems.push(
            Problem::new(format!("`combine` cannot be {}", node.describe()))
                .label(&node.location, "")
                .help(
                    "`product` crosses all axes; `zip` takes their first values, then their second",
                ),
        );
        false
    }

    fn constraints(&mut self, node: &Node) -> Vec<Constraint> {
        let nodes = match &node.content {
            Content::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        nodes
            .iter()
            .filter_map(|node| self.keep(Constraint::read(node)))
            .collect()
    }

    fn points(&mut self, node: &Node, dense: bool) -> Vec<Point> {
        let Content::List(items) = &node.content else {
            self.problems.push(
                Problem::new(format!("`points` cannot be {}", node.describe()))
                    .label(&node.location, "")
                    .help("write a list: `- {params: 1M, concept_share: 0.5}`"),
            );
            return Vec::new();
        };
        items.iter().map(|item| self.point(item, dense)).collect()
    }

    fn point(&mut self, item: &Node, dense: bool) -> Point {
        let mut values = Vec::new();
        if !matches!(item.content, Content::Map(_)) {
            self.problems.push(
                Problem::new(format!("a point cannot be {}", item.describe()))
                    .label(&item.location, "")
                    .help("a point is a mapping: `- {params: 1M, concept_share: 0.5}`"),
            );
        }
        for entry in item.entries().unwrap_or_default() {
            match settings::find(&entry.key).filter(|key| key.is_axis()) {
                Some(key) if dense && key.role == Role::Dlcm => self.not_dense(entry),
                Some(key) => values.extend(self.keep(key.read_one(&entry.node))),
                None => {
                    let axes = AXES.iter().chain(settings::settings());
                    let keys: Vec<&str> = axes
                        .filter(|key| key.is_axis())
                        .map(|key| key.path)
                        .collect();
                    let meant = keys.iter().find(|path| {
                        path.strip_suffix(entry.key.as_str())
                            .is_some_and(|p| p.ends_with('.'))
                    });
                    match meant {
                        Some(path) => self.problems.push(
                            Problem::new(format!("unknown key `{}`", entry.key))
                                .label(&entry.key_location, "not an axis")
                                .help(format!("in a point, write its path: `{path}`")),
                        ),
                        None => self.unknown(entry, "points", &keys),
                    }
                }
            }
        }
        Point {
            values,
            location: item.location.clone(),
        }
    }
}

/// Gives the baselines what they do not say: the grid's seeds, its way to combine, and its sizes up
/// to two of three.
pub(super) fn inherit(
    grid: &Section,
    baselines: &mut Section,
    base: &Draft,
    settings: &[Axis],
) -> Result<(), Problem> {
    const SIZES: [&str; 3] = ["params", "tokens", "flops"];
    let given: Vec<&str> = {
        let axes = baselines.axes.iter().map(|axis| axis.key.path);
        let points = baselines
            .points
            .first()
            .map(|point| point.values.as_slice());
        axes.chain(
            points
                .unwrap_or_default()
                .iter()
                .map(|value| value.key.path),
        )
        .collect()
    };
    let of_grid = |name: &str| grid.axes.iter().find(|axis| axis.key.path == name);
    let is_set = |path: &str, fixed: Option<usize>| {
        fixed.is_some() || settings.iter().any(|axis| axis.key.path == path)
    };
    let explicit = !given.contains(&"params")
        && is_set("model.dense_width", base.shape.dense_width)
        && is_set("model.dense_layers", base.shape.dense_layers);
    let missing: Vec<&Axis> = SIZES
        .into_iter()
        .filter(|name| !(given.contains(name) || explicit && *name == "params"))
        .filter_map(of_grid)
        .collect();
    let already = SIZES.iter().filter(|name| given.contains(name)).count();
    let needed = if explicit { 1_usize } else { 2 }.saturating_sub(already);
    if needed > 0 && missing.len() > needed {
        let names: Vec<String> = missing
            .iter()
            .map(|a| format!("`{}`", a.key.path))
            .collect();
        return Err(
            Problem::new("the baselines' size is open: the grid has two that would fit")
                .label(&baselines.location, "")
                .help(format!("give {} here too", names.join(" or "))),
        );
    }
    let mut inherited: Vec<Axis> = missing.into_iter().take(needed).cloned().collect();
    if !given.contains(&"seed") {
        inherited.extend(of_grid("seed").cloned());
    }
    baselines.axes.extend(inherited);
    baselines.zip = baselines.zip.or(grid.zip);
    Ok(())
}
