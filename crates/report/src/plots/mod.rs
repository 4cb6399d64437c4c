//! Figures, as SVG, PNG and PDF, from stored numbers alone.

mod allocation;
mod axis;
mod bootstrap;
mod clip;
mod coordinates;
mod curve;
mod decay;
mod figure;
mod frontier;
mod isoflop;
mod kinds;
mod legend;
mod loss;
mod overrides;
mod panel;
mod pdf;
mod picture;
mod predicted;
mod ratio;
mod reading;
mod render;
mod savings;
mod sheet;
mod size;
mod style;
mod tasks;
mod theme;
mod time;
mod training;
mod transfer;

use super::{ReportError, write_whole};
use crate::comparison::Answers;
use campaign::store::{ReadingRecord, RunRecord};
pub use coordinates::ActivationSize;
use experiment::event::Measurement;
use experiment::run::RunId;
pub use figure::Figure;
pub use overrides::Overrides;
use picture::Picture;
use scaling_law::analysis::AnalysisResult;
use sheet::Sheet;
pub use size::{Format, Size};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
pub use theme::theme;

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
    /// What a reader should know of those that were drawn.
    pub remarks: Vec<String>,
}

/// What figures are drawn from: stored numbers, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// The runs, in plan order.
    pub runs: &'a [RunRecord],
    /// The measurements of each run that has some.
    pub measurements: &'a BTreeMap<RunId, Vec<Measurement>>,
    /// What runs made of texts, where that was kept.
    pub readings: &'a [ReadingRecord],
    /// What runs answered to tasks.
    pub answers: &'a Answers,
    /// The fitted laws and what follows from them.
    pub result: &'a AnalysisResult,
}

/// How figures are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Style {
    /// How large they are.
    pub size: Size,
    /// The formats.
    pub formats: Vec<Format>,
    /// What replaces their own words and limits.
    pub overrides: Overrides,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            size: Size::default(),
            formats: vec![Format::Svg, Format::Png],
            overrides: Overrides::default(),
        }
    }
}

/// Draws every figure into a folder, which is made when it does not exist.
///
/// # Errors
/// When a file cannot be written or the drawing library fails.
pub fn draw_all(folder: &Path, material: &Material) -> Result<Drawn, ReportError> {
    draw_some(&Figure::ALL, folder, material, &Style::default())
}

/// Draws some figures into a folder, which is made when it does not exist.
///
/// # Errors
/// When a file cannot be written, the drawing library fails, or a figure cannot have what is to
/// replace its own words and limits.
pub fn draw_some(
    figures: &[Figure],
    folder: &Path,
    material: &Material,
    style: &Style,
) -> Result<Drawn, ReportError> {
    let mut drawn = Drawn::default();
    for &figure in figures {
        let stem = format!("{}{}", figure.name(), style.size.suffix());
        let file = |format: Format| folder.join(format!("{stem}.{}", format.name()));
        drawn.add(figure, material, style, file)?;
    }
    Ok(drawn)
}

/// Draws one figure into a file, in the first of the formats.
///
/// # Errors
/// As [`draw_some`].
pub fn draw_into(
    file: &Path,
    figure: Figure,
    material: &Material,
    style: &Style,
) -> Result<Drawn, ReportError> {
    let mut drawn = Drawn::default();
    let first = Style {
        formats: style.formats.iter().copied().take(1).collect(),
        ..style.clone()
    };
    drawn.add(figure, material, &first, |_| file.to_owned())?;
    Ok(drawn)
}

impl Drawn {
    /// Draws a figure, or notes why there is nothing to draw.
    fn add(
        &mut self,
        figure: Figure,
        material: &Material,
        style: &Style,
        file: impl Fn(Format) -> PathBuf,
    ) -> Result<(), ReportError> {
        let mut sheet = match sheet(figure, material) {
            Ok(sheet) => sheet,
            Err(skipped) => {
                self.skipped.push(skipped);
                return Ok(());
            }
        };
        let said = style.overrides.apply(&mut sheet);
        let said = said.map_err(|message| ReportError::Override {
            figure: figure.name().to_owned(),
            message,
        })?;
        let said = said.into_iter();
        self.remarks
            .extend(said.map(|said| format!("{}: {said}", figure.name())));
        self.files
            .extend(write(figure.name(), &sheet, style, file)?);
        Ok(())
    }
}

