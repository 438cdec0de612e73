//! RGB + infrared pairs: data sets, decoding, letterbox geometry, checks, synthetic pairs, detections and their metrics.
//!
//! The way of a pair: [`dataset::DataSet`] lists [`dataset::PairFiles`], [`decode`] turns them into a
//! [`picture::Pair`], [`resize`] and [`letterbox`] bring it to the network's size, and [`loader::Loader`] keeps
//! many of them at hand. [`check`] names everything that is wrong with a data set before any of that starts, and
//! [`convert`] makes one of a published data set.
//! Nothing in this crate writes into a user's data set.

pub mod check;
pub mod convert;
pub mod dataset;
pub mod decode;
pub mod detection;
mod disk_cache;
pub mod draw;
pub mod error;
#[cfg(test)]
mod fixtures;
mod jpeg;
pub mod labels;
pub mod letterbox;
pub mod loader;
pub mod memory;
pub mod metrics;
pub mod picture;
mod prefetch;
pub mod random;
pub mod resize;
mod sample;
mod shared;
pub mod synth;
mod written;

pub use error::DataError;
