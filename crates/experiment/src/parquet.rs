//! Parquet files → columns of cells.
//!
//! A damaged file is an error: what its numbers ask for is held against what the file can hold before
//! memory is asked for.

use crate::quietly::quietly;
use bytes::Bytes;
use half::f16;
use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::{self as types, ByteArray, Decimal};
use parquet::errors::{ParquetError, Result as Read};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;

/// A column's cells; null is `None`.
pub type Cells = Vec<Option<String>>;

/// A Parquet file.
pub struct Parquet {
    file: SerializedFileReader<Bytes>,
    columns: Vec<Column>,
    rows: usize,
}

/// A column of a [`Parquet`] file.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name; a field of a structure is `structure.field`.
    pub name: String,
    /// What it holds.
    pub holds: Holds,
    /// Its place among the columns that the file stores.
    leaf: usize,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Holds {
    /// Text in UTF-8.
    Text,
    /// Bytes, which are text if they are UTF-8.
    Bytes,
    /// True or false, which are 1 and 0.
    Truth,
    /// Whole numbers.
    Whole,
    /// Whole numbers that are never negative.
    Natural,
    /// Numbers in half precision.
    Half,
    /// Numbers in single or double precision.
    Real,
    /// Decimal numbers.
    Decimal,
    /// What is not read, in words.
    Other(&'static str),
}

impl Holds {
    /// Says what it is, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Truth => "true and false",
            Self::Whole | Self::Natural | Self::Half | Self::Real | Self::Decimal => "numbers",
            Self::Other(words) => words,
        }
    }

    /// # Source
    /// Parquet's logical types, and the converted types before them.
    fn of(column: &Type) -> Self {
        let info = column.get_basic_info();
        let physical = column.get_physical_type();
        let by_logical = match info.logical_type_ref() {
            Some(LogicalType::Float16) => Some(Self::Half),
            Some(LogicalType::Timestamp(_)) => Some(Self::Other("timestamps")),
            Some(LogicalType::Time(_)) => Some(Self::Other("times of day")),
            Some(LogicalType::Uuid) => Some(Self::Other("UUIDs")),
            Some(LogicalType::Variant(_)) => Some(Self::Other("variants")),
            Some(LogicalType::Geometry(_) | LogicalType::Geography(_)) => {
                Some(Self::Other("shapes on a map"))
            }
            _ => None,
        };
        by_logical.unwrap_or_else(|| match (info.converted_type(), physical) {
            (ConvertedType::DECIMAL, _) => Self::Decimal,
            (ConvertedType::DATE, _) => Self::Other("dates"),
            (ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS, _) => {
                Self::Other("times of day")
            }
            (ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS, _)
            | (_, Physical::INT96) => Self::Other("timestamps"),
            (ConvertedType::INTERVAL, _) => Self::Other("intervals"),
            (_, Physical::BOOLEAN) => Self::Truth,
            (
                ConvertedType::UINT_8
                | ConvertedType::UINT_16
                | ConvertedType::UINT_32
                | ConvertedType::UINT_64,
                Physical::INT32 | Physical::INT64,
            ) => Self::Natural,
            (_, Physical::INT32 | Physical::INT64) => Self::Whole,
            (_, Physical::FLOAT | Physical::DOUBLE) => Self::Real,
            (ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON, _) => Self::Text,
            (_, Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY) => Self::Bytes,
        })
    }
}

