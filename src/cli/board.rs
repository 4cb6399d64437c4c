//! A table of runs that fits the window: those that train, those that failed, and a count of others.

use super::terminal::wants_colour;
use std::process::{Command, Stdio};

/// What can be drawn on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Columns.
    pub(super) width: usize,
    /// Lines.
    pub(super) height: usize,
    /// Whether it shows more than ASCII.
    pub(super) is_utf8: bool,
    pub(super) has_colour: bool,
}

impl Window {
    /// Finds out about the terminal: `COLUMNS` and `LINES` where they are set, else its own size.
    pub(super) fn now() -> Self {
        let number = |name| std::env::var(name).ok()?.parse().ok().filter(|n| *n > 0);
        let (columns, lines) = (number("COLUMNS"), number("LINES"));
        let asked = match (columns, lines) {
            (Some(_), Some(_)) => None,
            _ => asked(),
        };
        Self {
            width: columns.or(asked.map(|size| size.1)).unwrap_or(80),
            height: lines.or(asked.map(|size| size.0)).unwrap_or(24),
            is_utf8: is_utf8(),
            has_colour: wants_colour(),
        }
    }
}

/// Asks the terminal for its lines and columns.
fn asked() -> Option<(usize, usize)> {
    let terminal = std::fs::File::open("/dev/tty").ok()?;
    let output = Command::new("stty")
        .arg("size")
        .stdin(terminal)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (lines, columns) = text.trim().split_once(' ')?;
    let size = (lines.parse().ok()?, columns.parse().ok()?);
    (size.0 > 0 && size.1 > 0).then_some(size)
}

/// Says whether the locale's characters are UTF-8.
fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok()?;
        (!value.is_empty()).then(|| value.to_lowercase())
    });
    set.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}

/// A run on the board.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) id: String,
    /// What it is, in a few words.
    pub(super) label: String,
    /// The share that is done of one that trains; `None` for one that failed.
    pub(super) done: Option<f64>,
    /// Why it failed.
    pub(super) failure: String,
    /// Its losses so far.
    pub(super) losses: Vec<f64>,
    pub(super) tokens_per_second: Option<f64>,
}

/// The runs to show and what is said below them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Board {
    /// Runs that train.
    pub(super) running: Vec<Row>,
    pub(super) failed: Vec<Row>,
    /// The share of all work that is done.
    pub(super) done: f64,
    /// How the whole stands.
    pub(super) whole: String,
}

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";

impl Board {
    /// Draws it: no line is wider than the window, and there are no more lines than it has.
    pub(super) fn draw(&self, window: Window) -> Vec<String> {
        let columns = Columns::within(window);
        // The header, the line below the runs, and the line that the cursor stands in.
        let room = window.height.saturating_sub(3).max(1);
        let all = self.running.len() + self.failed.len();
        let shown = if all > room {
            room.saturating_sub(1)
        } else {
            all
        };
        let running = self.running.len().min(shown);
        let failed = self.failed.len().min(shown - running);
        let mut lines = Vec::new();
        if running + failed > 0 {
            lines.push(columns.paint(DIM, &columns.header()));
        }
        let train = self.running[..running].iter();
        lines.extend(train.map(|row| columns.running(row)));
        let broken = self.failed[..failed].iter();
        lines.extend(broken.map(|row| columns.paint(RED, &columns.failed(row))));
        let others: Vec<String> = [
            (self.running.len() - running, "running"),
            (self.failed.len() - failed, "failed"),
        ]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} more {what}"))
        .collect();
        if !others.is_empty() {
            lines.push(columns.paint(DIM, &columns.fit(&others.join(", "))));
        }
        lines.push(columns.whole(self.done, &self.whole));
        lines
    }
}

/// How many characters each column gets; 0 where there is no room for it.
struct Columns {
    window: Window,
    spark: usize,
    speed: usize,
    label: usize,
}

const ID: usize = 12;
const DONE: usize = 4;
const LOSS: usize = 7;

