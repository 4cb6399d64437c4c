//! Tests that compare runs with others that are alike in all but what the claim is about.

use super::contrast::{Effects, means};
use super::{Estimate, Finding, short};
use experiment::claims::{Bound, Test};
use experiment::quantity::counted;
use std::collections::BTreeMap;

/// A run as a claim sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names all that it has in common with the runs that it is compared with; where it is compared with none, what
    /// varies by itself.
    pub block: String,
    /// Where it lies on the axis that the claim is about; of two groups 1 is the one that is claimed to be larger.
    pub along: f64,
    /// The level of the axis over which a best value is carried; 0 where the claim knows none.
    pub over: f64,
    /// The quantity.
    pub value: f64,
    /// Training FLOPs.
    pub flops: f64,
}

/// The runs that a claim is about.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Those whose quantity is known.
    pub runs: Vec<Sample>,
    /// Those that ended without it.
    pub lost: usize,
}

/// Tests a claim about runs.
pub(super) fn find(test: &Test, samples: &Samples) -> Result<Finding, String> {
    let Samples { runs, lost } = samples;
    if runs.is_empty() {
        return Err("no finished run is what the claim is about".into());
    }
    // What is best is not told by those that are left.
    if *lost > 0 && matches!(test, Test::OptimumInside(_) | Test::Transfers { .. }) {
        return Err(format!(
            "{} ended without the quantity (diverged, failed, or not asked): of the others alone the best is not the \
             best; `among` leaves out what is not meant",
            counted(*lost, "run")
        ));
    }
    let samples = runs.as_slice();
    match test {
        Test::OptimumInside(along) => optimum_inside(&along.along, &along.of, samples),
        Test::Rises(along) => slope(&along.along, &along.of, samples, true),
        Test::Falls(along) => slope(&along.along, &along.of, samples, false),
        Test::Differs {
            between,
            of,
            at_least,
            ..
        } => difference(of, between, *at_least, samples),
        Test::Transfers {
            along,
            over,
            within,
        } => transfer(&along.along, over, *within, samples),
        Test::Mean { of, bound, .. } => mean(of, *bound, samples),
        Test::Law { .. } => Err("this claim is about a law".into()),
    }
}

/// Distinct numbers in rising order.
fn levels(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut levels: Vec<f64> = values.collect();
    levels.sort_by(f64::total_cmp);
    levels.dedup();
    levels
}

/// Numbers names from 0.
fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut known = BTreeMap::new();
    names
        .map(|name| {
            let next = known.len();
            *known.entry(name).or_insert(next)
        })
        .collect()
}

fn blocks(samples: &[Sample]) -> Vec<usize> {
    numbered(samples.iter().map(|sample| sample.block.as_str()))
}

fn values(samples: &[Sample]) -> Vec<f64> {
    samples.iter().map(|sample| sample.value).collect()
}

/// Why effects are not determined.
fn undetermined(axis: &str) -> String {
    format!(
        "no run is left to tell the noise from: at least two settings, or two seeds, must be trained at every level of \
         {axis} and be alike in all else"
    )
}

/// A level of the axis, at a level of the other.
type Place = (f64, f64);

/// The means at all places of the axes, each against the lowest level there, within blocks.
struct Means {
    effects: Effects,
    /// Places that are compared with the lowest level there, one an effect.
    columns: Vec<Place>,
}

impl Means {
    fn fit(samples: &[Sample], axis: &str) -> Result<Self, String> {
        let overs = levels(samples.iter().map(|sample| sample.over));
        let columns = overs.into_iter().flat_map(|over| {
            let here = samples.iter().filter(|sample| sample.over == over);
            let levels = levels(here.map(|sample| sample.along));
            levels.into_iter().skip(1).map(move |level| (over, level))
        });
        let columns: Vec<Place> = columns.collect();
        let x: Vec<Vec<f64>> = (samples.iter())
            .map(|sample| {
                let is = |place: &Place| f64::from(*place == (sample.over, sample.along));
                columns.iter().map(is).collect()
            })
            .collect();
        let effects = Effects::fit(&blocks(samples), &x, &values(samples));
        Ok(Self {
            effects: effects.ok_or_else(|| undetermined(axis))?,
            columns,
        })
    }