impl Parquet {
    /// Opens a file by what it holds.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn open(file: Vec<u8>) -> Result<Self, String> {
        let size = file.len();
        let file = sound(|| SerializedFileReader::new(Bytes::from(file)))?;
        let named = file.metadata().file_metadata();
        let rows = usize::try_from(named.num_rows()).ok();
        let Some(rows) = rows.filter(|rows| *rows <= most_rows(size)) else {
            let rows = named.num_rows();
            return Err(format!("its footer names {rows} rows in {size} bytes"));
        };
        let mut columns = Vec::new();
        let mut leaf = 0;
        for field in named.schema().get_fields() {
            list(field, "", None, &mut leaf, &mut columns);
        }
        Ok(Self {
            file,
            columns,
            rows,
        })
    }

    /// Returns how many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the columns, in their order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Reads a column.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub fn cells(&self, column: &Column) -> Result<Cells, String> {
        sound(|| self.read(column))
    }

    fn read(&self, column: &Column) -> Read<Cells> {
        use Holds::{Bytes, Decimal as Decimals, Half, Natural, Other, Real, Text, Truth, Whole};
        let schema = self.file.metadata().file_metadata().schema_descr();
        let stored = schema.column(column.leaf);
        let (precision, scale) = (stored.type_precision(), stored.type_scale());
        let decimal = |it| Ok(Field::Decimal(it).to_string());
        let of_bytes = |it: &ByteArray| decimal(Decimal::from_bytes(it.clone(), precision, scale));
        let text = |it: &ByteArray| it.as_utf8().map(str::to_owned);
        let leaf = column.leaf;
        match (column.holds, stored.physical_type()) {
            (Truth, _) => self.values::<types::BoolType>(leaf, |it| Ok(u8::from(*it).to_string())),
            (Whole, Physical::INT32) => {
                self.values::<types::Int32Type>(leaf, |it| Ok(it.to_string()))
            }
            (Whole, _) => self.values::<types::Int64Type>(leaf, |it| Ok(it.to_string())),
            (Natural, Physical::INT32) => {
                self.values::<types::Int32Type>(leaf, |it| Ok(it.cast_unsigned().to_string()))
            }
            (Natural, _) => {
                self.values::<types::Int64Type>(leaf, |it| Ok(it.cast_unsigned().to_string()))
            }
            (Real, Physical::FLOAT) => {
                self.values::<types::FloatType>(leaf, |it| Ok(f64::from(*it).to_string()))
            }
            (Real, _) => self.values::<types::DoubleType>(leaf, |it| Ok(it.to_string())),
            (Half, _) => self.values::<types::FixedLenByteArrayType>(leaf, |it| {
                let bytes = it.data().first_chunk();
                let bytes = bytes.ok_or_else(|| damaged("a half is no two bytes"))?;
                Ok(f16::from_le_bytes(*bytes).to_f64().to_string())
            }),
            (Decimals, Physical::INT32) => self.values::<types::Int32Type>(leaf, |it| {
                decimal(Decimal::from_i32(*it, precision, scale))
            }),
            (Decimals, Physical::INT64) => self.values::<types::Int64Type>(leaf, |it| {
                decimal(Decimal::from_i64(*it, precision, scale))
            }),
            (Decimals, Physical::FIXED_LEN_BYTE_ARRAY) => {
                self.values::<types::FixedLenByteArrayType>(leaf, |it| of_bytes(it))
            }
            (Decimals, _) => self.values::<types::ByteArrayType>(leaf, of_bytes),
            (Text | Bytes, Physical::FIXED_LEN_BYTE_ARRAY) => {
                self.values::<types::FixedLenByteArrayType>(leaf, |it| text(it))
            }
            (Text | Bytes, _) => self.values::<types::ByteArrayType>(leaf, text),
            (Other(_), _) => Err(damaged("its type is none that is read")),
        }
    }

    /// Reads the values of a stored column, and writes each as a cell.
    fn values<T: types::DataType>(
        &self,
        leaf: usize,
        write: impl Fn(&T::T) -> Read<String>,
    ) -> Read<Cells> {
        /// Read at once.
        const BATCH: usize = 4096;
        let described = self
            .file
            .metadata()
            .file_metadata()
            .schema_descr()
            .column(leaf);
        let present = described.max_def_level();
        let (mut cells, mut values, mut levels) = (Vec::new(), Vec::new(), Vec::new());
        for group in 0..self.file.num_row_groups() {
            let group = self.file.get_row_group(group)?;
            let pages = BoundedPages {
                pages: group.get_column_page_reader(leaf)?,
                rows: self.rows,
                levels: present > 0,
            };
            let mut reader = ColumnReaderImpl::<T>::new(described.clone(), Box::new(pages));
            loop {
                values.clear();
                levels.clear();
                let (records, ..) =
                    reader.read_records(BATCH, Some(&mut levels), None, &mut values)?;
                if records == 0 {
                    break;
                }
                if cells.len() + records > self.rows {
                    return Err(damaged("a column has more rows than the file"));
                }
                if present == 0 {
                    levels.resize(values.len(), 0);
                }
                let mut values = values.iter();
                for level in &levels {
                    let value = (*level == present).then(|| values.next());
                    let missing = || damaged("a value is missing");
                    let value = value.map(|it| write(it.ok_or_else(missing)?));
                    cells.push(value.transpose()?);
                }
            }
        }
        if cells.len() != self.rows {
            return Err(damaged("a column has fewer rows than the file"));
        }
        Ok(cells)
    }
}

