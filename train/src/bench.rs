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
use crate::learner::{Learner, Losses};
use crate::output;
use crate::schedule::{Rates, Schedule};
use crate::setup::Setup;
use crate::torch;

/// Steps on one batch before anything is timed: kernels are chosen, the step is recorded.
const WARM_UP: usize = 8;

/// Steps of the breakdown by stage, which waits for the device after each and so is not the speed of a run.
const STAGED: usize = 20;

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
    wait_ms: f64,
    augment_ms: f64,
    gradient_ms: f64,
    step_ms: f64,
    /// Tera-operations a second end to end; a training step counts as three forward passes.
    tflops: f64,
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
    let mut stopwatch = Stopwatch { setup: &setup, plan, learner, schedule, flight: VecDeque::new() };
    // Every rank learns as many pairs as this one, or one less.
    let ranks = world.size() as f64;
    let resident = stopwatch.resident()? * ranks;
    setup.feed.forget();
    // An epoch of its own number: its pictures are the same, its dice are not.
    let first = stopwatch.steps(0, setup.feed.batches())? * ranks;
    let pairs_per_s = stopwatch.steps(1, plan.steps)? * ranks;
    let peak = torch::peak_memory(setup.device);
    let stages = stopwatch.stages()?;
    if !world.is_main() {
        return Ok(());
    }
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
        wait_ms: stages[0],
        augment_ms: stages[1],
        gradient_ms: stages[2],
        step_ms: stages[3],
        tflops: 3.0 * cost::of(&setup.graph).gflops() * pairs_per_s / 1e3,
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

    /// Milliseconds a batch of waiting for decoded pairs, augmentation, gradients and the optimizer, each to its end on
    /// the device.
    fn stages(&mut self) -> Result<[f64; 4], Error> {
        let mut sums = [0.0; 4];
        let mut feed = self.setup.feed.epoch(2, self.setup.augmentation.clone());
        let mut done = 0;
        while done < STAGED {
            let started = Instant::now();
            let Some(decoded) = feed.next() else { break };
            let decoded = decoded?;
            sums[0] += started.elapsed().as_secs_f64();
            let (batch, augment) =
                self.timed(|s| Ok(s.setup.feed.batch(decoded, s.plan.train.modality)?))?;
            let ((), gradient) = self.timed(|s| s.gradient(&batch))?;
            let ((), step) = self.timed(Self::optimize)?;
            [augment, gradient, step].iter().zip(&mut sums[1..]).for_each(|(time, sum)| *sum += time);
            done += 1;
        }
        Ok(sums.map(|sum| sum * 1e3 / done.max(1) as f64))
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
    let stages = [
        ("waiting for pairs", report.wait_ms),
        ("augmentation", report.augment_ms),
        ("gradients", report.gradient_ms),
        ("optimizer", report.step_ms),
    ];
    for (name, ms) in stages {
        output::line(&format!("{name:<22}{ms:9.2} ms a batch"));
    }
    output::line(&format!(
        "{:<22}{:9.2} TFLOP/s, peak memory {:.2} GB",
        "rate", report.tflops, report.peak_memory_gb
    ));
}
