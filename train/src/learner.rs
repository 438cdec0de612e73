//! One network being trained: forward, loss, backward, and every so many batches a step.

use std::cell::RefCell;
use std::time::Instant;

use yf_models::graph::{Graph, Head};
use yf_plan::{AmpKind, Recipe};

use crate::Error;
use crate::distributed::World;
use crate::ema::Ema;
use crate::loss::{Gains, Loss, Targets};
use crate::optimizer::Optimizer;
use crate::recording::{RecordedStep, Recordings};
use crate::schedule::{Rates, Schedule};
use crate::torch::{
    self, Autocast, Device, Executor, GradScaler, Kind, Mode, Parameters, Readback, Reducer, ScalerState,
    Tensor, TorchError,
};

/// Gradients are clipped to this 2-norm.
const MAX_GRADIENT_NORM: f64 = 10.0;

/// A network with everything that changes while it learns.
pub struct Learner {
    /// The weights.
    pub parameters: Parameters,
    /// Their average.
    pub ema: Ema,
    /// The loss scale.
    pub scaler: GradScaler,
    /// The optimizer and its state.
    pub optimizer: Optimizer,
    /// Batches whose gradients wait for a step.
    pub pending: usize,
    recordings: Recordings,
    recorded_step: RecordedStep,
    /// Gradients of the parameters, in the optimizer's order, once backward has made them: they stay where they are.
    gradients: Vec<Tensor>,
    executor: Executor,
    loss: Loss,
    /// Losses of auxiliary heads, whose maps follow the network's own, and their weight.
    auxiliary: (Vec<Loss>, f64),
    autocast: Option<Kind>,
    device: Device,
    world: World,
    /// Sums gradients over the ranks during backward; without one they are summed before a step.
    reducer: Option<Reducer>,
}

/// The losses of a batch: box, cls, dfl with their gains; those of auxiliary heads are not among them.
pub type Parts = [f64; 3];

/// The losses of a batch on their way to the host.
pub struct Losses(Readback);

impl Losses {
    /// Whether [`Losses::parts`] would not wait.
    ///
    /// # Errors
    /// What the device reports.
    pub fn are_there(&self) -> Result<bool, TorchError> {
        self.0.is_ready()
    }

    /// The losses; waits for them.
    ///
    /// # Errors
    /// What the device reports.
    pub fn parts(&self) -> Result<Parts, TorchError> {
        let values = self.0.values()?;
        Ok([0, 1, 2].map(|i| values.get(i).copied().unwrap_or(f64::NAN)))
    }
}

