//! ONNX Runtime, from a library found when it is needed: on the CPU, on CUDA, on TensorRT, or through a provider that is
//! a library of its own.

mod device;
mod plugin;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{self, ExecutionProvider};
use ort::logging::LogLevel;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::TensorRef;

use super::batches::{self, Joined};
use super::library::{self, Found};
use super::{Backend, Options, Pixels, Transfers};
use crate::DeployError;
use crate::model::{Model, ModelInfo};
use device::{Device, Maker};
use plugin::Plugin;

/// What ONNX Runtime computes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// The first NVIDIA GPU.
    Cuda,
    /// The first NVIDIA GPU through TensorRT; what TensorRT lacks runs on CUDA.
    TensorRt,
}

impl Provider {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
            Self::TensorRt => "TensorRT",
        }
    }

    /// Why a library cannot serve this provider, before a session is tried.
    fn missing(self, library: &Path) -> Option<String> {
        let available = match self {
            Self::Cpu => return None,
            Self::Cuda => ep::CUDA::is_available(),
            Self::TensorRt => ep::TensorRT::is_available(),
        };
        let (name, file) = (self.name(), library.display());
        (!available.unwrap_or(false))
            .then(|| format!("{file} has no {name} provider: install onnxruntime-gpu instead of onnxruntime"))
    }
}

/// A network in ONNX Runtime.
pub struct OnnxRuntime {
    info: ModelInfo,
    runs: Runs,
    /// What it computes on, and with which libraries.
    on: String,
}

/// Where inputs and outputs are.
enum Runs {
    Host(Session, Joined),
    Device(Device),
}

impl OnnxRuntime {
    /// Loads a model.
    ///
    /// # Errors
    /// [`DeployError::Library`] where the library cannot be had or lacks the provider, [`DeployError::Runtime`]
    /// where it does not take the model or the provider does not start, or does not take every operator. A provider
    /// that was asked for is never replaced by another.
    pub fn new(model: Model, provider: Provider, options: &Options) -> Result<Self, DeployError> {
        let runtime = load(options)?;
        if let Some(why) = provider.missing(&runtime.file) {
            return Err(DeployError::Library(why));
        }
        let info = model.info.clone();
        let make = maker(runtime.environment, model, provider, options);
        let runs = match provider {
            Provider::Cpu => make().map(on_host).map_err(|e| e.message().to_owned()),
            Provider::Cuda | Provider::TensorRt => Device::cuda(make).map(Runs::Device),
        };
        let runs = runs.map_err(|e| failed(&info, explain(provider, &e)))?;
        let graph = if provider == Provider::Cuda && captured(&info) { ", CUDA graph" } else { "" };
        let on = format!("{}{graph} ({})", provider.name(), runtime.file.display());
        Ok(Self { info, runs, on })
    }

    /// Loads a model into the provider that a library of its own brings, on the best device that it finds: a GPU, an
    /// NPU, or the processor.
    ///
    /// # Errors
    /// [`DeployError::Library`] where ONNX Runtime or the plugin cannot be had, or the plugin finds no device;
    /// [`DeployError::Runtime`] where it does not take the model, or not every operator of it.
    pub fn plugged_in(model: Model, library: &Path, options: &Options) -> Result<Self, DeployError> {
        let (runtime, plugin) = load_plugin(library, options)?;
        let Model { info, bytes } = model;
        let session = builder(&runtime.environment, options.threads)
            .and_then(|builder| plugin.session(&runtime.environment, refuse_the_processor(builder)?, &bytes));
        let (session, device) = session.map_err(|e| failed(&info, explain_plugin(e.message())))?;
        let on = format!("{device} ({})", plugin.file.display());
        Ok(Self { info, runs: on_host(session), on })
    }
}

fn on_host(session: Session) -> Runs {
    Runs::Host(session, Joined::default())
}

/// Something that makes sessions of a model.
fn maker(environment: Environment, model: Model, provider: Provider, options: &Options) -> Maker {
    let asked = (options.threads, options.tune);
    Box::new(move || session(&environment, &model, provider, asked))
}

