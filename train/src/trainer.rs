//! A training run, from its plan to its best weights.

use std::path::Path;
use std::time::Instant;

use tracing::{info, warn};
use yf_data::metrics::Metrics;
use yf_models::{Header, Weights, durable};
use yf_plan::{Modality, TrainPlan};

use crate::Error;
use crate::checkpoint::{Last, Progress, write_best, write_last};
use crate::closing::{self, Seen};
use crate::distributed::{self, World};
use crate::feed::Batch;
use crate::flight::{Flight, IN_FLIGHT, InFlight, Landed};
use crate::folder::{Claim, Folder};
use crate::interrupt;
use crate::learner::{Learner, Parts};
use crate::memory;
use crate::records::pictures;
use crate::records::plots;
use crate::records::progress::{EpochProgress, Running, ValidationProgress};
use crate::records::results::{self, Row};
use crate::schedule::Schedule;
use crate::setup::Setup;
use crate::torch::{self, ScalerState};
use crate::validator::Outcome;

/// So many batches in a row without a finite loss stop a run.
const MAX_BAD_BATCHES: usize = 5;
/// A network that starts from nothing finds little in fewer optimizer steps.
const FEW_STEPS: usize = 500;
/// A loss scale below this means that something is wrong with more than the scale.
const LOW_SCALE: f64 = 1.0;

/// A run on its way.
struct Run {
    plan: TrainPlan,
    world: World,
    setup: Setup,
    schedule: Schedule,
    learner: Learner,
    header: Header,
    folder: Folder,
    /// Of the rank that writes.
    _claim: Option<Claim>,
    progress: Progress,
    started: Instant,
    /// Seconds spent before this process, in a resumed run.
    before: f64,
    watch: Watch,
}

/// What is kept an eye on over the epochs.
#[derive(Default)]
struct Watch {
    bad_batches: usize,
    warned_of_scale: bool,
    /// The epoch after which `last.safetensors` was written.
    saved: usize,
}

impl Watch {
    /// Warns once of a loss scale that keeps falling.
    fn scale(&mut self, state: &ScalerState, bar: &EpochProgress) {
        if state.scale >= LOW_SCALE || self.warned_of_scale {
            return;
        }
        self.warned_of_scale = true;
        bar.note(&format!(
            "warning: the loss scale has fallen to {} after {} skipped steps: gradients overflow fp16 at any scale. \
             Try --amp bf16, a lower --lr0, or no --amp",
            state.scale, state.skipped
        ));
    }
}

/// Trains as the plan says, as one rank of many where the environment says so. Standard output gets the closing table;
/// everything is in the run's folder.
///
/// # Errors
/// What stopped the run; `weights/last.safetensors` holds the last epoch that was done.
pub fn train(plan: TrainPlan) -> Result<(), Error> {
    let device = plan.device.clone();
    distributed::run(device.as_ref(), |world| train_in(world, world.agree(plan)?))
}

fn train_in(world: &World, plan: TrainPlan) -> Result<(), Error> {
    let plan = if plan.auto_batch { memory::with_largest_batch(plan, world)? } else { plan };
    let mut plan = memory::as_often_halved(plan, world)?;
    let mut run = loop {
        match memory::contained(|| Run::begin(&plan, world)) {
            Err(e) if memory::is_out_of_memory(&e) && !plan.resume => {
                plan = memory::with_half_the_batch(&plan, e, world)?;
            }
            begun => break begun?,
        }
    };
    while run.progress.epoch < run.plan.recipe.epochs {
        if run.is_stale() {
            info!("no better fitness for {} epochs: stopping early", run.plan.recipe.patience);
            break;
        }
        run.next_epoch()?;
    }
    run.close()
}

impl Run {
    /// A run with its first epoch done: in it, memory runs out or never.
    fn begin(plan: &TrainPlan, world: &World) -> Result<Self, Error> {
        let mut run = Run::open(plan.clone(), world)?;
        if world.is_main() {
            run.describe();
            run.expect_interrupt();
        }
        if run.progress.epoch < run.plan.recipe.epochs {
            run.next_epoch()?;
        }
        Ok(run)
    }

