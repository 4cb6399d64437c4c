//! Damaged, absurd and hostile input: whatever a file or an argument holds, the program answers.
//!
//! Good inputs of every kind are changed at random, by kinds of damage ([`mutant`]). Each mutant must be
//! refused with a message or accepted, the same way twice, within a time and a memory; no panic, no
//! abort. `just probe` does that for minutes and prints what was accepted; the short form is an
//! ordinary test.

mod kinds;
mod mutant;
mod program;
mod seeds;
mod worker;

use kinds::KINDS;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use worker::{Verdict, keep, watch};

/// What came of the mutants of one kind.
#[derive(Default)]
struct Count {
    verdicts: BTreeMap<Verdict, usize>,
    /// What was accepted and refused, by how it was made.
    classes: BTreeMap<String, [usize; 2]>,
    /// Values in place of which others gave the same answer, and how often.
    unchanged: BTreeMap<String, usize>,
    seconds: f64,
}

/// What must not be.
const FAULTS: &[Verdict] = &[
    Verdict::Wrong,
    Verdict::Panicked,
    Verdict::Aborted,
    Verdict::Hung,
];

/// Inputs of a kind that are kept because something was wrong with them.
const MOST_KEPT: usize = 10;

impl Count {
    fn of(&self, verdicts: &[Verdict]) -> usize {
        verdicts
            .iter()
            .filter_map(|verdict| self.verdicts.get(verdict))
            .sum()
    }
}

/// Probes the kinds whose name holds a word, each with so many mutants or for so long.
fn probe(only: &str, most: impl Fn(usize) -> u64, time: Duration, seed: u64) {
    let folder = std::env::var_os("PROBE_KEEP");
    let folder = folder.map_or_else(
        || std::env::temp_dir().join("orchestrator-probe"),
        PathBuf::from,
    );
    let mut wrong = Vec::new();
    let mut counts = Vec::new();
    for (kind, of_kind) in KINDS
        .iter()
        .enumerate()
        .filter(|(_, kind)| kind.name.contains(only))
    {
        let began = Instant::now();
        let mut count = Count::default();
        watch(kind, seed, most(kind), time, |judged| {
            *count.verdicts.entry(judged.verdict).or_default() += 1;
            let accepted = matches!(judged.verdict, Verdict::Accepted | Verdict::Unchanged);
            let class = count.classes.entry(judged.class.clone()).or_default();
            class[usize::from(!accepted)] += 1;
            match judged.verdict {
                Verdict::Accepted | Verdict::Refused => {}
                Verdict::Unchanged => *count.unchanged.entry(judged.said).or_default() += 1,
                // Of many the first say enough.
                _ if count.of(FAULTS) > MOST_KEPT => {}
                Verdict::Wrong | Verdict::Panicked | Verdict::Aborted | Verdict::Hung => {
                    let kept = keep(of_kind, seed, judged.index, &folder);
                    let (verdict, class, said) = (judged.verdict, judged.class, judged.said);
                    let text = format!(
                        "{} {verdict:?} ({class}): {said}; its input is {kept}",
                        of_kind.name
                    );
                    eprintln!("{text}");
                    wrong.push(text);
                }
            }
        });
        count.seconds = began.elapsed().as_secs_f64();
        counts.push((of_kind.name, count));
    }
    println!("{}", table(&counts, seed));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn table(counts: &[(&str, Count)], seed: u64) -> String {
    let mut text = format!(
        "seed {seed}\n| input | mutants | accepted | refused | wrong | panicked, aborted | hung | seconds |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for (name, count) in counts {
        let all: usize = count.verdicts.values().sum();
        let accepted = count.of(&[Verdict::Accepted, Verdict::Unchanged]);
        let [refused, wrong, hung] =
            [Verdict::Refused, Verdict::Wrong, Verdict::Hung].map(|one| count.of(&[one]));
        let died = count.of(&[Verdict::Panicked, Verdict::Aborted]);
        let seconds = count.seconds;
        let _ = writeln!(
            text,
            "| {name} | {all} | {accepted} | {refused} | {wrong} | {died} | {hung} | {seconds:.0} |"
        );
    }
    text += "\n| input | damage | accepted | refused |\n| --- | --- | --- | --- |\n";
    for (name, count) in counts {
        for (class, [accepted, refused]) in &count.classes {
            let _ = writeln!(text, "| {name} | {class} | {accepted} | {refused} |");
        }
    }
    for (name, count) in counts
        .iter()
        .filter(|(_, count)| !count.unchanged.is_empty())
    {
        let _ = writeln!(
            text,
            "\n{name}, accepted with the answer of the good input:"
        );
        for (edit, times) in &count.unchanged {
            let _ = writeln!(text, "  {times} × {edit}");
        }
    }
    text
}

#[test]
fn every_kind_of_input_survives_some_damage() {
    probe("", |kind| KINDS[kind].few, Duration::from_secs(60), 1);
}

/// `PROBE_MINUTES` says how long, `PROBE_SEED` asks for other mutants, `PROBE_ONLY` for the inputs with
/// a word in their name; `PROBE_KEEP` names the folder that takes inputs that something was wrong with.
#[test]
#[ignore = "takes minutes: `just probe`"]
fn every_kind_of_input_survives_all_damage() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<f64>().ok())
    };
    let only = std::env::var("PROBE_ONLY").unwrap_or_default();
    let kinds = KINDS
        .iter()
        .filter(|kind| kind.name.contains(&only))
        .count();
    let minutes = number("PROBE_MINUTES").unwrap_or(5.0);
    let time = Duration::from_secs_f64(60.0 * minutes / kinds.max(1) as f64);
    let seed = number("PROBE_SEED").unwrap_or(1.0) as u64;
    probe(&only, |_| u64::MAX, time, seed);
}
