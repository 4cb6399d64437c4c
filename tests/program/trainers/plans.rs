//! What is planned of another trainer, and what is said of files that cannot be.

use super::{ONE, desk, experiment, run, status};
use crate::support::Desk;

#[test]
fn quantities_are_computed_and_commands_are_shown() {
    let grid = "grid:\n  axes: {depth: [4, 8], bias: [true, false], data: ['a b']}\n  \
                flops: [1e15]\n  where: \"bias == 'true' or depth > 4\"\n";
    let trainer = "  rename: {flops: target-flops}\n  params: 12 * depth * (64 * depth)^2\n  \
                   tokens: flops / (6 * params)\n";
    let desk = desk("", trainer, grid);
    let plan = desk.json(&["plan", "theirs.yaml", "--json"]);
    let runs = plan["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 3);
    let params = 12.0 * 4.0 * 256.0 * 256.0;
    assert_eq!(runs[0]["declared"]["params"], params);
    assert_eq!(runs[0]["declared"]["tokens"], 1e15 / (6.0 * params));
    let commands = desk.done(&["plan", "theirs.yaml", "--commands"]);
    let commands: Vec<&str> = commands.lines().collect();
    assert_eq!(
        commands,
        [
            "sh train.sh --depth=4 --bias '--data=a b' --target-flops=1e15",
            "sh train.sh --depth=8 --bias '--data=a b' --target-flops=1e15",
            "sh train.sh --depth=8 '--data=a b' --target-flops=1e15",
        ]
    );
}

#[test]
fn mistakes_are_refused_where_they_stand() {
    for (trainer, rest, why) in [
        ("  comand: [x]", ONE, "unknown key `comand`"),
        (
            "  params: 12 * dept",
            "grid: {axes: {depth: [4]}}",
            "did you mean `depth`?",
        ),
        (
            "  params: depth - 4",
            "grid: {axes: {depth: [4]}}",
            "`params` comes to 0",
        ),
        ("  params: 1e6", ONE, "is an axis, and an expression too"),
        (
            "  rename: {dept: x}",
            "grid: {axes: {depth: [4]}}",
            "there is no axis `dept`",
        ),
        (
            "  report: {regex: {loss: \"loss [0-9]\"}}",
            ONE,
            "has no group",
        ),
        ("  report: mail", ONE, "not a word it knows"),
        (
            "  arguments: dashes",
            ONE,
            "`trainer.arguments` cannot be `dashes`",
        ),
        ("  resume: [\"{stp}\"]", ONE, "did you mean `step`?"),
        (
            "",
            "grid: {axes: {tokens: [1M]}}",
            "it stands beside `axes`",
        ),
        (
            "",
            "grid: {depth: [4]}",
            "axes of any name stand under `axes`",
        ),
        (
            "",
            "grid: {axes: {depth: [4]}}\nmodel: {seq_len: 64}",
            "has no meaning with `trainer`",
        ),
        ("", "grid: {axes: {}}", "`grid` has no axis"),
        (
            "",
            "grid: {params: [1M], tokens: -5}",
            "must be a number above 0",
        ),
        ("  code: [nothing/]", ONE, "nothing is there"),
    ] {
        let desk = Desk::new().with("theirs.yaml", experiment(trainer, rest));
        let said = desk.refused(&["plan", "theirs.yaml"]);
        assert!(said.contains(why), "{trainer} {rest}: {said}");
    }
    let text = "trainer: {command: python train.py}\ngrid: {params: 1M}";
    let said = Desk::new()
        .with("a.yaml", text)
        .refused(&["plan", "a.yaml"]);
    assert!(said.contains("`[python, train.py]`"), "{said}");
}

#[test]
fn changed_code_trains_again_and_says_so() {
    let script = |loss: f64| {
        format!(
            r#"echo '{{"step": 2, "validation_loss": {loss}, "final": true}}' >> "$ORCHESTRATOR_REPORT""#
        )
    };
    let desk = desk(&script(3.0), "  code: [train.sh]", ONE);
    run(&desk);
    let first = status(&desk);
    let desk = desk.with("train.sh", script(2.5));
    let said = run(&desk);
    assert!(
        said.contains("code (`trainer.code`) has changed since 1 run finished"),
        "{said}"
    );
    let second = status(&desk);
    assert_eq!(second.len(), 1);
    assert_ne!(second[0]["id"], first[0]["id"]);
    assert_eq!(second[0]["loss"], 2.5);
    // As it was, it is what it was.
    let desk = desk.with("train.sh", script(3.0));
    let said = run(&desk);
    assert!(said.contains("1 finished before"), "{said}");
}

#[test]
fn what_is_reported_wins_and_a_difference_is_said() {
    let script = r#"echo '{"step": 2, "params": 1200000, "total_tokens": 20000000,
 "validation_loss": 3.0, "final": true}' | tr -d '\n' >> "$ORCHESTRATOR_REPORT"; echo >> "$ORCHESTRATOR_REPORT""#;
    let desk = desk(script, "", ONE);
    run(&desk);
    assert_eq!(status(&desk)[0]["params"], 1_200_000);
    let plan = desk.json(&["plan", "theirs.yaml", "--json"]);
    let warnings = plan["warnings"].to_string();
    assert!(
        warnings.contains("`params` is another than the file says in 1 run"),
        "{warnings}"
    );
}
