//! What `check` says of data, and that what it doubts is not trained on.

use crate::support::{Desk, TINY};
use serde_json::Value;

fn experiment(data: &str) -> String {
    TINY.replace(
        "{synthetic: {language: cycles, document_tokens: 64, document_words: 6}}",
        data,
    )
}

#[test]
fn check_says_what_will_be_trained_on() {
    let line = |index: usize| match index % 10 {
        0 => "{\"id\": 1}\n".to_owned(),
        _ => format!("{{\"text\": \"The ship sailed home {index} times.\"}}\n"),
    };
    let lines: String = (0..400).map(line).collect();
    let desk = Desk::new()
        .with("tiny.yaml", experiment("{text: corpus.jsonl}"))
        .with("corpus.jsonl", lines);
    let said = desk.done(&["check", "tiny.yaml"]);
    for part in [
        "tiny: 3 runs\n",
        "data: JSON lines, `text`, 1 file, ",
        ", 360 documents\n",
        " of 256 ids\n",
        "held out: 1155",
        " tokens (9.8%), the tail of each file\n",
        "bytes a token: 1.00\n",
        "epochs: 0.",
        "begins: \"The ship sailed home 1 times.",
        "warning: 40 of 400 documents of `corpus.jsonl` have no text and are left out\n",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let checked: Value = desk.json(&["check", "tiny.yaml", "--json"]);
    assert_eq!(checked["data"][0]["documents"], 360);
    assert_eq!(
        checked["warnings"][0]
            .as_str()
            .map(|it| it.contains("left out")),
        Some(true)
    );
    // Planning and training say it too.
    let plan = desk.done(&["plan", "tiny.yaml", "--no-time"]);
    assert!(plan.contains("40 of 400 documents"), "{plan}");
}

#[test]
fn doubtful_data_are_not_trained_on_unless_they_are_to_be() {
    let wide: Vec<u8> = (0..40_000_u32)
        .flat_map(|i| (i.wrapping_mul(i) % 400).to_le_bytes())
        .collect();
    let desk = Desk::new()
        .with(
            "tiny.yaml",
            experiment("{tokens: {train: wide.bin, vocab: 400}}"),
        )
        .with("wide.bin", wide);
    for command in ["check", "plan", "run"] {
        let said = desk.refused(&[command, "tiny.yaml"]);
        assert!(said.contains("looks like 4-byte tokens"), "{said}");
        assert!(
            said.contains("`width: u32`") && said.contains("`doubtful: accept`"),
            "{said}"
        );
    }
    let insisted = ["check", "tiny.yaml", "--set", "data.doubtful=accept"];
    let said = desk.done(&insisted);
    assert!(
        said.contains("raw u16") && said.contains("warning: `wide.bin` looks like"),
        "{said}"
    );
    let said = desk.done(&["check", "tiny.yaml", "--set", "data.tokens.width=u32"]);
    assert!(
        said.contains("raw u32") && !said.contains("warning: `wide"),
        "{said}"
    );
    let said = desk.refused(&["check", "tiny.yaml", "--set", "data.text_field=content"]);
    assert!(
        said.contains("`text_field` has no meaning for these data"),
        "{said}"
    );
}
