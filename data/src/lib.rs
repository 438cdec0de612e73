//! RGB + infrared pairs: data sets, decoding, letterbox geometry, checks, synthetic pairs, detections and their metrics.

pub mod detection;
pub mod metrics;
pub mod random;
