//! `yf crossval run`: every variant of an experiment is trained on every fold with every seed, and tested on what was
//! kept from it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use yf_data::dataset::{DataSet, Fold, Split};
use yf_models::durable;
use yf_plan::{Device, TrainPlan};
use yf_trials::results::Results;
use yf_trials::{Comparison, Experiment, Trial, Variant};

use super::report;
use crate::cli::choices::{at_least_one, device};
use crate::cli::recipe::RecipeArgs;
use crate::cli::setup::{self, SetupArgs};
use crate::cli::train;
use crate::failure::{Failure, OrArguments};
use crate::trials::{self, Planned, Slot};
use crate::{libtorch, output};

const EXAMPLES: &str = "\
An experiment names the pairs, the folds, the seeds and the variants:

  data: pairs/data.yaml                          relative to the experiment's file
  folds: 5                                       stretches of every source's frames, train and val together
  seeds: [0, 1, 2]
  train: {epochs: 200, amp: true, cache: ram}    flags of `yf train` for all variants
  variants:
    ir-only: {model: yolov8-n, modality: ir}     and for one of them
    mid: {model: mid-n, modality-dropout: 0.2}

A run ends with its last epoch's averaged weights, and these are tested: nothing is chosen on the pairs of the test.
Runs that are done stand in results.jsonl and are not done again; what was interrupted is. When all are done, tables and
a figure are made of them, as by `yf crossval report`.

Examples:
  yf crossval run experiments/fusion.yaml --jobs 8
  yf crossval run experiments/fusion.yaml --data yours.yaml --weights yolov8n.pt
  yf crossval run experiments/fusion.yaml --device 0,1 --jobs 8      four side by side on each of two GPUs
  yf crossval run experiments/fusion.yaml --part 1/2                 half of it; the other machine has --part 2/2";

/// Train every variant of an experiment on every fold with every seed, and test it on the pairs kept from it
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct RunArgs {
    /// The experiment's YAML
    #[arg(value_name = "EXPERIMENT")]
    experiment: PathBuf,
    /// The data set's YAML, instead of the experiment's own
    #[arg(long, value_name = "YAML")]
    data: Option<PathBuf>,
    /// Weights for the variants that start from some, instead of the file that the experiment names
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Folder of folds, runs and results; what is done there is not done again [default: runs/crossval/EXPERIMENT]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs side by side, over all GPUs [default: one on each]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Where to compute: cpu, or GPUs as 0,1 [default: all GPUs, else the processor]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Option<Device>,
    /// Only these variants
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
    /// The K-th of N parts of the runs, to share them among machines; `yf crossval report` reads all their results
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    part: Part,
    /// Say which runs there are, and train nothing
    #[arg(long)]
    dry_run: bool,
}

/// One of so many equal parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    /// From 0.
    index: usize,
    count: usize,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |(k, n): (&str, &str)| Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?));
        match text.split_once('/').and_then(read) {
            Some((k, n)) if (1..=n).contains(&k) => Ok(Part { index: k - 1, count: n }),
            _ => Err("K/N is wanted, such as 1/4 for the first of four".to_owned()),
        }
    }
}

/// Flags of `yf train` as a variant may have them.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    setup: SetupArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Flags that the cross-validation itself sets.
const OWN: [&str; 7] =
    ["--data", "--seed", "--device", "--patience", "--val-every", "--save-every", "--skip-bad"];

