//! What can go wrong between a pair of files and its detections.

use std::io;
use std::path::PathBuf;

/// Everything this crate reports.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A file or folder cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not an ONNX detector that this version runs.
    #[error("{origin}: {why}")]
    Model {
        /// The file, or the name given to a model in memory.
        origin: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// No backend goes by that name.
    #[error("{0}")]
    Choice(String),
    /// ONNX Runtime's library is not there or cannot be used.
    #[error("ONNX Runtime: {0}")]
    Library(String),
    /// TensorRT's library or a GPU is not there, or does not do what is asked.
    #[error("TensorRT: {0}")]
    TensorRt(#[from] yf_tensorrt::TensorRtError),
    /// An engine that cannot be used, or cannot be built.
    #[error("{path}: {why}")]
    Engine {
        /// The engine's file, or the model's.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A runtime refuses the model, or fails while running it.
    #[error("{origin}: {backend}: {why}")]
    Runtime {
        /// The file, or the name given to a model in memory.
        origin: String,
        /// Which runtime.
        backend: &'static str,
        /// What it said.
        why: String,
    },
    /// A network answers a pair with something that is no number.
    #[error(
        "{path}: {origin} answers with {value}: its weights are damaged, or fp16 is too narrow for them (`yf export` without \
         --fp16 tells)"
    )]
    NotFinite {
        /// The picture, the RGB file of a pair.
        path: PathBuf,
        /// The file, or the name given to a model in memory.
        origin: String,
        /// The first such value.
        value: f32,
    },
    /// A picture does not have the size that the model's input needs.
    #[error("input {input}: {got} {kind}, but a picture has {expected}")]
    Input {
        /// Name of the input.
        input: &'static str,
        /// Values of a picture.
        expected: usize,
        /// Values given, of this kind.
        got: usize,
        /// What the values must be.
        kind: &'static str,
    },
    /// A picture without its one partner.
    #[error("{path} {why}")]
    Pairing {
        /// The picture.
        path: PathBuf,
        /// What was looked for.
        why: String,
    },
    /// A picture cannot be read or written.
    #[error(transparent)]
    Data(#[from] yf_data::DataError),
    /// A thread that prepares pairs panicked: a fault of yf.
    #[error("{path}: reading the pair failed unexpectedly: {why}")]
    Worker {
        /// The RGB file of the pair.
        path: PathBuf,
        /// What the panic said.
        why: String,
    },
}
