//! The network's tensors: parameters and buffers, one for each of the graph's, in its order.

use std::collections::BTreeMap;

use yf_models::graph::{Graph, Init, Param, Role};
use yf_models::transplant::Start;
use yf_models::weights::{Array, Weights};

use super::runtime::lay_channels_last;
use super::{Device, Kind, Tensor, TorchError, no_grad};

/// Parameters and buffers of a graph.
pub struct Parameters {
    /// What each tensor is.
    pub declared: Vec<Param>,
    /// The tensors, float32 on one device.
    pub tensors: Vec<Tensor>,
    /// All buffers side by side, of which those among `tensors` are parts: one operation reaches them all.
    flat_buffers: Tensor,
}

impl Parameters {
    /// Tensors that are there already, each of its declaration's shape.
    pub fn new(declared: Vec<Param>, mut tensors: Vec<Tensor>) -> Self {
        let device = tensors.first().map_or(Device::Cpu, Tensor::device);
        let flat_buffers = no_grad(|| {
            let is_buffer = |(p, _): &(&Param, &mut Tensor)| p.role == Role::Buffer;
            let buffers: Vec<&mut Tensor> =
                declared.iter().zip(&mut tensors).filter(is_buffer).map(|(_, t)| t).collect();
            let mut flat: Vec<Tensor> = buffers.iter().map(|t| t.reshape([-1])).collect();
            flat.push(Tensor::zeros([0], (Kind::Float, device)));
            let flat = Tensor::cat(&flat, 0);
            let mut start = 0;
            for buffer in buffers {
                let length = buffer.numel() as i64;
                *buffer = flat.narrow(0, start, length).view(&buffer.size()[..]);
                start += length;
            }
            flat
        });
        Parameters { declared, tensors, flat_buffers }
    }

    /// Fresh ones, drawn from libtorch's generator in the order of the graph.
    pub fn fresh(graph: &Graph, device: Device) -> Self {
        // Drawn on the CPU, so that a seed gives the same network on every device.
        let tensors = graph.params.iter().map(|p| initial(p).to_device(device)).collect();
        Parameters::new(graph.params.clone(), tensors)
    }

    /// Those of a weights file.
    ///
    /// # Errors
    /// When one is missing or has another shape, by name.
    pub fn from_weights(graph: &Graph, weights: &Weights, device: Device) -> Result<Self, String> {
        weights.check(graph)?;
        let tensors = graph.params.iter().map(|p| match weights.tensors.get(&p.name) {
            Some(array) => to_tensor(array).to_device(device),
            None => initial(p).to_device(device),
        });
        Ok(Parameters::new(graph.params.clone(), tensors.collect()))
    }

    /// A copy that shares nothing.
    pub fn copy(&self) -> Self {
        let tensors = no_grad(|| self.tensors.iter().map(|t| t.detach().copy()).collect());
        Parameters::new(self.declared.clone(), tensors)
    }

    /// The trained ones are to have gradients from now on.
    pub fn require_gradients(&self) {
        for (_, tensor) in self.trained() {
            let _ = tensor.set_requires_grad(true);
        }
    }

    /// Lays convolution weights out with their channels innermost.
    pub fn channels_last(&self) -> Result<(), TorchError> {
        self.tensors.iter().filter(|t| t.dim() == 4).try_for_each(lay_channels_last)
    }

    /// Those that an optimizer changes.
    pub fn trained(&self) -> impl Iterator<Item = (&Param, &Tensor)> {
        self.declared
            .iter()
            .zip(&self.tensors)
            .filter(|(p, _)| !matches!(p.role, Role::Frozen | Role::Buffer))
    }

    /// Running statistics.
    pub fn buffers(&self) -> impl Iterator<Item = (&Param, &Tensor)> {
        self.declared.iter().zip(&self.tensors).filter(|(p, _)| p.role == Role::Buffer)
    }

    /// Running statistics that are not finite are taken from `healthy`, of the same graph.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn mend_buffers(&self, healthy: &Parameters) -> Result<(), TorchError> {
        no_grad(|| {
            let buffers = &self.flat_buffers;
            let mended = buffers.f_where_self(&buffers.f_isfinite()?, &healthy.flat_buffers)?;
            buffers.shallow_clone().f_copy_(&mended)
        })?;
        Ok(())
    }

    /// All by name, on the host.
    pub fn arrays(&self) -> impl Iterator<Item = (String, Array)> {
        self.declared.iter().zip(&self.tensors).map(|(p, t)| (p.name.clone(), to_array(t)))
    }

    /// Overwrites the tensors, or rows of them, that a start has. Shapes are those that a transplant planned for.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn start_from(&self, start: &BTreeMap<String, Start>) -> Result<(), TorchError> {
        let put = |to: Tensor, from: &Tensor| -> Result<(), TorchError> {
            no_grad(|| to.shallow_clone().f_copy_(from))?;
            Ok(())
        };
        for (param, tensor) in self.declared.iter().zip(&self.tensors) {
            match start.get(&param.name) {
                None => {}
                Some(Start::Whole(array)) => put(tensor.shallow_clone(), &to_tensor(array))?,
                Some(Start::Rows(rows)) => {
                    for (at, row) in rows {
                        put(tensor.f_select(0, *at as i64)?.f_view([-1])?, &Tensor::from_slice(row))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Overwrites the tensors with others of the same graph.
    pub fn assign(&self, from: &Parameters) {
        no_grad(|| {
            for (to, from) in self.tensors.iter().zip(&from.tensors) {
                to.shallow_clone().copy_(from);
            }
        });
    }
}

/// Row-major copy on the host.
pub fn to_array(tensor: &Tensor) -> Array {
    let host = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    let mut data = vec![0.0f32; host.numel()];
    host.view([-1]).copy_data(&mut data, host.numel());
    Array { shape: host.size().iter().map(|&n| n as usize).collect(), data }
}

/// Float32 on the CPU.
pub fn to_tensor(array: &Array) -> Tensor {
    let shape: Vec<i64> = array.shape.iter().map(|&n| n as i64).collect();
    Tensor::from_slice(&array.data).reshape(shape)
}

fn initial(param: &Param) -> Tensor {
    let shape: Vec<i64> = param.shape.iter().map(|&n| n as i64).collect();
    let options = (Kind::Float, Device::Cpu);
    match param.init {
        Init::Uniform { fan_in } => {
            let bound = 1.0 / (fan_in as f64).sqrt();
            Tensor::empty(&shape, options).uniform_(-bound, bound)
        }
        Init::Fill(value) => Tensor::full(&shape, f64::from(value), options),
        Init::Arange => Tensor::arange(shape.iter().product::<i64>(), options).reshape(&shape),
    }
}
