//! A step's passes as work that a GPU repeats by itself.
//!
//! The host decides boundaries, so a step is two recordings: the encoder, and all that follows the
//! decision. Their shapes depend on how many concepts there is room for, which comes in few sizes:
//! there is one pair for each. Weights, inputs and gradients stay where they are in memory; the
//! optimizer updates weights in place, outside the recordings.

use super::step::{Loss, Passes, Sequences, Settings, with_auxiliary};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Int, Tensor};
use network::boundary::{number, starts};
use network::ops::{self, Recording, Segments};
use network::{Boundaries, Decision, Network, Segmentation};
use std::collections::{BTreeMap, BTreeSet};

/// Steps that are computed the ordinary way first, so that what is made once is made before.
const WARM_UP: u32 = 2;

/// Recordings that may fail, or become useless, before none is made any more.
const FAILURES: u32 = 5;

/// The recordings of a network's steps.
#[derive(Debug, Default)]
pub struct Replays {
    warmed_up: u32,
    failures: u32,
    state: Option<State>,
}

/// What recordings read and write.
#[derive(Debug)]
struct State {
    /// Where the weights are.
    weights: Vec<usize>,
    tokens: Tensor<2, Int>,
    targets: Tensor<1, Int>,
    /// Segment of each token.
    index: Tensor<2, Int>,
    /// What p is multiplied by in the auxiliary loss, [rows, 1].
    slopes: Tensor<2>,
    gradients: GradientsParams,
    /// By the concepts there is room for; 0 in a dense model.
    recorded: BTreeMap<usize, Recorded>,
    /// Room for concepts in the step before.
    room: Option<usize>,
}

#[derive(Debug)]
struct Recorded {
    encoder: Recording,
    rest: Recording,
    probability: Option<Tensor<2>>,
    starts: Option<Tensor<2, Int>>,
    loss: Tensor<1>,
    /// The weights that have gradients.
    reached: BTreeSet<ParamId>,
}

impl Replays {
    /// Runs a step's passes by recordings; `None` where they are to be computed the ordinary way.
    pub(super) fn run(
        &mut self,
        settings: &Settings,
        network: &Network,
        sequences: &Sequences,
        decision: &Decision,
    ) -> Option<Passes> {
        let whole = settings.micro_batch >= sequences.rows();
        if !whole || self.failures == FAILURES || !Recording::possible_on(settings.device) {
            return None;
        }
        if self.warmed_up < WARM_UP {
            self.warmed_up += 1;
            return None;
        }
        let addresses = addresses(network);
        let current = |state: &State| {
            state.weights == addresses && state.targets.dims()[0] == sequences.targets.len()
        };
        let state = match self.state.take() {
            Some(state) if current(&state) => state,
            before => {
                self.failures += u32::from(before.is_some());
                State::new(addresses, settings, network, sequences)
            }
        };
        let state = self.state.insert(state);
        match state.run(settings, network, sequences, decision) {
            Ok(passes) => Some(passes),
            Err(error) => {
                tracing::warn!(
                    "a step could not be recorded and is computed kernel by kernel: {error}"
                );
                self.failures += 1;
                self.state = None;
                None
            }
        }
    }
}

impl State {
    fn new(
        weights: Vec<usize>,
        settings: &Settings,
        network: &Network,
        sequences: &Sequences,
    ) -> Self {
        let (rows, device) = (sequences.rows(), settings.device);
        let (tokens, targets) = sequences.tensors(0, rows, device);
        let mut gradients = Zeros(GradientsParams::new());
        network.visit(&mut gradients);
        Self {
            weights,
            index: tokens.zeros_like(),
            tokens,
            targets,
            slopes: Tensor::zeros([rows, 1], device),
            gradients: gradients.0,
            recorded: BTreeMap::new(),
            room: None,
        }
    }