/// Plans all trials, checks them, and runs what is not done yet.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let Whole { out, folds, slots, planned } = prepare(args)?;
    let path = out.join("results.jsonl");
    if args.dry_run {
        let done = match path.exists() {
            true => yf_trials::results::read_finished(&path).or_arguments()?,
            false => vec![],
        };
        let left = left(planned, &done, &slots, &out)?;
        let line = |trial: &Planned| output::line(format!("{} {}", trial.name(), trial.arguments));
        return left.iter().try_for_each(line);
    }
    write_folds(&folds)?;
    train::check_pairs(&planned[0].plan)?;
    let (mut results, done) = Results::open(&path).or_arguments()?;
    let left = left(planned, &done, &slots, &out)?;
    let trainer = libtorch::trainer()?;
    let libtorch = libtorch::find(left.first().and_then(|trial| trial.plan.device.as_ref()))?;
    trials::run(left, &slots, &|job| libtorch::command(&trainer, &libtorch, job), &mut results)?;
    let trials = yf_trials::results::read(&path)?;
    output::line(report::write(&Comparison::new(&trials, None)?, &out)?.trim_end())
}

/// An experiment, ready to run; nothing of it is written yet.
struct Whole {
    out: PathBuf,
    /// The files of each fold, its data.yaml first.
    folds: Vec<Vec<(PathBuf, String)>>,
    slots: Vec<Slot>,
    planned: Vec<Planned>,
}

fn prepare(args: &RunArgs) -> Result<Whole, Failure> {
    let experiment = experiment(args).or_arguments()?;
    let out = out_folder(args).or_arguments()?;
    let data = match (&args.data, &experiment.data) {
        (None, Some(path)) => setup::existing(path),
        (given, _) => setup::data_yaml(given.as_deref()),
    };
    let data = data.or_arguments()?;
    let set = DataSet::open(&data).or_arguments()?;
    let folds = set.folds(&splits(&experiment).or_arguments()?, experiment.folds).or_arguments()?;
    let files = fold_files(&set, &folds, &out.join("folds")).or_arguments()?;
    let yamls: Vec<PathBuf> = files.iter().map(|of_fold| of_fold[0].0.clone()).collect();
    let visible = env::var("CUDA_VISIBLE_DEVICES").ok();
    let slots = slots(args.device.as_ref(), args.jobs, visible.as_deref()).or_arguments()?;
    let mut planned = Vec::new();
    for variant in chosen(&experiment, &args.only).or_arguments()? {
        let plan = plan(variant, &data, &slots).or_arguments()?;
        planned.extend(of_variant(variant, &plan, &experiment.seeds, (&folds, &yamls), &out));
    }
    // All variants on a fold before the next one: what is there half-way can be compared.
    planned.sort_by_key(|trial| (trial.seed, trial.fold));
    let (all, Part { index, count }) = (planned.len(), args.part);
    let planned: Vec<Planned> = planned.into_iter().skip(index).step_by(count).collect();
    if planned.is_empty() {
        let why = anyhow::anyhow!("--part {}/{count}: there are only {all} runs to share", index + 1);
        return Err(Failure::Arguments(why));
    }
    Ok(Whole { out, folds: files, slots, planned })
}

/// The trials that are to be run, and a line about them.
fn left(planned: Vec<Planned>, done: &[Trial], slots: &[Slot], out: &Path) -> Result<Vec<Planned>, Failure> {
    let all = planned.len();
    let left = not_done(planned, done).or_arguments()?;
    let (done, jobs) = (all - left.len(), slots.len());
    tracing::info!("{done} of {all} runs are done, {jobs} at a time, in {}", out.display());
    Ok(left)
}

/// The experiment's file, with the weights that were given.
fn experiment(args: &RunArgs) -> Result<Experiment> {
    let experiment = Experiment::read(&args.experiment)?;
    let Some(weights) = &args.weights else { return Ok(experiment) };
    let name = weights.to_str().with_context(|| format!("{} is no UTF-8 name", weights.display()))?;
    let none = || format!("--weights: no variant of {} starts from weights", args.experiment.display());
    experiment.starting_from(name).with_context(none)
}

fn out_folder(args: &RunArgs) -> Result<PathBuf> {
    let stem = args.experiment.file_stem().unwrap_or_default();
    let folder = args.out.clone().unwrap_or_else(|| Path::new("runs/crossval").join(stem));
    setup::absolute(&folder)
}

