//! `orchestrator plot`: redraw the figures from the database alone.

use crate::application::Analysed;
use crate::cli::Failure;
use crate::cli::answer::in_json;
use crate::cli::experiment::ExperimentArgs;
use crate::cli::terminal::print;
use crate::rows;
use campaign::store::{ReadingRecord, RunRecord, Store};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use experiment::event::Measurement;
use experiment::folder::ResultsFolder;
use experiment::run::RunId;
use report::plots::{self, Figure, Format, Material, Size, Style};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Redraw figures from the stored runs and the newest stored fit.
///
/// Files go into figures/ of the results folder, named by the figure; those of other sizes than
/// `page` end in -column and -slide.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orchestrator plot experiments/quickstart.yaml\n  \
    orchestrator plot experiments/quickstart.yaml allocation savings --size column --format svg\n  \
    orchestrator plot experiments/quickstart.yaml --list"
)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    experiment: ExperimentArgs,

    /// The figures [default: all of which something is stored].
    #[arg(value_name = "FIGURE", value_parser = figures())]
    figures: Vec<Figure>,

    /// How large: a paper's column (3.3 in) or page (6.9 in), or a 16:9 slide.
    #[arg(long, default_value = "page", value_parser = sizes())]
    size: Size,

    /// Vector graphics, a bitmap of 240 dots an inch, or both.
    #[arg(long, default_value = "both", value_parser = formats())]
    format: Format,

    /// List the figures, and why some have nothing to draw; draw none.
    #[arg(long, conflicts_with_all = ["figures", "size", "format"])]
    list: bool,

    /// Print JSON: the `files` that were written, and each `figure` of which there is `nothing`, with
    /// `why`; with `--list` an object for every figure.
    #[arg(long)]
    json: bool,
}

fn figures() -> impl TypedValueParser<Value = Figure> {
    let names = Figure::ALL.map(|figure| PossibleValue::new(figure.name()).help(figure.title()));
    PossibleValuesParser::new(names).map(|name| named(&Figure::ALL, Figure::name, &name))
}

fn sizes() -> impl TypedValueParser<Value = Size> {
    let names = PossibleValuesParser::new(Size::ALL.map(Size::name));
    names.map(|name| named(&Size::ALL, Size::name, &name))
}

fn formats() -> impl TypedValueParser<Value = Format> {
    let names = PossibleValuesParser::new(Format::ALL.map(Format::name));
    names.map(|name| named(&Format::ALL, Format::name, &name))
}

fn named<T: Copy>(all: &[T], name_of: fn(T) -> &'static str, name: &str) -> T {
    let found = all.iter().find(|one| name_of(**one) == name);
    *found.expect("the parser lets only these names pass")
}

pub(in crate::cli) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let place = args.experiment.place()?;
    let (stored, outputs) = crate::cli::block_on(async {
        let store = crate::cli::open_to_read(&place.results).await?;
        let (experiment, _) = place.find(&store).await?;
        let stored = Stored::newest(&store, experiment).await?.ok_or_else(|| {
            Failure::input("nothing has been fitted yet: use `orchestrator fit` first")
        })?;
        Ok((stored, store.outputs(&place.results, experiment).await?))
    })?;
    if args.list {
        print(&if args.json {
            in_json(&listed(&stored.material()))?
        } else {
            list(&stored.material())
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = args.figures.is_empty();
    let figures = if all { &Figure::ALL[..] } else { &args.figures };
    let style = Style {
        size: args.size,
        format: args.format,
    };
    let folder = ResultsFolder(&outputs).figures();
    let drawn = plots::draw_some(figures, &folder, &stored.material(), style);
    let drawn = drawn.map_err(Failure::machine)?;
    if args.json {
        let nothing = drawn.skipped.iter();
        let nothing =
            nothing.map(|skipped| json!({"figure": skipped.figure.name(), "why": skipped.why}));
        let nothing: Vec<_> = nothing.collect();
        print(&in_json(
            &json!({"files": drawn.files, "nothing": nothing}),
        )?)?;
    } else {
        let skipped = drawn.skipped.iter();
        let skipped: String = skipped
            .map(|skipped| format!("not drawn: {skipped}\n"))
            .collect();
        let count = drawn.files.len();
        let files = if count == 1 { "file" } else { "files" };
        print(&format!(
            "{skipped}{count} figure {files} in {}\n",
            folder.display()
        ))?;
    }
    // Who asks for a figure by name wants to know that there is none.
    Ok(if all || drawn.skipped.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
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

/// What figures are drawn from.
pub(in crate::cli) struct Stored {
    pub(in crate::cli) runs: Vec<RunRecord>,
    measurements: BTreeMap<RunId, Vec<Measurement>>,
    readings: Vec<ReadingRecord>,
    pub(in crate::cli) analysed: Analysed,
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
        let mut measurements = BTreeMap::new();
        for run in &runs {
            measurements.insert(run.id.clone(), store.measurements(&run.id).await?);
        }
        Ok(Some(Self {
            runs,
            measurements,
            readings: store.readings(experiment).await?,
            analysed,
        }))
    }

    pub(in crate::cli) fn material(&self) -> Material<'_> {
        Material {
            runs: &self.runs,
            measurements: &self.measurements,
            readings: &self.readings,
            result: &self.analysed.result,
        }
    }
}
