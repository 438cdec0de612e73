//! TensorRT and TensorRT-RTX, found when they are needed: engines are built and run.
//!
//! ```text
//! find::libraries -> TensorRt (loaded) -> builder: ONNX becomes an engine
//!                                      -> Engine -> Runner: batches through an engine, on a Gpu
//! ```
//!
//! Nothing is linked: NVIDIA's C++ interface is vtables, so a shim compiled against the headers of each major version
//! (`headers/`, `shim/`) calls whichever library is loaded. On a machine without TensorRT, or without a GPU, every call
//! here is an error with a sentence.

mod abi;
pub mod builder;
mod engine;
mod error;
pub mod find;
mod library;
mod log;
mod runner;

pub use engine::{Element, Engine, Tensor};
pub use error::TensorRtError;
pub use library::{Flavour, TensorRt, Version};
pub use runner::{Port, Ports, Runner, Spent};
pub use yf_cuda::{Capability, CudaError, Gpu};
