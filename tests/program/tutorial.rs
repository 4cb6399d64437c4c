//! The tutorial as its reader follows it: its file, its commands in their order, on less text and for
//! fewer tokens.

use crate::support::Desk;
use serde_json::Value;

const TUTORIAL: &str = include_str!("../../docs/tutorial.md");

/// What stands between fences of a language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("```{language}\n");
    let after = TUTORIAL.split(opening.as_str()).skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap_or(rest))
        .collect()
}

/// A command of the tutorial, and the lines that it shows below it.
struct Shown {
    arguments: Vec<String>,
    lines: Vec<&'static str>,
}

fn shown() -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    for line in blocks("console").into_iter().flat_map(str::lines) {
        match (line.strip_prefix("$ orchestrator "), shown.last_mut()) {
            (Some(command), _) => shown.push(Shown {
                arguments: words(command),
                lines: Vec::new(),
            }),
            (None, Some(last)) => last.lines.push(line),
            (None, None) => panic!("a console block begins with `{line}`"),
        }
    }
    shown
}

/// Splits a command as a shell does, as far as the tutorial's need it.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in command.chars() {
        match letter {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().expect("a word").push(letter),
        }
    }
    words
}

/// Says whether a line is the same whatever was measured: it has no number.
fn is_fixed(line: &str) -> bool {
    !line.contains(|c: char| c.is_ascii_digit()) && !line.trim_matches('…').trim().is_empty()
}

fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_tutorials_commands_do_what_it_shows() {
    let file = blocks("yaml")[0];
    let less = [
        ("0.05M, 0.1M, 0.2M", "10K, 20K, 40K"),
        ("0.1M, 0.2M, 0.4M", "16K, 24K, 32K"),
    ];
    let file = less.iter().fold(file.to_owned(), |file, (all, few)| {
        assert!(file.contains(all), "{all} is not in the tutorial's file");
        file.replace(all, few)
    });
    let text: String = (0..4000)
        .map(|k| format!("The king of {k} England shall speak, {}.\n", k * k % 97))
        .collect();
    let desk = Desk::new()
        .with("my.yaml", format!("{file}analysis: {{bootstrap: 40}}\n"))
        .with("my.txt", text);
    let shown = shown();
    assert!(shown.len() > 12, "{} commands", shown.len());
    for Shown { arguments, lines } in shown {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let id;
        if let ["inspect" | "show" | "logs", run, ..] = &mut arguments[..] {
            // Runs on other text have other ids.
            let status = desk.json(&["status", "my.yaml", "--json"]);
            let runs = status["runs"].as_array().expect("runs");
            let finished = |run: &&Value| run["outcome"] == "finished" && run["kind"] == "dlcm";
            let trained = runs.iter().find(finished).expect("a trained model");
            id = trained["id"].as_str().map(str::to_owned).expect("an id");
            *run = &id;
        }
        let output = desk.command(&arguments).output().expect("ran");
        let said =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        assert!(output.status.success(), "{arguments:?}: {}", said[1]);
        let said: Vec<String> = said.iter().flat_map(|it| it.lines()).map(plain).collect();
        // Where another model lets concepts begin is its own.
        let is_same = arguments[0] != "inspect";
        for line in lines.into_iter().filter(|line| is_same && is_fixed(line)) {
            assert!(
                said.contains(&plain(line)),
                "{arguments:?} does not say `{line}`:\n{}",
                said.join("\n")
            );
        }
    }
    let status: Value = desk.json(&["status", "my.yaml", "--json"]);
    assert_eq!(status["runs"].as_array().expect("runs").len(), 45);
}