/// Draws one figure as SVG within a page that has the colours of [`theme()`], and returns its text, or
/// why there is nothing to draw.
///
/// # Errors
/// When the drawing library fails.
pub fn svg(figure: Figure, material: &Material) -> Result<Result<String, Skipped>, ReportError> {
    match sheet(figure, material) {
        Ok(sheet) => render::screen_svg(&sheet.picture(Size::Page))
            .map(|svg| Ok(theme::themed(&svg)))
            .map_err(refused(figure.name())),
        Err(skipped) => Ok(Err(skipped)),
    }
}

/// Returns the title of a figure: that of the savings says whose they are.
pub fn title(figure: Figure, result: &AnalysisResult) -> String {
    match (figure, result.savings.known()) {
        (Figure::Savings, Some(_)) => result.attribution().title(),
        _ => figure.title().to_owned(),
    }
}

/// Says why a figure would not be drawn; `None` where there is something to draw.
pub fn missing(figure: Figure, material: &Material) -> Option<Skipped> {
    sheet(figure, material).err()
}

fn sheet<'a>(figure: Figure, material: &Material<'a>) -> Result<Sheet<'a>, Skipped> {
    let &Material {
        runs,
        measurements,
        readings,
        answers,
        result,
    } = material;
    if runs.is_empty() && !result.runs.is_empty() && figure.needs_trained_runs() {
        return Err(Skipped {
            figure,
            why:
                "it is drawn from what this program measures while it trains, which imported rows \
                  do not hold"
                    .to_owned(),
        });
    }
    let sheet = match figure {
        Figure::LossByShare => loss::sheet(result),
        Figure::Allocation => allocation::sheet(result),
        Figure::Savings => savings::sheet(result),
        Figure::Isoflop => isoflop::sheet(result),
        Figure::Frontier => frontier::sheet(result),
        Figure::Predicted => predicted::sheet(result),
        Figure::Residuals => predicted::residuals(result),
        Figure::Bootstrap => bootstrap::sheet(result),
        Figure::Training => training::by_run(runs, measurements),
        Figure::TrainingByRatio => training::by_group(runs, measurements),
        Figure::Decay => decay::sheet(runs, measurements),
        Figure::Transfer => transfer::sheet(runs),
        Figure::RealisedRatio => ratio::sheet(runs, result),
        Figure::Content => reading::by_content(runs, readings),
        Figure::Position => reading::by_position(runs, readings),
        Figure::Tasks => tasks::sheet(&answers.comparison),
        Figure::Time => time::sheet(runs, measurements),
    };
    sheet.map_err(|why| Skipped { figure, why })
}

fn refused(figure: &str) -> impl Fn(String) -> ReportError + use<'_> {
    |message| ReportError::Draw {
        figure: figure.to_owned(),
        message,
    }
}

/// Draws the coordinate check into a folder, in these formats, and returns its files.
///
/// # Errors
/// When nothing was measured, a file cannot be written or the drawing library fails.
pub fn draw_coordinates(
    folder: &Path,
    sizes: &[ActivationSize],
    formats: &[Format],
) -> Result<Vec<PathBuf>, ReportError> {
    let name = "coordinates";
    let sheet = coordinates::sheet(sizes).map_err(refused(name))?;
    let style = Style {
        formats: formats.to_vec(),
        ..Style::default()
    };
    write(name, &sheet, &style, |format| {
        folder.join(format!("{name}.{}", format.name()))
    })
}

/// Writes a figure in every format that is asked for.
fn write(
    name: &str,
    sheet: &Sheet<'_>,
    style: &Style,
    file: impl Fn(Format) -> PathBuf,
) -> Result<Vec<PathBuf>, ReportError> {
    let picture = sheet.picture(style.size);
    let mut files = Vec::new();
    for &format in &style.formats {
        let path = file(format);
        let bytes = match format {
            Format::Svg => render::svg(&picture).map(String::into_bytes),
            Format::Pdf => render::pdf(&picture),
            Format::Png => {
                write_png(name, &path, &picture)?;
                files.push(path);
                continue;
            }
        };
        write_whole(&path, &bytes.map_err(refused(name))?)?;
        files.push(path);
    }
    Ok(files)
}

fn write_png(name: &str, path: &Path, picture: &Picture) -> Result<(), ReportError> {
    // The library makes files only, and chooses their format by the ending.
    let unfinished = path.with_extension("tmp.png");
    let wrong = |source| ReportError::Write {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(wrong)?;
    }
    render::png(picture, &unfinished).map_err(refused(name))?;
    std::fs::rename(&unfinished, path).map_err(wrong)
}

#[cfg(test)]
mod tests;
