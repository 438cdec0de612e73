//! Inputs and output in the memory of a device, at addresses that stay: what a CUDA graph needs.
//!
//! For every size of batch there is a session of its own, with its tensors bound once: sessions share no buffers, while one
//! that had recorded a graph of one size and then ran another would replay the first over memory that was given back. A
//! run writes the pictures into page-locked memory, copies them to the device, runs the network there, and copies the
//! output back. A batch goes to the smallest set that has the places, with old pictures in those that are left: a place
//! too many costs a fraction of a millisecond, another session seconds.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, Tensor, TensorElementType};

use yf_cuda::{CudaError, Gpu, HostMemory, Stream};

use crate::backend::{Pixels, Transfers};
use crate::model::{ModelInfo, Values};

/// More pictures at once bring nothing more.
pub(super) const MAX_SIZE: usize = 64;

/// Makes one more session of a model.
pub(super) type Maker = Box<dyn Fn() -> ort::Result<Session> + Send>;

/// Places for a batch of `count`, with sets of these sizes there already, the smallest first: one of them, or a new one.
fn size_for(count: usize, mut there: impl Iterator<Item = usize>) -> usize {
    there.find(|&size| size >= count).unwrap_or_else(|| count.next_power_of_two())
}

/// A device, and what is bound in its memory, by size of batch.
pub(super) struct Device {
    sets: BTreeMap<usize, Bound>,
    /// A session that waits for its first batch.
    spare: Option<Session>,
    make: Maker,
    place: AllocationDevice<'static>,
    link: Link,
    spent: Transfers,
}

/// The way between the host's memory and a device's.
enum Link {
    /// They are one.
    #[cfg(test)]
    Same,
    /// The CUDA driver copies, on a stream of its own.
    Cuda(Arc<Gpu>, Stream),
}

/// Memory of the host, from which or to which is copied.
enum Staging {
    #[cfg(test)]
    Plain(Vec<u32>),
    Pinned(HostMemory),
}

impl Device {
    /// The first GPU.
    ///
    /// # Errors
    /// Where there is none, or it does not take the model.
    pub fn cuda(make: Maker) -> Result<Self, String> {
        let session = make().map_err(|e| e.message().to_owned())?;
        let link = Link::cuda().map_err(|e| e.to_string())?;
        Ok(Self::new(session, make, AllocationDevice::CUDA, link))
    }

    /// The processor, as if it were a device.
    #[cfg(test)]
    pub fn cpu(make: Maker) -> Result<Self, String> {
        let session = make().map_err(|e| e.message().to_owned())?;
        Ok(Self::new(session, make, AllocationDevice::CPU, Link::Same))
    }

    fn new(session: Session, make: Maker, place: AllocationDevice<'static>, link: Link) -> Self {
        Self { sets: BTreeMap::new(), spare: Some(session), make, place, link, spent: Transfers::default() }
    }

    /// Begins to count the time of a run anew.
    pub fn start(&mut self) {
        self.spent = Transfers::default();
    }

    /// Where the time went since [`start`](Self::start).
    pub fn transfers(&self) -> Transfers {
        self.spent
    }

