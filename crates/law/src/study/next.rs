//! The next run: of those that may be trained, the one that narrows an answer most per FLOP, until it is narrow enough.
//!
//! ```text
//! rows so far ─► law ─► interval of the goal ─► reached, or the run to train next and why
//! ```
//!
//! What may be trained is given: an experiment's own grid. Until a law can be fitted, runs are spread over its cheaper
//! half.

use super::allocate::{AllocateQuestion, allocate};
use crate::analysis::{CostModel, Estimate, Fitted, Laws, Policy, number};
use crate::fit::allocation::{
    Budget, Candidate, Range, Setting, Surface, Variable, optimum, suggest as choose,
};
use crate::row::Row;
use experiment::quantity::human;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Runs with which a law is first fitted: those beyond the parameters of Eq. 22 without offsets tell its noise.
const FIRST: usize = 12;

/// Values within this factor are one level.
const SAME: f64 = 1.05;

/// Resamples behind each choice.
const DRAWS: usize = 200;

/// How well a quantity of the best setting is to be known: `interval(concept_share) < 0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goal {
    /// The quantity.
    pub quantity: Variable,
    /// The width of its 95% interval, above 0; of N, D and R as a share of the best value.
    pub width: f64,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "`{text}`: {why}; write it like `interval(concept_share) < 0.1`, of concept_share, compression_ratio, params \
                 or tokens"
            )
        };
        let inside = text.trim().strip_prefix("interval(");
        let (name, rest) = inside
            .and_then(|inside| inside.split_once(')'))
            .ok_or_else(|| wrong("this is no goal"))?;
        let quantity = Variable::of_name(name.trim()).ok_or_else(|| wrong("no such quantity"))?;
        let width = rest
            .trim()
            .strip_prefix('<')
            .map(|width| width.trim().parse::<f64>());
        match width {
            Some(Ok(width)) if width > 0.0 && width.is_finite() => Ok(Self { quantity, width }),
            _ => Err(wrong("a width above 0 is missing")),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interval({}) < {}", self.quantity.name(), self.width)
    }
}

/// A run that may be trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    /// N, D, P and its declared R.
    pub setting: Setting,
    /// Training FLOPs that it takes.
    pub flops: f64,
}

/// What is asked of the runs, and of what may be trained.
#[derive(Clone, Debug)]
pub struct Course<'a> {
    /// What is to be known.
    pub goal: Goal,
    /// The budget whose best setting is meant, in training FLOPs.
    pub budget: f64,
    /// What settings cost.
    pub cost: &'a CostModel,
    /// All that may be trained, and that was.
    pub grid: &'a [Open],
    /// Runs that are trained at once.
    pub at_once: usize,
}

impl Goal {
    /// Says why a grid cannot tell it; `None` where it can.
    pub fn unfit(&self, grid: &[Open]) -> Option<String> {
        let name = self.quantity.name();
        let values = grid.iter().map(|open| open.setting.get(self.quantity));
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(low, f64::max);
        // Shapes come near what is declared, not upon it.
        if high < low * SAME {
            return Some(format!(
                "the grid has one {name} only, and its best value cannot be told"
            ));
        }
        let span = match self.quantity {
            Variable::ConceptShare => high - low,
            Variable::CompressionRatio => high / low - 1.0,
            Variable::Params | Variable::Tokens => f64::INFINITY,
        };
        (self.width >= span).then(|| {
            format!(
                "all of the grid lies within {self}: ask for less than {}",
                number(span)
            )
        })
    }
}

/// A run that is chosen, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// Its place in the grid.
    pub index: usize,
    /// Why it.
    pub reason: String,
}

/// What the runs so far tell of the goal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// The best value.
    pub best: f64,
    /// Its 95% interval.
    pub interval: [f64; 2],
    /// The interval's width as the goal measures it.
    pub width: f64,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// The goal is reached.
    Reached(Known),
    /// Runs are to be trained.
    Train {
        /// Which, in the order of choice.
        runs: Vec<Chosen>,
        /// What is known before them; `None` where there is no law yet.
        known: Option<Known>,
    },
    /// All has been trained, or nothing that is left narrows the answer.
    Nothing {
        /// Which of the two.
        why: String,
        /// What is known.
        known: Option<Known>,
    },
}

