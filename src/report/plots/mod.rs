//! Figures, each as SVG and PNG, from stored numbers alone.

mod allocation;
mod coordinates;
mod loss;
mod panel;
mod picture;
mod ratio;
mod render;
mod savings;
mod style;
mod training;

use super::{ReportError, write_whole};
use crate::analysis::AnalysisResult;
use crate::event::Measurement;
use crate::run::RunId;
use crate::store::RunRecord;
pub use coordinates::ActivationSize;
use picture::Picture;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Loss against P for each N and R, with the fitted curves and their bands.
    LossByShare,
    /// The best loss over P and R within the budget, with the optimum and its region.
    Allocation,
    /// FLOPs saved against the size of the dense baseline.
    Savings,
    /// Training and held-out loss against tokens.
    Training,
    /// Realised against declared tokens per concept.
    RealisedRatio,
}

impl Figure {
    /// Every figure.
    pub const ALL: [Self; 5] = [
        Self::LossByShare,
        Self::Allocation,
        Self::Savings,
        Self::Training,
        Self::RealisedRatio,
    ];

    /// Returns its name: that of its files, without the ending.
    pub fn name(self) -> &'static str {
        match self {
            Self::LossByShare => "loss_by_share",
            Self::Allocation => "allocation",
            Self::Savings => "savings",
            Self::Training => "training",
            Self::RealisedRatio => "realised_ratio",
        }
    }

    /// Finds a figure by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }
}

/// A figure for which there is nothing to draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The figure.
    pub figure: Figure,
    /// Why, in words.
    pub why: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.figure.name(), self.why)
    }
}

/// What was drawn, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Files that were written.
    pub files: Vec<PathBuf>,
    /// Figures with nothing to draw.
    pub skipped: Vec<Skipped>,
}

/// What figures are drawn from: stored numbers, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The runs, in plan order.
    pub runs: &'a [RunRecord],
    /// The measurements of each run that has some.
    pub measurements: &'a BTreeMap<RunId, Vec<Measurement>>,
    /// The fitted laws and what follows from them.
    pub result: &'a AnalysisResult,
}

/// Draws every figure into a folder, which is made when it does not exist.
///
/// # Errors
/// When a file cannot be written or the drawing library fails.
pub fn draw_all(folder: &Path, material: &Material) -> Result<Drawn, ReportError> {
    let mut drawn = Drawn::default();
    for figure in Figure::ALL {
        match draw(figure, folder, material)? {
            Ok(files) => drawn.files.extend(files),
            Err(skipped) => drawn.skipped.push(skipped),
        }
    }
    Ok(drawn)
}

/// Draws one figure and returns its files, or why there is nothing to draw.
///
/// # Errors
/// When a file cannot be written or the drawing library fails.
pub fn draw(
    figure: Figure,
    folder: &Path,
    material: &Material,
) -> Result<Result<Vec<PathBuf>, Skipped>, ReportError> {
    match picture(figure, material) {
        Ok(picture) => write(figure.name(), folder, &picture).map(Ok),
        Err(skipped) => Ok(Err(skipped)),
    }
}

/// Draws one figure as SVG and returns its text, or why there is nothing to draw.
///
/// # Errors
/// When the drawing library fails.
pub fn svg(figure: Figure, material: &Material) -> Result<Result<String, Skipped>, ReportError> {
    match picture(figure, material) {
        Ok(picture) => render::svg(&picture)
            .map(Ok)
            .map_err(refused(figure.name())),
        Err(skipped) => Ok(Err(skipped)),
    }
}

fn picture(figure: Figure, material: &Material) -> Result<Picture, Skipped> {
    let &Material {
        runs,
        measurements,
        result,
    } = material;
    let picture = match figure {
        Figure::LossByShare => loss::picture(result),
        Figure::Allocation => allocation::picture(result),
        Figure::Savings => savings::picture(result),
        Figure::Training => training::picture(runs, measurements),
        Figure::RealisedRatio => ratio::picture(runs),
    };
    picture.map_err(|why| Skipped { figure, why })
}

fn refused(figure: &str) -> impl Fn(String) -> ReportError + use<'_> {
    |message| ReportError::Draw {
        figure: figure.to_owned(),
        message,
    }
}

