//! The faults: what each does, at a random moment of a grid.

use super::desk::{Desk, Running, wait_until};
use super::machine::{self, Clock, Disk, Process};
use experiment::event::{Event, Line};
use experiment::folder::{DATABASE, JOURNAL};
use nix::sys::signal::Signal;
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a fault went in.
pub(super) enum Injection {
    /// It happened.
    Done,
    /// The grid had ended before, or nothing was there for it to happen to.
    Missed,
    /// This machine does not allow it.
    Impossible(&'static str),
    /// The program should have answered otherwise.
    Wrong(String),
}

use Injection::{Done, Impossible, Missed, Wrong};

/// How long a fault's effect on a command may take.
const PATIENCE: Duration = Duration::from_secs(120);

type Inject = fn(&mut Desk, &mut ChaCha8Rng, f64) -> Injection;

/// A kind of fault.
pub(super) struct Fault {
    pub(super) name: &'static str,
    /// Makes it happen in a new desk's grid, which undisturbed takes so many seconds.
    pub(super) inject: Inject,
    /// Whether it is part of the quick form.
    pub(super) quick: bool,
}

const fn fault(name: &'static str, quick: bool, inject: Inject) -> Fault {
    Fault {
        name,
        inject,
        quick,
    }
}

pub(super) static FAULTS: &[Fault] = &[
    fault("kill -9 of a training process", true, kill_training),
    fault("kill -9 of the orchestrator", true, kill_orchestrator),
    fault("power cut: kill -9 of all", false, |desk, rng, seconds| {
        power_cut(desk, rng, seconds, |_, _| Done)
    }),
    fault("Ctrl-C, once or twice", false, interrupt),
    fault("torn journal line", true, |desk, rng, seconds| {
        power_cut(desk, rng, seconds, tear_journal)
    }),
    fault("journal line twice", true, repeat_line),
    fault("damaged checkpoint", true, |desk, rng, seconds| {
        power_cut(desk, rng, seconds, damage_checkpoint)
    }),
    fault("damaged end of a trunk", false, damage_end),
    fault("lost database", false, |desk, rng, seconds| {
        power_cut(desk, rng, seconds, lose_database)
    }),
    fault("full disk", true, fill_disk),
    fault("read-only results folder", true, refuse_writes),
    fault("read-only run folder", false, fix_run_folder),
    fault("clock jump", false, jump_clock),
    fault("SIGSTOP of a training process", false, stop_training),
    fault("pause of a training process", false, pause_training),
    fault("pause of the orchestrator", false, pause_orchestrator),
    fault("process that prints garbage", true, garbage),
    fault("process that allocates until killed", false, allocate),
    fault("process without enough memory", false, little_memory),
    fault("process that never ends", false, never_end),
    fault("process that ends without a result", false, end_early),
    fault("second orchestrator", false, second_orchestrator),
    fault("database held by another process", false, hold_database),
];

fn kill_training(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    with_training(desk, rng, seconds, |_, process, _| {
        machine::signal(process.pid, Signal::SIGKILL);
    })
}

/// Does something to a random training process and lets the command go on to its end.
fn with_training(
    desk: &Desk,
    rng: &mut ChaCha8Rng,
    seconds: f64,
    act: impl Fn(&Desk, &Process, &mut ChaCha8Rng),
) -> Injection {
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let Some(process) = desk.pick_training(&mut running, rng) else {
        return Missed;
    };
    act(desk, &process, rng);
    end(running)
}

/// Waits for the end of a command.
fn end(mut running: Running) -> Injection {
    match running.wait(PATIENCE) {
        Some(_) => Done,
        None => Wrong("the command did not end after the fault".into()),
    }
}

fn kill_orchestrator(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    machine::signal(running.pid(), Signal::SIGKILL);
    running.wait(PATIENCE);
    // Half the time the next command meets what is left of this one.
    if rng.random_bool(0.5) {
        desk.orphans().first().map_or(Done, |process| {
            Wrong(format!("{} outlived its orchestrator", process.arguments))
        })
    } else {
        Done
    }
}

/// Kills everything at a random moment and does something to what is left.
fn power_cut(
    desk: &mut Desk,
    rng: &mut ChaCha8Rng,
    seconds: f64,
    act: impl Fn(&mut Desk, &mut ChaCha8Rng) -> Injection,
) -> Injection {
    let Some(running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    desk.cut_power(running);
    act(desk, rng)
}

fn interrupt(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let signal = if rng.random_bool(0.5) {
        Signal::SIGINT
    } else {
        Signal::SIGTERM
    };
    machine::signal(running.pid(), signal);
    if rng.random_bool(0.5) {
        std::thread::sleep(Duration::from_millis(rng.random_range(0..100)));
        machine::signal(running.pid(), signal);
    }
    end(running)
}

/// The journals that hold a line which fits, with their text.
fn journals(desk: &Desk, fits: fn(&Event) -> bool) -> Vec<(PathBuf, Vec<u8>)> {
    let journals = desk.runs().into_iter().filter_map(|run| {
        let path = run.join(JOURNAL);
        let text = std::fs::read(&path).ok()?;
        let lines = String::from_utf8_lossy(&text).into_owned();
        let mut lines = lines.lines().filter_map(|line| Line::decode(line).ok());
        lines.any(|line| fits(&line.event)).then_some((path, text))
    });
    journals.collect()
}

fn pick<T>(mut from: Vec<T>, rng: &mut ChaCha8Rng) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(rng.random_range(0..from.len())))
}