    fn next_epoch(&mut self) -> Result<(), Error> {
        let row = self.epoch(self.progress.epoch)?;
        self.record(&row)
    }

    fn open(plan: TrainPlan, world: &World) -> Result<Self, Error> {
        let folder = Folder(plan.run.clone());
        let setup = Setup::open(&plan, world)?;
        if plan.resume {
            Run::resume(plan, world, folder, setup)
        } else {
            Run::fresh(plan, world, folder, setup)
        }
    }

    fn fresh(plan: TrainPlan, world: &World, folder: Folder, setup: Setup) -> Result<Self, Error> {
        let parameters = setup.start(&plan)?;
        let mut run = Run::assemble(plan, world, folder, setup, parameters)?;
        if world.is_main() {
            run.write_args()?;
            run._claim = Some(run.folder.claim()?);
            plots::labels(run.setup.feed.labels(), &run.setup.names, &run.folder.file("labels.png"))?;
        }
        Ok(run)
    }

    /// Every rank reads the checkpoint; ranks of other hosts need the run's folder under the same path.
    fn resume(plan: TrainPlan, world: &World, folder: Folder, setup: Setup) -> Result<Self, Error> {
        let claim = world.is_main().then(|| folder.claim()).transpose()?;
        let last = Last::read(&folder.last())?;
        last.is_of(&setup.names, &folder.last())?;
        let parameters = setup.from_weights(&setup.trained.graph, &last.trained_weights(), &folder.last())?;
        let mut run = Run::assemble(plan, world, folder, setup, parameters)?;
        last.restore(&mut run.learner, &run.setup.trained.graph, world)?;
        run._claim = claim;
        run.before = last.progress.seconds;
        run.watch.saved = last.progress.epoch;
        run.progress = Progress { plan: run.plan.clone(), ..last.progress };
        if world.is_main() {
            run.folder.sweep()?;
            results::keep_until(&run.folder.results(), run.progress.epoch)?;
        }
        match (run.progress.epoch, run.plan.recipe.epochs) {
            (done, all) if done >= all => info!("all {all} epochs are done: only the closing tests are left"),
            (done, all) => info!("resuming after epoch {done} of {all}"),
        }
        Ok(run)
    }

    fn assemble(
        plan: TrainPlan,
        world: &World,
        folder: Folder,
        setup: Setup,
        parameters: torch::Parameters,
    ) -> Result<Self, Error> {
        parameters.channels_last()?;
        if world.is_main() {
            let weights = folder.0.join("weights");
            std::fs::create_dir_all(&weights).map_err(Error::io(&weights))?;
        }
        let schedule = Schedule::new(&plan.recipe, setup.feed.batches());
        let mut learner = setup.learner(parameters, &plan.recipe, &schedule)?;
        learner.join(world, plan.recipe.sync_bn)?;
        let header = Header {
            modality: setup.camera(plan.modality),
            ..Header::new(&setup.network, setup.names.clone(), plan.imgsz)
        };
        let progress = Progress {
            plan: plan.clone(),
            epoch: 0,
            batches: 0,
            pending: 0,
            ema_updates: 0,
            scaler: learner.scaler.state()?,
            best: None,
            seconds: 0.0,
        };
        Ok(Run {
            plan,
            world: world.clone(),
            setup,
            schedule,
            learner,
            header,
            folder,
            _claim: None,
            progress,
            started: Instant::now(),
            before: 0.0,
            watch: Watch::default(),
        })
    }

