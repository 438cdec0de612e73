//! `yf bench train`: where the time of a training step goes, and how far it is from the network alone.

use std::time::Instant;

use serde::Serialize;
use yf_models::cost;
use yf_plan::BenchPlan;

use crate::Error;
use crate::feed::Batch;
use crate::learner::Learner;
use crate::output;
use crate::schedule::Schedule;
use crate::setup::Setup;
use crate::targets;
use crate::torch;

/// So many steps, and at least one epoch, are not timed: caches fill, kernels are chosen for both sizes of batch.
const WARM_UP: usize = 3;

/// What a measurement found. Stages are milliseconds a batch.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    device: String,
    precision: &'static str,
    imgsz: usize,
    batch: usize,
    steps: usize,
    /// Pairs a second, everything included.
    pairs_per_s: f64,
    /// Pairs a second of forward, loss, backward and step on one batch that is there already.
    resident_pairs_per_s: f64,
    /// The first over the second.
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
    let setup = Setup::open(&plan.train)?;
    let parameters = setup.start(&plan.train)?;
    parameters.channels_last()?;
    let schedule = Schedule::new(&plan.train.recipe, setup.feed.batches());
    let learner = Learner::new(&setup.graph, parameters, &plan.train.recipe, &schedule, setup.device)?;
    let mut stopwatch = Stopwatch { setup: &setup, plan, learner, schedule, stages: [0.0; 4] };
    let (pairs, seconds) = stopwatch.end_to_end()?;
    let resident = stopwatch.resident()?;
    let stages = stopwatch.stages.map(|total| total * 1e3 / plan.steps.max(1) as f64);
    let pairs_per_s = pairs as f64 / seconds;
    let report = Report {
        model: setup.network.name().to_owned(),
        device: format!("{:?}", setup.device),
        precision: stopwatch.learner.precision(),
        imgsz: plan.train.imgsz,
        batch: plan.train.recipe.batch,
        steps: plan.steps,
        pairs_per_s,
        resident_pairs_per_s: resident,
        ratio: pairs_per_s / resident,
        wait_ms: stages[0],
        augment_ms: stages[1],
        gradient_ms: stages[2],
        step_ms: stages[3],
        tflops: 3.0 * cost::of(&setup.graph).gflops() * pairs_per_s / 1e3,
        peak_memory_gb: torch::peak_memory(setup.device) as f64 / 1e9,
    };
    print(&report, plan.json);
    Ok(())
}

struct Stopwatch<'a> {
    setup: &'a Setup,
    plan: &'a BenchPlan,
    learner: Learner,
    schedule: Schedule,
    /// Seconds: waiting for decoded pairs, augmentation, gradients, optimizer.
    stages: [f64; 4],
}

impl Stopwatch<'_> {
    /// Pairs and seconds of the timed steps, data loading included. Epochs follow one another as in a run.
    fn end_to_end(&mut self) -> Result<(usize, f64), Error> {
        let warm_up = self.setup.feed.batches().max(WARM_UP);
        let (mut pairs, mut done, mut started) = (0, 0, Instant::now());
        for epoch in 0.. {
            let mut feed = self.setup.feed.epoch(epoch, self.setup.augmentation.clone());
            loop {
                let at = Instant::now();
                let Some(decoded) = feed.next() else { break };
                let decoded = decoded.and_then(|inner| inner)?;
                let waited = at.elapsed().as_secs_f64();
                let (batch, augmented) = self.timed(|s| Ok(s.setup.feed.batch(&decoded)?))?;
                let (count, stages) = self.learn(&batch)?;
                if done >= warm_up {
                    pairs += count;
                    let all = [waited, augmented, stages[0], stages[1]];
                    (0..4).for_each(|i| self.stages[i] += all[i]);
                }
                done += 1;
                if done == warm_up {
                    started = Instant::now();
                }
                if done == warm_up + self.plan.steps {
                    return Ok((pairs, started.elapsed().as_secs_f64()));
                }
            }
        }
        Ok((pairs, started.elapsed().as_secs_f64()))
    }

    /// Pairs a second where one batch is learned again and again.
    fn resident(&mut self) -> Result<f64, Error> {
        let decoded = self.setup.feed.epoch(0, self.setup.augmentation.clone()).next();
        let decoded =
            decoded.ok_or_else(|| Error::Other("there are no training pairs".to_owned()))?.and_then(|d| d)?;
        let batch = self.setup.feed.batch(&decoded)?;
        self.learn(&batch)?;
        let started = Instant::now();
        for _ in 0..self.plan.steps {
            self.learn(&batch)?;
        }
        Ok((batch.labels.len() * self.plan.steps) as f64 / started.elapsed().as_secs_f64())
    }

    /// Pairs of the batch, seconds of its gradients and of the step.
    fn learn(&mut self, batch: &Batch) -> Result<(usize, [f64; 2]), Error> {
        let side = self.plan.train.imgsz;
        let rates = self.schedule.at(usize::MAX / 2, 0);
        let ((), gradient) = self.timed(|s| {
            let targets = targets::of(&batch.labels, (side, side), s.setup.names.len(), s.setup.device)?;
            let inputs = batch.inputs(&s.setup.graph, s.plan.train.modality)?;
            s.learner.accumulate(&inputs, &targets)?;
            Ok(())
        })?;
        let ((), step) = self.timed(|s| {
            if s.learner.pending >= rates.accumulate {
                s.learner.step(&rates)?;
            }
            Ok(())
        })?;
        Ok((batch.labels.len(), [gradient, step]))
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
