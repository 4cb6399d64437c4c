//! How long what is left of a grid takes, from how fast its runs have gone.
//!
//! Numbers in, a number out: the order of runs and the places they take are simulated.

use std::collections::BTreeSet;

/// How fast a run has gone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Training FLOPs that a token of it takes.
    pub flops_per_token: f64,
    /// Training FLOPs it has done.
    pub flops: f64,
    /// Seconds they took, with all that goes with them: its start, evaluations, checkpoints.
    pub seconds: f64,
}

/// A run that is not done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    /// Training FLOPs that a token of it takes.
    pub flops_per_token: f64,
    /// Training FLOPs it has still to do.
    pub flops: f64,
    /// Its own pace, where it trains and has shown one.
    pub pace: Option<Pace>,
    /// Whether it has a place.
    pub is_running: bool,
    /// The one of the open runs that it goes on from.
    pub after: Option<usize>,
}

/// A run's place in a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Seconds it takes from now on, or from its start.
    pub seconds: f64,
    /// Whether it has a place.
    pub is_running: bool,
    /// The one of the tasks that it goes on from.
    pub after: Option<usize>,
}

/// Estimates the seconds until all `open` runs have ended, at most `slots` at once, those that wait
/// in the order given; `None` when no pace is known.
pub fn seconds_left(open: &[Open], paces: &[Pace], slots: usize) -> Option<f64> {
    if open.is_empty() {
        return Some(0.0);
    }
    let speed = Speed::of(paces)?;
    let task = |run: &Open| {
        let own = run.pace.map(|pace| pace.flops / pace.seconds);
        Task {
            seconds: run.flops / own.unwrap_or_else(|| speed.at(run.flops_per_token)),
            is_running: run.is_running,
            after: run.after,
        }
    };
    Some(makespan(&open.iter().map(task).collect::<Vec<_>>(), slots))
}

/// Computes the seconds until all tasks have ended, at most `slots` at once, those that wait in the
/// order given.
pub fn makespan(tasks: &[Task], slots: usize) -> f64 {
    let mut ends: Vec<Option<f64>> = tasks
        .iter()
        .map(|task| task.is_running.then_some(task.seconds))
        .collect();
    // When each place is free: those of running runs, and what is left of the others at once.
    let mut free: Vec<f64> = ends.iter().flatten().copied().collect();
    free.resize(free.len().max(slots.max(1)), 0.0);
    let mut waiting: BTreeSet<usize> = (0..tasks.len()).filter(|&k| ends[k].is_none()).collect();
    while !waiting.is_empty() {
        let place = (0..free.len()).min_by(|&a, &b| free[a].total_cmp(&free[b]));
        let place = place.unwrap_or_else(|| unreachable!("there is a place at least"));
        let now = free[place];
        let has_ended = |task: usize| ends[task].is_some_and(|end| end <= now);
        let mut in_order = waiting.iter().copied();
        match in_order.find(|&task| tasks[task].after.is_none_or(has_ended)) {
            Some(task) => {
                waiting.remove(&task);
                let end = now + tasks[task].seconds;
                ends[task] = Some(end);
                free[place] = end;
            }
            // All wait for tasks that have not ended: until the next one does.
            None => {
                let next = ends.iter().flatten().filter(|end| **end > now).copied();
                match next.reduce(f64::min) {
                    Some(end) => free[place] = end,
                    // What they wait for never comes.
                    None => break,
                }
            }
        }
    }
    ends.into_iter().flatten().fold(0.0, f64::max)
}

/// FLOP/s as a power of the FLOPs that a token takes: larger models use a machine better.
struct Speed {
    /// Of the logarithms, weighted by FLOPs.
    mean_size: f64,
    mean_rate: f64,
    slope: f64,
}

/// The slope before anything is known: between no gain and the same time for any token.
const USUAL: f64 = 0.3;

/// The spread of ln FLOPs per token below which paces say little about the slope.
const SPREAD: f64 = 0.2;

impl Speed {
    fn of(paces: &[Pace]) -> Option<Self> {
        let usable = |pace: &&Pace| pace.flops > 0.0 && pace.seconds > 0.0;
        let points: Vec<[f64; 3]> = paces
            .iter()
            .filter(usable)
            .map(|pace| {
                let rate = pace.flops / pace.seconds;
                [pace.flops_per_token.ln(), rate.ln(), pace.flops]
            })
            .collect();
        let whole: f64 = points.iter().map(|[.., weight]| weight).sum();
        if points.is_empty() {
            return None;
        }
        let mean = |k: usize| points.iter().map(|p| p[2] * p[k]).sum::<f64>() / whole;
        let (mean_size, mean_rate) = (mean(0), mean(1));
        let sum = |value: &dyn Fn(&[f64; 3]) -> f64| -> f64 {
            points.iter().map(|p| p[2] / whole * value(p)).sum()
        };
        let variance = sum(&|p| (p[0] - mean_size).powi(2));
        let covariance = sum(&|p| (p[0] - mean_size) * (p[1] - mean_rate));
        Some(Self {
            mean_size,
            mean_rate,
            // Within what machines do: from no gain to the same time for a token of any size.
            slope: ((covariance + USUAL * SPREAD * SPREAD) / (variance + SPREAD * SPREAD))
                .clamp(0.0, 1.0),
        })
    }

