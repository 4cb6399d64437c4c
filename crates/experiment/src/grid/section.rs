//! The sections of a file: values → checked assignments, axes and points.

use super::axes::{Axis, Controls, Section, inherit};
use super::claims;
use super::document::{self, Content, Entry, Node};
use super::draft::{DataKind, Draft};
use super::external;
use super::key::{Key, Role};
use super::settings::{self, AXES, GROUPS, data_kind};
use super::source::{GridError, Location, Problem};
use crate::claims::Claim;
use crate::spelling::nearest;
use std::path::Path;

/// Keys of the file itself.
const SECTIONS: [&str; 13] = [
    "name",
    "trainer",
    "grid",
    "baselines",
    "controls",
    "model",
    "data",
    "training",
    "tune",
    "evaluation",
    "claims",
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
    pub(super) controls: Option<Controls>,
    /// What another trainer is asked, in place of this program's own.
    pub(super) external: Option<external::Declared>,
    pub(super) claims: Vec<Claim>,
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
            "grid" | "baselines" | "controls" | "trainer" | "claims" => {}
            section if SECTIONS.contains(&section) => reader.walk(section, &entry.node),
            // What merge keys and aliases share needs a place; a slip of a section's name is none.
            name if entry.node.is_named && nearest(name, SECTIONS).is_none() => {}
            _ => reader.unknown(entry, "", &SECTIONS),
        }
    }
    let claims = root.get("claims");
    if let Some(trainer) = root.get("trainer") {
        let claims = claims.map(|claims| claims::read(&mut reader, claims, &external::axes(root)));
        let external = external::read(&mut reader, root, trainer, file);
        let name = name.unwrap_or_else(|| reader.default_name(file));
        return match external {
            Some(external) if reader.problems.is_empty() => Ok(Declared {
                name,
                base: reader.base,
                places: reader.places,
                sections: Vec::new(),
                controls: None,
                external: Some(external),
                claims: claims.unwrap_or_default(),
            }),
            _ => Err(reader.problems.into()),
        };
    }
    let claims = claims.map(|section| claims::read(&mut reader, section, &claims::own_axes()));
    if let Some(data) = root.get("data") {
        reader.data_kind(&data.node);
    }
    reader.one_rate();
    let mut sections: Vec<Section> = ["grid", "baselines"]
        .into_iter()
        .filter_map(|name| root.get(name))
        .map(|entry| reader.section(entry))
        .collect();
    let controls = root.get("controls").map(|entry| reader.controls(entry));
    if let (Some(controls), true) = (&controls, sections.iter().all(|section| section.dense)) {
        reader.problems.push(
            Problem::new("there is no `grid` whose token levels could be trained alone")
                .label(&controls.location, "")
                .help("controls are made from the models of `grid`: add it, or take them out"),
        );
    }
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
        let shared = (reader.axes.iter())
            .filter(|axis| axis.key.role != other && !stands_in(&section.own, axis.key))
            .cloned();
        section.axes.extend(shared);
        section.axes.append(&mut section.own);
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
    if reader.problems.is_empty() {
        Ok(Declared {
            name,
            base: reader.base,
            places: reader.places,
            sections,
            controls,
            external: None,
            claims: claims.unwrap_or_default(),
        })
    } else {
        Err(reader.problems.into())
    }
}