#[cfg(test)]
impl OnnxRuntime {
    /// On the processor, through the memory that a device would be given.
    pub(super) fn bound_on_cpu(model: Model, options: &Options) -> Result<Self, DeployError> {
        let environment = load(options)?.environment;
        let info = model.info.clone();
        let device = Device::cpu(maker(environment, model, Provider::Cpu, options));
        let runs = Runs::Device(device.map_err(|e| failed(&info, e))?);
        Ok(Self { info, runs, on: Provider::Cpu.name().to_owned() })
    }
}

impl Backend for OnnxRuntime {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn describe(&self) -> String {
        format!("ONNX Runtime, {}", self.on)
    }

    fn run(&mut self, pairs: &[[Pixels<'_>; 2]]) -> Result<Vec<f32>, DeployError> {
        let Self { info, runs, .. } = self;
        match runs {
            Runs::Host(session, joined) => {
                let all = |left| left;
                batches::run(info, pairs, all, |pairs, batch| {
                    let feeds = joined.feeds(info, pairs, batch);
                    run_session(session, info, &feeds, batch).map_err(|e| failed(info, e))
                })
            }
            Runs::Device(device) => {
                device.start();
                let size = |left: usize| left.min(device::MAX_SIZE);
                batches::run(info, pairs, size, |pairs, _| {
                    device.run(info, pairs).map_err(|e| failed(info, e.to_string()))
                })
            }
        }
    }

    fn best_batch(&self) -> usize {
        let any = if matches!(self.runs, Runs::Device(_)) { 16 } else { 1 };
        self.info.batch.unwrap_or(any)
    }

    fn transfers(&self) -> Option<Transfers> {
        match &self.runs {
            Runs::Host(..) => None,
            Runs::Device(device) => Some(device.transfers()),
        }
    }
}

/// Inputs and output in the host's memory.
fn run_session(
    session: &mut Session,
    info: &ModelInfo,
    pictures: &[Pixels<'_>],
    batch: usize,
) -> Result<Vec<f32>, String> {
    let mut feed = Vec::with_capacity(pictures.len());
    for (index, (name, pixels)) in info.input_names.iter().zip(pictures).enumerate() {
        let shape = info.input_shape(index, batch);
        let tensor = match *pixels {
            Pixels::Floats(data) => TensorRef::from_array_view((shape, data)).map(SessionInputValue::from),
            Pixels::Bytes(data) => TensorRef::from_array_view((shape, data)).map(SessionInputValue::from),
        };
        feed.push((name.as_str(), tensor.map_err(|e| e.to_string())?));
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
    Model { info, bytes }: &Model,
    provider: Provider,
    (threads, tune): (Option<usize>, bool),
) -> ort::Result<Session> {
    let mut builder = builder(environment, threads)?;
    if provider != Provider::Cpu {
        builder = refuse_the_processor(builder)?;
    }
    // Where TF32 is forbidden, ONNX Runtime keeps half precision off the tensor cores as well.
    let cuda = || {
        let cuda = ep::CUDA::default().with_tf32(is_half(info)).with_prefer_nhwc(true);
        // Trying every kernel, and compiling those that add a convolution's bias, takes cuDNN many times as long.
        if tune {
            cuda.with_conv_algorithm_search(ConvAlgorithmSearch::Exhaustive).with_fuse_conv_bias(true)
        } else {
            cuda.with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
        }
    };
    builder = match provider {
        Provider::Cpu => builder,
        Provider::Cuda => {
            let cuda = cuda().with_cuda_graph(captured(info)).build().error_on_failure();
            builder.with_execution_providers([cuda])?
        }
        Provider::TensorRt => builder.with_execution_providers([
            tensorrt(info).build().error_on_failure(),
            cuda().build().error_on_failure(),
        ])?,
    };
    builder.commit_from_memory(bytes)
}

fn builder(environment: &Environment, threads: Option<usize>) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?.with_optimization_level(GraphOptimizationLevel::All)?;
    match threads {
        Some(threads) => Ok(builder.with_intra_threads(threads)?),
        None => Ok(builder),
    }
}

/// Without this a node that the provider does not take would run on the processor, and nobody would hear of it.
fn refuse_the_processor(builder: SessionBuilder) -> ort::Result<SessionBuilder> {
    Ok(builder.with_disable_cpu_fallback()?)
}

/// Whether a model of ours computes in half precision.
fn is_half(info: &ModelInfo) -> bool {
    info.metadata.get("yf.precision").is_some_and(|precision| precision == "fp16")
}

/// Engines are kept between starts: building one takes minutes.
fn tensorrt(info: &ModelInfo) -> ep::TensorRT {
    let tensorrt = ep::TensorRT::default().with_fp16(is_half(info));
    match library::cache().map(|cache| cache.join("yf/tensorrt")) {
        Some(folder) if std::fs::create_dir_all(&folder).is_ok() => {
            let folder = folder.display();
            tensorrt
                .with_engine_cache(true)
                .with_engine_cache_path(&folder)
                .with_timing_cache(true)
                .with_timing_cache_path(&folder)
        }
        _ => tensorrt,
    }
}

/// Whether the launches of all kernels are recorded once and replayed as one. Suppression inside the network waits for
/// the GPU in its middle, which cannot be recorded.
fn captured(info: &ModelInfo) -> bool {
    info.suppressed.is_none()
}

/// What ONNX Runtime says, and what to do about it where that is known.
fn explain(provider: Provider, why: &str) -> String {
    let hint = match provider {
        Provider::Cpu => "",
        _ if why.contains("libnvinfer") => {
            "\nTensorRT's libnvinfer was not found: install TensorRT in the major version that this ONNX Runtime \
             was built for, put it on LD_LIBRARY_PATH, or take --backend ort:cuda"
        }
        _ if why.contains("lib") && why.contains("cannot open shared object file") => {
            "\na CUDA or cuDNN library was not found: install those that this ONNX Runtime was built for, and put \
             their folders on LD_LIBRARY_PATH"
        }
        _ if left_to_the_processor(why) => {
            "\nthe GPU's provider does not take every operator of this model, and yf does not run a part of it on \
             the CPU unasked: take --backend ort for the CPU"
        }
        _ => "",
    };
    format!("{why}{hint}")
}

/// What ONNX Runtime says of a plugin's session, and what to do about it where that is known.
fn explain_plugin(why: &str) -> String {
    if !left_to_the_processor(why) {
        return why.to_owned();
    }
    format!(
        "{why}\nthe plugin's provider does not take every operator of this model, and yf does not run a part of it \
         elsewhere unasked: take --backend ort for the CPU"
    )
}

fn left_to_the_processor(why: &str) -> bool {
    why.contains("CPU EP") || why.contains("CPUExecutionProvider")
}

fn failed(info: &ModelInfo, why: impl Into<String>) -> DeployError {
    DeployError::Runtime { origin: info.origin.clone(), backend: "ONNX Runtime", why: why.into() }
}

#[derive(Clone)]
struct Runtime {
    file: PathBuf,
    environment: Environment,
    plugins: Vec<Plugin>,
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
    load_once(&mut loaded, options).map(|runtime| runtime.clone())
}

/// ONNX Runtime with a plugin's library registered in it.
fn load_plugin(library: &Path, options: &Options) -> Result<(Runtime, Plugin), DeployError> {
    let file = plugin::resolved(library).map_err(DeployError::Library)?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = load_once(&mut loaded, options)?;
    let known = runtime.plugins.iter().find(|plugin| plugin.file == file).cloned();
    let plugin = match known {
        Some(plugin) => plugin,
        None => {
            let number = runtime.plugins.len();
            let plugin =
                Plugin::register(&runtime.environment, file, number).map_err(DeployError::Library)?;
            runtime.plugins.push(plugin.clone());
            plugin
        }
    };
    plugin.check().map_err(DeployError::Library)?;
    Ok((runtime.clone(), plugin))
}

fn load_once<'a>(loaded: &'a mut Option<Runtime>, options: &Options) -> Result<&'a mut Runtime, DeployError> {
    let named = library::find_named(options.ort_library.as_deref());
    if let (Some(runtime), Some(path)) = (loaded.as_ref(), &named)
        && !same(path, &runtime.file)
    {
        return Err(DeployError::Library(format!(
            "{} was asked for, but {} is loaded already, and a process can load one only",
            path.display(),
            runtime.file.display()
        )));
    }
    let runtime = match loaded.take() {
        Some(runtime) => runtime,
        None => match named.map_or_else(library::discover, Found::At) {
            Found::At(path) => start(&path).map_err(DeployError::Library)?,
            Found::Nowhere(why) => return Err(DeployError::Library(why)),
        },
    };
    Ok(loaded.insert(runtime))
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
    Ok(Runtime { file: library, environment, plugins: Vec::new() })
}

fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| a == b)
}
