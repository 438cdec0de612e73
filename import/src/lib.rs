//! Checkpoints of other programs become weights files of yf. Nothing in them is executed.
//!
//! ```text
//! FILE.pt -> zip archive (archive) -> pickle (pickle) -> tensors by name (network, tensor) -> Checkpoint
//! FILE.safetensors without yf's header (plain)                                              -> Checkpoint
//! Checkpoint -> the configuration and scale whose tensors have these names and shapes (identify) -> Weights
//! ```
//!
//! A `.pt` file is a program for Python's pickle reader, and whoever sends one can have it run anything. Here it is
//! data: see [`pickle`]. Every size that a file claims is checked against [`Limits`], and against the bytes that are
//! really there, before memory is taken.

mod any;
mod archive;
mod checkpoint;
mod coco;
mod error;
mod facts;
mod found;
mod identify;
mod limits;
mod network;
pub mod pickle;
mod plain;
mod tensor;

pub use any::weights;
pub use checkpoint::{Checkpoint, read, read_from};
pub use error::{Fault, ImportError};
pub use found::Found;
pub use identify::{Identified, NameSource, identify, identify_as};
pub use limits::Limits;
