//! Batches of one shape, and the optimizer's step, recorded as CUDA graphs: a kernel of a small network takes less time than its launch.

use std::collections::HashMap;

use tracing::{debug, warn};

use crate::loss::Targets;
use crate::torch::{self, CudaGraph, Device, Tensor, TorchError, no_grad};

/// Batches of a shape that are computed launch by launch before it is recorded: libraries choose their kernels and take
/// their workspaces, gradients get their places, and a shape that comes once in an epoch is not worth its memory.
const LAUNCHED_FIRST: u32 = 3;

/// Optimizer steps that are taken launch by launch before one is recorded.
const STEPS_FIRST: u32 = 2;

/// Shapes that are recorded; each keeps its inputs, and all share the memory between.
const MOST: usize = 6;

/// Environment variable that switches recording off where it is `0`.
pub const SWITCH: &str = "YF_CUDA_GRAPH";

/// What is computed of a batch: adds to the gradients, returns the losses.
pub type Work<'a> = &'a dyn Fn(&[Tensor], &Targets) -> Result<Tensor, TorchError>;

/// The recorded shapes of one network; on a CPU nothing is recorded.
pub struct Recordings {
    enabled: bool,
    seen: HashMap<Shape, u32>,
    recorded: HashMap<Shape, Recording>,
    /// Whose pool the others share.
    first: Option<Shape>,
}

/// Sizes of a batch: of each input, then of the targets.
type Shape = Vec<Vec<i64>>;

struct Recording {
    graph: CudaGraph,
    inputs: Vec<Tensor>,
    targets: Targets,
    losses: Tensor,
}

/// Whether anything is recorded there.
fn is_worth_it(device: Device) -> bool {
    device.is_cuda() && std::env::var(SWITCH).map_or(true, |value| value != "0")
}

fn give_up(why: &TorchError) {
    warn!("training goes on without CUDA graphs, slower at small batches: {why}");
}

impl Recordings {
    /// None yet.
    pub fn new(device: Device) -> Self {
        Recordings {
            enabled: is_worth_it(device),
            seen: HashMap::new(),
            recorded: HashMap::new(),
            first: None,
        }
    }

    /// Whether batches may be recorded.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Computes `work` of a batch: from its recording, or launch by launch and perhaps recorded for the next time.
    ///
    /// # Errors
    /// What libtorch reports. A failure to record is none: it is said once, and the run goes on without.
    pub fn run(
        &mut self,
        inputs: &[Tensor],
        targets: &Targets,
        work: Work<'_>,
    ) -> Result<Tensor, TorchError> {
        if !self.enabled {
            return work(inputs, targets);
        }
        let shape = shape_of(inputs, targets);
        if let Some(recording) = self.recorded.get(&shape) {
            return recording.replay(inputs, targets);
        }
        let seen = self.seen.entry(shape.clone()).or_default();
        *seen += 1;
        if *seen == LAUNCHED_FIRST && self.recorded.len() < MOST {
            let losses = work(inputs, targets)?;
            self.record(shape, inputs, targets, work);
            return Ok(losses);
        }
        work(inputs, targets)
    }

    fn record(&mut self, shape: Shape, inputs: &[Tensor], targets: &Targets, work: Work<'_>) {
        let pool = self.first.as_ref().and_then(|first| self.recorded.get(first));
        match Recording::new(inputs, targets, work, pool.map(|recording| &recording.graph)) {
            Ok(recording) => {
                debug!("recorded a batch of {shape:?} as a CUDA graph");
                self.first.get_or_insert_with(|| shape.clone());
                self.recorded.insert(shape, recording);
            }
            Err(why) => {
                give_up(&why);
                self.enabled = false;
            }
        }
    }
}

impl Recording {
    fn new(
        inputs: &[Tensor],
        targets: &Targets,
        work: Work<'_>,
        pool: Option<&CudaGraph>,
    ) -> Result<Self, TorchError> {
        let inputs: Vec<Tensor> = no_grad(|| inputs.iter().map(Tensor::copy).collect());
        let targets = targets.copy();
        // What launches left in the allocator's hands would lie beside the graph's own memory.
        torch::empty_cache()?;
        let (graph, losses) = CudaGraph::record(pool, || work(&inputs, &targets))?;
        Ok(Recording { graph, inputs, targets, losses })
    }

    fn replay(&self, inputs: &[Tensor], targets: &Targets) -> Result<Tensor, TorchError> {
        no_grad(|| -> Result<(), TorchError> {
            for (place, input) in self.inputs.iter().zip(inputs) {
                place.shallow_clone().f_copy_(input)?;
            }
            self.targets.fill_from(targets)
        })?;
        self.graph.replay()?;
        Ok(self.losses.shallow_clone())
    }
}

fn shape_of(inputs: &[Tensor], targets: &Targets) -> Shape {
    inputs.iter().chain([&targets.mask]).map(Tensor::size).collect()
}

/// Work without inputs that always is the same: an optimizer's step, say.
pub struct RecordedStep {
    enabled: bool,
    taken: u32,
    graph: Option<CudaGraph>,
}

impl RecordedStep {
    /// Not recorded yet.
    pub fn new(device: Device) -> Self {
        RecordedStep { enabled: is_worth_it(device), taken: 0, graph: None }
    }

    /// Does `work`: from its recording, or launch by launch the first times.
    ///
    /// # Errors
    /// What libtorch reports. A failure to record is none: it is said once, and the run goes on without.
    pub fn run(&mut self, work: impl Fn() -> Result<(), TorchError>) -> Result<(), TorchError> {
        if let Some(graph) = &self.graph {
            return graph.replay();
        }
        if !self.enabled || self.taken < STEPS_FIRST {
            self.taken += 1;
            return work();
        }
        match CudaGraph::record(None, &work) {
            Ok((graph, ())) => {
                graph.replay()?;
                self.graph = Some(graph);
                Ok(())
            }
            Err(why) => {
                give_up(&why);
                self.enabled = false;
                work()
            }
        }
    }
}
