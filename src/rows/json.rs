//! JSON → a table: lines of objects, or an array of them.

use super::{Places, RowsError, Table};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;

pub(super) fn parse(name: String, text: &str) -> Result<Table, RowsError> {
    let text = with_strict_numbers(text.trim_start_matches('\u{feff}'));
    let mut records = Records::default();
    let mut stream = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let wrong = |line: usize, problem: String| RowsError::Format {
        name: name.clone(),
        line,
        problem,
        help: "a table in JSON is one object a line, or an array of objects, as in \
               {\"params\": 1e6, \"tokens\": 2e7, \"loss\": 4.1}"
            .into(),
    };
    let (mut line, mut counted) = (1, 0);
    let mut whole = false;
    loop {
        let before = stream.byte_offset();
        let start = before + text[before..].len() - text[before..].trim_start().len();
        line += text[counted..start].matches('\n').count();
        counted = start;
        match stream.next() {
            None => break,
            Some(Ok(Value::Object(object))) => records.push(line, object.into_iter()),
            Some(Ok(Value::Array(values))) if records.lines.is_empty() => {
                whole = true;
                for (at, value) in values.into_iter().enumerate() {
                    let Value::Object(object) = value else {
                        return Err(wrong(line, format!("element {} is no object", at + 1)));
                    };
                    records.push(line, object.into_iter());
                }
            }
            Some(Ok(_)) => return Err(wrong(line, "here is no object".into())),
            Some(Err(error)) => {
                let at = if error.line() > 0 { error.line() } else { line };
                return Err(wrong(at, format!("this is no JSON ({error})")));
            }
        }
    }
    if let [only] = records.cells.as_slice()
        && only.values().any(|cell| cell.starts_with('['))
    {
        let problem = "it is one object that holds columns";
        return Err(wrong(1, problem.into()));
    }
    let header: Vec<String> = records.header;
    let cells = records.cells.iter().flat_map(|row| {
        let cell = |name| Cow::Borrowed(row.get(name).map_or("", String::as_str));
        header.iter().map(cell)
    });
    let places = if whole {
        Places::Numbers
    } else {
        Places::Lines(records.lines)
    };
    Table::of_cells(name, header.clone(), cells, places)
}

#[derive(Default)]
struct Records {
    header: Vec<String>,
    cells: Vec<HashMap<String, String>>,
    lines: Vec<u32>,
}

impl Records {
    fn push(&mut self, line: usize, object: impl Iterator<Item = (String, Value)>) {
        let mut row = HashMap::new();
        object.for_each(|(name, value)| flatten(name, value, &mut row));
        let mut names: Vec<&String> = row.keys().collect();
        names.sort_unstable();
        for name in names {
            if !self.header.contains(name) {
                self.header.push(name.clone());
            }
        }
        self.cells.push(row);
        self.lines.push(line as u32);
    }
}

/// Writes a value as a cell; those of an object in an object are `outer.inner`.
fn flatten(name: String, value: Value, row: &mut HashMap<String, String>) {
    let cell = match value {
        Value::Object(object) => {
            for (inner, value) in object {
                flatten(format!("{name}.{inner}"), value, row);
            }
            return;
        }
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    row.insert(name, cell);
}

/// Replaces the numbers that Python writes and JSON does not know, NaN and infinities, by words.
fn with_strict_numbers(text: &str) -> Cow<'_, str> {
    const WORDS: [&str; 3] = ["NaN", "-Infinity", "Infinity"];
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut inside) = (text, false);
    while let Some(c) = rest.chars().next() {
        let word = WORDS
            .into_iter()
            .find(|word| !inside && rest.starts_with(word));
        let taken = match (word, c) {
            (Some(word), _) => {
                out.push_str(&format!("\"{word}\""));
                word.len()
            }
            // What is escaped ends no string.
            (None, '\\') if inside => {
                let length = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                out.push_str(&rest[..length]);
                length
            }
            (None, _) => {
                inside ^= c == '"';
                out.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> Result<Table, String> {
        parse("t.jsonl".into(), text).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_and_arrays_are_tables() {
        let lines = "{\"loss\": 2.5, \"cfg\": {\"n\": 12345678901}, \"tag\": \"a \\\"NaN\\\"\"}\n\n\
                     {\"loss\": NaN, \"ok\": true}\n";
        let read = table(lines).expect("read");
        let cell = |row: usize, name: &str| {
            let at = read
                .header()
                .iter()
                .position(|own| own == name)
                .expect("there");
            read.cell(row, at).to_owned()
        };
        assert_eq!(cell(0, "loss"), "2.5");
        assert_eq!(cell(0, "cfg.n"), "12345678901");
        assert_eq!(cell(0, "tag"), "a \"NaN\"");
        assert_eq!(cell(0, "ok"), "");
        assert_eq!(cell(1, "loss"), "NaN");
        assert_eq!(cell(1, "ok"), "true");
        assert_eq!(
            (read.place(0), read.place(1)),
            ("line 1".into(), "line 3".into())
        );
        let array = table("[{\"a\": 1},\n {\"a\": null}]").expect("read");
        assert_eq!(
            (array.len(), array.cell(1, 0), array.place(1)),
            (2, "", "row 2".into())
        );
    }

    #[test]
    fn what_is_no_table_is_told() {
        for (text, why) in [
            ("{\"a\": 1}\n{\"a\": 1,}\n", "line 2"),
            ("{\"a\": 1}\n7\n", "line 2: here is no object"),
            ("[1, 2]", "element 1 is no object"),
            ("{\"a\": [1, 2], \"loss\": [3, 4]}", "holds columns"),
            ("{\"a\": 1", "no JSON"),
        ] {
            let said = table(text).expect_err("refused");
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\{|\\}|\\[|\\]|\"|\\\\|,|:|NaN|1|a|é|\n| ){0,60}") {
            let _ = table(&format!("{{{text}"));
            let _ = table(&format!("[{text}"));
        }
    }
}
