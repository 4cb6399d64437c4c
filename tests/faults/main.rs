//! Faults at random moments of a grid, after which its results must be the same bits.
//!
//! Every fault gets a grid of its own, which is run to the end after it. `just faults` injects 230;
//! the quick form, one of some kinds each, is an ordinary test.

mod cluster;
mod desk;
mod fault;
mod machine;
mod taken;
mod trainers;

use desk::Desk;
use fault::{FAULTS, Fault, Injection};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
use std::time::Instant;
use taken::{Taken, take};

/// Desks that are tried until a fault meets a grid that still runs.
const TRIES: u64 = 10;

/// What came of the faults of one kind.
#[derive(Default)]
struct Count {
    injected: usize,
    recovered: usize,
    identical: usize,
    commands: usize,
    orphans: usize,
    seconds: f64,
    impossible: Option<&'static str>,
}

struct Campaign {
    seed: u64,
    undisturbed: Taken,
    /// How long the grid takes.
    seconds: f64,
    wrong: Vec<String>,
}

impl Campaign {
    fn new(seed: u64) -> Self {
        let desk = Desk::new();
        let start = Instant::now();
        desk.finish().expect("nothing is in the way");
        let seconds = start.elapsed().as_secs_f64();
        let (undisturbed, wrong) = take(&desk);
        assert!(wrong.is_empty(), "undisturbed: {wrong:?}");
        Self {
            seed,
            undisturbed,
            seconds,
            wrong,
        }
    }

    /// Injects a fault into a new grid, runs that to its end and looks at everything.
    fn inject(&mut self, fault: &Fault, round: u64, count: &mut Count) {
        let start = Instant::now();
        for attempt in 0..TRIES {
            let stream = 1000 * round + attempt;
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(stream);
            let mut desk = Desk::new();
            // The machine may have been busier when the grid's time was taken.
            let seconds = self.seconds * 0.8_f64.powi(attempt as i32);
            match (fault.inject)(&mut desk, &mut rng, seconds) {
                Injection::Missed => continue,
                Injection::Impossible(why) => {
                    count.impossible = Some(why);
                    return;
                }
                Injection::Wrong(why) => self.blame(fault, round, &desk, vec![why]),
                Injection::Done => {}
            }
            count.injected += 1;
            self.judge(fault, round, &desk, count);
            count.seconds += start.elapsed().as_secs_f64();
            return;
        }
        self.wrong
            .push(format!("{}: the grid was always done first", fault.name));
    }

    fn judge(&mut self, fault: &Fault, round: u64, desk: &Desk, count: &mut Count) {
        let finished = desk.finish();
        let orphans = desk.orphans();
        count.orphans += orphans.len();
        let mut wrong: Vec<String> = orphans
            .into_iter()
            .map(|process| format!("{} went on", process.arguments))
            .collect();
        match finished {
            Err(why) => wrong.push(why),
            Ok(commands) => {
                count.commands += commands;
                let (taken, found) = take(desk);
                count.recovered += usize::from(found.is_empty());
                count.identical += usize::from(taken.same_losses(&self.undisturbed));
                wrong.extend(found);
                if taken != self.undisturbed {
                    wrong.push("the measurements are not those of an undisturbed grid".into());
                }
            }
        }
        self.blame(fault, round, desk, wrong);
    }

    fn blame(&mut self, fault: &Fault, round: u64, desk: &Desk, wrong: Vec<String>) {
        if wrong.is_empty() {
            return;
        }
        let mut text = format!("{}, round {round}: {}", fault.name, wrong.join("; "));
        if let Some(folder) = std::env::var_os("FAULTS_KEEP") {
            let to = std::path::Path::new(&folder).join(format!("round-{round}"));
            let paths = [desk.path(), &to].map(|path| path.to_str().expect("a plain path"));
            machine::system("cp", &["-a", paths[0], paths[1]]);
            let _ = write!(text, " (kept in {})", to.display());
        }
        eprintln!("{text}");
        self.wrong.push(text);
    }
}

/// Injects so many of each of these faults, prints the table and fails if anything was wrong.
fn campaign(faults: &[&Fault], rounds: u64, seed: u64) {
    let mut campaign = Campaign::new(seed);
    let mut counts: Vec<Count> = faults.iter().map(|_| Count::default()).collect();
    for round in 0..rounds {
        for (place, (fault, count)) in faults.iter().zip(&mut counts).enumerate() {
            campaign.inject(fault, round * faults.len() as u64 + place as u64, count);
        }
    }
    println!("{}", table(faults, &counts, campaign.seconds, seed));
    assert!(campaign.wrong.is_empty(), "{}", campaign.wrong.join("\n"));
}

fn table(faults: &[&Fault], counts: &[Count], seconds: f64, seed: u64) -> String {
    let mut text = format!(
        "seed {seed}; undisturbed the grid takes {seconds:.1} s\n\
         | fault | injected | recovered | losses identical | commands | orphans | seconds |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    let mut all = Count::default();
    let mut row = |name: &str, count: &Count| {
        let Count {
            injected,
            recovered,
            identical,
            commands,
            orphans,
            seconds,
            ..
        } = count;
        let _ = writeln!(
            text,
            "| {name} | {injected} | {recovered} | {identical} | {commands} | {orphans} | {seconds:.0} |"
        );
    };
    for (fault, count) in faults.iter().zip(counts) {
        let name = match count.impossible {
            Some(why) => format!("{} — SKIPPED: {why}", fault.name),
            None => fault.name.to_owned(),
        };
        row(&name, count);
        all.injected += count.injected;
        all.recovered += count.recovered;
        all.identical += count.identical;
        all.commands += count.commands;
        all.orphans += count.orphans;
        all.seconds += count.seconds;
    }
    row("all", &all);
    text
}

#[test]
fn a_grid_survives_one_fault_of_each_common_kind() {
    let quick: Vec<&Fault> = FAULTS.iter().filter(|fault| fault.quick).collect();
    campaign(&quick, 1, 1);
}

/// `FAULTS` asks for the number of each kind, `FAULTS_ONLY` for those with a word in their name,
/// `FAULTS_SEED` for other moments; `FAULTS_KEEP` names a folder that takes what went wrong.
#[test]
#[ignore = "takes most of an hour: `just faults`"]
fn a_grid_survives_hundreds_of_faults_of_all_kinds() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let only = std::env::var("FAULTS_ONLY").unwrap_or_default();
    let wanted = FAULTS.iter().filter(|fault| fault.name.contains(&only));
    campaign(
        &wanted.collect::<Vec<_>>(),
        number("FAULTS").unwrap_or(10),
        number("FAULTS_SEED").unwrap_or(1),
    );
}
