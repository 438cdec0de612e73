//! `yf bench train`: where the time of a training step goes, and how far it is from the network alone.

use std::collections::VecDeque;
use std::time::Instant;

use serde::Serialize;
use yf_models::cost;
use yf_plan::BenchPlan;

use crate::Error;
use crate::distributed::{self, World};
use crate::feed::Batch;
use crate::flight::IN_FLIGHT;
use crate::learner::{self, Learner, Losses};
use crate::output;
use crate::records::progress::Busy;
use crate::schedule::{Rates, Schedule};
use crate::setup::Setup;
use crate::torch::{self, Device, Kind, Tensor, TorchError};

/// Steps on one batch before anything is timed: kernels are chosen, the step is recorded.
const WARM_UP: usize = 8;

/// Steps of the breakdown by stage, which waits for the device after each and so is not the speed of a run.
const STAGED: usize = 20;
/// Pairs that are read on one thread.
const READ: usize = 16;
/// Side of the square matrices whose product tells what the device can do at most, on a GPU and on a CPU.
const SIDE: (i64, i64) = (8192, 1024);
/// Products that are timed.
const PRODUCTS: usize = 10;

/// What a measurement found. Stages are milliseconds a batch.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    device: String,
    precision: &'static str,
    imgsz: usize,
    batch: usize,
    steps: usize,
    /// Pairs a second of a first epoch, in which every pair is decoded, everything included.
    first_epoch_pairs_per_s: f64,
    /// Pairs a second of the epochs after it, everything included.
    pairs_per_s: f64,
    /// Pairs a second of forward, loss, backward and step on one batch that is there already.
    resident_pairs_per_s: f64,
    /// The second over the third.
    ratio: f64,
    /// One pair on one thread; from the disk cache where there is one.
    decode_ms_per_pair: f64,
    wait_ms: f64,
    transfer_ms: f64,
    augment_ms: f64,
    /// Forward, loss and backward as they are run.
    gradient_ms: f64,
    step_ms: f64,
    /// Forward, loss and backward launched operation by operation.
    eager_forward_ms: f64,
    eager_loss_ms: f64,
    eager_backward_ms: f64,
    /// Tera-operations a second end to end; a training step counts as three forward passes.
    tflops: f64,
    /// Tera-operations a second of a product of large matrices in the same precision.
    matmul_tflops: f64,
    /// Model-FLOP utilisation: the first over the second.
    mfu: f64,
    peak_memory_gb: f64,
}

/// Measures what the plan says and prints it; nothing is written to disk.
///
/// # Errors
/// What would stop a run.
pub fn bench(plan: &BenchPlan) -> Result<(), Error> {
    distributed::run(plan.train.device.as_ref(), |world| bench_in(world, plan))
}

fn bench_in(world: &World, plan: &BenchPlan) -> Result<(), Error> {
    let setup = Setup::open(&plan.train, world)?;
    let parameters = setup.start(&plan.train)?;
    parameters.channels_last()?;
    let schedule = Schedule::new(&plan.train.recipe, setup.feed.batches());
    let mut learner = setup.learner(parameters, &plan.train.recipe, &schedule)?;
    learner.join(world, plan.train.recipe.sync_bn)?;
    let busy = world.is_main().then(|| Busy::new("measuring"));
    let mut stopwatch = Stopwatch { setup: &setup, plan, learner, schedule, flight: VecDeque::new() };
    // Every rank learns as many pairs as this one, or one less.
    let ranks = world.size() as f64;
    let resident = stopwatch.resident()? * ranks;
    // Ranks of a machine share what they have read.
    world.meet()?;
    setup.feed.forget();
    world.meet()?;
    // An epoch of its own number: its pictures are the same, its dice are not.
    let first = stopwatch.steps(0, setup.feed.batches())? * ranks;
    let pairs_per_s = stopwatch.steps(1, plan.steps)? * ranks;
    let peak = torch::peak_memory(setup.device);
    let stages = stopwatch.stages()?;
    world.meet()?;
    let decode = if world.is_main() { setup.feed.seconds_to_read(READ)? } else { 0.0 };
    let matmul = matmul_tflops(setup.device, learner::precision(plan.train.recipe.amp, setup.device))?;
    let matmul = matmul * ranks;
    drop(busy);
    if !world.is_main() {
        return Ok(());
    }
    let tflops = 3.0 * cost::of(&setup.graph).gflops() * pairs_per_s / 1e3;
    let report = Report {
        model: setup.network.name().to_owned(),
        device: match world.size() {
            1 => format!("{:?}", setup.device),
            size => format!("{size} ranks on {:?} and others", setup.device),
        },
        precision: stopwatch.learner.precision(),
        imgsz: plan.train.imgsz,
        batch: plan.train.recipe.batch,
        steps: plan.steps,
        first_epoch_pairs_per_s: first,
        pairs_per_s,
        resident_pairs_per_s: resident,
        ratio: pairs_per_s / resident,
        decode_ms_per_pair: decode * 1e3,
        wait_ms: stages.wait,
        transfer_ms: stages.transfer,
        augment_ms: stages.augment,
        gradient_ms: stages.gradient,
        step_ms: stages.step,
        eager_forward_ms: stages.eager[0],
        eager_loss_ms: stages.eager[1],
        eager_backward_ms: stages.eager[2],
        tflops,
        matmul_tflops: matmul,
        mfu: tflops / matmul,
        peak_memory_gb: peak as f64 / 1e9,
    };
    print(&report, plan.json);
    Ok(())
}

