//! The network as a whole: what reaches what, and that every way of computing it agrees.

mod causality;
mod decoding;
mod ragged;
