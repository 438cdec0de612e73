//! `yf export --triton`: what the server reads, by the server's own definition of a configuration.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Dir, python, shared};
use serde_json::{Value, json};
use yf_deploy::engine::{Batches, Manifest};
use yf_deploy::model::ModelSource;

/// A folder with `mid-n.safetensors` in it, and the tests' Python.
fn material() -> Option<(Dir, PathBuf)> {
    let (shared, python) = (shared()?, python()?);
    let dir = Dir::new();
    let checkpoint = shared.join("fixtures/networks/mid-n.pt");
    dir.yf(&["import", checkpoint.to_str().expect("UTF-8"), "-o", "mid-n.safetensors"]).succeeds();
    Some((dir, python))
}

/// A model's configuration as `tritonclient` reads it, compared there with its ONNX file.
fn read(python: &Path, model: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/triton_check.py");
    let ran = Command::new(python).arg(script).arg(model).output().expect("python starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).expect("JSON")
}

#[test]
fn the_repository_is_what_triton_reads_and_what_the_network_is() {
    let Some((dir, python)) = material() else { return };
    for (name, flags) in [
        ("plain", &["--imgsz", "320"][..]),
        ("bytes", &["--imgsz", "320x640", "--u8", "--fp16"]),
        (
            "suppressed",
            &["--imgsz", "320", "--nms", "--max-batch", "16", "--queue-delay", "500", "--instances", "2"],
        ),
    ] {
        let line =
            [&["export", "mid-n.safetensors", "--triton", "models", "--name", name][..], flags].concat();
        let said = dir.yf(&line).succeeds().stdout();
        assert_eq!(said.trim(), format!("models/{name}/1"));
        let config = read(&python, &dir.join("models").join(name));
        assert_eq!((&config["name"], &config["platform"]), (&json!(name), &json!("onnxruntime_onnx")));
    }
    let plain = read(&python, &dir.join("models/plain"));
    assert_eq!(
        plain["inputs"],
        json!([["rgb", "TYPE_FP32", [3, 320, 320]], ["ir", "TYPE_FP32", [3, 320, 320]]])
    );
    assert_eq!(plain["outputs"], json!([["output0", "TYPE_FP32", [5, 2100]]]));
    assert_eq!(
        (&plain["max_batch"], &plain["preferred"], &plain["delay"]),
        (&json!(8), &json!([4, 8]), &json!(2000))
    );
    assert_eq!((&plain["instances"], &plain["warm_up"]), (&json!([[1, "KIND_AUTO"]]), &json!([1, 8])));
    assert_eq!((&plain["labels"], &plain["names"]), (&json!(["person"]), &json!(["person"])));
    let bytes = read(&python, &dir.join("models/bytes"));
    assert_eq!(bytes["inputs"][1], json!(["ir", "TYPE_UINT8", [320, 640, 1]]));
    let suppressed = read(&python, &dir.join("models/suppressed"));
    assert_eq!(suppressed["outputs"], json!([["output0", "TYPE_FP32", [300, 6]]]));
    assert_eq!((&suppressed["preferred"], &suppressed["delay"]), (&json!([8, 16]), &json!(500)));
    assert_eq!(suppressed["instances"], json!([[2, "KIND_AUTO"]]));
}

/// Writes an engine that is none, and a manifest as if full TensorRT had built it of that ONNX file.
fn engine_of(dir: &Dir, python: &Path, onnx: &str, change: impl FnOnce(&mut Manifest)) {
    let engine = dir.write("any.engine", "a plan");
    let sha256 = |file: &Path| {
        let script = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
        let ran = Command::new(python).args(["-c", script]).arg(file).output().expect("python starts");
        String::from_utf8(ran.stdout).expect("a hash").trim().to_owned()
    };
    let mut manifest = Manifest {
        format: 1,
        engine_sha256: sha256(&engine),
        onnx_sha256: sha256(&dir.join(onnx)),
        onnx_file: Some(onnx.to_owned()),
        library: "TensorRT".to_owned(),
        version: "10.13.2".to_owned(),
        gpu: Some("NVIDIA L4".to_owned()),
        targets: vec!["sm_89".to_owned()],
        precision: Some("fp32".to_owned()),
        batch: Batches { min: 1, opt: 4, max: 6 },
        model: ModelSource::Path(dir.join(onnx)).load().expect("a model").info,
    };
    change(&mut manifest);
    let text = serde_json::to_string(&manifest).expect("JSON");
    fs::write(Manifest::path(&engine), text).expect("room for a file");
}

#[test]
fn an_onnx_file_goes_as_it_is_and_its_engine_with_it() {
    let Some((dir, python)) = material() else { return };
    let export =
        |more: &[&str]| dir.yf(&[&["export", "mid-n.safetensors", "--imgsz", "320"][..], more].concat());
    export(&["--onnx", "--dynamic", "-o", "any.onnx"]).succeeds();
    export(&["--onnx", "-o", "one.onnx"]).succeeds();
    engine_of(&dir, &python, "any.onnx", |_| {});
    let said = dir.yf(&["export", "any.onnx", "--triton", "models"]).succeeds().stdout();
    assert_eq!(said.lines().collect::<Vec<_>>(), ["models/yf/1", "models/yf_trt/1"]);
    assert_eq!(fs::read(dir.join("models/yf/1/model.onnx")).ok(), fs::read(dir.join("any.onnx")).ok());
    assert_eq!(fs::read(dir.join("models/yf_trt/1/model.plan")).expect("a plan"), b"a plan");
    let config = read(&python, &dir.join("models/yf_trt"));
    assert_eq!(
        (&config["platform"], &config["instances"]),
        (&json!("tensorrt_plan"), &json!([[1, "KIND_GPU"]]))
    );
    assert_eq!((&config["max_batch"], &config["preferred"]), (&json!(6), &json!([3, 6])));
    dir.yf(&["export", "any.onnx", "--triton", "models"]).succeeds();
    assert!(dir.join("models/yf/2/model.onnx").is_file());
    dir.yf(&["export", "any.onnx", "--triton", "models", "--max-batch", "4"])
        .refuses(2, &["config.pbtxt", "another name"]);
    dir.yf(&["export", "one.onnx", "--triton", "models"]).refuses(2, &["exactly one pair", "--dynamic"]);
    dir.yf(&["export", "any.onnx", "--triton", "models", "--fp16"]).refuses(2, &["--fp16", "weights"]);
    dir.yf(&["export", "any.onnx", "--triton", "models", "-o", "x.onnx"]).refuses(2, &["-o"]);
    dir.yf(&["export", "any.onnx", "--triton", "models", "--name", "a/b"]).refuses(2, &["a/b"]);
    dir.yf(&["export", "any.onnx", "--onnx"]).refuses(2, &["any.onnx", "--onnx"]);
    for flags in [
        &["--onnx", "--name", "x"][..],
        &["--triton", "models", "-o", "x.onnx"],
        &["--triton", "m", "--max-batch", "0"],
    ] {
        export(flags).ends_with(2);
    }
}

#[test]
fn an_engine_that_the_server_would_not_run_is_left_out_and_said() {
    let Some((dir, python)) = material() else { return };
    dir.yf(&["export", "mid-n.safetensors", "--imgsz", "320", "--onnx", "--dynamic", "-o", "any.onnx"])
        .succeeds();
    dir.yf(&["export", "mid-n.safetensors", "--imgsz", "320", "--onnx", "-o", "one.onnx"]).succeeds();
    let left_out = |name: &str, words: &str| {
        let said = dir.yf(&["export", "any.onnx", "--triton", "models", "--name", name]).succeeds();
        assert_eq!(said.stdout().trim(), format!("models/{name}/1"));
        assert!(
            said.stderr().contains("any.engine is left out") && said.stderr().contains(words),
            "{}",
            said.stderr()
        );
    };
    engine_of(&dir, &python, "any.onnx", |manifest| manifest.library = "TensorRT-RTX".to_owned());
    left_out("rtx", "full TensorRT");
    engine_of(&dir, &python, "one.onnx", |_| {});
    left_out("other", "another ONNX file");
    engine_of(&dir, &python, "any.onnx", |manifest| manifest.batch = Batches::fixed(4));
    left_out("fixed", "4 pairs a run");
    engine_of(&dir, &python, "any.onnx", |manifest| manifest.engine_sha256.clear());
    left_out("damaged", "any.engine");
}