/// Says whether some models' own values stand in place of a key's, or of those of a key around it.
pub(super) fn stands_in(own: &[Axis], key: &Key) -> bool {
    own.iter().any(|own| {
        let rest = key.path.strip_prefix(own.key.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// The longest name, in bytes: a folder's has at most 255 of them, and some are added to it.
pub(super) const LONGEST_NAME: usize = 200;

/// Says whether results can be stored under a name, and named on a command line.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['.', '-']) && name.chars().all(is_name_character)
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
        let refused = match &node.content {
            Content::Scalar { written, .. } if written.len() > LONGEST_NAME => {
                format!("a `name` of {} bytes is too long", written.len())
            }
            Content::Scalar { written, .. } if is_name(written) && !node.is_null() => {
                return written.clone();
            }
            _ => format!("`name` cannot be {}", node.describe()),
        };
        self.problems.push(
            Problem::new(refused).label(&node.location, "").help(format!(
                "results are stored under it: use up to {LONGEST_NAME} letters, digits, `.`, `_` and \
                 `-`, the first a letter, a digit or `_`"
            )),
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
        match name.trim_start_matches(['.', '-']) {
            "" => "experiment".into(),
            name if name.len() > LONGEST_NAME => {
                let message = format!(
                    "the name of `{file}` is too long for results: {} bytes",
                    name.len()
                );
                let help = format!("add `name: NAME`, of up to {LONGEST_NAME} bytes");
                self.problems.push(Problem::new(message).help(help));
                String::new()
            }
            name => name.to_owned(),
        }
    }

    /// Reads the keys of `model`, `data`, `training`, `analysis` and `execution`.
    fn walk(&mut self, prefix: &str, node: &Node) {
        for (key, node) in self.keys(prefix, node) {
            self.setting(key, node);
        }
    }

    /// Refuses rates to try beside a rate that is given.
    fn one_rate(&mut self) {
        let given = |path: &str| path.starts_with("training.learning_rate");
        let base_width = "training.learning_rate.base_width";
        let place = |wanted: &dyn Fn(&str) -> bool| {
            let found = self.places.iter().find(|(path, _)| wanted(path));
            found.map(|(_, location)| location.clone())
        };
        let rate = place(&|path| given(path) && path != base_width);
        if let (Some(rate), Some(tune)) = (rate, place(&|path| path == "tune.learning_rate")) {
            self.problems.push(
                Problem::new("the learning rate is given, and also looked for")
                    .label(&tune, "looked for here")
                    .label(&rate, "given here")
                    .help(
                        "take one of them out; a family whose rate is known can have it under \
                         `baselines.training` or `controls.training`",
                    ),
            );
        }
    }

    /// Reads values of `training` that hold for baselines or controls alone, which have no concepts.
    pub(super) fn own_training(&mut self, node: &Node) -> Vec<Axis> {
        let mut own = Vec::new();
        for (key, node) in self.keys("training", node) {
            if key.role != Role::Every {
                let why = format!("`{}` means nothing to these models alone", key.path);
                self.problems.push(
                    Problem::new(why)
                        .label(&node.location, "")
                        .help("write it under `training` of the file, or take it out"),
                );
            } else if let Some(values) = self.keep(key.read(node)) {
                own.push(Axis { key, values });
            }
        }
        own
    }

    /// Finds the keys of a mapping and of the mappings in it.
    fn keys<'n>(&mut self, prefix: &str, node: &'n Node) -> Vec<(&'static Key, &'n Node)> {
        let Some(entries) = node.entries() else {
            self.not_a_mapping(prefix, node);
            return Vec::new();
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = format!("{prefix}.{}", entry.key);
            let is_group = GROUPS.iter().any(|(group, _)| *group == path);
            match settings::find(&path) {
                None if is_group => found.extend(self.keys(&path, &entry.node)),
                Some(_) if is_group && matches!(entry.node.content, Content::Map(_)) => {
                    found.extend(self.keys(&path, &entry.node));
                }
                Some(key) => found.push((key, &entry.node)),
                None => {
                    let keys: Vec<&str> = settings::settings()
                        .filter_map(|key| key.path.strip_prefix(prefix)?.strip_prefix('.'))
                        .filter_map(|rest| rest.split('.').next())
                        .collect();
                    self.unknown(entry, prefix, &keys);
                }
            }
        }
        found
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
            ("text_field", kind == DataKind::Text),
            ("text_form", kind == DataKind::Text),
            ("evaluate", kind == DataKind::Text),
            ("doubtful", kind != DataKind::Synthetic),
            ("validation", kind != DataKind::Synthetic),
        ] {
            if let (Some(entry), false) = (data.get(key), fits) {
                self.problems.push(
                    Problem::new(format!("`{key}` has no meaning for these data"))
                        .label(&entry.key_location, "")
                        .help(match key {
                            "tokenizer" | "text_field" | "text_form" | "evaluate" => {
                                "it belongs to `data.text`"
                            }
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
                            .help("write `tokens: {train: train.bin, vocab: 50257}`"),
                    );
                }
            }
        }
    }
}
