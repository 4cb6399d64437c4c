//! Every figure within the page, and those with nothing to draw.

use crate::ReportError;
use crate::plots::{self, Figure, Material};
use maud::{Markup, PreEscaped, html};

pub(super) fn section(material: &Material) -> Result<Markup, ReportError> {
    let mut drawn = Vec::new();
    let mut skipped = Vec::new();
    for figure in Figure::ALL {
        match plots::svg(figure, material)? {
            Ok(svg) => drawn.push((figure, svg)),
            Err(why) => skipped.push(why),
        }
    }
    Ok(html! {
        @for (figure, svg) in &drawn {
            figure id={ "figure-" (figure.name()) } {
                (PreEscaped(titled(svg, *figure, &plots::title(*figure, material.result))))
                figcaption {
                    strong { (plots::title(*figure, material.result)) "." } " " (figure.caption())
                }
            }
        }
        @if !skipped.is_empty() {
            h3 { "Not drawn" }
            ul { @for skipped in &skipped { li { (skipped.figure.title()) ": " (skipped.why) } } }
        }
    })
}

/// Gives a drawing the title that is read in place of it.
fn titled(svg: &str, figure: Figure, words: &str) -> String {
    let start = svg.find("<svg").unwrap_or(0);
    let id = format!("title-{}", figure.name());
    let opening = format!("<svg role=\"img\" aria-labelledby=\"{id}\"");
    let svg = svg[start..].replacen("<svg", &opening, 1);
    let title = html! { title id=(id) { (words) } }.into_string();
    svg.replacen('>', &format!(">{title}"), 1)
}
