//! The local web page: what the server answers, and every page in a real browser.

mod answers;
mod browser;
mod pages;
pub(crate) mod server;
mod size;
