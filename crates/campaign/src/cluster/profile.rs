//! `clusters.yaml`: how workers are brought up on a cluster, by name.

use experiment::quantity::{Seconds, parse_duration};
use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The profile that is no cluster: this machine.
pub const HERE: &str = "local";

/// Profiles of clusters, by name: `orchestrator run FILE --on NAME` uses one.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(title = "clusters.yaml")]
pub struct Profiles(
    #[serde(with = "serde_yaml::with::singleton_map_recursive")]
    #[schemars(with = "BTreeMap<String, Profile>")]
    pub BTreeMap<String, Profile>,
);

/// How workers are brought up.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// By Slurm.
    Slurm(Box<SlurmProfile>),
    /// By hand, or by whatever else starts `orchestrator worker RESULTS`.
    ByHand(ByHand),
}

/// Workers that somebody else starts.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByHand {
    /// Time that a worker may take to end a run that it is to kill, before the run is taken from it.
    #[serde(default = "patience")]
    pub patience: Time,
}

/// What jobs ask of Slurm.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlurmProfile {
    /// Workers at once, at most.
    pub workers: NonZeroUsize,
    /// Time limit of a worker, such as `4h`, or as Slurm writes it, `1-12:00:00`.
    pub time: Option<TimeLimit>,
    /// Partition, or a list of which Slurm chooses.
    #[serde(default)]
    pub partition: Words,
    /// Account.
    pub account: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Generic resources, such as `gpu:h100:1`.
    pub gres: Option<String>,
    /// Cores of a worker.
    pub cpus: Option<NonZeroUsize>,
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
    /// Runs at once on each GPU of a worker; where it is not given, as many as fit.
    pub per_device: Option<NonZeroUsize>,
    /// Runs that a worker takes before it ends: `all`, or a number.
    #[serde(default)]
    pub runs_per_worker: RunsPerWorker,
    /// Time that a worker waits for work before it ends.
    #[serde(default = "idle")]
    pub idle: Time,
    /// Time between two questions to Slurm, at least. Sites ban accounts that ask often.
    #[serde(default = "poll")]
    pub poll: Time,
    /// Time that Slurm may take to answer.
    #[serde(default = "answer")]
    pub answer: Time,
    /// Time that a worker may take to end a run that it is to kill, before the run is taken from it.
    #[serde(default = "patience")]
    pub patience: Time,
    /// Further options of sbatch.
    #[serde(default)]
    pub extra: Words,
    /// Options of sbatch for the job that fits after the workers of `--detach`, such as `--partition=cpu`.
    #[serde(default)]
    pub leader: Words,
}

impl SlurmProfile {
    /// Counts the workers that so many open runs need.
    pub fn workers_for(&self, open: usize) -> usize {
        let at_once = self.per_device.map_or(1, usize::from);
        self.workers.get().min(open.div_ceil(at_once))
    }

    /// Counts the jobs in which so many runs of so many seconds together are trained, as far as time limits and
    /// `runs_per_worker` tell.
    pub fn jobs_for(&self, runs: usize, seconds: Option<f64>) -> usize {
        let at_once = self.per_device.map_or(1, usize::from) as f64;
        let by_time = self.time.zip(seconds).map_or(0, |(limit, seconds)| {
            (seconds / (at_once * limit.0.get().max(1.0))).ceil() as usize
        });
        let by_runs = self
            .runs_per_worker
            .0
            .map_or(0, |most| runs.div_ceil(most.get()));
        self.workers_for(runs).max(by_time).max(by_runs)
    }
}

fn idle() -> Time {
    Time(300.into())
}

/// Seconds of patience with workers where a profile does not say: three times what shared filesystems take to show a
/// file.
pub const PATIENCE: u16 = 180;

fn patience() -> Time {
    Time(PATIENCE.into())
}

fn poll() -> Time {
    Time(30.into())
}

fn answer() -> Time {
    Time(60.into())
}

/// A time in seconds, or with its unit, such as `5min`.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(with = "NumberOrText")]
pub struct Time(pub Seconds);