fn splits(experiment: &Experiment) -> Result<Vec<Split>> {
    let split = |name: &String| {
        let found = Split::ALL.into_iter().find(|split| split.name() == name);
        found.with_context(|| format!("no split '{name}': train, val and test are"))
    };
    experiment.splits.iter().map(split).collect()
}

/// The folds' data sets: each one's files, its data.yaml first. What is there already must be the same: results belong to
/// it.
fn fold_files(set: &DataSet, folds: &[Fold], folder: &Path) -> Result<Vec<Vec<(PathBuf, String)>>> {
    let of_fold = |(index, fold): (usize, &Fold)| {
        let files = set.fold_files(&format!("fold{index}-of-{}", folds.len()), fold)?;
        let files: Vec<_> = files.into_iter().map(|(name, text)| (folder.join(name), text)).collect();
        let other =
            |(path, text): &&(PathBuf, String)| fs::read_to_string(path).is_ok_and(|old| old != *text);
        match files.iter().find(other) {
            None => Ok(files),
            Some((path, _)) => bail!(
                "{} is of other pairs, so its results are too: name another folder (--out)",
                path.display()
            ),
        }
    };
    folds.iter().enumerate().map(of_fold).collect()
}

/// Writes what is not there yet.
fn write_folds(folds: &[Vec<(PathBuf, String)>]) -> Result<(), Failure> {
    for (path, text) in folds.iter().flatten().filter(|(path, _)| !path.exists()) {
        let folder = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        durable::write(path, |out| out.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The places for runs: GPUs in turn, or the processor. Indices count what `CUDA_VISIBLE_DEVICES` lets be seen.
fn slots(device: Option<&Device>, jobs: Option<usize>, visible: Option<&str>) -> Result<Vec<Slot>> {
    let visible: Option<Vec<&str>> = visible.map(|list| list.split(',').map(str::trim).collect());
    let named = |index: usize| match &visible {
        None => Ok(index.to_string()),
        Some(list) => list.get(index).map(|gpu| (*gpu).to_owned()).with_context(|| {
            format!("--device names GPU {index}, CUDA_VISIBLE_DEVICES lets {} be seen", list.len())
        }),
    };
    let gpus: Vec<String> = match device {
        Some(Device::Cpu) => vec![],
        Some(Device::Cuda(indices)) => indices.iter().map(|&index| named(index)).collect::<Result<_>>()?,
        None => (0..libtorch::gpus()).map(named).collect::<Result<_>>()?,
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = jobs.unwrap_or(gpus.len().max(1));
    let gpu = |slot: usize| (!gpus.is_empty()).then(|| gpus[slot % gpus.len()].clone());
    Ok((0..jobs).map(|slot| Slot { gpu: gpu(slot), threads: (cores / jobs).max(1) }).collect())
}

/// The variants that were asked for, or all.
fn chosen<'a>(experiment: &'a Experiment, only: &[String]) -> Result<Vec<&'a Variant>> {
    if let Some(missing) = only.iter().find(|name| !experiment.variants.iter().any(|v| v.name == **name)) {
        let names: Vec<&str> = experiment.variants.iter().map(|v| v.name.as_str()).collect();
        bail!("--only {missing}: there is no such variant; there are {}", names.join(", "));
    }
    let wanted = |variant: &&Variant| only.is_empty() || only.contains(&variant.name);
    Ok(experiment.variants.iter().filter(wanted).collect())
}

/// The run of a variant, all but its fold, its seed and its folder.
fn plan(variant: &Variant, data: &Path, slots: &[Slot]) -> Result<TrainPlan> {
    let of = || format!("variant '{}'", variant.name);
    if let Some(flag) = variant.arguments.iter().find(|word| OWN.contains(&word.as_str())) {
        bail!("{}: {flag} is set by the cross-validation", of());
    }
    let Flags { mut setup, recipe } = Flags::try_parse_from(&variant.arguments).map_err(|e| {
        let said = e.to_string();
        let first = said.lines().next().unwrap_or_default();
        anyhow::anyhow!("{}: {}", of(), first.trim_start_matches("error: "))
    })?;
    setup.data = Some(data.to_owned());
    setup.device = Some(if slots[0].gpu.is_some() { Device::Cuda(vec![0]) } else { Device::Cpu });
    let mut plan = train::plan(setup, recipe).with_context(of)?;
    if plan.auto_batch {
        bail!("{}: --batch auto would give variants different batches: name a number", of());
    }
    if plan.workers == 0 {
        plan.workers = slots[0].threads;
    }
    // The last epoch's weights are the ones that are tested, and nothing else is needed.
    (plan.recipe.val_every, plan.recipe.save_every, plan.recipe.patience) = (0, 0, 0);
    Ok(plan)
}

/// The trials of a variant: every fold with every seed.
fn of_variant<'a>(
    variant: &'a Variant,
    plan: &'a TrainPlan,
    seeds: &'a [u64],
    (folds, yamls): (&'a [Fold], &'a [PathBuf]),
    out: &'a Path,
) -> impl Iterator<Item = Planned> + 'a {
    let one = move |seed: u64, fold: usize| {
        let mut trial = Planned {
            variant: variant.name.clone(),
            fold,
            seed,
            arguments: variant.arguments.join(" "),
            pairs: [folds[fold].train.len(), folds[fold].test.len()],
            plan: TrainPlan { data: yamls[fold].clone(), ..plan.clone() },
        };
        trial.plan.recipe.seed = seed;
        trial.plan.run = out.join("runs").join(trial.name());
        trial
    };
    seeds.iter().flat_map(move |&seed| (0..folds.len()).map(move |fold| one(seed, fold)))
}

