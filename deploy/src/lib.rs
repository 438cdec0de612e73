//! A pair becomes detections: backends, pipelines, output.
//!
//! [`model::ModelInfo`] says what an ONNX file expects; [`backend::open`] gives something that runs it (ONNX
//! Runtime, or the embedded runtime that needs nothing else on the machine).

pub mod backend;
mod error;
pub mod model;
#[cfg(test)]
mod testing;

pub use error::DeployError;
