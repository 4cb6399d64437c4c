//! What a key is: its place, its meaning, the forms its value may take and what the value sets.

use super::document::{Content, Node};
use super::draft::Draft;
use super::source::{Location, Problem};
use crate::quantity::{self, Draws, MOST_TOKENS, QuantityError, Seconds, TokenBudget};
use crate::spelling::nearest;
use serde_yaml::Value;
use std::path::Path;
use std::sync::Arc;

/// A key that holds values, with all that parsing, messages and the schema need of it.
pub(super) struct Key {
    /// Dotted path in the file; without a dot the keys of `grid` and `baselines`.
    pub(super) path: &'static str,
    /// What it means, for a reader of the schema.
    pub(super) doc: &'static str,
    /// Unit of the value; empty where it has none.
    pub(super) unit: &'static str,
    /// A value as one would write it.
    pub(super) example: &'static str,
    /// Said when the value is refused; empty where the forms say enough.
    pub(super) hint: &'static str,
    /// Forms of a value, of which one must fit.
    pub(super) forms: &'static [Form],
    /// Finds the value in a draft: the default in the default one.
    pub(super) get: fn(&Draft) -> Shown,
    /// Who takes it.
    pub(super) role: Role,
}

/// Which models a key concerns, and whether a list makes it an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// All models; a list is an axis.
    Every,
    /// Hierarchical models only; a list is an axis of them.
    Dlcm,
    /// Dense baselines only; a list is an axis of them.
    Dense,
    /// The experiment: one value, no axis.
    Experiment,
}

/// A form that a value may take, with what it does.
pub(super) enum Form {
    /// A fixed word.
    Word(&'static str, fn(&mut Draft)),
    /// A whole number from the first bound to the second.
    Count(u64, u64, fn(&mut Draft, u64)),
    /// `true` or `false`.
    Flag(fn(&mut Draft, bool)),
    /// A number.
    Number(Range, fn(&mut Draft, f64)),
    /// A duration, in seconds where it has no unit.
    Duration(fn(&mut Draft, Seconds)),
    /// A number of resamples.
    Draws(fn(&mut Draft, Draws)),
    /// A token budget.
    Budget(fn(&mut Draft, TokenBudget)),
    /// A path with this ending.
    Path(&'static str, fn(&mut Draft, &str)),
    /// A name that somebody else gave.
    Name(fn(&mut Draft, &str)),
    /// One path or glob, or a list of them.
    Paths(fn(&mut Draft, &[String])),
    /// Names, each with a path or glob or a list of them.
    NamedPaths(fn(&mut Draft, &str, &[String])),
    /// A list of so many different numbers, or more.
    Numbers(usize, Range, fn(&mut Draft, &[f64])),
}

/// The numbers from `low` to `high`.
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Whether `low` itself belongs to it; `high` does when it does not.
    pub(super) closed_low: bool,
    /// Whether `high` itself belongs to it.
    pub(super) closed_high: bool,
}

impl Range {
    pub(super) const ABOVE_ZERO: Range = Range::open(0.0, f64::INFINITY);
    pub(super) const FROM_ZERO: Range = Range {
        low: 0.0,
        high: f64::INFINITY,
        closed_low: true,
        closed_high: false,
    };
    pub(super) const BELOW_ONE: Range = Range {
        low: 0.0,
        high: 1.0,
        closed_low: true,
        closed_high: false,
    };
    pub(super) const ZERO_TO_ONE: Range = Range {
        low: 0.0,
        high: 1.0,
        closed_low: true,
        closed_high: true,
    };

    pub(super) const fn open(low: f64, high: f64) -> Range {
        Range {
            low,
            high,
            closed_low: false,
            closed_high: false,
        }
    }

    fn contains(&self, x: f64) -> bool {
        x.is_finite()
            && (x > self.low || self.closed_low && x == self.low)
            && (x < self.high || self.closed_high && x == self.high)
    }

