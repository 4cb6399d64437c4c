//! YAML text → a tree of values, each with its place in the text.
//!
//! serde_yaml gives the values, a marker parser the places; the two are walked side by side, so
//! that anchors, flow style and quoting mean here exactly what they mean to serde_yaml.

use super::source::{Location, Problem, Source};
use saphyr_parser::{Event, Parser, Span};
use serde_yaml::Value;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Deeper files are refused; the deepest key of an experiment is at level 4.
const MAX_DEPTH: usize = 32;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) location: Location,
    pub(super) content: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// One value, with the text as written, quotes removed.
    Scalar {
        value: Value,
        written: String,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_location: Location,
    pub(super) node: Node,
}

impl Node {
    /// Says whether nothing stands after the colon.
    pub(super) fn is_null(&self) -> bool {
        matches!(
            &self.content,
            Content::Scalar {
                value: Value::Null,
                ..
            }
        )
    }

    /// The entries of a mapping; nothing after the colon is an empty one.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.content {
            Content::Map(entries) => Some(entries),
            _ if self.is_null() => Some(&[]),
            _ => None,
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// Says in words what this is, for messages.
    pub(super) fn describe(&self) -> String {
        match &self.content {
            Content::Scalar {
                value: Value::Null, ..
            } => "nothing".into(),
            Content::Scalar { written, .. } => format!("`{written}`"),
            Content::List(_) => "a list".into(),
            Content::Map(_) => "a mapping".into(),
        }
    }

    /// Puts `node` at a dotted path, in place of what was there.
    pub(super) fn set(&mut self, path: &[&str], node: Node) -> Result<(), Problem> {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return Ok(());
        };
        if self.is_null() {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(entries) = &mut self.content else {
            return Err(
                Problem::new(format!("`{first}` cannot be set inside one value"))
                    .label(&node.location, "")
                    .help(format!(
                        "the file gives {} there; set that whole",
                        self.describe()
                    )),
            );
        };
        let position = entries.iter().position(|entry| entry.key == *first);
        let index = position.unwrap_or_else(|| {
            let empty = Content::Scalar {
                value: Value::Null,
                written: String::new(),
            };
            let node = Node {
                location: node.location.clone(),
                content: empty,
            };
            let key_location = node.location.clone();
            entries.push(Entry {
                key: (*first).to_owned(),
                key_location,
                node,
            });
            entries.len() - 1
        });
        entries[index].node.set(rest, node)
    }
}

/// Reads the text of `source` from byte `from` on.
pub(super) fn read(source: &Arc<Source>, from: usize) -> Result<Node, Problem> {
    let text = source.text.get(from..).unwrap_or_default();
    refuse_binary(source, text)?;
    let places = Places {
        source,
        from,
        bytes: byte_offsets(text),
    };
    let skeleton = places.read(text);
    if let Err(Trouble::Meaning(problem)) = skeleton {
        return Err(problem);
    }
    let value: Value = serde_yaml::from_str(text).map_err(|error| syntax(&places, text, &error))?;
    match skeleton {
        Ok(skeleton) => combine(&skeleton, value).ok_or_else(|| {
            Problem::new("this YAML can be read in more than one way")
                .label(&skeleton.location, "")
                .help("write it more plainly: one document, no tags, plain keys")
        }),
        Err(Trouble::Syntax(problem) | Trouble::Meaning(problem)) => Err(problem),
    }
}

/// Says that nothing but space and comments is there.
pub(super) fn empty(source: &Source) -> Problem {
    Problem::new(format!("{} is empty: it declares nothing", source.name))
        .help("an experiment has the key `grid`; `experiments/quickstart.yaml` is one")
}

/// Refuses text that no one wrote by hand, before it is printed to a terminal.
fn refuse_binary(source: &Arc<Source>, text: &str) -> Result<(), Problem> {
    let unprintable = |c: char| (c.is_control() && !"\n\r\t".contains(c)) || c == '\u{fffe}';
    let Some((offset, found)) = text.char_indices().find(|&(_, c)| unprintable(c)) else {
        return Ok(());
    };
    let at = Location::new(source, offset, offset);
    Err(Problem::new(format!(
        "{at}: the control character U+{:04X} stands here: this is not a YAML text file",
        u32::from(found)
    ))
    .help("give the experiment's YAML file; `experiments/quickstart.yaml` is one"))
}

