//! `yf infer`: boxes on pairs of pictures.

mod reporter;
mod summary;

use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressDrawTarget;
use yf_data::decode::Limits;
use yf_data::detection::Suppression;
use yf_deploy::model::{Inputs, ModelInfo, ModelSource};
use yf_deploy::pairing::{self, Pairing};
use yf_deploy::pipeline::{Batch, Pipeline, Settings};
use yf_plan::Modality;

use super::choices::{MODALITY, choice, unit};
use super::deployed::{self, BackendArgs};
use crate::failure::{Failure, OrArguments};
use crate::progress;
use reporter::Reporter;
use summary::Summary;

const EXAMPLES: &str = "\
Examples:
  yf infer rgb.jpg ir.jpg                             the newest model; the picture under runs/predict
  yf infer rgb/ ir/ --model best.onnx --json          folders, paired by name; one object a pair
  yf infer rgb.jpg ir.jpg --model best.onnx --save out --save-txt --conf 0.4
  yf infer rgb/ ir/ --batch 16 --json > found.jsonl   Ctrl-C finishes the pairs that were begun
  yf infer rgb.jpg ir.jpg --backend embedded          needs nothing else on the machine
  yf infer rgb.jpg ir.jpg --modality ir               as if the RGB camera were dead
  yf infer bus.jpg --model yolov8n.onnx               a network for one camera takes its picture alone";

/// Detect objects in pairs of pictures, files or folders
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct InferArgs {
    /// The RGB picture, or a folder of them; the only one of a network for one camera
    #[arg(value_name = "RGB")]
    rgb: PathBuf,
    /// The infrared picture, or a folder of them: paired by relative path and stem
    #[arg(value_name = "IR")]
    ir: Option<PathBuf>,
    /// An exported model (.onnx, .engine) or weights (.safetensors) [default: $YF_MODEL, else the newest under runs/train]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    #[command(flatten)]
    backend: BackendArgs,
    /// Least score of a detection
    #[arg(long, value_name = "SCORE", default_value_t = Suppression::INFER.conf, value_parser = unit)]
    conf: f32,
    /// Overlap from which the weaker of two boxes of a class goes
    #[arg(long, value_name = "IOU", default_value_t = Suppression::INFER.iou, value_parser = unit)]
    iou: f32,
    /// Suppress across classes instead of within each
    #[arg(long)]
    agnostic: bool,
    /// Show one camera only to the network; the other one's picture is grey [both: to a network for one camera its own]
    #[arg(long, value_name = "CAMERA", default_value = "both", value_parser = choice::<Modality>(MODALITY))]
    modality: Modality,
    /// Pairs that go through the network at once: a number, or as many as suit the backend
    #[arg(long, value_name = "N", default_value = "auto", value_parser = deployed::batch)]
    batch: Batch,
    /// Stop at the first pair that cannot be read, instead of naming it and going on
    #[arg(long)]
    strict: bool,
    /// Draw the boxes on both pictures and save them in this folder, in sub-folders like those given [default: a new one under runs/predict, unless --json]
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Save YOLO label files as well: class cx cy w h score
    #[arg(long)]
    save_txt: bool,
    /// Print one JSON object a pair
    #[arg(long)]
    json: bool,
}

/// What is to be done, checked.
struct Plan {
    pairing: Pairing,
    source: ModelSource,
    settings: Settings,
}

