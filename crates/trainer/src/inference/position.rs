//! Loss by position inside a concept.
//!
//! # Source
//! DLCM, arXiv 2512.24617, Fig. 7.

use super::reading::Reading;
use serde::Serialize;

/// The last position is this one and all after it.
pub const LAST: usize = 16;

/// The tokens at one position inside their concepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct AtPosition {
    /// The position: 0 for the token that starts a concept; [`LAST`] stands for it and all after.
    pub position: usize,
    /// Tokens there.
    pub tokens: usize,
    /// Their mean loss, nats; `None` where there are no tokens.
    pub loss: Option<f64>,
    /// Their mean loss in the other run, nats; `None` without one.
    pub against: Option<f64>,
    /// `against` minus `loss`: what the run gains over the other.
    pub gain: Option<f64>,
}

/// Takes means over readings, each with another run's reading of the same tokens or none, by
/// position in the first run's concepts; empty when that run is dense.
///
/// A token counts at its own position. The first of a window does not count: the window, not the
/// model, makes it start a concept.
pub fn by_position(readings: &[(Reading, Option<Reading>)]) -> Vec<AtPosition> {
    let mut sums = [(0usize, 0.0, 0.0); LAST + 1];
    for (reading, other) in readings {
        let Some(segmentation) = &reading.segmentation else {
            return Vec::new();
        };
        let mut position = 0;
        for (t, &starts) in segmentation.boundaries.iter().enumerate() {
            position = if starts { 0 } else { position + 1 };
            if t % reading.window == 0 {
                continue;
            }
            let (tokens, loss, against) = &mut sums[position.min(LAST)];
            *tokens += 1;
            *loss += f64::from(reading.losses[t - 1]);
            *against += other
                .as_ref()
                .map_or(0.0, |other| f64::from(other.losses[t - 1]));
        }
    }
    let compared = readings.iter().all(|(_, other)| other.is_some());
    let rows = sums.into_iter().enumerate();
    let rows = rows.map(|(position, (tokens, loss, against))| {
        let mean = |sum: f64| (tokens > 0).then(|| sum / tokens as f64);
        AtPosition {
            position,
            tokens,
            loss: mean(loss),
            against: mean(against).filter(|_| compared),
            gain: mean(against - loss).filter(|_| compared),
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::reading::Segmentation;
    use super::*;

    fn reading(losses: &[f32], starts: &[usize], window: usize) -> Reading {
        let tokens = losses.len() + 1;
        Reading {
            tokens: vec![0; tokens],
            window,
            segmentation: Some(Segmentation {
                probabilities: vec![0.5; tokens],
                boundaries: (0..tokens).map(|t| starts.contains(&t)).collect(),
            }),
            losses: losses.to_vec(),
        }
    }

    #[test]
    fn tokens_count_where_they_stand() {
        //                       t = 1    2    3    4    5
        let own = reading(&[1.0, 2.0, 3.0, 40.0, 5.0], &[0, 2, 4], 4);
        let dense = Reading {
            segmentation: None,
            losses: vec![2.0, 2.5, 2.0, 0.0, 8.0],
            ..own.clone()
        };
        let rows = by_position(&[(own.clone(), Some(dense.clone()))]);
        assert_eq!(rows.len(), LAST + 1);
        let [first, second, third] = [rows[0], rows[1], rows[2]];
        // Token 4 begins a window.
        assert_eq!(
            (first.tokens, first.loss, first.gain),
            (1, Some(2.0), Some(0.5))
        );
        assert_eq!((second.tokens, second.loss), (3, Some(3.0)));
        assert_eq!((second.against, second.gain), (Some(4.0), Some(1.0)));
        assert_eq!((third.tokens, third.loss, third.gain), (0, None, None));
        let alone = by_position(&[(own, None)]);
        assert_eq!(
            (alone[0].loss, alone[0].against, alone[0].gain),
            (Some(2.0), None, None)
        );
        assert!(by_position(&[(dense, None)]).is_empty());
    }

    #[test]
    fn far_positions_are_one() {
        let rows = by_position(&[(reading(&[1.0; 40], &[0], 100), None)]);
        assert_eq!(rows[LAST].tokens, 40 - LAST + 1);
        assert_eq!(rows[0].tokens, 0);
    }
}