impl Columns {
    fn within(window: Window) -> Self {
        let width = window.width;
        let least = ID + DONE + LOSS + 4;
        let spark = match width {
            ..36 => 0,
            36..70 => 8,
            70..120 => 12,
            _ => 24,
        };
        let speed = if width < 70 { 0 } else { 9 };
        let with_gap = |column: usize| if column == 0 { 0 } else { column + 2 };
        let left = width.saturating_sub(least + with_gap(spark) + with_gap(speed) + 2);
        let label = if left < 10 { 0 } else { left };
        Self {
            window,
            spark,
            speed,
            label,
        }
    }

    fn line(&self, [id, done, spark, loss, speed, label]: [&str; 6]) -> String {
        let mut line = format!("{id:<ID$.ID$}  {done:>DONE$}");
        if self.spark > 0 {
            line += &format!("  {spark:<0$}", self.spark);
        }
        line += &format!("  {loss:>LOSS$}");
        if self.speed > 0 {
            line += &format!("  {speed:>0$}", self.speed);
        }
        if self.label > 0 {
            line += &format!("  {label}");
        }
        self.fit(line.trim_end())
    }

    fn header(&self) -> String {
        self.line(["run", "done", "", "loss", "tokens/s", "what"])
    }

    fn running(&self, row: &Row) -> String {
        let missing = if self.window.is_utf8 { "–" } else { "-" };
        let done = row.done.map_or(missing.to_owned(), percent);
        let loss = row
            .losses
            .last()
            .map_or(missing.to_owned(), |loss| format!("{loss:.4}"));
        let speed = row
            .tokens_per_second
            .map_or(missing.to_owned(), experiment::quantity::human);
        let spark = sparkline(&row.losses, self.spark, self.window.is_utf8);
        self.line([&row.id, &done, &spark, &loss, &speed, &row.label])
    }

    fn failed(&self, row: &Row) -> String {
        let label = match self.label {
            0 => String::new(),
            _ => format!(" ({})", row.label),
        };
        self.fit(&format!("{:<ID$.ID$}  {}{label}", row.id, row.failure))
    }

    fn whole(&self, done: f64, text: &str) -> String {
        let bar = match self.window.width {
            ..60 => 0,
            60..100 => 20,
            _ => 40,
        };
        let full = (done.clamp(0.0, 1.0) * bar as f64).round() as usize;
        let [block, space] = if self.window.is_utf8 {
            ["█", "░"]
        } else {
            ["#", "."]
        };
        let bar = format!("{}{}", block.repeat(full), space.repeat(bar - full));
        let gap = if bar.is_empty() { "" } else { "  " };
        self.fit(&format!("{bar}{gap}{} {text}", percent(done)))
    }

    /// Cuts a line that is too wide for the window and shows that it did.
    fn fit(&self, line: &str) -> String {
        // The last column stays free: some terminals go on to the next line when it is written.
        let width = self.window.width.saturating_sub(1);
        if line.chars().count() <= width {
            return line.to_owned();
        }
        let end = if self.window.is_utf8 { '…' } else { '~' };
        let kept = line.chars().take(width.saturating_sub(1));
        kept.chain([end].into_iter().filter(|_| width > 0))
            .collect()
    }

    fn paint(&self, colour: &str, line: &str) -> String {
        if self.window.has_colour {
            format!("{colour}{line}\x1b[0m")
        } else {
            line.to_owned()
        }
    }
}

fn percent(share: f64) -> String {
    // Not done is not 100%.
    let whole = (100.0 * share).floor().clamp(0.0, 100.0);
    format!("{whole:.0}%")
}

