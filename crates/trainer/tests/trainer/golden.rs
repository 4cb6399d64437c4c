//! Whole models against numbers computed elsewhere in double precision: outputs, losses, the
//! gradient of every weight, and training.
//!
//! `benches/peer/golden.py` made the files, with PyTorch. The error of a result is its largest
//! deviation over its largest element, for each tensor by itself: a small gradient is not hidden
//! behind a large one, and an element that rounding alone decides is not asked for digits that
//! single precision does not have.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};
use experiment::architecture::Architecture;
use experiment::recipe::Recipe;
use network::{Decision, HostTensor, HostTensors, Network, ops, plain_name};
use safetensors::tensor::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;
use trainer::train::optimizer::Optimizer;
use trainer::train::replay::Replays;
use trainer::train::session::widths;
use trainer::train::step::{Passes, Sequences, Settings};

/// Largest error of any result.
const BOUND: f64 = 1e-5;

/// One file: a model, its inputs, and what must come out.
struct Golden {
    architecture: Architecture,
    recipe: Recipe,
    weights: HostTensors,
    /// Everything else, by name.
    results: BTreeMap<String, Vec<f64>>,
    wrong: Vec<String>,
}

impl Golden {
    fn open(name: &str) -> Self {
        let path = Path::new("tests/golden").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(path).expect("readable");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
        let metadata = header.metadata().as_ref().expect("metadata");
        let (mut weights, mut results) = (HostTensors::new(), BTreeMap::new());
        for (name, view) in SafeTensors::deserialize(&bytes).expect("tensors").tensors() {
            if let Some(name) = name.strip_prefix("weights.") {
                let weight = HostTensor::from_bytes(view.shape().to_vec(), view.data().to_vec());
                weights.insert(name.to_owned(), weight);
                continue;
            }
            let data = view.data();
            let (words, pairs) = (data.as_chunks::<4>().0, data.as_chunks::<8>().0);
            let values = match view.dtype() {
                Dtype::F32 => words
                    .iter()
                    .map(|&w| f32::from_le_bytes(w).into())
                    .collect(),
                Dtype::I32 => words
                    .iter()
                    .map(|&w| i32::from_le_bytes(w).into())
                    .collect(),
                Dtype::F64 => pairs.iter().map(|&w| f64::from_le_bytes(w)).collect(),
                other => panic!("{name} has type {other:?}"),
            };
            results.insert(name, values);
        }
        Self {
            architecture: serde_json::from_str(&metadata["architecture"]).expect("a shape"),
            recipe: serde_json::from_str(&metadata["recipe"]).expect("a recipe"),
            weights,
            results,
            wrong: Vec::new(),
        }
    }

    fn network(&self, device: &Device) -> Network {
        Network::new(&self.architecture, 0, device)
            .with_weights(&self.weights)
            .expect("the same names and shapes")
    }

    fn integers(&self, name: &str) -> Vec<i32> {
        self.results[name].iter().map(|&x| x as i32).collect()
    }

    fn sequences(&self) -> Sequences {
        Sequences {
            inputs: self.integers("tokens"),
            targets: self.integers("targets"),
            seq_len: self.architecture.seq_len(),
        }
    }

    /// Numbers that a boundary's probability is above, where there is one, and below elsewhere.
    fn uniforms(&self) -> Vec<f32> {
        let boundaries = self.results["boundaries"].iter();
        boundaries.map(|&boundary| 1.0 - boundary as f32).collect()
    }

    fn multiplier(&self) -> f64 {
        self.recipe
            .output_multiplier(widths(&self.architecture).token)
    }

    fn passes(&self, network: &Network, micro_batch: usize, device: &Device) -> Passes {
        let settings = Settings {
            recipe: &self.recipe,
            output_multiplier: self.multiplier(),
            architecture: &self.architecture,
            micro_batch,
            device,
        };
        settings.run(
            network,
            &self.sequences(),
            &Decision::sample(&self.uniforms(), self.recipe.boundary.temperature, 0.0),
            &mut Replays::default(),
        )
    }

    /// Compares a result; returns its error.
    fn compare(&mut self, name: &str, found: impl IntoIterator<Item = f64>) -> f64 {
        let exact = &self.results[name];
        let found: Vec<f64> = found.into_iter().collect();
        assert_eq!(found.len(), exact.len(), "{name}");
        let largest = exact.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
        let pairs = found.iter().zip(exact);
        let error = pairs.fold(0.0, |size: f64, (x, y)| size.max((x - y).abs())) / largest;
        if error.is_nan() || error > BOUND {
            self.wrong.push(format!("{name}: off by {error:.1e}"));
        }
        error
    }

    fn assert_right(&self, file: &str) {
        assert!(self.wrong.is_empty(), "{file}:\n{}", self.wrong.join("\n"));
    }
}

/// Gradients by the plain names of their weights.
struct Gradients<'a> {
    path: Vec<String>,
    gradients: &'a GradientsParams,
    found: BTreeMap<String, Vec<f64>>,
}