    fn describe(&self) {
        let precision = self.learner.precision();
        info!(
            "{} ({} parameters) on {} in {precision}, {} training and {} validation pairs, {} px, batch {}",
            self.setup.network.name(),
            self.setup.graph.parameter_count(),
            match self.world.size() {
                1 => format!("{:?}", self.setup.device),
                size => format!("{size} ranks, this one on {:?},", self.setup.device),
            },
            self.setup.feed.labels().len(),
            self.setup.validator.pairs().len(),
            self.plan.imgsz,
            self.plan.recipe.batch,
        );
        if self.plan.recipe.amp == Some(yf_plan::AmpKind::Fp16) && !self.setup.device.is_cuda() {
            warn!("on a CPU --amp means bf16: fp16 has no fast kernels there");
        }
        let steps = self.schedule.steps(self.setup.feed.batches());
        if self.plan.weights.is_none() && steps < FEW_STEPS {
            info!(
                "about {steps} optimizer steps in all: few for a start from nothing; --epochs or --weights give more"
            );
        }
        info!("results in {}", self.folder.0.display());
    }

    /// What Ctrl-C has said from now on.
    fn expect_interrupt(&self) {
        let (saved, all, run) = (self.watch.saved, self.plan.recipe.epochs, self.folder.0.display());
        interrupt::will_say(&match saved {
            0 => format!("stopped: no epoch was saved, so a new run is needed ({run} can go)"),
            _ => format!(
                "stopped: epoch {saved} of {all} is saved, `yf train --resume {run}` goes on from there"
            ),
        });
    }

    /// Learns from every training pair once, then validates.
    fn epoch(&mut self, epoch: usize) -> Result<Row, Error> {
        let started = Instant::now();
        let losses = self.learn(epoch)?;
        let pairs_per_s = self.setup.feed.labels().len() as f64 / started.elapsed().as_secs_f64();
        self.learner.settle()?;
        let outcome = match self.plan.recipe.is_due(self.plan.recipe.val_every, epoch) {
            true => self.validate(self.plan.modality)?,
            false => Outcome::unknown(),
        };
        let rates = self.schedule.at(self.progress.batches.saturating_sub(1), epoch);
        self.progress.scaler = self.learner.scaler.state()?;
        let Metrics { precision, recall, map50, map50_95, .. } = outcome.metrics;
        Ok(Row {
            epoch: epoch + 1,
            time: self.seconds(),
            train: losses,
            precision,
            recall,
            map50,
            map50_95,
            val: outcome.losses,
            lr: rates.lr,
            scale: self.progress.scaler.scale,
            skipped: self.progress.scaler.skipped,
            pairs_per_s,
            memory_gb: torch::peak_memory(self.setup.device) as f64 / 1e9,
        })
    }

    fn learn(&mut self, epoch: usize) -> Result<Parts, Error> {
        let recipe = &self.plan.recipe;
        let augmentation = self.setup.augmentation.in_epoch(epoch, recipe.epochs, recipe.close_mosaic);
        let (batches, epochs) = (self.setup.feed.batches(), recipe.epochs);
        let mut bar = match self.world.is_main() {
            true => EpochProgress::new(epoch + 1, epochs, batches),
            false => EpochProgress::silent(batches),
        };
        let mut flight = Flight::default();
        for (index, decoded) in self.setup.feed.epoch(epoch, augmentation).enumerate() {
            let batch = self.setup.feed.batch(decoded?, self.plan.modality)?;
            if epoch == 0 && index == 0 && self.world.is_main() {
                self.picture(&batch)?;
            }
            self.batch(&batch, epoch, index, &mut flight)?;
            self.land(&mut flight, IN_FLIGHT, &mut bar)?;
        }
        self.land(&mut flight, 0, &mut bar)?;
        let means = flight.means();
        bar.finish(&format!("box {:.3} cls {:.3} dfl {:.3}", means[0], means[1], means[2]));
        Ok(means)
    }