/// Draws values as a line of so many characters, the highest as a full block.
fn sparkline(values: &[f64], width: usize, is_utf8: bool) -> String {
    let levels: Vec<char> = if is_utf8 {
        "▁▂▃▄▅▆▇█".chars().collect()
    } else {
        "_.,-=+*#".chars().collect()
    };
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let cells = width.min(values.len());
    let cell = |k: usize| {
        let [from, to] = [k, k + 1].map(|k| k * values.len() / cells);
        let here = &values[from..to];
        let mean = here.iter().sum::<f64>() / here.len() as f64;
        if !mean.is_finite() {
            return '!';
        }
        let above = if high > low {
            (mean - low) / (high - low)
        } else {
            0.0
        };
        levels[((above * levels.len() as f64) as usize).min(levels.len() - 1)]
    };
    (0..cells).map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(width: usize, height: usize) -> Window {
        Window {
            width,
            height,
            is_utf8: true,
            has_colour: false,
        }
    }

    fn board(running: usize, failed: usize) -> Board {
        let row = |k: usize| Row {
            id: format!("{k:012x}"),
            label: "dlcm N=200K P=0.50 R=4 D=1.00M seed 0".into(),
            done: Some(0.5),
            losses: (0..40).map(|k| 5.0 - 0.05 * k as f64).collect(),
            tokens_per_second: Some(12_345.0),
            ..Row::default()
        };
        let broken = |k: usize| Row {
            done: None,
            failure: "crashed: no space left on the device".into(),
            ..row(k)
        };
        Board {
            running: (0..running).map(row).collect(),
            failed: (0..failed).map(broken).collect(),
            done: 0.25,
            whole: "2.3 h left; 30/120 runs done, 2 running, 1 failed".into(),
        }
    }

    #[test]
    fn a_wide_window_shows_all_and_a_narrow_one_what_matters() {
        let lines = board(1, 1).draw(window(120, 24));
        insta::assert_snapshot!(lines.join("\n"), @r"
        run           done                               loss   tokens/s  what
        000000000000   50%  ███▇▇▇▆▆▆▅▅▅▄▄▄▃▃▃▂▂▂▁▁▁   3.0500      12.3K  dlcm N=200K P=0.50 R=4 D=1.00M seed 0
        000000000000  crashed: no space left on the device (dlcm N=200K P=0.50 R=4 D=1.00M seed 0)
        ██████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  25% 2.3 h left; 30/120 runs done, 2 running, 1 failed
        ");
        let lines = board(1, 1).draw(window(40, 24));
        insta::assert_snapshot!(lines.join("\n"), @r"
        run           done               loss
        000000000000   50%  █▇▆▅▄▃▂▁   3.0500
        000000000000  crashed: no space left o…
        25% 2.3 h left; 30/120 runs done, 2 ru…
        ");
        let ascii = Window {
            is_utf8: false,
            ..window(80, 24)
        };
        let lines = board(2, 0).draw(ascii);
        assert!(lines.iter().all(|line| line.is_ascii()), "{lines:?}");
    }

    #[test]
    fn runs_that_train_come_before_those_that_failed() {
        let lines = board(30, 5).draw(window(80, 10));
        assert_eq!(lines.len(), 9);
        assert!(
            lines[7].contains("24 more running, 5 more failed"),
            "{lines:?}"
        );
        let lines = board(2, 30).draw(window(80, 10));
        assert!(
            lines[3].contains("crashed") && lines[7].contains("26 more failed"),
            "{lines:?}"
        );
    }

    #[test]
    fn losses_fall_from_left_to_right() {
        let falling: Vec<f64> = (0..8).map(|k| 8.0 - k as f64).collect();
        assert_eq!(sparkline(&falling, 8, true), "█▇▆▅▄▃▂▁");
        assert_eq!(sparkline(&falling, 4, false).len(), 4);
        assert_eq!(sparkline(&[], 8, true), "");
        assert_eq!(sparkline(&[3.0, 3.0], 8, true), "▁▁");
        assert_eq!(sparkline(&[3.0, f64::NAN], 8, true), "▁!");
    }

    #[test]
    fn colour_is_left_out_where_it_is_not_wanted() {
        let coloured = Window {
            has_colour: true,
            ..window(80, 24)
        };
        assert!(board(1, 1).draw(coloured).join("").contains(RED));
        assert!(!board(1, 1).draw(window(80, 24)).join("").contains('\x1b'));
    }

    proptest! {
        #[test]
        fn nothing_passes_the_window(
            width in 1usize..250, height in 1usize..60, running in 0usize..80, failed in 0usize..80
        ) {
            let lines = board(running, failed).draw(window(width, height));
            prop_assert!(lines.len() <= height.max(4));
            for line in lines {
                prop_assert!(line.chars().count() <= width);
            }
        }
    }
}