/// Lists the byte offset of every character, and of the end.
fn byte_offsets(text: &str) -> Vec<usize> {
    text.char_indices()
        .map(|(offset, _)| offset)
        .chain([text.len()])
        .collect()
}

/// Turns a serde_yaml error into a problem with its place.
fn syntax(places: &Places<'_>, text: &str, error: &serde_yaml::Error) -> Problem {
    let said = error.to_string();
    let (message, context) = said.split_once(" at line ").unwrap_or((&said, ""));
    let context = context.split_once(", ").map_or("", |(_, context)| context);
    // Line and column, not the index: libyaml counts that in characters.
    let line_start = |line: usize| {
        let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        before.min(text.len())
    };
    let offset = error.location().map_or(0, |at| {
        let line = line_start(at.line().saturating_sub(1));
        let column = at.column().saturating_sub(1);
        text[line..]
            .char_indices()
            .nth(column)
            .map_or(text.len(), |(offset, _)| line + offset)
    });
    let line = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let indent: String = text[line..]
        .chars()
        .take_while(|c| c.is_whitespace())
        .collect();
    let help = if indent.contains('\t') {
        "indent with spaces: YAML does not allow tabs there"
    } else {
        "check indentation, brackets, quotes and colons here and just above"
    };
    // At the end of the text there is nothing to underline: the last thing before it is shown.
    let offset = match text[offset..].trim().is_empty() {
        true => text
            .trim_end()
            .char_indices()
            .last()
            .map_or(0, |(last, _)| last),
        false => offset,
    };
    let from = places.from;
    Problem::new(format!("not valid YAML: {message}"))
        .label(
            &Location::new(places.source, from + offset, from + offset + 1),
            context,
        )
        .help(help)
}

/// The tree of places.
struct Skeleton {
    location: Location,
    shape: Shape,
}

enum Shape {
    Scalar(String),
    List(Vec<Rc<Skeleton>>),
    Map(Vec<(String, Location, Rc<Skeleton>)>),
    Alias(Rc<Skeleton>),
}

/// A collection that has begun and not ended.
struct Open {
    start: usize,
    anchor: usize,
    is_map: bool,
    items: Vec<Rc<Skeleton>>,
}

enum Trouble {
    /// Well-formed, but refused here.
    Meaning(Problem),
    /// Not YAML; serde_yaml says it better when it agrees.
    Syntax(Problem),
}

struct Places<'a> {
    source: &'a Arc<Source>,
    from: usize,
    bytes: Vec<usize>,
}

