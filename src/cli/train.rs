//! `yf train`: a training run, started in `yf-train`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use yf_data::dataset::DataSet;
use yf_models::{Auxiliary, Network, Transplant};
use yf_plan::{Job, Modality, Recipe, TrainPlan};

use super::Given;
use super::data::check;
use super::ddp::{self, DdpArgs};
use super::recipe::RecipeArgs;
use super::setup::{self, MODEL, SetupArgs};
use crate::failure::{Failure, OrArguments};
use crate::{libtorch, runs};

const EXAMPLES: &str = "\
Examples:
  yf train                                            data.yaml here, the default network
  yf train --data pairs/data.yaml --model early-s --epochs 200 --amp
  yf train --data pairs/data.yaml --imgsz 320 --device cpu --cache ram
  yf train --weights runs/train/exp/weights/best.safetensors --lr0 0.001 --epochs 20
  yf train --model duo-n --weights yolov8n.pt --modality-dropout 0.2 --amp     the start that pays most: COCO
  yf train --model yolov8-n --modality ir             one camera: the baseline of a fusion
  yf train --data pairs/data.yaml --ddp 4 --batch 256 --amp     four GPUs, 64 pairs on each
  yf train --resume runs/train/exp                    go on after an interruption

The run's folder holds weights/best.safetensors (ready to export), weights/last.safetensors (to resume),
results.csv, args.toml and pictures. Folders are counted up (exp, exp2, ...), never overwritten.";

/// What may be changed when a run is resumed: nothing that its weights depend on.
const RESUME_TAKES: &[&str] = &["resume", "device", "workers", "cache", "ddp", "verbose", "quiet"];

