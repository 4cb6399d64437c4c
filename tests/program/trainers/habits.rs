//! What trainers do that others do not expect, each with its outcome and message.

use super::{ONE, desk, folder, outcome, run, status};
use std::time::{Duration, Instant};

/// Reports a held-out loss at its end, as it should.
const GOOD: &str = r#"
echo '{"step": 1, "tokens": 10000000, "loss": 4.5}' >> "$ORCHESTRATOR_REPORT"
echo '{"step": 2, "tokens": 20000000, "validation_loss": 3.25, "final": true}' >> "$ORCHESTRATOR_REPORT"
"#;

#[test]
fn a_good_one_finishes_and_trains_once() {
    let desk = desk(GOOD, "", ONE);
    run(&desk);
    let runs = status(&desk);
    assert_eq!(runs[0]["outcome"], "finished");
    assert_eq!(runs[0]["loss"], 3.25);
    assert_eq!(runs[0]["tokens"], 20_000_000);
    let said = run(&desk);
    assert!(said.contains("0 finished, 1 finished before"), "{said}");
    let shown = desk.done(&["show", runs[0]["id"].as_str().expect("an id")]);
    assert!(
        shown.contains("attempt 1") && !shown.contains("attempt 2"),
        "{shown}"
    );
}

#[test]
fn none_that_ends_without_a_result_is_taken_for_finished() {
    for (script, trainer, why) in [
        ("echo hello", "", "it has reported nothing"),
        (
            r#"echo '{"step": 5, "loss": 4.5}' >> "$ORCHESTRATOR_REPORT""#,
            "",
            "no held-out loss (up to step 5)",
        ),
        (
            r#"echo '{"step": 5, "validation_loss": 4.5}' >> "$ORCHESTRATOR_REPORT""#,
            "",
            "without a last report with \"final\": true",
        ),
        (
            "echo 'step 10 val loss 4.5'; echo 'step 90 loss 3.5'",
            "  report: {regex: {step: \"step ([0-9]+)\", validation_loss: \"val loss ([0-9.]+)\"}}",
            "its last held-out loss is of step 10, and it trained to step 90",
        ),
        (
            "echo 'step 10 tokens 5000000 val loss 4.5'",
            "  report: {regex: {step: \"step ([0-9]+)\", tokens: \"tokens ([0-9]+)\", \
             validation_loss: \"val loss ([0-9.]+)\"}}",
            "after 5.000e6 of 2.000e7 tokens",
        ),
    ] {
        let (outcome, message) = outcome(script, trainer, ONE);
        assert_eq!(outcome, "finished_without_result", "{script}: {message}");
        assert!(message.contains(why), "{script}: {message}");
    }
}

#[test]
fn a_loss_in_another_unit_is_no_result() {
    let says = |loss: &str| {
        format!(
            r#"echo '{{"step": 5, "validation_loss": {loss}, "final": true}}' >> "$ORCHESTRATOR_REPORT""#
        )
    };
    for (loss, trainer, why) in [
        ("412.5", "", "a perplexity"),
        ("-3.2", "", "a log-likelihood"),
        ("9.5", "  loss_unit: bits_per_byte", "a byte has 8 bits"),
        (
            "4.6166, \"bits_per_byte\": 1.0",
            "  bytes_per_token: 4.6166",
            "differ by ln 2",
        ),
    ] {
        let (outcome, message) = outcome(&says(loss), trainer, ONE);
        assert_eq!(outcome, "finished_without_result", "{loss}: {message}");
        assert!(message.contains(why), "{loss}: {message}");
    }
    let desk = desk(
        &says("1.0"),
        "  loss_unit: bits_per_byte\n  bytes_per_token: 4",
        ONE,
    );
    run(&desk);
    let loss = status(&desk)[0]["loss"].as_f64().expect("a loss");
    assert!(
        (loss - 4.0 * std::f64::consts::LN_2).abs() < 1e-12,
        "{loss}"
    );
}

