//! The keys of `analysis` and `execution`, which hold for the whole experiment.

use super::{count, key, optional, word};
use crate::flops::Convention;
use crate::grid::key::{Form, Key, Range, Role, Shown};

pub(super) static KEYS: &[Key] = &[
    key(
        "analysis.budget",
        Role::Experiment,
        "Training FLOPs for which the best N, D, P and R are asked.",
        &[Form::Number(Range::open(0.0, 1e30), |d, x| {
            d.analysis.budget = Some(x)
        })],
        |d| d.analysis.budget.into(),
    ),
    key(
        "analysis.flops_convention",
        Role::Experiment,
        "How FLOPs are counted: all components; 6·N per token; or 6 for each active parameter.",
        &[
            Form::Word("exact", |d| d.analysis.flops_convention = Convention::Exact),
            Form::Word("6N", |d| d.analysis.flops_convention = Convention::SixN),
            Form::Word("6N_active", |d| {
                d.analysis.flops_convention = Convention::SixNActive
            }),
        ],
        |d| match d.analysis.flops_convention {
            Convention::Exact => word("exact"),
            Convention::SixN => word("6N"),
            Convention::SixNActive => word("6N_active"),
        },
    ),
    key(
        "analysis.huber_delta",
        Role::Experiment,
        "δ of the Huber loss on log residuals.",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.analysis.huber_delta = x
        })],
        |d| Shown::Number(d.analysis.huber_delta),
    ),
    key(
        "analysis.bootstrap",
        Role::Experiment,
        "Resamples of runs behind every interval.",
        &[Form::Count(0, 1 << 24, |d, n| {
            d.analysis.bootstrap = n as usize
        })],
        |d| count(d.analysis.bootstrap),
    ),
    key(
        "analysis.seed",
        Role::Experiment,
        "Seed of the resampling and of the fit's starts.",
        &[Form::Count(0, u64::MAX, |d, n| d.analysis.seed = n)],
        |d| Shown::Number(d.analysis.seed as f64),
    ),
    key(
        "execution.micro_batch",
        Role::Experiment,
        "Sequences in one forward pass, a divisor of `training.batch`; without it the whole batch.",
        &[Form::Count(1, 1 << 20, |d, n| {
            d.execution.micro_batch = Some(n as usize)
        })],
        |d| optional(d.execution.micro_batch),
    ),
    key(
        "execution.checkpoint_every",
        Role::Experiment,
        "Seconds between two checkpoints of a run; without it 60.",
        &[Form::Number(Range::FROM_ZERO, |d, x| {
            d.execution.checkpoint_every = Some(x)
        })],
        |d| d.execution.checkpoint_every.into(),
    ),
    key(
        "execution.threads",
        Role::Experiment,
        "Threads of a run; without it the machine's, shared by the runs at once.",
        &[Form::Count(1, 1 << 12, |d, n| {
            d.execution.threads = Some(n as usize)
        })],
        |d| optional(d.execution.threads),
    ),
    key(
        "execution.parallel",
        Role::Experiment,
        "Runs at once; without it as many as the machine's devices allow.",
        &[Form::Count(1, 1 << 16, |d, n| {
            d.execution.parallel = Some(n as usize)
        })],
        |d| optional(d.execution.parallel),
    ),
];