impl Places<'_> {
    fn byte(&self, character: usize) -> usize {
        self.from
            + self
                .bytes
                .get(character)
                .or(self.bytes.last())
                .copied()
                .unwrap_or(0)
    }

    fn location(&self, span: Span) -> Location {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        Location::new(self.source, start, end)
    }

    fn read(&self, text: &str) -> Result<Rc<Skeleton>, Trouble> {
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, Rc<Skeleton>> = HashMap::new();
        let mut root = None;
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| {
                let at = self.byte(error.marker().index());
                let problem = Problem::new(format!("not valid YAML: {}", error.info()));
                Trouble::Syntax(problem.label(&Location::new(self.source, at, at + 1), ""))
            })?;
            let location = self.location(span);
            let refused = |why: &str, help: &str| {
                Err(Trouble::Meaning(
                    Problem::new(why).label(&location, "").help(help),
                ))
            };
            let (done, anchor) = match event {
                Event::Scalar(_, _, _, Some(_))
                | Event::SequenceStart(_, Some(_))
                | Event::MappingStart(_, Some(_)) => {
                    return refused("a YAML tag", "tags mean nothing here: leave it out");
                }
                Event::Scalar(written, _, anchor, None) => {
                    let shape = Shape::Scalar(written.into_owned());
                    (Skeleton { location, shape }, anchor)
                }
                Event::Alias(id) => match anchors.get(&id) {
                    Some(target) => (
                        Skeleton {
                            location,
                            shape: Shape::Alias(Rc::clone(target)),
                        },
                        0,
                    ),
                    None => return refused("an anchor that contains itself", "write it out"),
                },
                Event::SequenceStart(anchor, None) | Event::MappingStart(anchor, None) => {
                    if open.len() >= MAX_DEPTH {
                        return refused("nested too deeply", "an experiment has four levels");
                    }
                    let is_map = matches!(event, Event::MappingStart(..));
                    open.push(Open {
                        start: location.offset,
                        anchor,
                        is_map,
                        items: Vec::new(),
                    });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(closed) = open.pop() else { continue };
                    let anchor = closed.anchor;
                    let end = location.offset + location.length;
                    (self.close(closed, end).map_err(Trouble::Meaning)?, anchor)
                }
                _ => continue,
            };
            let done = Rc::new(done);
            if anchor > 0 {
                anchors.insert(anchor, Rc::clone(&done));
            }
            match open.last_mut() {
                Some(parent) => parent.items.push(done),
                // A second document: serde_yaml refuses it.
                None => root = root.or(Some(done)),
            }
        }
        root.ok_or_else(|| Trouble::Meaning(empty(self.source)))
    }

    /// Ends a collection; a mapping's items are its keys and values in turn.
    fn close(&self, open: Open, end: usize) -> Result<Skeleton, Problem> {
        let location = |end| Location::new(self.source, open.start, end);
        // A block collection ends where its last item does, not on the line after.
        let last = open
            .items
            .last()
            .map(|item| item.location.offset + item.location.length);
        let block = self
            .source
            .text
            .get(open.start..)
            .is_some_and(|t| !t.starts_with(['[', '{']));
        let location = location(last.filter(|_| block).unwrap_or(end));
        if !open.is_map {
            return Ok(Skeleton {
                location,
                shape: Shape::List(open.items),
            });
        }
        let mut entries: Vec<(String, Location, Rc<Skeleton>)> = Vec::new();
        let mut first_at: HashMap<String, Location> = HashMap::new();
        for pair in open.items.chunks_exact(2) {
            let [key, value] = pair else { continue };
            let Shape::Scalar(name) = &key.shape else {
                return Err(Problem::new("a key must be a plain name")
                    .label(&key.location, "")
                    .help("write `key: value`"));
            };
            if let Some(first) = first_at.insert(name.clone(), key.location.clone()) {
                return Err(Problem::new(format!("the key `{name}` is given twice"))
                    .label(&key.location, "given again")
                    .label(&first, "given first")
                    .help("keep one of them; for several values write a list"));
            }
            entries.push((name.clone(), key.location.clone(), Rc::clone(value)));
        }
        Ok(Skeleton {
            location,
            shape: Shape::Map(entries),
        })
    }
}

/// Joins places and values; `None` when the two parsers disagree about the structure.
fn combine(skeleton: &Skeleton, value: Value) -> Option<Node> {
    let content = match (&skeleton.shape, value) {
        (Shape::Alias(target), value) => combine(target, value)?.content,
        (Shape::List(items), Value::Sequence(values)) if items.len() == values.len() => {
            let nodes = items
                .iter()
                .zip(values)
                .map(|(item, value)| combine(item, value));
            Content::List(nodes.collect::<Option<_>>()?)
        }
        (Shape::Map(entries), Value::Mapping(values)) if entries.len() == values.len() => {
            let nodes = entries
                .iter()
                .zip(values)
                .map(|((key, at, item), (_, value))| {
                    let node = combine(item, value)?;
                    Some(Entry {
                        key: key.clone(),
                        key_location: at.clone(),
                        node,
                    })
                });
            Content::Map(nodes.collect::<Option<_>>()?)
        }
        (Shape::List(_) | Shape::Map(_), _)
        | (_, Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_)) => return None,
        (Shape::Scalar(written), value) => Content::Scalar {
            value,
            written: written.clone(),
        },
    };
    Some(Node {
        location: skeleton.location.clone(),
        content,
    })
}