    fn run(
        &mut self,
        settings: &Settings,
        network: &Network,
        sequences: &Sequences,
        decision: &Decision,
    ) -> Result<Passes, String> {
        let tokens = sequences.inputs.len() as f64;
        ops::overwrite_ints(&self.tokens, &sequences.inputs);
        ops::overwrite_ints(&self.targets, &sequences.targets);
        let mut auxiliary = None;
        let boundaries = match network {
            Network::Dense(_) | Network::TokenOnly(_) => {
                self.record(0, settings, network)?;
                self.recorded[&0].encoder.repeat()?;
                self.room = Some(0);
                None
            }
            Network::Dlcm(_) => Some(self.segment(settings, network, sequences, decision)?),
        };
        if let Some(boundaries) = boundaries.as_ref().filter(|_| settings.learns_boundaries()) {
            let rate = settings.starts(boundaries) / tokens;
            let terms = settings.auxiliary(boundaries, rate, sequences.seq_len, tokens);
            ops::overwrite(&self.slopes, &terms.slopes);
            auxiliary = Some(terms.loss);
        }
        let recorded = &self.recorded[&self.room.unwrap_or(0)];
        recorded.rest.repeat()?;
        let mut gradients = Listed {
            from: &self.gradients,
            reached: &recorded.reached,
            to: GradientsParams::new(),
        };
        network.visit(&mut gradients);
        let concepts = boundaries.as_ref().map(Boundaries::concepts);
        Ok(Passes {
            gradients: gradients.to,
            loss: Loss(vec![recorded.loss.clone()]),
            auxiliary_loss: auxiliary,
            realised_ratio: concepts.map(|concepts| tokens / concepts as f64),
            probabilities: boundaries
                .filter(|_| settings.learns_boundaries())
                .map_or_else(Vec::new, |found| found.probabilities),
        })
    }

    /// Runs the encoder, decides boundaries and says so to the device.
    fn segment(
        &mut self,
        settings: &Settings,
        network: &Network,
        sequences: &Sequences,
        decision: &Decision,
    ) -> Result<Boundaries, String> {
        let gradient = settings.recipe.boundary.gradient;
        let number = |boundaries: &Boundaries| {
            number(&boundaries.decided, sequences.seq_len, settings.device)
        };
        // There is most often room for as many as in the step before.
        let room = self.room.unwrap_or_else(|| {
            // Without a graph, which would hold on to the weights.
            let network = network.valid();
            let boundaries = network.segment(self.tokens.clone().inner(), decision, gradient);
            boundaries.map_or(0, |boundaries| number(&boundaries).1)
        });
        self.record(room, settings, network)?;
        let recorded = &self.recorded[&room];
        recorded.encoder.repeat()?;
        let probability = recorded.probability.clone().ok_or("no boundaries")?;
        let boundaries = Boundaries::decide(probability, decision);
        let (index, concepts) = number(&boundaries);
        if concepts != room {
            self.record(concepts, settings, network)?;
            self.recorded[&concepts].encoder.repeat()?;
        }
        self.room = Some(concepts);
        ops::overwrite_ints(&self.index, &index);
        if let Some(tensor) = &self.recorded[&concepts].starts {
            let starts = starts(&boundaries.decided, sequences.seq_len, concepts);
            ops::overwrite_ints(tensor, &starts);
        }
        Ok(boundaries)
    }

    /// Records a step with room for some concepts, unless it was before.
    fn record(
        &mut self,
        room: usize,
        settings: &Settings,
        network: &Network,
    ) -> Result<(), String> {
        if self.recorded.contains_key(&room) {
            return Ok(());
        }
        let (device, gradient) = (settings.device, settings.recipe.boundary.gradient);
        let [rows, _] = self.tokens.dims();
        let tokens = self.targets.dims()[0] as f64;
        let network = network.clone().fork(device);
        if addresses(&network) != self.weights {
            return Err("the weights are not where they were".to_owned());
        }
        let segmentation = (room > 0).then(|| Segmentation {
            segments: Segments {
                index: self.index.clone(),
                concepts: room,
            },
            starts: (network.needs_starts(gradient)).then(|| Tensor::zeros([rows, room], device)),
        });

        let shares = self.recorded.values().next().map(|other| &other.encoder);
        let (encoder, (network, encoded)) = Recording::new(device, shares, || {
            let network = network.cast_for_layers(settings.dtype());
            let encoded = network.encode(self.tokens.clone(), gradient);
            (network, encoded)
        })?;
        let probability = encoded.probability.clone();
        let (rest, (loss, reached)) = Recording::new(device, Some(&encoder), || {
            let logits = network.decode(encoded, segmentation.as_ref(), gradient);
            let targets = self.targets.clone();
            let loss = settings.cross_entropy(logits, targets, tokens);
            let total = match probability.clone().filter(|_| settings.learns_boundaries()) {
                None => loss.clone(),
                Some(p) => with_auxiliary(loss.clone(), p, self.slopes.clone()),
            };
            let mut kept = Kept {
                gradients: GradientsParams::from_grads(total.backward(), &network),
                fixed: &self.gradients,
                sources: Vec::new(),
                targets: Vec::new(),
                reached: BTreeSet::new(),
            };
            network.visit(&mut kept);
            ops::copy_all(&kept.targets, &kept.sources);
            (loss.inner(), kept.reached)
        })?;
        let recorded = Recorded {
            encoder,
            rest,
            probability: probability.map(Tensor::inner),
            starts: segmentation.and_then(|segmentation| segmentation.starts),
            loss,
            reached,
        };
        self.recorded.insert(room, recorded);
        Ok(())
    }
}

