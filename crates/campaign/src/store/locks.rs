//! Who writes to a database, as far as the system shows.

use super::opening::beside;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Where the kernel lists the locks of all processes.
const LOCKS: &str = "/proc/locks";

/// Characters of a command line that are shown.
const SHOWN: usize = 80;

/// Says in words who holds a database that is locked.
///
/// The files are not opened for that: closing one would give up the locks that this process has on it
/// (<https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
pub(super) fn holder(database: &Path) -> String {
    let locks = std::fs::read_to_string(LOCKS).unwrap_or_default();
    // Who writes holds a lock on the index of the write-ahead log, or without one on the file itself.
    let files = [beside(database, "-shm"), database.to_owned()];
    let inodes = files
        .iter()
        .filter_map(|file| Some(std::fs::metadata(file).ok()?.ino()));
    let mut pids: Vec<i32> = inodes
        .flat_map(|inode| writers(&locks, inode))
        .filter(|&pid| pid > 0 && pid != std::process::id() as i32)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    if pids.is_empty() {
        return "another process (of another machine or container, or one that this system does not \
                show)"
            .to_owned();
    }
    let said = pids.into_iter().map(|pid| match command_line(pid) {
        Some(command) => format!("process {pid} (`{command}`)"),
        None => format!("process {pid}"),
    });
    said.collect::<Vec<_>>().join(" or ")
}

/// Finds the processes that hold a file for writing among lines such as
/// `1: POSIX  ADVISORY  WRITE 4711 08:01:131090 120 120`.
fn writers(locks: &str, inode: u64) -> Vec<i32> {
    let writer = |line: &str| {
        // A line with `->` is of somebody who waits.
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == "POSIX").then_some(())?;
        (words.nth(1)? == "WRITE").then_some(())?;
        let pid = words.next()?.parse().ok()?;
        let (_, found) = words.next()?.rsplit_once(':')?;
        (found.parse() == Ok(inode)).then_some(pid)
    };
    locks.lines().filter_map(writer).collect()
}

fn command_line(pid: i32) -> Option<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.trim_end_matches('\0').chars().map(plain).collect();
    let shown: String = text.chars().take(SHOWN).collect();
    (!shown.is_empty()).then(|| {
        if shown.len() < text.len() {
            shown + "…"
        } else {
            shown
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_is_read_from_the_list_of_the_kernel() {
        let locks = "1: POSIX  ADVISORY  WRITE 4711 08:01:131090 120 120\n\
            2: POSIX  ADVISORY  READ 12 08:01:131090 123 123\n\
            2: -> POSIX  ADVISORY  WRITE 13 08:01:131090 120 120\n\
            3: FLOCK  ADVISORY  WRITE 14 08:01:131090 0 EOF\n\
            4: POSIX  ADVISORY  WRITE 15 08:01:131091 0 EOF\n";
        assert_eq!(writers(locks, 131_090), [4711]);
        assert_eq!(writers("", 131_090), [0; 0]);
    }
}
