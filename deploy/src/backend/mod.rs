//! What runs a network: one trait, and the choice between its implementations.

mod batches;
mod embedded;
pub(crate) mod library;
mod onnx_runtime;
mod tensorrt;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::DeployError;
use crate::engine::{self, Manifest};
use crate::model::{Model, ModelInfo, ModelSource};

pub use embedded::Embedded;
pub use onnx_runtime::{OnnxRuntime, Provider};
pub use tensorrt::TensorRt;

/// A network ready to run.
pub trait Backend: Send {
    /// What the model says about itself.
    fn info(&self) -> &ModelInfo;

    /// Which runtime, version and device, for people to read.
    fn describe(&self) -> String;

    /// Runs a batch of pairs and returns, pair after pair, what the model gives ([`ModelInfo::output_len`] values each):
    /// raw boxes, [4 + classes, anchors] (cx cy w h in input pixels, then the class scores), or, of a model with
    /// suppression inside, rows of x1 y1 x2 y2 score class.
    ///
    /// A pair's pictures are `rgb` and `ir` in the values that the model takes ([`ModelInfo::values`]). A one-stream
    /// network is given its picture as the first, and the second is not looked at. Any number of pairs goes: a network
    /// with a fixed batch is run as often as it takes.
    ///
    /// # Errors
    /// [`DeployError::Input`] where a picture has the wrong length or kind, [`DeployError::Runtime`] where the runtime
    /// fails.
    fn run(&mut self, pairs: &[[Pixels<'_>; 2]]) -> Result<Vec<f32>, DeployError>;

    /// Pairs that are best run at once where many wait.
    fn best_batch(&self) -> usize {
        self.info().batch.unwrap_or(1)
    }

    /// Where the time of the latest [`run`](Self::run) went; `None` where nothing is copied to a device.
    fn transfers(&self) -> Option<Transfers> {
        None
    }
}

/// A picture for one input of a network, or several, one behind the other.
#[derive(Clone, Copy, Debug)]
pub enum Pixels<'a> {
    /// Planes, [channels, height, width], 0..1.
    Floats(&'a [f32]),
    /// The picture as it is, [height, width, channels], 0..255.
    Bytes(&'a [u8]),
}

impl Pixels<'_> {
    /// For the input that a one-stream network does not have.
    pub const NONE: Self = Self::Floats(&[]);

    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Bytes(values) => values.len(),
        }
    }

    /// As it lies in memory.
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Floats(values) => bytemuck::cast_slice(values),
            Self::Bytes(values) => values,
        }
    }
}

impl<'a> From<&'a [f32]> for Pixels<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::Floats(values)
    }
}

impl<'a> From<&'a [u8]> for Pixels<'a> {
    fn from(values: &'a [u8]) -> Self {
        Self::Bytes(values)
    }
}

/// Milliseconds of a run on a device that has its own memory; over all parts that a batch was run in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Transfers {
    /// Pictures to the device.
    pub upload: f64,
    /// The network.
    pub compute: f64,
    /// Its output back.
    pub download: f64,
}

/// The values of `--backend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best that is there: an engine of the model that lies beside it, ONNX Runtime on CUDA, ONNX Runtime, embedded.
    #[default]
    Auto,
    /// ONNX Runtime on the CPU.
    Ort,
    /// ONNX Runtime with its CUDA provider; never silently the CPU.
    OrtCuda,
    /// ONNX Runtime with its TensorRT provider, CUDA where TensorRT lacks an operator; never silently the CPU.
    OrtTensorRt,
    /// ONNX Runtime with the provider of [`Options::plugin`]; never silently the CPU.
    OrtPlugin,
    /// TensorRT or TensorRT-RTX itself: an engine, or a model of which one is built and kept.
    TensorRt,
    /// The pure-Rust runtime inside this program.
    Embedded,
}

impl Choice {
    /// All choices, as they are written.
    pub const NAMES: [&str; 7] =
        ["auto", "ort", "ort:cuda", "ort:tensorrt", "ort:plugin", "tensorrt", "embedded"];
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ort => "ort",
            Self::OrtCuda => "ort:cuda",
            Self::OrtTensorRt => "ort:tensorrt",
            Self::OrtPlugin => "ort:plugin",
            Self::TensorRt => "tensorrt",
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
            "ort:tensorrt" => Ok(Self::OrtTensorRt),
            "ort:plugin" => Ok(Self::OrtPlugin),
            "embedded" => Ok(Self::Embedded),
            "tensorrt" => Ok(Self::TensorRt),
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
    /// The library of an execution provider, for [`Choice::OrtPlugin`]; `Auto` takes it too.
    pub plugin: Option<PathBuf>,
    /// Threads for the network; otherwise the runtime's own choice.
    pub threads: Option<usize>,
    /// ONNX Runtime on CUDA takes seconds more at the start to find faster kernels.
    pub tune: bool,
}