/// Train a network on a paired data set
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct TrainArgs {
    #[command(flatten)]
    setup: SetupArgs,
    /// Folder of the run's folder
    #[arg(long, value_name = "DIR", default_value = runs::TRAIN)]
    project: PathBuf,
    /// The run's name; counted up where it is taken
    #[arg(long, value_name = "NAME", default_value = runs::NAME)]
    name: String,
    /// Go on with an interrupted run: its folder, or its last.safetensors (with --device, --workers, --cache, --ddp only)
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    ddp: DdpArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// Plans the run, checks it, and becomes `yf-train`, or the launcher of several.
pub fn run(args: TrainArgs, given: &Given) -> Result<(), Failure> {
    match args.resume.clone() {
        Some(run) => resume(&args.setup, args.ddp, &run, given),
        None => begin(args),
    }
}

fn begin(args: TrainArgs) -> Result<(), Failure> {
    runs::check_name(&args.name).or_arguments()?;
    let mut plan = plan(args.setup, args.recipe).or_arguments()?;
    let launch = args.ddp.launch(&plan).or_arguments()?;
    check_pairs(&plan)?;
    let trainer = libtorch::trainer()?;
    let libtorch = libtorch::find(plan.device.as_ref())?;
    // The other ranks of another launcher hear from rank 0 where the run is.
    if !yf_plan::ranks::is_follower() {
        plan.run = setup::absolute(&runs::create(&args.project, &args.name)?)?;
    }
    let folder = plan.run.clone();
    ddp::start(&trainer, &libtorch, &Job::Train(Box::new(plan)), launch).inspect_err(|_| {
        // Where nothing ran, the folder is still empty and its number is free again.
        let _ = fs::remove_dir(folder);
    })?;
    Ok(())
}

/// A plan for a new run, all but its folder.
pub fn plan(setup: SetupArgs, recipe: RecipeArgs) -> Result<TrainPlan> {
    let auto_batch = recipe.auto_batch();
    let recipe = recipe.recipe()?;
    let data = setup::data_yaml(setup.data.as_deref())?;
    let start = setup.start()?;
    let model = setup.model(start.as_ref())?;
    let data_set = DataSet::open(&data)?;
    let network = Network::load(&model, Some(data_set.classes()))?;
    let graph = network.graph(setup.imgsz, setup.imgsz)?;
    if network.classes() != data_set.classes() {
        bail!("{model} is for {} classes, {} has {}", network.classes(), data.display(), data_set.classes());
    }
    if let Some((path, weights)) = &start {
        Transplant::from_weights(weights, &network, &graph, data_set.names())
            .with_context(|| format!("cannot start from {}", path.display()))?;
    }
    let trained_on = start.as_ref().and_then(|(_, weights)| weights.header.modality);
    let modality = setup::seen(setup.modality, network.two_streams(), trained_on);
    if modality != setup.modality {
        tracing::info!("{} sees one camera: {modality} (--modality says which)", network.name());
        if setup.model.is_none() {
            tracing::warn!(
                "it was taken because --weights holds it; {MODEL} takes such weights in for both cameras: --model {MODEL}"
            );
        }
    }
    let recipe = if modality == Modality::Both { recipe } else { seen_by_one(recipe) };
    if recipe.auxiliary_gain > 0.0 && Auxiliary::append(graph)?.heads.is_empty() {
        bail!("--auxiliary-gain: the cameras meet too early in {model} for heads of their own; leave it out");
    }
    Ok(TrainPlan {
        data,
        model,
        weights: start.map(|(path, _)| path),
        imgsz: setup.imgsz,
        device: setup.device,
        workers: setup.workers,
        cache: setup.cache,
        modality,
        skip_bad: setup.skip_bad,
        run: PathBuf::new(),
        auto_batch,
        resume: false,
        recipe,
    })
}

/// What is for two cameras is left out, and that is said.
fn seen_by_one(recipe: Recipe) -> Recipe {
    let alone = recipe.clone().of_one_camera();
    if alone != recipe {
        tracing::warn!(
            "--modality-dropout, --ir-shift and --auxiliary-gain are for two cameras, and this training shows one: they \
             are left out"
        );
    }
    alone
}

/// Refuses broken pairs; with `skip_bad` yf-train lists them and leaves them out.
pub fn check_pairs(plan: &TrainPlan) -> Result<(), Failure> {
    if plan.skip_bad { Ok(()) } else { check::before_training(&DataSet::open(&plan.data)?) }
}

fn resume(setup: &SetupArgs, ddp: DdpArgs, run: &Path, given: &Given) -> Result<(), Failure> {
    let plan = resume_plan(setup, run, given).or_arguments()?;
    let launch = ddp.launch(&plan).or_arguments()?;
    let trainer = libtorch::trainer()?;
    let libtorch = libtorch::find(plan.device.as_ref())?;
    Ok(ddp::start(&trainer, &libtorch, &Job::Train(Box::new(plan)), launch)?)
}

/// The run's own plan, with what may be changed changed.
fn resume_plan(setup: &SetupArgs, run: &Path, given: &Given) -> Result<TrainPlan> {
    let refused = given.other_than(RESUME_TAKES);
    if let Some(flag) = refused.first() {
        bail!(
            "--{flag} cannot be changed with --resume: a resumed run goes on with its own recipe (only --device, \
             --workers, --cache and --ddp may differ); to train on with another one, start a new run with --weights"
        );
    }
    let folder = run_folder(run)?;
    let args = folder.join("args.toml");
    let text = fs::read_to_string(&args).with_context(|| format!("cannot read {}", args.display()))?;
    let mut plan = TrainPlan::from_toml(&text).with_context(|| format!("{} is damaged", args.display()))?;
    if given.has("device") {
        plan.device = setup.device.clone();
    }
    if given.has("workers") {
        plan.workers = setup.workers;
    }
    if given.has("cache") {
        plan.cache = setup.cache;
    }
    plan.run = setup::absolute(&folder)?;
    plan.resume = true;
    Ok(plan)
}

/// The folder of a run that is named by itself or by its `weights/last.safetensors`.
fn run_folder(run: &Path) -> Result<PathBuf> {
    let folder = if run.is_file() {
        let above = run.parent().and_then(Path::parent);
        above.with_context(|| format!("{} lies in no run's folder", run.display()))?.to_owned()
    } else {
        run.to_owned()
    };
    let last = folder.join("weights/last.safetensors");
    if !last.is_file() {
        bail!(
            "{} cannot be resumed: no epoch of it was saved ({} is not there); start a new run",
            run.display(),
            last.display()
        );
    }
    Ok(folder)
}
