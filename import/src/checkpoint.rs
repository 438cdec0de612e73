//! A checkpoint as it was read: tensors by name, and what the file says about them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use yf_models::Config;
use yf_models::weights::Array;

use crate::archive::Archive;
use crate::pickle::Pickle;
use crate::{Fault, ImportError, Limits, facts, network, plain, tensor};

/// How torch's files begin that are no zip archives: the pickle of a number.
const LEGACY: &[u8] = &[0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20];

/// A checkpoint of another program.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// Parameters and buffers by name, `model.0.conv.weight` and so on. Counters (whole numbers) are left out; every
    /// element is finite.
    pub tensors: BTreeMap<String, Array>,
    /// Class names in the order of their indices, if the file has any.
    pub names: Option<Vec<String>>,
    /// Longer side of the training pictures, if the file tells.
    pub imgsz: Option<usize>,
    /// Epochs trained, if the file tells.
    pub epochs: Option<usize>,
    /// How many modules there are of each class, torch's own left out; empty for a file of tensors alone.
    pub blocks: BTreeMap<String, usize>,
    /// The configuration that the network was made from, if the file has it in a form that yf knows.
    pub config: Option<Config>,
}

impl Checkpoint {
    /// Number of classes: outputs of the last convolution in the head's class branch.
    pub fn classes(&self) -> Option<usize> {
        let (_, last) = self.tensors.iter().find(|(name, _)| name.ends_with(".cv3.0.2.weight"))?;
        last.shape.first().copied()
    }
}

/// Reads a checkpoint: torch's `.pt`, or a safetensors file that yf has not written. Nothing in it is executed.
///
/// # Errors
/// When it cannot be read, is of another kind, is damaged, exceeds the limits, or wants something to be called.
pub fn read(path: &Path, limits: &Limits) -> Result<Checkpoint, ImportError> {
    let open = || Ok(File::open(path)?);
    open().and_then(|file| read_from(file, path, limits)).map_err(|fault: Fault| fault.at(path))
}

/// As [`read`], from anything that can be read; `path` is kept with the checkpoint.
///
/// # Errors
/// As [`read`].
pub fn read_from<R: Read + Seek>(mut file: R, path: &Path, limits: &Limits) -> Result<Checkpoint, Fault> {
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    if start.starts_with(b"PK") {
        return torch(file, path, limits);
    }
    if start.get(8) == Some(&b'{') {
        return plain::read(file, path, limits);
    }
    Err(Fault::Form(
        if start.starts_with(LEGACY) {
            "torch's format from before version 1.6, which is no zip archive: load it in torch and save it again"
        } else if start.is_empty() {
            "the file is empty"
        } else {
            "neither a checkpoint of torch (a zip archive) nor a safetensors file"
        }
        .to_owned(),
    ))
}

fn torch<R: Read + Seek>(file: R, path: &Path, limits: &Limits) -> Result<Checkpoint, Fault> {
    let archive = Archive::open(file, limits)?;
    let bytes = archive.read("data.pkl", limits.max_pickle_bytes)?;
    let pickle = Pickle::read(&bytes, limits)?;
    let parts = network::find(&pickle, limits)?;
    let root = pickle.root();
    let owners: Vec<_> = [Some(root), parts.module].into_iter().flatten().collect();
    Ok(Checkpoint {
        path: path.to_owned(),
        tensors: tensor::read(&archive, &pickle, &parts.tensors, limits)?,
        names: owners.iter().rev().find_map(|&owner| facts::names(&pickle, owner)),
        imgsz: facts::imgsz(&pickle, &owners),
        epochs: facts::epochs(&pickle),
        blocks: parts.blocks,
        config: parts.module.and_then(|module| facts::config(&pickle, module)),
    })
}
