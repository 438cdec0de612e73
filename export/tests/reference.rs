//! Exports of the reference's networks: valid by `onnx.checker`, and in ONNX Runtime what the reference computes.

mod material;

use std::path::Path;

use material::{Material, workspace};
use serde_json::{Value, json};
use yf_export::{Options, export_file};
use yf_models::Weights;

/// Largest differences allowed, in pixels and in score.
const SINGLE: (f64, f64) = (1e-2, 1e-5);
/// As [`SINGLE`], for half precision.
const HALF: (f64, f64) = (0.1, 1e-2);

/// All that an export may be made of: what every runtime has and TensorRT fuses. No loops, no scattering, and softmax as
/// one operator, not as exponentials and sums.
const OPERATORS: [&str; 18] = [
    "Add",
    "Cast",
    "Concat",
    "Conv",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "ReduceMean",
    "Relu",
    "Reshape",
    "Resize",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Split",
    "Sub",
    "Transpose",
];

/// The reference's checkpoint as weights of yf.
fn weights(material: &Material, network: &str) -> Weights {
    let path = material.shared.join(format!("fixtures/networks/{network}.pt"));
    let checkpoint = yf_import::read(&path, &yf_import::Limits::default()).unwrap();
    yf_import::identify(checkpoint).unwrap().weights
}

/// Exports, checks, and with `run_on` compares a batch of that size with the reference.
fn check(material: &Material, weights: &Weights, options: &Options, run_on: Option<usize>) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.onnx");
    let size = export_file(weights, options, &path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().len(), size as u64);
    let script = workspace().join("export/tests/onnx_check.py");
    let (network, fixtures) = (&weights.header.model, material.shared.join("fixtures/networks"));
    let report = match run_on {
        None => material.python(&[&script, &path]),
        Some(batch) => material.python(&[
            &script,
            &path,
            Path::new(&batch.to_string()),
            &fixtures.join("input_u8.npy"),
            &fixtures.join(format!("{network}.out.npy")),
        ]),
    };
    let report: Value = serde_json::from_str(&report).unwrap();
    let [nodes, px, score] = ["nodes", "px", "score"].map(|key| &report[key]);
    eprintln!("{network} {options:?}: {size} bytes, {nodes} nodes, differs {px} px, {score} in score");
    report
}

fn assert_within(report: &Value, (px, score): (f64, f64)) {
    assert!(report["px"].as_f64().unwrap() <= px, "{}", report["px"]);
    assert!(report["score"].as_f64().unwrap() <= score, "{}", report["score"]);
}

/// Every way to write `network`; `most_nodes` bounds the graph.
fn exports_are_the_reference(network: &str, most_nodes: u64) {
    let Some(material) = Material::find() else { return };
    let weights = weights(&material, network);
    for (fp16, allowed) in [(false, SINGLE), (true, HALF)] {
        for (dynamic, batch) in [(false, 1), (true, 2)] {
            let options = Options { fp16, dynamic, ..Options::default() };
            let report = check(&material, &weights, &options, Some(batch));
            assert_within(&report, allowed);
            assert!(report["nodes"].as_u64().unwrap() <= most_nodes, "{}", report["operators"]);
            assert_eq!(report["opset"], 17);
            let mut operators = report["operators"].as_object().unwrap().keys();
            let stranger = operators.find(|op| !OPERATORS.contains(&op.as_str()));
            assert_eq!(stranger, None, "{network} {options:?}");
            let anchors = if network == "decision-n" { 16_800 } else { 8_400 };
            let n = if dynamic { json!("batch") } else { json!(1) };
            let picture = |name: &str| json!([name, 1, [n, 3, 640, 640]]);
            assert_eq!(report["inputs"], json!([picture("rgb"), picture("ir")]));
            assert_eq!(report["outputs"], json!([["output0", 1, [n, 5, anchors]]]));
        }
    }
}

/// Nodes of the reference's patched exports; two of ours must have fewer than half.
#[test]
fn early_is_the_reference() {
    exports_are_the_reference("early-n", 500);
}

#[test]
fn mid_is_the_reference() {
    exports_are_the_reference("mid-n", 689);
}

#[test]
fn easy_is_the_reference() {
    exports_are_the_reference("easy-n", 1630 / 2 - 1);
}

#[test]
fn decision_is_the_reference() {
    exports_are_the_reference("decision-n", 1377);
}

#[test]
fn deyolo_is_the_reference() {
    exports_are_the_reference("deyolo-n", 3444 / 2 - 1);
}

/// The reference's own export of this one fails, so there is no number of nodes to compare with.
#[test]
fn defa_is_the_reference() {
    exports_are_the_reference("defa-n", 1000);
}

#[test]
fn the_file_tells_a_runtime_what_it_needs() {
    let Some(material) = Material::find() else { return };
    let mut weights = weights(&material, "mid-n");
    weights.header.names = vec!["fire 'n' \"smoke\" \\ 人".to_owned()];
    let options = Options { imgsz: Some((320, 640)), batch: 4, ..Options::default() };
    let report = check(&material, &weights, &options, None);
    assert_eq!(report["names"], json!(weights.header.names));
    assert_eq!(report["inputs"][1], json!(["ir", 1, [4, 3, 320, 640]]));
    let metadata = &report["metadata"];
    for (key, value) in [("stride", "32"), ("task", "detect"), ("batch", "4"), ("imgsz", "[320, 640]")] {
        assert_eq!(metadata[key], value);
    }
}