/// Loads a model, or an engine (.engine), into the chosen backend.
///
/// # Errors
/// Whatever [`ModelSource::load`] reports; [`DeployError::Library`] where ONNX Runtime was asked for and cannot be
/// had (or a library was named and cannot be used); [`DeployError::Runtime`] where the runtime refuses the model;
/// [`DeployError::TensorRt`] and [`DeployError::Engine`] as [`TensorRt`] reports them; [`DeployError::Choice`] where options
/// do not go with the backend.
pub fn open(source: ModelSource, choice: Choice, options: &Options) -> Result<Box<dyn Backend>, DeployError> {
    let choice = with_plugin(choice, options)?;
    if options.tune && !matches!(choice, Choice::Auto | Choice::OrtCuda | Choice::OrtTensorRt) {
        return Err(DeployError::Choice(format!(
            "backend '{choice}' has nothing to tune: leave --tune out, or take ort:cuda"
        )));
    }
    let beside = match &source {
        ModelSource::Path(path) if is_engine(path) => return open_engine(path, choice, options),
        ModelSource::Path(path) => Some(path.with_extension(engine::EXTENSION)),
        ModelSource::Bytes { .. } => None,
    };
    let model = source.load()?;
    match choice {
        Choice::Auto => match beside.and_then(|engine| engine_of(&model, &engine)) {
            Some(backend) => Ok(Box::new(backend)),
            None => best(model, options),
        },
        Choice::Ort => Ok(Box::new(OnnxRuntime::new(model, Provider::Cpu, options)?)),
        Choice::OrtCuda => Ok(Box::new(OnnxRuntime::new(model, Provider::Cuda, options)?)),
        Choice::OrtTensorRt => Ok(Box::new(OnnxRuntime::new(model, Provider::TensorRt, options)?)),
        Choice::OrtPlugin => {
            let library = options.plugin.as_deref().unwrap_or(Path::new(""));
            Ok(Box::new(OnnxRuntime::plugged_in(model, library, options)?))
        }
        Choice::TensorRt => Ok(Box::new(TensorRt::of_model(&model)?)),
        Choice::Embedded => Ok(Box::new(Embedded::new(model, options)?)),
    }
}

/// A plugin that was named is the one to take; none but `ort:plugin` has a use for it.
fn with_plugin(choice: Choice, options: &Options) -> Result<Choice, DeployError> {
    match (choice, &options.plugin) {
        (Choice::Auto | Choice::OrtPlugin, Some(_)) => Ok(Choice::OrtPlugin),
        (Choice::OrtPlugin, None) => Err(DeployError::Choice(
            "backend 'ort:plugin' wants the library of an execution provider: name it with --plugin"
                .to_owned(),
        )),
        (other, Some(_)) => Err(DeployError::Choice(format!(
            "backend '{other}' takes no plugin: leave --plugin out, or take ort:plugin"
        ))),
        (other, None) => Ok(other),
    }
}

/// Whether a file is an engine, by its name.
pub fn is_engine(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == engine::EXTENSION)
}

fn open_engine(path: &Path, choice: Choice, options: &Options) -> Result<Box<dyn Backend>, DeployError> {
    if !matches!(choice, Choice::Auto | Choice::TensorRt) {
        return Err(DeployError::Choice(format!(
            "{} is a TensorRT engine, and --backend {choice} runs ONNX files: name the model it was built from, or take \
             --backend tensorrt",
            path.display()
        )));
    }
    let refused = match TensorRt::open(path) {
        Ok(backend) => return Ok(Box::new(backend)),
        Err(why) => why,
    };
    let source = || Manifest::read(path).ok().and_then(|manifest| manifest.source(path));
    match (choice, source()) {
        (Choice::Auto, Some(source)) => {
            tracing::warn!("{refused}: goes on with the ONNX file beside it");
            best(source.load()?, options)
        }
        _ => Err(refused),
    }
}

/// The engine beside a model, where there is one of this very model that runs here.
fn engine_of(model: &Model, engine: &Path) -> Option<TensorRt> {
    let manifest = engine.exists().then(|| Manifest::read(engine))?;
    match manifest {
        Ok(manifest) if manifest.onnx_sha256 != engine::sha256(&model.bytes) => {
            tracing::debug!("{} was built from another model", engine.display());
            None
        }
        Ok(_) => {
            let opened = TensorRt::open(engine);
            opened.inspect_err(|why| tracing::warn!("{why}: goes on with {}", model.info.origin)).ok()
        }
        Err(why) => {
            tracing::debug!("{why}");
            None
        }
    }
}

/// A library that was named and cannot be used is an error; one that is merely not there is not.
fn best(model: Model, options: &Options) -> Result<Box<dyn Backend>, DeployError> {
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
