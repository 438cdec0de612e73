//! The folder of a data set that yf writes: `images`, `imagesIR` and `labels` with `train` and `val` in each, and
//! `data.yaml`, which comes last, so that it stands for a whole data set.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// RGB pictures, infrared pictures, labels.
pub(crate) const KINDS: [&str; 3] = ["images", "imagesIR", "labels"];
/// What is trained on and what is measured on.
pub(crate) const SPLITS: [&str; 2] = ["train", "val"];

/// Makes the folders.
///
/// # Errors
/// [`DataError::Output`] where `out` exists and is not an empty folder, [`DataError::Io`] where a folder cannot be made.
pub(crate) fn make_folders(out: &Path) -> Result<(), DataError> {
    refuse_to_overwrite(out)?;
    for (kind, split) in KINDS.iter().flat_map(|kind| SPLITS.map(|split| (kind, split))) {
        let folder = out.join(kind).join(split);
        fs::create_dir_all(&folder).map_err(|source| DataError::io(&folder, source))?;
    }
    Ok(())
}

/// A folder with something in it is somebody's.
pub(crate) fn refuse_to_overwrite(out: &Path) -> Result<(), DataError> {
    let refuse = |why: &str| Err(DataError::Output { path: out.to_path_buf(), why: why.to_string() });
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            Some(_) => refuse("the folder is not empty: name a new one"),
            None => Ok(()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => refuse("a file, not a folder"),
        Err(source) => Err(DataError::io(out, source)),
    }
}

/// Writes `data.yaml` under a comment of one line; returns its path.
pub(crate) fn write_yaml(out: &Path, comment: &str, names: &[&str]) -> Result<PathBuf, DataError> {
    let names: String = names.iter().enumerate().map(|(i, name)| format!("  {i}: {name}\n")).collect();
    let yaml = out.join("data.yaml");
    let text = format!("# {comment}\npath: .\ntrain: images/train\nval: images/val\nnames:\n{names}");
    write(&yaml, text.as_bytes())?;
    Ok(yaml)
}

/// Writes a file whose folder is there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    fs::write(path, bytes).map_err(|source| DataError::io(path, source))
}