/// Cuts a journal anywhere after what was synced, as a power cut may.
fn tear_journal(desk: &mut Desk, rng: &mut ChaCha8Rng) -> Injection {
    let journals = journals(desk, |_| true).into_iter();
    let journals = journals.map(|(path, text)| (safe_length(&path, &text), path, text));
    let found = journals.filter(|(safe, _, text)| *safe < text.len());
    let Some((safe, path, text)) = pick(found.collect(), rng) else {
        return Missed;
    };
    let length = rng.random_range(safe..text.len());
    std::fs::write(path, &text[..length]).expect("written");
    Done
}

/// Bytes of a journal that were synced: up to an event that is, or to a row of a saved state.
fn safe_length(journal: &Path, text: &[u8]) -> usize {
    let saved = saved_step(journal.parent().expect("a run's folder"));
    let mut safe = 0;
    let mut end = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        match Line::decode(String::from_utf8_lossy(line).trim()).map(|line| line.event) {
            Err(_) => {}
            Ok(Event::Measured(row)) if row.step > saved => {}
            Ok(_) => safe = end,
        }
    }
    safe
}

/// The last step of what a run's folder keeps.
fn saved_step(run: &Path) -> u64 {
    let names = ["checkpoint", "end", "weights"].map(|name| format!("{name}.safetensors"));
    let step = |name: &String| {
        let bytes = std::fs::read(run.join(name)).ok()?;
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).ok()?;
        let progress = header.metadata().clone()?.remove("progress")?;
        let progress: serde_json::Value = serde_json::from_str(&progress).ok()?;
        progress["step"].as_u64()
    };
    names.iter().filter_map(step).max().unwrap_or(0)
}

/// Writes a line of a journal once more, at its end, while its run may still train.
fn repeat_line(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let mut found = journals(desk, |event| matches!(event, Event::Measured(_)));
    found.retain(|(_, text)| text.ends_with(b"\n"));
    let Some((path, text)) = pick(found, rng) else {
        return Missed;
    };
    let lines: Vec<&[u8]> = text.split_inclusive(|&byte| byte == b'\n').collect();
    let line = lines[rng.random_range(0..lines.len())];
    append(&path, line);
    end(running)
}

fn append(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().append(true).open(path);
    file.expect("a journal").write_all(bytes).expect("written");
}

/// Cuts a file short or turns one of its bits.
fn damage(path: &Path, rng: &mut ChaCha8Rng) {
    let mut bytes = std::fs::read(path).expect("readable");
    let place = rng.random_range(0..bytes.len());
    if rng.random_bool(0.5) {
        bytes.truncate(place);
    } else {
        bytes[place] ^= 1 << rng.random_range(0..8);
    }
    std::fs::write(path, bytes).expect("written");
}

