//! ONNX Runtime, from a library found when it is needed: on the CPU, or on CUDA.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use super::library::{self, Found};
use super::{Backend, Options, batches};
use crate::DeployError;
use crate::model::{Inputs, Model, ModelInfo};

/// What ONNX Runtime computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
}

/// A network in ONNX Runtime.
pub struct OnnxRuntime {
    info: ModelInfo,
    session: Session,
    provider: Provider,
    file: PathBuf,
}

impl OnnxRuntime {
    /// Loads a model.
    ///
    /// # Errors
    /// [`DeployError::Library`] where the library cannot be had or lacks the provider, [`DeployError::Runtime`]
    /// where it does not take the model or the provider does not start. A provider that was asked for is never
    /// replaced by another.
    pub fn new(model: Model, provider: Provider, options: &Options) -> Result<Self, DeployError> {
        let Model { info, bytes } = model;
        let runtime = load(options)?;
        if provider == Provider::Cuda && !ep::CUDA::is_available().unwrap_or(false) {
            return Err(DeployError::Library(format!(
                "{} has no CUDA provider: install onnxruntime-gpu instead of onnxruntime",
                runtime.file.display()
            )));
        }
        let session = session(&runtime.environment, &bytes, provider, options)
            .map_err(|e| failed(&info, e.message()))?;
        Ok(Self { info, session, provider, file: runtime.file })
    }
}

impl Backend for OnnxRuntime {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn describe(&self) -> String {
        let provider = match self.provider {
            Provider::Cpu => "CPU",
            Provider::Cuda => "CUDA",
        };
        format!("ONNX Runtime, {provider} ({})", self.file.display())
    }

    fn run(&mut self, rgb: &[f32], ir: &[f32], batch: usize) -> Result<Vec<f32>, DeployError> {
        let Self { info, session, .. } = self;
        batches::run(info, rgb, ir, batch, |rgb, ir, batch| {
            let pictures: &[&[f32]] = if info.inputs == Inputs::Pair { &[rgb, ir] } else { &[rgb] };
            run_session(session, info, pictures, batch).map_err(|e| failed(info, e))
        })
    }
}

fn run_session(
    session: &mut Session,
    info: &ModelInfo,
    pictures: &[&[f32]],
    batch: usize,
) -> Result<Vec<f32>, String> {
    let shape = [batch, 3, info.height, info.width];
    let mut feed = Vec::with_capacity(pictures.len());
    for (name, data) in info.input_names.iter().zip(pictures) {
        let tensor = TensorRef::from_array_view((shape, *data)).map_err(|e| e.to_string())?;
        feed.push((name.as_str(), SessionInputValue::from(tensor)));
    }
    let outputs = session.run(feed).map_err(|e| e.to_string())?;
    let output = outputs.get(&info.output_name).ok_or_else(|| format!("no output {}", info.output_name))?;
    let (got, values) = output.try_extract_tensor::<f32>().map_err(|e| e.to_string())?;
    if values.len() != batch * info.output_len() {
        return Err(format!("the output has the shape {got:?}, not the one its file states"));
    }
    Ok(values.to_vec())
}

fn session(
    environment: &Environment,
    bytes: &[u8],
    provider: Provider,
    options: &Options,
) -> ort::Result<Session> {
    let mut builder = Session::builder(environment)?.with_optimization_level(GraphOptimizationLevel::All)?;
    if let Some(threads) = options.threads {
        builder = builder.with_intra_threads(threads)?;
    }
    if provider == Provider::Cuda {
        let cuda = ep::CUDA::default().with_tf32(false).build().error_on_failure();
        builder = builder.with_execution_providers([cuda])?;
    }
    builder.commit_from_memory(bytes)
}

fn failed(info: &ModelInfo, why: impl Into<String>) -> DeployError {
    DeployError::Runtime { origin: info.origin.clone(), backend: "ONNX Runtime", why: why.into() }
}

#[derive(Clone)]
struct Runtime {
    file: PathBuf,
    environment: Environment,
}

/// A process can load ONNX Runtime once, and its environment can be made once: so this is one of a process too.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// `Some(why)` where no library is there that could be used; an error where one was named and cannot be used.
pub(super) fn unavailable(options: &Options) -> Result<Option<String>, DeployError> {
    let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    match library::find_named(options.ort_library.as_deref()) {
        Some(_) => load(options).map(|_| None),
        None if loaded => Ok(None),
        None => Ok(load(options).err().map(|e| e.to_string())),
    }
}

/// A library with a CUDA provider is loaded, and the driver's device is there.
pub(super) fn cuda_is_there() -> bool {
    Path::new("/dev/nvidiactl").exists() && ep::CUDA::is_available().unwrap_or(false)
}

fn load(options: &Options) -> Result<Runtime, DeployError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let named = library::find_named(options.ort_library.as_deref());
    if let Some(runtime) = loaded.as_ref() {
        return match named {
            Some(path) if !same(&path, &runtime.file) => Err(DeployError::Library(format!(
                "{} was asked for, but {} is loaded already, and a process can load one only",
                path.display(),
                runtime.file.display()
            ))),
            _ => Ok(runtime.clone()),
        };
    }
    let library = match named.map_or_else(library::discover, Found::At) {
        Found::At(path) => path,
        Found::Nowhere(why) => return Err(DeployError::Library(why)),
    };
    let runtime = start(&library).map_err(DeployError::Library)?;
    Ok(loaded.insert(runtime).clone())
}

fn start(library: &Path) -> Result<Runtime, String> {
    // An absolute path: ort looks for a relative one beside the program.
    let library = library.canonicalize().map_err(|e| format!("{}: {e}", library.display()))?;
    if !library.is_file() {
        return Err(format!("{} is not a file; name libonnxruntime.so itself", library.display()));
    }
    let builder = ort::init_from(&library).map_err(|e| e.to_string())?;
    let environment = builder.with_name("yf").with_telemetry(false).build().map_err(|e| e.to_string())?;
    environment.set_log_level(LogLevel::Fatal);
    Ok(Runtime { file: library, environment })
}

fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| a == b)
}