    fn describe(&self) -> String {
        let low = if self.closed_low { "from" } else { "above" };
        let low = format!("{low} {}", written(self.low));
        match (self.high, self.closed_high) {
            (f64::INFINITY, _) => low,
            (high, true) => format!("{low} to {}", written(high)),
            (high, false) => format!("{low} and below {}", written(high)),
        }
    }
}

/// Writes a number in the shorter of its two forms: `16777216`, but `1e30`.
pub(super) fn written(x: f64) -> String {
    let (plain, exponent) = (format!("{x}"), format!("{x:e}"));
    // A thousand is easier to read than 1e3.
    if plain.len() > 6 && exponent.len() < plain.len() {
        exponent
    } else {
        plain
    }
}

/// A value as constraints and the schema see it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shown {
    Number(f64),
    Word(String),
    Flag(bool),
    /// Not given.
    Nothing,
}

impl<T: Into<f64>> From<Option<T>> for Shown {
    fn from(number: Option<T>) -> Self {
        number.map_or(Shown::Nothing, |number| Shown::Number(number.into()))
    }
}

/// A value that has been checked, ready to be put into drafts.
#[derive(Clone)]
pub(super) struct Assignment {
    pub(super) key: &'static Key,
    /// As written.
    pub(super) written: Arc<str>,
    pub(super) location: Location,
    set: Set,
}

/// A name, and the paths under it.
type Named = (String, Vec<String>);

#[derive(Clone)]
enum Set {
    Word(fn(&mut Draft)),
    Count(fn(&mut Draft, u64), u64),
    Flag(fn(&mut Draft, bool), bool),
    Number(fn(&mut Draft, f64), f64),
    Duration(fn(&mut Draft, Seconds), Seconds),
    Draws(fn(&mut Draft, Draws), Draws),
    Budget(fn(&mut Draft, TokenBudget), TokenBudget),
    Path(fn(&mut Draft, &str), Arc<str>),
    Paths(fn(&mut Draft, &[String]), Arc<[String]>),
    NamedPaths(fn(&mut Draft, &str, &[String]), Arc<[Named]>),
    Numbers(fn(&mut Draft, &[f64]), Arc<[f64]>),
}

impl Set {
    /// Takes relative paths from where they are written: from the experiment's file, or, on a command
    /// line, from the working directory.
    fn beside(self, at: &Location) -> Self {
        let from = match at.source().name.as_str() {
            super::COMMAND_LINE => Path::new(""),
            file => Path::new(file).parent().unwrap_or(Path::new("")),
        };
        let from_there = |path: &str| from.join(path).to_string_lossy().into_owned();
        match self {
            Self::Path(set, path) => Self::Path(set, from_there(&path).into()),
            Self::Paths(set, paths) => {
                Self::Paths(set, paths.iter().map(|path| from_there(path)).collect())
            }
            Self::NamedPaths(set, named) => {
                let named = named.iter().map(|(name, paths)| {
                    let paths = paths.iter().map(|path| from_there(path)).collect();
                    (name.clone(), paths)
                });
                Self::NamedPaths(set, named.collect())
            }
            other => other,
        }
    }
}

impl Assignment {
    pub(super) fn apply(&self, draft: &mut Draft) {
        match &self.set {
            Set::Word(set) => set(draft),
            Set::Count(set, n) => set(draft, *n),
            Set::Flag(set, on) => set(draft, *on),
            Set::Number(set, x) => set(draft, *x),
            Set::Duration(set, time) => set(draft, *time),
            Set::Draws(set, draws) => set(draft, *draws),
            Set::Budget(set, budget) => set(draft, *budget),
            Set::Path(set, path) => set(draft, path),
            Set::Paths(set, paths) => set(draft, paths),
            Set::NamedPaths(set, named) => {
                for (name, paths) in named.iter() {
                    set(draft, name, paths);
                }
            }
            Set::Numbers(set, numbers) => set(draft, numbers),
        }
    }
}

impl Key {
    /// Says whether a list of values makes an axis.
    pub(super) fn is_axis(&self) -> bool {
        self.role != Role::Experiment && !self.takes_list()
    }

