//! The training process as a whole: golden numbers of another implementation, and the loop.

mod data;
mod golden;
mod training;