/// The most rows of a file: numbers in a footer ask for memory.
fn most_rows(size: usize) -> usize {
    /// Columns of equal values take next to nothing, but some column of a table varies.
    const A_BYTE: usize = 256;
    /// However small the file is.
    const ANY: usize = 1 << 24;
    size.saturating_mul(A_BYTE).max(ANY)
}

/// Lists the columns that are stored for a field. What repeats in a row is one that is not read.
fn list(
    field: &Type,
    within: &str,
    repeated: Option<&str>,
    leaf: &mut usize,
    columns: &mut Vec<Column>,
) {
    let info = field.get_basic_info();
    let own = format!("{within}{}", info.name());
    let repeats = info.has_repetition() && info.repetition() == Repetition::REPEATED;
    // The structure around what repeats bears the list's name.
    let outer = within.strip_suffix('.').unwrap_or(&own);
    let repeated = repeated.or(repeats.then_some(outer));
    if field.is_group() {
        for inner in field.get_fields() {
            list(inner, &format!("{own}."), repeated, leaf, columns);
        }
        return;
    }
    let name = repeated.unwrap_or(&own);
    if repeated.is_none() || columns.last().is_none_or(|last| last.name != name) {
        columns.push(Column {
            name: name.to_owned(),
            holds: repeated.map_or_else(|| Holds::of(field), |_| Holds::Other("lists or maps")),
            leaf: *leaf,
        });
    }
    *leaf += 1;
}

/// Calls the library, which panics at some damaged files.
fn sound<T>(read: impl FnOnce() -> Read<T>) -> Result<T, String> {
    let read = quietly(read).map_err(|panicked| panicked.to_string())?;
    read.map_err(|error| error.to_string())
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(format!("it is damaged: {what}"))
}

/// Pages whose numbers ask for no more than there is: the library asks for memory by them.
struct BoundedPages {
    pages: Box<dyn PageReader>,
    /// Rows of the file.
    rows: usize,
    /// Whether levels stand before the values, as where values may be missing.
    levels: bool,
}

impl BoundedPages {
    fn bounded(&self, page: Page) -> Read<Page> {
        use parquet::basic::Encoding::{
            DELTA_BINARY_PACKED, DELTA_BYTE_ARRAY, DELTA_LENGTH_BYTE_ARRAY,
        };
        let values = page.num_values() as usize;
        let (start, most) = match &page {
            // Each takes a byte at least.
            Page::DictionaryPage { buf, .. } => (None, buf.len()),
            Page::DataPage { buf, .. } => {
                let length = buf.first_chunk().filter(|_| self.levels);
                let levels = length.map_or(0, |it| 4 + u32::from_le_bytes(*it) as usize);
                (Some(levels), self.rows)
            }
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let levels = def_levels_byte_len.saturating_add(*rep_levels_byte_len);
                (Some(levels as usize), self.rows)
            }
        };
        let more = || damaged("a page names more values than there are");
        if values > most {
            return Err(more());
        }
        let delta = [
            DELTA_BINARY_PACKED,
            DELTA_BYTE_ARRAY,
            DELTA_LENGTH_BYTE_ARRAY,
        ];
        if let Some(start) = start.filter(|_| delta.contains(&page.encoding())) {
            let mut rest = page.buffer().get(start..).unwrap_or_default();
            // The size of a block, its parts, the values.
            let named = [number(&mut rest), number(&mut rest), number(&mut rest)][2];
            if named.is_none_or(|named| named > values as u64) {
                return Err(more());
            }
        }
        Ok(page)
    }
}

/// Reads a number of seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 + bytes.iter().take(9).position(|byte| *byte < 0x80)?;
    let (own, rest) = bytes.split_at(length);
    *bytes = rest;
    let places = own.iter().rev();
    Some(places.fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f)))
}

impl Iterator for BoundedPages {
    type Item = Read<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for BoundedPages {
    fn get_next_page(&mut self) -> Read<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|page| self.bounded(page)).transpose()
    }

    fn peek_next_page(&mut self) -> Read<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Read<()> {
        self.pages.skip_next_page()
    }
}