    /// Says whether one value is itself a list.
    fn takes_list(&self) -> bool {
        let is_list = |form: &Form| matches!(form, Form::Paths(_) | Form::Numbers(..));
        self.forms.iter().any(is_list)
    }

    /// Reads one value, or each value of an axis.
    pub(super) fn read(&'static self, node: &Node) -> Result<Vec<Assignment>, Problem> {
        match &node.content {
            Content::List(_) if self.takes_list() => Ok(vec![self.read_one(node)?]),
            Content::List(_) if !self.is_axis() => Err(Problem::new(format!(
                "`{}` takes one value, not a list",
                self.path
            ))
            .label(&node.location, "a list")
            .help(self.expected())),
            Content::List(items) if items.is_empty() => {
                Err(Problem::new(format!("`{}` is an empty axis", self.path))
                    .label(&node.location, "no values")
                    .help(format!("give at least one value: {}", self.expected())))
            }
            Content::List(items) => items.iter().map(|item| self.read_one(item)).collect(),
            _ => Ok(vec![self.read_one(node)?]),
        }
    }

    /// Reads one value.
    pub(super) fn read_one(&'static self, node: &Node) -> Result<Assignment, Problem> {
        let assignment = |set: Set, written: &str| Assignment {
            key: self,
            written: written.into(),
            location: node.location.clone(),
            set,
        };
        match &node.content {
            Content::Scalar {
                value: Value::Null, ..
            } => Err(self.refuse(node, "nothing stands here".into())),
            Content::Scalar { value, written } => {
                let mut why = String::new();
                for form in self.forms {
                    match form.read(value, written) {
                        Ok(set) => {
                            let set = match form {
                                Form::Path(..) | Form::Paths(..) => set.beside(&node.location),
                                _ => set,
                            };
                            return Ok(assignment(set, written));
                        }
                        Err(reason) if why.is_empty() => why = reason,
                        Err(_) => {}
                    }
                }
                Err(self.refuse(node, self.meant(written).unwrap_or(why)))
            }
            Content::List(items)
                if self
                    .forms
                    .iter()
                    .any(|form| matches!(form, Form::Numbers(..))) =>
            {
                let (set, written) = self.numbers(node, items)?;
                Ok(assignment(set, &written))
            }
            Content::List(items) => {
                let set = self.forms.iter().find_map(|form| match form {
                    Form::Paths(set) => Some(*set),
                    _ => None,
                });
                let paths: Option<Vec<String>> = items.iter().map(path).collect();
                match (set, paths) {
                    (Some(set), Some(paths)) if !paths.is_empty() => {
                        let written = paths.join(", ");
                        let set = Set::Paths(set, paths.into()).beside(&node.location);
                        Ok(assignment(set, &written))
                    }
                    _ => Err(self.refuse(node, "this list cannot stand here".into())),
                }
            }
            Content::Map(_) => {
                let set = self.forms.iter().find_map(|form| match form {
                    Form::NamedPaths(set) => Some(*set),
                    _ => None,
                });
                let Some(set) = set else {
                    return Err(self.refuse(node, "a mapping cannot stand here".into()));
                };
                let named = self.named_paths(node)?;
                let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
                let written = names.join(", ");
                let set = Set::NamedPaths(set, named.into()).beside(&node.location);
                Ok(assignment(set, &written))
            }
        }
    }

    /// Reads a mapping from names to paths.
    fn named_paths(&self, node: &Node) -> Result<Vec<Named>, Problem> {
        let entries = node.entries().unwrap_or_default();
        if entries.is_empty() {
            return Err(self.refuse(node, "it names nothing".into()));
        }
        let named = entries.iter().map(|entry| {
            let paths = match &entry.node.content {
                Content::List(items) => items.iter().map(path).collect(),
                _ => path(&entry.node).map(|path| vec![path]),
            };
            match paths.filter(|paths: &Vec<String>| !paths.is_empty()) {
                Some(paths) if !entry.key.is_empty() => Ok((entry.key.clone(), paths)),
                _ => Err(self.refuse(&entry.node, "no path, and no list of paths".into())),
            }
        });
        named.collect()
    }

