//! YAML text → a tree of values, each with its place in the text.
//!
//! serde_yaml gives the values, a marker parser the places; the two are walked side by side, so
//! that anchors, flow style and quoting mean here exactly what they mean to serde_yaml.

mod merge;
mod skeleton;

use super::source::{Location, Problem, Source};
use serde_yaml::Value;
use skeleton::{Places, Shape, Skeleton, Trouble};
use std::rc::Rc;
use std::sync::Arc;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) location: Location,
    pub(super) content: Content,
    /// Whether another place names it, or something in it, by an anchor.
    pub(super) is_named: bool,
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
            Content::List(items) if items.is_empty() => "an empty list".into(),
            Content::List(_) => "a list".into(),
            Content::Map(_) => "a mapping".into(),
        }
    }

    /// Puts `node` at a path, in place of what was there; `at` is where the path was written.
    pub(super) fn set(&mut self, path: &[&str], at: &Location, node: Node) -> Result<(), Problem> {
        let Some((first, rest)) = path.split_first() else {
            *self = node;
            return Ok(());
        };
        if self.is_null() {
            self.content = Content::Map(Vec::new());
        }
        let Content::Map(entries) = &mut self.content else {
            return Err(
                Problem::new(format!("there is no key `{first}` inside one value"))
                    .label(at, "")
                    .help(format!(
                        "the file gives {} there: set that whole",
                        self.describe()
                    )),
            );
        };
        let index = entries
            .iter()
            .position(|entry| entry.key == *first)
            .unwrap_or_else(|| {
                let content = Content::Scalar {
                    value: Value::Null,
                    written: String::new(),
                };
                let node = Node {
                    location: at.clone(),
                    content,
                    is_named: false,
                };
                entries.push(Entry {
                    key: (*first).to_owned(),
                    key_location: at.clone(),
                    node,
                });
                entries.len() - 1
            });
        entries[index].node.set(rest, at, node)
    }
}

/// Reads the text of `source` from byte `from` on.
pub(super) fn read(source: &Arc<Source>, from: usize) -> Result<Node, Problem> {
    let text = source.text.get(from..).unwrap_or_default();
    refuse_binary(source)?;
    refuse_towers(source, from, text)?;
    let places = Places::new(source, from, text);
    let skeleton = places.read(text);
    if let Err(Trouble::Meaning(problem)) = skeleton {
        return Err(problem);
    }
    let value: Value =
        serde_yaml::from_str(text).map_err(|error| syntax(source, from, text, &error))?;
    match skeleton {
        Ok(skeleton) => {
            let mut node = combine(&skeleton, value).ok_or_else(|| {
                Problem::new("this YAML can be read in more than one way")
                    .label(&skeleton.location, "")
                    .help("write it more plainly: one document, no tags, plain keys")
            })?;
            merge::merge(&mut node)?;
            Ok(node)
        }
        Err(Trouble::Syntax(problem) | Trouble::Meaning(problem)) => Err(problem),
    }
}

/// Says that nothing but space and comments is there.
pub(super) fn empty(source: &Source) -> Problem {
    Problem::new(format!("{} is empty: it declares nothing", source.name))
        .help("an experiment has the key `grid`; `experiments/quickstart.yaml` is one")
}

/// Refuses text that no one wrote by hand, before it is printed to a terminal.
fn refuse_binary(source: &Arc<Source>) -> Result<(), Problem> {
    let unprintable = |c: char| (c.is_control() && !"\n\r\t".contains(c)) || c == '\u{fffe}';
    let Some((offset, found)) = source.text.char_indices().find(|&(_, c)| unprintable(c)) else {
        return Ok(());
    };
    let at = Location::new(source, offset, offset);
    Err(Problem::new(format!(
        "{at}: the control character U+{:04X} stands here: this is not a YAML text file",
        u32::from(found)
    ))
    .help("give the experiment's YAML file; `experiments/quickstart.yaml` is one"))
}

/// Refuses brackets in brackets beyond all sense: the time that parsers take for them grows with the
/// square of their number. Those in comments and quotes count too, as few as there are.
fn refuse_towers(source: &Arc<Source>, from: usize, text: &str) -> Result<(), Problem> {
    const MOST: i64 = 1000;
    let mut open = 0;
    for (at, byte) in text.bytes().enumerate() {
        open += match byte {
            b'[' | b'{' => 1,
            b']' | b'}' => -1,
            _ => 0,
        };
        open = open.max(0);
        if open > MOST {
            let at = Location::new(source, from + at, from + at + 1);
            return Err(nested_too_deeply(&at));
        }
    }
    Ok(())
}

pub(super) fn nested_too_deeply(at: &Location) -> Problem {
    Problem::new("this is nested too deeply")
        .label(at, "")
        .help("an experiment has four levels")
}

/// Turns a serde_yaml error into a problem with its place.
fn syntax(source: &Arc<Source>, from: usize, text: &str, error: &serde_yaml::Error) -> Problem {
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
    let offset = if text[offset..].trim().is_empty() {
        text.trim_end()
            .char_indices()
            .last()
            .map_or(0, |(last, _)| last)
    } else {
        offset
    };
    Problem::new(format!("not valid YAML: {message}"))
        .label(
            &Location::new(source, from + offset, from + offset + 1),
            context,
        )
        .help(help)
}

