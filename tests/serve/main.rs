//! The local web page: what the server answers, and every page in a real browser.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod browser;
mod pages;
mod server;
mod size;
