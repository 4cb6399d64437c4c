//! Rounds of workers that nobody watches: each ends with a command that begins the next, as long as they get on.

use crate::cli::Failure;
use std::fmt;
use std::str::FromStr;

/// Rounds in a row in which nothing got on, after which none is begun.
const IN_VAIN: u32 = 3;

/// What the command after a round is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Round {
    /// How much was measured and saved before it.
    measured: i64,
    /// Rounds before it in which nothing was.
    in_vain: u32,
}

impl Round {
    /// Makes the next one, where so much has been measured by now.
    pub(super) fn next(last: Option<Self>, measured: i64) -> Result<Self, Failure> {
        let in_vain = match last {
            Some(last) if last.measured >= measured => last.in_vain + 1,
            _ => 0,
        };
        if in_vain >= IN_VAIN {
            return Err(Failure::machine(format!(
                "nothing was measured or saved in {IN_VAIN} rounds of workers: no other is begun. What they printed is \
                 in the folder cluster/jobs of the results, and `orchestrator status` says which runs failed"
            )));
        }
        Ok(Self { measured, in_vain })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.measured, self.in_vain)
    }
}

impl FromStr for Round {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':');
        let round = parts.and_then(|(measured, in_vain)| {
            Some(Self {
                measured: measured.parse().ok()?,
                in_vain: in_vain.parse().ok()?,
            })
        });
        round.ok_or_else(|| format!("`{text}` is no MEASURED:IN_VAIN"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_end_when_they_do_not_get_on() {
        let mut round = Round::next(None, 5).expect("the first");
        for _ in 1..IN_VAIN {
            round = Round::next(round.to_string().parse().ok(), 5).expect("not yet");
        }
        assert!(Round::next(Some(round), 5).is_err());
        assert_eq!(Round::next(Some(round), 6).expect("it got on").in_vain, 0);
    }
}
