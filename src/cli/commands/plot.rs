//! `orchestrator plot`: draw figures of an experiment from its database, or of anybody's rows.

use crate::application::{Analysed, items_of, verdicts};
use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::fitting::FittingArgs;
use crate::cli::rows::{Home, RowsArgs, Source};
use crate::cli::terminal::{note, print};
use crate::rows;
use campaign::store::{ReadingRecord, RunRecord, Store};
use clap::builder::{PossibleValue, PossibleValuesParser, Resettable, TypedValueParser};
use experiment::clock::now;
use experiment::event::Measurement;
use experiment::folder::ResultsFolder;
use experiment::quantity::parse_number;
use experiment::run::RunId;
use report::ReportError;
use report::comparison::Answers;
use report::plots::{self, Drawn, Figure, Format, Material, Overrides, Size, Style};
use scaling_law::analysis::{AnalysisResult, Since};
use scaling_law::claims::ClaimVerdicts;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

/// Draw figures of an experiment, or of anybody's runs (--csv).
///
/// Those of an experiment are drawn from the stored runs and the newest stored fit, those of a table from
/// laws that are fitted to it now, as `orchestrator fit --csv` fits them; so are those of an experiment
/// of which only some rows are meant, or that is to be fitted otherwise. Such a fit is not stored.
///
/// Files go into figures/ of the results folder, named by the figure; those of other sizes than
/// `page` end in -column and -slide.
#[derive(Debug, clap::Args)]
#[command(
    // Beside a table the first word is a figure.
    mut_arg("experiment", |arg| arg.index(1).conflicts_with(Resettable::<clap::Id>::Reset)),
    after_help = "Examples:\n  orchestrator plot experiments/quickstart.yaml\n  \
    orchestrator plot experiments/quickstart.yaml allocation savings --size column --format pdf\n  \
    orchestrator plot --csv runs.csv predicted --column params=n_params --output fig2.pdf\n  \
    orchestrator plot experiments/quickstart.yaml --list"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    rows: RowsArgs,

    /// The figures [default: all that can be drawn].
    #[arg(value_name = "FIGURE", index = 2, value_parser = figures())]
    figures: Vec<Figure>,

    /// How large: a paper's column (3.3 in) or page (6.9 in), or a 16:9 slide.
    #[arg(long, default_value = "page", value_parser = sizes())]
    size: Size,

    /// Vector graphics for pages (svg) and documents (pdf), a bitmap of 240 dots an inch (png), or
    /// several, separated by commas [default: svg,png].
    #[arg(long, value_delimiter = ',', value_parser = formats())]
    format: Vec<Format>,

    /// Folder to draw into, or for one figure its file, which ends in .svg, .png or .pdf [default:
    /// figures/ of the results folder].
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,

    #[command(flatten)]
    overrides: OverrideArgs,

    #[command(flatten)]
    fitting: FittingArgs,

    /// List the figures, and why some have nothing to draw; draw none.
    #[arg(long, conflicts_with_all = ["figures", "size", "format", "output"])]
    list: bool,

    /// Print JSON: the `files` that were written, each `figure` of which there is `nothing`, with `why`,
    /// and `warnings`; with `--list` an object for every figure.
    #[arg(long)]
    json: bool,
}

/// The arguments that replace a figure's own words and limits.
#[derive(Debug, clap::Args)]
struct OverrideArgs {
    /// Title above the figure.
    #[arg(long, value_name = "TEXT", help_heading = "For a paper")]
    title: Option<String>,

    /// Label of the x axis.
    #[arg(long, value_name = "TEXT", help_heading = "For a paper")]
    x_label: Option<String>,

    /// Label of the y axis.
    #[arg(long, value_name = "TEXT", help_heading = "For a paper")]
    y_label: Option<String>,

    /// Where the x axis begins and ends, as in 1e6,2B.
    #[arg(long, value_name = "LOW,HIGH", value_parser = limits, allow_hyphen_values = true, help_heading = "For a paper")]
    x_limits: Option<[f64; 2]>,

    /// Where the y axis begins and ends.
    #[arg(long, value_name = "LOW,HIGH", value_parser = limits, allow_hyphen_values = true, help_heading = "For a paper")]
    y_limits: Option<[f64; 2]>,

