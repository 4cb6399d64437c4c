//! Stories of people who bring their own runs, told through the program itself.

mod answers;
mod desk;
mod fits;
#[path = "../support/mod.rs"]
mod support;
