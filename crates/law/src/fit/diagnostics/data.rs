//! What can be said about the data before and beside a fit: ranges, units, directions, duplicates.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::fit::law::Law;
use crate::fit::matrix::Symmetric;
use crate::fit::observations::{Observations, VARIANT};
use crate::fit::solve::median;
use experiment::quantity::human;

/// Beyond this factor outside the data a size is marked as extrapolated.
const FAR: f64 = 10.0;

/// Within this factor settings count as equal: solvers reach N and P within 1%.
pub(crate) const ALIKE: f64 = 1.03;

/// The range of one input in the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRange {
    /// The column.
    pub column: String,
    /// Smallest value.
    pub lowest: f64,
    /// Largest value.
    pub highest: f64,
}

impl DataRange {
    /// Computes how many times `value` lies outside the range; at most 1 inside.
    pub(crate) fn times_outside(&self, value: f64) -> f64 {
        (value / self.highest).max(self.lowest / value)
    }

    /// Returns a mark when `value` lies more than 10× outside the range, or outside at all where it is
    /// of concepts or the data have one value only.
    pub fn extrapolation(&self, value: f64) -> Option<Extrapolation> {
        let factor = self.times_outside(value);
        let far = match self.column.as_str() {
            _ if self.lowest == self.highest => 1.0 + 1e-9,
            // Nothing says that a law holds for other concepts.
            "concept_share" | "compression_ratio" => ALIKE,
            _ => FAR,
        };
        (factor > far).then(|| Extrapolation {
            column: self.column.clone(),
            factor,
        })
    }
}

/// A value far outside the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extrapolation {
    /// The column.
    pub column: String,
    /// How many times the value lies outside the data's range.
    pub factor: f64,
}

impl fmt::Display for Extrapolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = if self.factor < 9.95 { 1 } else { 0 };
        let Self { column, factor } = self;
        write!(f, "{column} lies {factor:.digits$}× outside the data")
    }
}

/// Something suspicious about the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Warning {
    /// Every row has the same value: the law cannot know what the column does.
    SingleValued {
        /// The column.
        column: String,
        /// Its value.
        value: f64,
    },
    /// The response rises with a column of which more should help.
    Rises {
        /// The column.
        column: String,
        /// Change of the log response per e-fold of the column, others held.
        slope: f64,
    },
    /// The response rises along a stretch of a column of which more should help, all else equal, which
    /// no power law does.
    RisesAlong {
        /// The column.
        column: String,
        /// Where the stretch begins.
        from: f64,
        /// Where the response is highest above what it was there.
        to: f64,
        /// The responses at both.
        responses: [f64; 2],
    },
    /// Losses are about 1.44 times what published laws give in nats: they may be bits per token.
    LooksLikeBits {
        /// Median of loss over the published law's prediction.
        ratio: f64,
    },
    /// Losses are about the exponential of what published laws give: they may be perplexities.
    LooksLikePerplexity {
        /// Median of the log of the loss over the published law's prediction.
        ratio: f64,
    },
    /// Rows repeat others exactly, loss included: one run may have been entered twice.
    Duplicates {
        /// Number of repeated rows.
        rows: usize,
    },
    /// Few clusters: bootstrap intervals over so few runs are too narrow.
    FewClusters {
        /// Number of clusters.
        clusters: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SingleValued { column, value } => write!(
                f,
                "every run has {column} = {}: what it does is unknown",
                human(*value)
            ),
            Self::Rises { column, slope } => write!(
                f,
                "the loss rises with {column} (by {:.1}% per e-fold)",
                100.0 * slope
            ),
            Self::RisesAlong {
                column,
                from,
                to,
                responses: [low, high],
            } => write!(
                f,
                "the loss rises with {column} from {low:.4} at {} to {high:.4} at {}, all else equal: \
                 no power law does that",
                human(*from),
                human(*to)
            ),
            Self::LooksLikeBits { ratio } => write!(
                f,
                "losses are {ratio:.2} times what published laws give: are they bits instead of \
                 nats?"
            ),
            Self::LooksLikePerplexity { ratio } => write!(
                f,
                "the logarithms of the losses are {ratio:.2} times what published laws give: are \
                 they perplexities instead of nats?"
            ),
            Self::Duplicates { rows } => write!(
                f,
                "{rows} rows repeat others exactly, loss included: were runs entered twice?"
            ),
            Self::FewClusters { clusters } => write!(
                f,
                "only {clusters} independent runs (rows of one run, and branches of one trunk, are \
                 one): intervals are rough"
            ),
        }
    }
}