    /// Leave out the notes below figures: the paper's caption says what they say.
    #[arg(long, help_heading = "For a paper")]
    no_notes: bool,
}

impl OverrideArgs {
    fn read(&self) -> Overrides {
        Overrides {
            title: self.title.clone(),
            x_label: self.x_label.clone(),
            y_label: self.y_label.clone(),
            x_limits: self.x_limits,
            y_limits: self.y_limits,
            without_notes: self.no_notes,
        }
    }
}

/// Reads two numbers, the lower first.
fn limits(text: &str) -> Result<[f64; 2], String> {
    let right = "write two numbers, the lower first, as in 1e6,2B";
    let (low, high) = text.split_once(',').ok_or(right)?;
    let number = |text: &str| match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => parse_number(text).map_err(|error| format!("{error}; {right}")),
    };
    let (low, high) = (number(low)?, number(high)?);
    if low < high {
        Ok([low, high])
    } else {
        Err(right.to_owned())
    }
}

fn figures() -> impl TypedValueParser<Value = Figure> {
    let names = Figure::ALL.map(|figure| PossibleValue::new(figure.name()).help(figure.title()));
    PossibleValuesParser::new(names).map(|name| named(&Figure::ALL, Figure::name, &name))
}

fn sizes() -> impl TypedValueParser<Value = Size> {
    let names = PossibleValuesParser::new(Size::ALL.map(Size::name));
    names.map(|name| named(&Size::ALL, Size::name, &name))
}

/// Reads the name of a format.
pub(super) fn formats() -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(Format::ALL.map(Format::name));
    names.map(|name| named(&Format::ALL, Format::name, &name))
}

fn named<T: Copy>(all: &[T], name_of: fn(T) -> &'static str, name: &str) -> T {
    let found = all.iter().find(|one| name_of(**one) == name);
    *found.expect("the parser lets only these names pass")
}

