//! Figures, each as SVG and PNG, from stored numbers alone.

mod allocation;
mod axis;
mod bootstrap;
mod coordinates;
mod curve;
mod decay;
mod figure;
mod frontier;
mod isoflop;
mod kinds;
mod legend;
mod loss;
mod panel;
mod picture;
mod predicted;
mod ratio;
mod reading;
mod render;
mod savings;
mod sheet;
mod size;
mod style;
mod theme;
mod time;
mod training;
mod transfer;

use super::{ReportError, write_whole};
use campaign::store::{ReadingRecord, RunRecord};
pub use coordinates::ActivationSize;
use experiment::event::Measurement;
use experiment::run::RunId;
pub use figure::Figure;
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
    /// The fitted laws and what follows from them.
    pub result: &'a AnalysisResult,
}

/// How figures are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// How large they are.
    pub size: Size,
    /// The formats.
    pub format: Format,
}

/// Draws every figure into a folder, which is made when it does not exist.
///
/// # Errors
/// When a file cannot be written or the drawing library fails.
pub fn draw_all(folder: &Path, material: &Material) -> Result<Drawn, ReportError> {
    draw_some(&Figure::ALL, folder, material, Style::default())
}

/// Draws some figures into a folder, which is made when it does not exist.
///
/// # Errors
/// When a file cannot be written or the drawing library fails.
pub fn draw_some(
    figures: &[Figure],
    folder: &Path,
    material: &Material,
    style: Style,
) -> Result<Drawn, ReportError> {
    let mut drawn = Drawn::default();
    for &figure in figures {
        match draw(figure, folder, material, style)? {
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
    style: Style,
) -> Result<Result<Vec<PathBuf>, Skipped>, ReportError> {
    match sheet(figure, material) {
        Ok(sheet) => write(figure.name(), folder, &sheet, style).map(Ok),
        Err(skipped) => Ok(Err(skipped)),
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
        result,
    } = material;
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
        Figure::RealisedRatio => ratio::sheet(runs),
        Figure::Content => reading::by_content(runs, readings),
        Figure::Position => reading::by_position(runs, readings),
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

/// Draws the coordinate check into a folder and returns its files.
///
/// # Errors
/// When nothing was measured, a file cannot be written or the drawing library fails.
pub fn draw_coordinates(
    folder: &Path,
    sizes: &[ActivationSize],
) -> Result<Vec<PathBuf>, ReportError> {
    let name = "coordinates";
    let sheet = coordinates::sheet(sizes).map_err(refused(name))?;
    write(name, folder, &sheet, Style::default())
}

fn write(
    name: &str,
    folder: &Path,
    sheet: &Sheet<'_>,
    Style { size, format }: Style,
) -> Result<Vec<PathBuf>, ReportError> {
    let picture = sheet.picture(size);
    let stem = format!("{name}{}", size.suffix());
    let mut files = Vec::new();
    if format != Format::Png {
        let path = folder.join(format!("{stem}.svg"));
        let text = render::svg(&picture).map_err(refused(name))?;
        write_whole(&path, text.as_bytes())?;
        files.push(path);
    }
    if format != Format::Svg {
        let path = folder.join(format!("{stem}.png"));
        write_png(name, &path, &picture)?;
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
