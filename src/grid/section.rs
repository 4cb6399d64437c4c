//! The sections of a file: values → checked assignments, axes and points.

use super::constraint::Constraint;
use super::document::{Content, Entry, Node};
use super::draft::{DataKind, Draft};
use super::key::{Assignment, Key, Role};
use super::settings::{self, AXES, GROUPS, data_kind};
use super::source::{GridError, Location, Problem};
use super::spelling::nearest;
use std::path::Path;

/// Keys of the file itself.
const SECTIONS: [&str; 8] = [
    "name",
    "grid",
    "baselines",
    "model",
    "data",
    "training",
    "analysis",
    "execution",
];
/// Keys of `grid` and `baselines` beside their axes.
pub(super) const RULES: [&str; 3] = ["combine", "points", "where"];

/// A file as declared: nothing is combined yet.
pub(super) struct Declared {
    pub(super) name: String,
    /// Values that hold for all cells.
    pub(super) base: Draft,
    /// Where those values stand.
    pub(super) places: Vec<(&'static str, Location)>,
    /// `grid`, then `baselines`.
    pub(super) sections: Vec<Section>,
}

/// `grid` or `baselines`.
pub(super) struct Section {
    pub(super) dense: bool,
    pub(super) axes: Vec<Axis>,
    pub(super) zip: bool,
    pub(super) points: Vec<Point>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) location: Location,
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

/// Refuses a file that is no mapping of keys.
pub(super) fn require_mapping(root: &Node) -> Result<(), Problem> {
    let help = "an experiment is a mapping with the key `grid`; \
                `experiments/quickstart.yaml` is one";
    match &root.content {
        Content::Map(_) => Ok(()),
        _ if root.is_null() => {
            let name = &root.location.source().name;
            Err(Problem::new(format!("{name} is empty: it declares nothing")).help(help))
        }
        _ => Err(
            Problem::new(format!("an experiment cannot be {}", root.describe()))
                .label(&root.location, "")
                .help(help),
        ),
    }
}

/// Reads all sections.
pub(super) fn read(root: &Node, file: &str) -> Result<Declared, GridError> {
    let mut reader = Reader {
        problems: Vec::new(),
        base: Draft::default(),
        places: Vec::new(),
        axes: Vec::new(),
    };
    let mut name = default_name(file);
    for entry in root.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "name" => name = reader.name(&entry.node),
            "grid" | "baselines" => {}
            section if SECTIONS.contains(&section) => reader.walk(section, &entry.node),
            _ => reader.unknown(entry, "", &SECTIONS),
        }
    }
    if let Some(data) = root.get("data") {
        reader.data_kind(&data.node);
    }
    let mut sections: Vec<Section> = ["grid", "baselines"]
        .into_iter()
        .filter_map(|name| root.get(name))
        .map(|entry| reader.section(entry))
        .collect();
    if let [grid, baselines] = sections.as_mut_slice()
        && let Err(problem) = inherit(grid, baselines, &reader.base, &reader.axes)
    {
        reader.problems.push(problem);
    }
    for section in &mut sections {
        let other = if section.dense {
            Role::Dlcm
        } else {
            Role::Dense
        };
        section.axes.extend(
            reader
                .axes
                .iter()
                .filter(|axis| axis.key.role != other)
                .cloned(),
        );
    }
    if sections.is_empty() {
        reader.problems.push(
            Problem::new("nothing is to be trained: there is neither `grid` nor `baselines`")
                .label(&root.location, "")
                .help("add `grid:` with `params`, `tokens`, `compression_ratio`, `concept_share`"),
        );
    }
    match reader.problems.is_empty() {
        true => Ok(Declared {
            name,
            base: reader.base,
            places: reader.places,
            sections,
        }),
        false => Err(reader.problems.into()),
    }
}