#[test]
fn a_loss_that_is_no_number_is_divergence_and_ends_it() {
    for value in ["NaN", "\"NaN\"", "Infinity"] {
        let script =
            format!(r#"echo '{{"step": 7, "loss": {value}}}' >> "$ORCHESTRATOR_REPORT"; sleep 60"#);
        let start = Instant::now();
        let (outcome, _) = outcome(&script, "", ONE);
        assert_eq!(outcome, "diverged", "{value}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    let unknown = r#"
echo '{"step": 7, "loss": null, "lr": NaN}' >> "$ORCHESTRATOR_REPORT"
echo '{"step": 8, "validation_loss": 3.0, "final": true}' >> "$ORCHESTRATOR_REPORT""#;
    assert_eq!(outcome(unknown, "", ONE).0, "finished", "null is not known");
}

#[test]
fn one_that_hangs_is_killed_with_all_it_has_started() {
    let rest = format!("{ONE}\nexecution: {{stall_limit: 1s, retries: 0}}");
    let desk = desk("setsid sleep 61.5 & echo here; sleep 61.5", "", &rest);
    run(&desk);
    assert_eq!(status(&desk)[0]["outcome"], "stalled");
    assert_eq!(sleeping("61.5"), 0);
}

#[test]
fn children_that_survive_it_are_ended() {
    let script = format!("{GOOD}\n(setsid sleep 62.5 &) ; sleep 62.5 &");
    let desk = desk(&script, "", ONE);
    run(&desk);
    assert_eq!(status(&desk)[0]["outcome"], "finished");
    assert_eq!(sleeping("62.5"), 0);
    let log = std::fs::read_to_string(folder(&desk).join("log.1.txt")).expect("a log");
    assert!(log.contains("2 that it left behind killed"), "{log}");
}

/// Counts the processes that sleep so long.
fn sleeping(seconds: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("processes").flatten();
    let asleep = processes.filter(|process| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        command == format!("sleep\0{seconds}\0").as_bytes()
    });
    asleep.count()
}

#[test]
fn a_gigabyte_of_log_takes_little_room() {
    // A quarter of one, to be quick.
    let script = format!("yes 'a line of a log that nobody reads' | head -c 268435456; {GOOD}");
    let desk = desk(&script, "", ONE);
    run(&desk);
    assert_eq!(status(&desk)[0]["outcome"], "finished");
    let files = std::fs::read_dir(folder(&desk)).expect("files").flatten();
    let logs = files.filter(|file| file.file_name().to_string_lossy().starts_with("log"));
    let bytes: u64 = logs.map(|log| log.metadata().expect("a file").len()).sum();
    assert!(bytes < 64 << 20, "{bytes}");
}

#[test]
fn one_that_fails_says_why_and_one_without_memory_gets_a_smaller_micro_batch() {
    let rest = format!("{ONE}\nexecution: {{retries: 0}}");
    let (how, message) = outcome("echo boom >&2; exit 7", "", &rest);
    assert_eq!(how, "crashed");
    assert!(
        message.contains("status 7") && message.contains("boom"),
        "{message}"
    );
    let (how, message) = outcome("echo once more; exit 75", "", &rest);
    assert_eq!(how, "crashed");
    assert!(message.contains("asks to be tried again"), "{message}");

    let script = format!(
        r#"for last; do :; done
case "$last" in --rows=2) ;; *) echo "torch.OutOfMemoryError: CUDA out of memory." >&2; exit 1;; esac
{GOOD}"#
    );
    let trainer = "  micro_batch: [\"--rows={micro_batch}\"]";
    let rest = format!("{ONE}\nexecution: {{micro_batch: 8, retries: 0}}");
    let desk = desk(&script, trainer, &rest);
    run(&desk);
    assert_eq!(status(&desk)[0]["outcome"], "finished");
    let id = status(&desk)[0]["id"].as_str().expect("an id").to_owned();
    let shown = desk.done(&["show", &id]);
    assert!(shown.contains("attempt 3"), "8, 4, 2: {shown}");
}

#[test]
fn a_later_attempt_goes_on_from_what_was_reported() {
    let script = r#"
echo "$@" >> arguments.txt
if [ "$ORCHESTRATOR_ATTEMPT" = 1 ]; then
    echo '{"step": 1, "tokens": 5000000, "loss": 5.0}' >> "$ORCHESTRATOR_REPORT"
    echo '{"step": 2, "checkpoint": 2, "loss": 4.9, "extra": 7}' >> "$ORCHESTRATOR_REPORT"
    printf '{"step": 3, "lo' >> "$ORCHESTRATOR_REPORT"
    exit 1
fi
echo '{"step": 2, "loss": 4.8}' >> "$ORCHESTRATOR_REPORT"
echo '{"step": 4, "validation_loss": 3.5, "final": true}' >> "$ORCHESTRATOR_REPORT"
"#;
    let trainer = "  resume: [--resume, \"{step}\"]";
    let rest = format!("{ONE}\nexecution: {{back_off: 0.01s}}");
    let desk = desk(script, trainer, &rest);
    run(&desk);
    let runs = status(&desk);
    assert_eq!(runs[0]["outcome"], "finished", "{runs:?}");
    let told = std::fs::read_to_string(desk.path().join("arguments.txt")).expect("written");
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(
        told,
        [
            "--params=1000000 --tokens=20000000",
            "--params=1000000 --tokens=20000000 --resume 2"
        ]
    );
    desk.done(&[
        "export",
        "theirs.yaml",
        "--format",
        "json",
        "--output",
        "out",
    ]);
    let text = std::fs::read_to_string(desk.path().join("out/experiment.json"));
    let export: serde_json::Value = serde_json::from_str(&text.expect("an export")).expect("JSON");
    let rows = export["runs"][0]["measurements"].as_array().expect("rows");
    let losses: Vec<_> = rows
        .iter()
        .map(|row| (row["step"].clone(), row["loss"].clone()))
        .collect();
    assert_eq!(losses[1].1, 4.8, "the later attempt's: {losses:?}");
    assert_eq!(rows.len(), 3, "{losses:?}");
}

