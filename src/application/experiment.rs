//! An experiment by its name: its file and overrides, its data, its plan, where its results lie.

use super::{Refused, data_cache, external, read_set};
use campaign::store::{RunRecord, Store};
use experiment::architecture::ModelKind;
use experiment::folder::{DATABASE, ResultsFolder};
use experiment::grid::{self, Experiment};
use experiment::plan::{self, Planned, Run, rounding, trials};
use experiment::quantity::counted;
use experiment::run::{DataFacts, DataSpec, Part, RunId};
use scaling_law::analysis::{rates, tunings};
use scaling_law::fit::law::{by_name_over, unsaid_words};
use scaling_law::row::rows;
use scaling_law::study::Goal;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use trainer::data::{self, Described, Vocabulary};
use trainer::external::code::fingerprint;
use trainer::inference::EvaluationSet;

/// An experiment as it is named: by its file, or by where it is stored.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its file, its results folder, or its name.
    pub file: PathBuf,
    /// Values that replace those of the file, as `path=value`.
    pub overrides: Vec<String>,
    /// The results folder; `results/NAME` where none is given.
    pub results: Option<PathBuf>,
}

/// A loaded experiment.
pub struct Loaded {
    /// What its file asks.
    pub experiment: Experiment,
    /// Its results folder.
    pub results: PathBuf,
}

/// Refuses a goal of `analysis.until` and a law of `analysis.law` that cannot be read; axes are columns in it, as in
/// `axis.training.batch`.
fn check_analysis(experiment: &Experiment) -> Result<(), String> {
    if let Some(goal) = &experiment.analysis.until {
        goal.parse::<Goal>()
            .map_err(|error| format!("analysis.until: {error}"))?;
    }
    let Some(law) = &experiment.analysis.law else {
        return Ok(());
    };
    // The words of a column are those of the runs, which are not there yet.
    if !unsaid_words(law).is_empty() {
        return Ok(());
    }
    let own = experiment.cells.iter().flat_map(|cell| &cell.axes);
    let external = experiment
        .external
        .iter()
        .flat_map(|external| &external.cells);
    let external = external.flat_map(|cell| &cell.axes).map(|(name, _)| name);
    let axes: BTreeSet<&String> = own.map(|(name, _)| name).chain(external).collect();
    // As the table of its runs will have them.
    let axes = axes.into_iter().map(|axis| format!("axis.{axis}"));
    let axes: Vec<String> = axes
        .chain(["learning_rate", "seed"].map(str::to_owned))
        .collect();
    match by_name_over(law, &axes) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("analysis.law: {error}")),
    }
}

/// The runs of an experiment.
pub struct Runs {
    /// Those of this program's own models, the trials first.
    pub planned: Vec<Planned>,
    /// Those of another trainer.
    pub external: Vec<Run>,
    /// The families of models whose rate is not found yet: their runs are planned at the rate of
    /// `training`, and will be others.
    pub untuned: Vec<ModelKind>,
    /// What trials found of the others, in words.
    pub tuned: Vec<String>,
    /// What the data are, each once.
    pub data: Vec<Described>,
    /// What else is to be known.
    doubts: Vec<String>,
}

impl Runs {
    /// Says what looks wrong with the data, and what the experiment will not be that its file may lead
    /// one to expect.
    pub fn warnings(&self) -> Vec<String> {
        let data = self.data.iter().flat_map(|data| &data.summary.warnings);
        let mut warnings: Vec<String> = data.cloned().collect();
        warnings.extend(doubts(&self.planned));
        warnings.extend(self.doubts.iter().cloned());
        warnings
    }

    /// Lists all runs, whoever trains them.
    pub fn all(&self) -> Vec<Run> {
        let own = self.planned.iter().map(Run::from);
        own.chain(self.external.iter().cloned()).collect()
    }

    /// Returns the trials of the families whose rate is not found yet.
    pub fn open_trials(&self) -> Vec<Planned> {
        let is_open =
            |run: &&Planned| run.trial && self.untuned.contains(&run.spec.architecture.kind());
        self.planned.iter().filter(is_open).cloned().collect()
    }
}

