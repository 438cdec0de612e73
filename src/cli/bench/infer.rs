//! `yf bench infer`: how long a pair takes, stage by stage.

use std::path::PathBuf;

use clap::Args;
use yf_deploy::bench::{self, BenchPair, BenchPlan, Percentiles, Report};
use yf_deploy::pipeline::Settings;

use crate::cli::choices::at_least_one;
use crate::cli::deployed::{self, BackendArgs};
use crate::failure::{Failure, OrArguments};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  yf bench infer best.onnx                            a made-up pair of 1280x1024 JPEG files
  yf bench infer best.fp16.onnx --backend ort:cuda --batch 8 --json
  yf bench infer best.onnx --pair rgb.jpg ir.jpg --runs 200";

/// Measure inference: decode, letterbox, network, suppression, whole
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct InferArgs {
    /// An exported model (.onnx) or weights (.safetensors) [default: $YF_MODEL, else the newest under runs/train]
    #[arg(value_name = "MODEL")]
    model: Option<PathBuf>,
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
    let path = deployed::model_path(args.model.as_deref()).or_arguments()?;
    let source = deployed::source(&path, None).or_arguments()?;
    let pair = match args.pair.as_deref() {
        Some([rgb, ir]) => BenchPair::Files(rgb.clone(), ir.clone()),
        _ => BenchPair::default(),
    };
    let mut backend = args.backend.open(source).or_arguments()?;
    let plan = BenchPlan { iterations: args.runs, batch: args.batch };
    let report = bench::bench(backend.as_mut(), &pair, &Settings::default(), &plan)?;
    if args.json { output::json(&report) } else { print(&report) }
}

fn print(report: &Report) -> Result<(), Failure> {
    let ((width, height), (input_width, input_height)) = (report.picture, report.input);
    output::line(format!("{} on {}", report.model, report.backend))?;
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