    /// One batch: its gradients, and a step when enough have gathered.
    fn batch(&mut self, batch: &Batch, epoch: usize, index: usize, flight: &mut Flight) -> Result<(), Error> {
        let inputs = batch.inputs(&self.setup.graph, self.plan.modality)?;
        let rates = self.schedule.at(self.progress.batches, epoch);
        let losses = self.learner.accumulate(&inputs, &batch.targets, &rates)?;
        if self.learner.pending >= rates.accumulate {
            self.learner.step(&rates)?;
        }
        self.progress.batches += 1;
        let scaler = self.learner.scaler.read_back()?;
        let pairs = batch.labels.len() * self.world.size();
        flight.take_off(InFlight { epoch, index, lr: rates.lr[1], pairs, losses, scaler });
        Ok(())
    }

    /// Looks at the batches whose losses have arrived, and waits for more until no more than `most` are on their way.
    fn land(&mut self, flight: &mut Flight, most: usize, bar: &mut EpochProgress) -> Result<(), Error> {
        while let Some(Landed { batch, parts, scaler }) = flight.next(most)? {
            let scale = self.learner.scales_loss().then_some(scaler.scale);
            self.guard(&parts, &batch, scale, bar)?;
            self.watch.scale(&ScalerState { scale: scale.unwrap_or(LOW_SCALE), ..scaler }, bar);
            bar.step(&Running {
                losses: flight.means(),
                scale,
                pairs: batch.pairs,
                memory_bytes: torch::peak_memory(self.setup.device),
            });
        }
        Ok(())
    }

    /// Counts batches without a finite loss and gives up after a few in a row.
    fn guard(
        &mut self,
        parts: &Parts,
        at: &InFlight,
        scale: Option<f64>,
        bar: &EpochProgress,
    ) -> Result<(), Error> {
        let named = ["box", "cls", "dfl"].into_iter().zip(parts);
        let Some((part, &value)) = named.into_iter().find(|(_, x)| !x.is_finite()) else {
            self.watch.bad_batches = 0;
            return Ok(());
        };
        self.watch.bad_batches += 1;
        let (epoch, batch) = (at.epoch + 1, at.index + 1);
        bar.note(&format!(
            "warning: epoch {epoch}, batch {batch}: the {part} loss is {value}; its step is skipped"
        ));
        if self.watch.bad_batches < MAX_BAD_BATCHES {
            return Ok(());
        }
        Err(Error::NotFinite {
            epoch,
            batch,
            part,
            value,
            times: self.watch.bad_batches,
            lr: at.lr,
            scale: scale.map(|s| format!(" and a loss scale of {s}")).unwrap_or_default(),
            kept: self.kept(),
            hint: if scale.is_some() { ", or train with --amp bf16" } else { "" },
        })
    }

    /// Where the last good weights are, for people.
    fn kept(&self) -> String {
        match self.watch.saved {
            0 => "No weights were kept yet".to_owned(),
            epoch => format!("The weights after epoch {epoch} are in {}", self.folder.last().display()),
        }
    }

    fn validate(&self, modality: Modality) -> Result<Outcome, Error> {
        let parameters = &self.learner.ema.parameters;
        let mut bar = self.world.is_main().then(|| ValidationProgress::new(self.setup.validator.batches()));
        let mut step = || bar.iter_mut().for_each(ValidationProgress::step);
        self.setup.validator.run(parameters, modality, Some(self.learner.loss()), &mut step)
    }