/// Joins places and values; `None` when the two parsers disagree about the structure.
///
/// What an alias names is owned by its place and by the alias: nothing else counts more than one owner.
fn combine(skeleton: &Rc<Skeleton>, value: Value) -> Option<Node> {
    let mut is_named = Rc::strong_count(skeleton) > 1;
    let content = match (&skeleton.shape, value) {
        (Shape::Alias(target), value) => combine(target, value)?.content,
        (Shape::List(items), Value::Sequence(values)) if items.len() == values.len() => {
            let nodes = items
                .iter()
                .zip(values)
                .map(|(item, value)| combine(item, value));
            let nodes = nodes.collect::<Option<Vec<_>>>()?;
            is_named |= nodes.iter().any(|node| node.is_named);
            Content::List(nodes)
        }
        (Shape::Map(entries), Value::Mapping(values)) if entries.len() == values.len() => {
            let entries = entries
                .iter()
                .zip(values)
                .map(|((key, at, item), (_, value))| {
                    Some(Entry {
                        key: key.clone(),
                        key_location: at.clone(),
                        node: combine(item, value)?,
                    })
                });
            let entries = entries.collect::<Option<Vec<_>>>()?;
            is_named |= entries.iter().any(|entry| entry.node.is_named);
            Content::Map(entries)
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
        is_named,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Node, Problem> {
        read(
            &Arc::new(Source {
                name: "a.yaml".into(),
                text: text.into(),
            }),
            0,
        )
    }

    /// Lists `key path: place = text at that place` for every scalar.
    fn places(node: &Node, path: &str, found: &mut Vec<String>) {
        match &node.content {
            Content::Scalar { .. } => {
                let at = &node.location;
                found.push(format!(
                    "{path} {}:{} {}",
                    at.line(),
                    at.column(),
                    at.written()
                ));
            }
            Content::List(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, n)| places(n, &format!("{path}.{i}"), found));
            }
            Content::Map(entries) => entries.iter().for_each(|entry| {
                assert_eq!(
                    entry.key_location.written().trim_matches(['\'', '"']),
                    entry.key
                );
                places(&entry.node, &format!("{path}.{}", entry.key), found);
            }),
        }
    }

    #[test]
    fn every_value_knows_its_place_in_every_style() {
        let text = "# höher\n\"grid\":   # flow\n  params: [0.2M, 'ü', {a: \"x\"}]\n  block:\n  - \
                    é: 1\n    b: ~\n  -   plain words # c\n  anchor: &n [1, 2]\n  alias: *n\n\
                    ? odd\n: value\nfolded: >-\n  one\n  two\nempty:\n";
        let node = parse(text).expect("valid");
        let mut found = Vec::new();
        places(&node, "", &mut found);
        insta::assert_snapshot!(found.join("\n"), @r#"
        .grid.params.0 3:12 0.2M
        .grid.params.1 3:18 'ü'
        .grid.params.2.a 3:27 "x"
        .grid.block.0.é 5:8 1
        .grid.block.0.b 6:8 ~
        .grid.block.1 7:7 plain words
        .grid.anchor.0 8:15 1
        .grid.anchor.1 8:18 2
        .grid.alias.0 8:15 1
        .grid.alias.1 8:18 2
        .odd 11:3 value
        .folded 13:3 one
          two

        .empty 15:6 
        "#);
        let alias = &node
            .get("grid")
            .and_then(|e| e.node.get("alias"))
            .expect("there")
            .node;
        assert_eq!((alias.location.line(), alias.location.written()), (9, "*n"));
    }

    #[test]
    fn values_are_serde_yamls() {
        let node = parse("a: 1\nb: '1'\nc: 0x10\nd: yes\ne: 1e3\nf: true\n").expect("valid");
        let values: Vec<&Value> = node
            .entries()
            .expect("a mapping")
            .iter()
            .filter_map(|entry| match &entry.node.content {
                Content::Scalar { value, .. } => Some(value),
                _ => None,
            })
            .collect();
        assert_eq!(
            format!("{values:?}"),
            "[Number(1), String(\"1\"), Number(16), String(\"yes\"), Number(1000.0), Bool(true)]"
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (text, message) in [
            ("", "a.yaml is empty: it declares nothing"),
            ("# nothing\n", "a.yaml is empty: it declares nothing"),
            ("a: 1\nb: {c: 1, c: 2}", "the key `c` is given twice"),
            ("a: 1\n\"a\": 2", "the key `a` is given twice"),
            ("a: !!int 1", "YAML tags mean nothing here"),
            ("a: &x [*x]", "this anchor contains itself"),
            ("? [a]\n: 1", "a key must be a plain name"),
            (
                "a: 1\n---\nb: 1",
                "not valid YAML: deserializing from YAML containing more than one document is not \
                 supported",
            ),
            ("a: *b", "not valid YAML: unknown anchor"),
            (
                "\u{0}",
                "a.yaml:1:1: the control character U+0000 stands here: this is not a YAML \
                       text file",
            ),
        ] {
            assert_eq!(
                parse(text).map(|_| ()).map_err(|e| e.to_string()),
                Err(message.into())
            );
        }
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        let error = parse(&deep).map(|_| ()).expect_err("too deep");
        assert_eq!(error.to_string(), "this is nested too deeply");
        assert!(parse(&"[".repeat(10_000)).is_err());
        // Each level names the one before ten times: 10^9 values in a few lines.
        let laughs: String = (0..9)
            .map(|i| {
                format!(
                    "x{}: &a{} [{}]\n",
                    i + 1,
                    i + 1,
                    vec![format!("*a{i}"); 10].join(", ")
                )
            })
            .collect();
        let error = parse(&format!("x0: &a0 [1]\n{laughs}"))
            .map(|_| ())
            .expect_err("too large");
        assert_eq!(
            error.to_string(),
            "not valid YAML: repetition limit exceeded"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn nothing_like_yaml_panics(
            text in "([a-c]|\\[|\\]|\\{|\\}|: |, |- |\n| |\t|'|\"|&a |\\*a|#|\\||>|!|%|\\?|---|é|\r){0,40}"
        ) {
            let _ = parse(&text);
        }
    }
}