pub(crate) fn ranges(law: &dyn Law, data: &Observations) -> Vec<DataRange> {
    law.inputs()
        .into_iter()
        .filter_map(|input| {
            let values = data.column(&input.name)?;
            let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            Some(DataRange {
                column: input.name,
                lowest,
                highest,
            })
        })
        .collect()
}

pub(crate) fn data_warnings(law: &dyn Law, data: &Observations) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for range in ranges(law, data) {
        if range.lowest == range.highest {
            warnings.push(Warning::SingleValued {
                column: range.column,
                value: range.lowest,
            });
        }
    }
    warnings.extend(rising(law, data));
    warnings.extend(rising_along(law, data));
    warnings.extend(unit(law, data));
    warnings.extend(duplicates(data));
    let clusters = data.n_clusters();
    if clusters < 10 {
        warnings.push(Warning::FewClusters { clusters });
    }
    warnings
}

/// Regresses the log response on the log inputs and names helpful columns with a positive slope.
fn rising(law: &dyn Law, data: &Observations) -> Vec<Warning> {
    let inputs = law.inputs();
    let (Some(response), Some(columns)) = (
        data.column(law.response()),
        inputs
            .iter()
            .map(|i| data.column(&i.name))
            .collect::<Option<Vec<_>>>(),
    ) else {
        return Vec::new();
    };
    let n = data.len() as f64;
    let center = |v: &[f64]| v.iter().map(|x| x.ln()).sum::<f64>() / n;
    let means: Vec<f64> = columns.iter().map(|c| center(c)).collect();
    let y_mean = center(response);
    let m = columns.len();
    let mut normal = Symmetric::zeros(m);
    let mut right = vec![0.0; m];
    let mut squares = 0.0;
    let mut x = vec![0.0; m];
    for row in 0..data.len() {
        let y = response[row].ln() - y_mean;
        for ((x, c), mean) in x.iter_mut().zip(&columns).zip(&means) {
            *x = c[row].ln() - mean;
        }
        normal.add_outer_lower(1.0, &x);
        right.iter_mut().zip(&x).for_each(|(r, x)| *r += x * y);
        squares += y * y;
    }
    normal.mirror();
    let varied: Vec<usize> = (0..m).filter(|j| normal.at(*j, *j) > 1e-9 * n).collect();
    let normal = normal.submatrix(&varied);
    let right: Vec<f64> = varied.iter().map(|j| right[*j]).collect();
    let Some(slopes) = normal.solve(&right) else {
        return Vec::new();
    };
    let explained: f64 = slopes.iter().zip(&right).map(|(s, r)| s * r).sum();
    let variance = (squares - explained).max(0.0) / (n - m as f64 - 1.0).max(1.0);
    let mut warnings = Vec::new();
    for (a, &j) in varied.iter().enumerate() {
        let mut unit = vec![0.0; varied.len()];
        unit[a] = 1.0;
        let Some(inverse) = normal.solve(&unit) else {
            continue;
        };
        let error = (variance * inverse[a]).sqrt();
        if inputs[j].helps == Some(true) && slopes[a] > 2.0 * error && slopes[a] > 0.0 {
            let column = inputs[j].name.clone();
            warnings.push(Warning::Rises {
                column,
                slope: slopes[a],
            });
        }
    }
    warnings
}

/// The columns that tell settings apart: rows that agree in all of them are replicates.
///
/// Seeds realise different R, so the declared one stands for it where it is known.
pub(crate) fn setting_columns(data: &Observations, law: &dyn Law) -> Vec<String> {
    let declared = data.column("declared_ratio").is_some();
    let inputs = law.inputs().into_iter().map(|input| input.name);
    let usual = [
        "params",
        "tokens",
        "concept_share",
        "compression_ratio",
        VARIANT,
    ];
    let usual = usual.into_iter().map(str::to_owned);
    let columns: BTreeSet<String> = inputs
        .chain(usual)
        .map(|name| match (name.as_str(), declared) {
            ("compression_ratio", true) => "declared_ratio".to_owned(),
            _ => name,
        })
        .filter(|name| name != "floor" && data.column(name).is_some())
        .collect();
    columns.into_iter().collect()
}

/// A rise of the log response above this is no noise between seeds.
const RISE: f64 = 0.1;

