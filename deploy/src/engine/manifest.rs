//! What is known of an engine: the file `best.engine.json` beside `best.engine`.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use yf_tensorrt::{Capability, Flavour, Gpu};

use super::store::{self, sha256};
use crate::DeployError;
use crate::model::{ModelInfo, ModelSource};

/// The only form of this file so far.
const FORMAT: u32 = 1;

/// What an engine was built from, with and for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file.
    pub format: u32,
    /// Hash (SHA-256) of the engine's bytes.
    pub engine_sha256: String,
    /// Hash (SHA-256) of the ONNX file's bytes.
    pub onnx_sha256: String,
    /// The ONNX file's name, where it was one; weights become ONNX in memory.
    pub onnx_file: Option<String>,
    /// TensorRT or TensorRT-RTX.
    pub library: String,
    /// Its version, 10.16.0.
    pub version: String,
    /// The only GPU that it is for, by its name: full TensorRT measures on it.
    pub gpu: Option<String>,
    /// Architectures that it is for, sm_86; empty for those that TensorRT-RTX builds for unasked, Ampere and later.
    pub targets: Vec<String>,
    /// fp16 or fp32, where the ONNX file says it.
    pub precision: Option<String>,
    /// Pictures a run.
    pub batch: Batches,
    /// What the network takes and gives.
    pub model: ModelInfo,
}

/// Pictures that an engine takes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batches {
    /// At least; smaller batches are filled up.
    pub min: usize,
    /// What it is best at.
    pub opt: usize,
    /// At most; larger batches are run in parts.
    pub max: usize,
}

/// More pictures a run are a mistake.
const MAX_BATCH: usize = 4096;

impl Batches {
    /// One number only.
    pub fn fixed(batch: usize) -> Self {
        Self { min: batch, opt: batch, max: batch }
    }

    /// Whether the numbers rise, from 1 to 4096.
    pub fn rise(self) -> bool {
        1 <= self.min && self.min <= self.opt && self.opt <= self.max && self.max <= MAX_BATCH
    }
}

impl Default for Batches {
    /// From one pair to a folder's worth.
    fn default() -> Self {
        Self { min: 1, opt: 8, max: 32 }
    }
}

impl fmt::Display for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            return write!(f, "{}", self.min);
        }
        write!(f, "{} to {}, best at {}", self.min, self.max, self.opt)
    }
}

impl Manifest {
    /// Which GPUs it is for, for people to read.
    pub fn gpus(&self) -> String {
        match (&self.gpu, self.targets.as_slice()) {
            (Some(gpu), _) => gpu.clone(),
            (None, []) => "Ampere and later".to_owned(),
            (None, targets) => targets.join(", "),
        }
    }

    /// Where the manifest of an engine lies.
    pub fn path(engine: &Path) -> PathBuf {
        let mut name = OsString::from(engine);
        name.push(".json");
        name.into()
    }

    /// Reads the manifest of an engine.
    ///
    /// # Errors
    /// [`DeployError::Engine`] where there is none, or it is damaged.
    pub fn read(engine: &Path) -> Result<Self, DeployError> {
        let path = Self::path(engine);
        let refuse = |why: String| DeployError::Engine { path: path.clone(), why };
        let text = fs::read_to_string(&path).map_err(|error| {
            refuse(format!(
                "{error}; it says what the engine beside it is, and belongs to it: build the engine with `yf export --engine`"
            ))
        })?;
        let mut manifest: Self =
            serde_json::from_str(&text).map_err(|error| refuse(format!("is damaged: {error}")))?;
        if manifest.format != FORMAT {
            return Err(refuse(format!("has the format {}, and this yf reads {FORMAT}", manifest.format)));
        }
        if !manifest.batch.rise() {
            return Err(refuse("is damaged: its batches do not rise from 1 on".to_owned()));
        }
        manifest.model.check().map_err(|why| refuse(format!("is damaged: {why}")))?;
        manifest.model.origin = engine.display().to_string();
        Ok(manifest)
    }

