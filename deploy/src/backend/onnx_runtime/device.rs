//! Inputs and output in the memory of a device, at addresses that stay: what a CUDA graph needs.
//!
//! For every size of batch there is one set of tensors, bound once. A run writes the pictures into page-locked memory,
//! copies them to the device, runs the network there, and copies the output back. A batch that is no power of two is
//! run in parts that are, so that a network which takes any batch keeps a handful of sets (and of recorded graphs, each
//! under its own number), not one for every length of a folder's end.

use std::collections::BTreeMap;
use std::time::Instant;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, Tensor, TensorElementType};

use crate::backend::{Pixels, Transfers};
use crate::model::{ModelInfo, Values};

/// More pictures at once bring nothing more.
const MAX_SIZE: usize = 64;

/// Pictures to run at once of those that are left.
pub(super) fn size_for(left: usize) -> usize {
    1 << left.clamp(1, MAX_SIZE).ilog2()
}

/// The memory of a device, and what is bound in it.
pub(super) struct Device {
    memory: Allocator,
    /// Memory of the host that the device reads without a detour, where the provider has such.
    staging: Allocator,
    sets: BTreeMap<usize, Bound>,
    spent: Transfers,
}

impl Device {
    /// The memory of the session's provider of this name.
    pub fn new(session: &Session, device: AllocationDevice<'static>) -> ort::Result<Self> {
        let pinned = match &device {
            cuda if *cuda == AllocationDevice::CUDA => AllocationDevice::CUDA_PINNED,
            other => other.clone(),
        };
        let on =
            |device, kind| Allocator::new(session, MemoryInfo::new(device, 0, AllocatorType::Device, kind)?);
        let staging = on(pinned, MemoryType::CPUOutput).unwrap_or_else(|why| {
            tracing::debug!("no page-locked memory, copies are slower: {why}");
            Allocator::default()
        });
        let memory = on(device, MemoryType::Default)?;
        Ok(Self { memory, staging, sets: BTreeMap::new(), spent: Transfers::default() })
    }

    /// Begins to count the time of a run anew.
    pub fn start(&mut self) {
        self.spent = Transfers::default();
    }

    /// Where the time went since [`start`](Self::start).
    pub fn transfers(&self) -> Transfers {
        self.spent
    }

    /// Runs one batch of exactly this size.
    pub fn run(
        &mut self,
        session: &mut Session,
        info: &ModelInfo,
        pictures: &[Pixels<'_>],
        batch: usize,
    ) -> ort::Result<Vec<f32>> {
        if !self.sets.contains_key(&batch) {
            self.sets.insert(batch, Bound::new(session, info, batch, &self.memory, &self.staging)?);
        }
        match self.sets.get_mut(&batch) {
            Some(set) => set.run(session, pictures, &mut self.spent),
            None => Ok(Vec::new()),
        }
    }
}

/// The tensors for one size of batch.
struct Bound {
    inputs: Vec<Input>,
    output: Tensor<f32>,
    result: Tensor<f32>,
    binding: IoBinding,
    options: RunOptions,
}

/// An input: where it is written, and where the network reads it.
struct Input {
    host: DynTensor,
    device: DynTensor,
}

impl Bound {
    fn new(
        session: &Session,
        info: &ModelInfo,
        batch: usize,
        memory: &Allocator,
        staging: &Allocator,
    ) -> ort::Result<Self> {
        let kind = match info.values {
            Values::Floats => TensorElementType::Float32,
            Values::Bytes => TensorElementType::Uint8,
        };
        let mut binding = session.create_binding()?;
        let mut inputs = Vec::with_capacity(info.input_names.len());
        for (index, name) in info.input_names.iter().enumerate() {
            let shape = info.input_shape(index, batch);
            let (host, device) =
                (DynTensor::new(staging, kind, shape)?, DynTensor::new(memory, kind, shape)?);
            binding.bind_input(name, &device)?;
            inputs.push(Input { host, device });
        }
        let shape = info.output_shape(batch);
        let mut output = Tensor::<f32>::new(memory, shape)?;
        binding.bind_output(&info.output_name, &mut output)?;
        let result = Tensor::<f32>::new(staging, shape)?;
        let mut options = RunOptions::new()?;
        // Each size is recorded under a number of its own; a provider that records nothing does not look.
        options.set("gpu_graph_id", batch.to_string())?;
        Ok(Self { inputs, output, result, binding, options })
    }

    fn run(
        &mut self,
        session: &mut Session,
        pictures: &[Pixels<'_>],
        spent: &mut Transfers,
    ) -> ort::Result<Vec<f32>> {
        timed(&mut spent.upload, || {
            self.inputs.iter_mut().zip(pictures).try_for_each(|(input, pixels)| input.fill(*pixels))
        })?;
        timed(&mut spent.compute, || {
            session.run_binding_with_options(&self.binding, &self.options).map(drop)
        })?;
        timed(&mut spent.download, || {
            self.output.copy_into(&mut self.result)?;
            Ok(self.result.try_extract_tensor::<f32>()?.1.to_vec())
        })
    }
}

impl Input {
    fn fill(&mut self, pixels: Pixels<'_>) -> ort::Result<()> {
        match pixels {
            Pixels::Floats(data) => self.host.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(data),
            Pixels::Bytes(data) => self.host.try_extract_tensor_mut::<u8>()?.1.copy_from_slice(data),
        }
        self.host.copy_into(&mut self.device)
    }
}

fn timed<T>(ms: &mut f64, work: impl FnOnce() -> ort::Result<T>) -> ort::Result<T> {
    let start = Instant::now();
    let result = work();
    *ms += start.elapsed().as_secs_f64() * 1e3;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_powers_of_two() {
        assert_eq!([1, 2, 3, 7, 8, 63, 64, 1000].map(size_for), [1, 2, 2, 4, 8, 32, 64, 64]);
    }
}
