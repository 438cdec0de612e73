//! What can be wrong with an export.

use std::path::PathBuf;

use yf_models::ModelError;
use yf_models::error::ShapeError;

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The network cannot be built, e.g. at this picture size.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The head's maps cannot be decoded.
    #[error("the network's output cannot be decoded: {0}")]
    Decode(#[from] ShapeError),
    /// A tensor is missing, of another shape, or holds what no network computes with.
    #[error("the weights do not fit {model}: {why}")]
    Weights {
        /// The network they should fit.
        model: String,
        /// Which tensor, and what is wrong with it.
        why: String,
    },
    /// An operation that has no ONNX counterpart in this form.
    #[error("{node} cannot be written as ONNX: {why}")]
    Operation {
        /// Name of the graph's node.
        node: String,
        /// What stands in the way.
        why: String,
    },
    /// A batch of nothing.
    #[error("a batch of {0} pictures; it must be 1 to {MAX_BATCH}, or dynamic", MAX_BATCH = crate::MAX_BATCH)]
    Batch(usize),
    /// Thresholds of suppression that are no parts of a whole.
    #[error("suppression above a score of {0} and an overlap of {1}: both must be 0 to 1")]
    Suppression(f32, f32),
    /// A model repository for Triton that cannot be written as asked.
    #[error("{0}")]
    Triton(String),
    /// The file could not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}

impl From<ModelError> for ExportError {
    fn from(error: ModelError) -> Self {
        ExportError::Model(Box::new(error))
    }
}
