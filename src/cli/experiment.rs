//! The arguments that name an experiment, and those that say where runs train.

use super::Failure;
use super::terminal::quoted;
use crate::application::{Chosen, Loaded, Named, Place, of_this_machine};
use experiment::grid::Experiment;
use network::device;
use std::path::PathBuf;

/// The arguments that name an experiment.
#[derive(Debug, clap::Args)]
pub(super) struct ExperimentArgs {
    /// The experiment file (YAML).
    pub(super) file: PathBuf,

    /// Override a value of the file: a dotted path and a YAML value, as in `data.text=my.txt`.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub(super) overrides: Vec<String>,

    /// Results folder [default: results/NAME, NAME being the experiment's].
    #[arg(long, value_name = "DIR")]
    pub(super) results: Option<PathBuf>,
}

impl ExperimentArgs {
    fn named(&self) -> Named {
        Named {
            file: self.file.clone(),
            overrides: self.overrides.clone(),
            results: self.results.clone(),
        }
    }

    /// Writes them as they were given, for hints.
    pub(super) fn as_given(&self) -> String {
        let words: Vec<String> = self.words().iter().map(|word| quoted(word)).collect();
        words.join(" ")
    }

    /// Lists them as they were given.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec![self.file.display().to_string()];
        for given in &self.overrides {
            words.extend(["--set".to_owned(), given.clone()]);
        }
        if let Some(results) = &self.results {
            words.extend(["--results".to_owned(), results.display().to_string()]);
        }
        words
    }

    /// Finds stored results: those of a file, whose cells are not made, of a results folder, or of an
    /// experiment's name.
    pub(super) fn place(&self) -> Result<Place, Failure> {
        Ok(self.named().place()?)
    }

    /// Reads and validates the file; nothing is written.
    pub(super) fn load(&self) -> Result<Loaded, Failure> {
        Ok(self.named().load()?)
    }
}

/// Where runs train.
#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// The devices that runs train on, separated by commas.
    #[arg(
        long,
        env = device::VARIABLE,
        default_value = "auto",
        value_delimiter = ',',
        value_name = "DEVICE"
    )]
    device: Vec<String>,
}

impl DeviceArgs {
    /// Lists the names of the devices that an experiment's runs train on.
    ///
    /// Another trainer's are its own affair: this program need not be able to use them.
    pub(super) fn names_for(&self, experiment: &Experiment) -> Result<Vec<String>, Failure> {
        if experiment.external.is_none() {
            return self.names();
        }
        if self.device == ["auto"] {
            return Ok(of_this_machine());
        }
        check_device_names(&self.device)?;
        Ok(self.device.clone())
    }

    /// Lists the names of the devices, all of which can be used.
    pub(super) fn names(&self) -> Result<Vec<String>, Failure> {
        let names = device::resolve(&self.device);
        for name in &names {
            device::open(name).map_err(Failure::input)?;
        }
        Ok(names)
    }
}

/// Where else runs train.
#[derive(Debug, clap::Args)]
pub(super) struct OnArgs {
    /// On a cluster: a profile of clusters.yaml, beside the experiment or in the user's configuration; `local`
    /// is this machine [default: `execution.on`].
    #[arg(long, value_name = "NAME")]
    pub(super) on: Option<String>,
}

impl OnArgs {
    /// Finds the cluster that is asked for; `None` for this machine.
    pub(super) fn find(
        &self,
        loaded: &Loaded,
        experiment: &ExperimentArgs,
    ) -> Result<Option<Chosen>, Failure> {
        Ok(Chosen::find(self.on.as_deref(), loaded, &experiment.file)?)
    }
}

/// Refuses what names no device: whether there is such a one is for whoever trains on it to find out.
pub(super) fn check_device_names(names: &[String]) -> Result<(), Failure> {
    let is_one = |name: &str| device::is_cpu(name) || device::gpu_index(name).is_some();
    match names.iter().find(|name| !is_one(name)) {
        Some(name) => Err(Failure::input(format!(
            "`{name}` is no device: their names are `cpu`, `cuda:0`, `cuda:1`, and so on"
        ))),
        None => Ok(()),
    }
}