/// Draws the coordinate check into a folder and returns its files.
///
/// # Errors
/// When nothing was measured, a file cannot be written or the drawing library fails.
pub fn draw_coordinates(
    folder: &Path,
    sizes: &[ActivationSize],
) -> Result<Vec<PathBuf>, ReportError> {
    let name = "coordinates";
    let picture = coordinates::picture(sizes).map_err(refused(name))?;
    write(name, folder, &picture)
}

fn write(name: &str, folder: &Path, picture: &Picture) -> Result<Vec<PathBuf>, ReportError> {
    let svg = folder.join(format!("{name}.svg"));
    write_whole(
        &svg,
        render::svg(picture).map_err(refused(name))?.as_bytes(),
    )?;
    // The library chooses the format by the ending, so the temporary name keeps it.
    let temporary = folder.join(format!(".{name}.tmp.png"));
    render::png(picture, &temporary).map_err(refused(name))?;
    let png = folder.join(format!("{name}.png"));
    std::fs::rename(&temporary, &png).map_err(|source| ReportError::Write {
        path: png.clone(),
        source,
    })?;
    Ok(vec![svg, png])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{analyse, simulated, summary};
    use crate::architecture::solver::ShapeSettings;
    use crate::grid::Analysis;

    fn drawn(runs: &[RunRecord], folder: &Path, bootstrap: usize) -> Drawn {
        let settings = Analysis {
            bootstrap,
            ..Analysis::default()
        };
        let result = analyse(runs, &settings, &ShapeSettings::default());
        // Figures must be drawn from what is stored.
        let stored = serde_json::to_string(&result).expect("serialises");
        let result: AnalysisResult = serde_json::from_str(&stored).expect("reads back");
        let rows: BTreeMap<_, _> = runs
            .iter()
            .map(|run| (run.id.clone(), simulated::measurements(run)))
            .collect();
        let material = Material {
            runs,
            measurements: &rows,
            result: &result,
        };
        draw_all(folder, &material).expect("drawn")
    }

    #[test]
    fn every_figure_of_a_grid_is_drawn_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let found = drawn(&simulated::QUICK.runs(), folder.path(), 40);
        assert!(found.skipped.is_empty(), "{:?}", found.skipped);
        assert_eq!(found.files.len(), 2 * Figure::ALL.len());
        let files = std::fs::read_dir(folder.path()).expect("listed").count();
        assert_eq!(files, found.files.len(), "no temporary file is left");
    }

    #[test]
    fn degenerate_runs_are_skipped_with_reasons() {
        let mut runs = simulated::QUICK.runs();
        runs.iter_mut().for_each(|run| {
            run.loss = Some(f64::NAN);
            run.realised_ratio = None;
            run.realised_sampled = None;
        });
        for runs in [&runs[..], &runs[..1], &[]] {
            let folder = tempfile::tempdir().expect("a folder");
            let settings = Analysis {
                bootstrap: 5,
                ..Analysis::default()
            };
            let result = analyse(runs, &settings, &ShapeSettings::default());
            let material = Material {
                runs,
                measurements: &BTreeMap::new(),
                result: &result,
            };
            let found = draw_all(folder.path(), &material).expect("drawn");
            assert_eq!(
                (found.files.len(), found.skipped.len()),
                (0, Figure::ALL.len())
            );
            assert!(found.skipped.iter().all(|skipped| !skipped.why.is_empty()));
        }
        let one = &simulated::QUICK.runs()[..1];
        let folder = tempfile::tempdir().expect("a folder");
        let found = drawn(one, folder.path(), 5);
        assert!(
            found
                .files
                .iter()
                .any(|file| file.ends_with("training.svg"))
        );
        assert!(
            found
                .files
                .iter()
                .any(|file| file.ends_with("loss_by_share.svg"))
        );
    }

    /// `FIGURES=folder cargo test --release -- --ignored figures_to_look_at` draws the first
    /// experiment and a larger one for a look.
    #[test]
    #[ignore = "for looking at"]
    fn figures_to_look_at() {
        let Some(folder) = std::env::var_os("FIGURES") else {
            return;
        };
        for (name, grid) in [
            ("first", simulated::FIRST),
            ("large", simulated::LARGE),
            ("quick", simulated::QUICK),
        ] {
            let runs = grid.runs();
            let result = analyse(&runs, &Analysis::default(), &ShapeSettings::default());
            println!("== {name}\n{}", summary(&result));
            let found = drawn(&runs, &Path::new(&folder).join(name), 300);
            assert!(found.skipped.is_empty(), "{:?}", found.skipped);
        }
    }
}