    /// Runs at most [`MAX_SIZE`] pairs, or as many as the model is fixed to.
    pub fn run(&mut self, info: &ModelInfo, pairs: &[[Pixels<'_>; 2]]) -> ort::Result<Vec<f32>> {
        let size = info.batch.unwrap_or_else(|| size_for(pairs.len(), self.sets.keys().copied()));
        if !self.sets.contains_key(&size) {
            let session = self.spare.take().map_or_else(&self.make, Ok)?;
            self.sets.insert(size, Bound::new(session, info, size, self.place.clone(), &self.link)?);
        }
        let output = pairs.len() * info.output_len();
        match self.sets.get_mut(&size) {
            Some(set) => set.run(pairs, output, &self.link, &mut self.spent),
            None => Ok(Vec::new()),
        }
    }
}

/// A session and its tensors, for one size of batch.
struct Bound {
    inputs: Vec<Input>,
    output: Tensor<f32>,
    result: Staging,
    binding: IoBinding,
    options: RunOptions,
    // Last: the tensors are in its memory.
    session: Session,
}

/// An input: where it is written, and where the network reads it.
struct Input {
    host: Staging,
    device: DynTensor,
}

impl Bound {
    fn new(
        session: Session,
        info: &ModelInfo,
        batch: usize,
        place: AllocationDevice<'static>,
        link: &Link,
    ) -> ort::Result<Self> {
        let place = MemoryInfo::new(place, 0, AllocatorType::Device, MemoryType::Default)?;
        let memory = Allocator::new(&session, place)?;
        let (kind, bytes) = match info.values {
            Values::Floats => (TensorElementType::Float32, size_of::<f32>()),
            Values::Bytes => (TensorElementType::Uint8, 1),
        };
        let mut binding = session.create_binding()?;
        let mut inputs = Vec::with_capacity(info.input_names.len());
        for (index, name) in info.input_names.iter().enumerate() {
            let shape = info.input_shape(index, batch);
            let device = DynTensor::new(&memory, kind, shape)?;
            binding.bind_input(name, &device)?;
            inputs.push(Input { host: link.staging(shape.iter().product::<usize>() * bytes)?, device });
        }
        let shape = info.output_shape(batch);
        let mut output = Tensor::<f32>::new(&memory, shape)?;
        binding.bind_output(&info.output_name, &mut output)?;
        let result = link.staging(shape.iter().product::<usize>() * size_of::<f32>())?;
        Ok(Self { inputs, output, result, binding, options: RunOptions::new()?, session })
    }

    /// Runs the pairs; the first `output` values of what comes out are theirs.
    fn run(
        &mut self,
        pairs: &[[Pixels<'_>; 2]],
        output: usize,
        link: &Link,
        spent: &mut Transfers,
    ) -> ort::Result<Vec<f32>> {
        timed(&mut spent.upload, || {
            let filled = pairs.iter().enumerate().try_for_each(|(place, pair)| {
                let mut inputs = self.inputs.iter_mut().zip(pair);
                inputs.try_for_each(|(input, picture)| input.fill(place, picture.bytes(), link))
            });
            // Also where something failed: the device may still be reading.
            link.wait().and(filled)
        })?;
        timed(&mut spent.compute, || {
            self.session.run_binding_with_options(&self.binding, &self.options).map(drop)
        })?;
        timed(&mut spent.download, || {
            let bytes = output * size_of::<f32>();
            link.download(self.output.data_ptr() as u64, &mut self.result, bytes)?;
            Ok(bytemuck::cast_slice(&self.result.bytes()[..bytes]).to_vec())
        })
    }
}

impl Input {
    /// Begins to copy a picture to its place; it is on its way while the next is written.
    fn fill(&mut self, place: usize, picture: &[u8], link: &Link) -> ort::Result<()> {
        let range = place * picture.len()..(place + 1) * picture.len();
        self.host.bytes_mut()[range.clone()].copy_from_slice(picture);
        link.upload(&self.host, self.device.data_ptr_mut() as u64, range)
    }
}

impl Staging {
    fn bytes(&self) -> &[u8] {
        match self {
            #[cfg(test)]
            Staging::Plain(words) => bytemuck::cast_slice(words),
            Staging::Pinned(memory) => memory.bytes(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            #[cfg(test)]
            Staging::Plain(words) => bytemuck::cast_slice_mut(words),
            Staging::Pinned(memory) => memory.bytes_mut(),
        }
    }
}

impl Link {
    fn cuda() -> Result<Self, CudaError> {
        let gpu = Arc::new(Gpu::first()?);
        let stream = Stream::new(&gpu)?;
        Ok(Link::Cuda(gpu, stream))
    }

    fn staging(&self, bytes: usize) -> ort::Result<Staging> {
        match self {
            #[cfg(test)]
            Link::Same => Ok(Staging::Plain(vec![0; bytes.div_ceil(4)])),
            Link::Cuda(gpu, _) => HostMemory::new(gpu, bytes).map(Staging::Pinned).map_err(of_cuda),
        }
    }

    /// Begins to copy these bytes to the same place in a tensor of the device, which is as large.
    fn upload(&self, from: &Staging, to: u64, bytes: Range<usize>) -> ort::Result<()> {
        match (self, from) {
            (Link::Cuda(gpu, stream), Staging::Pinned(memory)) => {
                gpu.make_current().map_err(of_cuda)?;
                // SAFETY: the tensor is bound to this memory's size, no run is under way, and `wait` follows before these
                // bytes are written again.
                unsafe { stream.upload(memory, to, bytes) }.map_err(of_cuda)
            }
            #[cfg(test)]
            _ => {
                // SAFETY: as above; both are memory of the host.
                unsafe {
                    let to = (to as *mut u8).add(bytes.start);
                    std::ptr::copy_nonoverlapping(from.bytes()[bytes.clone()].as_ptr(), to, bytes.len());
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
            Link::Cuda(_, stream) => stream.synchronize().map_err(of_cuda),
        }
    }

    /// Copies so many bytes of a tensor of the device, which has as many.
    fn download(&self, from: u64, to: &mut Staging, bytes: usize) -> ort::Result<()> {
        match (self, to) {
            (Link::Cuda(gpu, stream), Staging::Pinned(memory)) => {
                gpu.make_current().map_err(of_cuda)?;
                // SAFETY: the tensor is bound to this memory's size, and the run that wrote it is over.
                unsafe { stream.download(from, memory, bytes) }.map_err(of_cuda)?;
                stream.synchronize().map_err(of_cuda)
            }
            #[cfg(test)]
            (_, to) => {
                let to = &mut to.bytes_mut()[..bytes];
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
    fn a_batch_takes_the_smallest_set_that_has_the_places() {
        let size = |count, there: &[usize]| size_for(count, there.iter().copied());
        assert_eq!([1, 2, 3, 8, 33].map(|count| size(count, &[])), [1, 2, 4, 8, 64]);
        assert_eq!([1, 2, 5, 8, 9].map(|count| size(count, &[1, 8])), [1, 8, 8, 8, 16]);
        assert_eq!(size(1, &[16, 64]), 16);
    }
}
