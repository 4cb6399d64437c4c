//! `trainer`, `grid` and `baselines` → a declared trainer, its axes, points and rules.

use crate::expression::Names;
use crate::external::template::Template;
use crate::external::{
    ArgumentStyle, AxisValue, BooleanStyle, LossUnit, Quantities, ReportFrom, Trainer, command,
    compile,
};
use crate::grid::constraint::Written;
use crate::grid::document::{Content, Entry, Node};
use crate::grid::section::Reader;
use crate::grid::settings::trainer::{FREE_AXES, KEYS};
use crate::grid::source::{Location, Problem};
use crate::quantity;
use crate::spelling::nearest;
use serde_yaml::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A trainer's experiment as declared: nothing is combined yet.
pub(in crate::grid) struct Declared {
    pub(super) trainer: Trainer,
    /// Quantities by expression, in the order of [`Quantities::NAMES`].
    pub(super) expressions: Vec<(&'static str, Written<String>)>,
    /// `grid`, then `baselines`.
    pub(super) sections: Vec<Section>,
}

/// `grid` or `baselines`.
pub(super) struct Section {
    pub(super) axes: Vec<Axis>,
    pub(super) zip: bool,
    pub(super) points: Vec<Point>,
    pub(super) constraints: Vec<Written<String>>,
    pub(super) location: Location,
}

/// An axis with its values.
#[derive(Clone)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) values: Vec<Choice>,
}

/// A value of an axis.
#[derive(Clone)]
pub(super) struct Choice {
    pub(super) value: AxisValue,
    pub(super) location: Location,
}

impl Choice {
    /// The value as the file writes it, without quotes.
    pub(super) fn written(&self) -> String {
        match &self.value {
            AxisValue::Number { .. } => self.location.written().trim().to_owned(),
            value => value.shown().to_owned(),
        }
    }
}

/// An explicit point.
pub(super) struct Point {
    pub(super) values: Vec<(String, Choice)>,
    pub(super) location: Location,
}

/// The axes and quantities of a file as names in expressions.
struct Known<'a>(&'a [String]);

