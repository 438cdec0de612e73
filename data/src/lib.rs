//! RGB + infrared pairs: data sets, decoding, letterbox geometry, checks, synthetic pairs, detections and their metrics.