impl Learner {
    /// A learner over parameters that are laid out and placed already.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn new(
        graph: &Graph,
        parameters: Parameters,
        recipe: &Recipe,
        schedule: &Schedule,
        device: Device,
    ) -> Result<Self, TorchError> {
        let ema = Ema::new(&parameters);
        parameters.require_gradients();
        let gains = Gains { boxes: recipe.box_gain, classes: recipe.cls_gain, dfl: recipe.dfl_gain };
        let autocast = precision(recipe.amp, device);
        let scale = (autocast == Some(Kind::Half)).then_some(recipe.amp_init_scale);
        Ok(Learner {
            executor: Executor::new(graph, &parameters, &graph.outputs),
            optimizer: Optimizer::new(recipe.optimizer, &parameters, schedule.weight_decay()),
            scaler: GradScaler::new(scale, device),
            ema,
            parameters,
            pending: 0,
            recordings: Recordings::new(device),
            recorded_step: RecordedStep::new(device),
            gradients: vec![],
            loss: loss_of(&graph.head, gains),
            auxiliary: (vec![], 0.0),
            autocast,
            device,
            world: World::alone(device),
            reducer: None,
        })
    }

    /// Minimises the losses of auxiliary heads too, times `gain`; the graph's outputs are their maps after its own.
    pub fn help(&mut self, heads: &[Head], gain: f64) {
        self.auxiliary = (heads.iter().map(|head| loss_of(head, self.loss.gains)).collect(), gain);
    }

    /// Learns together with the other ranks from now on, from the weights of rank 0.
    ///
    /// Launched operation by operation, gradients are summed in buckets while backward is still at work. A CUDA graph
    /// holds a batch's gradients alone, and not every batch is followed by a step: there they are summed before a step,
    /// in one message. Gradients of 1.2 million parameters are 5 MB, a tenth of a millisecond of NVLink. Which of the
    /// two it is must be the same on all ranks, so that it does not depend on whether a recording succeeds.
    ///
    /// # Errors
    /// When a rank is gone, or its network is another.
    pub fn join(&mut self, world: &World, sync_bn: bool) -> Result<(), TorchError> {
        let overlaps = !self.recordings.is_enabled();
        self.join_as(world, sync_bn, overlaps)
    }

    /// The same, told whether gradients are summed during backward (`overlaps`) or before a step.
    ///
    /// # Errors
    /// As [`Learner::join`].
    pub fn join_as(&mut self, world: &World, sync_bn: bool, overlaps: bool) -> Result<(), TorchError> {
        world.broadcast(&self.parameters.tensors)?;
        world.broadcast(&self.ema.parameters.tensors)?;
        if let Some(group) = world.group().filter(|_| sync_bn) {
            self.executor.synchronise(group);
        }
        if overlaps {
            let trained: Vec<Tensor> = self.parameters.trained().map(|(_, t)| t.shallow_clone()).collect();
            self.reducer = world.reducer(&trained)?;
        }
        self.world = world.clone();
        Ok(())
    }

    /// Brings the ranks to one state at the end of an epoch: running statistics become rank 0's, and rank 0 takes over
    /// the gradients that wait, for a checkpoint to keep; their sum over the ranks stays what it was.
    ///
    /// # Errors
    /// When a rank is gone, or its weights are no longer those of the others.
    pub fn settle(&self) -> Result<(), Error> {
        for parameters in [&self.parameters, &self.ema.parameters] {
            let buffers: Vec<Tensor> = parameters.buffers().map(|(_, t)| t.shallow_clone()).collect();
            self.world.broadcast(&buffers)?;
        }
        if self.pending > 0 {
            let gradients = self.optimizer.gradients();
            self.world.sum_all(&gradients)?;
            if !self.world.is_main() {
                torch::zero(&gradients)?;
            }
        }
        self.world.confirm(&self.parameters.tensors, "the weights")?;
        self.world.confirm(&self.ema.parameters.tensors, "the averaged weights")
    }

    /// The loss that this learner minimises.
    pub fn loss(&self) -> &Loss {
        &self.loss
    }

    /// Where it learns.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Takes over the loss scale of a checkpoint.
    pub fn resume_scale(&mut self, state: ScalerState) {
        self.scaler = GradScaler::resume(self.scales_loss(), state, self.device);
    }

    /// Precision of the forward pass, for people.
    pub fn precision(&self) -> &'static str {
        match self.autocast {
            Some(Kind::Half) => "fp16 (mixed)",
            Some(_) => "bf16 (mixed)",
            None => "fp32",
        }
    }

    /// Whether the loss is scaled (fp16).
    pub fn scales_loss(&self) -> bool {
        self.autocast == Some(Kind::Half)
    }

    /// Adds the gradients of a batch to those that wait. `inputs` in the graph's order, `[N, 3, S, S]`, 0..1.
    ///
    /// The losses are those of all ranks' batches together, each of which adds its share of the gradients; the last
    /// batch before a step, which `rates` tells, may bring their sum.
    ///
    /// Nobody waits for the losses; where they are not finite the gradients are not either, and the next step is
    /// skipped.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn accumulate(
        &mut self,
        inputs: &[Tensor],
        targets: &Targets,
        rates: &Rates,
    ) -> Result<Losses, TorchError> {
        let last = self.pending + 1 >= rates.accumulate;
        let (pass, recordings) = self.pass(last);
        let work = |inputs: &[Tensor], targets: &Targets| pass.run(inputs, targets, &|| Ok(()));
        let parts = recordings.run(inputs, targets, &work)?;
        self.pending += 1;
        Ok(Losses(Readback::of(&parts)?))
    }

    /// Seconds of forward, loss and backward of a batch, each to its end on the device: launched operation by operation,
    /// which takes longer than a recording. Its gradients wait like those of [`Learner::accumulate`].
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn stages(&mut self, inputs: &[Tensor], targets: &Targets) -> Result<[f64; 3], TorchError> {
        let device = self.device;
        let marks = RefCell::new(vec![]);
        let mark = || {
            torch::synchronize(device)?;
            marks.borrow_mut().push(Instant::now());
            Ok(())
        };
        mark()?;
        let _losses = self.pass(false).0.run(inputs, targets, &mark)?;
        mark()?;
        self.pending += 1;
        let marks = marks.into_inner();
        Ok([0, 1, 2].map(|i| (marks[i + 1] - marks[i]).as_secs_f64()))
    }

    /// What a batch goes through, and where that is recorded. The `last` batch before a step may bring the sum of all
    /// ranks' gradients.
    fn pass(&mut self, last: bool) -> (Pass<'_>, &mut Recordings) {
        let pass = Pass {
            executor: &self.executor,
            loss: &self.loss,
            auxiliary: (&self.auxiliary.0, self.auxiliary.1),
            scaler: &self.scaler,
            parameters: &self.parameters,
            average: &self.ema.parameters,
            autocast: self.autocast,
            device: self.device,
            world: &self.world,
            reducer: self.reducer.as_ref().filter(|_| last),
        };
        (pass, &mut self.recordings)
    }

    /// One optimizer step from the gradients that wait, then the average; neither changes anything where a gradient is
    /// not finite.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn step(&mut self, rates: &Rates) -> Result<(), TorchError> {
        if self.gradients.is_empty() {
            self.gradients = self.optimizer.gradients();
        }
        self.optimizer.set_rates(rates)?;
        self.pending = 0;
        let Learner { gradients, scaler, optimizer, ema, parameters, recorded_step, world, reducer, .. } =
            self;
        recorded_step.run(|| {
            if reducer.is_none() {
                world.sum_all(gradients)?;
            }
            scaler.unscale(gradients)?;
            let _norm = torch::clip_gradients(gradients, MAX_GRADIENT_NORM)?;
            optimizer.step(scaler.found_inf())?;
            scaler.update()?;
            torch::zero(gradients)?;
            ema.update(parameters, scaler.found_inf())
        })
    }

    /// Gradients that wait for a step, by parameter name.
    pub fn pending_gradients(&self) -> Vec<(String, Tensor)> {
        if self.pending == 0 {
            return vec![];
        }
        let defined = |(p, t): (&yf_models::Param, &Tensor)| {
            let gradient = t.grad();
            gradient.defined().then(|| (p.name.clone(), gradient))
        };
        self.parameters.trained().filter_map(defined).collect()
    }

    /// Gives parameters the gradients that waited when a checkpoint was written, or the zeros that a step leaves:
    /// backward of `sum(p * g)` leaves exactly g.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn restore_gradients(
        &mut self,
        gradient_of: impl Fn(&str) -> Option<Tensor>,
        pending: usize,
    ) -> Result<(), TorchError> {
        for (param, tensor) in self.parameters.trained() {
            let gradient = gradient_of(&param.name).unwrap_or_else(|| tensor.zeros_like().detach());
            (tensor * gradient.to_device(self.device)).sum(Kind::Float).f_backward()?;
        }
        self.pending = pending;
        Ok(())
    }
}

