//! What a run carries out, whoever trains it.

use crate::external::ExternalSpec;
use crate::flops::Convention;
use crate::run::{Part, RunId, RunSpec, SpecError, Start};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

/// A model of this program, or the command of an external trainer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Work {
    /// A model of this program.
    Model(Box<RunSpec>),
    /// Another trainer's.
    External(Box<ExternalSpec>),
}

impl From<RunSpec> for Work {
    fn from(spec: RunSpec) -> Self {
        Self::Model(Box::new(spec))
    }
}

impl From<ExternalSpec> for Work {
    fn from(spec: ExternalSpec) -> Self {
        Self::External(Box::new(spec))
    }
}

impl Work {
    /// Reads a specification from the JSON of its file.
    ///
    /// # Errors
    /// When it is no specification, or none of a run that can be.
    pub fn read(json: &[u8]) -> Result<Self, SpecError> {
        let work = Self::parse(json)?;
        let sound = match &work {
            Self::Model(spec) => spec.check(),
            Self::External(spec) => spec.check(),
        };
        sound.map_err(SpecError::Unsound)?;
        Ok(work)
    }

    /// Reads a specification that was checked before it was stored.
    ///
    /// # Errors
    /// When it is no specification.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            trainer: Option<IgnoredAny>,
        }
        let kind: Kind = serde_json::from_slice(json)?;
        Ok(match kind.trainer {
            Some(_) => Self::External(serde_json::from_slice(json)?),
            None => Self::Model(serde_json::from_slice(json)?),
        })
    }

    /// Computes the run's identity.
    pub fn id(&self) -> RunId {
        match self {
            Self::Model(spec) => spec.id(),
            Self::External(spec) => spec.id(),
        }
    }

    /// The model of this program that it trains.
    pub fn model(&self) -> Option<&RunSpec> {
        match self {
            Self::Model(spec) => Some(spec),
            Self::External(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn model_mut(&mut self) -> Option<&mut RunSpec> {
        match self {
            Self::Model(spec) => Some(spec),
            Self::External(_) => None,
        }
    }

    /// What another trainer is asked.
    pub fn external(&self) -> Option<&ExternalSpec> {
        match self {
            Self::Model(_) => None,
            Self::External(spec) => Some(spec),
        }
    }

    /// Says which part of a training it carries out, `trial` whether to find a learning rate.
    pub fn part(&self, trial: bool) -> Part {
        let model = self.model();
        model.map_or(Part::Whole, |spec| spec.execution.part(trial))
    }

    /// The run from whose end it goes on.
    pub fn start(&self) -> Option<&Start> {
        self.model()?.execution.start.as_ref()
    }

    /// Counts the optimizer steps to its end, where that is known before it trains.
    pub fn steps(&self) -> Option<u64> {
        let spec = self.model()?;
        Some(spec.recipe.steps(spec.architecture.seq_len()))
    }

    /// Counts its training tokens, where that is known before it trains.
    pub fn tokens(&self) -> Option<f64> {
        match self {
            Self::Model(spec) => Some(spec.recipe.tokens as f64),
            Self::External(spec) => spec.declared.tokens,
        }
    }

    /// Sequences computed at once at first.
    pub fn micro_batch(&self) -> Option<usize> {
        match self {
            Self::Model(spec) => Some(spec.execution.micro_batch),
            // Without arguments for it a trainer cannot be told.
            Self::External(spec) => spec
                .micro_batch
                .filter(|_| !spec.trainer.micro_batch.is_empty()),
        }
    }

    /// Sequences whose gradients make one step: what computes fewer at once divides them.
    pub fn batch(&self) -> Option<usize> {
        match self {
            Self::Model(spec) => Some(spec.recipe.batch),
            Self::External(_) => self.micro_batch(),
        }
    }

    /// Puts another number of sequences computed at once in place.
    pub fn set_micro_batch(&mut self, rows: Option<usize>) {
        match (self, rows) {
            (Self::Model(spec), Some(rows)) => spec.execution.micro_batch = rows,
            (Self::Model(_), None) => {}
            (Self::External(spec), rows) => spec.micro_batch = rows,
        }
    }

    /// Threads of its process.
    pub fn threads(&self) -> usize {
        match self {
            Self::Model(spec) => spec.execution.threads,
            Self::External(spec) => spec.threads.unwrap_or(1),
        }
    }

    /// Devices that it takes together.
    pub fn devices(&self) -> usize {
        match self {
            Self::Model(_) => 1,
            Self::External(spec) => spec.devices,
        }
    }

    /// Seed.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Model(spec) => spec.seed,
            Self::External(spec) => spec.seed,
        }
    }

    /// Computes the FLOPs of its whole training, convention `exact` at the declared R, or as its file says
    /// them or its N and D; `None` where it says neither.
    pub fn flops(&self) -> Option<f64> {
        match self {
            Self::Model(spec) => {
                let ratio = spec.architecture.compression_ratio();
                let per_token = spec.architecture.training_flops(ratio, Convention::Exact);
                Some(per_token * spec.recipe.tokens as f64)
            }
            Self::External(spec) => spec.flops(),
        }
    }
}