struct Stopwatch<'a> {
    setup: &'a Setup,
    plan: &'a BenchPlan,
    learner: Learner,
    schedule: Schedule,
    flight: VecDeque<Losses>,
}

impl Stopwatch<'_> {
    /// Pairs a second over `steps` steps that begin with `epoch`, data loading included. Epochs follow one another as
    /// in a run.
    fn steps(&mut self, epoch: usize, steps: usize) -> Result<f64, Error> {
        let started = Instant::now();
        let (mut pairs, mut done) = (0, 0);
        for epoch in epoch.. {
            for decoded in self.setup.feed.epoch(epoch, self.setup.augmentation.clone()) {
                let batch = self.setup.feed.batch(decoded?, self.plan.train.modality)?;
                self.gradient(&batch)?;
                self.optimize()?;
                pairs += batch.labels.len();
                done += 1;
                if done == steps {
                    torch::synchronize(self.setup.device)?;
                    return Ok(pairs as f64 / started.elapsed().as_secs_f64());
                }
            }
        }
        Ok(0.0)
    }

    /// Pairs a second where one batch is learned again and again.
    fn resident(&mut self) -> Result<f64, Error> {
        let decoded = self.setup.feed.epoch(0, self.setup.augmentation.clone()).next();
        let decoded = decoded.ok_or_else(|| Error::Other("there are no training pairs".to_owned()))??;
        let batch = self.setup.feed.batch(decoded, self.plan.train.modality)?;
        let mut started = Instant::now();
        for step in 0..WARM_UP + self.plan.steps {
            if step == WARM_UP {
                torch::synchronize(self.setup.device)?;
                started = Instant::now();
            }
            self.gradient(&batch)?;
            self.optimize()?;
        }
        torch::synchronize(self.setup.device)?;
        Ok((batch.labels.len() * self.plan.steps) as f64 / started.elapsed().as_secs_f64())
    }

    /// Milliseconds a batch of every stage, each to its end on the device.
    fn stages(&mut self) -> Result<Stages, Error> {
        let mut sums = Stages::default();
        let mut feed = self.setup.feed.epoch(2, self.setup.augmentation.clone());
        let mut done = 0;
        while done < STAGED {
            let started = Instant::now();
            let Some(decoded) = feed.next() else { break };
            let decoded = decoded?;
            sums.wait += started.elapsed().as_secs_f64();
            sums.transfer += self.setup.feed.seconds_to_send(&decoded)?;
            let (batch, augment) =
                self.timed(|s| Ok(s.setup.feed.batch(decoded, s.plan.train.modality)?))?;
            sums.augment += augment;
            sums.gradient += self.timed(|s| s.gradient(&batch))?.1;
            sums.step += self.timed(Self::optimize)?.1;
            let inputs = batch.inputs(&self.setup.graph, self.plan.train.modality)?;
            let eager = self.learner.stages(&inputs, &batch.targets)?;
            sums.eager.iter_mut().zip(eager).for_each(|(sum, time)| *sum += time);
            self.optimize()?;
            done += 1;
        }
        Ok(sums.scaled(1e3 / done.max(1) as f64))
    }

    fn gradient(&mut self, batch: &Batch) -> Result<(), Error> {
        let inputs = batch.inputs(&self.setup.graph, self.plan.train.modality)?;
        let losses = self.learner.accumulate(&inputs, &batch.targets, &self.rates())?;
        self.flight.push_back(losses);
        if self.flight.len() > IN_FLIGHT {
            self.flight.pop_front().map(|losses| losses.parts()).transpose()?;
        }
        Ok(())
    }

    fn rates(&self) -> Rates {
        self.schedule.at(usize::MAX / 2, 0)
    }

    fn optimize(&mut self) -> Result<(), Error> {
        let rates = self.rates();
        if self.learner.pending >= rates.accumulate {
            self.learner.step(&rates)?;
        }
        Ok(())
    }

    /// Runs `work` to its end on the device, and says how long that took.
    fn timed<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<(T, f64), Error> {
        let started = Instant::now();
        let value = work(self)?;
        torch::synchronize(self.setup.device)?;
        Ok((value, started.elapsed().as_secs_f64()))
    }
}

