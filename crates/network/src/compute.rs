//! The weights in the type that layers compute in.
//!
//! Layers cast what they read. An asynchronous device is asked for all weights at once instead:
//! a small model's step is made of short kernels, and a cast of each weight, and of its gradient, is one.

use super::{Network, ops, plain_name};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Weights that layers read as they are; what comes of them is cast.
const READ_AS_THEY_ARE: [&str; 3] = ["embedding.table", "smoothing", "start"];

impl Network {
    /// Casts the weights that layers would cast; they are leaves, whose gradients are of that type.
    #[must_use]
    pub fn cast_for_layers(self, dtype: DType) -> Self {
        if dtype == DType::F32 {
            return self;
        }
        let mut read = Read::default();
        self.visit(&mut read);
        let cast = ops::cast_all(read.weights, dtype);
        let cast = read.ids.into_iter().zip(cast).collect();
        self.map(&mut Replace { cast })
    }
}

/// Casts the gradients of weights that were cast to `dtype` to single precision.
pub fn in_single_precision(
    network: &Network,
    gradients: GradientsParams,
    dtype: DType,
) -> GradientsParams {
    if dtype == DType::F32 {
        return gradients;
    }
    let mut cast = Cast {
        from: gradients,
        to: GradientsParams::new(),
    };
    network.visit(&mut cast);
    cast.to
}

/// Lists the weights that layers cast, flattened.
#[derive(Default)]
struct Read {
    path: Vec<String>,
    ids: Vec<ParamId>,
    weights: Vec<Tensor<1>>,
}

impl ModuleVisitor for Read {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !READ_AS_THEY_ARE.contains(&plain_name(&self.path).as_str()) {
            self.ids.push(param.id);
            let weight = param.val().inner();
            let elements = weight.shape().num_elements();
            self.weights.push(weight.reshape([elements]));
        }
    }
}

/// Puts cast weights in the place of others.
struct Replace {
    cast: BTreeMap<ParamId, Tensor<1>>,
}

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, mut tensor, mapper) = param.consume();
        if let Some(cast) = self.cast.remove(&id) {
            tensor = cast.reshape(tensor.shape()).autodiff().require_grad();
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}

struct Cast {
    from: GradientsParams,
    to: GradientsParams,
}

impl ModuleVisitor for Cast {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.from.remove::<D>(param.id) {
            self.to.register(param.id, gradient.cast(DType::F32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Decision, compute_type, device};
    use burn::tensor::{Int, TensorData};
    use experiment::architecture::solver::ShapeSettings;
    use experiment::recipe::{BoundaryGradient, Precision};

    /// Bits of all gradients of the sum of squares of logits.
    fn gradients(network: &Network, dtype: DType) -> BTreeMap<String, TensorData> {
        struct Named<'a> {
            path: Vec<String>,
            gradients: &'a GradientsParams,
            named: BTreeMap<String, TensorData>,
        }
        impl ModuleVisitor for Named<'_> {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.to_owned());
            }
            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some(gradient) = self.gradients.get::<D>(param.id) {
                    self.named
                        .insert(plain_name(&self.path), gradient.into_data());
                }
            }
        }
        let tokens: Vec<i32> = (0..96).map(|i| (7 * i) % 40).collect();
        let tokens = TensorData::new(tokens, [2, 48]);
        let tokens = Tensor::<2, Int>::from_data(tokens, &device::for_tests().autodiff());
        let uniforms: Vec<f32> = (0..96).map(|i| (i % 5) as f32 / 5.0).collect();
        let decision = Decision::random(&uniforms, 0.3);
        let gradient = BoundaryGradient::LanguageModel;
        let (logits, boundaries) = network.forward(tokens, &decision, gradient);
        let probability = boundaries.expect("a hierarchical model").probability;
        let total = logits.square().sum() + probability.sum();
        let gradients = GradientsParams::from_grads(total.backward(), network);
        let mut named = Named {
            path: Vec::new(),
            gradients: &in_single_precision(network, gradients, dtype),
            named: BTreeMap::new(),
        };
        network.visit(&mut named);
        named.named
    }

    #[test]
    fn weights_that_were_cast_before_give_the_same_gradients() {
        let device = device::for_tests().autodiff();
        let shapes = ShapeSettings {
            seq_len: 48,
            ..ShapeSettings::default()
        };
        let architecture = shapes.solve_dlcm(30_000, 0.5, 4.0, 40).expect("solvable");
        for precision in Precision::ALL {
            let network = Network::new(&architecture, 0, &device)
                .with_precision(precision)
                .train();
            let dtype = compute_type(precision);
            let each = gradients(&network.clone().fork(&device), dtype);
            let together = gradients(&network.clone().cast_for_layers(dtype), dtype);
            assert_eq!(each.len(), network.weights().len());
            assert_eq!(each, together, "{precision:?}");
        }
    }
}
