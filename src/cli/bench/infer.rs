//! `yf bench infer`: how long a pair takes, stage by stage.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;
use yf_deploy::bench::{self, BenchPair, BenchPlan, Percentiles, Report};
use yf_deploy::model::ModelSource;
use yf_deploy::pipeline::Settings;
use yf_models::{Network, Weights};

use crate::cli::choices::at_least_one;
use crate::cli::deployed::{self, BackendArgs};
use crate::failure::{Failure, OrArguments};
use crate::output;

/// Height and width of the pictures of a network that is given by name.
const SIDE: usize = 640;

const EXAMPLES: &str = "\
Examples:
  yf bench infer deyolo-n --classes 3                 a network that is not trained yet, at 640
  yf bench infer best.onnx                            a made-up pair of 1280x1024 JPEG files
  yf bench infer best.fp16.onnx --backend ort:cuda --batch 8 --json
  yf bench infer best.onnx --pair rgb.jpg ir.jpg --runs 200";

/// Measure inference: decode, letterbox, network, suppression, whole
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct InferArgs {
    /// An exported model (.onnx), weights (.safetensors), or the name of a network, whose weights are made up [default:
    /// $YF_MODEL, else the newest under runs/train]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Classes of a network that is given by name [default: its configuration's]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    classes: Option<usize>,
    #[command(flatten)]
    backend: BackendArgs,
    /// Pairs a batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    batch: usize,
    /// Batches that are measured, after five to warm up
    #[arg(long, value_name = "N", default_value_t = BenchPlan::default().iterations, value_parser = at_least_one)]
    runs: usize,
    /// The pair to measure with [default: made up, 1280x1024]
    #[arg(long, num_args = 2, value_names = ["RGB", "IR"])]
    pair: Option<Vec<PathBuf>>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(args: InferArgs) -> Result<(), Failure> {
    let source = source(args.model.as_deref(), args.classes).or_arguments()?;
    let pair = match args.pair.as_deref() {
        Some([rgb, ir]) => BenchPair::Files(rgb.clone(), ir.clone()),
        _ => BenchPair::default(),
    };
    let mut backend = args.backend.open(source).or_arguments()?;
    let plan = BenchPlan { iterations: args.runs, batch: args.batch };
    let report = bench::bench(backend.as_mut(), &pair, &Settings::default(), &plan)?;
    if args.json { output::json(&report) } else { print(&report) }
}

/// A file, or where the name is no file's a network with made-up weights.
fn source(model: Option<&Path>, classes: Option<usize>) -> Result<ModelSource> {
    let name = model.filter(|path| path.extension().is_none() && !path.exists()).and_then(Path::to_str);
    let Some(name) = name else {
        ensure!(classes.is_none(), "--classes is for a network given by name; a model has its own");
        return deployed::source(&deployed::model_path(model)?, None);
    };
    let weights = Weights::untrained(&Network::load(name, classes)?, SIDE)?;
    let bytes = yf_export::onnx(&weights, &yf_export::Options::default())?;
    Ok(ModelSource::Bytes { name: weights.header.model, bytes })
}

fn print(report: &Report) -> Result<(), Failure> {
    let ((width, height), (input_width, input_height)) = (report.picture, report.input);
    output::line(format!("{} ({} nodes) on {}", report.model, report.nodes, report.backend))?;
    output::line(format!(
        "pairs of {width}x{height} to {input_width}x{input_height}, batches of {}, {} measured",
        report.batch, report.iterations
    ))?;
    output::line(format!("{:<14}{:>9}{:>9}{:>9}", "ms a batch", "p50", "p90", "p99"))?;
    let stages: [(&str, &Percentiles); 5] = [
        ("decode", &report.decode),
        ("letterbox", &report.letterbox),
        ("network", &report.network),
        ("suppression", &report.suppression),
        ("whole", &report.whole),
    ];
    for (name, ms) in stages {
        output::line(format!("{name:<14}{:>9.2}{:>9.2}{:>9.2}", ms.p50, ms.p90, ms.p99))?;
    }
    output::line(format!(
        "{:.1} pairs/s, stages one after the other",
        report.batch as f64 * 1e3 / report.whole.p50
    ))
}