/// Stages of a batch, in seconds or milliseconds.
#[derive(Default)]
struct Stages {
    wait: f64,
    transfer: f64,
    augment: f64,
    gradient: f64,
    step: f64,
    eager: [f64; 3],
}

impl Stages {
    fn scaled(self, by: f64) -> Self {
        Stages {
            wait: self.wait * by,
            transfer: self.transfer * by,
            augment: self.augment * by,
            gradient: self.gradient * by,
            step: self.step * by,
            eager: self.eager.map(|time| time * by),
        }
    }
}

/// What the device can do at most: tera-operations a second of a product of large matrices.
fn matmul_tflops(device: Device, kind: Option<Kind>) -> Result<f64, Error> {
    let side = if device.is_cuda() { SIDE.0 } else { SIDE.1 };
    let matrix = Tensor::rand([side, side], (Kind::Float, device)).to_kind(kind.unwrap_or(Kind::Float));
    let product = || matrix.f_matmul(&matrix).map_err(TorchError::from).map(drop);
    (0..2).try_for_each(|_| product())?;
    torch::synchronize(device)?;
    let started = Instant::now();
    (0..PRODUCTS).try_for_each(|_| product())?;
    torch::synchronize(device)?;
    Ok(2.0 * (side as f64).powi(3) * PRODUCTS as f64 / started.elapsed().as_secs_f64() / 1e12)
}

fn print(report: &Report, json: bool) {
    if json {
        output::line(&serde_json::to_string(report).unwrap_or_default());
        return;
    }
    let Report { model, device, precision, imgsz, batch, steps, .. } = report;
    output::line(&format!("{model}, {imgsz} px, batch {batch}, {precision}, {device}, {steps} steps"));
    output::line(&format!("first epoch           {:9.1} pairs/s", report.first_epoch_pairs_per_s));
    output::line(&format!("end to end            {:9.1} pairs/s", report.pairs_per_s));
    output::line(&format!(
        "network on one batch  {:9.1} pairs/s  (ratio {:.2})",
        report.resident_pairs_per_s, report.ratio
    ));
    output::line(&format!("{:<22}{:9.2} ms a pair on one thread", "decoding", report.decode_ms_per_pair));
    let stages = [
        ("waiting for pairs", report.wait_ms),
        ("transfer", report.transfer_ms),
        ("augmentation", report.augment_ms),
        ("gradients", report.gradient_ms),
        ("optimizer", report.step_ms),
        ("eager: forward", report.eager_forward_ms),
        ("eager: loss", report.eager_loss_ms),
        ("eager: backward", report.eager_backward_ms),
    ];
    for (name, ms) in stages {
        output::line(&format!("{name:<22}{ms:9.2} ms a batch"));
    }
    output::line(&format!(
        "{:<22}{:9.2} TFLOP/s, {:.1} % of a matrix product's {:.0} TFLOP/s",
        "rate",
        report.tflops,
        100.0 * report.mfu,
        report.matmul_tflops
    ));
    output::line(&format!("{:<22}{:9.2} GB", "peak memory", report.peak_memory_gb));
}
