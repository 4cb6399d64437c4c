//! Data as others prepare them: what is read, what is refused, and what is said.

mod documents;
mod tokenizers;
mod tokens;

use experiment::run::{DataSpec, Paths, TokenWidth, TokenizerSpec};
use std::path::{Path, PathBuf};
use trainer::data::{self, DataError, Dataset, TokenStream};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> String {
        self.0.path().to_str().expect("UTF-8").to_owned()
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn prepare(&self, spec: &DataSpec) -> Result<Dataset, DataError> {
        data::prepare(spec, &self.0.path().join("cache"))
    }

    fn refused(&self, spec: &DataSpec) -> String {
        self.prepare(spec).expect_err("refused").to_string()
    }
}

/// A file handed over with the project, or loudly nothing.
fn case(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/cases")
        .join(name);
    if path.is_file() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there, so nothing was read of it",
        path.display()
    );
    None
}

fn tokens(train: &str, width: Option<TokenWidth>, vocab: usize) -> DataSpec {
    DataSpec::Tokens {
        train: Paths::One(train.to_owned()),
        validation: None,
        width,
        vocab,
        validation_share: 0.1,
        accept_doubtful: false,
    }
}

fn text(path: &str) -> DataSpec {
    DataSpec::text(vec![path.to_owned()], TokenizerSpec::Bytes, 0.1)
}

fn accepted(mut spec: DataSpec) -> DataSpec {
    match &mut spec {
        DataSpec::Text {
            accept_doubtful, ..
        }
        | DataSpec::Tokens {
            accept_doubtful, ..
        } => *accept_doubtful = true,
        DataSpec::Synthetic(_) => {}
    }
    spec
}

fn ids(stream: &TokenStream) -> Vec<u32> {
    let mut ids = vec![0; stream.len() as usize];
    stream.copy_range(0, &mut ids);
    ids
}

/// All the text of a dataset, the held-out part after the other.
fn whole(data: &Dataset) -> String {
    let all = [ids(&data.train), ids(&data.validation)].concat();
    data.vocabulary.decode(&all).expect("text")
}

/// Ids as a tokenizer gives them: frequent and rare ones, all over the vocabulary.
fn like_text(vocab: u32, count: u32) -> Vec<u32> {
    let scattered = |i: u32| i.wrapping_mul(2_654_435_761) >> 8;
    (0..count)
        .map(|i| {
            let rank = (f64::from(vocab)).powf(f64::from(scattered(i) % 9973) / 9973.0) as u32;
            rank.wrapping_mul(40_503) % vocab
        })
        .collect()
}

fn little(ids: &[u32], width: usize) -> Vec<u8> {
    let wide = ids.iter().map(|id| u64::from(*id).to_le_bytes());
    wide.flat_map(|id| id.into_iter().take(width)).collect()
}

fn npy(kind: &str, count: usize, payload: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count},), }}");
    let header = format!("{header:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(payload);
    file
}
