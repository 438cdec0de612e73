//! `yf export --triton`: a network, and an engine that lies beside it, go into a Triton model repository.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use yf_deploy::engine::Manifest;
use yf_deploy::model::{Model, ModelInfo, Values};
use yf_export::triton::{self, Element, Program, Serving, Signature, Tensor};

use super::choices::at_least_one;
use super::export::whose;
use crate::failure::{Failure, OrArguments};
use crate::output;

/// What an engine's name has behind that of its network.
const ENGINE: &str = "_trt";
/// The library whose engines the server runs.
const TENSORRT: &str = "TensorRT";

/// The repository, and how the server is to run the network.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Triton Inference Server")]
pub struct TritonArgs {
    /// Add the network to a model repository of NVIDIA's Triton, for any batch; and its engine (.engine), where --engine
    /// builds one or one lies beside
    #[arg(long = "triton", value_name = "DIR")]
    repository: Option<PathBuf>,
    /// The network's name there; an engine's has _trt behind it
    #[arg(long, value_name = "NAME", default_value = "yf", requires = "repository")]
    name: String,
    /// Pairs that the server runs at once at most
    #[arg(long, value_name = "N", default_value_t = Serving::default().max_batch, value_parser = at_least_one,
          requires = "repository")]
    max_batch: usize,
    /// Microseconds that a request waits for others to share its batch
    #[arg(long, value_name = "MICROSECONDS", default_value_t = Serving::default().queue_delay, requires = "repository")]
    queue_delay: u64,
    /// Copies of the network on each GPU
    #[arg(long, value_name = "N", default_value_t = Serving::default().instances, value_parser = at_least_one,
          requires = "repository")]
    instances: usize,
}

impl TritonArgs {
    /// Whether a repository was asked for.
    pub fn wanted(&self) -> bool {
        self.repository.is_some()
    }

    /// Adds a network, and its engine where there is one that the server runs; says the versions' folders.
    pub fn add(&self, model: &Model, engine: &Path) -> Result<(), Failure> {
        let Some(repository) = &self.repository else { return Ok(()) };
        let signature = signature(&model.info).or_arguments()?;
        let put = |name: &str, program, max_batch| -> Result<(), Failure> {
            let serving = Serving { max_batch, queue_delay: self.queue_delay, instances: self.instances };
            let version = triton::add(repository, name, &signature, program, &serving).map_err(whose)?;
            output::line(version.display().to_string())
        };
        put(&self.name, Program::Onnx(&model.bytes), self.max_batch)?;
        if !engine.is_file() {
            return Ok(());
        }
        match served(engine, model) {
            Ok((manifest, bytes)) => {
                let max_batch = self.max_batch.min(manifest.batch.max);
                put(&format!("{}{ENGINE}", self.name), Program::Engine(&bytes), max_batch)
            }
            Err(why) => {
                tracing::warn!("{} is left out: {why}", engine.display());
                Ok(())
            }
        }
    }
}

/// The network's tensors as a server must know them.
fn signature(info: &ModelInfo) -> Result<Signature> {
    if let Some(batch) = info.batch {
        let each = if batch == 1 { "one pair".to_owned() } else { format!("{batch} pairs") };
        bail!(
            "{} takes exactly {each} a run, and a server gathers as many as wait: export it with --dynamic",
            info.origin
        );
    }
    let element = match info.values {
        Values::Floats => Element::Float32,
        Values::Bytes => Element::Uint8,
    };
    let tensor = |name: &str, element, shape: &[usize]| {
        // Without the batch.
        Tensor { name: name.to_owned(), element, dims: shape[1..].to_vec() }
    };
    let picture = |(index, name): (usize, &String)| tensor(name, element, &info.input_shape(index, 1));
    Ok(Signature {
        inputs: info.input_names.iter().enumerate().map(picture).collect(),
        output: tensor(&info.output_name, Element::Float32, &info.output_shape(1)),
        classes: info.names.clone(),
    })
}

/// An engine that the server runs as this network, and what is known of it; else why not.
fn served(engine: &Path, model: &Model) -> Result<(Manifest, Vec<u8>)> {
    let manifest = Manifest::read(engine)?;
    if manifest.library != TENSORRT {
        bail!("it was built with {}, and Triton runs the engines of full TensorRT", manifest.library);
    }
    if !manifest.is_of(&model.bytes) {
        bail!(
            "it was built from another ONNX file; build it of this one, for any batch (--engine --dynamic)"
        );
    }
    if manifest.batch.min != 1 {
        bail!("it takes {} pairs a run, and requests come one by one", manifest.batch);
    }
    let bytes = manifest.engine(engine)?;
    Ok((manifest, bytes))
}