impl Course<'_> {
    /// Fits the laws that choices are made by.
    pub fn laws(rows: &[Row], policy: &Policy) -> Laws {
        let policy = Policy {
            draws: Some(DRAWS),
            ..policy.clone()
        };
        Laws::of(rows, &policy)
    }

    /// Says what comes next by the laws of the rows so far; `taken` are the places in the grid that were trained.
    ///
    /// An interval must be narrow enough in two rounds one after the other, since it may be so by luck: `was_narrow` says
    /// whether it was in the one before.
    pub fn next(&self, laws: Laws, taken: &[usize], was_narrow: bool) -> Next {
        let open: Vec<usize> = (0..self.grid.len())
            .filter(|k| !taken.contains(k))
            .collect();
        let enough = taken.len() >= FIRST.min(self.grid.len());
        let estimate = laws.dlcm.ok().filter(|_| enough);
        let known = estimate.as_ref().and_then(|estimate| self.known(estimate));
        if open.is_empty() {
            return match known {
                Some(known) if known.width < self.goal.width => Next::Reached(known),
                known => Next::Nothing {
                    why: "all runs of the grid have been trained".to_owned(),
                    known,
                },
            };
        }
        let (Some(estimate), Some(known)) = (estimate, known) else {
            return Next::Train {
                runs: self.spread(taken, open),
                known: None,
            };
        };
        if known.width < self.goal.width && was_narrow {
            return Next::Reached(known);
        }
        let runs = self.best(&estimate, &open);
        // Where nothing varies there is nothing to narrow.
        if runs.is_empty() && known.width < self.goal.width {
            return Next::Reached(known);
        }
        let known = Some(known);
        if runs.is_empty() {
            return Next::Nothing {
                why: "no run that is left narrows the answer".to_owned(),
                known,
            };
        }
        Next::Train { runs, known }
    }

    /// What the goal is known to be: searched for in what the grid spans, not only in what was trained so far.
    fn known(&self, estimate: &Estimate) -> Option<Known> {
        let fitted = &estimate.fitted;
        let question = AllocateQuestion {
            cost: self.cost,
            limits: &[],
            budget: Budget::training(self.budget),
            bounds: self.bounds(fitted),
            constants: Vec::new(),
            frontier: Vec::new(),
            saving: None,
        };
        let choice = allocate(fitted, &question).ok()?.choice;
        let interval = *choice.intervals.get(self.goal.quantity.name())?;
        let best = choice.setting.get(self.goal.quantity);
        let scale = match self.goal.quantity {
            Variable::ConceptShare => 1.0,
            Variable::Params | Variable::Tokens | Variable::CompressionRatio => best,
        };
        Some(Known {
            best,
            interval,
            width: (interval[1] - interval[0]) / scale,
        })
    }

    /// The ranges of P and R in the grid.
    fn bounds(&self, fitted: &Fitted) -> Vec<(Variable, Range)> {
        let own = [Variable::ConceptShare, Variable::CompressionRatio];
        let read = own
            .into_iter()
            .filter(|variable| fitted.extent(*variable).is_some());
        let range = |variable: Variable| {
            let values = self.grid.iter().map(|open| open.setting.get(variable));
            let low = values.clone().fold(f64::INFINITY, f64::min);
            Range::between(low, values.fold(low, f64::max))
        };
        read.map(|variable| (variable, range(variable))).collect()
    }

    /// The open runs that narrow the goal most per FLOP, each after those before it.
    fn best(&self, estimate: &Estimate, open: &[usize]) -> Vec<Chosen> {
        let fitted = &estimate.fitted;
        let noise = fitted.noise.filter(|noise| *noise > 0.0);
        let (Ok(surface), Some(noise)) = (Surface::new(fitted.law.clone(), &[]), noise) else {
            return Vec::new();
        };
        let bounds = self.bounds(fitted).into_iter();
        let domain = bounds.fold(fitted.domain(), |domain, (variable, range)| {
            domain.with(variable, range)
        });
        let budget = Budget::training(self.budget);
        let Ok(found) = optimum(&surface, self.cost, &domain, &budget) else {
            return Vec::new();
        };
        let candidates = open.iter().map(|k| Candidate {
            setting: self.grid[*k].setting,
            flops: self.grid[*k].flops,
        });
        let candidates: Vec<Candidate> = candidates.collect();
        let chosen = choose(
            &surface,
            &fitted.draws,
            self.cost,
            &domain,
            &budget,
            &found,
            &candidates,
            noise,
            &[self.goal.quantity],
            self.at_once,
        );
        let chosen = chosen.into_iter().map(|chosen| Chosen {
            index: open[chosen.index],
            reason: format!(
                "it takes {}% off the variance of {} for {} FLOPs, the most per FLOP of {} runs that are left",
                number(100.0 * chosen.reduction),
                self.goal.quantity.name(),
                human(chosen.candidate.flops),
                open.len()
            ),
        });
        chosen.collect()
    }

    /// The open runs in the cheaper half of the grid that lie farthest from those that were taken, as many as a first law
    /// needs.
    fn spread(&self, taken: &[usize], mut open: Vec<usize>) -> Vec<Chosen> {
        let mut costs: Vec<f64> = self.grid.iter().map(|open| open.flops).collect();
        costs.sort_by(f64::total_cmp);
        let half = costs[costs.len() / 2];
        let places = self.places();
        let mut taken = taken.to_vec();
        let mut chosen = Vec::new();
        let wanted = FIRST.saturating_sub(taken.len()).max(1);
        while chosen.len() < wanted && !open.is_empty() {
            let apart = |k: usize| {
                let distance = |other: &usize| -> f64 {
                    let axes = places[k].iter().zip(places[*other]);
                    axes.map(|(a, b)| (a - b).powi(2)).sum()
                };
                taken.iter().map(distance).fold(f64::INFINITY, f64::min)
            };
            let is_cheap = |k: usize| self.grid[k].flops <= half;
            let better = |a: &usize, b: &usize| {
                let (a, b) = (open[*a], open[*b]);
                let by_half = is_cheap(a).cmp(&is_cheap(b));
                let by_distance = by_half.then(apart(a).total_cmp(&apart(b)));
                by_distance.then(self.grid[b].flops.total_cmp(&self.grid[a].flops))
            };
            let Some(best) = (0..open.len()).max_by(better) else {
                break;
            };
            let index = open.remove(best);
            chosen.push(Chosen {
                index,
                reason: format!(
                    "no law yet: it lies farthest from the {} runs before it",
                    taken.len()
                ),
            });
            taken.push(index);
        }
        chosen
    }

    /// Where each run of the grid lies, by rank among the levels of each quantity: none outweighs another.
    fn places(&self) -> Vec<[f64; 4]> {
        let levels = Variable::ALL.map(|variable| {
            let values = self.grid.iter().map(|open| open.setting.get(variable));
            let mut levels: Vec<f64> = values.collect();
            levels.sort_by(f64::total_cmp);
            // Shapes come near what is declared, not upon it.
            levels.dedup_by(|a, b| *a < *b * SAME);
            levels
        });
        let place = |open: &Open| -> [f64; 4] {
            let values = open.setting.values();
            std::array::from_fn(|axis| {
                let below = levels[axis]
                    .iter()
                    .filter(|level| **level * SAME < values[axis]);
                below.count() as f64 / (levels[axis].len().max(2) - 1) as f64
            })
        };
        self.grid.iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_as_they_are_written() {
        let goal: Goal = "interval(concept_share) < 0.1".parse().expect("a goal");
        assert_eq!(goal.to_string(), "interval(concept_share) < 0.1");
        let short: Goal = " interval( N )<0.5".parse().expect("a goal");
        assert_eq!((short.quantity, short.width), (Variable::Params, 0.5));
        for (text, why) in [
            ("concept_share < 0.1", "no goal"),
            ("interval(width) < 0.1", "no such quantity"),
            ("interval(P) < 0", "a width above 0"),
            ("interval(P) > 0.1", "a width above 0"),
        ] {
            let said = text.parse::<Goal>().expect_err("refused");
            assert!(said.contains(why), "{said}");
        }
    }
}
