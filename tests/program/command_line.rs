//! What a shell and a reader of manual pages are given.

use crate::support::{Desk, TINY};

#[test]
fn every_shell_gets_completions() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = desk.done(&["completions", shell]);
        for word in ["orchestrator", "export", "safetensors"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        // What the program starts by itself, and nobody else.
        assert!(
            !script.contains("orchestrator;train") && !script.contains("train)"),
            "{shell}"
        );
    }
    desk.refused(&["completions", "cmd"]);
}

#[test]
fn every_listed_command_has_a_manual_page() {
    let desk = Desk::new();
    desk.done(&["man", "--output", "man1"]);
    let help = desk.done(&["--help"]);
    let commands = help.split("Commands:").nth(1).expect("commands");
    let commands = commands.split("\n\n").next().expect("a list").lines();
    let names: Vec<&str> = commands
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let path = desk.path().join(format!("man1/orchestrator-{name}.1"));
        let page = std::fs::read_to_string(&path).expect("a page");
        assert!(page.contains("Example"), "{name} has no example");
    }
    let page = desk.done(&["man"]);
    assert!(page.contains(".TH orchestrator 1"), "{page}");

    let Ok(rendered) = std::process::Command::new("man")
        .args(["--warnings", "-l", "man1/orchestrator-export.1"])
        .current_dir(desk.path())
        .env("MANWIDTH", "100")
        .env("LC_ALL", "C.UTF-8")
        .output()
    else {
        eprintln!("SKIPPED: there is no man, which shows manual pages");
        return;
    };
    let said = String::from_utf8_lossy(&rendered.stderr);
    // A machine without manual pages has a `man` that says so.
    if !rendered.status.success() || rendered.stdout.is_empty() {
        eprintln!("SKIPPED: man shows nothing here: {said}");
        return;
    }
    assert!(said.is_empty(), "{said}");
    let text = String::from_utf8_lossy(&rendered.stdout);
    assert!(
        text.contains("--format") && text.contains("tensorboard"),
        "{text}"
    );
}

#[test]
fn the_tutorial_is_about_this_program() {
    let tutorial = include_str!("../../docs/tutorial.md");
    let file = tutorial.split("```yaml\n").nth(1).expect("my.yaml");
    let file = file.split("```").next().expect("its end");
    // Any text that a tokenizer finds 512 pieces in.
    let mut random = 1_u64;
    let letters = std::iter::repeat_with(|| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        b"etaoin shrdlu cmf wyp vbgkjq xz "[(random >> 59) as usize]
    });
    let text: Vec<u8> = letters.take(1 << 20).collect();
    let desk = Desk::new().with("my.yaml", file).with("my.txt", text);
    let checked = desk.done(&["check", "my.yaml"]);
    assert!(
        checked.starts_with("my: 45 runs\n  data: plain text, 1 file, 1.05MB\n"),
        "{checked}"
    );
    let help = desk.done(&["--help"]);
    let commands = tutorial
        .lines()
        .filter_map(|line| line.strip_prefix("$ orchestrator "));
    for command in commands {
        let name = command.split(' ').next().expect("a name");
        assert!(help.contains(&format!("\n  {name} ")), "{command}");
    }
}

#[test]
fn answers_are_json_where_that_is_asked_for() {
    let theirs = "params,tokens,loss\n1e9,2e10,2.5\n";
    let desk = Desk::new()
        .with("tiny.yaml", TINY)
        .with("theirs.csv", theirs);
    desk.done(&["run", "tiny.yaml"]);
    let json = |args: &[&str]| desk.json(&[args, &["--json"]].concat());
    assert_eq!(json(&["check", "tiny.yaml"])["runs"], 3);
    assert_eq!(json(&["fit", "tiny.yaml"])["dlcm"]["status"], "cannot_fit");
    assert_eq!(json(&["prune", "tiny.yaml"])["removed"], false);
    let exported = json(&["export", "tiny.yaml", "--format", "csv"]);
    assert_eq!(exported["files"].as_array().map(Vec::len), Some(5));
    let imported = json(&["import", "theirs.csv", "--experiment", "theirs"]);
    assert_eq!(
        (&imported["added"], &imported["known"]),
        (&1.into(), &0.into())
    );
    let sizes = json(&["coordinates", "--widths", "16,32", "--steps", "1"]);
    assert!(
        sizes[0]["size"].as_f64().is_some_and(|size| size > 0.0),
        "{sizes}"
    );
}