impl Names for Known<'_> {
    type Name = String;

    fn find(&self, name: &str) -> Result<String, String> {
        if self.0.iter().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        Err(match nearest(name, self.0.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`? words stand in quotes"),
            None => format!("names are {}; words stand in quotes", self.0.join(", ")),
        })
    }
}

/// Reads a file that has a `trainer`; `None` where problems keep that from being said.
pub(in crate::grid) fn read(
    reader: &mut Reader,
    root: &Node,
    trainer: &Entry,
    file: &str,
) -> Option<Declared> {
    const TOLD: &str = "what the trainer is told stands under `grid.axes`; take one of them out";
    const FOREIGN: [(&str, &str); 6] = [
        ("controls", TOLD),
        ("model", TOLD),
        ("data", TOLD),
        ("training", TOLD),
        ("tune", TOLD),
        (
            "evaluation",
            "its models are not this program's to load: what it scores itself it can report (`trainer.report`)",
        ),
    ];
    for (name, help) in FOREIGN {
        if let Some(entry) = root.get(name) {
            reader.problems.push(
                Problem::new(format!("`{name}` has no meaning with `trainer`"))
                    .label(&entry.key_location, "is of this program's own models")
                    .label(&trainer.key_location, "another trainer is declared here")
                    .help(help),
            );
        }
    }
    let sections = sections(root);
    if sections.is_empty() {
        reader.problems.push(
            Problem::new(format!("{file} trains nothing: it has no `grid`"))
                .help("add `grid: {axes: {NAME: [VALUES]}}`"),
        );
    }
    let names = names(&sections);
    let mut read: Vec<Section> = sections
        .iter()
        .map(|entry| section(reader, entry, &names))
        .collect();
    // Baselines are trained with the grid's seeds where they have none of their own.
    if let [grid, baselines] = read.as_mut_slice() {
        let has_seed = baselines.axes.iter().any(|axis| axis.name == "seed");
        let seeds = grid.axes.iter().find(|axis| axis.name == "seed");
        baselines.axes.extend(seeds.filter(|_| !has_seed).cloned());
    }
    let expressions = expressions(reader, &trainer.node, &names, &read);
    let trainer = declared_trainer(reader, trainer, &names, file)?;
    Some(Declared {
        trainer,
        expressions,
        sections: read,
    })
}

fn sections(root: &Node) -> Vec<&Entry> {
    let names = ["grid", "baselines"].into_iter();
    names.filter_map(|name| root.get(name)).collect()
}

/// Lists the axes of a file that has a `trainer`, with quantities and the seed.
pub(in crate::grid) fn axes(root: &Node) -> Vec<String> {
    names(&sections(root))
}

/// Lists what expressions may name: axes, quantities and the seed.
fn names(sections: &[&Entry]) -> Vec<String> {
    let mut names: Vec<String> = Quantities::NAMES.map(str::to_owned).to_vec();
    names.push("seed".to_owned());
    let mut add = |entries: &[Entry]| {
        for entry in entries {
            if !names.contains(&entry.key) {
                names.push(entry.key.clone());
            }
        }
    };
    for section in sections {
        if let Some(free) = section.node.get(FREE_AXES.0) {
            add(free.node.entries().unwrap_or_default());
        }
        if let Some(Content::List(points)) = section.node.get("points").map(|e| &e.node.content) {
            for point in points {
                add(point.entries().unwrap_or_default());
            }
        }
    }
    names
}

fn is_standard(name: &str) -> bool {
    name == "seed" || Quantities::NAMES.contains(&name)
}

/// Reads `grid` or `baselines`.
fn section(reader: &mut Reader, entry: &Entry, names: &[String]) -> Section {
    let mut section = Section {
        axes: Vec::new(),
        zip: false,
        points: Vec::new(),
        constraints: Vec::new(),
        location: entry.key_location.clone(),
    };
    let Some(entries) = entry.node.entries() else {
        reader.not_a_mapping(&entry.key, &entry.node);
        return section;
    };
    for inner in entries {
        match inner.key.as_str() {
            "combine" => section.zip = reader.combine(&inner.node),
            "points" => section.points = points(reader, &inner.node),
            "where" => {
                let nodes = match &inner.node.content {
                    Content::List(items) => items.as_slice(),
                    _ => std::slice::from_ref(&inner.node),
                };
                for node in nodes {
                    let read = Written::parse(node, "constraint", &Known(names));
                    section.constraints.extend(reader.keep(read));
                }
            }
            name if name == FREE_AXES.0 => match inner.node.entries() {
                Some(free) => {
                    for axis in free {
                        section.axes.extend(free_axis(reader, axis));
                    }
                }
                None => reader.not_a_mapping(FREE_AXES.0, &inner.node),
            },
            name if is_standard(name) => section.axes.extend(axis(reader, inner)),
            name => {
                let keys = ["combine", "points", "where", FREE_AXES.0, "seed"];
                let keys = keys.into_iter().chain(Quantities::NAMES);
                let help = match nearest(name, keys) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("axes of any name stand under `axes`: `axes: {{{name}: […]}}`"),
                };
                reader.problems.push(
                    Problem::new(format!("unknown key `{name}`"))
                        .label(&inner.key_location, format!("not a key of `{}`", entry.key))
                        .help(help),
                );
            }
        }
    }
    if section.axes.is_empty() && section.points.is_empty() {
        reader.problems.push(
            Problem::new(format!("`{}` has no axis", entry.key))
                .label(&entry.key_location, "")
                .help("write `axes: {NAME: [VALUES]}`"),
        );
    }
    section
}

fn free_axis(reader: &mut Reader, entry: &Entry) -> Option<Axis> {
    let name = entry.key.as_str();
    let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    let starts = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let why = if is_standard(name) {
        format!("`{name}` is one of the quantities that laws know: it stands beside `axes`")
    } else if command::NAMES.contains(&name) {
        format!("`{{{name}}}` stands for something else in the command")
    } else if !starts || !name.chars().all(inside) {
        "a name is of letters, digits, `_`, `-` and `.`, and begins with a letter".to_owned()
    } else {
        return axis(reader, entry);
    };
    reader.problems.push(
        Problem::new(format!("`{name}` cannot be the name of an axis"))
            .label(&entry.key_location, why)
            .help("give it another name, and `trainer.rename` for the argument"),
    );
    None
}

fn axis(reader: &mut Reader, entry: &Entry) -> Option<Axis> {
    let nodes = match &entry.node.content {
        Content::List(items) if items.is_empty() => {
            reader.problems.push(
                Problem::new(format!("`{}` is an empty axis", entry.key))
                    .label(&entry.node.location, "no values")
                    .help("give at least one value"),
            );
            return None;
        }
        Content::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.node),
    };
    let values = nodes.iter().map(|node| choice(reader, &entry.key, node));
    let values: Option<Vec<Choice>> = values.collect();
    Some(Axis {
        name: entry.key.clone(),
        values: values?,
    })
}

fn choice(reader: &mut Reader, name: &str, node: &Node) -> Option<Choice> {
    let value = value(node).and_then(|value| checked(name, value));
    match value {
        Ok(value) => Some(Choice {
            value,
            location: node.location.clone(),
        }),
        Err(why) => {
            reader.problems.push(
                Problem::new(format!("`{name}` cannot be {}", node.describe()))
                    .label(&node.location, why)
                    .help("an axis has numbers, words, `true`, `false` and `null`"),
            );
            None
        }
    }
}

/// Reads the value of an axis: what is written as a number is one, unless it stands in quotes.
fn value(node: &Node) -> Result<AxisValue, String> {
    let Content::Scalar { value, written } = &node.content else {
        return Err("not one value".into());
    };
    let is_quoted = node.location.written().starts_with(['"', '\'']);
    Ok(match value {
        Value::Null => AxisValue::Null,
        Value::Bool(on) => AxisValue::Flag(*on),
        Value::Number(number) => {
            let value = number.as_f64().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| "not a number that can be passed".to_owned())?;
            // A trainer may not know `0x10` and `1_000`, nor what YAML else calls a number.
            let plain = written.parse() == Ok(value);
            AxisValue::Number {
                value,
                written: if plain {
                    written.clone()
                } else {
                    value.to_string()
                },
            }
        }
        Value::String(text) if !is_quoted => match quantity::parse_number(text) {
            Ok(value) => AxisValue::Number {
                value,
                // As `0.2M` no trainer would know it.
                written: match text.parse::<f64>() {
                    Ok(_) => text.clone(),
                    Err(_) => value.to_string(),
                },
            },
            Err(_) => AxisValue::Text(text.clone()),
        },
        Value::String(text) => AxisValue::Text(text.clone()),
        _ => return Err("not one value".into()),
    })
}

/// Refuses what a quantity that laws know cannot be.
fn checked(name: &str, value: AxisValue) -> Result<AxisValue, String> {
    let in_range = |low: f64, high: f64| value.number().is_some_and(|x| x > low && x < high);
    let fits = match name {
        "params" | "tokens" | "flops" => in_range(0.0, 1e40),
        "compression_ratio" => value
            .number()
            .is_some_and(|ratio| (1.0..1e6).contains(&ratio)),
        "concept_share" => value
            .number()
            .is_some_and(|share| (0.0..1.0).contains(&share)),
        "seed" => value
            .number()
            .is_some_and(|seed| seed >= 0.0 && seed.fract() == 0.0),
        _ => true,
    };
    let right = match name {
        "compression_ratio" => "R is a number from 1",
        "concept_share" => "P is a number from 0 and below 1",
        "seed" => "a seed is a whole number from 0",
        _ => "must be a number above 0",
    };
    if fits {
        Ok(value)
    } else {
        Err(right.to_owned())
    }
}

fn points(reader: &mut Reader, node: &Node) -> Vec<Point> {
    let Content::List(items) = &node.content else {
        reader.problems.push(
            Problem::new(format!("`points` cannot be {}", node.describe()))
                .label(&node.location, "")
                .help("write a list: `- {depth: 4, seed: 1}`"),
        );
        return Vec::new();
    };
    let mut points = Vec::new();
    for item in items {
        let mut values = Vec::new();
        if !matches!(item.content, Content::Map(_)) {
            reader.not_a_mapping("points", item);
        }
        for entry in item.entries().unwrap_or_default() {
            let read = choice(reader, &entry.key, &entry.node);
            values.extend(read.map(|choice| (entry.key.clone(), choice)));
        }
        points.push(Point {
            values,
            location: item.location.clone(),
        });
    }
    points
}

/// Reads the quantities that are given by an expression.
fn expressions(
    reader: &mut Reader,
    trainer: &Node,
    names: &[String],
    sections: &[Section],
) -> Vec<(&'static str, Written<String>)> {
    let mut found = Vec::new();
    for name in Quantities::NAMES {
        let Some(entry) = trainer.get(name) else {
            continue;
        };
        let axes = sections.iter().flat_map(|section| &section.axes);
        if let Some(axis) = axes.clone().find(|axis| axis.name == name) {
            let mut problem = Problem::new(format!("`{name}` is an axis, and an expression too"))
                .label(&entry.key_location, "an expression");
            if let Some(value) = axis.values.first() {
                problem = problem.label(&value.location, "an axis");
            }
            reader.problems.push(problem.help("take one of them out"));
        }
        let read = Written::parse(&entry.node, name, &Known(names));
        found.extend(reader.keep(read).map(|expression| (name, expression)));
    }
    found
}

fn declared_trainer(
    reader: &mut Reader,
    entry: &Entry,
    names: &[String],
    file: &str,
) -> Option<Trainer> {
    let node = &entry.node;
    let Some(entries) = node.entries() else {
        reader.not_a_mapping("trainer", node);
        return None;
    };
    for entry in entries {
        if KEYS.iter().all(|key| key.name != entry.key) {
            let keys: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
            reader.unknown(entry, "trainer", &keys);
        }
    }
    if node.get("command").is_none() {
        reader.problems.push(
            Problem::new("`trainer` has no `command`")
                .label(&entry.key_location, "")
                .help("write it as a list: `command: [python, train.py, \"{args}\"]`"),
        );
    }
    let templates = |reader: &mut Reader, key: &str| -> Vec<String> {
        let Some(entry) = node.get(key) else {
            return Vec::new();
        };
        let texts = texts(reader, key, &entry.node);
        for (text, at) in &texts {
            template(reader, key, text, at, names);
        }
        texts.into_iter().map(|(text, _)| text).collect()
    };
    let command = templates(reader, "command");
    let resume = templates(reader, "resume");
    let micro_batch = templates(reader, "micro_batch");
    let code = node.get("code");
    let code = code.map_or_else(Vec::new, |entry| texts(reader, "code", &entry.node));
    let mut environment = BTreeMap::new();
    for (name, text, at) in map(reader, node, "environment") {
        template(
            reader,
            "environment",
            text.as_deref().unwrap_or(""),
            &at,
            names,
        );
        environment.insert(name, text.unwrap_or_default());
    }
    let mut rename = BTreeMap::new();
    for (name, text, at) in map(reader, node, "rename") {
        if !names.contains(&name) {
            let help = match nearest(&name, names.iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "it renames axes of `grid` and `baselines`".to_owned(),
            };
            let problem = Problem::new(format!("there is no axis `{name}` to rename"));
            reader.problems.push(problem.label(&at, "").help(help));
        }
        rename.insert(name, text);
    }
    let directory = text(reader, node, "directory").unwrap_or_default();
    let beside = Path::new(file).parent().unwrap_or(Path::new(""));
    Some(Trainer {
        command,
        arguments: word(
            reader,
            node,
            "arguments",
            &ArgumentStyle::ALL,
            ArgumentStyle::name,
        ),
        booleans: word(
            reader,
            node,
            "booleans",
            &BooleanStyle::ALL,
            BooleanStyle::name,
        ),
        rename,
        environment,
        directory: absolute(beside.join(directory)),
        code: code.into_iter().map(|(path, _)| path).collect(),
        resume,
        micro_batch,
        report: report(reader, node),
        loss_unit: word(reader, node, "loss_unit", &LossUnit::ALL, LossUnit::name),
        training_loss_unit: node.get("training_loss_unit").map(|_| {
            let key = "training_loss_unit";
            word(reader, node, key, &LossUnit::ALL, LossUnit::name)
        }),
        bytes_per_token: positive(reader, node, "bytes_per_token"),
        stop_limit: positive(reader, node, "stop_limit").unwrap_or(Trainer::STOP_LIMIT),
    })
}

