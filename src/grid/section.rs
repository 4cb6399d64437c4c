//! The sections of a file: values → checked assignments, axes and points.

use super::axes::{Axis, Section, inherit};
use super::document::{self, Content, Entry, Node};
use super::draft::{DataKind, Draft};
use super::key::{Key, Role};
use super::settings::{self, AXES, GROUPS, data_kind};
use super::source::{GridError, Location, Problem};
use crate::spelling::nearest;
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

/// Refuses a file that is no mapping of keys.
pub(super) fn require_mapping(root: &Node) -> Result<(), Problem> {
    let help = "an experiment is a mapping with the key `grid`; \
                `experiments/quickstart.yaml` is one";
    match &root.content {
        Content::Map(_) => Ok(()),
        _ if root.is_null() => Err(document::empty(root.location.source())),
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
    let mut name = None;
    for entry in root.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "name" => name = Some(reader.name(&entry.node)),
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
    // A misspelt `grid` has been reported already.
    if sections.is_empty() && reader.problems.is_empty() {
        reader.problems.push(
            Problem::new(format!(
                "{file} trains nothing: it has neither `grid` nor `baselines`"
            ))
            .help("add `grid:` with `params`, `tokens`, `compression_ratio`, `concept_share`"),
        );
    }
    let name = name.unwrap_or_else(|| reader.default_name(file));
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

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
    base: Draft,
    places: Vec<(&'static str, Location)>,
    /// Axes of `model`, `data` and `training`, in the order written.
    axes: Vec<Axis>,
}

impl Reader {
    pub(super) fn keep<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
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

    /// Makes a name from a file's name.
    ///
    /// ASCII characters that a name cannot have become `-`. Others do not: files in another script
    /// would all have one name, and one results folder.
    fn default_name(&mut self, file: &str) -> String {
        let stem = Path::new(file)
            .file_stem()
            .map(|stem| stem.to_string_lossy())
            .unwrap_or_default();
        if !stem.is_ascii() {
            self.problems.push(
                Problem::new(format!("no name for results can be made of `{file}`"))
                    .help("add `name: NAME` in letters a to z, digits, `.`, `_` and `-`"),
            );
        }
        let name: String = stem
            .chars()
            .map(|c| if is_name_character(c) { c } else { '-' })
            .collect();
        match name.trim_start_matches('.') {
            "" => "experiment".into(),
            name => name.to_owned(),
        }
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

    pub(super) fn not_a_mapping(&mut self, path: &str, node: &Node) {
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

    pub(super) fn unknown(&mut self, entry: &Entry, parent: &str, keys: &[&str]) {
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
}
