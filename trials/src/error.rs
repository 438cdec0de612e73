//! What can be wrong with an experiment, its results, or what is made of them.

use std::io;
use std::path::{Path, PathBuf};

/// Why an experiment cannot be read, or nothing be concluded.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The experiment's file says something that is none.
    #[error("{}{}: {why}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
    Experiment {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: Option<usize>,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A line of results that is none.
    #[error("{}:{line}: {why}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Trials that cannot be compared.
    #[error("{why}")]
    Comparison {
        /// What is wrong, and what to do.
        why: String,
    },
    /// A figure that cannot be drawn.
    #[error("the figure cannot be drawn: {why}")]
    Figure {
        /// What went wrong.
        why: String,
    },
}

impl TrialError {
    /// A file that cannot be read or written.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        TrialError::Io { path: path.to_path_buf(), source }
    }
}