/// Finds the largest rise of the mean response along each helpful column, between rows that agree in
/// all else.
fn rising_along(law: &dyn Law, data: &Observations) -> Vec<Warning> {
    let inputs = law.inputs();
    let Some(response) = data.column(law.response()) else {
        return Vec::new();
    };
    let settings = setting_columns(data, law);
    let along = |column: &str| {
        let others = settings.iter().filter(|name| *name != column);
        let others: Vec<&[f64]> = others.filter_map(|name| data.column(name)).collect();
        let at = data.column(column)?;
        // By what else there is, and then by the column: the sum of the logarithms and their count.
        let mut stretches: BTreeMap<Vec<u64>, BTreeMap<u64, (f64, f64)>> = BTreeMap::new();
        for row in 0..data.len() {
            let else_equal = others.iter().map(|values| values[row].to_bits()).collect();
            // The bits of positive numbers are in their order.
            let stretch = stretches.entry(else_equal).or_default();
            let (sum, rows) = stretch.entry(at[row].to_bits()).or_default();
            *sum += response[row].ln();
            *rows += 1.0;
        }
        let mut worst: Option<(f64, Warning)> = None;
        for stretch in stretches.into_values() {
            let mut lowest = (0.0, f64::INFINITY);
            for (value, (sum, rows)) in stretch {
                let (value, mean) = (f64::from_bits(value), sum / rows);
                let rise = mean - lowest.1;
                if rise > worst.as_ref().map_or(RISE, |(rise, _)| *rise) {
                    let warning = Warning::RisesAlong {
                        column: column.to_owned(),
                        from: lowest.0,
                        to: value,
                        responses: [lowest.1.exp(), mean.exp()],
                    };
                    worst = Some((rise, warning));
                }
                if mean < lowest.1 {
                    lowest = (value, mean);
                }
            }
        }
        worst.map(|(_, warning)| warning)
    };
    let helpful = inputs.iter().filter(|input| input.helps == Some(true));
    helpful.filter_map(|input| along(&input.name)).collect()
}

/// Compares losses of larger models with the published Chinchilla law in nats.
///
/// A ratio near 1/ln 2 in all of them is the mark of bits; a loss of twice as much, the logarithm of
/// which is near the law's, that of perplexity. Small models, bytes or other languages
/// give other ratios and no warning: this can only raise a suspicion.
fn unit(law: &dyn Law, data: &Observations) -> Option<Warning> {
    let (params, tokens) = (data.column("params")?, data.column("tokens")?);
    if law.response() != "loss" {
        return None;
    }
    let loss = data.column("loss")?;
    let ratios: Vec<(f64, f64)> = (0..data.len())
        .filter(|row| params[*row] >= 3e7 && tokens[*row] >= 3e8)
        .map(|row| {
            let nats =
                1.8172 + 477.8 / params[row].powf(0.3473) + 2143.4 / tokens[row].powf(0.3672);
            (loss[row] / nats, loss[row].ln() / nats)
        })
        .collect();
    if ratios.len() < 5 {
        return None;
    }
    let (mut plain, mut logs): (Vec<f64>, Vec<f64>) = ratios.into_iter().unzip();
    let most = |ratios: &[f64], range: Range<f64>| {
        let inside = ratios.iter().filter(|ratio| range.contains(ratio)).count();
        inside * 10 >= ratios.len() * 9
    };
    let ratio = median(&mut plain);
    if most(&plain, 1.28..1.62) && (1.33..1.56).contains(&ratio) {
        return Some(Warning::LooksLikeBits { ratio });
    }
    let ratio = median(&mut logs);
    (most(&plain, 2.0..f64::INFINITY) && most(&logs, 0.75..1.3))
        .then_some(Warning::LooksLikePerplexity { ratio })
}

fn duplicates(data: &Observations) -> Option<Warning> {
    let columns: Vec<&[f64]> = data.names().filter_map(|name| data.column(name)).collect();
    let mut seen = HashSet::with_capacity(data.len());
    let rows = (0..data.len())
        .filter(|row| {
            // A hash a row: at a million rows a false match has odds of 3 in 100 million.
            let mut hasher = DefaultHasher::new();
            columns
                .iter()
                .for_each(|c| c[*row].to_bits().hash(&mut hasher));
            !seen.insert(hasher.finish())
        })
        .count();
    (rows > 0).then_some(Warning::Duplicates { rows })
}
