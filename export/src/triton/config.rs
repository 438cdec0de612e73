//! `config.pbtxt`: Triton's ModelConfig in protobuf's text form.

use std::fmt::Write;

use super::{Element, Program, Serving, Signature, Tensor};

/// The configuration's file name.
pub const FILE: &str = "config.pbtxt";
/// The file of class names that the configuration points at.
pub const LABELS: &str = "labels.txt";

/// The configuration of a model.
pub fn text(name: &str, signature: &Signature, program: Program<'_>, serving: &Serving) -> String {
    let (platform, file, kind) = match program {
        // A GPU where the server has one, else the CPU.
        Program::Onnx(_) => ("onnxruntime_onnx", "model.onnx", "KIND_AUTO"),
        Program::Engine(_) => ("tensorrt_plan", "model.plan", "KIND_GPU"),
    };
    let blocks = [
        format!("name: {}\nplatform: \"{platform}\"\ndefault_model_filename: \"{file}\"", quoted(name)),
        format!("max_batch_size: {}", serving.max_batch),
        signature
            .inputs
            .iter()
            .map(|input| format!("input {}", tensor(input, "")))
            .collect::<Vec<_>>()
            .join("\n"),
        format!("output {}", tensor(&signature.output, &format!("\n  label_filename: \"{LABELS}\""))),
        format!("instance_group {{\n  count: {}\n  kind: {kind}\n}}", serving.instances),
        batching(serving),
        warm_up(signature, serving),
        // What a client cannot read off the tensors.
        format!(
            "parameters {{\n  key: \"names\"\n  value {{ string_value: {} }}\n}}",
            quoted(&serde_json::Value::from(signature.classes.clone()).to_string())
        ),
    ];
    let mut text = "# Written by yf export --triton.\n".to_owned();
    for block in blocks {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{block}");
    }
    text
}

fn tensor(tensor: &Tensor, more: &str) -> String {
    format!(
        "{{\n  name: {}\n  data_type: {}\n  dims: {}{more}\n}}",
        quoted(&tensor.name),
        data_type(tensor.element),
        dims(tensor)
    )
}

fn data_type(element: Element) -> &'static str {
    match element {
        Element::Float32 => "TYPE_FP32",
        Element::Uint8 => "TYPE_UINT8",
    }
}

fn dims(tensor: &Tensor) -> String {
    let dims: Vec<String> = tensor.dims.iter().map(ToString::to_string).collect();
    format!("[ {} ]", dims.join(", "))
}

/// Requests are run as soon as they fill half of the largest batch or all of it, or have waited long enough.
fn batching(serving: &Serving) -> String {
    let largest = serving.max_batch;
    let preferred = if largest >= 4 { format!("{}, {largest}", largest / 2) } else { largest.to_string() };
    format!(
        "dynamic_batching {{\n  preferred_batch_size: [ {preferred} ]\n  max_queue_delay_microseconds: {}\n}}",
        serving.queue_delay
    )
}

/// The smallest and the largest batch are run before the first request is let in.
fn warm_up(signature: &Signature, serving: &Serving) -> String {
    let mut sizes = vec![1, serving.max_batch];
    sizes.dedup();
    let one = |size: &usize| {
        let inputs: String = signature.inputs.iter().map(warm_input).collect();
        format!("model_warmup {{\n  name: \"batch {size}\"\n  batch_size: {size}\n{inputs}}}")
    };
    sizes.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn warm_input(tensor: &Tensor) -> String {
    format!(
        "  inputs {{\n    key: {}\n    value {{ data_type: {} dims: {} zero_data: true }}\n  }}\n",
        quoted(&tensor.name),
        data_type(tensor.element),
        dims(tensor)
    )
}

/// A name without what would end its line.
pub fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A string of protobuf's text form.
fn quoted(text: &str) -> String {
    let mut literal = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            c if c.is_ascii_control() => {
                let _ = write!(literal, "\\{:03o}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_protobuf_reads_them() {
        assert_eq!(quoted("a \"b\" \\ c\n人"), r#""a \"b\" \\ c\012人""#);
    }

    #[test]
    fn small_servers_prefer_their_largest_batch() {
        for (max_batch, preferred) in [(1, "[ 1 ]"), (3, "[ 3 ]"), (4, "[ 2, 4 ]"), (32, "[ 16, 32 ]")] {
            let text = batching(&Serving { max_batch, ..Serving::default() });
            assert!(text.contains(preferred), "{text}");
        }
    }
}
