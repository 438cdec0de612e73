//! What can be wrong with a data set or a picture: always the file, where there is one the line, and what to do.

use std::path::{Path, PathBuf};

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file or folder could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is no readable picture.
    #[error("{}: {why}", path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A picture, or a file, larger than the limits allow.
    #[error("{}: {what}, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, in words.
        what: String,
        /// The limit, in words.
        limit: String,
    },
    /// A data.yaml, or a text file it names, that cannot be used.
    #[error("{}{}: {why}", path.display(), colon(*line))]
    Config {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1, where it is known.
        line: Option<usize>,
        /// What is wrong and what to do.
        why: String,
    },
    /// A line of a label file that is no box.
    #[error("{}:{line}: {why}", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Line in it, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A picture without its counterpart.
    #[error("{}: {why}", path.display())]
    Pairing {
        /// The picture that stands alone.
        path: PathBuf,
        /// Which file was looked for.
        why: String,
    },
    /// A folder that is not laid out as the data set that it should be.
    #[error("{}: {why}", path.display())]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        why: String,
    },
    /// The pairs do not fit into memory.
    #[error(
        "the pairs need {} of memory and {} may be taken: cache on the disk (--cache disk) or not at all (--cache none)",
        gib(*needed),
        gib(*available)
    )]
    Memory {
        /// Bytes that the cache would take.
        needed: u64,
        /// Bytes that can be had.
        available: u64,
    },
    /// Something that cannot be made or must not be written there.
    #[error("{}: {why}", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A worker thread panicked.
    #[error("a worker thread failed: {0}")]
    Worker(String),
}

impl DataError {
    /// The file that the error is about.
    pub fn file(&self) -> Option<&Path> {
        match self {
            DataError::Io { path, .. }
            | DataError::Picture { path, .. }
            | DataError::TooLarge { path, .. }
            | DataError::Config { path, .. }
            | DataError::Label { path, .. }
            | DataError::Pairing { path, .. }
            | DataError::Layout { path, .. }
            | DataError::Output { path, .. } => Some(path),
            DataError::Memory { .. } | DataError::Worker(_) => None,
        }
    }

    /// The line in that file, from 1, where it is known.
    pub fn line(&self) -> Option<usize> {
        match self {
            DataError::Config { line, .. } => *line,
            DataError::Label { line, .. } => Some(*line),
            _ => None,
        }
    }

    /// What is wrong, without the file and the line.
    pub fn message(&self) -> String {
        match self {
            DataError::Io { source, .. } => source.to_string(),
            DataError::Picture { why, .. }
            | DataError::Config { why, .. }
            | DataError::Label { why, .. }
            | DataError::Pairing { why, .. }
            | DataError::Layout { why, .. }
            | DataError::Output { why, .. } => why.clone(),
            DataError::TooLarge { what, limit, .. } => format!("{what}, more than the limit of {limit}"),
            DataError::Memory { .. } | DataError::Worker(_) => self.to_string(),
        }
    }

    /// An I/O error with its file.
    pub(crate) fn io(path: &Path, source: std::io::Error) -> DataError {
        DataError::Io { path: path.to_path_buf(), source }
    }

    /// A picture that cannot be read.
    pub(crate) fn picture(path: &Path, why: impl Into<String>) -> DataError {
        DataError::Picture { path: path.to_path_buf(), why: why.into() }
    }
}

fn colon(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

fn gib(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / (1u64 << 30) as f64)
}
