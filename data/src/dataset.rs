//! A data set of pairs: what its data.yaml says, and the files it leads to.

mod config;
mod folds;
mod listing;
mod pairing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use folds::Fold;
pub use pairing::{PairFiles, pair_folders};

use crate::error::DataError;
use config::Config;
use listing::Listing;
pub(crate) use listing::{entries, is_picture};

/// The parts of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What the network learns from.
    Train,
    /// What it is measured on while it learns.
    Val,
    /// What it is measured on at the end.
    Test,
}

impl Split {
    /// All parts, in the order of use.
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    /// Its key in data.yaml.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

/// A data set, as its data.yaml describes it.
///
/// | key | meaning |
/// |---|---|
/// | `path` | folder that the others start from; relative to the YAML's folder, which is also the default |
/// | `train`, `val`, `test` | RGB pictures: a folder, a text file with a path a line, or a list of those |
/// | `names` | class names, a list or a map from 0 |
/// | `nc` | number of classes; checked against `names` |
/// | `rgb`, `ir`, `labels` | names of the three folders, by default `images`, `imagesIR` and `labels` |
/// | `ir_suffix` | what an infrared file's stem ends in: `_ir` pairs `7.jpg` with `7_ir.png`; without `ir` in the same folder |
///
/// The infrared picture and the labels of an RGB picture are found by replacing, in its path, the folder called
/// `images` that is nearest to the file. Suffixes of pictures may differ.
#[derive(Debug)]
pub struct DataSet {
    yaml: PathBuf,
    config: Config,
}

impl DataSet {
    /// Reads a data.yaml. The pictures are looked at later.
    ///
    /// # Errors
    /// A file that cannot be read or is no YAML, an unknown key (with the nearest known one), no class names, names
    /// that `nc` contradicts, neither `train` nor `val`, a `path` that is no folder.
    pub fn open(yaml: impl AsRef<Path>) -> Result<DataSet, DataError> {
        let yaml = yaml.as_ref();
        Ok(DataSet { yaml: yaml.to_path_buf(), config: Config::read(yaml)? })
    }

    /// The data.yaml.
    pub fn yaml(&self) -> &Path {
        &self.yaml
    }

    /// The folder that `path` means.
    pub fn root(&self) -> &Path {
        &self.config.root
    }

    /// Class names; a label's class is an index into them.
    pub fn names(&self) -> &[String] {
        &self.config.names
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.config.names.len()
    }

    /// Whether data.yaml names this part.
    pub fn has(&self, split: Split) -> bool {
        self.config.split(split).is_some()
    }

    /// The pairs of one part, sorted by the path of the RGB picture, each once.
    ///
    /// A pair whose infrared picture is missing is listed with the path where it should be: whether the files are
    /// there and good is what [`check`](crate::check) says.
    ///
    /// # Errors
    /// A part that data.yaml does not name, a folder or list that cannot be read, a part without pictures, pictures
    /// that lie in no folder called `images`.
    pub fn pairs(&self, split: Split) -> Result<Vec<PairFiles>, DataError> {
        let listing = self.listing(split)?;
        pairing::pair(&listing.pictures, &self.config.layout, &self.yaml)
    }

    /// Infrared pictures in the folders of one part that belong to no RGB picture, sorted.
    ///
    /// # Errors
    /// As [`DataSet::pairs`].
    pub fn lone_infrared(&self, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let listing = self.listing(split)?;
        pairing::lone_infrared(&listing, &self.config.layout, &self.yaml)
    }

    fn listing(&self, split: Split) -> Result<Listing, DataError> {
        let entry = self.config.split(split).ok_or_else(|| DataError::Config {
            path: self.yaml.clone(),
            line: None,
            why: format!("no '{}': name the folder of its RGB pictures", split.name()),
        })?;
        let listing = Listing::read(&entry.paths, &self.config.root, &self.config.layout)
            .map_err(|error| self.locate(error, entry.line))?;
        if listing.pictures.is_empty() {
            let places: Vec<String> = entry.paths.iter().map(|p| p.display().to_string()).collect();
            return Err(DataError::Config {
                path: self.yaml.clone(),
                line: entry.line,
                why: format!("'{}' has no pictures ({})", split.name(), places.join(", ")),
            });
        }
        Ok(listing)
    }

    /// A folder that is not there is a mistake in data.yaml, so that is where it is reported.
    fn locate(&self, error: DataError, line: Option<usize>) -> DataError {
        match error {
            DataError::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                DataError::Config {
                    path: self.yaml.clone(),
                    line,
                    why: format!("there is no {}", path.display()),
                }
            }
            other => other,
        }
    }
}
