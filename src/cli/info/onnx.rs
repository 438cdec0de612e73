//! What an exported model says about itself.

use std::path::Path;

use serde_json::json;
use yf_deploy::model::ModelInfo;

use crate::failure::{Failure, OrArguments};
use crate::output;

/// Prints the description of an ONNX file.
pub fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let info = ModelInfo::from_file(path).or_arguments()?;
    if json {
        return output::json(&json!({
            "model": info.origin,
            "classes": info.classes,
            "names": info.names,
            "imgsz": [info.height, info.width],
            "inputs": info.input_names,
            "batch": info.batch,
            "stride": info.stride,
            "anchors": info.anchors,
            "nodes": info.nodes,
            "metadata": info.metadata,
        }));
    }
    let batch = info.batch.map_or("any number of".to_owned(), |batch| batch.to_string());
    output::line(format!("{}: {} nodes", info.origin, info.nodes))?;
    output::line(format!(
        "input   {}: float32 [{batch} pairs, 3, {}, {}], stride {}",
        info.input_names.join(" + "),
        info.height,
        info.width,
        info.stride
    ))?;
    output::line(format!(
        "output  {}: [4 + {} classes, {} anchors]",
        info.output_name, info.classes, info.anchors
    ))?;
    output::line(format!("classes {}", info.names.join(", ")))?;
    for (key, value) in &info.metadata {
        output::line(format!("  {key}: {value}"))?;
    }
    Ok(())
}
