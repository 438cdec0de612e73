//! TensorRT engines: a model becomes one ([`build()`]), and what is known of it lies beside it ([`Manifest`]).
//!
//! An engine is for one version of one library, and for some GPUs. So it is never taken on trust: `best.engine.json`
//! beside `best.engine` says what it was built from and for, and [`Manifest::fits_library`] and [`Manifest::fits_gpu`] whether that is what is here.

mod build;
mod host;
mod manifest;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use build::build_on;
pub use build::{Built, Plan, build};
pub(crate) use host::Host;
pub(crate) use manifest::targets_for;
pub use manifest::{Batches, Manifest};
pub(crate) use store::{Store, sha256};
pub use yf_tensorrt::Capability;

/// How engines' files end.
pub const EXTENSION: &str = "engine";
