//! What training and its benchmark share: the data set, the network, and where to compute.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use yf_import::Limits;
use yf_models::{Camera, Config, Header, Weights};
use yf_plan::{Cache, Device, Modality};

use super::choices::{CACHE, MODALITY, choice, device, workers};

/// The network that is trained when none is named.
pub const MODEL: &str = "duo-n";

/// Data, network and device as flags.
#[derive(Debug, Clone, Args)]
pub struct SetupArgs {
    /// The data set's YAML [default: $YF_DATA, else ./data.yaml]
    #[arg(long, value_name = "YAML")]
    pub data: Option<PathBuf>,
    /// A network by name (duo-n, mid-s, ...) or a configuration's YAML [default: duo-n, or what --weights holds]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Start from these weights, of yf (.safetensors) or of another program (.pt, .safetensors), of any network: what
    /// fits is taken over, and a table says what
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Side of the square pictures, a multiple of the network's largest stride (32)
    #[arg(long, value_name = "PIXELS", default_value_t = 640)]
    pub imgsz: usize,
    /// Where to compute: cpu, cuda, cuda:1, 0 [default: a GPU where there is one]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    pub device: Option<Device>,
    /// Threads that decode; 0 for one a core
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = workers)]
    pub workers: usize,
    /// Keep decoded pairs between epochs: in memory (auto: where less than half of what is free suffices), in ~/.cache/yf/pairs for
    /// later runs too, or on the GPU
    #[arg(long, value_name = "WHERE", default_value = "auto", value_parser = choice::<Cache>(CACHE))]
    pub cache: Cache,
    /// See one camera only; the other one's picture is grey [both: rgb for a network for one camera]
    #[arg(long, value_name = "CAMERA", default_value = "both", value_parser = choice::<Modality>(MODALITY))]
    pub modality: Modality,
    /// Leave broken pairs out, and list them, instead of refusing to start
    #[arg(long)]
    pub skip_bad: bool,
}

impl SetupArgs {
    /// The weights to start from, whatever program wrote them, and their absolute path.
    pub fn start(&self) -> Result<Option<(PathBuf, Weights)>> {
        let Some(path) = &self.weights else { return Ok(None) };
        let path = existing(path)?;
        let weights = yf_import::weights(&path, &Limits::default())?;
        Ok(Some((path, weights)))
    }

    /// The network to train: as named, else that of the starting weights, else the default. Files are absolute.
    pub fn model(&self, start: Option<&(PathBuf, Weights)>) -> Result<String> {
        let file = match (&self.model, start) {
            (Some(name), _) if !is_model_file(name) => return Ok(name.clone()),
            (Some(name), _) => PathBuf::from(name),
            (None, Some((_, weights))) if ships(&weights.header)? => return Ok(weights.header.model.clone()),
            (None, Some((path, _))) => path.clone(),
            (None, None) => return Ok(MODEL.to_owned()),
        };
        let path = absolute(&file)?;
        path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
    }
}

/// Whether a weights file is of a network that ships with yf under the name it gives.
fn ships(header: &Header) -> Result<bool> {
    let own = header.network()?;
    let name = header.model.rsplit_once('-').map_or(header.model.as_str(), |(name, _)| name);
    let same = |config: Config| {
        let scale = config.scale(own.scale());
        config.layers == own.config().layers && scale == own.config().scale(own.scale())
    };
    Ok(Config::built_in(name).is_some_and(same))
}

/// What a network is shown: a one-stream network the camera that was asked for, else the one it was trained on, else
/// RGB.
pub fn seen(asked: Modality, two_streams: bool, trained_on: Option<Camera>) -> Modality {
    match (asked, trained_on) {
        (Modality::Both, Some(Camera::Ir)) if !two_streams => Modality::Ir,
        (Modality::Both, _) if !two_streams => Modality::Rgb,
        (asked, _) => asked,
    }
}

fn is_model_file(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "safetensors")
}

/// The data set's YAML: as given, else `YF_DATA`, else `data.yaml` here. Absolute, and there.
pub fn data_yaml(given: Option<&Path>) -> Result<PathBuf> {
    let from_variable = || env::var_os("YF_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
    let (path, origin) = match (given, from_variable()) {
        (Some(path), _) => (path.to_owned(), ""),
        (None, Some(path)) => (path, " (YF_DATA)"),
        (None, None) => {
            (PathBuf::from("data.yaml"), " (no --data and no YF_DATA is given, so data.yaml is taken)")
        }
    };
    if !path.is_file() {
        if path.is_dir() {
            bail!("{}{origin} is a folder: name its data.yaml", path.display());
        }
        bail!("{}: no such file{origin}; `yf data synth OUT` makes a data set to try", path.display());
    }
    if given.is_none() {
        tracing::info!("data set: {}", path.display());
    }
    absolute(&path)
}

/// The path from the root, without following links.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}

/// A file that has to be there, made absolute.
pub fn existing(path: &Path) -> Result<PathBuf> {
    if !path.is_file() {
        let why = if path.is_dir() { "is a folder, not a file" } else { "no such file" };
        bail!("{}: {why}", path.display());
    }
    absolute(path)
}