/// Forward, loss and backward of a batch.
struct Pass<'a> {
    executor: &'a Executor,
    loss: &'a Loss,
    auxiliary: (&'a [Loss], f64),
    scaler: &'a GradScaler,
    parameters: &'a Parameters,
    average: &'a Parameters,
    autocast: Option<Kind>,
    device: Device,
    world: &'a World,
    reducer: Option<&'a Reducer>,
}

impl Pass<'_> {
    /// Adds a batch's gradients to those that wait and returns its losses; calls `mark` before the loss and before
    /// backward.
    fn run(
        &self,
        inputs: &[Tensor],
        targets: &Targets,
        mark: &dyn Fn() -> Result<(), TorchError>,
    ) -> Result<Tensor, TorchError> {
        self.reducer.map_or(Ok(()), Reducer::before_forward)?;
        let maps = {
            let _autocast = Autocast::enter(self.device, self.autocast)?;
            self.executor.forward(inputs, Mode::Train)?
        };
        mark()?;
        let (own, mut others) = maps.split_at(self.loss.strides.len());
        let divided = |loss: &Loss, maps: &[Tensor]| {
            let sums = loss.sums(maps, targets);
            self.world.sum(&sums.totals)?;
            Ok::<_, TorchError>(sums.divided_by(&sums.totals))
        };
        let losses = divided(self.loss, own)?;
        let mut total = losses.total.shallow_clone();
        let (helpers, gain) = self.auxiliary;
        for helper in helpers {
            let (maps, rest) = others.split_at(helper.strides.len());
            total += divided(helper, maps)?.total * gain;
            others = rest;
        }
        mark()?;
        self.reducer.map_or(Ok(()), Reducer::before_backward)?;
        self.scaler.scale(&total).f_backward()?;
        self.world.sum(&losses.parts)?;
        // Running statistics that a bad batch has spoilt are taken back from the average.
        self.parameters.mend_buffers(self.average)?;
        Ok(losses.parts)
    }
}

fn loss_of(head: &Head, gains: Gains) -> Loss {
    let strides: Vec<i64> = head.strides.iter().map(|&s| s as i64).collect();
    Loss { gains, ..Loss::new(head.classes as i64, &strides) }
}

/// The type of autocast; fp16 has no fast kernels on a CPU, where it means bf16.
pub fn precision(amp: Option<AmpKind>, device: Device) -> Option<Kind> {
    match amp? {
        AmpKind::Fp16 if device.is_cuda() => Some(Kind::Half),
        AmpKind::Fp16 | AmpKind::Bf16 => Some(Kind::BFloat16),
    }
}