/// Starts what there is to train, and presses Ctrl-C when its trainer has begun.
fn interrupt(desk: &crate::support::Desk) {
    let mut running = desk.start(&["run", "theirs.yaml"]);
    let until = Instant::now() + Duration::from_secs(60);
    while !desk.path().join("started.txt").exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    let pid = nix::unistd::Pid::from_raw(running.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("asked");
    running.wait().expect("ended");
}

#[test]
fn one_that_is_stopped_may_save_first_and_one_that_will_not_is_killed() {
    for (script, trainer) in [
        // It takes a while to save.
        (
            r#"trap 'sleep 1; echo saved > saved.txt; exit 4' TERM
touch started.txt; while true; do sleep 0.1; done"#,
            "",
        ),
        (
            r#"trap '' TERM; touch started.txt; while true; do sleep 0.1; done"#,
            "  stop_limit: 1s",
        ),
    ] {
        let desk = desk(script, trainer, ONE);
        interrupt(&desk);
        let runs = status(&desk);
        assert_eq!(runs[0]["state"], "pending", "{runs:?}");
        assert_eq!(runs[0]["outcome"], "interrupted", "{runs:?}");
        assert_eq!(desk.path().join("saved.txt").exists(), trainer.is_empty());
    }
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let desk = desk("", "", &format!("{ONE}\nexecution: {{retries: 0}}"));
    let text = std::fs::read_to_string(desk.path().join("theirs.yaml")).expect("there");
    let desk = desk.with(
        "theirs.yaml",
        text.replace("[sh, train.sh,", "[no-such-program,"),
    );
    let said = desk.refused(&["run", "theirs.yaml", "--device", "gpu9"]);
    assert!(said.contains("`gpu9` is no device"), "{said}");
    run(&desk);
    let runs = status(&desk);
    assert_eq!(runs[0]["outcome"], "crashed");
    let message = runs[0]["message"].as_str().expect("said");
    assert!(
        message.contains("cannot start `no-such-program`"),
        "{message}"
    );
}

#[test]
fn a_trainer_that_prints_goes_on_from_its_checkpoint_and_its_steps_prove_its_end() {
    let script = r#"
echo "$@" >> arguments.txt
echo "parameters 1000 warm 7.5"
if [ "$ORCHESTRATOR_ATTEMPT" = 1 ]; then
    echo "step 5/20 val 4.5"; echo "step 10/20 loss 4.0"; echo "saved 10"; exit 1
fi
echo "step 12/20 loss 3.9"
[ -e stop ] || { echo "step 20/20 val 3.5"; exit 0; }
echo "step 13/20 val 3.8"
"#;
    let trainer = "  resume: [--resume, \"{step}\"]\n  report:\n    regex:\n      \
        step: \"step ([0-9]+)\"\n      total_steps: \"step [0-9]+/([0-9]+)\"\n      \
        loss: \"loss ([0-9.]+)\"\n      validation_loss: \"val ([0-9.]+)\"\n      \
        checkpoint: \"saved ([0-9]+)\"\n      warm: \"warm ([0-9.]+)\"";
    let rest = format!("{ONE}\nexecution: {{back_off: 0.01s}}");
    let whole = desk(script, trainer, &rest);
    run(&whole);
    let runs = status(&whole);
    assert_eq!(runs[0]["outcome"], "finished", "{runs:?}");
    let told = std::fs::read_to_string(whole.path().join("arguments.txt")).expect("written");
    assert!(told.ends_with("--resume 10\n"), "{told}");
    whole.done(&[
        "export",
        "theirs.yaml",
        "--format",
        "json",
        "--output",
        "out",
    ]);
    let text = std::fs::read_to_string(whole.path().join("out/experiment.json")).expect("there");
    let export: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let rows = export["runs"][0]["measurements"].as_array().expect("rows");
    let steps: Vec<_> = rows
        .iter()
        .map(|row| row["step"].as_u64().expect("a step"))
        .collect();
    assert_eq!(steps, [5, 10, 12, 20]);
    assert_eq!(rows[1]["tokens"], 10_000_000, "by its share of the steps");
    assert_eq!(
        rows[2]["metrics"]["warm"], 7.5,
        "what stands before a step is the next one's"
    );

    let early = desk(script, trainer, &rest).with("stop", "");
    run(&early);
    let runs = status(&early);
    assert_eq!(runs[0]["outcome"], "finished_without_result", "{runs:?}");
    let message = runs[0]["message"].as_str().expect("said");
    assert!(message.contains("after step 13 of 20"), "{message}");
}

#[test]
fn a_loss_that_was_held_out_when_it_was_asked_to_stop_is_no_result() {
    let script = r#"trap 'echo "step 9 val 4.0"; exit 0' TERM
echo "step 8 val 4.1"; touch started.txt; while true; do sleep 0.1; done"#;
    let trainer =
        "  report: {regex: {step: \"step ([0-9]+)\", validation_loss: \"val ([0-9.]+)\"}}";
    let desk = desk(script, trainer, ONE);
    interrupt(&desk);
    let runs = status(&desk);
    assert_eq!(
        (&runs[0]["state"], &runs[0]["outcome"]),
        (&"pending".into(), &"interrupted".into())
    );
}