/// A time with its unit, such as `4h`, or as Slurm writes it, such as `1-12:00:00`.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
#[schemars(with = "String")]
pub struct TimeLimit(pub Seconds);

/// Runs that a worker takes before it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, JsonSchema)]
#[schemars(with = "NumberOrText")]
pub struct RunsPerWorker(pub Option<NonZeroUsize>);

/// What the schema says of values that are a number or a word.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema is made of it")]
enum NumberOrText {
    Number(f64),
    Text(String),
}

/// Reads a value from a number or a word, where an error is shown.
struct Scalar<T> {
    expected: &'static str,
    number: fn(f64) -> Option<T>,
    text: fn(&str) -> Option<T>,
}

impl<T> Scalar<T> {
    fn found<E: Error>(&self, value: Option<T>, written: &dyn fmt::Display) -> Result<T, E> {
        value.ok_or_else(|| E::custom(format!("`{written}` is not {}", self.expected)))
    }
}

impl<T> Visitor<'_> for Scalar<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.found((self.number)(number), &number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.found((self.text)(text), &text)
    }
}

fn with_unit(text: &str) -> Option<Seconds> {
    parse_duration(text).ok()?.try_into().ok()
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a time: seconds, or with a unit such as 5min",
            number: |seconds| Some(Self(seconds.try_into().ok()?)),
            text: |text| with_unit(text).map(Self),
        })
    }
}

impl<'de> Deserialize<'de> for TimeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "a time limit with its unit, such as 4h or 1-12:00:00",
            // Slurm would take minutes, everything else here seconds.
            number: |_| None,
            text: |text| with_unit(text).or_else(|| of_slurm(text)).map(Self),
        })
    }
}

impl<'de> Deserialize<'de> for RunsPerWorker {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Scalar {
            expected: "`all`, or a whole number from 1",
            number: |number| {
                let is_whole = number.fract() == 0.0 && number < 1e9;
                let number = is_whole.then(|| NonZeroUsize::new(number.max(0.0) as usize))?;
                Some(Self(Some(number?)))
            },
            text: |text| (text == "all").then_some(Self(None)),
        })
    }
}

/// Reads a time as Slurm writes it, with colons or days: `D-H[:M[:S]]`, `H:M:S`, `M:S`.
pub(super) fn of_slurm(text: &str) -> Option<Seconds> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(days.parse::<u32>().ok()?), clock),
        None => (None, text),
    };
    let parts: Vec<u32> = clock
        .split(':')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (days, &parts[..]) {
        (Some(_), &[hours]) => (hours, 0, 0),
        (Some(_), &[hours, minutes]) => (hours, minutes, 0),
        (_, &[hours, minutes, seconds]) => (hours, minutes, seconds),
        (None, &[minutes, seconds]) => (0, minutes, seconds),
        _ => return None,
    };
    let hours = 24.0 * f64::from(days.unwrap_or(0)) + f64::from(hours);
    let seconds = 3600.0 * hours + 60.0 * f64::from(minutes) + f64::from(seconds);
    seconds.try_into().ok()
}

/// One word, or several.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(with = "OneOrMore")]
pub struct Words(pub Vec<String>);

/// What the schema says of [`Words`].
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema is made of it")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word, or a list of words")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<Words, E> {
                Ok(Words(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut words: A) -> Result<Words, A::Error> {
                let mut all = Vec::new();
                while let Some(word) = words.next_element()? {
                    all.push(word);
                }
                Ok(Words(all))
            }
        }

        deserializer.deserialize_any(List)
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
    match profiles.0.get(HERE) {
        Some(_) => Err(format!(
            "`{HERE}` stands for this machine: give the profile another name"
        )),
        None => Ok(profiles),
    }
}