fn files(desk: &Desk, name: &str) -> Vec<PathBuf> {
    let paths = desk.runs().into_iter().map(|run| run.join(name));
    paths.filter(|path| path.exists()).collect()
}

fn damage_checkpoint(desk: &mut Desk, rng: &mut ChaCha8Rng) -> Injection {
    let Some(path) = pick(files(desk, "checkpoint.safetensors"), rng) else {
        return Missed;
    };
    damage(&path, rng);
    Done
}

/// Damages the state from which other runs start, while they may.
fn damage_end(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let Some(path) = pick(files(desk, "end.safetensors"), rng) else {
        return Missed;
    };
    damage(&path, rng);
    end(running)
}

fn lose_database(desk: &mut Desk, _: &mut ChaCha8Rng) -> Injection {
    for ending in ["", "-wal", "-shm"] {
        let path = desk.results().join(format!("orchestrator.db{ending}"));
        if path.exists() {
            std::fs::remove_file(path).expect("removed");
        }
    }
    let rebuilt = desk.start(&["rebuild", "results/grid"]).wait(PATIENCE);
    // 1 says that a folder was left out: the power was cut before it said which run it holds.
    match rebuilt.and_then(|status| status.code()) {
        Some(0 | 1) => Done,
        code => Wrong(format!("`rebuild` ended with {code:?}")),
    }
}

/// Puts the results on a disk of their own.
fn add_disk(desk: &mut Desk) -> Result<&Disk, Injection> {
    let disk = Disk::mount(&desk.path().join("results"), 48);
    let disk = disk.ok_or(Impossible("mounting a tmpfs is not permitted"))?;
    Ok(desk.disk.insert(disk))
}

/// Fills the disk at a random moment and frees it after a while.
fn fill_disk(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    if let Err(impossible) = add_disk(desk) {
        return impossible;
    }
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let path = desk.path().join("results/ballast");
    let mut ballast = std::fs::File::create(&path).expect("made");
    let block = vec![0; 1 << 12];
    let mut length = 0;
    while ballast.write_all(&block).is_ok() {
        length += block.len() as u64;
    }
    // A little room: some writes succeed, and others only in part.
    let room = rng.random_range(0..1 << 18);
    ballast
        .set_len(length.saturating_sub(room))
        .expect("shortened");
    let full = Duration::from_millis(rng.random_range(300..3000));
    wait_until(full, || !running.is_running());
    std::fs::remove_file(path).expect("removed");
    end(running)
}

/// After a power cut, the results are read-only for a command.
fn refuse_writes(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    if let Err(impossible) = add_disk(desk) {
        return impossible;
    }
    power_cut(desk, rng, seconds, |desk, _| {
        let disk = desk.disk.as_ref().expect("mounted above");
        disk.set_read_only(true);
        let status = desk.start(&["run", "grid.yaml"]).wait(PATIENCE);
        disk.set_read_only(false);
        match status.and_then(|status| status.code()) {
            Some(1 | 2) if desk.said().contains("cannot write the results folder") => Done,
            code => Wrong(format!("read-only results ended a command with {code:?}")),
        }
    })
}

/// For a while a run cannot make new files.
fn fix_run_folder(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let Some(process) = desk.pick_training(&mut running, rng) else {
        return Missed;
    };
    let runs = desk.runs().into_iter();
    let mut folders = runs.filter(|run| {
        let name = run
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        process.arguments.contains(&name)
    });
    let Some(folder) = folders.next() else {
        return Missed;
    };
    if !machine::set_fixed(&folder, true) {
        return Impossible("the folder cannot be made immutable");
    }
    let fixed = Duration::from_millis(rng.random_range(100..2000));
    wait_until(fixed, || !running.is_running());
    machine::set_fixed(&folder, false);
    end(running)
}

/// Three jumps of up to ten years, either way.
fn jump_clock(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(clock) = Clock::build(desk.path()) else {
        return Impossible("there is no C compiler");
    };
    desk.clock = Some(clock);
    let Some(mut running) = desk.start_and_wait(rng, seconds / 2.0) else {
        return Missed;
    };
    for _ in 0..3 {
        let years = rng.random_range(-10.0..10.0) * rng.random_range(0.0..1.0f64).powi(4);
        let clock = desk.clock.as_ref().expect("built above");
        clock.set((years * 365.25 * 86400.0) as i64);
        let pause = Duration::from_secs_f64(rng.random_range(0.0..0.2) * seconds);
        wait_until(pause, || !running.is_running());
    }
    end(running)
}