    /// Reads a list of numbers.
    fn numbers(&self, node: &Node, items: &[Node]) -> Result<(Set, String), Problem> {
        for form in self.forms {
            let Form::Numbers(least, range, set) = form else {
                continue;
            };
            let mut numbers = Vec::new();
            let mut all = Vec::new();
            for item in items {
                let found = match &item.content {
                    Content::Scalar { value, written } => {
                        all.push(written.as_str());
                        number(value, written)
                    }
                    _ => Err("no number".into()),
                };
                match found {
                    Ok(x) if range.contains(x) => numbers.push(x),
                    Ok(_) => {
                        return Err(self.refuse(item, format!("must be {}", range.describe())));
                    }
                    Err(why) => return Err(self.refuse(item, why)),
                }
            }
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            return if numbers.len() >= *least {
                Ok((Set::Numbers(*set, numbers.into()), all.join(", ")))
            } else {
                Err(self.refuse(node, format!("give at least {least} different numbers")))
            };
        }
        Err(self.refuse(node, "this list cannot stand here".into()))
    }

    fn refuse(&self, node: &Node, why: String) -> Problem {
        let help = match self.hint {
            "" => self.expected(),
            hint => hint.to_owned(),
        };
        let message = match &node.content {
            _ if node.is_null() => format!("`{}` has no value", self.path),
            _ => format!("`{}` cannot be {}", self.path, node.describe()),
        };
        Problem::new(message).label(&node.location, why).help(help)
    }

    /// Says which of the key's words was meant.
    fn meant(&self, written: &str) -> Option<String> {
        let words = self.forms.iter().filter_map(|form| match form {
            Form::Word(word, _) => Some(*word),
            _ => None,
        });
        nearest(written, words).map(|word| format!("did you mean `{word}`?"))
    }

    /// Says what a value looks like.
    pub(super) fn expected(&self) -> String {
        let forms: Vec<String> = self.forms.iter().map(Form::describe).collect();
        let default = match (self.get)(&Draft::default()) {
            Shown::Number(x) => format!("; the default is {x}"),
            Shown::Word(word) => format!("; the default is {word}"),
            Shown::Flag(on) => format!("; the default is {on}"),
            Shown::Nothing => String::new(),
        };
        format!("`{}` is {}{default}", self.path, forms.join(" or "))
    }
}