/// The folder wherever a process is started.
fn absolute(path: PathBuf) -> PathBuf {
    let path = if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path
    };
    std::path::absolute(&path).unwrap_or(path)
}

/// Checks a template: what it says, and that its names are known.
fn template(reader: &mut Reader, key: &str, text: &str, at: &Location, names: &[String]) {
    let known =
        |name: &str| names.iter().any(|known| known == name) || command::NAMES.contains(&name);
    let wrong = match Template::parse(text) {
        Err(why) => Some(why),
        Ok(template) => template
            .names()
            .into_iter()
            .find(|name| !known(name))
            .map(|name| {
                let all = names.iter().map(String::as_str).chain(command::NAMES);
                match nearest(&name, all) {
                    Some(meant) => format!("there is no `{name}`: did you mean `{meant}`?"),
                    None => format!("there is no axis `{name}`; a brace itself is written twice"),
                }
            }),
    };
    if let Some(why) = wrong {
        reader.problems.push(
            Problem::new(format!("`trainer.{key}` cannot be used: {why}"))
                .label(at, "")
                .help("between braces stand axes, expressions over them, and `args`"),
        );
    }
}

/// Reads a list of texts, or one.
fn texts(reader: &mut Reader, key: &str, node: &Node) -> Vec<(String, Location)> {
    let nodes = match &node.content {
        Content::List(items) if !items.is_empty() => items.as_slice(),
        Content::Scalar { written, .. } if key == "command" && written.contains(' ') => {
            reader.problems.push(
                Problem::new("`trainer.command` is a list, which no shell reads")
                    .label(&node.location, "one text")
                    .help(format!(
                        "write each argument by itself: `[{}]`",
                        written.split_whitespace().collect::<Vec<_>>().join(", ")
                    )),
            );
            return Vec::new();
        }
        _ => std::slice::from_ref(node),
    };
    let mut found = Vec::new();
    for node in nodes {
        match &node.content {
            Content::Scalar { value, written } if *value != Value::Null => {
                found.push((written.clone(), node.location.clone()));
            }
            _ => reader.problems.push(
                Problem::new(format!("`trainer.{key}` cannot be {}", node.describe()))
                    .label(&node.location, "")
                    .help("write a list of texts"),
            ),
        }
    }
    found
}

