//! `yf import`: a checkpoint of another program becomes a weights file. Nothing in it is executed; needs no libtorch.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use yf_import::{Identified, Limits, NameSource};
use yf_models::Network;

use super::{export, setup};
use crate::failure::{Failure, OrArguments};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  yf import best.pt                         a checkpoint of YOLOFuse or Ultralytics: writes best.safetensors
  yf import best.pt -o mid.safetensors      the same, under another name
  yf import best.pt --model own.yaml        a network of one's own
  yf import yolov8n.safetensors -o coco.safetensors   tensors alone, under Ultralytics' names

A .pt file is read as data: what it wants to be called is not called, and a file that wants something unusual is
refused. The network is found by the names and shapes of its tensors. Then:
  yf info best.safetensors
  yf val --weights best.safetensors --data data.yaml
  yf export best.safetensors --onnx";

/// Turn a checkpoint of another program into weights
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// A checkpoint (.pt), or a safetensors file that yf has not written
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The file to write [default: FILE with the suffix .safetensors]
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// The network it is, where the file does not tell: a name or a configuration's YAML
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Overwrite the file to write
    #[arg(long)]
    force: bool,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Reads, identifies, writes, and says what it was.
pub fn run(args: ImportArgs) -> Result<(), Failure> {
    setup::existing(&args.file).or_arguments()?;
    let out = args.out.unwrap_or_else(|| args.file.with_extension("safetensors"));
    check_out(&out, &args.file, args.force).or_arguments()?;
    let checkpoint = yf_import::read(&args.file, &Limits::default()).or_arguments()?;
    let epochs = checkpoint.epochs;
    let Identified { weights, names } = match &args.model {
        None => yf_import::identify(checkpoint).or_arguments()?,
        Some(model) => {
            let network = Network::load(model, checkpoint.classes()).or_arguments()?;
            yf_import::identify_as(checkpoint, network).or_arguments()?
        }
    };
    if names != NameSource::File {
        tracing::info!("{names}");
    }
    let header = &weights.header;
    let graph = header.network()?.graph(header.imgsz, header.imgsz)?;
    weights.write(&out)?;
    let report = Report {
        model: &header.model,
        classes: header.names.len(),
        names: &header.names,
        parameters: graph.parameter_count(),
        imgsz: header.imgsz,
        epochs,
        file: &out,
    };
    if args.json { output::json(&report) } else { output::line(report.lines()) }
}

/// What is written goes over the checkpoint in no case, and over another file only with `force`.
fn check_out(out: &Path, file: &Path, force: bool) -> Result<()> {
    export::check_out(out, file)?;
    if out.exists() && !force {
        bail!("{} is there already: give another name with -o, or --force to overwrite it", out.display());
    }
    Ok(())
}

/// What is printed; `--json` prints it as it stands.
#[derive(Serialize)]
struct Report<'a> {
    model: &'a str,
    classes: usize,
    names: &'a [String],
    parameters: usize,
    imgsz: usize,
    /// None where the file does not tell.
    epochs: Option<usize>,
    file: &'a Path,
}

impl Report<'_> {
    fn lines(&self) -> String {
        let shown: Vec<&str> = self.names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
        let more = if self.names.len() > NAMES_SHOWN { ", ..." } else { "" };
        let epochs = self.epochs.map_or("the file does not tell".to_owned(), |epochs| epochs.to_string());
        format!(
            "network     {}\nclasses     {}: {}{more}\nparameters  {}\nimage size  {}\nepochs      {epochs}\nwritten     {}",
            self.model,
            self.classes,
            shown.join(", "),
            self.parameters,
            self.imgsz,
            self.file.display()
        )
    }
}

/// Class names in the summary.
const NAMES_SHOWN: usize = 8;
