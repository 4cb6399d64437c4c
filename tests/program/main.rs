//! The program as its users meet it: commands, files and pages.

mod claims;
mod cluster;
mod command_line;
mod controls;
mod data;
mod export;
mod exports;
mod fitting;
mod inference;
mod late;
mod layering;
mod operations;
mod report;
mod serve;
mod slurm;
mod storage;
mod stories;
mod support;
mod trainers;
mod tutorial;
mod until;
