//! TensorRT and TensorRT-RTX: an engine that was built before, or one that is built from the model and kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use yf_tensorrt::{Element, Engine, Flavour, Gpu, Port, Ports, Runner, TensorRtError};

use super::{Backend, Pixels, Transfers, batches};
use crate::DeployError;
use crate::engine::{Batches, Built, Host, Manifest, Plan, Store, build_on, sha256, targets_for};
use crate::model::{Model, ModelInfo, Values};

/// A network in TensorRT.
pub struct TensorRt {
    info: ModelInfo,
    batch: Batches,
    runner: Runner,
    kernels: Kernels,
    spent: Transfers,
}

/// The kernels that TensorRT-RTX finished for this GPU, kept between starts.
struct Kernels {
    store: Store,
    name: String,
    /// Bytes that were kept already.
    kept: usize,
}

impl TensorRt {
    /// Loads an engine. One that is damaged, or was built with another library or for another GPU, is built again where
    /// the ONNX file that it was built from lies beside it.
    ///
    /// # Errors
    /// [`DeployError::Engine`] where the engine does not fit and cannot be built again, or its ONNX file has changed;
    /// [`DeployError::TensorRt`] where there is no library or no GPU for it.
    pub fn open(path: &Path) -> Result<Self, DeployError> {
        let manifest = Manifest::read(path)?;
        manifest.same_network(path)?;
        let host = Host::to_run(&manifest)?;
        let refused = match Self::as_it_is(path, &manifest, &host) {
            Err(why @ DeployError::Engine { .. }) => why,
            result => return result,
        };
        let Some(source) = manifest.source(path) else { return Err(refused) };
        let model = source.load()?;
        tracing::info!("{refused}: it is built again from {}", model.info.origin);
        let gpu = host.gpu()?;
        let built = rebuilt(&manifest, &model, &gpu)?;
        if let Err(why) = built.write(path) {
            tracing::warn!("the engine that was built again is used, but not kept: {why}");
        }
        let host = Host::to_run(&built.manifest)?;
        Self::start(&host, &built.manifest, &built.engine, path.display().to_string())
    }

    /// Builds an engine of a model, or takes the one that was built on an earlier start.
    ///
    /// # Errors
    /// As [`build`](crate::engine::build()); [`DeployError::TensorRt`] where there is no GPU for it.
    pub fn of_model(model: &Model) -> Result<Self, DeployError> {
        let host = Host::to_build(&[])?;
        let gpu = host.gpu()?;
        let path = Store::of_user().path(&kept_name(&host, &gpu, model));
        if let Some(path) = path.as_deref().filter(|path| path.exists()) {
            let kept = Manifest::read(path).and_then(|manifest| Self::as_it_is(path, &manifest, &host));
            match kept {
                Ok(mut backend) => {
                    backend.info.origin.clone_from(&model.info.origin);
                    return Ok(backend);
                }
                Err(why) => tracing::debug!("the engine of an earlier start is not taken: {why}"),
            }
        }
        let minutes = if host.library.flavour() == Flavour::Rtx { "" } else { ", which may take minutes" };
        tracing::info!("{} builds an engine of {}{minutes}", host.library, model.info.origin);
        let plan = Plan { targets: targets_for(&gpu, host.library.flavour()), ..Plan::default() };
        let built = build_on(&host, model, &plan, &mut |_, _, _| {})?;
        if let Some(path) = path
            && let Err(why) = built.write(&path)
        {
            tracing::debug!("the engine is not kept for the next start: {why}");
        }
        Self::start(&host, &built.manifest, &built.engine, model.info.origin.clone())
    }

    /// An engine that fits what is here.
    fn as_it_is(path: &Path, manifest: &Manifest, host: &Host) -> Result<Self, DeployError> {
        let refuse = |why| DeployError::Engine { path: path.to_owned(), why };
        let bytes = manifest.engine(path)?;
        let (name, version) = (host.library.flavour().to_string(), host.library.version().to_string());
        manifest.fits_library(&name, &version).map_err(refuse)?;
        let gpu = host.gpu()?;
        manifest.fits_gpu(gpu.name(), gpu.capability()).map_err(refuse)?;
        Self::start(host, manifest, &bytes, path.display().to_string())
    }

    /// Puts an engine on the GPU.
    fn start(host: &Host, manifest: &Manifest, engine: &[u8], origin: String) -> Result<Self, DeployError> {
        let refuse = |error| match error {
            TensorRtError::Engine(why) => {
                let why = format!("{} does not take it: {why}", host.library);
                DeployError::Engine { path: PathBuf::from(&origin), why }
            }
            other => DeployError::TensorRt(other),
        };
        let gpu = host.gpu()?;
        let kernels = Kernels::of(manifest, &gpu);
        let cache = kernels.store.read(&kernels.name);
        let loaded = Engine::load(Arc::clone(&host.library), gpu, engine).map_err(refuse)?;
        let runner = Runner::new(loaded, &ports(manifest), &cache).map_err(refuse)?;
        let info = ModelInfo { origin, ..manifest.model.clone() };
        let kernels = Kernels { kept: cache.len(), ..kernels };
        Ok(Self { info, batch: manifest.batch, runner, kernels, spent: Transfers::default() })
    }
}