    fn at(&self, flops_per_token: f64) -> f64 {
        (self.mean_rate + self.slope * (flops_per_token.ln() - self.mean_size)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn open(flops: f64, after: Option<usize>) -> Open {
        Open {
            flops_per_token: 1e6,
            flops,
            pace: None,
            is_running: false,
            after,
        }
    }

    const PACE: Pace = Pace {
        flops_per_token: 1e6,
        flops: 1e9,
        seconds: 1.0,
    };

    #[test]
    fn places_and_what_runs_wait_for_are_counted() {
        assert_eq!(seconds_left(&[], &[], 2), Some(0.0));
        assert_eq!(seconds_left(&[open(1e9, None)], &[], 2), None);
        let left = |open: &[Open], slots| seconds_left(open, &[PACE], slots).expect("a pace");
        let three = [open(2e9, None), open(1e9, None), open(1e9, None)];
        assert!((left(&three, 1) - 4.0).abs() < 1e-9);
        assert!((left(&three, 2) - 2.0).abs() < 1e-9);
        let row = [open(2e9, None), open(1e9, Some(0)), open(1e9, Some(1))];
        assert!((left(&row, 3) - 4.0).abs() < 1e-9, "one after the other");
        // A run that trains goes by its own pace, and more of them than places are believed.
        let slow = Open {
            pace: Some(Pace {
                seconds: 2.0,
                ..PACE
            }),
            is_running: true,
            ..open(1e9, None)
        };
        assert!((left(&[slow, slow, open(1e9, None)], 1) - 3.0).abs() < 1e-9);
    }

    /// A campaign as it goes: runs in order with their FLOPs per token, FLOPs and true seconds.
    struct Campaign {
        runs: Vec<[f64; 3]>,
        slots: usize,
    }

    impl Campaign {
        /// Several sizes, D and seeds on a machine on which larger models go faster, within 5%.
        fn random(random: &mut ChaCha8Rng) -> Self {
            let gain = random.random_range(0.15..0.45);
            let [sizes, lengths] = [random.random_range(3..7), random.random_range(1..4)];
            let seeds = random.random_range(2..5);
            let mut runs = Vec::new();
            for size in 0..sizes {
                for length in 0..lengths {
                    for _ in 0..seeds {
                        let per_token = 6e5 * 2f64.powi(size) * random.random_range(0.7..1.3);
                        let flops = per_token * 1e6 * 2f64.powi(length);
                        let rate = 1e9 * (per_token / 6e5_f64).powf(gain);
                        let noise: f64 = (0..12).map(|_| random.random::<f64>() - 0.5).sum();
                        runs.push([per_token, flops, flops / rate * (0.05 * noise).exp()]);
                    }
                }
            }
            match random.random_range(0..3) {
                0 => runs.sort_by(|a, b| b[1].total_cmp(&a[1])),
                1 => runs.sort_by(|a, b| a[1].total_cmp(&b[1])),
                _ => {}
            }
            let slots = random.random_range(1..9);
            Self { runs, slots }
        }

        /// When each run begins and ends.
        fn spans(&self) -> Vec<(f64, f64)> {
            let mut free = vec![0.0_f64; self.slots];
            let spans = self.runs.iter().map(|[.., seconds]| {
                let first = free
                    .iter_mut()
                    .min_by(|a, b| a.total_cmp(b))
                    .expect("a place");
                let start = *first;
                *first += seconds;
                (start, *first)
            });
            spans.collect()
        }

        /// How far off the estimate is when a third of the FLOPs are done.
        fn error(&self) -> f64 {
            let spans = self.spans();
            let end = spans.iter().map(|span| span.1).fold(0.0, f64::max);
            let share = |(start, end): (f64, f64), now: f64| {
                ((now - start) / (end - start)).clamp(0.0, 1.0)
            };
            let done = |now: f64| -> f64 {
                let runs = self.runs.iter().zip(&spans);
                runs.map(|(run, span)| run[1] * share(*span, now)).sum()
            };
            let whole = done(end);
            let (mut low, mut high) = (0.0, end);
            for _ in 0..50 {
                let middle = 0.5 * (low + high);
                if done(middle) < whole / 3.0 {
                    low = middle
                } else {
                    high = middle
                }
            }
            let now = low;
            let (mut paces, mut left) = (Vec::new(), Vec::new());
            for (&[flops_per_token, flops, _], &span) in self.runs.iter().zip(&spans) {
                let done = share(span, now);
                let pace = (done > 0.0).then(|| Pace {
                    flops_per_token,
                    flops: flops * done,
                    seconds: now.min(span.1) - span.0,
                });
                paces.extend(pace);
                if done < 1.0 {
                    left.push(Open {
                        flops_per_token,
                        flops: flops * (1.0 - done),
                        pace,
                        is_running: done > 0.0,
                        after: None,
                    });
                }
            }
            let estimate = seconds_left(&left, &paces, self.slots).expect("paces");
            estimate / (end - now) - 1.0
        }
    }

    #[test]
    fn after_a_third_of_the_work_the_estimate_is_within_a_fifth() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let mut errors: Vec<f64> = (0..1000)
            .map(|_| Campaign::random(&mut random).error().abs())
            .collect();
        errors.sort_by(f64::total_cmp);
        let (middle, far, worst) = (errors[500], errors[989], errors[999]);
        assert!(
            middle < 0.05 && far < 0.2 && worst < 0.4,
            "{middle} {far} {worst}"
        );
    }
}
