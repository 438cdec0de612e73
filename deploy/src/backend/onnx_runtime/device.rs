//! Inputs and output in the memory of a device, at addresses that stay: what a CUDA graph needs.
//!
//! For every size of batch there is one set of tensors, bound once. A run writes the pictures into page-locked memory,
//! copies them to the device, runs the network there, and copies the output back. A batch that is no power of two is
//! run in parts that are, so that a network which takes any batch keeps a handful of sets (and of recorded graphs, each
//! under its own number), not one for every length of a folder's end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, Tensor, TensorElementType};

use crate::backend::{Pixels, Transfers};
use crate::cuda::{CudaError, Gpu, HostMemory};
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
    link: Link,
    sets: BTreeMap<usize, Bound>,
    spent: Transfers,
}

/// The way between the host's memory and a device's.
#[derive(Clone)]
enum Link {
    /// They are one.
    #[cfg(test)]
    Same,
    /// The CUDA driver copies.
    Cuda(Arc<Gpu>),
}

/// Memory of the host, from which or to which is copied.
enum Staging {
    #[cfg(test)]
    Plain(Vec<u32>),
    Pinned(HostMemory),
}

impl Device {
    /// The memory of the first GPU, for a session on it.
    pub fn cuda(session: &Session) -> Result<Self, String> {
        let gpu = Gpu::open(0).map_err(|e| e.to_string())?;
        Self::new(session, AllocationDevice::CUDA, Link::Cuda(gpu)).map_err(|e| e.to_string())
    }

    /// The memory of the processor, as if it were a device.
    #[cfg(test)]
    pub fn cpu(session: &Session) -> Result<Self, String> {
        Self::new(session, AllocationDevice::CPU, Link::Same).map_err(|e| e.to_string())
    }

    fn new(session: &Session, device: AllocationDevice<'static>, link: Link) -> ort::Result<Self> {
        let info = MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default)?;
        let memory = Allocator::new(session, info)?;
        Ok(Self { memory, link, sets: BTreeMap::new(), spent: Transfers::default() })
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
            self.sets.insert(batch, Bound::new(session, info, batch, &self.memory, &self.link)?);
        }
        match self.sets.get_mut(&batch) {
            Some(set) => set.run(session, pictures, &self.link, &mut self.spent),
            None => Ok(Vec::new()),
        }
    }
}

/// The tensors for one size of batch.
struct Bound {
    inputs: Vec<Input>,
    output: Tensor<f32>,
    result: Staging,
    binding: IoBinding,
    options: RunOptions,
}

/// An input: where it is written, and where the network reads it.
struct Input {
    host: Staging,
    device: DynTensor,
}

impl Bound {
    fn new(
        session: &Session,
        info: &ModelInfo,
        batch: usize,
        memory: &Allocator,
        link: &Link,
    ) -> ort::Result<Self> {
        let (kind, bytes) = match info.values {
            Values::Floats => (TensorElementType::Float32, size_of::<f32>()),
            Values::Bytes => (TensorElementType::Uint8, 1),
        };
        let mut binding = session.create_binding()?;
        let mut inputs = Vec::with_capacity(info.input_names.len());
        for (index, name) in info.input_names.iter().enumerate() {
            let shape = info.input_shape(index, batch);
            let device = DynTensor::new(memory, kind, shape)?;
            binding.bind_input(name, &device)?;
            inputs.push(Input { host: link.staging(shape.iter().product::<usize>() * bytes)?, device });
        }
        let shape = info.output_shape(batch);
        let mut output = Tensor::<f32>::new(memory, shape)?;
        binding.bind_output(&info.output_name, &mut output)?;
        let result = link.staging(shape.iter().product::<usize>() * size_of::<f32>())?;
        let mut options = RunOptions::new()?;
        // Each size is recorded under a number of its own; a provider that records nothing does not look.
        options.set("gpu_graph_id", batch.to_string())?;
        Ok(Self { inputs, output, result, binding, options })
    }

    fn run(
        &mut self,
        session: &mut Session,
        pictures: &[Pixels<'_>],
        link: &Link,
        spent: &mut Transfers,
    ) -> ort::Result<Vec<f32>> {
        timed(&mut spent.upload, || {
            self.inputs.iter_mut().zip(pictures).try_for_each(|(input, pixels)| input.fill(*pixels, link))?;
            link.wait()
        })?;
        timed(&mut spent.compute, || {
            session.run_binding_with_options(&self.binding, &self.options).map(drop)
        })?;
        timed(&mut spent.download, || {
            link.download(self.output.data_ptr() as u64, &mut self.result)?;
            Ok(bytemuck::cast_slice(self.result.bytes()).to_vec())
        })
    }
}

impl Input {
    fn fill(&mut self, pixels: Pixels<'_>, link: &Link) -> ort::Result<()> {
        let pixels = match pixels {
            Pixels::Floats(data) => bytemuck::cast_slice(data),
            Pixels::Bytes(data) => data,
        };
        self.host.bytes_mut().copy_from_slice(pixels);
        link.upload(&self.host, self.device.data_ptr_mut() as u64)
    }
}

impl Staging {
    fn bytes(&self) -> &[u8] {
        match self {
            #[cfg(test)]
            Staging::Plain(words) => bytemuck::cast_slice(words),
            Staging::Pinned(memory) => memory,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            #[cfg(test)]
            Staging::Plain(words) => bytemuck::cast_slice_mut(words),
            Staging::Pinned(memory) => memory,
        }
    }
}

impl Link {
    fn staging(&self, bytes: usize) -> ort::Result<Staging> {
        match self {
            #[cfg(test)]
            Link::Same => Ok(Staging::Plain(vec![0; bytes.div_ceil(4)])),
            Link::Cuda(gpu) => gpu.host(bytes).map(Staging::Pinned).map_err(of_cuda),
        }
    }

    /// Begins to copy into a tensor of the device, which has as many bytes.
    fn upload(&self, from: &Staging, to: u64) -> ort::Result<()> {
        match (self, from) {
            (Link::Cuda(gpu), Staging::Pinned(memory)) => {
                // SAFETY: the tensor is bound to this memory's size, and no run is under way.
                unsafe { gpu.upload(memory, to) }.map_err(of_cuda)
            }
            #[cfg(test)]
            _ => {
                // SAFETY: as above; both are memory of the host.
                unsafe {
                    std::ptr::copy_nonoverlapping(from.bytes().as_ptr(), to as *mut u8, from.bytes().len());
                }
                Ok(())
            }
        }
    }

    /// Waits for what was begun.
    fn wait(&self) -> ort::Result<()> {
        match self {
            #[cfg(test)]
            Link::Same => Ok(()),
            Link::Cuda(gpu) => gpu.wait().map_err(of_cuda),
        }
    }

    /// Copies a tensor of the device, which has as many bytes.
    fn download(&self, from: u64, to: &mut Staging) -> ort::Result<()> {
        match (self, to) {
            (Link::Cuda(gpu), Staging::Pinned(memory)) => {
                // SAFETY: the tensor is bound to this memory's size, and the run that wrote it is over.
                unsafe { gpu.download(from, memory) }.map_err(of_cuda)
            }
            #[cfg(test)]
            (_, to) => {
                let to = to.bytes_mut();
                // SAFETY: as above; both are memory of the host.
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
                Ok(())
            }
        }
    }
}

fn of_cuda(error: CudaError) -> ort::Error {
    ort::Error::new(error.to_string())
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
