//! What is known of a TensorRT engine. Needs neither TensorRT nor a GPU.

use std::path::Path;

use yf_deploy::engine::Manifest;

use super::onnx;
use crate::failure::{Failure, OrArguments};
use crate::output;

/// Prints the manifest of an engine, once the engine is known to be its.
pub fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let manifest = Manifest::read(path).or_arguments()?;
    let bytes = manifest.engine(path).or_arguments()?.len();
    if json {
        return output::json(&manifest);
    }
    let Manifest { library, version, precision, .. } = &manifest;
    output::line(format!("{}: {library} {version}, {:.1} MB", path.display(), bytes as f64 / 1e6))?;
    onnx::tensors(&manifest.model, &manifest.batch.to_string())?;
    output::line(format!("for     {}", manifest.gpus()))?;
    output::line(format!("layers  {}", precision.as_deref().unwrap_or("as its ONNX file has them")))?;
    let from = manifest.onnx_file.as_deref().unwrap_or("weights, through ONNX in memory");
    output::line(format!("from    {from}, SHA-256 {}", manifest.onnx_sha256))
}