/// The text of a node that is a path.
fn path(node: &Node) -> Option<String> {
    match &node.content {
        Content::Scalar {
            value: Value::String(text),
            ..
        } if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}

impl Form {
    /// Says what this form looks like.
    pub(super) fn describe(&self) -> String {
        match self {
            Form::Word(word, _) => format!("`{word}`"),
            Form::Count(low, u64::MAX, _) => format!("a whole number from {low}"),
            Form::Count(low, high, _) => {
                let [low, high] = [*low, *high].map(|bound| written(bound as f64));
                format!("a whole number from {low} to {high}")
            }
            Form::Flag(_) => "`true` or `false`".into(),
            Form::Number(range, _) => format!("a number {}", range.describe()),
            Form::Duration(_) => "a duration such as 90s, 10min, 2h or 1.5d".into(),
            Form::Draws(_) => format!(
                "a whole number from 0 to {}",
                written(f64::from(Draws::MOST))
            ),
            Form::Budget(_) => "a number of tokens such as 0.5M, or `20 per param`".into(),
            Form::Path("", _) => "a path".into(),
            Form::Path(ending, _) => format!("the path of a {ending} file"),
            Form::Name(_) => "a name".into(),
            Form::Paths(_) => "a path or glob, or a list of them".into(),
            Form::NamedPaths(_) => "names, each with a path or glob, or a list of them".into(),
            Form::Numbers(least, range, _) => {
                format!("a list of {least} or more numbers {}", range.describe())
            }
        }
    }

    /// Reads a value, or says in a few words why it is not of this form.
    fn read(&self, value: &Value, written: &str) -> Result<Set, String> {
        match self {
            Form::Word(word, set) => {
                let fits = matches!(value, Value::String(_) | Value::Number(_)) && written == *word;
                fits.then_some(Set::Word(*set))
                    .ok_or_else(|| "not a word it knows".into())
            }
            Form::Count(low, high, set) => {
                let n = count(value, written)?;
                if !(*low..=*high).contains(&n) {
                    return Err(if n < *low {
                        format!("must be at least {low}")
                    } else {
                        format!("must be at most {high}")
                    });
                }
                Ok(Set::Count(*set, n))
            }
            Form::Flag(set) => match value {
                Value::Bool(on) => Ok(Set::Flag(*set, *on)),
                _ => Err("neither `true` nor `false`".into()),
            },
            Form::Number(range, set) => {
                let x = number(value, written)?;
                if !range.contains(x) {
                    return Err(format!("must be {}", range.describe()));
                }
                Ok(Set::Number(*set, x))
            }
            Form::Duration(set) => {
                let seconds = match value {
                    Value::String(text) => {
                        quantity::parse_duration(text).map_err(|error| error.to_string())?
                    }
                    _ => number(value, written)?,
                };
                let time = Seconds::try_from(seconds);
                let time = time.map_err(|_| "must be a time from 0 to 36500d".to_owned())?;
                Ok(Set::Duration(*set, time))
            }
            Form::Draws(set) => {
                let draws = Draws::try_from(count(value, written)?);
                let draws = draws.map_err(|_| format!("must be at most {}", Draws::MOST))?;
                Ok(Set::Draws(*set, draws))
            }
            Form::Budget(set) => {
                let budget = match value {
                    Value::String(text) => {
                        quantity::parse_token_budget(text).map_err(|error| error.to_string())?
                    }
                    _ => match count(value, written)? {
                        0 => return Err("must be above zero".into()),
                        n => TokenBudget::Absolute(quantity::Tokens(n)),
                    },
                };
                if matches!(budget, TokenBudget::Absolute(tokens) if tokens.0 > MOST_TOKENS) {
                    return Err(format!("must be at most {MOST_TOKENS}"));
                }
                Ok(Set::Budget(*set, budget))
            }
            Form::Path(ending, set) => match value {
                Value::String(text) if !text.is_empty() && text.ends_with(ending) => {
                    Ok(Set::Path(*set, text.as_str().into()))
                }
                _ => Err(format!("not {}", self.describe())),
            },
            Form::Name(set) => match value {
                Value::String(text) if !text.is_empty() => {
                    Ok(Set::Path(*set, text.as_str().into()))
                }
                _ => Err("not a name; put it in quotes".into()),
            },
            Form::Paths(set) => match value {
                Value::String(text) if !text.is_empty() => {
                    Ok(Set::Paths(*set, Arc::new([text.clone()])))
                }
                _ => Err("not a path".into()),
            },
            Form::NamedPaths(_) => Err("not a mapping of names to paths".into()),
            Form::Numbers(..) => Err("one number is not enough to choose from".into()),
        }
    }
}

/// Reads a number, with or without a suffix; zero and negative ones too.
fn number(value: &Value, written: &str) -> Result<f64, String> {
    match value {
        Value::Number(number) => number.as_f64().ok_or_else(|| "not a number".into()),
        Value::String(text) => quantity::parse_number(text).map_err(|error| error.to_string()),
        Value::Bool(_) => Err(format!("`{written}` is a truth value, not a number")),
        _ => Err("not a number".into()),
    }
}

/// Reads a whole number, with or without a suffix.
fn count(value: &Value, written: &str) -> Result<u64, String> {
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(n), _) => Ok(n),
            (None, Some(x)) if x < 0.0 => Err("must not be negative".into()),
            // Through text, so that `1e6` is whole by the same rule as `1M`.
            (None, Some(x)) => {
                quantity::parse_count(&format!("{x:?}")).map_err(|error| match error {
                    QuantityError::TooLarge(_) => "too large".into(),
                    _ => "not a whole number".into(),
                })
            }
            (None, None) => Err("not a number".into()),
        },
        Value::String(text) => quantity::parse_count(text).map_err(|error| error.to_string()),
        _ => number(value, written).map(|_| 0),
    }
}
