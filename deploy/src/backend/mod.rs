//! What runs a network: one trait, and the choice between its implementations.

mod batches;
mod embedded;
mod library;
mod onnx_runtime;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DeployError;
use crate::model::{ModelInfo, ModelSource};

pub use embedded::Embedded;
pub use onnx_runtime::{OnnxRuntime, Provider};

/// A network ready to run.
pub trait Backend: Send {
    /// What the model says about itself.
    fn info(&self) -> &ModelInfo;

    /// Which runtime, version and device, for people to read.
    fn describe(&self) -> String;

    /// Runs a batch and returns [batch, 4 + classes, anchors]: cx cy w h in input pixels, then the class scores.
    ///
    /// `rgb` and `ir` are [batch, 3, height, width] with values 0..1. A one-stream network is given its picture as
    /// `rgb`, and `ir` is not looked at. Any batch goes: a network with a fixed one is run as often as it takes.
    ///
    /// # Errors
    /// [`DeployError::Input`] where a slice has the wrong length, [`DeployError::Runtime`] where the runtime fails.
    fn run(&mut self, rgb: &[f32], ir: &[f32], batch: usize) -> Result<Vec<f32>, DeployError>;
}

/// The values of `--backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best that is there: ONNX Runtime on CUDA, ONNX Runtime, embedded.
    #[default]
    Auto,
    /// ONNX Runtime on the CPU.
    Ort,
    /// ONNX Runtime with its CUDA provider; never silently the CPU.
    OrtCuda,
    /// The pure-Rust runtime inside this program.
    Embedded,
}

impl Choice {
    /// All choices, as they are written.
    pub const NAMES: [&str; 4] = ["auto", "ort", "ort:cuda", "embedded"];
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ort => "ort",
            Self::OrtCuda => "ort:cuda",
            Self::Embedded => "embedded",
        })
    }
}

impl FromStr for Choice {
    type Err = DeployError;

    fn from_str(name: &str) -> Result<Self, DeployError> {
        match name {
            "auto" => Ok(Self::Auto),
            "ort" | "ort:cpu" => Ok(Self::Ort),
            "ort:cuda" => Ok(Self::OrtCuda),
            "embedded" => Ok(Self::Embedded),
            "tensorrt" | "ort:tensorrt" => Err(DeployError::Choice(format!(
                "backend '{name}' is not in this version of yf; on an NVIDIA GPU take ort:cuda"
            ))),
            _ => {
                Err(DeployError::Choice(format!("no backend '{name}': there are {}", Self::NAMES.join(", "))))
            }
        }
    }
}

/// What a user may say about the backends.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// ONNX Runtime's library (libonnxruntime.so); otherwise `ORT_DYLIB_PATH`, otherwise an installed Python package.
    pub ort_library: Option<PathBuf>,
    /// Threads for the network; otherwise the runtime's own choice.
    pub threads: Option<usize>,
}

/// Loads a model into the chosen backend.
///
/// # Errors
/// Whatever [`ModelSource::load`] reports; [`DeployError::Library`] where ONNX Runtime was asked for and cannot be
/// had (or a library was named and cannot be used); [`DeployError::Runtime`] where the runtime refuses the model.
pub fn open(source: ModelSource, choice: Choice, options: &Options) -> Result<Box<dyn Backend>, DeployError> {
    let model = source.load()?;
    match choice {
        Choice::Auto => best(model, options),
        Choice::Ort => Ok(Box::new(OnnxRuntime::new(model, Provider::Cpu, options)?)),
        Choice::OrtCuda => Ok(Box::new(OnnxRuntime::new(model, Provider::Cuda, options)?)),
        Choice::Embedded => Ok(Box::new(Embedded::new(model, options)?)),
    }
}

/// A library that was named and cannot be used is an error; one that is merely not there is not.
fn best(model: crate::model::Model, options: &Options) -> Result<Box<dyn Backend>, DeployError> {
    if let Some(why) = onnx_runtime::unavailable(options)? {
        tracing::debug!("ONNX Runtime is not used: {why}");
        return Ok(Box::new(Embedded::new(model, options)?));
    }
    if onnx_runtime::cuda_is_there() {
        match OnnxRuntime::new(model.clone(), Provider::Cuda, options) {
            Ok(backend) => return Ok(Box::new(backend)),
            Err(why) => tracing::warn!("there is a GPU, but ONNX Runtime runs on the CPU: {why}"),
        }
    }
    Ok(Box::new(OnnxRuntime::new(model, Provider::Cpu, options)?))
}
