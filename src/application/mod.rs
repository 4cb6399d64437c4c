//! What the program does, for whoever asks: the command line, the page and tests.
//!
//! Owns experiments by name, their plans, devices and costs, and everything that is asked about rows
//! ([`Asked`]). Refuses arguments and printing.

mod analysed;
mod asked;
mod claims;
mod cluster;
mod costs;
mod course;
mod devices;
mod error;
mod evaluation;
mod experiment;
mod external;
mod folders;
mod second_step;
mod target;
mod trying;

pub use analysed::Analysed;
pub use asked::{AskError, Asked, cost_of_assumed};
pub use claims::verdicts;
pub use cluster::{Chosen, submission};
pub use costs::{at_once, costs, with_measured_memory};
pub use course::{first_runs, open_runs};
pub use devices::{Packing, devices, of_this_machine, places, slots};
pub use error::Refused;
pub use evaluation::{AskRunError, Asking, Unasked, items_of, read_set};
pub use experiment::{Loaded, Named, Place, Runs};
pub use folders::{cost_cache, data_cache, this_program};
pub use trying::{Tried, try_out};
