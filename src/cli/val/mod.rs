//! `yf val`: COCO's mAP, precision and recall of weights or of an exported model.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use yf_data::dataset::{DataSet, Split};
use yf_data::metrics::table;
use yf_models::{Header, Weights};
use yf_plan::{Device, Job, Modality, ValPlan};

use super::choices::{MODALITY, SPLIT, choice, device, pairs_at_once, workers};
use super::deployed::{self, BackendArgs};
use super::{Given, setup};
use crate::failure::{Failure, OrArguments};
use crate::{libtorch, output, runs};

mod onnx;

const EXAMPLES: &str = "\
Examples:
  yf val                                              the newest run's best weights on data.yaml here
  yf val --weights runs/train/exp/weights/best.safetensors --data pairs/data.yaml
  yf val --weights best.fp16.onnx --data pairs/data.yaml     an exported model, without libtorch
  yf val --backend embedded                           the weights as a deployment host would run them
  yf val --modality ir --json                         what is left when the RGB camera fails";

/// Measure weights or an exported model on a data set
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ValArgs {
    /// Weights (.safetensors) or an exported model (.onnx, .engine) [default: the newest run's best weights]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The data set's YAML [default: $YF_DATA, else ./data.yaml]
    #[arg(long, value_name = "YAML")]
    data: Option<PathBuf>,
    /// Which part of the data set
    #[arg(long, value_name = "PART", default_value = "val", value_parser = clap::builder::PossibleValuesParser::new(SPLIT))]
    split: String,
    /// See one camera only; the other one's picture is grey [both: its own for a network for one camera]
    #[arg(long, value_name = "CAMERA", default_value = "both", value_parser = choice::<Modality>(MODALITY))]
    modality: Modality,
    /// Side of the square pictures [default: the model's own]
    #[arg(long, value_name = "PIXELS")]
    imgsz: Option<usize>,
    /// Pairs a batch
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = pairs_at_once)]
    batch: usize,
    /// Where libtorch computes: cpu, cuda, cuda:1, 0 [default: a GPU where there is one]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Option<Device>,
    /// Threads that decode; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = workers)]
    workers: usize,
    #[command(flatten)]
    backend: BackendArgs,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Validates through libtorch, or through a backend where the model is exported or a backend is named.
pub fn run(args: ValArgs, given: &Given) -> Result<(), Failure> {
    let (json, backend) = (args.json, args.backend.clone());
    let any = |flags: &[&str]| flags.iter().any(|flag| given.has(flag));
    let through_backend = any(&["backend", "ort", "plugin", "threads", "tune"]);
    let through_libtorch = any(&["device", "workers", "batch"]);
    let mut plan = plan(args).or_arguments()?;
    let set = DataSet::open(&plan.data).or_arguments()?;
    let split = split(&plan.split);
    if plan.weights.extension().is_some_and(|extension| ["onnx", "engine"].iter().any(|e| extension == *e))
        || through_backend
    {
        let source = deployed::source(&plan.weights, plan.imgsz).or_arguments()?;
        let backend = backend.open(source).or_arguments()?;
        if through_libtorch {
            tracing::warn!(
                "--device, --workers and --batch are libtorch's and not used here: --backend says where"
            );
        }
        let metrics = onnx::validate(backend, &set, split, plan.modality)?;
        return if json {
            output::line(table::json(&metrics, set.names()))
        } else {
            output::line(table::classes(&metrics, set.names()))
        };
    }
    let header = check_weights(&plan, &set).or_arguments()?;
    compare_names(&header.names, &plan.weights.display().to_string(), &set);
    plan.modality = setup::seen(plan.modality, header.network()?.two_streams(), header.modality);
    let trainer = libtorch::trainer()?;
    let libtorch = libtorch::find(plan.device.as_ref())?;
    Err(libtorch::start(&trainer, &libtorch, &Job::Val(plan)).into())
}

fn plan(args: ValArgs) -> Result<ValPlan> {
    let weights = match &args.weights {
        Some(path) => setup::existing(path)?,
        None => {
            let newest = runs::newest_weights()?;
            tracing::info!("weights: {}", newest.display());
            setup::absolute(&newest)?
        }
    };
    let data = setup::data_yaml(args.data.as_deref())?;
    Ok(ValPlan {
        weights,
        data,
        split: args.split,
        imgsz: args.imgsz,
        batch: args.batch,
        device: args.device,
        workers: args.workers,
        modality: args.modality,
        json: args.json,
    })
}

/// Classes are counted, not called: where the names differ that is said.
fn compare_names(known: &[String], origin: &str, set: &DataSet) {
    if known != set.names() {
        let (known, names, data) = (known.join(", "), set.names().join(", "), set.yaml().display());
        tracing::warn!(
            "{origin} calls its classes {known}, and {data} calls them {names}: they are compared in this order, under the \
             names of the data set"
        );
    }
}

/// The weights fit the data set and the size of the pictures. Returns their header.
fn check_weights(plan: &ValPlan, set: &DataSet) -> Result<Header> {
    let header = Weights::read(&plan.weights)?.header;
    let network = header.network()?;
    let side = plan.imgsz.unwrap_or(header.imgsz);
    network.graph(side, side)?;
    if network.classes() != set.classes() {
        let (weights, data) = (plan.weights.display(), plan.data.display());
        bail!("{weights} has {} classes, {data} has {}", network.classes(), set.classes());
    }
    set.pairs(split(&plan.split))?;
    Ok(header)
}

/// The part of that name, one of [`SPLIT`].
fn split(name: &str) -> Split {
    Split::ALL.into_iter().find(|split| split.name() == name).unwrap_or(Split::Val)
}
