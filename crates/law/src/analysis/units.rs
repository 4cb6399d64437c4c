//! Whether N, D and FLOPs can be what they are said to be: units that were missed.

use super::warning::Warning;
use crate::fit::median;
/// Half of the language models of a study are larger than this, and are trained on more tokens.
const LEAST: [(&str, f64); 2] = [("params", 5e3), ("tokens", 2e4)];

/// Tokens per parameter, of half of the models of a study, lie in this range.
const PER_PARAM: (f64, f64) = (1e-4, 1e6);

/// FLOPs that differ from 6·N·D by more than this factor are in another unit: exact counts differ by
/// less, even those of small models with large vocabularies, or of sparse ones.
const FAR: f64 = 100.0;

/// What FLOPs are counted in besides single ones.
const UNITS: [(&str, f64); 7] = [
    ("thousands", 1e3),
    ("MFLOPs", 1e6),
    ("GFLOPs", 1e9),
    ("TFLOPs", 1e12),
    ("PFLOPs", 1e15),
    ("EFLOPs", 1e18),
    ("PFLOP-days", 8.64e19),
];

/// Lists what cannot be meant of the columns `params`, `tokens` and `flops`, as far as they are there.
pub(crate) fn units(column: impl Fn(&str) -> Option<Vec<f64>>) -> Vec<Warning> {
    let column = |name: &str| column(name).filter(|values| !values.is_empty());
    let (params, tokens) = (column("params"), column("tokens"));
    let per_param = params
        .as_ref()
        .zip(tokens.as_ref())
        .map(|(params, tokens)| {
            let mut ratios: Vec<f64> = params.iter().zip(tokens).map(|(n, d)| d / n).collect();
            median(&mut ratios)
        });
    let warnings: Vec<Warning> = LEAST
        .into_iter()
        .filter_map(|(name, least)| {
            let mut values = column(name)?;
            let middle = median(&mut values);
            let apart = per_param.is_some_and(|ratio| match name {
                "params" => ratio > PER_PARAM.1,
                _ => ratio < PER_PARAM.0,
            });
            (middle < least || apart).then(|| Warning::NoModel {
                column: name.to_owned(),
                lowest: values.iter().copied().fold(f64::INFINITY, f64::min),
                highest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            })
        })
        .collect();
    if !warnings.is_empty() {
        return warnings;
    }
    let (Some(params), Some(tokens), Some(flops)) = (params, tokens, column("flops")) else {
        return Vec::new();
    };
    let sizes = params.iter().zip(&tokens);
    let computed: Vec<f64> = sizes.map(|(n, d)| 6.0 * n * d).collect();
    flops_unit(&flops, &computed).into_iter().collect()
}

fn flops_unit(flops: &[f64], computed: &[f64]) -> Option<Warning> {
    let median = |of: fn((&f64, &f64)) -> f64| {
        let mut values: Vec<f64> = flops.iter().zip(computed).map(of).collect();
        median(&mut values)
    };
    let ratio = median(|(flops, computed)| flops / computed);
    if (1.0 / FAR..=FAR).contains(&ratio) {
        return None;
    }
    let off = median(|(flops, computed)| (flops - computed.log10()).abs());
    let near = |(_, factor): &(&str, f64)| (1.0 / 30.0..30.0).contains(&(ratio * factor));
    let found = UNITS.into_iter().find(near);
    Some(Warning::FlopsUnit {
        ratio,
        unit: found.map(|(unit, _)| unit.to_owned()),
        scale: match found {
            _ if off < 1.5 => Some("log10".to_owned()),
            Some((_, factor)) => Some(format!("{factor:e}")),
            None => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: f64, d: f64, flops: impl Fn(f64) -> f64) -> Vec<Warning> {
        let sizes = [(1.0, 1.0), (3.0, 1.0), (1.0, 9.0)].map(|(a, b)| (a * n, b * d));
        units(|name| match name {
            "params" => Some(sizes.map(|(n, _)| n).to_vec()),
            "tokens" => Some(sizes.map(|(_, d)| d).to_vec()),
            _ => Some(sizes.map(|(n, d)| flops(6.0 * n * d)).to_vec()),
        })
    }

    #[test]
    fn what_can_be_meant_is_left_alone() {
        assert_eq!(said(3e4, 1e6, |c| c), []);
        // Sparse models, embeddings, attention.
        assert_eq!(said(1e9, 2e10, |c| c / 40.0), []);
        assert_eq!(said(1e6, 2e7, |c| 8.0 * c), []);
    }

    #[test]
    fn units_are_told_with_their_factor() {
        for (scale, factor) in [("1e9", 1e-9), ("1e15", 1.3e-15), ("8.64e19", 1.0 / 8.64e19)] {
            let found = said(1e8, 2e9, |c| c * factor);
            let told = found.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert!(
                told.len() == 1 && told[0].contains(&format!("flops={scale}")),
                "{told:?}"
            );
            assert!(!told[0].contains(" 0 times"), "{told:?}");
        }
        let told = said(1e8, 2e9, f64::log10)[0].to_string();
        assert!(told.contains("flops=log10"), "{told}");
        // N in millions and D as it is; N as it is and D in billions.
        for (n, d, column) in [(7e3, 1e12, "params"), (7e9, 1e2, "tokens")] {
            let told = said(n, d, |c| c);
            assert!(
                told.len() == 1 && told[0].to_string().starts_with(column),
                "{told:?}"
            );
        }
        let told = said(100.0, 2.0, |c| c);
        assert!(
            told.len() == 2 && told[0].to_string().contains("params=1e6"),
            "{told:?}"
        );
    }
}
