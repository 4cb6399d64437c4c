//! CSV text → a table: quotes, any of three separators, and the line of every row.
//!
//! Not a library's reader: those take a quote that is never closed for a cell up to the file's end,
//! and polars does not tell lines. Here a mistake is an error that names its line.

use super::{Places, RowsError, Table};
use std::path::Path;

/// Separators that are looked for in the header.
const SEPARATORS: [u8; 3] = [b',', b'\t', b';'];

pub(super) fn read(path: &Path) -> Result<Table, RowsError> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| RowsError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() > u32::MAX as usize {
        return Err(RowsError::TooLarge { name });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        RowsError::Format {
            name: name.clone(),
            line,
            problem: "there is a byte that is not UTF-8".into(),
            help: "save the table as CSV in UTF-8; Parquet files end in `.parquet`".into(),
        }
    })?;
    parse(name, text)
}

pub(super) fn parse(name: String, text: String) -> Result<Table, RowsError> {
    let mut reader = Reader {
        name,
        separator: b',',
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        line: 1,
        unescaped: String::new(),
        text,
    };
    reader.separator = reader.guess_separator();
    let mut cells = Vec::new();
    let Some(header_line) = reader.record(&mut cells)? else {
        return Err(RowsError::Empty {
            name: reader.name,
            what: "it has no header",
        });
    };
    let header: Vec<String> = cells
        .iter()
        .map(|span| reader.written(*span).trim().to_owned())
        .collect();
    reader.check_header(&header, header_line)?;
    cells.clear();
    let (columns, mut lines) = (header.len(), Vec::new());
    loop {
        let before = cells.len();
        let Some(line) = reader.record(&mut cells)? else {
            break;
        };
        let found = cells.len() - before;
        if found != columns {
            return Err(reader.ragged(line, found, columns));
        }
        lines.push(line);
    }
    // Cells that had to be unescaped stand behind the file's own text.
    let mut text = reader.text;
    text.push_str(&reader.unescaped);
    Ok(Table {
        name: reader.name,
        header,
        text,
        cells,
        places: Places::Lines(lines),
        left_out: Vec::new(),
        remarks: Vec::new(),
        set_aside: Vec::new(),
        known: Vec::new(),
    })
}

struct Reader {
    name: String,
    text: String,
    unescaped: String,
    separator: u8,
    at: usize,
    line: u32,
}

impl Reader {
    fn guess_separator(&self) -> u8 {
        let first = self.text[self.at..].lines().find(|l| !l.trim().is_empty());
        let count = |separator: u8| {
            first
                .unwrap_or("")
                .bytes()
                .filter(|byte| *byte == separator)
                .count()
        };
        SEPARATORS
            .into_iter()
            .rev()
            .max_by_key(|separator| count(*separator))
            .unwrap_or(b',')
    }

    fn wrong(&self, line: u32, problem: impl Into<String>, help: impl Into<String>) -> RowsError {
        RowsError::Format {
            name: self.name.clone(),
            line: line as usize,
            problem: problem.into(),
            help: help.into(),
        }
    }

    fn written(&self, (start, end): (u32, u32)) -> &str {
        let (start, end, own) = (start as usize, end as usize, self.text.len());
        if start >= own && end > own {
            &self.unescaped[start - own..end - own]
        } else {
            &self.text[start..end]
        }
    }

    fn check_header(&self, header: &[String], line: u32) -> Result<(), RowsError> {
        if header.iter().all(|name| super::number(name).is_some()) {
            return Err(self.wrong(
                line,
                "the first line holds numbers",
                "the first line must name the columns, as in `params,tokens,loss`",
            ));
        }
        for (i, name) in header.iter().enumerate() {
            if let Some(first) = header[..i].iter().position(|other| other == name)
                && !name.is_empty()
            {
                return Err(self.wrong(
                    line,
                    format!(
                        "column `{name}` appears twice, in columns {} and {}",
                        first + 1,
                        i + 1
                    ),
                    "every column needs a name of its own",
                ));
            }
        }
        Ok(())
    }

    fn ragged(&self, line: u32, found: usize, columns: usize) -> RowsError {
        let help = if found > columns && self.separator == b',' {
            "a cell with a comma in it stands in quotes, and decimals are written with a point"
        } else {
            "every line must have one cell for each column, even if it is empty"
        };
        self.wrong(
            line,
            format!("there are {found} cells where the header names {columns} columns"),
            help,
        )
    }

