//! CSV text → a table: quotes, any of three separators, and the line of every row.
//!
//! Not a library's reader: those take a quote that is never closed for a cell up to the file's end,
//! and polars does not tell lines. Here a mistake is an error that names its line.
//!
//! What programs write around a table is known: `sep=;` (Excel), `#TYPE` (PowerShell), comments, a
//! comma behind every line, lines that end as on old Macs, and headers repeated where files were joined.

use super::{Places, RowsError, Table};

/// Separators that are looked for in the header.
const SEPARATORS: [u8; 3] = [b',', b'\t', b';'];

pub(super) fn parse(name: String, text: String) -> Result<Table, RowsError> {
    let text = if text.contains('\r') && !text.contains('\n') {
        text.replace('\r', "\n")
    } else {
        text
    };
    let mut reader = Reader {
        name,
        separator: b',',
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        line: 1,
        unescaped: String::new(),
        text,
    };
    let commented = reader.preamble();
    let (mut cells, start) = (Vec::new(), (reader.at, reader.line));
    let Some(header_line) = reader.record(&mut cells)? else {
        return Err(RowsError::Empty {
            name: reader.name,
            what: "it has no header",
        });
    };
    let written = |reader: &Reader, spans: &[(u32, u32)]| -> Vec<String> {
        let cells = spans.iter().map(|span| reader.written(*span));
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    let mut header = written(&reader, &cells);
    // A comment that names as many columns as the line below it, where numbers stand, is the header.
    let holds_numbers = header.iter().any(|cell| super::number(cell).is_some());
    let named = commented.filter(|names| holds_numbers && names.len() == header.len());
    match named.filter(|names| names.len() > 1) {
        Some(names) => {
            header = names;
            (reader.at, reader.line) = start;
        }
        None if header.iter().all(|cell| super::number(cell).is_some()) => {
            return Err(reader.wrong(
                header_line,
                "the first line holds numbers",
                "the first line must name the columns, as in `params,tokens,loss`",
            ));
        }
        None => {}
    }
    let behind = header.iter().rev().take_while(|name| name.is_empty());
    let behind = behind.count();
    header.truncate((header.len() - behind).max(1));
    cells.clear();
    let columns = header.len();
    let (mut lines, mut comments, mut repeated) = (Vec::new(), 0, 0);
    loop {
        let before = cells.len();
        let Some(line) = reader.record(&mut cells)? else {
            break;
        };
        // A separator behind the last cell makes no cell.
        while cells.len() - before > columns
            && cells
                .last()
                .is_some_and(|span| reader.written(*span).trim().is_empty())
        {
            cells.pop();
        }
        let found = &cells[before..];
        if found
            .first()
            .is_some_and(|span| reader.written(*span).trim_start().starts_with('#'))
        {
            comments += 1;
            cells.truncate(before);
        } else if found.len() == columns && written(&reader, found) == header {
            repeated += 1;
            cells.truncate(before);
        } else if found.len() != columns {
            return Err(reader.ragged(line, found.len(), columns));
        } else {
            lines.push(line);
        }
    }
    let remark = |count: usize, what: &str| (count > 0).then(|| format!("{count} lines {what}"));
    let remarks = [
        remark(
            comments,
            "below the header begin with `#`: comments, which are not read",
        ),
        remark(repeated, "repeat the header: they are not read"),
    ];
    // Cells that had to be unescaped stand behind the file's own text.
    let mut text = reader.text;
    text.push_str(&reader.unescaped);
    Ok(Table {
        name: reader.name,
        header,
        text,
        cells,
        places: Places::Lines(lines),
        remarks: remarks.into_iter().flatten().collect(),
        ..Table::default()
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
    /// Reads what stands before the header; returns the columns that the last comment names.
    fn preamble(&mut self) -> Option<Vec<String>> {
        let (mut stated, mut comment) = (None, None);
        loop {
            let rest = &self.text[self.at..];
            let line = rest.lines().next()?;
            let trimmed = line.trim();
            let sep = line.trim_end_matches('\r').strip_prefix("sep=");
            if let Some([separator]) = sep.map(str::as_bytes).filter(|_| self.line == 1) {
                stated = Some(*separator);
            } else if let Some(text) = trimmed.strip_prefix('#') {
                comment = Some(text.to_owned());
            } else if !trimmed.is_empty() {
                break;
            }
            let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
            self.at += length;
            self.line += 1;
        }
        let first = self.text[self.at..].lines().next().unwrap_or("");
        let count = |separator: &u8| first.bytes().filter(|byte| *byte == *separator).count();
        let found = SEPARATORS.into_iter().rev().max_by_key(count);
        self.separator = stated.or(found).unwrap_or(b',');
        let names = comment?;
        let names = names.split(char::from(self.separator));
        Some(names.map(|name| name.trim().to_owned()).collect())
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
            let mut here = cells[before..].iter();
            let blank = here.all(|span| self.written(*span).trim().is_empty());
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
    fn what_programs_write_around_a_table_is_known() {
        for text in [
            "sep=;\na;loss\n1;2.5\n",
            "sep=|\r\na|loss\r\n1|2.5\r\n",
            "#TYPE System.Object\n\"a\",\"loss\"\n\"1\",\"2.5\"\n",
            "# made by a script\na,loss\n# 9,9\n1,2.5\n",
            "# a loss\n# a,loss\n1,2.5\n",
            "a,loss,\n1,2.5,\n,,\n",
            "a,loss\n1,2.5,,\n",
            "a,loss\r1,2.5\r",
            "a,loss\n1,2.5\na,loss\n",
        ] {
            let read = table(text).expect(text);
            assert_eq!(read.header(), ["a", "loss"], "{text:?}");
            assert_eq!((read.len(), read.cell(0, 1)), (1, "2.5"), "{text:?}");
        }
        let read = table("a,loss\n#1,2\na,loss\n3,4\n").expect("read");
        assert_eq!(read.remarks.len(), 2, "{:?}", read.remarks);
        assert_eq!(read.place(0), "line 4");
        let named = table("#run,loss\nx,2.5\n").expect("read");
        assert_eq!((named.header()[0].as_str(), named.cell(0, 0)), ("run", "x"));
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, line, why) in [
            ("", "", "no header"),
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
        fn no_text_panics(text in "(a|1|\"|,|;|#|sep=|\n|\r|é|\t){0,60}") {
            if let Ok(read) = table(&text) {
                for row in 0..read.len() {
                    (0..read.header().len()).for_each(|column| { read.cell(row, column); });
                }
            }
        }
    }
}
