//! RGB + infrared pairs: data sets, decoding, letterbox geometry, checks, synthetic pairs, detections and their metrics.
//!
//! The way of a pair: a `DataSet` lists `PairFiles`, they are decoded into a `Pair`, and the letterbox brings it to
//! the network's size. Nothing in this crate writes into a user's data set.

pub mod dataset;
pub mod detection;
pub mod error;
pub mod labels;
pub mod letterbox;
pub mod metrics;
pub mod picture;
pub mod random;
pub mod resize;

pub use error::DataError;
