//! `yf info`: what a network is made of and what it costs.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use yf_models::cost::{self, Cost};
use yf_models::error::shape;
use yf_models::graph::LayerSummary;
use yf_models::{Graph, Header, Network, Weights};

use super::choices::at_least_one;
use super::setup::MODEL;
use crate::failure::{Failure, OrArguments};
use crate::output;

mod engine;
mod onnx;

const EXAMPLES: &str = "\
Examples:
  yf info mid-n                             layers, parameters and operations at 640x640
  yf info early-s --classes 3 --imgsz 320
  yf info own.yaml                          a configuration of one's own
  yf info runs/train/exp/weights/best.safetensors --json
  yf info runs/train/exp/weights/best.onnx
  yf info best.engine                       what an engine was built from, with and for";

/// Show a network's layers, parameters and operations
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct InfoArgs {
    /// A network by name, a configuration's YAML, weights, an ONNX file, or an engine
    #[arg(value_name = "MODEL", default_value = MODEL)]
    model: String,
    /// Number of classes [default: the file's own, else 80]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    classes: Option<usize>,
    /// Side of the square pictures [default: the weights' own, else 640]
    #[arg(long, value_name = "PIXELS")]
    imgsz: Option<usize>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints the table or the object.
pub fn run(args: InfoArgs) -> Result<(), Failure> {
    if has_extension(&args.model, "onnx") {
        return onnx::run(Path::new(&args.model), args.json);
    }
    if has_extension(&args.model, "engine") {
        return engine::run(Path::new(&args.model), args.json);
    }
    let subject = Subject::load(&args).or_arguments()?;
    let report = Report::of(&subject);
    if args.json { output::json(&report) } else { output::line(report.table()) }
}

fn has_extension(path: &str, wanted: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension == wanted)
}

/// A network at a size, and the header of the weights it came from.
struct Subject {
    network: Network,
    graph: Graph,
    header: Option<Header>,
}

impl Subject {
    fn load(args: &InfoArgs) -> Result<Self> {
        let is_weights = Path::new(&args.model).extension().is_some_and(|e| e == "safetensors");
        let header =
            is_weights.then(|| Weights::read(&PathBuf::from(&args.model))).transpose()?.map(|w| w.header);
        let network = match &header {
            Some(header) => header.network()?,
            None => Network::load(&args.model, args.classes)?,
        };
        if header.is_some() && args.classes.is_some_and(|n| n != network.classes()) {
            anyhow::bail!(
                "{} holds weights for {} classes; leave --classes out",
                args.model,
                network.classes()
            );
        }
        let side = args.imgsz.or(header.as_ref().map(|h| h.imgsz)).unwrap_or(640);
        let graph = network.graph(side, side)?;
        Ok(Subject { network, graph, header })
    }
}

/// What is printed; `--json` prints it as it stands.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    classes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    names: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<usize>,
    imgsz: [usize; 2],
    inputs: Vec<&'a str>,
    strides: &'a [usize],
    parameters: usize,
    gflops: f64,
    elements_moved: u64,
    layers: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    from: &'a [usize],
    block: &'a str,
    parameters: usize,
    gflops: f64,
    outputs: &'a [Vec<usize>],
}

impl<'a> Report<'a> {
    fn of(subject: &'a Subject) -> Self {
        let graph = &subject.graph;
        let cost: Cost = cost::of(graph);
        let (height, width) = graph.input_size();
        let line = |(layer, gflops): (&'a LayerSummary, f64)| Line {
            index: layer.index,
            from: &layer.from,
            block: &layer.block,
            parameters: layer.parameters,
            gflops,
            outputs: &layer.outputs,
        };
        Report {
            model: subject.network.name(),
            classes: subject.network.classes(),
            names: subject.header.as_ref().map(|h| h.names.as_slice()),
            epoch: subject.header.as_ref().map(|h| h.epoch),
            imgsz: [height, width],
            inputs: graph.inputs.iter().map(|(name, _)| name.as_str()).collect(),
            strides: &graph.head.strides,
            parameters: cost.parameters,
            gflops: cost.gflops(),
            elements_moved: cost.elements_moved,
            layers: graph.layers.iter().zip(cost::gflops_by_layer(graph)).map(line).collect(),
        }
    }

    fn table(&self) -> String {
        let mut text = format!(
            "{:>4}  {:<10} {:<18} {:>11} {:>9}  output\n",
            "", "from", "block", "parameters", "GFLOPs"
        );
        for layer in &self.layers {
            let from: Vec<String> = layer.from.iter().map(usize::to_string).collect();
            let outputs: Vec<String> = layer.outputs.iter().map(|s| shape(s)).collect();
            let _ = writeln!(
                text,
                "{:>4}  {:<10} {:<18} {:>11} {:>9.3}  {}",
                layer.index,
                if from.is_empty() { "input".to_owned() } else { from.join(",") },
                layer.block,
                layer.parameters,
                layer.gflops,
                outputs.join(" ")
            );
        }
        let [height, width] = self.imgsz;
        let _ = write!(
            text,
            "{}: {} classes, {} parameters, {:.2} GFLOPs at {height}x{width} ({})",
            self.model,
            self.classes,
            self.parameters,
            self.gflops,
            self.inputs.join(" + ")
        );
        if let Some(epoch) = self.epoch {
            let _ = write!(text, ", {epoch} epochs trained");
        }
        text
    }
}
