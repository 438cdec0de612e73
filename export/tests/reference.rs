//! Exports of the reference's networks: valid by `onnx.checker`, and in ONNX Runtime what the reference computes.
//!
//! Needs the fixtures (`YF_SHARED`) and a Python with numpy, onnx and onnxruntime (`YF_PYTHON`); without them the
//! tests say so and pass, unless `YF_REQUIRE=1`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use yf_export::{Options, export_file};
use yf_models::Weights;

/// Largest differences allowed, in pixels and in score.
const SINGLE: (f64, f64) = (1e-2, 1e-5);
/// As [`SINGLE`], for half precision.
const HALF: (f64, f64) = (0.1, 1e-2);

/// The test material, where it is there.
struct Material {
    python: PathBuf,
    networks: PathBuf,
}

impl Material {
    fn find() -> Option<Self> {
        let python = from_env("YF_PYTHON").or_else(|| {
            let cache = from_env("XDG_CACHE_HOME").or_else(|| Some(from_env("HOME")?.join(".cache")))?;
            Some(cache.join("yf/python/bin/python"))
        })?;
        let shared = from_env("YF_SHARED").unwrap_or_else(|| workspace().join("../shared"));
        let networks = shared.join("fixtures/networks");
        let missing = [&python, &networks].into_iter().find(|p| !p.exists()).cloned();
        let Some(missing) = missing else { return Some(Material { python, networks }) };
        assert!(std::env::var("YF_REQUIRE").as_deref() != Ok("1"), "{} is missing", missing.display());
        eprintln!("skipped: {} is missing", missing.display());
        None
    }

    /// The reference's checkpoint as a weights file of yf.
    fn weights(&self, network: &str) -> Weights {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("weights.safetensors");
        let (name, scale) = network.rsplit_once('-').unwrap();
        self.run(&[
            &workspace().join("models/tests/checkpoint.py"),
            &self.networks.join(format!("{network}.pt")),
            &workspace().join(format!("models/configs/{name}.yaml")),
            Path::new(scale),
            &out,
        ]);
        Weights::read(&out).unwrap()
    }

    /// Exports, checks, and with `run_on` compares a batch of that size with the reference.
    fn check(&self, weights: &Weights, options: &Options, run_on: Option<usize>) -> Value {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.onnx");
        let size = export_file(weights, options, &path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), size as u64);
        let script = workspace().join("export/tests/onnx_check.py");
        let network = &weights.header.model;
        let expected = self.networks.join(format!("{network}.out.npy"));
        let report = match run_on {
            None => self.run(&[&script, &path]),
            Some(batch) => {
                let (batch, pair) = (batch.to_string(), self.networks.join("input_u8.npy"));
                self.run(&[&script, &path, Path::new(&batch), &pair, &expected])
            }
        };
        let report: Value = serde_json::from_str(&report).unwrap();
        let [nodes, px, score] = ["nodes", "px", "score"].map(|key| &report[key]);
        eprintln!("{network} {options:?}: {size} bytes, {nodes} nodes, differs {px} px, {score} in score");
        report
    }

    fn run(&self, arguments: &[&Path]) -> String {
        let done = Command::new(&self.python).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn assert_within(report: &Value, (px, score): (f64, f64)) {
    assert!(report["px"].as_f64().unwrap() <= px, "{}", report["px"]);
    assert!(report["score"].as_f64().unwrap() <= score, "{}", report["score"]);
}

/// Every way to write `network`; `most_nodes` bounds the graph.
fn exports_are_the_reference(network: &str, most_nodes: u64) {
    let Some(material) = Material::find() else { return };
    let weights = material.weights(network);
    for (fp16, allowed) in [(false, SINGLE), (true, HALF)] {
        for (dynamic, batch) in [(false, 1), (true, 2)] {
            let options = Options { fp16, dynamic, ..Options::default() };
            let report = material.check(&weights, &options, Some(batch));
            assert_within(&report, allowed);
            assert!(report["nodes"].as_u64().unwrap() <= most_nodes, "{}", report["operators"]);
            assert_eq!(report["operators"]["BatchNormalization"], Value::Null);
            let n = if dynamic { json!("batch") } else { json!(1) };
            let picture = |name: &str| json!([name, 1, [n, 3, 640, 640]]);
            assert_eq!(report["inputs"], json!([picture("rgb"), picture("ir")]));
            assert_eq!(report["outputs"], json!([["output0", 1, [n, 5, 8400]]]));
        }
    }
}

#[test]
fn mid_is_the_reference() {
    exports_are_the_reference("mid-n", 689);
}

#[test]
fn early_is_the_reference() {
    exports_are_the_reference("early-n", 500);
}

#[test]
fn the_file_tells_a_runtime_what_it_needs() {
    let Some(material) = Material::find() else { return };
    let mut weights = material.weights("mid-n");
    weights.header.names = vec!["fire 'n' \"smoke\" \\ 人".to_owned()];
    let options = Options { imgsz: Some((320, 640)), batch: 4, ..Options::default() };
    let report = material.check(&weights, &options, None);
    assert_eq!(report["names"], json!(weights.header.names));
    assert_eq!(report["inputs"][1], json!(["ir", 1, [4, 3, 320, 640]]));
    let metadata = &report["metadata"];
    for (key, value) in [("stride", "32"), ("task", "detect"), ("batch", "4"), ("imgsz", "[320, 640]")] {
        assert_eq!(metadata[key], value);
    }
}