/// The trials that have no result yet; those that have one must have been trained as the experiment says now.
fn not_done(planned: Vec<Planned>, done: &[Trial]) -> Result<Vec<Planned>> {
    let mut left = Vec::new();
    for trial in planned {
        let key = (trial.variant.as_str(), trial.fold, trial.seed);
        match done.iter().find(|done| done.key() == key) {
            None => left.push(trial),
            Some(done) if done.arguments == trial.arguments && done.pairs == trial.pairs => (),
            Some(done) => bail!(
                "results.jsonl has runs of '{}' that were trained otherwise ({}): give the variant another name, or \
                 name another folder (--out)",
                trial.variant,
                done.arguments
            ),
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!("2/4".parse(), Ok(Part { index: 1, count: 4 }));
        for wrong in ["0/4", "5/4", "1", "a/b", "1/0"] {
            assert!(wrong.parse::<Part>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn runs_take_gpus_in_turn() {
        let seeing = |list: &[usize], jobs, visible| -> Result<Vec<Option<String>>> {
            let slots = slots(Some(&Device::Cuda(list.to_vec())), jobs, visible)?;
            Ok(slots.into_iter().map(|slot| slot.gpu).collect())
        };
        let on = |list: &[usize], jobs| seeing(list, jobs, None).unwrap();
        let some = |list: &[&str]| list.iter().map(|gpu| Some((*gpu).to_owned())).collect::<Vec<_>>();
        assert_eq!(on(&[0, 2], None), some(&["0", "2"]));
        assert_eq!(on(&[0, 2], Some(5)), some(&["0", "2", "0", "2", "0"]));
        assert_eq!(seeing(&[1], None, Some("5, 7")).unwrap(), some(&["7"]));
        assert!(seeing(&[2], None, Some("5,7")).is_err());
        let cpu = slots(Some(&Device::Cpu), Some(2), None).unwrap();
        assert!(cpu.len() == 2 && cpu.iter().all(|slot| slot.gpu.is_none() && slot.threads >= 1));
    }
}
