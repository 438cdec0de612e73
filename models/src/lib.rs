//! What a network is.
//!
//! A configuration (`configs/*.yaml`, or a user's own) lists layers; each layer names a block; the block
//! emits primitive operations into a [`Graph`]. Everything else reads that graph: libtorch executes it,
//! ONNX is written from it, and [`cost`] counts it.
//!
//! ```text
//! configuration --(blocks)--> Graph --> libtorch (crate yf-train)
//!                                   --> ONNX (crate yf-export)
//!                                   --> cost, parameters, the table of `yf info`
//! ```

pub mod auxiliary;
pub mod blocks;
pub mod builder;
pub mod config;
pub mod cost;
pub mod decode;
pub mod durable;
pub mod error;
pub mod graph;
pub mod network;
pub mod transplant;
pub mod weights;

pub use auxiliary::Auxiliary;
pub use config::Config;
pub use error::ModelError;
pub use graph::{Graph, Node, Op, Param, ValueId};
pub use network::Network;
pub use transplant::Transplant;
pub use weights::{Camera, Header, Weights};