    /// Reads the cells of the next line that is not blank and returns its number.
    fn record(&mut self, cells: &mut Vec<(u32, u32)>) -> Result<Option<u32>, RowsError> {
        loop {
            if self.at >= self.text.len() {
                return Ok(None);
            }
            let (line, before) = (self.line, cells.len());
            self.cells_of_line(cells)?;
            let blank = cells.len() == before + 1 && self.written(cells[before]).trim().is_empty();
            if !blank {
                return Ok(Some(line));
            }
            cells.truncate(before);
        }
    }

    fn cells_of_line(&mut self, cells: &mut Vec<(u32, u32)>) -> Result<(), RowsError> {
        loop {
            let quoted = self.text.as_bytes().get(self.at) == Some(&b'"');
            let span = if quoted {
                self.quoted_cell()?
            } else {
                self.plain_cell()
            };
            cells.push(span);
            match self.text.as_bytes().get(self.at) {
                Some(byte) if *byte == self.separator => self.at += 1,
                Some(_) => {
                    self.at += 1;
                    self.line += 1;
                    return Ok(());
                }
                None => return Ok(()),
            }
        }
    }

    /// Reads up to the next separator or end of line.
    fn plain_cell(&mut self) -> (u32, u32) {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = rest
            .iter()
            .position(|byte| *byte == self.separator || *byte == b'\n')
            .unwrap_or(rest.len());
        self.at = start + length;
        (start as u32, self.at as u32)
    }

    /// Reads a cell in quotes, in which a doubled quote is one and lines may break.
    fn quoted_cell(&mut self) -> Result<(u32, u32), RowsError> {
        let (first_line, start) = (self.line, self.at + 1);
        let bytes = self.text.as_bytes();
        let (mut at, mut doubled) = (start, false);
        let end = loop {
            match bytes.get(at) {
                None => {
                    return Err(self.wrong(
                        first_line,
                        "a quote is not closed",
                        "end the cell with `\"`; a quote inside a cell is written twice",
                    ));
                }
                Some(b'"') if bytes.get(at + 1) == Some(&b'"') => {
                    doubled = true;
                    at += 2;
                }
                Some(b'"') => break at,
                Some(b'\n') => {
                    self.line += 1;
                    at += 1;
                }
                Some(_) => at += 1,
            }
        };
        self.at = end + 1;
        let after = self.plain_cell();
        if !self.text[after.0 as usize..after.1 as usize]
            .trim()
            .is_empty()
        {
            return Err(self.wrong(
                self.line,
                "something follows a closing quote",
                "a quote inside a cell is written twice",
            ));
        }
        if !doubled {
            return Ok((start as u32, end as u32));
        }
        let from = self.text.len() + self.unescaped.len();
        let cell = self.text[start..end].replace("\"\"", "\"");
        self.unescaped.push_str(&cell);
        Ok((from as u32, (from + cell.len()) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(text: &str) -> Result<Table, String> {
        parse("t.csv".into(), text.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts() {
        let read =
            table("\u{feff}run,loss\r\n\r\n\"a \"\"b\"\",\nc\",2.5\r\n x , 3 \n").expect("read");
        assert_eq!(read.header(), ["run", "loss"]);
        assert_eq!((read.cell(0, 0), read.cell(0, 1)), ("a \"b\",\nc", "2.5"));
        assert_eq!((read.cell(1, 0), read.cell(1, 1)), ("x", "3"));
        assert_eq!(
            (read.place(0), read.place(1)),
            ("line 3".into(), "line 5".into())
        );
    }

    #[test]
    fn tabs_and_semicolons_separate_too() {
        for text in ["a\tb\n1,5\t2\n", "a;b\n1,5;2\n"] {
            let read = table(text).expect("read");
            assert_eq!((read.cell(0, 0), read.cell(0, 1)), ("1,5", "2"));
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, why) in [
            ("", "", "no header"),
            ("a,b,a\n1,2,3\n", "line 1", "`a` appears twice"),
            ("1,2\n3,4\n", "line 1", "holds numbers"),
            (
                "a,b\n1,2\n3\n",
                "line 3",
                "1 cells where the header names 2",
            ),
            ("a,b\n1,2,3\n", "line 2", "3 cells where the header names 2"),
            ("a,b\n1,\"2\n3,4\n", "line 2", "not closed"),
            ("a,b\n1,\"2\"3\n", "line 2", "follows a closing quote"),
        ] {
            let said = table(text).expect_err("refused");
            assert!(
                said.contains(line) && said.contains(why),
                "{text:?}: {said}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(a|1|\"|,|;|\n|\r|é|\t){0,60}") {
            if let Ok(read) = table(&text) {
                for row in 0..read.len() {
                    (0..read.header().len()).for_each(|column| { read.cell(row, column); });
                }
            }
        }
    }
}
