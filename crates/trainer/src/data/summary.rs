//! What was found where data were looked for, as people want to see it before they train.

use super::Dataset;
use experiment::run::DataFacts;
use serde::Serialize;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Files that were read; 0 where data are generated.
    pub files: usize,
    /// Their bytes, as they lie on the disk.
    pub bytes: u64,
    /// Documents in them; `None` where files do not say where one ends.
    pub documents: Option<u64>,
    /// In which forms the files are.
    pub form: String,
    /// What is held out.
    pub held_out: String,
    /// What was decided that one may not expect.
    pub remarks: Vec<String>,
    /// What looks wrong.
    pub warnings: Vec<String>,
}

/// Data, in what a person needs to see whether they are the right ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Described {
    /// What was found.
    #[serde(flatten)]
    pub summary: Summary,
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Unique training tokens.
    pub train_tokens: u64,
    /// Held-out tokens.
    pub validation_tokens: u64,
    /// UTF-8 bytes a held-out token stands for; `None` where tokens have no text, or have lost some.
    pub bytes_per_token: Option<f64>,
    /// The beginning of what is trained on: text, or ids.
    pub sample: String,
}

impl Dataset {
    /// Describes the data.
    pub fn describe(&self) -> Described {
        const SHOWN: u64 = 48;
        let mut ids = vec![0; self.train.len().min(SHOWN) as usize];
        self.train.copy_range(0, &mut ids);
        let DataFacts {
            vocab,
            train_tokens,
            validation_tokens,
            bytes_per_token,
            ..
        } = self.facts;
        Described {
            summary: self.summary.clone(),
            vocab,
            train_tokens,
            validation_tokens,
            bytes_per_token,
            sample: self.vocabulary.shown(&ids),
        }
    }
}
