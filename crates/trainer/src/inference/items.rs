//! Answers to every item as a Parquet file: a row a candidate.

use super::InferenceError;
use experiment::parquet::Parquet;
use experiment::tasks::{Answer, Scored};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::Result as Written;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Bytes and lengths are of the continuation that is scored; `log_likelihood` is in nats.
const SCHEMA: &str = "message items {
    required binary run (UTF8);
    required binary task (UTF8);
    required int64 item;
    required int64 candidate;
    required boolean gold;
    required double log_likelihood;
    required int64 tokens;
    required int64 bytes;
    required boolean is_greedy;
    required int64 truncated;
}";

/// What a run answered to every item, by task.
pub type Items = BTreeMap<String, Vec<Answer>>;

/// A candidate, and what it is one of.
struct Row<'a> {
    run: &'a str,
    task: &'a str,
    item: usize,
    candidate: usize,
    gold: bool,
    scored: &'a Scored,
}

/// Writes the answers of runs, whole or not at all.
///
/// # Errors
/// When the file cannot be written.
pub fn write<'a>(
    path: &Path,
    runs: impl IntoIterator<Item = (&'a str, &'a Items)>,
) -> Result<(), InferenceError> {
    let mut rows = Vec::new();
    for (run, answered) in runs {
        for (task, answers) in answered {
            for (item, answer) in answers.iter().enumerate() {
                let candidates = answer.candidates.iter().enumerate();
                rows.extend(candidates.map(|(candidate, scored)| Row {
                    run,
                    task,
                    item,
                    candidate,
                    gold: candidate == answer.gold,
                    scored,
                }));
            }
        }
    }
    let kept = |why: String| InferenceError::Kept {
        path: path.to_owned(),
        why,
    };
    let bytes = file_of(&rows).map_err(|error| kept(error.to_string()))?;
    let unfinished = path.with_extension("unfinished");
    let written = std::fs::File::create(&unfinished).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_data()?;
        std::fs::rename(&unfinished, path)
    });
    written.map_err(|error| kept(error.to_string()))
}

/// Reads what a run answered, task by task.
///
/// # Errors
/// When the file cannot be read or is no such file, in words.
pub fn read(path: &Path, run: &str) -> Result<Items, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let file = Parquet::open(bytes)?;
    let column = |name: &str| {
        let column = file.columns().iter().find(|column| column.name == name);
        let column = column.ok_or_else(|| format!("there is no column `{name}`"))?;
        let cells = file.cells(column)?.into_iter();
        let cells = cells.map(|cell| cell.ok_or_else(|| format!("`{name}` has a null")));
        cells.collect::<Result<Vec<String>, String>>()
    };
    fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
        text.parse()
            .map_err(|_| format!("`{text}` is no such number"))
    }
    let [runs, tasks, items, golds] = [
        column("run")?,
        column("task")?,
        column("item")?,
        column("gold")?,
    ];
    let likelihoods = column("log_likelihood")?;
    let [tokens, bytes, greedy, truncated] = [
        column("tokens")?,
        column("bytes")?,
        column("is_greedy")?,
        column("truncated")?,
    ];
    let mut answers = Items::new();
    // The file has a row a candidate, in order.
    for row in (0..file.rows()).filter(|&row| runs[row] == run) {
        let answers = answers.entry(tasks[row].clone()).or_default();
        if number::<usize>(&items[row])? == answers.len() {
            answers.push(Answer {
                candidates: Vec::new(),
                gold: 0,
            });
        }
        let Some(answer) = answers.last_mut() else {
            return Err(format!("row {row}: an item is missing before it"));
        };
        if golds[row] == "1" {
            answer.gold = answer.candidates.len();
        }
        answer.candidates.push(Scored {
            log_likelihood: number(&likelihoods[row])?,
            tokens: number(&tokens[row])?,
            bytes: number(&bytes[row])?,
            is_greedy: greedy[row] == "1",
            truncated: number(&truncated[row])?,
        });
    }
    Ok(answers)
}

fn file_of(rows: &[Row]) -> Written<Vec<u8>> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = file.next_row_group()?;
    let text = |text: &str| ByteArray::from(text);
    column::<ByteArrayType>(&mut group, rows, |row| text(row.run))?;
    column::<ByteArrayType>(&mut group, rows, |row| text(row.task))?;
    column::<Int64Type>(&mut group, rows, |row| row.item as i64)?;
    column::<Int64Type>(&mut group, rows, |row| row.candidate as i64)?;
    column::<BoolType>(&mut group, rows, |row| row.gold)?;
    column::<DoubleType>(&mut group, rows, |row| row.scored.log_likelihood)?;
    column::<Int64Type>(&mut group, rows, |row| row.scored.tokens as i64)?;
    column::<Int64Type>(&mut group, rows, |row| row.scored.bytes as i64)?;
    column::<BoolType>(&mut group, rows, |row| row.scored.is_greedy)?;
    column::<Int64Type>(&mut group, rows, |row| row.scored.truncated as i64)?;
    group.close()?;
    file.into_inner()
}

/// Writes the next column of the schema.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    rows: &[Row],
    cell: impl Fn(&Row) -> T::T,
) -> Written<()> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    let cells: Vec<T::T> = rows.iter().map(cell).collect();
    column.typed::<T>().write_batch(&cells, None, None)?;
    column.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_were() {
        let scored = |log_likelihood: f64| Scored {
            log_likelihood,
            tokens: 2,
            bytes: 3,
            is_greedy: log_likelihood > -1.0,
            truncated: 4,
        };
        let answers = vec![
            Answer {
                candidates: vec![scored(-0.1 - 0.2), scored(-1e-300)],
                gold: 1,
            },
            Answer {
                candidates: vec![scored(-123.456_789_012_345_67)],
                gold: 0,
            },
        ];
        let answered = Items::from([("töpic".to_owned(), answers.clone())]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("items.parquet");
        write(&path, [("a", &answered), ("b", &answered)]).expect("written");
        for run in ["a", "b"] {
            let read = read(&path, run).expect("read");
            assert_eq!(read["töpic"], answers);
        }
        assert!(read(&path, "c").expect("read").is_empty());
        std::fs::write(&path, "no Parquet").expect("written");
        read(&path, "a").expect_err("no Parquet");
    }
}
