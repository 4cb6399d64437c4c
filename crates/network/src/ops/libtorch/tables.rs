//! Tensors that are the same in every step, made once.

use std::sync::{Mutex, PoisonError};

use burn::backend::libtorch::TchTensor;
use tch::{Kind, Tensor};

use super::aten;
use crate::ops::ROTARY_BASE;

/// What tables hold, and for which sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Table {
    /// Of rotary angles, for both halves of a head: cosines; sines, the first half's negative; and
    /// these negative. `[length, 1, head]` each, for `length` positions or more.
    Rotary { head: usize, length: i64 },
    /// 0 where a window leaves a token visible and -inf elsewhere: `[length, length]`.
    Window { window: i64, length: i64 },
    /// The same for blocks of tokens, each after `window` tokens before it:
    /// `[batch * blocks, 1, block, window + block]`.
    Blocks {
        window: i64,
        block: i64,
        batch: i64,
        blocks: i64,
    },
}

impl Table {
    /// Asks for more than is needed where the first part serves for less.
    fn rounded(self) -> Self {
        match self {
            Self::Rotary { head, length } => Self::Rotary {
                head,
                length: (length as u64).next_power_of_two().max(1024) as i64,
            },
            exact => exact,
        }
    }

    fn make(self, kind: Kind, device: tch::Device) -> Vec<Tensor> {
        let options = (Kind::Double, device);
        let positions = |count| Tensor::arange(count, options);
        let tables = match self {
            Self::Rotary { head, length } => {
                let exponents = positions(head as i64 / 2) * (-2.0 / head as f64);
                let angles = positions(length).outer(&(exponents * ROTARY_BASE.ln()).exp());
                let (cos, sin) = (angles.cos(), angles.sin());
                [[&cos, &cos], [&sin.neg(), &sin], [&sin, &sin.neg()]]
                    .map(|halves| Tensor::cat(&halves, 1).unsqueeze(1))
                    .into()
            }
            Self::Window { window, length } => {
                let visible = Tensor::ones([length; 2], options);
                vec![visible.tril(0).triu(1 - window).log()]
            }
            Self::Blocks {
                window,
                block,
                batch,
                blocks,
            } => {
                let visible = Tensor::ones([block, window + block], options);
                let visible = visible.tril(window).triu(1);
                // Nothing is before the first block.
                let first = visible.shallow_clone() * positions(window + block).ge(window);
                let others = visible.expand([blocks - 1, -1, -1], false);
                let row = Tensor::cat(&[first.unsqueeze(0), others], 0).log();
                vec![row.unsqueeze(1).repeat([batch, 1, 1, 1])]
            }
        };
        let tables = tables.into_iter();
        tables
            .map(|table| table.to_kind(kind).contiguous())
            .collect()
    }
}

/// Tables as they were made.
struct Made {
    of: (Table, Kind, tch::Device),
    tensors: Vec<TchTensor>,
}

/// Everything made so far: a run has few sizes.
static TABLES: Mutex<Vec<Made>> = Mutex::new(Vec::new());

/// Reads tables, and makes them the first time.
pub(super) fn tables(table: Table, kind: Kind, device: tch::Device) -> Vec<Tensor> {
    let of = (table.rounded(), kind, device);
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let index = match tables.iter().position(|made| made.of == of) {
        Some(index) => index,
        None => {
            aten::refuse_while_recording("a table would be made");
            let tensors = of.0.make(kind, device).into_iter();
            let tensors = tensors.map(TchTensor::new).collect();
            tables.push(Made { of, tensors });
            tables.len() - 1
        }
    };
    let tensors = tables[index].tensors.iter();
    tensors.map(|made| made.tensor.shallow_clone()).collect()
}