/// Where an experiment's results lie, whatever its grid.
pub struct Place {
    /// The results folder.
    pub results: PathBuf,
    /// Its name; `None` where a folder stands for the only experiment in it.
    name: Option<String>,
}

/// An experiment's file as it was given.
struct Given {
    path: String,
    text: String,
    /// Dotted paths and YAML values.
    overrides: Vec<(String, String)>,
}

impl Named {
    /// Finds stored results: those of a file, whose cells are not made, of a results folder, or of an
    /// experiment's name.
    ///
    /// # Errors
    /// When nothing is stored there.
    pub fn place(&self) -> Result<Place, Refused> {
        if self.file.is_file() {
            let given = self.read()?;
            let name = grid::name_with_overrides(&given.path, &given.text, &given.overrides)?;
            return Ok(Place {
                results: self.results_of(&name),
                name: Some(name),
            });
        }
        if self.file.join(DATABASE).is_file() {
            return Ok(Place {
                results: self.file.clone(),
                name: None,
            });
        }
        let name = self.file.display().to_string();
        let results = self.results_of(&name);
        if !results.join(DATABASE).is_file() {
            return Err(Refused::input(format!(
                "`{name}` is no experiment file, no results folder, and {} holds no results; \
                 is the path right?",
                results.display()
            )));
        }
        Ok(Place {
            results,
            name: Some(name),
        })
    }

    /// Reads and validates the file; nothing is written.
    ///
    /// # Errors
    /// When it cannot be read, or is no valid experiment.
    pub fn load(&self) -> Result<Loaded, Refused> {
        let given = self.read()?;
        let experiment = grid::parse_with_overrides(&given.path, &given.text, &given.overrides)?;
        check_analysis(&experiment)
            .map_err(|why| Refused::input(format!("{}: {why}", given.path)))?;
        let results = self.results_of(&experiment.name);
        Ok(Loaded {
            experiment,
            results,
        })
    }

    fn results_of(&self, experiment: &str) -> PathBuf {
        let default = || Path::new("results").join(experiment);
        self.results.clone().unwrap_or_else(default)
    }