fn text(reader: &mut Reader, trainer: &Node, key: &str) -> Option<String> {
    let entry = trainer.get(key)?;
    match &entry.node.content {
        Content::Scalar { value, written } if *value != Value::Null => Some(written.clone()),
        _ => {
            reader.problems.push(
                Problem::new(format!(
                    "`trainer.{key}` cannot be {}",
                    entry.node.describe()
                ))
                .label(&entry.node.location, "")
                .help("write one text"),
            );
            None
        }
    }
}

/// Reads a mapping of texts.
fn map(reader: &mut Reader, trainer: &Node, key: &str) -> Vec<(String, Option<String>, Location)> {
    let Some(entry) = trainer.get(key) else {
        return Vec::new();
    };
    let Some(entries) = entry.node.entries() else {
        reader.not_a_mapping(&format!("trainer.{key}"), &entry.node);
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in entries {
        match &entry.node.content {
            Content::Scalar { value, written } => {
                let text = (*value != Value::Null).then(|| written.clone());
                found.push((entry.key.clone(), text, entry.key_location.clone()));
            }
            _ => reader.problems.push(
                Problem::new(format!(
                    "`{}` cannot be {}",
                    entry.key,
                    entry.node.describe()
                ))
                .label(&entry.node.location, "")
                .help("write one text"),
            ),
        }
    }
    found
}

/// Reads one of some words; the default of their type where nothing is said.
fn word<T: Copy + Default>(
    reader: &mut Reader,
    trainer: &Node,
    key: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> T {
    let Some(written) = text(reader, trainer, key) else {
        return T::default();
    };
    if let Some(found) = all.iter().find(|one| name(**one) == written) {
        return *found;
    }
    let words: Vec<String> = all.iter().map(|one| format!("`{}`", name(*one))).collect();
    let at = trainer
        .get(key)
        .map_or(&trainer.location, |entry| &entry.node.location);
    reader.problems.push(
        Problem::new(format!("`trainer.{key}` cannot be `{written}`"))
            .label(at, "")
            .help(format!("it is {}", words.join(" or "))),
    );
    T::default()
}

/// Reads a number above 0, or a duration in seconds.
fn positive(reader: &mut Reader, trainer: &Node, key: &str) -> Option<f64> {
    let written = text(reader, trainer, key)?;
    let read = match key {
        "stop_limit" => {
            quantity::parse_duration(&written).or_else(|_| quantity::parse_number(&written))
        }
        _ => quantity::parse_number(&written),
    };
    match read {
        Ok(value) if value > 0.0 => Some(value),
        _ => {
            let at = trainer
                .get(key)
                .map_or(&trainer.location, |entry| &entry.node.location);
            reader.problems.push(
                Problem::new(format!("`trainer.{key}` cannot be `{written}`"))
                    .label(at, "must be above 0")
                    .help(match key {
                        "stop_limit" => "write a duration such as 90s or 10min",
                        _ => "write a number such as 4.2",
                    }),
            );
            None
        }
    }
}

/// The marker of reports on standard output where none is named.
const MARKER: &str = "ORCHESTRATOR_REPORT";

fn report(reader: &mut Reader, trainer: &Node) -> ReportFrom {
    const HELP: &str = "`file`, `stdout`, `trainer_state.json`, or a mapping: `{regex: {validation_loss: \
                        \"val loss ([0-9.]+)\"}}`, `{tensorboard: {folder: runs, tags: {validation_loss: \
                        eval/loss}}}`";
    let Some(entry) = trainer.get("report") else {
        return ReportFrom::File;
    };
    let mut refuse = |at: &Location, why: String| {
        let problem = Problem::new("`trainer.report` cannot be used").label(at, why);
        reader.problems.push(problem.help(HELP));
        ReportFrom::File
    };
    let texts = |node: &Node| -> Option<BTreeMap<String, String>> {
        let pairs = node
            .entries()?
            .iter()
            .map(|entry| match &entry.node.content {
                Content::Scalar {
                    value: Value::String(text),
                    ..
                } => Some((entry.key.clone(), text.clone())),
                _ => None,
            });
        pairs.collect()
    };
    match &entry.node.content {
        Content::Scalar { written, .. } => match written.as_str() {
            "file" => ReportFrom::File,
            "stdout" => ReportFrom::Stdout(MARKER.to_owned()),
            "trainer_state.json" => ReportFrom::TrainerState("{folder}".to_owned()),
            _ => refuse(&entry.node.location, "not a word it knows".into()),
        },
        Content::Map(entries) if entries.len() == 1 => {
            let inner = &entries[0];
            let at = &inner.node.location;
            let one = match &inner.node.content {
                Content::Scalar {
                    value: Value::String(text),
                    ..
                } if !text.is_empty() => Some(text.clone()),
                _ => None,
            };
            match (inner.key.as_str(), one) {
                ("stdout", Some(marker)) => ReportFrom::Stdout(marker),
                ("trainer_state", Some(folder)) => ReportFrom::TrainerState(folder),
                ("regex", None) => match texts(&inner.node) {
                    Some(found) if !found.is_empty() => match compile(&found) {
                        Ok(_) => ReportFrom::Regex(found),
                        Err(why) => refuse(at, why),
                    },
                    _ => refuse(at, "a mapping of quantities to regular expressions".into()),
                },
                ("tensorboard", None) => {
                    let tags = inner.node.get("tags").and_then(|tags| texts(&tags.node));
                    let folder =
                        inner
                            .node
                            .get("folder")
                            .and_then(|folder| match &folder.node.content {
                                Content::Scalar { written, .. } => Some(written.clone()),
                                _ => None,
                            });
                    match (folder, tags) {
                        (Some(folder), Some(tags)) if !tags.is_empty() => {
                            ReportFrom::Tensorboard { folder, tags }
                        }
                        _ => refuse(at, "it needs `folder` and `tags`".into()),
                    }
                }
                (key, _) => refuse(
                    &inner.key_location,
                    format!("`{key}` is not known, or not so"),
                ),
            }
        }
        _ => refuse(&entry.node.location, "not one of these".into()),
    }
}
