//! `clusters.yaml`: how workers are brought up on a cluster, by name.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The profiles of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Profiles(pub BTreeMap<String, Profile>);

/// How workers are brought up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub enum Profile {
    /// By Slurm.
    Slurm(Box<SlurmProfile>),
    /// By hand, or by whatever else starts `orchestrator worker RESULTS`.
    ByHand(ByHand),
}

/// A profile as it is written: one of its keys.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    slurm: Option<Box<SlurmProfile>>,
    by_hand: Option<ByHand>,
}

impl TryFrom<Written> for Profile {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        match (written.slurm, written.by_hand) {
            (Some(slurm), None) => Ok(Self::Slurm(slurm)),
            (None, Some(hand)) => Ok(Self::ByHand(hand)),
            _ => Err("a profile is `slurm: {…}` or `by_hand: {}`"),
        }
    }
}

/// Workers that somebody else starts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByHand {
    /// Seconds that a worker may take to end a run that it is to kill, before the run is taken from it.
    #[serde(default = "patience")]
    pub patience: f64,
}

/// What jobs ask of Slurm.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlurmProfile {
    /// Workers at once, at most.
    pub workers: usize,
    /// Time limit of a worker, as `sbatch --time` takes it, or such as `4h`.
    pub time: Option<String>,
    /// Partitions.
    #[serde(default)]
    pub partition: Words,
    /// Account.
    pub account: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Generic resources, such as `gpu:h100:1`.
    pub gres: Option<String>,
    /// Cores of a worker.
    pub cpus: Option<usize>,
    /// Memory of a worker, such as `48G`.
    pub memory: Option<String>,
    /// Features that a node must have.
    pub constraint: Option<String>,
    /// Nodes that are not to be used.
    #[serde(default)]
    pub exclude: Words,
    /// Lines of shell before the worker, such as `module load cuda/12.4`.
    #[serde(default)]
    pub setup: Words,
    /// A command that starts the worker, such as `apptainer exec --nv train.sif`.
    pub wrap: Option<String>,
    /// A folder of the node for prepared data, such as `$TMPDIR`.
    pub scratch: Option<String>,
    /// Seconds that a worker waits for work before it ends.
    #[serde(default = "idle")]
    pub idle: f64,
    /// Further options of sbatch.
    #[serde(default)]
    pub extra: Words,
    /// Seconds between two questions to Slurm, at least.
    #[serde(default = "poll")]
    pub poll: f64,
    /// As of workers by hand.
    #[serde(default = "patience")]
    pub patience: f64,
}

fn idle() -> f64 {
    300.0
}

/// Three times what shared filesystems take to show a file.
fn patience() -> f64 {
    180.0
}

fn poll() -> f64 {
    30.0
}

/// One word, or several.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "OneOrMore")]
pub struct Words(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Words {
    fn from(words: OneOrMore) -> Self {
        Self(match words {
            OneOrMore::One(word) => vec![word],
            OneOrMore::More(words) => words,
        })
    }
}

/// Why there is no such profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// No file has profiles.
    #[error(
        "there is no clusters.yaml: write one beside the experiment, or in {}; docs/cluster.md has examples",
        user.display()
    )]
    NoFile {
        /// The user's own place for it.
        user: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line and column.
        why: String,
    },
    /// It has none of that name.
    #[error("{} has no profile `{name}`: it has {}", path.display(), known.join(", "))]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

/// Finds a profile: in the first of some files that is there.
///
/// # Errors
/// When no file is there, it cannot be read, or has no such profile.
pub fn find(name: &str, files: &[PathBuf]) -> Result<Profile, ProfileError> {
    let Some(path) = files.iter().find(|path| path.is_file()) else {
        return Err(ProfileError::NoFile {
            user: files.last().cloned().unwrap_or_default(),
        });
    };
    let wrong = |why: String| ProfileError::Wrong {
        path: path.clone(),
        why,
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let Profiles(mut profiles) = parse(&text).map_err(wrong)?;
    profiles.remove(name).ok_or_else(|| ProfileError::Unknown {
        path: path.clone(),
        name: name.to_owned(),
        known: profiles.into_keys().collect(),
    })
}

/// Reads profiles.
///
/// # Errors
/// What is wrong, with its line and column.
pub fn parse(text: &str) -> Result<Profiles, String> {
    let profiles: Profiles = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    for (name, profile) in &profiles.0 {
        if let Profile::Slurm(slurm) = profile {
            if slurm.workers == 0 {
                return Err(format!("{name}: `workers` must be at least 1"));
            }
            let times = [slurm.idle, slurm.poll, slurm.patience];
            if !times.iter().all(|time| (0.0..1e9).contains(time)) {
                return Err(format!(
                    "{name}: `idle`, `poll` and `patience` are seconds from 0"
                ));
            }
        }
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_and_mistakes_have_a_place() {
        let text = "jean:\n  slurm:\n    workers: 16\n    time: 4h\n    partition: [gpu, spot]\n    \
                    setup: module load cuda/12.4\nhand: {by_hand: {}}\n";
        let Profiles(profiles) = parse(text).expect("right");
        let Profile::Slurm(slurm) = &profiles["jean"] else {
            panic!("{profiles:?}");
        };
        assert_eq!(slurm.partition.0, ["gpu", "spot"]);
        assert_eq!(slurm.setup.0, ["module load cuda/12.4"]);
        assert_eq!((slurm.idle, slurm.poll), (300.0, 30.0));
        assert_eq!(
            profiles["hand"],
            Profile::ByHand(ByHand { patience: 180.0 })
        );
        for (text, why) in [
            ("a: {slurm: {worker: 3}}", "unknown field `worker`"),
            ("a:\n  slurm:\n    workers: many", "line 3 column 14"),
            ("a: {slurm: {workers: 0}}", "at least 1"),
            ("a: {pbs: {}}", "unknown field `pbs`"),
            ("a: {}", "a profile is `slurm"),
        ] {
            let said = parse(text).expect_err(text);
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