/// Returns the JSON Schema of `clusters.yaml`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Profiles).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_read_and_mistakes_have_a_place() {
        let text = "jean:\n  slurm:\n    workers: 16\n    time: 4h\n    partition: [gpu, spot]\n    \
                    setup: module load cuda/12.4\n    idle: 5min\n    runs_per_worker: 1\nhand: {by_hand: {}}\n";
        let Profiles(profiles) = parse(text).expect("right");
        let Profile::Slurm(slurm) = &profiles["jean"] else {
            panic!("{profiles:?}");
        };
        assert_eq!(slurm.partition.0, ["gpu", "spot"]);
        assert_eq!(slurm.setup.0, ["module load cuda/12.4"]);
        assert_eq!((slurm.idle.0.get(), slurm.poll.0.get()), (300.0, 30.0));
        assert_eq!(slurm.runs_per_worker.0, NonZeroUsize::new(1));
        assert_eq!(
            profiles["hand"],
            Profile::ByHand(ByHand {
                patience: Time(180.into())
            })
        );
        let slurm = |key: &str| format!("a:\n  slurm:\n    workers: 1\n    {key}\n");
        for (text, whys) in [
            (
                "a: {slurm: {worker: 3}}".to_owned(),
                ["unknown field `worker`", "line 1"],
            ),
            (
                "a:\n  slurm:\n    workers: many".to_owned(),
                ["line 3 column 14", "a.slurm.workers"],
            ),
            (
                "a:\n  slurm:\n    workers: 0".to_owned(),
                ["nonzero", "line 3 column 14"],
            ),
            (
                "a: {pbs: {}}".to_owned(),
                ["unknown variant `pbs`", "`slurm` or `by_hand`"],
            ),
            ("a: {}".to_owned(), ["single key", "line 1"]),
            (
                "local: {by_hand: {}}".to_owned(),
                ["this machine", "another name"],
            ),
            (
                slurm("time: 60"),
                ["`60` is not a time limit with its unit", "line 4 column 11"],
            ),
            (
                slurm("idle: 5mni"),
                ["`5mni` is not a time", "line 4 column 11"],
            ),
            (slurm("idle: -5"), ["`-5` is not a time", "line 4"]),
            (
                slurm("runs_per_worker: 1.5"),
                ["`1.5` is not `all`, or a whole number", "line 4"],
            ),
            (
                slurm("partition: {a: 1}"),
                ["a word, or a list of words", "line 4"],
            ),
        ] {
            let said = parse(&text).expect_err(&text);
            for why in whys {
                assert!(said.contains(why), "{text}: {said}");
            }
        }
    }

    #[test]
    fn jobs_are_counted_by_time_and_runs() {
        let jobs = |keys: &str, runs, seconds| {
            let text = format!("a: {{slurm: {{workers: 4, {keys}}}}}");
            match &parse(&text).expect("right").0["a"] {
                Profile::Slurm(slurm) => slurm.jobs_for(runs, seconds),
                Profile::ByHand(_) => 0,
            }
        };
        assert_eq!(jobs("time: 1h", 10, Some(36_000.0)), 10);
        assert_eq!(jobs("time: 1h, per_device: 2", 10, Some(36_000.0)), 5);
        assert_eq!(jobs("runs_per_worker: 2", 10, None), 5);
        assert_eq!(jobs("runs_per_worker: all", 3, None), 3);
    }

    #[test]
    fn times_are_read_as_slurm_writes_them() {
        for (text, seconds) in [
            ("1-12:00:00", 129_600.0),
            ("2-6", 194_400.0),
            ("04:30:00", 16_200.0),
            ("90:30", 5430.0),
        ] {
            assert_eq!(of_slurm(text).map(Seconds::get), Some(seconds), "{text}");
        }
        for text in ["60", "1:2:3:4", "a:b", "-1:00"] {
            assert_eq!(of_slurm(text), None, "{text}");
        }
    }

    #[test]
    fn the_schema_has_every_key_with_its_words() {
        let schema = schema().to_string();
        for word in [
            "runs_per_worker",
            "by_hand",
            "Sites ban accounts",
            "\"workers\"",
        ] {
            assert!(schema.contains(word), "{word}: {schema}");
        }
    }
}