    fn read(&self) -> Result<Given, Refused> {
        let path = self.file.display().to_string();
        let bytes = std::fs::read(&self.file).map_err(|error| {
            let hint = if self.file.is_dir() {
                "give an experiment file, such as experiments/quickstart.yaml"
            } else {
                "is the path right?"
            };
            Refused::input(format!("cannot read {path}: {error}; {hint}"))
        })?;
        let text = grid::decode(&path, bytes)?;
        let overrides = self
            .overrides
            .iter()
            .map(|given| match given.split_once('=') {
                Some((path, value)) => Ok((path.trim().to_owned(), value.to_owned())),
                None => Err(Refused::input(format!(
                    "`--set {given}` has no value; write it like --set data.text=my.txt"
                ))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Given {
            path,
            text,
            overrides,
        })
    }
}

impl Place {
    /// Finds the experiment in its database: the one of its name, or the only one; gives its name
    /// too.
    ///
    /// # Errors
    /// When the database refuses, does not know it, or knows several where none is named.
    pub async fn find(&self, store: &Store) -> Result<(i64, String), Refused> {
        let results = self.results.display();
        let known = store.experiments().await?;
        let with_runs = store.experiments_with_runs().await?;
        let name = match (&self.name, known.as_slice()) {
            (Some(name), _) | (None, [name]) => name.clone(),
            (None, _) if with_runs.len() == 1 => with_runs[0].clone(),
            (None, []) => {
                return Err(Refused::input(format!("{results} holds no experiment")));
            }
            (None, several) => {
                return Err(Refused::input(format!(
                    "{results} holds several experiments ({}): name one, with --results {results}",
                    several.join(", "),
                )));
            }
        };
        match store.experiment(&name).await? {
            Some(experiment) => Ok((experiment, name)),
            None if known.is_empty() => Err(Refused::input(format!(
                "{results} holds no experiment `{name}`: run it first"
            ))),
            None => Err(Refused::input(format!(
                "{results} holds no experiment `{name}`: run it first; it holds {}",
                known.join(", ")
            ))),
        }
    }
}

impl Loaded {
    /// Reads the runs stored already; none when there is no database yet.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn stored(&self) -> Result<HashMap<RunId, RunRecord>, Refused> {
        if !ResultsFolder(&self.results).database().exists() {
            return Ok(HashMap::new());
        }
        let store = Store::open_to_read(&self.results).await?;
        let runs = match store.experiment(&self.experiment.name).await? {
            Some(experiment) => store.runs(experiment).await?,
            None => Vec::new(),
        };
        store.close().await;
        Ok(runs
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect())
    }

    /// Plans every run, at the rates that trials found, as far as the database knows them.
    ///
    /// # Errors
    /// When data, plan or database are wrong.
    pub async fn runs(&self) -> Result<Runs, Refused> {
        if self.experiment.external.is_some() {
            return self.external_runs().await;
        }
        let prepared = self.prepare()?;
        let set = self.evaluation_set()?;
        for known in &prepared {
            can_be_read(&set, &known.vocabulary)?;
        }
        let data: Vec<Described> = prepared.iter().map(|it| it.described.clone()).collect();
        let planned = self.plan(&prepared, &self.experiment)?;
        let trials = trials(&self.experiment, &planned);
        if trials.is_empty() {
            return Ok(Runs {
                planned,
                external: Vec::new(),
                untuned: Vec::new(),
                tuned: Vec::new(),
                data,
                doubts: Vec::new(),
            });
        }
        let known = self.stored().await?;
        let known: Vec<RunRecord> = trials
            .iter()
            .filter_map(|trial| known.get(&trial.id).cloned())
            .map(|record| RunRecord {
                part: Part::Trial,
                ..record
            })
            .collect();
        let complete = |kind: &ModelKind| {
            let mut of_kind = trials
                .iter()
                .filter(|trial| trial.spec.architecture.kind() == *kind);
            of_kind.all(|trial| known.iter().any(|record| record.id == trial.id))
        };
        let mut tunings = tunings(&rows(&known));
        tunings.retain(|tuning| complete(&tuning.kind));
        let found = rates(&tunings);
        let asked: BTreeSet<ModelKind> = trials
            .iter()
            .map(|trial| trial.spec.architecture.kind())
            .collect();
        let experiment = self.experiment.clone().with_rates(&found);
        let planned = self.plan(&prepared, &experiment)?;
        // A trial at the best rate is one of the others, once it is known which that is.
        let is_other = |trial: &Planned| {
            found.contains_key(&trial.spec.architecture.kind())
                && planned.iter().any(|run| run.id == trial.id)
        };
        let mut all: Vec<Planned> = trials
            .into_iter()
            .filter(|trial| !is_other(trial))
            .collect();
        let is_trial = |run: &Planned| all.iter().any(|trial| trial.id == run.id);
        let others: Vec<Planned> = planned.into_iter().filter(|run| !is_trial(run)).collect();
        all.extend(others);
        Ok(Runs {
            planned: all,
            untuned: asked
                .into_iter()
                .filter(|kind| !found.contains_key(kind))
                .collect(),
            tuned: tunings.iter().map(ToString::to_string).collect(),
            data,
            external: Vec::new(),
            doubts: Vec::new(),
        })
    }

    /// Reads what trained runs are to be asked; nothing where the file does not say.
    ///
    /// # Errors
    /// When tasks or texts cannot be read, or are wrong.
    pub fn evaluation_set(&self) -> Result<EvaluationSet, Refused> {
        match self.experiment.cells.first() {
            Some(cell) => read_set(&self.experiment.evaluation, &cell.data),
            None => Ok(EvaluationSet::default()),
        }
    }

    /// Says where what another trainer has reported is not what the file says.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn differences(&self) -> Result<Vec<String>, Refused> {
        let Some(_) = &self.experiment.external else {
            return Ok(Vec::new());
        };
        let runs = self.external_runs().await?.external;
        Ok(external::differences(&runs, &self.stored().await?))
    }