/// Makes a name from a file's name.
fn default_name(file: &str) -> String {
    let stem = Path::new(file)
        .file_stem()
        .map(|stem| stem.to_string_lossy())
        .unwrap_or_default();
    let name: String = stem
        .chars()
        .map(|c| if is_name_character(c) { c } else { '-' })
        .collect();
    match name.trim_start_matches('.') {
        "" => "experiment".into(),
        name => name.to_owned(),
    }
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

struct Reader {
    problems: Vec<Problem>,
    base: Draft,
    places: Vec<(&'static str, Location)>,
    /// Axes of `model`, `data` and `training`, in the order written.
    axes: Vec<Axis>,
}

impl Reader {
    fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn name(&mut self, node: &Node) -> String {
        match &node.content {
            Content::Scalar { written, .. }
                if !written.is_empty()
                    && !written.starts_with('.')
                    && written.chars().all(is_name_character) =>
            {
                return written.clone();
            }
            _ => {}
        }
        self.problems.push(
            Problem::new(format!("`name` cannot be {}", node.describe()))
                .label(&node.location, "")
                .help("results are stored under it: use letters, digits, `.`, `_` and `-`"),
        );
        String::new()
    }

    /// Reads the keys of `model`, `data`, `training`, `analysis` and `execution`.
    fn walk(&mut self, prefix: &str, node: &Node) {
        let Some(entries) = node.entries() else {
            self.not_a_mapping(prefix, node);
            return;
        };
        for entry in entries {
            let path = format!("{prefix}.{}", entry.key);
            let is_group = GROUPS.iter().any(|(group, _)| *group == path);
            match settings::find(&path) {
                None if is_group => self.walk(&path, &entry.node),
                Some(_) if is_group && matches!(entry.node.content, Content::Map(_)) => {
                    self.walk(&path, &entry.node);
                }
                Some(key) => self.setting(key, &entry.node),
                None => {
                    let keys: Vec<&str> = settings::settings()
                        .filter_map(|key| key.path.strip_prefix(prefix)?.strip_prefix('.'))
                        .filter_map(|rest| rest.split('.').next())
                        .collect();
                    self.unknown(entry, prefix, &keys);
                }
            }
        }
    }

    fn not_a_mapping(&mut self, path: &str, node: &Node) {
        self.problems.push(
            Problem::new(format!("`{path}` cannot be {}", node.describe()))
                .label(&node.location, "")
                .help(format!(
                    "`{path}` holds keys: write each on a line of its own, indented"
                )),
        );
    }

    fn setting(&mut self, key: &'static Key, node: &Node) {
        let Some(values) = self.keep(key.read(node)) else {
            return;
        };
        self.places.push((key.path, node.location.clone()));
        if key.is_axis() && matches!(node.content, Content::List(_)) {
            self.axes.push(Axis { key, values });
        } else {
            values.iter().for_each(|value| value.apply(&mut self.base));
        }
    }

    fn unknown(&mut self, entry: &Entry, parent: &str, keys: &[&str]) {
        let name = entry.key.as_str();
        let suffix = format!(".{name}");
        let elsewhere = AXES
            .iter()
            .find(|key| key.path == name)
            .map(|_| "grid")
            .or_else(|| {
                let key = settings::settings().find(|key| key.path.ends_with(&suffix))?;
                key.path.strip_suffix(&suffix)
            })
            .filter(|_| !name.is_empty());
        let help = match (nearest(name, keys.iter().copied()), elsewhere) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(place)) => format!("`{name}` belongs under `{place}`"),
            (None, None) => {
                let mut listed: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
                listed.dedup();
                format!("the keys here are {}", listed.join(", "))
            }
        };
        let place = match parent {
            "" => "not a key of an experiment".to_owned(),
            parent => format!("not a key of `{parent}`"),
        };
        self.problems.push(
            Problem::new(format!("unknown key `{name}`"))
                .label(&entry.key_location, place)
                .help(help),
        );
    }

    /// Finds which kind of data is meant, and whether it is all there.
    fn data_kind(&mut self, data: &Node) {
        let chosen: Vec<(&Entry, DataKind)> = data
            .entries()
            .unwrap_or_default()
            .iter()
            .filter_map(|entry| Some((entry, data_kind(&entry.key)?)))
            .collect();
        let kind = chosen
            .first()
            .map_or(DataKind::Synthetic, |&(_, kind)| kind);
        self.base.data.kind = kind;
        if let [(first, _), (second, _), ..] = chosen.as_slice() {
            self.problems.push(
                Problem::new(format!(
                    "`data` has both `{}` and `{}`",
                    first.key, second.key
                ))
                .label(&second.key_location, "")
                .label(&first.key_location, "")
                .help("an experiment has one kind of data: keep one of them"),
            );
            return;
        }
        for (key, fits) in [
            ("tokenizer", kind == DataKind::Text),
            ("validation", kind != DataKind::Synthetic),
        ] {
            if let (Some(entry), false) = (data.get(key), fits) {
                self.problems.push(
                    Problem::new(format!("`{key}` has no meaning for these data"))
                        .label(&entry.key_location, "")
                        .help(match key {
                            "tokenizer" => "it belongs to `data.text`",
                            _ => "it belongs to `data.text` or `data.tokens`",
                        }),
                );
            }
        }
        if let (Some((entry, _)), DataKind::Tokens) = (chosen.first(), kind) {
            for key in ["train", "vocab"] {
                if entry.node.get(key).is_none() {
                    self.problems.push(
                        Problem::new(format!("`data.tokens` lacks `{key}`"))
                            .label(&entry.key_location, "")
                            .help("write `tokens: {train: train.bin, width: u16, vocab: 50257}`"),
                    );
                }
            }
        }
    }

    /// Reads `grid` or `baselines`.
    fn section(&mut self, entry: &Entry) -> Section {
        let dense = entry.key == "baselines";
        let mut section = Section {
            dense,
            axes: Vec::new(),
            zip: false,
            points: Vec::new(),
            constraints: Vec::new(),
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
                "combine" => section.zip = self.combine(&entry.node),
                "points" => section.points = self.points(&entry.node, dense),
                "where" => section.constraints = self.constraints(&entry.node),
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
                            .chain(RULES)
                            .collect();
                        self.unknown(entry, if dense { "baselines" } else { "grid" }, &keys);
                    }
                },
            }
        }
        section
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

    fn combine(&mut self, node: &Node) -> bool {
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
            self.not_a_mapping("points", item);
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

/// Gives the baselines what they do not say: the grid's seeds, and its sizes up to two of three.
fn inherit(
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
        .filter(|name| !given.contains(name) && !(explicit && *name == "params"))
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
    Ok(())
}
