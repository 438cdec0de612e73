//! `yf export`: weights become an ONNX file, or an entry of a server's model repository. Needs no libtorch.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use yf_deploy::model::{ModelInfo, ModelSource};
use yf_export::{ExportError, Nms, Options};
use yf_models::Weights;

use super::choices::unit;
use super::engine::{self, EngineArgs};
use super::setup;
use super::triton::TritonArgs;
use crate::failure::{Failure, OrArguments};
use crate::{output, runs};

const EXAMPLES: &str = "\
Examples:
  yf export --onnx                                    best.onnx beside the newest run's best weights
  yf export --onnx --fp16                             best.fp16.onnx: half the size, inputs stay float32
  yf export runs/train/exp/weights/best.safetensors --onnx --dynamic --imgsz 512x640 -o model.onnx

  yf export --onnx --fp16 --u8                        best.fp16.u8.onnx: takes pictures as they are, the fastest on a GPU
  yf export --onnx --nms --conf 0.4                   best.nms.onnx: suppression inside
  yf export --triton models --fp16 --u8               models/yf/1, for NVIDIA's Triton Inference Server
  yf export best.onnx --triton models --name road     an ONNX file as it is, exported with --dynamic
  yf export --engine --fp16                           best.fp16.engine, with the TensorRT that is here
  yf export best.onnx --engine --target sm_86,sm_89   for other machines' GPUs, with TensorRT-RTX, without a GPU

Inputs `rgb` and `ir` (or `images`): float32 [N, 3, H, W], values 0..1, letterboxed with 114.
With --u8: uint8 [N, H, W, 3] and, infrared, [N, H, W, 1], values 0..255.
Output `output0`: float32 [N, 4 + classes, anchors]: cx cy w h in input pixels, then the class scores.
With --nms: float32 [N, 300, 6]: x1 y1 x2 y2 in input pixels, score, class; unused rows are zero.";

/// Write weights as ONNX, as a TensorRT engine, or for a server
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArgs {
    /// A weights file, or with --engine or --triton an ONNX file [default: the newest run's best weights]
    #[arg(value_name = "WEIGHTS")]
    weights: Option<PathBuf>,
    /// Write an ONNX file (opset 17)
    #[arg(long, required_unless_present_any = ["repository", "engine"])]
    onnx: bool,
    /// Layers in half precision; inputs, the decoding of boxes and the output stay float32
    #[arg(long)]
    fp16: bool,
    /// Take any number of pairs at run time instead of one
    #[arg(long)]
    dynamic: bool,
    /// Take pictures as bytes, infrared as one plane, and normalise them inside
    #[arg(long)]
    u8: bool,
    /// Suppress inside, class by class; for ONNX Runtime and TensorRT, not for the embedded runtime
    #[arg(long)]
    nms: bool,
    /// With --nms: least score of a detection [default: 0.25]
    #[arg(long, value_name = "SCORE", requires = "nms", value_parser = unit)]
    conf: Option<f32>,
    /// With --nms: overlap from which the weaker of two boxes of a class goes [default: 0.7]
    #[arg(long, value_name = "IOU", requires = "nms", value_parser = unit)]
    iou: Option<f32>,
    /// Side of the pictures, or HEIGHTxWIDTH [default: the training's]
    #[arg(long, value_name = "PIXELS", value_parser = imgsz)]
    imgsz: Option<(usize, usize)>,
    /// The file to write [default: beside the weights, .onnx or .engine behind what it is: .fp16, .u8, .nms]
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    triton: TritonArgs,
}

/// Reads the weights, writes what was asked for, and says its name.
pub fn run(args: ExportArgs) -> Result<(), Failure> {
    args.check_out().or_arguments()?;
    let path = weights_path(args.weights.clone()).or_arguments()?;
    if path.extension().is_some_and(|extension| extension == "onnx") {
        let model = ModelSource::Path(path.clone()).load().or_arguments()?;
        args.check_written(&path, &model.info).or_arguments()?;
        let engine = args.out.clone().unwrap_or_else(|| engine::default_path(&path));
        if args.engine.wanted() {
            args.engine.write(&model, Some(&path), &engine)?;
        }
        return args.triton.add(&model, &engine);
    }
    let weights = Weights::read(&path).or_arguments()?;
    let options = args.options().or_arguments()?;
    let usual = options.default_path(&path);
    let out = args.out.clone();
    if args.onnx {
        write(&weights, &options, out.as_ref().unwrap_or(&usual), &path)?;
    }
    let onnx = args.onnx.then(|| out.as_ref().unwrap_or(&usual));
    let named = out.clone().filter(|_| !args.onnx);
    let engine = named.unwrap_or_else(|| engine::default_path(onnx.unwrap_or(&usual)));
    if args.engine.wanted() {
        let bytes = yf_export::onnx(&weights, &options).map_err(whose)?;
        let model = ModelSource::Bytes { name: path.display().to_string(), bytes }.load()?;
        args.engine.write(&model, onnx.map(PathBuf::as_path), &engine)?;
    }
    if args.triton.wanted() {
        let options = Options { dynamic: true, ..options };
        let bytes = yf_export::onnx(&weights, &options).map_err(whose)?;
        let model = ModelSource::Bytes { name: path.display().to_string(), bytes }.load()?;
        args.triton.add(&model, &engine)?;
    }
    Ok(())
}