    /// The mean at a level minus that at another, both at one level of the other axis.
    fn difference(&self, over: f64, level: f64, other: f64) -> Estimate {
        let is = |place: &Place, level: f64| f64::from(*place == (over, level));
        let weights = self
            .columns
            .iter()
            .map(|place| is(place, level) - is(place, other));
        self.effects.combined(&weights.collect::<Vec<_>>())
    }
}

/// The optimum is inside where each end is worse than some level between, and at an end where that is better than all
/// others.
fn optimum_inside(axis: &str, of: &str, samples: &[Sample]) -> Result<Finding, String> {
    let levels = levels(samples.iter().map(|sample| sample.along));
    if levels.len() < 3 {
        return Err(format!(
            "{axis} has {} levels, and an optimum between ends needs 3",
            levels.len()
        ));
    }
    let fitted = Means::fit(samples, axis)?;
    let over = samples[0].over;
    let difference =
        |level: usize, other: usize| fitted.difference(over, levels[level], levels[other]);
    let last = levels.len() - 1;
    let (mut p_wrong, mut p_right): (f64, f64) = (0.0, 1.0);
    let mut closest: Option<(Estimate, [usize; 2])> = None;
    for end in [0, last] {
        let inside = (1..last).map(|level| (difference(end, level), level));
        let best = inside.min_by(|a, b| a.0.p_above(0.0).total_cmp(&b.0.p_above(0.0)));
        let Some((best, level)) = best else { continue };
        // The level is chosen among several.
        p_wrong = p_wrong.max(((last - 1) as f64 * best.p_above(0.0)).min(1.0));
        let others = (0..=last).filter(|other| *other != end);
        let worst = others.map(|other| difference(other, end).p_above(0.0));
        // Either end may be the best.
        p_right = p_right.min(2.0 * worst.fold(0.0, f64::max));
        if closest.is_none_or(|(known, _)| best.value < known.value) {
            closest = Some((best, [end, level]));
        }
    }
    let (number, [end, level]) = closest.ok_or_else(|| undetermined(axis))?;
    Ok(Finding {
        what: format!(
            "{of} at {axis} {}, the closer end, above that at {}",
            short(levels[end]),
            short(levels[level])
        ),
        number,
        bound: 0.0,
        shown: |value| value,
        p_wrong,
        p_right: p_right.min(1.0),
    })
}

fn slope(axis: &str, of: &str, samples: &[Sample], rises: bool) -> Result<Finding, String> {
    if levels(samples.iter().map(|sample| sample.along)).len() < 2 {
        return Err(format!("{axis} has one level, and a trend needs two"));
    }
    let is_positive = samples.iter().all(|sample| sample.along > 0.0);
    let place = |sample: &Sample| {
        if is_positive {
            sample.along.log2()
        } else {
            sample.along
        }
    };
    let x: Vec<Vec<f64>> = samples.iter().map(|sample| vec![place(sample)]).collect();
    let effects = Effects::fit(&blocks(samples), &x, &values(samples));
    let number = effects.ok_or_else(|| undetermined(axis))?.combined(&[1.0]);
    let step = if is_positive { "doubling" } else { "unit" };
    let what = format!("{of} by each {step} of {axis}");
    Ok(Finding::beyond(what, number, 0.0, rises))
}

