//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the clock.
///
/// # Units
/// Seconds since the Unix epoch; 0 on a machine whose clock stands before it.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// Writes a time as `2026-11-24 20:15:00` in UTC; one beyond the year 9999 as seconds since the Unix
/// epoch, as no clock has it.
pub fn utc(seconds: f64) -> String {
    const DAY: u64 = 86_400;
    /// The first second of the year 10000.
    const END: f64 = 253_402_300_800.0;
    if seconds.is_nan() || seconds >= END {
        return format!("{seconds:e} s after 1970");
    }
    let seconds = seconds.max(0.0) as u64;
    // Years begin in March here: a leap day is then the last of its year. Eras of 400 years are alike.
    let days = seconds / DAY + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    let year = 400 * era + year + next;
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (seconds, expected) in [
            (0.0, "1970-01-01 00:00:00"),
            (951_782_400.5, "2000-02-29 00:00:00"),
            (1_709_251_199.0, "2024-02-29 23:59:59"),
            (1_767_225_599.0, "2025-12-31 23:59:59"),
            (1_795_551_315.0, "2026-11-24 20:15:15"),
            (4_107_542_399.0, "2100-02-28 23:59:59"),
            (4_107_542_400.0, "2100-03-01 00:00:00"),
            (253_402_300_799.0, "9999-12-31 23:59:59"),
            (-5.0, "1970-01-01 00:00:00"),
            (1e18, "1e18 s after 1970"),
            (f64::NAN, "NaN s after 1970"),
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }
}
