//! What can go wrong between a library that may not be there and a network that runs.

use std::path::PathBuf;

use yf_cuda::CudaError;

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
pub enum TensorRtError {
    /// No TensorRT that would do is on this machine.
    #[error("{0}")]
    Missing(String),
    /// A library is there and cannot be used.
    #[error("{path}: {why}")]
    Library {
        /// The library's file.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// There is a GPU, and the library does not run on it.
    #[error("{0}")]
    Unserved(String),
    /// There is no CUDA device, or a call to it failed.
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// The parser does not take the ONNX file.
    #[error("its parser does not take the network: {}", .0.join("; "))]
    Parse(
        /// One entry a node, by index, name and operator.
        Vec<String>,
    ),
    /// The builder makes no engine.
    #[error("no engine was built: {0}")]
    Build(String),
    /// An engine is not taken by the library, or fails.
    #[error("{0}")]
    Engine(String),
}