    /// Plans the runs of another trainer, whose code is part of what they are.
    async fn external_runs(&self) -> Result<Runs, Refused> {
        let Some(asked) = &self.experiment.external else {
            return Err(Refused::input("the experiment has no `trainer`".to_owned()));
        };
        let trainer = &asked.trainer;
        let code = fingerprint(&trainer.directory, &trainer.code);
        let code = code.map_err(|error| Refused::input(error.to_string()))?;
        let external = plan::external(&self.experiment, code.as_deref());
        let known = self.stored().await?;
        Ok(Runs {
            doubts: external::doubts(asked, &external, &known),
            planned: Vec::new(),
            external,
            untuned: Vec::new(),
            tuned: Vec::new(),
            data: Vec::new(),
        })
    }

    /// Prepares the data of every cell.
    fn prepare(&self) -> Result<Vec<Prepared>, Refused> {
        let cache = data_cache();
        let mut known: Vec<Prepared> = Vec::new();
        for cell in &self.experiment.cells {
            if known.iter().all(|known| known.spec != cell.data) {
                let dataset = data::prepare(&cell.data, &cache)?;
                known.push(Prepared {
                    spec: cell.data.clone(),
                    described: dataset.describe(),
                    vocabulary: dataset.vocabulary.clone(),
                    facts: dataset.facts,
                });
            }
            if let Some(known) = known.iter().find(|known| known.spec == cell.data) {
                check_length(&known.facts, cell.shape.seq_len)?;
            }
        }
        Ok(known)
    }

    fn plan(&self, known: &[Prepared], experiment: &Experiment) -> Result<Vec<Planned>, Refused> {
        let facts = |spec: &DataSpec| {
            let known = known.iter().find(|known| known.spec == *spec);
            known.map(|known| known.facts.clone())
        };
        Ok(plan::plan(experiment, &facts)?)
    }
}

/// Data that were read, and what was found.
struct Prepared {
    spec: DataSpec,
    facts: DataFacts,
    described: Described,
    vocabulary: Vocabulary,
}

/// Refuses tasks and texts in letters that the data do not have: all runs would be trained before that shows.
fn can_be_read(set: &EvaluationSet, vocabulary: &Vocabulary) -> Result<(), Refused> {
    for task in &set.tasks {
        for (place, item) in (1..).zip(&task.items) {
            let mut texts = item.contexts.iter().chain(&item.continuations);
            let wrong = texts.find_map(|text| vocabulary.encode(text).err());
            if let Some(why) = wrong {
                return Err(Refused::input(format!(
                    "task `{}`, item {place}: {why}",
                    task.name
                )));
            }
        }
    }
    Ok(())
}

/// Says what a planned experiment will not be that its file may lead one to expect.
fn doubts(planned: &[Planned]) -> Vec<String> {
    let epochs = planned.iter().map(|run| run.epochs).fold(0.0, f64::max);
    let mut warnings = rounding(planned);
    let ahead = planned
        .iter()
        .filter(|run| run.spec.architecture.reads_ahead())
        .count();
    if ahead > 0 {
        warnings.push(format!(
            "`model.causal: paper` lets tokens of {} read what comes after them: their losses are no language \
             model's, no law takes them, and they say how large the leak is and nothing else",
            counted(ahead, "run")
        ));
    }
    if epochs > 1.0 {
        warnings.push(format!(
            "the text is read up to {epochs:.2} times; a law fitted on repeated text is not one of \
             fresh text"
        ));
    }
    warnings
}

/// Refuses data that do not fill one sequence of either split.
fn check_length(facts: &DataFacts, seq_len: usize) -> Result<(), Refused> {
    for (split, tokens) in [
        ("training", facts.train_tokens),
        ("validation", facts.validation_tokens),
    ] {
        if tokens < seq_len as u64 + 1 {
            return Err(Refused::input(format!(
                "the {split} data hold {tokens} tokens, fewer than one sequence of {seq_len} and \
                 the token after it; use more text or a shorter `model.seq_len`"
            )));
        }
    }
    Ok(())
}