impl Backend for TensorRt {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn describe(&self) -> String {
        let engine = self.runner.engine();
        let how = if self.runner.records() { ", CUDA graph" } else { "" };
        format!("{}, {}{how} ({})", engine.library(), engine.gpu().name(), engine.library().path().display())
    }

    fn run(&mut self, pairs: &[[Pixels<'_>; 2]]) -> Result<Vec<f32>, DeployError> {
        let Self { info, runner, spent, .. } = self;
        *spent = Transfers::default();
        let most = self.batch.max;
        batches::run(
            info,
            pairs,
            |left| size_for(left, most),
            |pairs, batch| {
                let pictures: Vec<[&[u8]; 2]> =
                    pairs.iter().map(|pair| pair.each_ref().map(Pixels::bytes)).collect();
                let (output, ms) = runner.run(&pictures, batch).map_err(|error| failed(info, &error))?;
                spent.upload += ms.upload;
                spent.compute += ms.compute;
                spent.download += ms.download;
                Ok(output)
            },
        )
    }

    fn best_batch(&self) -> usize {
        self.info.batch.unwrap_or(self.batch.opt)
    }

    fn transfers(&self) -> Option<Transfers> {
        Some(self.spent)
    }
}

impl Drop for TensorRt {
    fn drop(&mut self) {
        let finished = self.runner.cache();
        if !finished.is_empty() && finished.len() != self.kernels.kept {
            self.kernels.store.keep(&self.kernels.name, &finished);
        }
    }
}

impl Kernels {
    fn of(manifest: &Manifest, gpu: &Gpu) -> Self {
        let gpu = sha256(gpu.name().as_bytes());
        // A hash of a manifest may be anything; a file's name may not.
        let engine = sha256(manifest.engine_sha256.as_bytes());
        let name = format!("{}-{}.kernels", &engine[..16], &gpu[..16]);
        Self { store: Store::of_user(), name, kept: 0 }
    }
}

/// Pictures to run at once of those that are left: few sizes, so that few are set up and recorded.
fn size_for(left: usize, most: usize) -> usize {
    (1 << left.max(1).ilog2()).min(most)
}

/// The engine's inputs and output, without the batch.
fn ports(manifest: &Manifest) -> Ports {
    let info = &manifest.model;
    let element = match info.values {
        Values::Floats => Element::Float32,
        Values::Bytes => Element::UInt8,
    };
    let input = |(index, name): (usize, &String)| Port {
        name: name.clone(),
        element,
        shape: info.input_shape(index, 1)[1..].to_vec(),
    };
    Ports {
        inputs: info.input_names.iter().enumerate().map(input).collect(),
        output: Port {
            name: info.output_name.clone(),
            element: Element::Float32,
            shape: info.output_shape(1)[1..].to_vec(),
        },
        batches: (manifest.batch.min, manifest.batch.max),
        // Suppression inside waits for the GPU in its middle.
        record: info.suppressed.is_none(),
    }
}

/// The same engine for the library and the GPU that are here.
fn rebuilt(manifest: &Manifest, model: &Model, gpu: &Gpu) -> Result<Built, DeployError> {
    let host = Host::to_build(&[])?;
    let onnx = Path::new(&model.info.origin).file_name();
    let plan = Plan {
        batch: model.info.batch.is_none().then_some(manifest.batch),
        onnx_file: onnx.map(|name| name.to_string_lossy().into_owned()),
        targets: targets_for(gpu, host.library.flavour()),
    };
    build_on(&host, model, &plan, &mut |_, _, _| {})
}

/// Where an engine of a model is kept: one for each library and GPU.
fn kept_name(host: &Host, gpu: &Gpu, model: &Model) -> String {
    let what = format!("{} {} {}", host.library, gpu.name(), sha256(&model.bytes));
    format!("{}.engine", &sha256(what.as_bytes())[..32])
}

fn failed(info: &ModelInfo, error: &TensorRtError) -> DeployError {
    DeployError::Runtime { origin: info.origin.clone(), backend: "TensorRT", why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_sizes_of_batches_are_run() {
        assert_eq!([1, 2, 3, 7, 8, 31, 32, 100].map(|left| size_for(left, 12)), [1, 2, 2, 4, 8, 12, 12, 12]);
    }
}
