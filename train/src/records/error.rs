//! What can go wrong with a record.

use std::io;
use std::path::{Path, PathBuf};

use yf_data::DataError;

/// Error of a run's records.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of `results.csv` is no row.
    #[error("{}:{line}: {why}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A plot could not be drawn.
    #[error("cannot draw {}: {why}", path.display())]
    Draw {
        /// The picture it was to become.
        path: PathBuf,
        /// What the drawing library said.
        why: String,
    },
    /// The planes of a batch do not have the pixels that its size asks for.
    #[error("cannot draw {}: {modality} has {found} values, {expected} expected", path.display())]
    Planes {
        /// The picture it was to become.
        path: PathBuf,
        /// `RGB` or `IR`.
        modality: &'static str,
        /// Values there.
        found: usize,
        /// Values that the count and side ask for.
        expected: usize,
    },
    /// A picture could not be written.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl RecordError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }

    pub(super) fn csv(path: &Path, line: usize, why: impl Into<String>) -> Self {
        Self::Csv { path: path.to_path_buf(), line, why: why.into() }
    }

    pub(super) fn draw(path: &Path, why: &impl ToString) -> Self {
        Self::Draw { path: path.to_path_buf(), why: why.to_string() }
    }
}
