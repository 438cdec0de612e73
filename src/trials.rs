//! The trials of a cross-validation, side by side: each is a run of `yf-train`, and what it found is added to the
//! results when it ends.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use yf_plan::{Job, TrainPlan};
use yf_trials::results::Results;
use yf_trials::{Camera, Score, Trial};

use crate::ranks;

/// So many trials that failed, and none that did not, are enough to give up.
const FAILURES: usize = 3;

/// A trial to be run.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The variant.
    pub variant: String,
    /// From 0.
    pub fold: usize,
    /// Of every random draw.
    pub seed: u64,
    /// The variant's flags.
    pub arguments: String,
    /// Pairs learned from, and tested on.
    pub pairs: [usize; 2],
    /// Its run, all but where it computes.
    pub plan: TrainPlan,
}

impl Planned {
    /// What it is called in messages and folders.
    pub fn name(&self) -> String {
        format!("{}-fold{}-seed{}", self.variant, self.fold, self.seed)
    }
}

/// A place where one trial runs at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The one GPU that is seen there, as CUDA names it; none where the processor computes.
    pub gpu: Option<String>,
    /// Threads that libtorch may take.
    pub threads: usize,
}

/// How `yf-train` is started with a job.
pub type Start<'a> = &'a (dyn Fn(&Job) -> Result<Command> + Sync);

/// Runs all trials, in order, as many at a time as there are slots. What they say goes to `log.txt` beside their
/// weights; what they found to `results`.
///
/// # Errors
/// Trials that failed, after all others are done; results that cannot be written.
pub fn run(planned: Vec<Planned>, slots: &[Slot], start: Start, results: &mut Results) -> Result<()> {
    let (total, since) = (planned.len(), Instant::now());
    let queue = Mutex::new(VecDeque::from(planned));
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let stop = || queue.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let (mut done, mut failed) = (0, Vec::new());
    std::thread::scope(|scope| -> Result<()> {
        let (sender, ended) = mpsc::channel();
        for slot in slots {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                while let Some(trial) = next() {
                    let outcome = one(&trial, slot, start);
                    if sender.send((trial, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (trial, outcome) in ended {
            match outcome {
                Ok(found) => {
                    results.add(&found).inspect_err(|_| stop())?;
                    done += 1;
                    let left = since.elapsed() * (total - done - failed.len()) as u32 / done as u32;
                    tracing::info!(
                        "{}/{total} {}: {}, {} left",
                        done,
                        trial.name(),
                        told(&found),
                        clock(left)
                    );
                }
                Err(error) => {
                    tracing::warn!("{}: {error:#}", trial.name());
                    failed.push(trial.name());
                    if done == 0 && failed.len() == FAILURES {
                        stop();
                    }
                }
            }
        }
        Ok(())
    })?;
    if failed.is_empty() {
        return Ok(());
    }
    bail!(
        "{} of {total} trials failed ({}); the same command runs again what is not done",
        failed.len(),
        failed.join(", ")
    )
}

/// Runs one trial in a folder of its own; what an earlier process left of it goes first.
fn one(trial: &Planned, slot: &Slot, start: Start) -> Result<Trial> {
    let folder = &trial.plan.run;
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let log = folder.join("log.txt");
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = start(&Job::Train(Box::new(trial.plan.clone())))?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    if let Some(gpu) = &slot.gpu {
        command.env("CUDA_VISIBLE_DEVICES", gpu);
    }
    if std::env::var_os("OMP_NUM_THREADS").is_none() {
        command.env("OMP_NUM_THREADS", slot.threads.to_string());
    }
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(move || ranks::tie(parent, None)) };
    let status = command.status().context("cannot start yf-train")?;
    if !status.success() {
        bail!("{status}; {} ends with: {}", log.display(), last_line(&log));
    }
    let found = found(trial, &folder.join("cameras.json"))?;
    // Only a run that goes on needs it.
    let _ = fs::remove_file(folder.join("weights/last.safetensors"));
    Ok(found)
}

/// What `yf-train` wrote at the end of a run.
#[derive(Deserialize)]
struct Closing {
    epoch: usize,
    seconds: f64,
    cameras: BTreeMap<Camera, Score>,
}

fn found(trial: &Planned, path: &Path) -> Result<Trial> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Closing { epoch, seconds, cameras } = serde_json::from_str(&text)
        .with_context(|| format!("{} is none of this version's", path.display()))?;
    Ok(Trial {
        variant: trial.variant.clone(),
        fold: trial.fold,
        seed: trial.seed,
        arguments: trial.arguments.clone(),
        pairs: trial.pairs,
        epoch,
        seconds,
        cameras,
    })
}

fn told(trial: &Trial) -> String {
    let scores = trial.cameras.iter().map(|(camera, score)| {
        let name = match camera {
            Camera::Both => "both",
            Camera::Rgb => "RGB",
            Camera::Ir => "IR",
        };
        format!("{name} {:.3}", score.map50)
    });
    format!("mAP50 {} in {:.0} s", scores.collect::<Vec<_>>().join(", "), trial.seconds)
}

fn last_line(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing");
    last.trim().to_owned()
}

fn clock(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
