//! A process of its own that is given mutants one after another, and whoever watches it.
//!
//! What a mutant does to it (a panic, an abort, memory without end, a loop) is seen from outside, and a
//! new process goes on with the next one.

use super::kinds::{Answer, KINDS, Kind};
use super::mutant::{Mutant, mutate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Says which mutants a process is to judge: the kind, the seed and the first one.
const TASK: &str = "PROBE_TASK";

/// The memory that a process may take, in KiB.
const MEMORY: u64 = 6 << 20;

/// The name of the test that judges mutants.
const WORKER: &str = "worker::judges_mutants_for_another_process";

/// What a mutant came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Verdict {
    Accepted,
    /// Accepted, with the answer of the good input.
    Unchanged,
    Refused,
    /// The answer is not one: two that differ, a character that a terminal acts on.
    Wrong,
    Panicked,
    Aborted,
    Hung,
}

/// A mutant and what it came to.
pub(super) struct Judged {
    pub(super) index: u64,
    pub(super) class: String,
    pub(super) verdict: Verdict,
    /// What was said, or what was put in place of what.
    pub(super) said: String,
}

/// Makes the mutant of this number: the same one whenever it is asked for.
pub(super) fn mutant(kind: &Kind, seeds: &[Vec<u8>], seed: u64, index: u64) -> (usize, Mutant) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let at = rng.random_range(0..seeds.len());
    let mutant = match kind.mutate {
        None => mutate(seeds, at, kind.is_text, &mut rng),
        Some(own) => own(&mut rng),
    };
    (at, mutant)
}

/// Where and of what the last panic was.
static PANIC: Mutex<String> = Mutex::new(String::new());

#[test]
#[ignore = "a part of the probe"]
fn judges_mutants_for_another_process() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let parts: Vec<u64> = task
        .split(' ')
        .map(|part| part.parse().expect("a number"))
        .collect();
    let &[kind, seed, first] = parts.as_slice() else {
        panic!("three numbers");
    };
    std::panic::set_hook(Box::new(|info| {
        *PANIC.lock().expect("never poisoned") = info.to_string().replace('\n', " ");
    }));
    judge(&KINDS[kind as usize], seed, first);
}

/// Judges mutants until nobody listens any more.
fn judge(kind: &Kind, seed: u64, first: u64) {
    let seeds = (kind.seeds)();
    let folder = tempfile::tempdir().expect("a folder");
    let mut good: HashMap<usize, Answer> = HashMap::new();
    let ask = |bytes: &[u8]| {
        let scratch = folder.path().join("scratch");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).expect("a folder");
        (kind.judge)(&scratch, bytes)
    };
    let say = |line: String| {
        let mut out = std::io::stdout();
        writeln!(out, "\n{line}").and_then(|()| out.flush()).is_ok()
    };
    for index in first.. {
        if !say(format!("@begin\t{index}")) {
            return;
        }
        let (at, mutant) = mutant(kind, &seeds, seed, index);
        let answers = catch_unwind(AssertUnwindSafe(|| {
            let answer = ask(&mutant.bytes);
            // A second time, where that costs little: one input has one answer.
            let again = if kind.once {
                answer.clone()
            } else {
                ask(&mutant.bytes)
            };
            let unchanged = mutant.edit.is_some()
                && matches!(answer, Answer::Accepted(_))
                && *good.entry(at).or_insert_with(|| ask(&seeds[at])) == answer;
            (answer, again, unchanged)
        }));
        let (verdict, said) = match answers {
            Err(_) => (
                Verdict::Panicked,
                PANIC.lock().expect("never poisoned").clone(),
            ),
            Ok((answer, again, _)) if !answer.is_like(&again) => {
                (Verdict::Wrong, format!("{answer:?}, then {again:?}"))
            }
            Ok((Answer::Wrong(why), ..)) => (Verdict::Wrong, why),
            Ok((Answer::Refused(why), ..)) => (Verdict::Refused, why),
            Ok((Answer::Accepted(_), _, true)) => {
                (Verdict::Unchanged, mutant.edit.unwrap_or_default())
            }
            Ok((Answer::Accepted(_), ..)) => (Verdict::Accepted, mutant.edit.unwrap_or_default()),
        };
        let said: String = said.chars().filter(|c| !c.is_control()).take(600).collect();
        if !say(format!(
            "@end\t{index}\t{verdict:?}\t{}\t{said}",
            mutant.class
        )) {
            return;
        }
    }
}

/// A process that judges, and what it says.
struct Worker {
    child: Child,
    lines: Receiver<String>,
}

impl Worker {
    fn start(kind: usize, seed: u64, first: u64) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$@\""), "sh"])
            .arg(std::env::current_exe().expect("this program"))
            .args([WORKER, "--exact", "--ignored", "--nocapture"])
            .env(TASK, format!("{kind} {seed} {first}"))
            // As much as the program's own main thread has.
            .env("RUST_MIN_STACK", (8 << 20).to_string())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            let said = out.split(b'\n').map_while(Result::ok);
            let said = said.map(|line| String::from_utf8_lossy(&line).into_owned());
            said.filter(|line| line.starts_with('@'))
                .try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    fn end(mut self) -> String {
        let _ = self.child.kill();
        self.child
            .wait()
            .map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

/// Has so many mutants of a kind judged, or as many as there is time for.
pub(super) fn watch(
    kind: usize,
    seed: u64,
    most: u64,
    time: Duration,
    mut each: impl FnMut(Judged),
) {
    let began = Instant::now();
    let patience = KINDS[kind].patience;
    let (mut index, mut worker) = (0, Worker::start(kind, seed, 0));
    while index < most && began.elapsed() < time {
        let line = worker.lines.recv_timeout(patience);
        let verdict = match &line {
            Ok(line) if line.starts_with("@begin") => continue,
            Ok(line) => {
                let mut parts = line.splitn(5, '\t').skip(2);
                let mut part = || parts.next().unwrap_or_default().to_owned();
                let (verdict, class, said) = (part(), part(), part());
                let verdict = match verdict.as_str() {
                    "Accepted" => Verdict::Accepted,
                    "Unchanged" => Verdict::Unchanged,
                    "Refused" => Verdict::Refused,
                    "Wrong" => Verdict::Wrong,
                    _ => Verdict::Panicked,
                };
                each(Judged {
                    index,
                    class,
                    verdict,
                    said,
                });
                index += 1;
                continue;
            }
            Err(RecvTimeoutError::Timeout) => Verdict::Hung,
            Err(RecvTimeoutError::Disconnected) => Verdict::Aborted,
        };
        let status = worker.end();
        let class = mutant(&KINDS[kind], &(KINDS[kind].seeds)(), seed, index)
            .1
            .class
            .to_owned();
        each(Judged {
            index,
            class,
            verdict,
            said: status,
        });
        index += 1;
        worker = Worker::start(kind, seed, index);
    }
    worker.end();
}

/// Writes a mutant into a file for a person to look at.
pub(super) fn keep(kind: &Kind, seed: u64, index: u64, folder: &Path) -> String {
    let (_, mutant) = mutant(kind, &(kind.seeds)(), seed, index);
    let path = folder.join(format!("{}-{seed}-{index}{}", kind.name, kind.ending));
    let written =
        std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &mutant.bytes));
    written.map_or_else(|error| error.to_string(), |()| path.display().to_string())
}
