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

/// Writes a time as `2026-11-24 20:15:00` in UTC.
pub fn utc(seconds: f64) -> String {
    const DAY: u64 = 86_400;
    let seconds = seconds.max(0.0) as u64;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut year, mut days) = (1970, seconds / DAY);
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{year}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}",
        days + 1
    )
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
        ] {
            assert_eq!(utc(seconds), expected);
        }
    }
}