fn difference(
    of: &str,
    [first, second]: &[String; 2],
    at_least: f64,
    samples: &[Sample],
) -> Result<Finding, String> {
    let groups = levels(samples.iter().map(|sample| sample.along));
    if groups.len() < 2 {
        return Err("one of the two groups has no finished run".into());
    }
    let x: Vec<Vec<f64>> = samples.iter().map(|sample| vec![sample.along]).collect();
    let paired = Effects::fit(&blocks(samples), &x, &values(samples));
    let effects = paired.ok_or_else(|| {
        "the two groups have too few runs that are alike in all else: train both at the same settings and seeds".to_owned()
    })?;
    let number = effects.combined(&[1.0]);
    let what = format!("{of}, {first} minus {second}");
    Ok(Finding::beyond(what, number, at_least, true))
}

/// Settings count as they lie in the runs: what differs between them is part of how sure the mean is.
fn mean(of: &str, bound: Bound, samples: &[Sample]) -> Result<Finding, String> {
    let (limit, is_above) = bound.limit();
    let mut clusters: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for sample in samples {
        clusters
            .entry(&sample.block)
            .or_default()
            .push(sample.value);
    }
    let number = Estimate::mean(&means(clusters.values())).ok_or_else(|| {
        format!(
            "{} by themselves, from whose scatter no noise can be told: train two seeds or settings",
            counted(clusters.len(), "run")
        )
    })?;
    Ok(Finding::beyond(
        format!("{of}, mean over runs"),
        number,
        limit,
        is_above,
    ))
}

/// The best value at the lowest level must nowhere else be worse than any other by more than `within`.
fn transfer(axis: &str, over: &str, within: f64, samples: &[Sample]) -> Result<Finding, String> {
    let places = levels(samples.iter().map(|sample| sample.over));
    let [lowest, others @ ..] = places.as_slice() else {
        return Err(format!("{over} has no level"));
    };
    if others.is_empty() {
        return Err(format!(
            "{over} has one level, and a best value is carried from one to others"
        ));
    }
    let base = samples.iter().filter(|sample| sample.over == *lowest);
    let base: Vec<Sample> = base.cloned().collect();
    let values = levels(base.iter().map(|sample| sample.along));
    if values.len() < 2 {
        return Err(format!("{axis} has one level at {over} {}", short(*lowest)));
    }
    let at_base = Means::fit(&base, axis)?;
    let mean = |level: f64| at_base.difference(*lowest, level, values[0]).value;
    let best = (values.iter().copied()).min_by(|a, b| mean(*a).total_cmp(&mean(*b)));
    let best = best.ok_or_else(|| undetermined(axis))?;
    let carried: Vec<Sample> = (samples.iter())
        .filter(|sample| sample.over != *lowest)
        .cloned()
        .collect();
    let fitted = Means::fit(&carried, axis)?;
    let mut regrets: Vec<(Estimate, f64)> = Vec::new();
    for place in others {
        let here = carried.iter().filter(|sample| sample.over == *place);
        let values = levels(here.map(|sample| sample.along));
        if !values.contains(&best) {
            return Err(format!(
                "{axis} {}, the best at {over} {}, was not tried at {over} {}",
                short(best),
                short(*lowest),
                short(*place)
            ));
        }
        let rivals = values.into_iter().filter(|level| *level != best);
        regrets.extend(rivals.map(|rival| (fitted.difference(*place, best, rival), *place)));
    }
    let largest = regrets
        .iter()
        .max_by(|a, b| a.0.value.total_cmp(&b.0.value));
    let &(number, place) = largest.ok_or_else(|| format!("{axis} has one level"))?;
    let above = regrets.iter().map(|(regret, _)| regret.p_above(within));
    let below = regrets.iter().map(|(regret, _)| regret.p_below(within));
    Ok(Finding {
        what: format!(
            "{axis} {}, the best at {over} {}, worse than the best at {over} {} by at most",
            short(best),
            short(*lowest),
            short(place)
        ),
        number,
        bound: within,
        shown: |value| value,
        // All must be small; one that is large is enough.
        p_wrong: below.fold(0.0, f64::max),
        p_right: (regrets.len() as f64 * above.fold(1.0, f64::min)).min(1.0),
    })
}