/// Where figures go.
enum Output {
    Folder(PathBuf),
    File(PathBuf, Figure, Format),
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let figures = args.named_figures()?;
    let mut style = Style {
        size: args.size,
        formats: if args.format.is_empty() {
            vec![Format::Svg, Format::Png]
        } else {
            args.format.clone()
        },
        overrides: args.overrides.read(),
    };
    if style.overrides.are_of_one_figure() && figures.len() != 1 {
        return Err(Failure::input(
            "a title, labels and limits are one figure's: name it, as in `orchestrator plot FILE savings \
             --y-limits -20,60`",
        ));
    }
    let output = args.output(&figures)?;
    let (stored, folder) = args.load()?;
    if args.list {
        print(&if args.json {
            in_json(&listed(&stored.material()))?
        } else {
            list(&stored.material())
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let output = output.unwrap_or(Output::Folder(folder));
    let drawn = match &output {
        Output::File(file, figure, format) => {
            style.formats = vec![*format];
            plots::draw_into(file, *figure, &stored.material(), &style)
        }
        Output::Folder(folder) => {
            let all = &Figure::ALL[..];
            let figures = if figures.is_empty() { all } else { &figures };
            plots::draw_some(figures, folder, &stored.material(), &style)
        }
    };
    let drawn = drawn.map_err(|error| match error {
        ReportError::Override { .. } => Failure::input(error),
        _ => Failure::machine(error),
    })?;
    say(&drawn, &output, args.json)?;
    // Who asks for a figure by name wants to know that there is none.
    Ok(if figures.is_empty() || drawn.skipped.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Prints what was drawn, and what was not.
fn say(drawn: &Drawn, output: &Output, json: bool) -> Result<(), Failure> {
    if json {
        let nothing = drawn.skipped.iter();
        let nothing =
            nothing.map(|skipped| json!({"figure": skipped.figure.name(), "why": skipped.why}));
        let nothing: Vec<_> = nothing.collect();
        return print(&in_json(
            &json!({"files": drawn.files, "nothing": nothing, "warnings": drawn.remarks}),
        )?);
    }
    for remark in &drawn.remarks {
        note!("warning: {remark}");
    }
    let skipped = drawn.skipped.iter();
    let skipped: String = skipped
        .map(|skipped| format!("not drawn: {skipped}\n"))
        .collect();
    let count = drawn.files.len();
    let files = if count == 1 { "file" } else { "files" };
    print(&match output {
        Output::File(file, ..) if count == 1 => format!("figure: {}\n", file.display()),
        Output::File(..) => skipped,
        Output::Folder(folder) => {
            format!("{skipped}{count} figure {files} in {}\n", folder.display())
        }
    })
}

impl Args {
    /// Lists the figures that are named.
    fn named_figures(&self) -> Result<Vec<Figure>, Failure> {
        let mut figures = self.figures.clone();
        if let (Some(_), Some(first)) = (&self.rows.csv, &self.rows.experiment) {
            let name = first.to_string_lossy();
            let first = Figure::ALL.into_iter().find(|one| one.name() == name);
            let first = first.ok_or_else(|| {
                let names = Figure::ALL.map(Figure::name).join(", ");
                Failure::input(format!(
                    "`{name}` is no figure, and beside --csv no experiment is meant; the figures: {names}"
                ))
            })?;
            figures.insert(0, first);
        }
        Ok(figures)
    }

    /// Reads where the figures are to go; `None` where nothing is said.
    fn output(&self, figures: &[Figure]) -> Result<Option<Output>, Failure> {
        let Some(path) = &self.output else {
            return Ok(None);
        };
        let is_folder = path.is_dir() || path.to_string_lossy().ends_with(std::path::is_separator);
        let ending = path.extension().filter(|_| !is_folder);
        let Some(ending) = ending.map(|ending| ending.to_string_lossy()) else {
            return Ok(Some(Output::Folder(path.clone())));
        };
        let mut formats = Format::ALL.into_iter();
        let format = formats.find(|format| ending.eq_ignore_ascii_case(format.name()));
        match (format, figures) {
            (Some(_), [_]) if !self.format.is_empty() => Err(Failure::input(format!(
                "{}: the ending of a file says its format: leave --format out",
                path.display()
            ))),
            (Some(format), [figure]) => Ok(Some(Output::File(path.clone(), *figure, format))),
            (Some(_), _) => Err(Failure::input(format!(
                "{}: a file holds one figure: name one, or give a folder",
                path.display()
            ))),
            (None, [_]) => Err(Failure::input(format!(
                "{}: the file of a figure ends in .svg, .png or .pdf, by which its format is chosen",
                path.display()
            ))),
            (None, _) => Ok(Some(Output::Folder(path.clone()))),
        }
    }

    /// Finds what is drawn, and the folder for figures: what is stored where that answers what is asked,
    /// and else what a fit to the rows finds now.
    fn load(&self) -> Result<(Stored, PathBuf), Failure> {
        if !self.rows.are_given() {
            return Err(Failure::input(
                "name what to draw: an experiment, as in `orchestrator plot experiment.yaml`, or \
                 anybody's runs, as in `orchestrator plot --csv runs.csv`",
            ));
        }
        if self.rows.target().is_some() {
            return Err(Failure::input(
                "figures are of losses: `--target` is for `fit --law`, `predict`, `allocate`, `compare` and `suggest`",
            ));
        }
        if self.rows.are_as_stored()? && self.fitting == FittingArgs::default() {
            let place = self.rows.experiment_args()?.place()?;
            let found = crate::cli::block_on(async {
                let store = crate::cli::open_to_read(&place.results).await?;
                let (experiment, _) = place.find(&store).await?;
                let stored = Stored::newest(&store, experiment).await?;
                let outputs = store.outputs(&place.results, experiment).await?;
                Ok(stored.map(|stored| (stored, ResultsFolder(&outputs).figures())))
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
            note!("nothing has been fitted yet: this fit is drawn and not stored");
        }
        let Source { asked, home } = self.rows.load()?;
        let result = asked.analyse(&self.fitting.policy(asked.policy.clone())?)?;
        if self.rows.csv.is_some() {
            let folder = match &self.output {
                Some(given) => given.clone(),
                None => folder_of_table(&home)?,
            };
            return Ok((Stored::of_rows(result), folder));
        }
        crate::cli::block_on(async {
            let store = crate::cli::open_to_read(&home.results).await?;
            let (experiment, _) = self.rows.experiment_args()?.place()?.find(&store).await?;
            let outputs = store.outputs(&home.results, experiment).await?;
            let stored = Stored::with(&store, experiment, just_made(result)).await?;
            Ok((stored, ResultsFolder(&outputs).figures()))
        })
    }
}

/// Finds the folder for figures of a table: not that of an experiment that happens to have its name.
fn folder_of_table(home: &Home) -> Result<PathBuf, Failure> {
    if !ResultsFolder(&home.results).database().is_file() {
        return Ok(ResultsFolder(&home.results).figures());
    }
    crate::cli::block_on(async {
        let store = Store::create(&home.results).await?;
        let experiment = home.find(&store).await?;
        let outputs = store.outputs(&home.results, experiment).await?;
        Ok(ResultsFolder(&outputs).figures())
    })
}

/// Lists all figures: name and title, and why there is nothing to draw where that is so.
fn list(material: &Material<'_>) -> String {
    let names = Figure::ALL.map(|figure| figure.name().len());
    let widest = names.into_iter().max().unwrap_or(0);
    let lines = Figure::ALL.map(|figure| {
        let why = plots::missing(figure, material);
        let why = why.map_or(String::new(), |skipped| {
            format!(" (nothing to draw: {})", skipped.why)
        });
        format!("{:widest$}  {}{why}\n", figure.name(), figure.title())
    });
    lines.concat()
}

/// Does what [`list`] does, for programs.
fn listed(material: &Material<'_>) -> Vec<Value> {
    let listed = Figure::ALL.map(|figure| {
        let nothing = plots::missing(figure, material).map(|skipped| skipped.why);
        json!({"figure": figure.name(), "title": figure.title(), "nothing": nothing})
    });
    listed.to_vec()
}

/// An analysis of the rows as they are now.
fn just_made(result: AnalysisResult) -> Analysed {
    Analysed {
        result,
        at: now(),
        since: Since::default(),
    }
}

/// What figures are drawn from.
pub(in crate::cli) struct Stored {
    pub(in crate::cli) runs: Vec<RunRecord>,
    measurements: BTreeMap<RunId, Vec<Measurement>>,
    readings: Vec<ReadingRecord>,
    answers: Answers,
    pub(in crate::cli) analysed: Analysed,
    pub(in crate::cli) claims: Option<ClaimVerdicts>,
}

impl Stored {
    /// Reads the newest analysis, where there is one, and the runs and measurements that belong to
    /// it.
    ///
    /// # Errors
    /// When the database refuses, or holds an analysis that this program cannot read.
    pub(in crate::cli) async fn newest(
        store: &Store,
        experiment: i64,
    ) -> Result<Option<Self>, Failure> {
        let runs = store.runs(experiment).await?;
        let imported = store.imported(experiment).await?;
        let table = rows::stored(String::new(), &runs, &imported)?;
        let Some(analysed) = Analysed::newest(store, experiment, &table).await? else {
            return Ok(None);
        };
        Ok(Some(Self::with(store, experiment, analysed).await?))
    }

    /// Reads the runs and measurements that belong to an analysis.
    async fn with(store: &Store, experiment: i64, analysed: Analysed) -> Result<Self, Failure> {
        let runs = store.runs(experiment).await?;
        let mut measurements = BTreeMap::new();
        for run in &runs {
            measurements.insert(run.id.clone(), store.measurements(&run.id).await?);
        }
        let scores = store.scores(experiment).await?;
        let answers = Answers::of(&runs, scores, &|run| items_of(store.folder(), run));
        Ok(Self {
            runs,
            measurements,
            answers,
            claims: verdicts(store, experiment).await?,
            readings: store.readings(experiment).await?,
            analysed,
        })
    }

    /// Takes an analysis of rows of which nothing is stored.
    fn of_rows(result: AnalysisResult) -> Self {
        Self {
            runs: Vec::new(),
            measurements: BTreeMap::new(),
            readings: Vec::new(),
            answers: Answers::default(),
            claims: None,
            analysed: just_made(result),
        }
    }

    pub(in crate::cli) fn material(&self) -> Material<'_> {
        Material {
            runs: &self.runs,
            measurements: &self.measurements,
            readings: &self.readings,
            answers: &self.answers,
            result: &self.analysed.result,
        }
    }
}
