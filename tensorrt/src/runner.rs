//! Batches through an engine: memory bound once, a stream of its own, launches recorded where that can be.

use std::sync::Arc;
use std::time::Instant;

use crate::engine::{Context, Element, Engine, Tensor};
use crate::error::TensorRtError;
use yf_cuda::{DeviceMemory, Event, Gpu, Graph, HostMemory, Stream};

/// An input or output as a caller knows it.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name in the network.
    pub name: String,
    /// What it is made of.
    pub element: Element,
    /// Sizes of its axes behind the batch.
    pub shape: Vec<usize>,
}

/// What goes in and comes out.
#[derive(Clone, Debug)]
pub struct Ports {
    /// In the order that [`Runner::run`] is given them.
    pub inputs: Vec<Port>,
    /// float32.
    pub output: Port,
    /// Pictures a run at least, which a smaller batch is filled up to, and at most.
    pub batches: (usize, usize),
    /// Whether launches may be recorded: the network does not wait for the GPU in its middle.
    pub record: bool,
}

/// Milliseconds of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// Pictures to the device.
    pub upload: f64,
    /// The network.
    pub compute: f64,
    /// Its output back.
    pub download: f64,
}

/// An engine with its memory, ready for batches.
pub struct Runner {
    // What was recorded goes first, then the engine, then the memory that both know.
    launch: Launch,
    context: Context,
    inputs: Vec<Slot>,
    output: Slot,
    marks: [Event; 4],
    stream: Stream,
    gpu: Arc<Gpu>,
    batches: (usize, usize),
    record: bool,
    /// The batch that shapes are set for; 0 at first.
    batch: usize,
}

/// How the kernels are begun.
enum Launch {
    /// One by one: the first run of a shape, which may not be recorded.
    First,
    /// The next run is recorded.
    Second,
    Recorded(Graph),
    /// One by one, always.
    Plain,
}

/// A tensor on both sides.
struct Slot {
    name: String,
    shape: Vec<usize>,
    /// Bytes of one picture's.
    bytes: usize,
    host: HostMemory,
    device: DeviceMemory,
}

impl Runner {
    /// Binds memory for batches up to the greatest. `cache` is what [`Self::cache`] gave on an earlier start.
    ///
    /// # Errors
    /// [`TensorRtError::Engine`] where the engine has other inputs and outputs, [`TensorRtError::Cuda`] where memory
    /// does not suffice.
    pub fn new(engine: Engine, ports: &Ports, cache: &[u8]) -> Result<Self, TensorRtError> {
        check_ports(&engine.tensors(), ports)?;
        let gpu = Arc::clone(engine.gpu());
        let mut context = engine.context(cache)?;
        let slot = |port: &Port| Slot::new(&gpu, port, ports.batches.1);
        let inputs = ports.inputs.iter().map(slot).collect::<Result<Vec<_>, _>>()?;
        let output = slot(&ports.output)?;
        for slot in inputs.iter().chain([&output]) {
            // SAFETY: the runner holds the memory, for its greatest batch, as long as the context.
            unsafe { context.set_address(&slot.name, slot.device.address()) }?;
        }
        let (event, stream) = (|| Event::new(&gpu), Stream::new(&gpu)?);
        let marks = [event()?, event()?, event()?, event()?];
        let (batches, record) = (ports.batches, ports.record);
        let launch = Launch::First;
        Ok(Self { launch, context, inputs, output, marks, stream, gpu, batches, record, batch: 0 })
    }

