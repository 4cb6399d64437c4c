//! Stories of people who fit laws, to their own runs and to those of this program.

mod answers;
pub(crate) mod desk;
mod doors;
mod figures;
mod fits;
mod formulas;
mod ladder;
mod rows;
mod tables;
mod units;
