//! Weights by name, on the host: on their way to or from a file.

use super::Network;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::BTreeMap;

/// A tensor of single precision outside any backend.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    shape: Vec<usize>,
    /// Little-endian, as files hold them.
    bytes: Vec<u8>,
}

impl HostTensor {
    /// Makes a tensor from its values, the last axis fastest.
    pub fn new(shape: Vec<usize>, values: impl IntoIterator<Item = f32>) -> Self {
        let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
        Self::from_bytes(shape, bytes)
    }

    /// Makes a tensor from the little-endian bytes of its values.
    pub fn from_bytes(shape: Vec<usize>, bytes: Vec<u8>) -> Self {
        let elements = shape.iter().product::<usize>();
        assert_eq!(4 * elements, bytes.len(), "bytes of a tensor of {shape:?}");
        Self { shape, bytes }
    }

    /// Copies a tensor from its device.
    pub fn take<const D: usize>(tensor: Tensor<D>) -> Self {
        let data = tensor.into_data();
        Self::new(data.shape().to_vec(), data.iter::<f32>())
    }

    /// Copies it to a device.
    pub fn tensor<const D: usize>(&self, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.values(), self.shape.clone()), device)
    }

    /// Returns the length of each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the little-endian bytes of its values.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns its values, the last axis fastest.
    pub fn values(&self) -> Vec<f32> {
        let values = self.bytes.as_chunks::<4>().0.iter();
        values.map(|&bytes| f32::from_le_bytes(bytes)).collect()
    }
}

/// Host tensors by name.
pub type HostTensors = BTreeMap<String, HostTensor>;

impl Network {
    /// Copies the weights to the host, by plain name.
    pub fn weights(&self) -> HostTensors {
        let mut collect = Collect::default();
        self.visit(&mut collect);
        collect.weights
    }

    /// Replaces every weight by the one of its plain name.
    ///
    /// # Errors
    /// When one is missing, has another shape, or belongs to no weight of this network.
    pub fn with_weights(self, weights: &HostTensors) -> Result<Self, String> {
        let mut replace = Replace {
            path: Vec::new(),
            weights,
            replaced: 0,
            wrong: None,
        };
        let network = self.map(&mut replace);
        if let Some(wrong) = replace.wrong {
            return Err(wrong);
        }
        if replace.replaced < weights.len() {
            let own = network.weights();
            let foreign = weights.keys().find(|name| !own.contains_key(*name));
            return Err(format!(
                "`{}` is no weight of this network",
                foreign.map_or("", String::as_str)
            ));
        }
        Ok(network)
    }
}

/// Makes a weight's plain name from a module path, without the enum variant in front.
pub fn plain_name(path: &[String]) -> String {
    path[usize::from(!path.is_empty())..].join(".")
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    weights: HostTensors,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.weights.insert(
            plain_name(&self.path),
            HostTensor::take(param.val().inner()),
        );
    }
}

struct Replace<'a> {
    path: Vec<String>,
    weights: &'a HostTensors,
    replaced: usize,
    wrong: Option<String>,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = plain_name(&self.path);
        let (id, tensor, mapper) = param.consume();
        let tensor = match self.weights.get(&name) {
            Some(weight) if weight.shape == tensor.dims() => {
                self.replaced += 1;
                let device = tensor.device();
                let loaded = weight.tensor::<D>(&device.clone().inner());
                if device.is_autodiff() {
                    loaded.autodiff().require_grad()
                } else {
                    loaded
                }
            }
            found => {
                let why = if found.is_some() {
                    "has another shape"
                } else {
                    "is missing"
                };
                self.wrong.get_or_insert_with(|| format!("`{name}` {why}"));
                tensor
            }
        };
        Param::from_mapped_value(id, tensor, mapper)
    }
}