impl ModuleVisitor for Gradients<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = plain_name(&self.path);
        let gradient = self.gradients.get::<D>(param.id);
        let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
        self.found.insert(name, doubles(gradient));
    }
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

const FILES: [&str; 3] = ["local", "full", "dense"];

#[test]
fn outputs_and_losses_are_those_of_double_precision() {
    for file in FILES {
        let mut golden = Golden::open(file);
        let device = Device::flex();
        let (inputs, targets): (Tensor<2, Int>, _) = golden.sequences().tensors(0, 3, &device);
        let decision = Decision::random(&golden.uniforms(), 0.5);
        let network = golden.network(&device);
        let gradient = golden.recipe.boundary.gradient;
        let (logits, boundaries) = network.forward(inputs, &decision, gradient);
        let losses = ops::cross_entropy(logits.clone(), golden.multiplier(), targets);
        golden.compare("logits", doubles(logits));
        golden.compare("losses", doubles(losses));
        if let Some(boundaries) = boundaries {
            golden.compare("p", doubles(boundaries.probability));
            golden.compare("boundaries", boundaries.decided.into_iter().map(f64::from));
        }
        golden.assert_right(file);
    }
}

#[test]
fn the_gradient_of_every_weight_is_that_of_double_precision() {
    for file in FILES {
        // The whole batch at once, and in parts of unequal numbers of concepts.
        for micro_batch in [3, 2, 1] {
            let mut golden = Golden::open(file);
            let device = Device::flex().autodiff();
            let network = golden.network(&device).train();
            let passes = golden.passes(&network, micro_batch, &device);
            let auxiliary = passes.auxiliary_loss.map_or(0.0, |auxiliary| {
                golden.compare("auxiliary", [auxiliary]);
                golden.recipe.boundary.aux_weight * auxiliary
            });
            let loss = passes.loss.read();
            golden.compare("loss", [loss]);
            golden.compare("total", [loss + auxiliary]);
            let mut gradients = Gradients {
                path: Vec::new(),
                gradients: &passes.gradients,
                found: BTreeMap::new(),
            };
            network.visit(&mut gradients);
            let expected = golden.results.keys();
            let expected = expected.filter(|name| name.starts_with("gradients."));
            assert_eq!(gradients.found.len(), expected.count(), "{file}");
            let mut worst = (0.0, String::new());
            for (name, gradient) in gradients.found {
                let error = golden.compare(&format!("gradients.{name}"), gradient);
                if error > worst.0 {
                    worst = (error, name);
                }
            }
            println!(
                "{file}, {micro_batch} rows at once: {} weights, largest error {:.1e} ({})",
                golden.weights.len(),
                worst.0,
                worst.1
            );
            golden.assert_right(file);
        }
    }
}

#[test]
fn training_follows_double_precision() {
    for file in FILES {
        let mut golden = Golden::open(file);
        let device = Device::flex().autodiff();
        let mut network = golden.network(&device).train();
        let mut optimizer = Optimizer::default();
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        let shares = golden.results["training.rate_shares"].clone();
        for (step, share) in shares.into_iter().enumerate() {
            let passes = golden.passes(&network, 3, &device);
            losses.push(passes.loss.read());
            let widths = widths(&golden.architecture);
            let norm;
            (network, norm) = optimizer.step(
                network,
                passes.gradients,
                &golden.recipe,
                widths,
                step as u64 + 1,
                share,
            );
            norms.push(norm.read());
        }
        losses.push(golden.passes(&network, 3, &device).loss.read());
        assert!(
            norms.iter().all(|&norm| norm > golden.recipe.adamw.clip),
            "{file}: the bound on the gradient does nothing"
        );
        let errors = (
            golden.compare("training.losses", losses),
            golden.compare("training.norms", norms),
        );
        println!(
            "{file}: errors {:.1e} of losses, {:.1e} of norms",
            errors.0, errors.1
        );
        golden.assert_right(file);
    }
}

#[test]
fn weights_are_those_the_architecture_counts_under_their_names() {
    for file in FILES {
        let golden = Golden::open(file);
        let network = golden.network(&Device::flex());
        assert_eq!(network.weights(), golden.weights, "{file}");
        let elements = golden.weights.values().map(|weight| weight.values().len());
        assert_eq!(
            elements.sum::<usize>() as u64,
            golden.architecture.params().total(),
            "{file}"
        );
    }
}

#[test]
fn weights_of_another_network_are_named() {
    let golden = Golden::open("local");
    let refused = |change: &dyn Fn(&mut HostTensors)| {
        let mut weights = golden.weights.clone();
        change(&mut weights);
        let network = Network::new(&golden.architecture, 0, &Device::flex());
        network.with_weights(&weights).expect_err("refused")
    };
    let one = || HostTensor::new(vec![1], [1.0]);
    let said = refused(&|weights| drop(weights.remove("start")));
    assert_eq!(said, "`start` is missing");
    let said = refused(&|weights| drop(weights.insert("start".into(), one())));
    assert_eq!(said, "`start` has another shape");
    let said = refused(&|weights| drop(weights.insert("finish".into(), one())));
    assert_eq!(said, "`finish` is no weight of this network");
}
