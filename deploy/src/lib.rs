//! A pair becomes detections: backends, pipelines, output.
//!
//! [`model::ModelInfo`] says what an ONNX file expects; [`backend::open`] gives something that runs it (ONNX
//! Runtime, or the embedded runtime that needs nothing else on the machine). [`pairing::pairs`] finds the files,
//! [`pipeline::Pipeline`] turns them into detections, [`output`] writes those down, and [`bench`](mod@bench) says
//! how long each stage takes.

pub mod backend;
pub mod bench;
pub mod engine;
mod error;
pub mod modality;
pub mod model;
pub mod output;
pub mod pairing;
pub mod pictures;
pub mod pipeline;
#[cfg(test)]
mod testing;

pub use error::DeployError;