/// Lists where a network's weights are.
fn addresses(network: &Network) -> Vec<usize> {
    struct Addresses(Vec<usize>);
    impl ModuleVisitor for Addresses {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(ops::address(&param.val()));
        }
    }
    let mut addresses = Addresses(Vec::new());
    network.visit(&mut addresses);
    addresses.0
}

/// Makes room for every gradient.
struct Zeros(GradientsParams);

impl ModuleVisitor for Zeros {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().inner().zeros_like());
    }
}

/// Finds the places that gradients are copied to.
struct Kept<'a> {
    gradients: GradientsParams,
    fixed: &'a GradientsParams,
    sources: Vec<Tensor<1>>,
    targets: Vec<Tensor<1>>,
    reached: BTreeSet<ParamId>,
}

impl ModuleVisitor for Kept<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let found = self.gradients.remove::<D>(param.id);
        if let (Some(source), Some(target)) = (found, self.fixed.get::<D>(param.id)) {
            let elements = source.shape().num_elements();
            self.sources.push(source.reshape([elements]));
            self.targets.push(target.reshape([elements]));
            self.reached.insert(param.id);
        }
    }
}

/// Lists the gradients of the weights that have one.
struct Listed<'a> {
    from: &'a GradientsParams,
    reached: &'a BTreeSet<ParamId>,
    to: GradientsParams,
}

impl ModuleVisitor for Listed<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.reached.contains(&param.id) {
            return;
        }
        if let Some(gradient) = self.from.get::<D>(param.id) {
            self.to.register(param.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::optimizer::Optimizer;
    use crate::train::session::widths;
    use crate::train::timing::random_batch;
    use experiment::architecture::solver::ShapeSettings;
    use experiment::recipe::{Precision, Recipe};
    use network::device;

    /// Recordings read weights where they are.
    #[test]
    fn weights_stay_where_they_are_in_memory() {
        let device = device::open("tch:cpu").expect("libtorch").autodiff();
        let shapes = ShapeSettings {
            seq_len: 32,
            ..ShapeSettings::default()
        };
        let architecture = shapes.solve_dlcm(30_000, 0.5, 4.0, 40).expect("solvable");
        for precision in [Precision::F32, Precision::Bf16] {
            let recipe = Recipe {
                precision,
                ..Recipe::default()
            };
            let settings = Settings {
                recipe: &recipe,
                output_multiplier: 1.0,
                architecture: &architecture,
                micro_batch: 2,
                device: &device,
            };
            let mut network = Network::new(&architecture, 0, &device)
                .with_precision(precision)
                .train();
            let mut optimizer = Optimizer::default();
            let mut places = Vec::new();
            for step in 0..4 {
                let (sequences, decision) = random_batch(&architecture, 2, step, 0.25);
                let mut replays = Replays::default();
                let passes = settings.run(&network, &sequences, &decision, &mut replays);
                let widths = widths(&architecture);
                (network, _) =
                    optimizer.step(network, passes.gradients, &recipe, widths, step + 1, 1.0);
                places.push(addresses(&network));
            }
            let moved = |step: usize| {
                let pairs = places[step].iter().zip(&places[step - 1]);
                pairs.filter(|(now, before)| now != before).count()
            };
            // At first the weights may be shared with what they were made from.
            assert_eq!([moved(2), moved(3)], [0, 0], "{precision:?}");
        }
    }
}
