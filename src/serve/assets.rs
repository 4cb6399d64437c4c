//! The page's own files, part of the program.

use super::problem::Problem;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal: $kind:expr),+ $(,)?) => {
        &[$((
            concat!("/", $name),
            $kind,
            include_bytes!(concat!("../../assets/serve/", $name)),
        )),+]
    };
}

/// Path, type and content of every file.
const FILES: &[(&str, &str, &[u8])] = files! {
    "index.html": HTML,
    "style.css": CSS,
    "app.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "data.js": SCRIPT,
    "chart.js": SCRIPT,
    "curves.js": SCRIPT,
    "experiments.js": SCRIPT,
    "experiment.js": SCRIPT,
    "changes.js": SCRIPT,
    "grid.js": SCRIPT,
    "table.js": SCRIPT,
    "losses.js": SCRIPT,
    "axes.js": SCRIPT,
    "compare.js": SCRIPT,
    "fit.js": SCRIPT,
    "claims.js": SCRIPT,
    "run.js": SCRIPT,
    "icon.svg": "image/svg+xml",
    "vendor/uPlot.iife.min.js": SCRIPT,
    "vendor/uPlot.min.css": CSS,
    "vendor/uPlot-LICENSE.txt": "text/plain; charset=utf-8",
};

/// The font of the figures, too.
const FONT: (&str, &str, &[u8]) = (
    "/Inter-Regular.otf",
    "font/otf",
    include_bytes!("../../assets/Inter-Regular.otf"),
);

/// Answers with a file.
pub(super) async fn serve(method: Method, uri: Uri) -> Response {
    if method != Method::GET && method != Method::HEAD {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Problem::new(status, "there is nothing to change here").into_response();
    }
    let path = match uri.path() {
        "/" => "/index.html",
        path => path,
    };
    match FILES.iter().chain([&FONT]).find(|(name, ..)| *name == path) {
        // Another version of the program has other files under these names.
        Some((_, kind, content)) => {
            let headers = [(CONTENT_TYPE, *kind), (CACHE_CONTROL, "no-cache")];
            (headers, *content).into_response()
        }
        None => Problem::unknown(format!("there is no `{path}` here")).into_response(),
    }
}