    /// Runs pictures as a batch of that size, or of the least: of each the bytes for every input, in the ports' order.
    /// Returns the output of all of the batch, whose places without a picture hold old ones, and where the time went.
    ///
    /// # Errors
    /// [`TensorRtError::Engine`] where the bytes are not those of such a batch or the engine fails,
    /// [`TensorRtError::Cuda`] where the device does.
    pub fn run<'a>(
        &mut self,
        pictures: &[impl AsRef<[&'a [u8]]>],
        batch: usize,
    ) -> Result<(Vec<f32>, Spent), TensorRtError> {
        self.gpu.make_current()?;
        if batch == 0 || batch > self.batches.1 || pictures.len() > batch {
            return Err(TensorRtError::Engine(format!(
                "{} pictures in a batch of {batch} are not what this engine takes",
                pictures.len()
            )));
        }
        let size = batch.max(self.batches.0);
        self.set_batch(size)?;
        let start = Instant::now();
        for (place, picture) in pictures.iter().enumerate() {
            for (slot, bytes) in self.inputs.iter_mut().zip(picture.as_ref()) {
                slot.fill(place, bytes)?;
            }
        }
        let filling = start.elapsed().as_secs_f64() * 1e3;
        let begun = self.begin(size);
        // Also where something failed: the device may still be reading.
        let waited = self.stream.synchronize();
        begun?;
        waited?;
        let [zero, uploaded, computed, done] = &self.marks;
        let spent = Spent {
            upload: filling + uploaded.since(zero)?,
            compute: computed.since(uploaded)?,
            download: done.since(computed)?,
        };
        Ok((self.output.floats(batch), spent))
    }

    /// Whether launches are recorded, by this or by the library.
    pub fn records(&self) -> bool {
        self.record && (self.context.records_itself() || !matches!(self.launch, Launch::Plain))
    }

    /// The engine that runs.
    pub fn engine(&self) -> &Engine {
        self.context.engine()
    }

    /// TensorRT-RTX's finished kernels, for the next start; empty from full TensorRT.
    pub fn cache(&self) -> Vec<u8> {
        self.context.cache()
    }

    fn set_batch(&mut self, batch: usize) -> Result<(), TensorRtError> {
        if self.batch == batch {
            return Ok(());
        }
        self.batch = 0;
        self.launch =
            if self.record && !self.context.records_itself() { Launch::First } else { Launch::Plain };
        for slot in &self.inputs {
            self.context.set_shape(&slot.name, &slot.sizes(batch))?;
        }
        let (got, wanted) = (self.context.shape(&self.output.name)?, self.output.sizes(batch));
        if got != wanted {
            return Err(TensorRtError::Engine(format!("its output has the shape {got:?}, not {wanted:?}")));
        }
        self.batch = batch;
        Ok(())
    }

    fn begin(&mut self, batch: usize) -> Result<(), TensorRtError> {
        self.marks[0].record(&self.stream)?;
        for slot in &self.inputs {
            // SAFETY: both hold the greatest batch, and `run` waits.
            unsafe { self.stream.upload(&slot.host, slot.device.address(), 0..slot.bytes * batch) }?;
        }
        self.marks[1].record(&self.stream)?;
        self.compute()?;
        self.marks[2].record(&self.stream)?;
        let Slot { host, device, bytes, .. } = &mut self.output;
        // SAFETY: as above.
        unsafe { self.stream.download(device.address(), host, *bytes * batch) }?;
        Ok(self.marks[3].record(&self.stream)?)
    }

    fn compute(&mut self) -> Result<(), TensorRtError> {
        if matches!(self.launch, Launch::Second) {
            self.record_launches()?;
        }
        // SAFETY: all addresses were set in `new`, to memory that this holds.
        unsafe {
            match &self.launch {
                Launch::Recorded(graph) => return Ok(graph.launch(&self.stream)?),
                Launch::First | Launch::Second | Launch::Plain => self.context.enqueue(&self.stream)?,
            }
        }
        if matches!(self.launch, Launch::First) {
            self.launch = Launch::Second;
        }
        Ok(())
    }

    fn record_launches(&mut self) -> Result<(), TensorRtError> {
        self.stream.synchronize()?;
        let Self { stream, context, .. } = self;
        // SAFETY: as in `compute`.
        self.launch = match stream.record(|| unsafe { context.enqueue(stream) }) {
            Ok(graph) => Launch::Recorded(graph),
            Err(why) => {
                tracing::debug!("launches are not recorded: {why}");
                Launch::Plain
            }
        };
        Ok(())
    }
}

impl Slot {
    fn new(gpu: &Arc<Gpu>, port: &Port, max_batch: usize) -> Result<Self, TensorRtError> {
        let element = if port.element == Element::UInt8 { 1 } else { 4 };
        let bytes = port.shape.iter().product::<usize>() * element;
        Ok(Self {
            name: port.name.clone(),
            shape: port.shape.clone(),
            bytes,
            host: HostMemory::new(gpu, bytes * max_batch)?,
            device: DeviceMemory::new(gpu, bytes * max_batch)?,
        })
    }

    fn sizes(&self, batch: usize) -> Vec<i64> {
        [&batch].into_iter().chain(&self.shape).map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect()
    }

    fn fill(&mut self, place: usize, bytes: &[u8]) -> Result<(), TensorRtError> {
        if bytes.len() != self.bytes {
            let (name, got, wanted) = (&self.name, bytes.len(), self.bytes);
            return Err(TensorRtError::Engine(format!(
                "input {name} is given {got} bytes, and takes {wanted}"
            )));
        }
        self.host.bytes_mut()[place * self.bytes..][..self.bytes].copy_from_slice(bytes);
        Ok(())
    }

    fn floats(&self, batch: usize) -> Vec<f32> {
        let (values, _) = self.host.bytes()[..self.bytes * batch].as_chunks::<4>();
        values.iter().map(|value| f32::from_ne_bytes(*value)).collect()
    }
}

/// The engine has these inputs and this output, of these kinds.
fn check_ports(tensors: &[Tensor], ports: &Ports) -> Result<(), TensorRtError> {
    let wanted = ports.inputs.iter().map(|port| (port, true)).chain([(&ports.output, false)]);
    for (port, input) in wanted.clone() {
        let same = |tensor: &Tensor| {
            tensor.name == port.name && tensor.input == input && tensor.element == port.element
        };
        if !tensors.iter().any(same) {
            return Err(TensorRtError::Engine(format!(
                "the engine has no {} {} of {:?}: it was built from another network",
                if input { "input" } else { "output" },
                port.name,
                port.element
            )));
        }
    }
    if tensors.len() != wanted.count() {
        return Err(TensorRtError::Engine(
            "the engine has more inputs or outputs than its network".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> Port {
        Port { name: name.to_owned(), element: Element::Float32, shape: vec![3, 4, 4] }
    }

    fn tensor(name: &str, input: bool) -> Tensor {
        Tensor { name: name.to_owned(), input, element: Element::Float32 }
    }

    #[test]
    fn an_engine_of_another_network_is_refused() {
        let ports =
            Ports { inputs: vec![port("rgb")], output: port("output0"), batches: (1, 1), record: true };
        assert!(check_ports(&[tensor("rgb", true), tensor("output0", false)], &ports).is_ok());
        let ir = tensor("ir", true);
        let half = Tensor { element: Element::Other(1), ..tensor("rgb", true) };
        for wrong in [
            vec![ir.clone(), tensor("output0", false)],
            vec![half, tensor("output0", false)],
            vec![tensor("rgb", true), tensor("output0", true)],
            vec![tensor("rgb", true), tensor("output0", false), ir],
        ] {
            assert!(check_ports(&wrong, &ports).is_err(), "{wrong:?}");
        }
    }
}
