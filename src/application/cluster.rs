//! Clusters by the names of their profiles.

use super::{Loaded, Refused};
use campaign::cluster::leader::Cluster;
use campaign::cluster::pool::{ByHand, Pool};
use campaign::cluster::profile::{self, HERE, Profile, SlurmProfile};
use campaign::cluster::slurm::{Slurm, Submission};
use experiment::digest;
use std::path::{Path, PathBuf};

/// The file of profiles.
const PROFILES: &str = "clusters.yaml";

/// A cluster that runs are to be trained on.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: Profile,
}

impl Chosen {
    /// Finds the cluster that is asked for: by `--on`, or else by the file; `None` for this machine.
    ///
    /// # Errors
    /// When there is no such profile, or it is wrong.
    pub fn find(
        asked: Option<&str>,
        loaded: &Loaded,
        file: &Path,
    ) -> Result<Option<Self>, Refused> {
        let name = asked.or(loaded.experiment.execution.on.as_deref());
        let Some(name) = name.filter(|name| *name != HERE) else {
            return Ok(None);
        };
        let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".config")));
        let user = home.unwrap_or_default().join("orchestrator").join(PROFILES);
        let files = [file.with_file_name(PROFILES), user];
        Ok(Some(Self {
            name: name.to_owned(),
            profile: profile::find(name, &files).map_err(Refused::input)?,
        }))
    }

    /// Prepares its workers for an experiment.
    ///
    /// # Errors
    /// When the results folder cannot be used.
    pub fn open(&self, loaded: &Loaded) -> Result<Cluster, Refused> {
        let pool: Box<dyn Pool> = match &self.profile {
            Profile::Slurm(profile) => Box::new(Slurm::new(submission(profile, loaded)?)),
            Profile::ByHand(hand) => Box::new(ByHand {
                patience: hand.patience.0.duration(),
            }),
        };
        Cluster::new(&loaded.results, pool).map_err(Refused::machine)
    }
}

/// What is submitted to Slurm for an experiment.
///
/// # Errors
/// When this program cannot be found.
pub fn submission(profile: &SlurmProfile, loaded: &Loaded) -> Result<Submission, Refused> {
    let results = std::path::absolute(&loaded.results).map_err(Refused::machine)?;
    let token = digest::name(&results.display().to_string());
    let external = loaded.experiment.external.as_ref();
    Ok(Submission {
        profile: profile.clone(),
        program: super::this_program()?,
        name: format!("orchestrator-{token}"),
        devices_per_run: external.map_or(1, |external| external.devices_per_run),
        results,
    })
}