/// Runs the network over all pairs.
pub fn run(args: InferArgs) -> Result<(), Failure> {
    let Plan { pairing, source, settings } = plan(&args).or_arguments()?;
    let backend = args.backend.open(source).or_arguments()?;
    check_pictures(&args, backend.info()).or_arguments()?;
    check_suppression(&args, backend.info());
    let mut pipeline = Pipeline::new(backend, settings);
    let names = pipeline.backend().info().names.clone();
    let mut reporter = Reporter::new(&args, draws(&args), names)?;
    for lone in &pairing.alone {
        reporter.broken(lone);
    }
    if args.strict && !pairing.alone.is_empty() {
        return Err(Failure::BadResult);
    }
    let bar = progress::bar(pairing.pairs.len(), "pairs");
    if args.json && stdout().is_terminal() {
        // The lines show how far it is.
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let (stop, mut summary) = (stopped_by_ctrl_c()?, Summary::begin());
    pipeline.run_until(&stop, &pairing.pairs, |result| {
        summary.count(result.as_ref().ok());
        bar.inc(1);
        bar.suspend(|| reporter.take(result))
    })?;
    bar.finish_and_clear();
    if pairing.pairs.len() > 1 {
        summary.tell();
    }
    if summary.done < pairing.pairs.len() {
        tracing::warn!("stopped: {} of {} pairs are done", summary.done, pairing.pairs.len());
        return Err(Failure::Interrupted);
    }
    reporter.close()
}

/// Set by the first Ctrl-C (or SIGTERM); the second ends the program where it stands.
fn stopped_by_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

fn plan(args: &InferArgs) -> Result<Plan> {
    let pairing = match &args.ir {
        Some(ir) => pairing::pairs(&args.rgb, ir)?,
        None => pairing::singles(&args.rgb)?,
    };
    check_save(args)?;
    let path = deployed::model_path(args.model.as_deref())?;
    let source = deployed::source(&path, None)?;
    let suppression = suppression(args);
    let settings = Settings {
        suppression,
        modality: deployed::modality(args.modality),
        strict: args.strict,
        batch: args.batch,
        keep_pictures: draws(args),
        limits: Limits::default(),
    };
    Ok(Plan { pairing, source, settings })
}

/// Saved pictures must not replace what they are made of, nor mix with it, nor with a data set.
fn check_save(args: &InferArgs) -> Result<()> {
    let Some(save) = &args.save else { return Ok(()) };
    let save = resolved(&super::setup::absolute(save)?);
    for input in [Some(&args.rgb), args.ir.as_ref()].into_iter().flatten() {
        let Ok(path) = input.canonicalize() else { continue };
        let (holds, lies_in) = match path.is_dir() {
            true => (path.starts_with(&save), save.starts_with(&path)),
            false => (path.parent() == Some(&save), false),
        };
        if holds || lies_in {
            let how = if holds { "holds" } else { "lies in" };
            bail!("--save {} {how} {}: name another folder", save.display(), input.display());
        }
    }
    if let Some(set) = save.ancestors().find_map(data_set_around) {
        bail!("--save {} lies in the data set {}: name another folder", save.display(), set.display());
    }
    Ok(())
}

/// The folder of a data set whose pictures or labels lie under `folder`.
fn data_set_around(folder: &Path) -> Option<&Path> {
    const PARTS: [&str; 3] = ["images", "imagesIR", "labels"];
    let set = folder.parent().filter(|_| PARTS.iter().any(|part| folder.ends_with(part)))?;
    PARTS.iter().all(|part| set.join(part).is_dir()).then_some(set)
}

/// A path without links, whose last parts need not be there yet.
fn resolved(path: &Path) -> PathBuf {
    match (path.canonicalize(), path.parent(), path.file_name()) {
        (Ok(resolved), ..) => resolved,
        (Err(_), Some(above), Some(name)) => resolved(above).join(name),
        _ => path.to_owned(),
    }
}

fn suppression(args: &InferArgs) -> Suppression {
    Suppression { conf: args.conf, iou: args.iou, agnostic: args.agnostic, ..Suppression::INFER }
}

fn draws(args: &InferArgs) -> bool {
    args.save.is_some() || !args.json
}

/// Suppression inside a network cannot be loosened from outside.
fn check_suppression(args: &InferArgs, info: &ModelInfo) {
    let Some(inside) = info.suppressed else { return };
    if inside.conf.is_some_and(|conf| args.conf < conf)
        || inside.iou.is_some_and(|iou| args.iou != iou)
        || args.agnostic
    {
        tracing::warn!(
            "{} suppresses inside, class by class, above a score of {} and an overlap of {}: --conf can only ask for \
             more, --iou and --agnostic change nothing",
            info.origin,
            inside.conf.unwrap_or_default(),
            inside.iou.unwrap_or_default()
        );
    }
}

/// A network for two cameras needs both pictures.
fn check_pictures(args: &InferArgs, info: &ModelInfo) -> Result<()> {
    if args.ir.is_none() && info.inputs == Inputs::Pair {
        let (model, rgb) = (&info.origin, args.rgb.display());
        bail!("{model} sees with two cameras: give the infrared picture as well (yf infer {rgb} IR)");
    }
    Ok(())
}