impl ExportArgs {
    /// There is a file for the name, and the name says what it is.
    fn check_out(&self) -> Result<()> {
        if self.out.is_some() && !self.onnx && !self.engine.wanted() {
            bail!(
                "-o names an ONNX file or an engine: add --onnx or --engine (--triton names a folder itself)"
            );
        }
        match &self.out {
            Some(out) if self.onnx && out.extension().is_none_or(|extension| extension != "onnx") => {
                bail!("-o {}: an ONNX file's name ends in .onnx, by which it is known", out.display())
            }
            _ => Ok(()),
        }
    }

    fn options(&self) -> Result<Options> {
        let usual = Nms::default();
        let nms = Nms { conf: self.conf.unwrap_or(usual.conf), iou: self.iou.unwrap_or(usual.iou) };
        Ok(Options {
            fp16: self.fp16,
            dynamic: self.dynamic,
            imgsz: self.imgsz,
            batch: self.engine.fixed(self.dynamic)?,
            bytes: self.u8,
            nms: self.nms.then_some(nms),
        })
    }

    /// An ONNX file is taken as it is; what it is already may be said.
    fn check_written(&self, path: &Path, info: &ModelInfo) -> Result<()> {
        let half = info.metadata.get("yf.precision").is_some_and(|precision| precision == "fp16");
        let flags = [
            ("--onnx", self.onnx),
            ("--fp16", self.fp16 && !half),
            ("--dynamic", self.dynamic && info.batch.is_some()),
            ("--u8", self.u8),
            ("--nms", self.nms),
            ("--imgsz", self.imgsz.is_some()),
            ("-o", self.out.is_some() && !self.engine.wanted()),
        ];
        match flags.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                bail!("{} is written already: {flag} wants the weights it was made from", path.display())
            }
            None => Ok(()),
        }
    }
}

/// Writes an ONNX file and says what it is.
fn write(weights: &Weights, options: &Options, out: &Path, source: &Path) -> Result<(), Failure> {
    check_out(out, source).or_arguments()?;
    let bytes = yf_export::export_file(weights, options, out).map_err(whose)?;
    let (height, width) = options.imgsz.unwrap_or((weights.header.imgsz, weights.header.imgsz));
    let batch = match (options.dynamic, options.batch) {
        (true, _) => "any batch".to_owned(),
        (false, 1) => "one pair a batch".to_owned(),
        (false, pairs) => format!("{pairs} pairs a batch"),
    };
    tracing::info!(
        "{} for {} classes at {height}x{width}, {}, {}: {:.1} MB",
        weights.header.model,
        weights.header.names.len(),
        if options.fp16 { "fp16" } else { "fp32" },
        batch,
        bytes as f64 / 1e6
    );
    output::line(out.display().to_string())
}

/// What does not fit the network, or what is there, is the arguments' fault.
pub fn whose(error: ExportError) -> Failure {
    match error {
        ExportError::Model(_) | ExportError::Batch(_) | ExportError::Triton(_) => {
            Failure::Arguments(error.into())
        }
        _ => Failure::Work(error.into()),
    }
}

/// The weights as given, else the newest run's best.
fn weights_path(given: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = given {
        setup::existing(&path)?;
        return Ok(path);
    }
    let newest = runs::newest_weights()?;
    tracing::info!("weights: {}", newest.display());
    Ok(newest)
}

/// The file goes into a folder that is there, and not over the file it is made from.
pub fn check_out(out: &Path, source: &Path) -> Result<()> {
    if out.is_dir() {
        bail!("-o {} is a folder: name the file", out.display());
    }
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = fs::canonicalize(folder).with_context(|| format!("-o {}: no such folder", out.display()))?;
    let written = out.file_name().map(|name| folder.join(name));
    if written == fs::canonicalize(source).ok() {
        bail!("{} would overwrite what it is made from: give another name with -o", out.display());
    }
    Ok(())
}

/// `640`, or `512x640`: height, then width.
fn imgsz(text: &str) -> Result<(usize, usize), String> {
    let wrong = || "a side in pixels is wanted, or HEIGHTxWIDTH, like 512x640".to_owned();
    let side = |side: &str| side.parse::<usize>().ok().filter(|&side| side > 0).ok_or_else(wrong);
    match text.split_once('x') {
        Some((height, width)) => Ok((side(height)?, side(width)?)),
        None => side(text).map(|side| (side, side)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_a_side_or_height_by_width() {
        assert_eq!(imgsz("640"), Ok((640, 640)));
        assert_eq!(imgsz("512x640"), Ok((512, 640)));
        for wrong in ["", "0", "x640", "640x", "-32", "big"] {
            assert!(imgsz(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_weights_are_never_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let weights = home.path().join("best.safetensors");
        fs::write(&weights, "").unwrap();
        assert!(check_out(&home.path().join("./best.safetensors"), &weights).is_err());
        assert!(check_out(&home.path().join("gone/best.onnx"), &weights).is_err());
        assert!(check_out(home.path(), &weights).is_err());
        assert!(check_out(&home.path().join("best.onnx"), &weights).is_ok());
    }
}
