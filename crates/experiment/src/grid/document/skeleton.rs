//! Where the values of a YAML text stand, by the events of a marker parser.

use super::{empty, nested_too_deeply};
use crate::grid::source::{Location, Problem, Source};
use saphyr_parser::{Event, Parser, Span};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Deeper files are refused; the deepest key of an experiment is at level 4.
const MAX_DEPTH: usize = 32;

/// The tree of places.
pub(super) struct Skeleton {
    pub(super) location: Location,
    pub(super) shape: Shape,
}

pub(super) enum Shape {
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

pub(super) enum Trouble {
    /// Well-formed, but refused here.
    Meaning(Problem),
    /// Not YAML; serde_yaml says it better when it agrees.
    Syntax(Problem),
}

pub(super) struct Places<'a> {
    source: &'a Arc<Source>,
    from: usize,
    /// The byte offset of every character, and of the end: the parser counts characters.
    bytes: Vec<usize>,
}

impl<'a> Places<'a> {
    /// Prepares to place what stands from byte `from` of `source` on.
    pub(super) fn new(source: &'a Arc<Source>, from: usize, text: &str) -> Self {
        let offsets = text.char_indices().map(|(offset, _)| offset);
        Self {
            source,
            from,
            bytes: offsets.chain([text.len()]).collect(),
        }
    }

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

    /// Reads the tree of places.
    pub(super) fn read(&self, text: &str) -> Result<Rc<Skeleton>, Trouble> {
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
                    return refused("YAML tags mean nothing here", "leave it out");
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
                    None => return refused("this anchor contains itself", "write it out"),
                },
                Event::SequenceStart(anchor, None) | Event::MappingStart(anchor, None) => {
                    if open.len() >= MAX_DEPTH {
                        return Err(Trouble::Meaning(nested_too_deeply(&location)));
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
