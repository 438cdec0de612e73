//! A model becomes an engine.

use std::path::{Path, PathBuf};

use yf_tensorrt::builder::{self, Profile, Request};
use yf_tensorrt::{Capability, Flavour, TensorRtError};

use super::manifest::target;
use super::store::{Store, sha256};
use super::{Batches, Host, Manifest};
use crate::DeployError;
use crate::model::Model;

/// How an engine is to be built.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Pictures a run. A network with a fixed batch has its own; one with any batch gets these, by default 1 to 32.
    pub batch: Option<Batches>,
    /// GPUs that it is for, TensorRT-RTX only; none for Ampere and later. Full TensorRT builds for the GPU here.
    pub targets: Vec<Capability>,
    /// Name of the model's file, where it is one beside which the engine will lie.
    pub onnx_file: Option<String>,
}

/// An engine and what is known of it.
#[derive(Debug)]
pub struct Built {
    /// The engine's bytes.
    pub engine: Vec<u8>,
    /// What it was built from, with and for.
    pub manifest: Manifest,
}

impl Built {
    /// Writes the engine, and its manifest beside it.
    ///
    /// # Errors
    /// [`DeployError::Write`] where the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), DeployError> {
        self.manifest.write(&self.engine, path)
    }
}

/// Builds an engine with the TensorRT of this machine. `progress` hears the builder's phase, its steps done and all its
/// steps. Full TensorRT's timings of kernels are kept in the user's cache folder.
///
/// # Errors
/// [`DeployError::TensorRt`] where there is none that will do, [`DeployError::Engine`] where the batches do not fit the
/// network, or TensorRT does not take it: with the node and what to do.
pub fn build(
    model: &Model,
    plan: &Plan,
    progress: &mut dyn FnMut(&str, u32, u32),
) -> Result<Built, DeployError> {
    build_on(&Host::to_build(&plan.targets)?, model, plan, progress)
}

pub(crate) fn build_on(
    host: &Host,
    model: &Model,
    plan: &Plan,
    progress: &mut dyn FnMut(&str, u32, u32),
) -> Result<Built, DeployError> {
    let refuse = |why: String| DeployError::Engine { path: PathBuf::from(&model.info.origin), why };
    let batch = batches(model, plan).map_err(refuse)?;
    if model.info.suppressed.is_some() && host.library.flavour() == Flavour::Rtx {
        let why =
            "has suppression inside (--nms), for which TensorRT-RTX has no kernel: export it without --nms";
        return Err(refuse(why.to_owned()));
    }
    if let Some(why) =
        host.gpu.as_ref().filter(|_| plan.targets.is_empty()).and_then(|gpu| host.unserved(gpu))
    {
        tracing::warn!("{why}: the engine is for other machines");
    }
    let (store, timings) = (Store::of_user(), timings_name(host));
    let kept = timings.as_ref().map(|name| store.read(name)).unwrap_or_default();
    let request = Request {
        onnx: &model.bytes,
        profiles: profiles(model, batch),
        targets: plan.targets.clone(),
        timings: &kept,
    };
    let library = &host.library;
    let built =
        builder::build(library, host.gpu.as_deref(), &request, progress).map_err(|error| match error {
            TensorRtError::Parse(_) | TensorRtError::Build(_) => refuse(format!("{library}: {error}")),
            other => other.into(),
        })?;
    if let Some(name) = timings.filter(|_| !built.timings.is_empty() && built.timings != kept) {
        store.keep(&name, &built.timings);
    }
    let mut info = model.info.clone();
    info.batch = (batch.min == batch.max).then_some(batch.max);
    let for_gpu = host.gpu.as_ref().filter(|_| library.flavour() == Flavour::TensorRt);
    let manifest = Manifest {
        format: 1,
        engine_sha256: sha256(&built.engine),
        onnx_sha256: sha256(&model.bytes),
        onnx_file: plan.onnx_file.clone(),
        library: library.flavour().to_string(),
        version: library.version().to_string(),
        gpu: for_gpu.map(|gpu| gpu.name().to_owned()),
        targets: plan.targets.iter().copied().map(target).collect(),
        precision: info.metadata.get("yf.precision").cloned(),
        batch,
        model: info,
    };
    Ok(Built { engine: built.engine, manifest })
}

/// The batches of the engine, or why they do not fit the network.
fn batches(model: &Model, plan: &Plan) -> Result<Batches, String> {
    match (model.info.batch, plan.batch) {
        (_, Some(batch)) if !batch.rise() => {
            Err("batches are three numbers that rise, from 1 to 4096: the least, the best, the greatest"
                .to_owned())
        }
        (Some(own), Some(batch)) if batch != Batches::fixed(own) => {
            let pairs = if own == 1 { "one pair".to_owned() } else { format!("{own} pairs") };
            Err(format!("takes exactly {pairs} a run; for any batch export it with --dynamic"))
        }
        (Some(own), _) => Ok(Batches::fixed(own)),
        (None, batch) => Ok(batch.unwrap_or_default()),
    }
}

/// The sizes of all inputs, where the batch is not the network's own.
fn profiles(model: &Model, batch: Batches) -> Vec<Profile> {
    let info = &model.info;
    if info.batch.is_some() {
        return Vec::new();
    }
    let sizes = |index, batch| info.input_shape(index, batch).map(|size| size as i64).to_vec();
    let profile = |(index, name): (usize, &String)| Profile {
        input: name.clone(),
        min: sizes(index, batch.min),
        opt: sizes(index, batch.opt),
        max: sizes(index, batch.max),
    };
    info.input_names.iter().enumerate().map(profile).collect()
}

/// Timings are of one library on one kind of GPU; TensorRT-RTX has none.
fn timings_name(host: &Host) -> Option<String> {
    let gpu = host.gpu.as_ref().filter(|_| host.library.flavour() == Flavour::TensorRt)?;
    let kind = sha256(gpu.name().as_bytes());
    Some(format!("{}-{}.timings", host.library.version(), &kind[..16]))
}
