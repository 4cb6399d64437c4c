//! What other readers of YAML, editors and systems make of the same text.

use super::{GRID, parse, refused, shown};

/// The first problem of a file with this beside a grid.
fn problem(text: &str) -> String {
    parse("a.yaml", &format!("{GRID}{text}\n"))
        .expect_err(text)
        .to_string()
}

#[test]
fn marks_and_ends_of_lines_of_other_systems_are_read() {
    let plain = format!("{GRID}training:\n  batch: 4\n");
    let expected = parse("a.yaml", &plain).expect("valid");
    for other in [
        format!("\u{feff}{plain}"),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        format!("--- # a document\n{plain}...\n"),
        format!("%YAML 1.2\n---\n{plain}"),
    ] {
        let cells = parse("a.yaml", &other).map(|experiment| experiment.cells);
        let cells = cells.unwrap_or_else(|error| panic!("{other:?}: {}", shown(&error)));
        assert_eq!(cells[0].recipe, expected.cells[0].recipe, "{other:?}");
    }
}

#[test]
fn numbers_are_read_in_every_way_that_means_one_thing() {
    let batch = |written: &str| {
        let experiment = parse("a.yaml", &format!("{GRID}training: {{batch: {written}}}\n"));
        experiment.map(|experiment| experiment.cells[0].recipe.batch)
    };
    for written in [
        "1000", "1_000", "1e3", "'1e3'", "1k", "1.0K", "0x3e8", "0o1750", "+1000", "1000.0",
    ] {
        assert_eq!(batch(written).ok(), Some(1000), "{written}");
    }
    // Of these another reader makes another number, or none.
    for written in [
        "01000", "1,000", "'1000,'", "1000.4", ".inf", "-.inf", ".nan", "1e300", "-1000", "~", "''",
    ] {
        assert!(batch(written).is_err(), "{written}");
    }
}

#[test]
fn words_that_were_truth_values_once_are_words() {
    for word in ["on", "NO", "yes", "Off", "1", "'true'"] {
        let wrong = problem(&format!("tune: {{check: {word}}}"));
        assert_eq!(
            wrong,
            format!("`tune.check` cannot be `{}`", word.trim_matches('\''))
        );
    }
    for word in ["null", "~", "", "-x", ".x", "x/y", "'x y'"] {
        assert!(
            problem(&format!("name: {word}")).starts_with("`name` cannot be "),
            "{word}"
        );
    }
}

#[test]
fn names_are_those_of_folders() {
    let named = |name: &str| parse("a.yaml", &format!("name: {name}\n{GRID}"));
    let longest = "n".repeat(200);
    assert_eq!(named(&longest).expect("fits").name, longest);
    assert_eq!(
        problem(&format!("name: {longest}n")),
        "a `name` of 201 bytes is too long"
    );
    let file = |stem: &str| parse(&format!("{stem}.yaml"), GRID).map(|experiment| experiment.name);
    assert_eq!(file("-.x").ok().as_deref(), Some("x"));
    assert!(file(&"n".repeat(201)).is_err() && file(&longest).is_ok());
}

#[test]
fn control_characters_of_a_file_do_not_reach_a_terminal() {
    for text in [
        "name: \"\\e[2Jx\"",
        "\"\\e]0;x\\a\": 1",
        "training: {threshold: \"\\e[31m\", \"\\b\": 1}",
        "grid: {params: \"\\u009b1m\"}",
        "name: \"\\u202egpj\"",
    ] {
        let grid = if text.starts_with("grid") { "" } else { GRID };
        let said = refused(&format!("{grid}{text}\n"));
        let acts = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!said.contains(acts) && said.contains("\\u{"), "{said:?}");
    }
    let error = parse("\u{1b}[2J.yaml", "grid: 3").expect_err("wrong");
    assert!(!shown(&error).contains('\u{1b}'));
}

#[test]
fn very_many_problems_are_counted_and_the_first_shown() {
    let keys: String = (0..500).map(|i| format!("key{i}: 1\n")).collect();
    let error = parse("a.yaml", &format!("{GRID}{keys}")).expect_err("wrong");
    let messages: Vec<String> = error.problems().map(ToString::to_string).collect();
    assert_eq!(
        (messages.len(), messages[0].as_str()),
        (21, "unknown key `key0`")
    );
    assert_eq!(messages[20], "480 more problems are not shown");
}

#[test]
fn lines_that_nobody_can_read_are_named_and_not_shown() {
    let long = "k".repeat(200_000);
    for text in [
        format!("grid: {{{long}: 1}}"),
        format!("name: {long}\n{GRID}"),
        format!("{GRID}training: {{batch: [{}1X]}}", "4, ".repeat(50_000)),
        format!("{GRID}name: \"{}\"", "\\x41".repeat(50_000)),
        "[".repeat(300_000),
        format!("a: \n  {}", "{\"a\":".repeat(100_000)),
    ] {
        let said = refused(&text);
        assert!(
            said.len() < 5000 && said.contains("a.yaml:"),
            "{}",
            &said[..said.len().min(5000)]
        );
    }
}