    /// Writes the epoch down. `last` comes after all else: what a crash leaves beyond it is done again by the resumed
    /// run, which drops rows of epochs that `last` does not know.
    fn record(&mut self, row: &Row) -> Result<(), Error> {
        let fitness = 0.1 * row.map50 + 0.9 * row.map50_95;
        let validated = fitness.is_finite();
        let better = validated && self.progress.best.is_none_or(|(best, _)| fitness > best);
        if better {
            self.progress.best = Some((fitness, row.epoch));
        }
        if better && self.world.is_main() {
            write_best(&self.folder.best(), &self.header, &self.learner, row.epoch)?;
        }
        self.progress = Progress {
            epoch: row.epoch,
            pending: self.learner.pending,
            ema_updates: self.learner.ema.updates(),
            seconds: row.time,
            ..self.progress.clone()
        };
        if !self.world.is_main() {
            return Ok(());
        }
        results::append(&self.folder.results(), row)?;
        if self.plan.recipe.is_due(self.plan.recipe.save_every, row.epoch - 1) || self.is_stale() {
            write_last(&self.folder.last(), &self.header, &self.learner, &self.progress)?;
            self.watch.saved = row.epoch;
            self.expect_interrupt();
        }
        let found = match validated {
            true => format!(
                "mAP50 {:.3}, mAP50-95 {:.3}, precision {:.3}, recall {:.3}",
                row.map50, row.map50_95, row.precision, row.recall
            ),
            false => format!("box {:.3} cls {:.3} dfl {:.3}", row.train[0], row.train[1], row.train[2]),
        };
        let best = if better { " (best)" } else { "" };
        let epochs = self.plan.recipe.epochs;
        info!("epoch {}/{epochs}: {found}, {:.1} pairs/s{best}", row.epoch, row.pairs_per_s);
        Ok(())
    }

    /// Whether patience has run out; only a validation can tell.
    fn is_stale(&self) -> bool {
        let (recipe, done) = (&self.plan.recipe, self.progress.epoch);
        let validated = done > 0 && recipe.is_due(recipe.val_every, done - 1);
        let without_better = |(_, best)| done >= best + recipe.patience;
        recipe.patience > 0 && validated && self.progress.best.is_some_and(without_better)
    }

    /// Plots, and what each camera is worth with the best weights.
    fn close(&mut self) -> Result<(), Error> {
        if self.world.is_main() {
            plots::results(&results::read(&self.folder.results())?, &self.folder.file("results.png"))?;
            let (path, setup) = (self.folder.best(), &self.setup);
            let best = setup.from_weights(&setup.graph, &Weights::read(&path)?, &path)?;
            self.learner.ema.parameters.assign(&best);
        }
        self.world.broadcast(&self.learner.ema.parameters.tensors)?;
        let measured = |&modality| Ok(Seen { modality, metrics: self.validate(modality)?.metrics });
        let tests = closing::tests(self.header.modality).iter();
        let seen = tests.map(measured).collect::<Result<Vec<_>, Error>>()?;
        if !self.world.is_main() {
            return Ok(());
        }
        let (fitness, epoch) = self.progress.best.unwrap_or_default();
        let report = closing::json(&seen, &self.setup.names, epoch, self.progress.seconds);
        write_text(&self.folder.file("cameras.json"), &report)?;
        let dropout = self.plan.recipe.rgb_dropout + self.plan.recipe.ir_dropout > 0.0;
        crate::output::line(&closing::table(&seen, dropout));
        if let Some(said) = closing::blind(&seen) {
            warn!("{said}");
        }
        crate::output::line(&format!(
            "best epoch {epoch} (fitness {fitness:.4}) of {} in {:.0} s: {}",
            self.progress.epoch,
            self.progress.seconds,
            self.folder.best().display()
        ));
        Ok(())
    }

    /// The first batch as the network is shown it.
    fn picture(&self, batch: &Batch) -> Result<(), Error> {
        let host = |t: &torch::Tensor| torch::to_array(t).data;
        let (rgb, ir) = (host(&batch.rgb), host(&batch.ir.narrow(1, 0, 1)));
        let path = self.folder.file("train_batch.jpg");
        Ok(pictures::train_batch(&rgb, &ir, self.plan.imgsz, &batch.labels, &self.setup.names, &path)?)
    }

    fn write_args(&self) -> Result<(), Error> {
        let path = self.folder.args();
        let text = toml::to_string(&self.plan).map_err(|e| Error::Other(e.to_string()))?;
        write_text(&path, &text)
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    durable::write(path, |out| out.write_all(text.as_bytes())).map_err(Error::io(path))
}