fn stop_training(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    with_training(desk, rng, seconds, |_, process, _| {
        machine::signal(process.pid, Signal::SIGSTOP);
    })
}

fn pause(pid: i32, rng: &mut ChaCha8Rng) {
    machine::signal(pid, Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(rng.random_range(10..4000)));
    machine::signal(pid, Signal::SIGCONT);
}

fn pause_training(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    with_training(desk, rng, seconds, |_, process, rng| {
        pause(process.pid, rng)
    })
}

fn pause_orchestrator(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    pause(running.pid(), rng);
    end(running)
}

/// Has the next process that is started misbehave; `$3` is its run's folder.
fn misbehave(desk: &Desk, rng: &mut ChaCha8Rng, seconds: f64, script: &str) -> Injection {
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    desk.replace_program(script);
    wait_until(PATIENCE, || desk.misbehaved() || !running.is_running());
    let happened = desk.misbehaved();
    let ended = end(running);
    desk.restore_program();
    if happened { ended } else { Missed }
}

fn garbage(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let bytes = rng.next_u32() % 5000;
    let then = ["", "exit 0", "exit 1", "kill -SEGV $$"][rng.random_range(0..4)];
    let script = format!(
        "head -c {bytes} /dev/urandom\nhead -c {bytes} /dev/urandom >&2\n\
         head -c {bytes} /dev/urandom >> \"$3/{JOURNAL}\"\n{then}"
    );
    misbehave(desk, rng, seconds, &script)
}

fn allocate(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let script = "ulimit -v 400000\ntail /dev/zero\nkill -KILL $$";
    misbehave(desk, rng, seconds, script)
}

/// The program itself finds no memory.
fn little_memory(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let script = format!("ulimit -v {}", 1000 * rng.random_range(100..200));
    misbehave(desk, rng, seconds, &script)
}

fn never_end(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let deaf = if rng.random_bool(0.5) {
        "trap '' TERM INT\n"
    } else {
        ""
    };
    misbehave(
        desk,
        rng,
        seconds,
        &format!("{deaf}while true; do sleep 1; done"),
    )
}

fn end_early(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let code = [0, 1, 3, 4, 101][rng.random_range(0..5)];
    misbehave(desk, rng, seconds, &format!("exit {code}"))
}

/// A second command on the same results is refused, and the first goes on.
fn second_orchestrator(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let second = desk.start(&["run", "grid.yaml"]).wait(PATIENCE);
    if !running.is_running() {
        return Missed;
    }
    let said = desk.said();
    let named = said.contains(&format!("process {} on", running.pid()));
    match second.and_then(|status| status.code()) {
        Some(1 | 2) if said.contains("another orchestrator works on") && named => end(running),
        code => Wrong(format!("a second orchestrator ended with {code:?}")),
    }
}

/// Writes to the database for longer than a statement waits; the command at work has to wait on.
fn hold_database(desk: &mut Desk, rng: &mut ChaCha8Rng, seconds: f64) -> Injection {
    /// Longer than the busy timeout of 30 s.
    const HELD: Duration = Duration::from_secs(32);
    let Some(mut running) = desk.start_and_wait(rng, seconds) else {
        return Missed;
    };
    let options = SqliteConnectOptions::new()
        .filename(desk.results().join(DATABASE))
        .busy_timeout(PATIENCE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut connection = options.connect().await.expect("open");
        let writing = connection.begin_with("BEGIN IMMEDIATE").await;
        let writing = writing.expect("begun");
        tokio::time::sleep(HELD).await;
        drop(writing);
        connection.close().await.expect("closed");
    });
    let held = desk.said().contains("the database is locked: process");
    match running.wait(PATIENCE).and_then(|status| status.code()) {
        Some(0) if held => Done,
        // Nothing was left to write.
        Some(0) => Missed,
        code => Wrong(format!("the command ended with {code:?}")),
    }
}
