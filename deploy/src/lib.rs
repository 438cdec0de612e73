//! A pair becomes detections: backends, pipelines, output.
