//! Why a trained run cannot answer.

use crate::data::DataError;
use crate::train::TrainError;
use experiment::run::RunId;
use std::path::PathBuf;

/// Why a trained run cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    /// The run's specification cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Spec {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The run has neither final weights nor a checkpoint.
    #[error(
        "{} holds no weights: the run has not been trained to its first checkpoint",
        .0.display()
    )]
    Untrained(PathBuf),
    /// The weights or the device cannot be used.
    #[error(transparent)]
    Weights(#[from] TrainError),
    /// The data, which hold the tokenizer, cannot be prepared, or have no token for the text.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The run's folder holds no tokenizer, and that of the data cannot be trusted.
    #[error(
        "run {0} was trained by a version that kept no tokenizer beside the weights, and the data files \
         are not those it was trained on, so tokens may mean something else; put those back"
    )]
    DataChanged(RunId),
    /// Its tokens read what comes after them.
    #[error(
        "run {0} has `model.causal: paper`: its tokens read what comes after them, so it cannot say what does"
    )]
    ReadsAhead(RunId),
    /// There is nothing to read.
    #[error("the text is empty; give at least one token")]
    NoTokens,
    /// Nothing stands before what is to be scored.
    #[error(
        "nothing stands before `{0}`: a model predicts what follows something, and this run's data have no mark of a \
         beginning; give the item a context"
    )]
    NoContext(String),
    /// A token is not in the model's vocabulary.
    #[error("token {token} is outside the run's vocabulary: ids are 0 to {}", vocab - 1)]
    OutsideVocab {
        /// The token.
        token: u32,
        /// The vocabulary's size.
        vocab: usize,
    },
    /// A dense model was asked about concepts.
    #[error("run {0} is dense: it has no concepts, and so no positions inside them")]
    NoConcepts(RunId),
    /// Two runs do not read the same tokens.
    #[error(
        "runs {0} and {1} were trained on different data: a token of the one is not a token of \
         the other"
    )]
    OtherTokens(RunId, RunId),
    /// The sampling settings make no sense.
    #[error("{0}")]
    Sampling(String),
    /// There are more tokens than the run was trained on at once.
    #[error("{tokens} tokens are more than the {most} of the run's `seq_len`")]
    TooLong {
        /// The tokens.
        tokens: usize,
        /// The run's `seq_len`.
        most: usize,
    },
    /// Somebody asked to stop.
    #[error("stopped before all was scored")]
    Stopped,
    /// The tasks or texts cannot be read.
    #[error(transparent)]
    Tasks(#[from] experiment::tasks::TaskError),
    /// A task and a text are called the same.
    #[error(
        "a task and a text that is held out are both called `{0}`: scores are told apart by these names"
    )]
    SameName(String),
    /// A text that is held out is too short.
    #[error("the text `{0}` has fewer than two tokens: nothing in it is predicted")]
    ShortText(String),
    /// Nothing says how many bytes a run's tokens stand for.
    #[error(
        "what the tokens of this run stand for is not known, or its tokenizer loses much of the text `{0}`: there are \
         no bits per byte"
    )]
    NoBytes(String),
    /// An exported file cannot be used.
    #[error("cannot use {}: {why}", path.display())]
    Exported {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What was found cannot be kept.
    #[error("cannot write {}: {why}", path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The logits are not numbers.
    #[error("the logits after token {0} are not all numbers: did the run diverge?")]
    NotNumbers(usize),
}
