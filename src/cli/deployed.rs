//! What the commands that run exported models share: which model, which backend.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use yf_deploy::backend::{self, Backend, Choice, Options};
use yf_deploy::modality;
use yf_deploy::model::ModelSource;
use yf_deploy::pipeline::Batch;
use yf_export::Options as ExportOptions;
use yf_models::Weights;
use yf_plan::Modality;

use super::setup;
use crate::runs;

/// Which runtime runs the network.
#[derive(Debug, Clone, Args)]
pub struct BackendArgs {
    /// What runs the network: ONNX Runtime (ort, ort:cuda, ort:tensorrt, ort:plugin), TensorRT itself (tensorrt), the
    /// embedded runtime, or the best that is there
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = PossibleValuesParser::new(Choice::NAMES).try_map(|name| name.parse::<Choice>()))]
    pub backend: Choice,
    /// ONNX Runtime's library [default: $ORT_DYLIB_PATH, else that of an installed Python package]
    #[arg(long, value_name = "libonnxruntime.so")]
    pub ort: Option<PathBuf>,
    /// The library of an execution provider for ONNX Runtime, as TensorRT-RTX and OpenVINO have one: --backend ort:plugin
    #[arg(long, value_name = "libprovider.so")]
    pub plugin: Option<PathBuf>,
    /// Threads for the network [default: the runtime's own choice]
    #[arg(long, value_name = "N", value_parser = super::choices::threads)]
    pub threads: Option<usize>,
    /// Take some five seconds more at the start to find faster kernels (ort:cuda): for runs of hours
    #[arg(long)]
    pub tune: bool,
}

impl BackendArgs {
    /// Loads a model into the chosen runtime and says which it is.
    pub fn open(&self, source: ModelSource) -> Result<Box<dyn Backend>> {
        let Self { backend, ort, plugin, threads, tune } = self.clone();
        let backend = backend::open(source, backend, &Options { ort_library: ort, plugin, threads, tune })?;
        tracing::info!("{} on {}", backend.info().origin, backend.describe());
        Ok(backend)
    }
}

/// The model as given, else `YF_MODEL`, else the newest under `runs/train`.
pub fn model_path(given: Option<&Path>) -> Result<PathBuf> {
    let from_variable = || env::var_os("YF_MODEL").filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = match given.map(Path::to_owned).or_else(from_variable) {
        Some(path) => path,
        None => runs::newest_model()?,
    };
    setup::existing(&path)?;
    Ok(path)
}

/// The model as ONNX: a file as it is (an engine too), weights exported in memory at `imgsz` (by default the training's).
pub fn source(path: &Path, imgsz: Option<usize>) -> Result<ModelSource> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("onnx" | "engine") if imgsz.is_some() => {
            bail!(
                "--imgsz is for weights; {} takes pictures of the size that it was exported for",
                path.display()
            )
        }
        Some("onnx" | "engine") => Ok(ModelSource::Path(path.to_owned())),
        Some("safetensors") => {
            let options = ExportOptions { imgsz: imgsz.map(|side| (side, side)), ..ExportOptions::default() };
            let bytes = yf_export::onnx(&Weights::read(path)?, &options)?;
            Ok(ModelSource::Bytes { name: path.display().to_string(), bytes })
        }
        _ => bail!("{}: a model is an .onnx file, an .engine, or weights (.safetensors)", path.display()),
    }
}

/// `auto`, or a number of pairs.
pub fn batch(text: &str) -> Result<Batch, String> {
    if text == "auto" {
        return Ok(Batch::Auto);
    }
    super::choices::pairs_at_once(text).map(Batch::Of).map_err(|why| format!("{why}, or auto"))
}

/// The cameras that the pipeline shows to the network.
pub fn modality(modality: Modality) -> modality::Modality {
    match modality {
        Modality::Both => modality::Modality::Both,
        Modality::Rgb => modality::Modality::Rgb,
        Modality::Ir => modality::Modality::Ir,
    }
}
