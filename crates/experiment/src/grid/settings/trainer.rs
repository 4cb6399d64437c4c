//! The keys of `trainer`, and those that `grid` has beside its own where there is one.

/// What a key is: its name, what it means, a value as one would write it, and which values it takes as
/// JSON Schema says it.
pub(in crate::grid) struct TrainerKey {
    pub(in crate::grid) name: &'static str,
    pub(in crate::grid) doc: &'static str,
    pub(in crate::grid) example: &'static str,
    pub(in crate::grid) takes: Takes,
}

/// Which values a key takes.
#[derive(Clone, Copy)]
pub(in crate::grid) enum Takes {
    /// A list of texts.
    Texts,
    /// One text.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A mapping of texts, or of nothing.
    Map,
    /// A number or an expression.
    Expression,
    /// A number above 0.
    Number,
    /// A number.
    AnyNumber,
    /// A duration.
    Duration,
    /// A word or a mapping.
    Report,
}

const fn key(
    name: &'static str,
    takes: Takes,
    example: &'static str,
    doc: &'static str,
) -> TrainerKey {
    TrainerKey {
        name,
        doc,
        example,
        takes,
    }
}

/// The key of `grid` and `baselines` that holds axes with free names.
pub(in crate::grid) const FREE_AXES: (&str, &str, &str) = (
    "axes",
    "With `trainer`: axes of any name; each becomes an argument and a column.",
    "{depth: [10, 12, 14], model: [dense, moe]}",
);

/// The keys of `trainer`.
pub(in crate::grid) const KEYS: &[TrainerKey] = &[
    key(
        "command",
        Takes::Texts,
        "[python, train.py, \"{args}\"]",
        "The program and its arguments; no shell reads them. `{args}` stands for all axes, `{NAME}` for \
         one, and between braces may be an expression, as in `{if(depth >= 20, 16, 32)}`. There are \
         `{folder}`, `{checkpoints}`, `{device}`, `{devices}` and `{attempt}` too; `{{` is a brace.",
    ),
    key(
        "arguments",
        Takes::Words(&["--name=value", "--name value", "name=value", "json"]),
        "\"--name value\"",
        "How an axis becomes an argument; `json`: `{args}` is the path of a JSON file with all of them.",
    ),
    key(
        "booleans",
        Takes::Words(&["flag", "negated", "value"]),
        "negated",
        "How true and false do: `--name` or nothing (`flag`), `--name` or `--no-name` (`negated`), or as \
         a value. `null` leaves an argument out.",
    ),
    key(
        "rename",
        Takes::Map,
        "{flops: target-flops, seed: null}",
        "Names under which axes are passed; `null` passes none.",
    ),
    key(
        "environment",
        Takes::Map,
        "{OMP_NUM_THREADS: 1}",
        "Variables of its environment.",
    ),
    key(
        "directory",
        Takes::Text,
        "../nanochat",
        "The folder it is started in, from the experiment's file; that of the file by default.",
    ),
    key(
        "code",
        Takes::Texts,
        "[scripts/, nanochat/]",
        "Files, folders and globs of the trainer's code, from `directory`: what they hold is part of a \
         run's identity, so that a changed trainer trains again.",
    ),
    key(
        "resume",
        Takes::Texts,
        "[--resume-from-step, \"{step}\"]",
        "Arguments that are added from the second attempt on; with `{step}` where a checkpoint was \
         reported.",
    ),
    key(
        "micro_batch",
        Takes::Texts,
        "[--device-batch-size, \"{micro_batch}\"]",
        "Arguments that say how many sequences are computed at once: at first \
         `execution.micro_batch`, and half as many each time memory runs out.",
    ),
    key(
        "report",
        Takes::Report,
        "{regex: {step: \"^step ([0-9]+)\", validation_loss: \"val loss ([0-9.]+)\"}}",
        "Where its reports are read from: `file` (the one named in `ORCHESTRATOR_REPORT`), `stdout` or \
         `{stdout: MARKER}`, `{regex: {QUANTITY: EXPRESSION}}`, `trainer_state.json` or \
         `{trainer_state: FOLDER}`, `{tensorboard: {folder: FOLDER, tags: {QUANTITY: TAG}}}`.",
    ),
    key(
        "loss_unit",
        Takes::Words(&["nats", "bits", "bits_per_byte"]),
        "bits_per_byte",
        "What it counts losses in; they are stored in nats.",
    ),
    key(
        "training_loss_unit",
        Takes::Words(&["nats", "bits", "bits_per_byte"]),
        "nats",
        "What it counts the losses of its training batches in (`loss`), where that is another unit.",
    ),
    key(
        "bytes_per_token",
        Takes::Number,
        "4.2",
        "UTF-8 bytes a token stands for: makes losses in bits per byte nats per token.",
    ),
    key(
        "stop_limit",
        Takes::Duration,
        "2min",
        "Time that it may take to save and end after SIGTERM, before it is killed.",
    ),
    key(
        "params",
        Takes::Expression,
        "12 * depth * (64 * depth)^2",
        "N as an expression over the axes, where it is no axis; what the trainer reports wins.",
    ),
    key(
        "tokens",
        Takes::Expression,
        "flops / (6 * params)",
        "D, as `params`.",
    ),
    key(
        "flops",
        Takes::Expression,
        "6 * params * tokens",
        "C: training FLOPs, as `params`.",
    ),
    key(
        "compression_ratio",
        Takes::Expression,
        "4",
        "R, as `params`.",
    ),
    key(
        "concept_share",
        Takes::Expression,
        "if(model == 'dlcm', 0.5, 0)",
        "P, as `params`; 0 without concepts.",
    ),
];