    /// Reads an engine, and that it is the one of this manifest.
    ///
    /// # Errors
    /// [`DeployError::Read`] where it cannot be read, [`DeployError::Engine`] where it is another, or damaged.
    pub fn engine(&self, path: &Path) -> Result<Vec<u8>, DeployError> {
        let bytes = fs::read(path).map_err(|source| DeployError::Read { path: path.to_owned(), source })?;
        if sha256(&bytes) != self.engine_sha256 {
            let why = "is cut off, or not the engine that its manifest (.engine.json) describes: build it again with `yf \
                       export --engine`";
            return Err(DeployError::Engine { path: path.to_owned(), why: why.to_owned() });
        }
        Ok(bytes)
    }

    /// Writes an engine and its manifest, each the old one or the new one, whole.
    pub(super) fn write(&self, engine: &[u8], path: &Path) -> Result<(), DeployError> {
        store::write(path, engine)?;
        let text = serde_json::to_vec_pretty(self).map_err(|error| DeployError::Engine {
            path: path.to_owned(),
            why: format!("its manifest cannot be written: {error}"),
        })?;
        store::write(&Self::path(path), &text)
    }

    /// Whether the library of this name and version is what the engine was built with.
    ///
    /// # Errors
    /// The sentence that says what differs, and what to do.
    pub fn fits_library(&self, name: &str, version: &str) -> Result<(), String> {
        if (self.library.as_str(), self.version.as_str()) == (name, version) {
            return Ok(());
        }
        Err(format!(
            "was built with {} {}, and here is {name} {version}: build it again here (yf export --engine), or name the folder \
             of the other library with YF_TENSORRT_DIR",
            self.library, self.version
        ))
    }

    /// Whether the engine is for a GPU of this name and architecture.
    ///
    /// # Errors
    /// The sentence that says what differs, and what to do.
    pub fn fits_gpu(&self, name: &str, capability: Capability) -> Result<(), String> {
        if let Some(other) = self.gpu.as_ref().filter(|gpu| *gpu != name) {
            return Err(format!(
                "was built on {other}, and here is {name}: build it again here (yf export --engine)"
            ));
        }
        let here = target(capability);
        if self.targets.is_empty() && (self.gpu.is_some() || capability >= LEAST) {
            return Ok(());
        }
        if self.targets.is_empty() {
            return Err(format!(
                "was built for Ampere and later, and {name} is {here}: build it with --target {here}"
            ));
        }
        if self.targets.contains(&here) {
            return Ok(());
        }
        let targets = self.targets.join(", ");
        Err(format!(
            "was built for {targets}, and {name} is {here}: build it with --target {},{here}",
            self.targets.join(",")
        ))
    }

    /// Whether the engine was built from an ONNX file of these bytes.
    pub fn is_of(&self, onnx: &[u8]) -> bool {
        sha256(onnx) == self.onnx_sha256
    }

    /// Refuses an engine whose ONNX file has become another since.
    ///
    /// # Errors
    /// [`DeployError::Engine`] with what to do.
    pub fn same_network(&self, engine: &Path) -> Result<(), DeployError> {
        let Some(onnx) = self.onnx_file.as_ref().map(|name| engine.with_file_name(name)) else {
            return Ok(());
        };
        match fs::read(&onnx) {
            Ok(bytes) if sha256(&bytes) != self.onnx_sha256 => Err(DeployError::Engine {
                path: engine.to_owned(),
                why: format!(
                    "was built from another {0} than the one beside it: build it again with `yf export {0} --engine`",
                    onnx.display()
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The ONNX file that the engine was built from, where it lies beside it and is the same.
    pub fn source(&self, engine: &Path) -> Option<ModelSource> {
        let named = self.onnx_file.as_ref().map(|name| engine.with_file_name(name));
        let usual = engine.with_extension("onnx");
        let same = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| sha256(&bytes) == self.onnx_sha256);
        named.into_iter().chain([usual]).find(same).map(ModelSource::Path)
    }
}

/// The least architecture that TensorRT-RTX builds for where it is told none.
const LEAST: Capability = Capability { major: 8, minor: 0 };

/// What TensorRT-RTX must be told to build for a GPU: nothing for those that it builds for anyway.
pub(crate) fn targets_for(gpu: &Gpu, flavour: Flavour) -> Vec<Capability> {
    let capability = gpu.capability();
    if flavour == Flavour::Rtx && capability < LEAST { vec![capability] } else { Vec::new() }
}

/// An architecture as it is written: sm_86.
pub(super) fn target(capability: Capability) -> String {
    format!("sm_{}", capability.number())
}
