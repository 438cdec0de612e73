//! A model repository for NVIDIA's Triton Inference Server.
//!
//! ```text
//! REPOSITORY/NAME/config.pbtxt     what goes in and out, how requests are gathered into batches
//! REPOSITORY/NAME/labels.txt       a class name a line
//! REPOSITORY/NAME/1/model.onnx     the network (model.plan for a TensorRT engine); later ones in 2/, 3/ ...
//! ```
//!
//! The server serves the highest version. A version is added only where the configuration and the labels stay what they
//! are, because they count for all versions of a model.

mod config;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use yf_models::durable;

use crate::error::ExportError;

/// Largest batch that a server may be told to make; more than a device runs at once.
pub const MAX_SERVED_BATCH: usize = 1024;

/// A tensor of a request or an answer, without the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// The name in the ONNX file.
    pub name: String,
    /// What it holds.
    pub element: Element,
    /// Its shape behind the batch.
    pub dims: Vec<usize>,
}

/// What a tensor holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Single precision.
    Float32,
    /// Bytes.
    Uint8,
}

/// What a network takes and gives; its batch is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `rgb` and `ir`, or `images`.
    pub inputs: Vec<Tensor>,
    /// The detections.
    pub output: Tensor,
    /// Class names, in the order of the output's classes.
    pub classes: Vec<String>,
}

/// The network as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program<'a> {
    /// The bytes of an ONNX file with a free batch.
    Onnx(&'a [u8]),
    /// The bytes of an engine of full TensorRT whose profile takes every batch from 1 to
    /// [`Serving::max_batch`].
    Engine(&'a [u8]),
}

/// How a server is to run a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Serving {
    /// Pairs that are run at once at most, 1 to [`MAX_SERVED_BATCH`].
    pub max_batch: usize,
    /// Microseconds that a request waits for others to share its batch.
    pub queue_delay: u64,
    /// Copies of the network on each device, at least 1: one computes while the other is fed.
    pub instances: usize,
}

impl Default for Serving {
    fn default() -> Self {
        Serving { max_batch: 8, queue_delay: 2000, instances: 1 }
    }
}

/// Puts a network into a repository under a name, as version 1 or the next one; returns the version's folder.
///
/// A server that watches the repository never sees half a network: the version's folder appears whole.
///
/// # Errors
/// [`ExportError::Triton`] when the name is no folder name, the numbers are out of their ranges, or another network
/// has that name; [`ExportError::Io`] when the file system refuses.
pub fn add(
    repository: &Path,
    name: &str,
    signature: &Signature,
    program: Program<'_>,
    serving: &Serving,
) -> Result<PathBuf, ExportError> {
    check(name, serving)?;
    let model = repository.join(name);
    let config = config::text(name, signature, program, serving);
    let labels: String = signature.classes.iter().map(|class| config::one_line(class) + "\n").collect();
    make_folder(&model)?;
    for (file, content) in [(config::FILE, &config), (config::LABELS, &labels)] {
        keep_or_write(&model.join(file), content)?;
    }
    let version = model.join(next_version(&model)?.to_string());
    let incoming = model.join(format!(".{}.part", std::process::id()));
    let written = write_version(&incoming, &version, program);
    if written.is_err() {
        let _ = fs::remove_dir_all(&incoming);
    }
    written.map_err(|source| ExportError::Io { path: version.clone(), source })?;
    Ok(version)
}

fn check(name: &str, serving: &Serving) -> Result<(), ExportError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(refuse(format!(
            "'{name}' is no name for a model: take letters, digits, '_', '-' and '.', no '.' in front"
        )));
    }
    if !(1..=MAX_SERVED_BATCH).contains(&serving.max_batch) || serving.instances == 0 {
        return Err(refuse(format!(
            "batches of up to {} pairs on {} instances: 1 to {MAX_SERVED_BATCH} pairs and at least one instance are wanted",
            serving.max_batch, serving.instances
        )));
    }
    Ok(())
}

/// What counts for every version must not change under those that are there.
fn keep_or_write(path: &Path, content: &str) -> Result<(), ExportError> {
    let failed = |source| ExportError::Io { path: path.into(), source };
    match fs::read(path) {
        Ok(there) if there == content.as_bytes() => Ok(()),
        Ok(_) => Err(refuse(format!(
            "{} is there and says something else, so this is no new version of that model: \
             give another name, or remove the folder",
            path.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            durable::write(path, |out| out.write_all(content.as_bytes())).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// One more than the highest number among the folders.
fn next_version(model: &Path) -> Result<u64, ExportError> {
    let failed = |source| ExportError::Io { path: model.into(), source };
    let mut highest = 0;
    for entry in fs::read_dir(model).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        highest = highest.max(name.to_str().and_then(|name| name.parse().ok()).unwrap_or(0));
    }
    Ok(highest + 1)
}

fn write_version(incoming: &Path, version: &Path, program: Program<'_>) -> io::Result<()> {
    fs::create_dir(incoming)?;
    let (name, bytes) = match program {
        Program::Onnx(bytes) => ("model.onnx", bytes),
        Program::Engine(bytes) => ("model.plan", bytes),
    };
    let mut file = File::create(incoming.join(name))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(incoming, version)
}

fn make_folder(path: &Path) -> Result<(), ExportError> {
    fs::create_dir_all(path).map_err(|source| ExportError::Io { path: path.into(), source })
}

fn refuse(why: String) -> ExportError {
    ExportError::Triton(why)
}

#[cfg(test)]
mod tests;
