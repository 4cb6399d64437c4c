//! The keys of `tune`, `analysis` and `execution`, which hold for the whole experiment.

use super::{count, key, optional, word};
use crate::flops::Convention;
use crate::grid::Order;
use crate::grid::key::{Form, Key, Range, Role, Shown};

pub(super) static KEYS: &[Key] = &[
    key(
        "tune.learning_rate",
        Role::Experiment,
        "Base learning rates that are tried.",
        "per step",
        "[5e-4, 1e-3, 2e-3, 4e-3]",
        &[Form::Numbers(2, Range::ABOVE_ZERO, |d, rates| {
            d.tune.learning_rate = rates.to_vec()
        })],
        |_| Shown::Nothing,
    ),
    key(
        "tune.check",
        Role::Experiment,
        "Whether they are tried at the next larger width too, to see whether the best one stays the best.",
        "",
        "false",
        &[Form::Flag(|d, on| d.tune.check = on)],
        |d| Shown::Flag(d.tune.check),
    ),
    key(
        "evaluation.tasks",
        Role::Experiment,
        "The folder of the tasks, relative to the experiment's file: its `tasks.yaml` (or CORE's `core.yaml`) \
         names them.",
        "",
        "tasks",
        &[Form::Path("", |d, path| {
            d.evaluation.tasks = Some(path.into())
        })],
        |_| Shown::Nothing,
    ),
    key(
        "analysis.budget",
        Role::Experiment,
        "Training FLOPs for which the best N, D, P and R are asked.",
        "FLOPs",
        "1e15",
        &[Form::Number(Range::open(0.0, 1e30), |d, x| {
            d.analysis.budget = Some(x)
        })],
        |d| d.analysis.budget.into(),
    ),
    key(
        "analysis.flops_convention",
        Role::Experiment,
        "How FLOPs are counted: all components; 6·N per token; or 6 for each active parameter.",
        "",
        "6N",
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
        "",
        "1e-2",
        &[Form::Number(Range::ABOVE_ZERO, |d, x| {
            d.analysis.huber_delta = x
        })],
        |d| Shown::Number(d.analysis.huber_delta),
    ),
    key(
        "analysis.bootstrap",
        Role::Experiment,
        "Resamples of runs behind every interval.",
        "resamples",
        "400",
        &[Form::Draws(|d, draws| d.analysis.bootstrap = draws)],
        |d| count(d.analysis.bootstrap.get()),
    ),
    key(
        "analysis.seed",
        Role::Experiment,
        "Seed of the resampling and of the fit's starts.",
        "",
        "1",
        &[Form::Count(0, u64::MAX, |d, n| d.analysis.seed = n)],
        |d| Shown::Number(d.analysis.seed as f64),
    ),
    key(
        "analysis.law",
        Role::Experiment,
        "The law that `predict`, `allocate` and `suggest` ask where `--law` names none: a law's name, or a formula.",
        "",
        "E + A/N^a + B/D^b",
        &[Form::Name(|d, law| d.analysis.law = Some(law.to_owned()))],
        |d| match &d.analysis.law {
            Some(law) => word(law),
            None => Shown::Nothing,
        },
    ),
    key(
        "analysis.until",
        Role::Experiment,
        "What is to be known how well: until then `run` trains, of the grid, the runs that narrow it most per FLOP.",
        "",
        "interval(concept_share) < 0.1",
        &[Form::Name(|d, goal| {
            d.analysis.until = Some(goal.to_owned())
        })],
        |d| match &d.analysis.until {
            Some(goal) => word(goal),
            None => Shown::Nothing,
        },
    ),
    key(
        "execution.on",
        Role::Experiment,
        "The cluster where: a profile of `clusters.yaml`, as with `--on`; `local` is this machine.",
        "",
        "jean",
        &[Form::Name(|d, name| d.execution.on = Some(name.to_owned()))],
        |_| Shown::Nothing,
    ),
    key(
        "execution.micro_batch",
        Role::Experiment,
        "Sequences in one forward pass, a divisor of `training.batch`; without it the whole batch.",
        "sequences",
        "4",
        &[Form::Count(1, 1 << 20, |d, n| {
            d.execution.micro_batch = Some(n as usize)
        })],
        |d| optional(d.execution.micro_batch),
    ),
    key(
        "execution.checkpoint_every",
        Role::Experiment,
        "Time between two checkpoints of a run, in seconds where no unit is given.",
        "seconds",
        "5min",
        &[Form::Duration(|d, x| d.execution.checkpoint_every = x)],
        |d| Shown::Number(d.execution.checkpoint_every.get()),
    ),
    key(
        "execution.threads",
        Role::Experiment,
        "Threads of a run; without it the machine's, shared by the runs at once.",
        "threads",
        "2",
        &[Form::Count(1, 1 << 12, |d, n| {
            d.execution.threads = Some(n as usize)
        })],
        |d| optional(d.execution.threads),
    ),
    key(
        "execution.parallel",
        Role::Experiment,
        "Runs at once; without it as many as the machine's devices allow.",
        "runs",
        "4",
        &[Form::Count(1, 1 << 16, |d, n| {
            d.execution.parallel = Some(n as usize)
        })],
        |d| optional(d.execution.parallel),
    ),
    key(
        "execution.per_device",
        Role::Experiment,
        "Runs at once on one device; without it on a GPU as many as its free memory and the machine's \
         cores allow, at most eight, and on the CPU as many as its threads allow.",
        "runs",
        "2",
        &[Form::Count(1, 1 << 12, |d, n| {
            d.execution.per_device = Some(n as usize)
        })],
        |d| optional(d.execution.per_device),
    ),
    key(
        "execution.devices_per_run",
        Role::Experiment,
        "Devices that a run of another trainer takes at once (`trainer`); this program's own take one.",
        "devices",
        "8",
        &[Form::Count(1, 1 << 12, |d, n| {
            d.execution.devices_per_run = n as usize
        })],
        |d| count(d.execution.devices_per_run),
    ),
    key(
        "execution.order",
        Role::Experiment,
        "Which run starts next: that with most to do, so that none is left alone at the end; that \
         with least, for early results; or that which the file asks for first.",
        "",
        "shortest",
        &[
            Form::Word("longest", |d| d.execution.order = Order::Longest),
            Form::Word("shortest", |d| d.execution.order = Order::Shortest),
            Form::Word("file", |d| d.execution.order = Order::File),
        ],
        |d| match d.execution.order {
            Order::Longest => word("longest"),
            Order::Shortest => word("shortest"),
            Order::File => word("file"),
        },
    ),
    key(
        "execution.retries",
        Role::Experiment,
        "How often a run that crashed or stalled is tried again, from its checkpoint.",
        "retries",
        "5",
        &[Form::Count(0, 1 << 16, |d, n| {
            d.execution.retries = n as usize
        })],
        |d| count(d.execution.retries),
    ),
    key(
        "execution.back_off",
        Role::Experiment,
        "Time before the first retry, in seconds where no unit is given; each later one waits twice \
         as long.",
        "seconds",
        "30s",
        &[Form::Duration(|d, x| d.execution.back_off = x)],
        |d| Shown::Number(d.execution.back_off.get()),
    ),
    key(
        "execution.time_limit",
        Role::Experiment,
        "Time after which a run that still trains is ended as timed out, in seconds where no unit \
         is given; it keeps its checkpoint.",
        "seconds",
        "2h",
        &[Form::Duration(|d, x| d.execution.time_limit = Some(x))],
        |d| d.execution.time_limit.into(),
    ),
    key(
        "execution.stall_limit",
        Role::Experiment,
        "Time without a step or a validation after which a run is killed and tried again, in \
         seconds where no unit is given.",
        "seconds",
        "1h",
        &[Form::Duration(|d, x| d.execution.stall_limit = x)],
        |d| Shown::Number(d.execution.stall_limit.get()),
    ),
    key(
        "execution.max_flops",
        Role::Experiment,
        "Training FLOPs of all runs of the experiment together: no run starts that would pass it.",
        "FLOPs",
        "1e17",
        &[Form::Number(Range::open(0.0, 1e30), |d, x| {
            d.execution.max_flops = Some(x)
        })],
        |d| d.execution.max_flops.into(),
    ),
    key(
        "execution.max_time",
        Role::Experiment,
        "Time after which a command starts no more runs, in seconds where no unit is given; those \
         that train go on to their end.",
        "seconds",
        "8h",
        &[Form::Duration(|d, x| d.execution.max_time = Some(x))],
        |d| d.execution.max_time.into(),
    ),
    key(
        "execution.keep_weights",
        Role::Experiment,
        "Whether a run's weights are kept when it has finished.",
        "",
        "false",
        &[Form::Flag(|d, on| d.execution.keep_weights = on)],
        |d| Shown::Flag(d.execution.keep_weights),
    ),
];
