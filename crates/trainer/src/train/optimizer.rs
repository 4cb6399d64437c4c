//! AdamW with decoupled muP's groups and a bound on the global gradient norm.
//!
//! burn's own AdamW has one ε for all parameters and clips each tensor by itself; muP needs an ε
//! a group, and the bound is on the norm over all parameters. Moments are kept under a weight's
//! plain name, so that a checkpoint does not depend on burn's parameter ids.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use experiment::recipe::{Group, Recipe};
use network::{Network, group_of, ops, plain_name};
use std::collections::BTreeMap;

/// First and second moment of one weight, flattened.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Tensor<1>,
    /// Running mean of its square.
    pub second: Tensor<1>,
}

/// AdamW over a network's weights.
#[derive(Clone, Debug, Default)]
pub struct Optimizer {
    /// Moments by plain weight name.
    pub moments: BTreeMap<String, Moments>,
}

/// Widths that muP's scales depend on.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    /// Token width; the width of a dense model.
    pub token: usize,
    /// Concept width; the token width of a dense model, which has no such group.
    pub concept: usize,
}

impl Optimizer {
    /// Takes one step, counted from 1, with the schedule's share of the base rates.
    ///
    /// Returns the network and the global gradient norm before clipping, without synchronising with an
    /// asynchronous device. When the norm is not finite nothing is updated: the caller ends the run.
    pub fn step(
        &mut self,
        network: Network,
        mut gradients: GradientsParams,
        recipe: &Recipe,
        widths: Widths,
        step: u64,
        rate_share: f64,
    ) -> (Network, ops::Norm) {
        let mut flat = Flat {
            gradients: &gradients,
            tensors: Vec::new(),
        };
        network.visit(&mut flat);
        let norm = ops::norm(flat.tensors);
        let mut update = Update {
            path: Vec::new(),
            adamw: ops::AdamW::clipped(&norm, recipe.adamw.clip),
            gradients: &mut gradients,
            moments: &mut self.moments,
            settings: |group: Group| {
                let scale = recipe.group_scale(group, widths.token, widths.concept);
                ops::AdamWStep {
                    rate: scale.learning_rate * rate_share,
                    beta1: recipe.adamw.beta1,
                    beta2: recipe.adamw.beta2,
                    epsilon: scale.epsilon,
                    weight_decay: scale.weight_decay,
                    step,
                }
            },
        };
        let network = network.map(&mut update);
        update.adamw.finish();
        (network, norm)
    }
}

/// Lists the gradients of a network, flattened.
struct Flat<'a> {
    gradients: &'a GradientsParams,
    tensors: Vec<Tensor<1>>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let elements = gradient.shape().num_elements();
            self.tensors.push(gradient.reshape([elements]));
        }
    }
}

struct Update<'a, F: Fn(Group) -> ops::AdamWStep> {
    path: Vec<String>,
    adamw: ops::AdamW,
    gradients: &'a mut GradientsParams,
    moments: &'a mut BTreeMap<String, Moments>,
    settings: F,
}

impl<F: Fn(Group) -> ops::AdamWStep> ModuleMapper for Update<'_, F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let name = plain_name(&self.path);
        let step = (self.settings)(group_of(&name, D));
        let shape = tensor.shape();
        let elements = shape.num_elements();
        let Moments { first, second } = self.moments.remove(&name).unwrap_or_else(|| {
            let zeros = Tensor::zeros([elements], &gradient.device());
            Moments {
                first: zeros.clone(),
                second: zeros,
            }
        });
        let weight = tensor.inner().reshape([elements]);
        let gradient = gradient.reshape([elements]);
        let (weight, first, second) = self.adamw.update(weight, gradient, first, second, &step);
        self.moments.insert(name, Moments { first, second });
        let tensor: Tensor<D> = weight.reshape(shape).autodiff().require_grad();
        Param::from_mapped_value(id, tensor, mapper)
    }
}
