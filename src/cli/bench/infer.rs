//! `yf bench infer`: how long a pair takes, stage by stage.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use yf_deploy::bench::{self, BenchPair, BenchPlan, Report};
use yf_deploy::model::ModelSource;
use yf_deploy::pipeline::Settings;
use yf_models::{Network, Weights};

use crate::cli::choices::{at_least_one, pairs_at_once};
use crate::cli::deployed::{self, BackendArgs};
use crate::failure::{Failure, OrArguments};
use crate::{output, progress};

/// Height and width of the pictures of a network that is given by name.
const SIDE: usize = 640;

const EXAMPLES: &str = "\
Examples:
  yf bench infer deyolo-n --classes 3                 a network that is not trained yet, at 640
  yf bench infer best.onnx                            a made-up pair of 1280x1024 JPEG files
  yf bench infer best.fp16.onnx --backend ort:cuda --batch 8 --json
  yf bench infer mid-n --fp16 --u8 --backend ort:cuda --bandwidth 4800 --runs 500
  yf bench infer best.onnx --pair rgb.jpg ir.jpg --runs 200";

/// Measure inference: decode, letterbox, network, suppression, whole
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct InferArgs {
    /// An exported model (.onnx, .engine), weights (.safetensors), or the name of a network, whose weights are made up [default:
    /// $YF_MODEL, else the newest under runs/train]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Classes of a network that is given by name [default: its configuration's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    classes: Option<usize>,
    #[command(flatten)]
    backend: BackendArgs,
    /// Pairs a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = pairs_at_once)]
    batch: usize,
    /// Batches that are measured, after five to warm up
    #[arg(long, value_name = "N", default_value_t = BenchPlan::default().iterations, value_parser = at_least_one)]
    runs: usize,
    /// Write a network that is given by name, or weights, in half precision
    #[arg(long)]
    fp16: bool,
    /// Write them for pictures as bytes (yf export --u8)
    #[arg(long)]
    u8: bool,
    /// What the device's memory moves, for the network's floor (an H200: 4800)
    #[arg(long, value_name = "GB/s", value_parser = bandwidth)]
    bandwidth: Option<f64>,
    /// The pair to measure with [default: made up, 1280x1024]
    #[arg(long, num_args = 2, value_names = ["RGB", "IR"])]
    pair: Option<Vec<PathBuf>>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(args: InferArgs) -> Result<(), Failure> {
    let options = yf_export::Options {
        fp16: args.fp16,
        bytes: args.u8,
        dynamic: args.batch > 1,
        ..yf_export::Options::default()
    };
    let source = source(args.model.as_deref(), args.classes, &options).or_arguments()?;
    let pair = match args.pair.as_deref() {
        Some([rgb, ir]) => BenchPair::Files(rgb.clone(), ir.clone()),
        _ => BenchPair::default(),
    };
    let backend = args.backend.open(source).or_arguments()?;
    let bandwidth = args.bandwidth.map(|gigabytes| gigabytes * 1e9);
    let plan = BenchPlan { iterations: args.runs, batch: args.batch, bandwidth };
    let report = progress::during("measuring", || bench::bench(backend, &pair, &Settings::default(), &plan))?;
    if args.json { output::json(&report) } else { print(&report) }
}

/// A file, or where the name is no file's a network with made-up weights.
fn source(model: Option<&Path>, classes: Option<usize>, options: &yf_export::Options) -> Result<ModelSource> {
    let name = model.filter(|path| path.extension().is_none() && !path.exists()).and_then(Path::to_str);
    let Some(name) = name else {
        ensure!(classes.is_none(), "--classes is for a network given by name; a model has its own");
        let path = deployed::model_path(model)?;
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            let bytes = yf_export::onnx(&Weights::read(&path)?, options)?;
            return Ok(ModelSource::Bytes { name: path.display().to_string(), bytes });
        }
        ensure!(
            !options.fp16 && !options.bytes,
            "--fp16 and --u8 are for weights; an exported model is what it is"
        );
        return deployed::source(&path, None);
    };
    let weights = Weights::untrained(&Network::load(name, classes)?, SIDE)?;
    let bytes = yf_export::onnx(&weights, options)?;
    Ok(ModelSource::Bytes { name: weights.header.model, bytes })
}

/// Gigabytes a second.
fn bandwidth(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number of gigabytes a second is wanted".to_owned()),
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    let ((width, height), (input_width, input_height)) = (report.picture, report.input);
    output::line(format!("{} ({} nodes) on {}", report.model, report.nodes, report.backend))?;
    output::line(format!(
        "pairs of {width}x{height} to {input_width}x{input_height}, batches of {}, {} measured",
        report.batch, report.iterations
    ))?;
    output::line(format!("{:<14}{:>9}{:>9}{:>9}", "ms a batch", "p50", "p90", "p99"))?;
    let mut stages =
        vec![("decode", report.decode), ("letterbox", report.letterbox), ("network", report.network)];
    if let Some(device) = report.device {
        let parts =
            [("  upload", device.upload), ("  compute", device.compute), ("  download", device.download)];
        stages.extend(parts);
    }
    stages.extend([("suppression", report.suppression), ("whole", report.whole)]);
    for (name, ms) in stages {
        output::line(format!("{name:<14}{:>9.2}{:>9.2}{:>9.2}", ms.p50, ms.p90, ms.p99))?;
    }
    if let Some(floor) = report.floor {
        let ms =
            floor.ms.map_or("the device's --bandwidth tells how long".to_owned(), |ms| format!("{ms:.3} ms"));
        output::line(format!("the network moves at least {:.1} MB a batch: {ms}", floor.bytes / 1e6))?;
    }
    output::line(format!(
        "{:.1} pairs/s overlapped, {:.2} times the network alone",
        report.folder.per_second, report.folder.over_network
    ))?;
    output::line(format!(
        "{:.1} pairs/s, stages one after the other",
        report.batch as f64 * 1e3 / report.whole.p50
    ))
}
