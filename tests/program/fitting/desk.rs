//! What is laid on the desk, and how answers are read.

use serde_json::Value;
use std::fmt::Write as _;

pub(crate) fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn close(found: f64, expected: f64, relative: f64, what: &str) {
    let error = (found / expected - 1.0).abs();
    assert!(
        error <= relative,
        "{what}: {found:.12e}, not {expected:.12e} (off by {error:.1e})"
    );
}

pub(crate) fn kinds(report: &Value) -> Vec<String> {
    let warnings = report["warnings"].as_array().expect("warnings");
    // What the fit engine found has a kind of its own.
    let kind = |warning: &Value| match warning["warning"]["kind"].as_str() {
        Some(_) => warning["warning"]["kind"].clone(),
        None => warning["kind"].clone(),
    };
    let kinds = warnings.iter().map(kind);
    kinds
        .map(|kind| kind.as_str().expect("a kind").to_owned())
        .collect()
}

/// Runs of a Chinchilla law with a little noise, as text of a CSV file.
pub(crate) fn chinchilla(sizes: &[f64], tokens: &[f64]) -> String {
    let mut text = "params,tokens,loss\n".to_owned();
    let mut row = 0.0_f64;
    for n in sizes {
        for d in tokens {
            row += 1.0;
            let loss = 1.8 + 480.0 / n.powf(0.35) + 2100.0 / d.powf(0.37);
            let loss = loss * (0.002 * (row * 2.399).sin()).exp();
            writeln!(text, "{n},{d},{loss}").expect("written");
        }
    }
    text
}

/// Runs of a law of DLCMs with a little noise, and dense ones beside them, as text of a CSV file; N and D in
/// units of `scale`.
pub(crate) fn dlcm(scale: f64) -> String {
    let mut text = "params,tokens,compression_ratio,concept_share,loss\n".to_owned();
    let mut row = 0.0_f64;
    let mut noise = || {
        row += 1.0;
        (0.002 * (row * 2.399).sin()).exp()
    };
    for n in [1e8_f64, 3e8, 1e9] {
        for d in [5e9_f64, 2e10, 8e10] {
            let data = 1.6 + 850.0 / (d + 1e9).powf(0.33);
            for r in [2.0_f64, 4.0, 8.0] {
                for p in [0.3, 0.5, 0.7] {
                    let token = 110.0 / (n * (1.0 - p) + 2e7).powf(0.3);
                    let concept = 55.0 * r.powf(0.15) / (n * p + 3e7).powf(0.28);
                    let loss = (data + token + concept) * noise();
                    writeln!(text, "{},{},{r},{p},{loss}", n * scale, d * scale).expect("written");
                }
            }
            let loss = (data + 300.0 / n.powf(0.3)) * noise();
            writeln!(text, "{},{},1,0,{loss}", n * scale, d * scale).expect("written");
        }
    }
    text
}

pub(crate) const SIZES: [f64; 5] = [3e7, 1e8, 3e8, 1e9, 3e9];
pub(crate) const TOKENS: [f64; 5] = [1e9, 4e9, 1.6e10, 6.4e10, 2.6e11];
