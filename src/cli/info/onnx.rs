//! What an exported model says about itself.

use std::path::Path;

use serde_json::json;
use yf_deploy::model::{ModelInfo, Values};

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
            "input_bytes": info.values == Values::Bytes,
            "suppression_inside": info.suppressed.is_some(),
            "batch": info.batch,
            "stride": info.stride,
            "anchors": info.anchors,
            "nodes": info.nodes,
            "metadata": info.metadata,
        }));
    }
    let batch = info.batch.map_or("any number of".to_owned(), |batch| batch.to_string());
    output::line(format!("{}: {} nodes", info.origin, info.nodes))?;
    tensors(&info, &batch)?;
    for (key, value) in &info.metadata {
        output::line(format!("  {key}: {value}"))?;
    }
    Ok(())
}

/// Inputs, output and classes.
pub fn tensors(info: &ModelInfo, batch: &str) -> Result<(), Failure> {
    let (height, width) = (info.height, info.width);
    let shape = match info.values {
        Values::Floats => format!("float32 [{batch} pairs, 3, {height}, {width}]"),
        Values::Bytes => {
            let channels: Vec<String> = info.channels.iter().map(usize::to_string).collect();
            format!("uint8 [{batch} pairs, {height}, {width}, {}]", channels.join(" and "))
        }
    };
    output::line(format!("input   {}: {shape}, stride {}", info.input_names.join(" + "), info.stride))?;
    let shape = match info.suppressed {
        Some(inside) => format!("[{} rows, x1 y1 x2 y2 score class]", inside.rows),
        None => format!("[4 + {} classes, {} anchors]", info.classes, info.anchors),
    };
    output::line(format!("output  {}: {shape}", info.output_name))?;
    output::line(format!("classes {}", info.names.join(", ")))
}
