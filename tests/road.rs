//! The whole road through the binary: pairs, training, validation, ONNX, inference.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use common::{Dir, python, trainer};
use serde_json::Value;

/// A tiny data set and a run of two epochs on it, copied from the one that all tests share and the last one drops.
/// `None` where there is no trainer.
fn trained() -> Option<(Arc<Dir>, Dir)> {
    static SHARED: Mutex<Weak<Dir>> = Mutex::new(Weak::new());
    trainer()?;
    let mut shared = SHARED.lock().expect("no test has failed in training");
    let made = shared.upgrade().unwrap_or_else(|| Arc::new(train()));
    *shared = Arc::downgrade(&made);
    let copy = Dir::copy_of(&made);
    Some((made, copy))
}

fn train() -> Dir {
    let dir = Dir::new();
    dir.synth(10);
    let line = ["train", "--data", "pairs/data.yaml", "--imgsz", "64", "--epochs", "2", "--batch", "4"];
    let ran = dir.yf(&[&line[..], &["--device", "cpu"]].concat()).succeeds();
    assert!(ran.stdout().contains("IR alone"), "{}", ran.stdout());
    dir
}

/// A validation pair's RGB and infrared file, from the test's folder.
fn a_pair(dir: &Dir) -> (String, String) {
    let first = |kind: &str| {
        let folder = format!("pairs/{kind}/val");
        let files = fs::read_dir(dir.join(&folder)).expect("pictures");
        let names = files.map(|entry| entry.expect("a file").file_name().into_string().expect("UTF-8"));
        format!("{folder}/{}", names.min().expect("a picture"))
    };
    (first("images"), first("imagesIR"))
}

fn is_file_with_bytes(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

#[test]
fn pairs_become_weights_onnx_and_boxes() {
    let Some((_made, dir)) = trained() else { return };
    for file in [
        "weights/best.safetensors",
        "weights/last.safetensors",
        "results.csv",
        "args.toml",
        "results.png",
        "labels.png",
        "train_batch.jpg",
    ] {
        assert!(is_file_with_bytes(&dir.join("runs/train/exp").join(file)), "{file}");
    }
    counted_up(&dir);
    described(&dir);
    exported(&dir);
    validated_alike(&dir);
    inferred(&dir);
    measured(&dir);
}

/// A second run does not touch the first.
fn counted_up(dir: &Dir) {
    let first = fs::read(dir.join("runs/train/exp/weights/best.safetensors")).expect("weights");
    dir.yf(&[
        "train",
        "--data",
        "pairs/data.yaml",
        "--imgsz",
        "64",
        "--epochs",
        "1",
        "--batch",
        "4",
        "--device",
        "cpu",
        "--weights",
        "runs/train/exp/weights/best.safetensors",
    ])
    .succeeds();
    assert!(is_file_with_bytes(&dir.join("runs/train/exp2/weights/best.safetensors")));
    assert_eq!(fs::read(dir.join("runs/train/exp/weights/best.safetensors")).expect("weights"), first);
    dir.yf(&["train", "--resume", "runs/train/exp", "--epochs", "9"]).refuses(2, &["--epochs", "--resume"]);
}

fn described(dir: &Dir) {
    let info = dir.yf(&["info", "runs/train/exp/weights/best.safetensors", "--json"]).succeeds().json();
    assert_eq!(info["imgsz"], serde_json::json!([64, 64]));
    let names = info["names"].as_array().expect("names");
    assert_eq!(Some(names.len() as u64), info["classes"].as_u64());
}

/// `yf export` takes the newest run's best weights and writes beside them, or where it is told to.
fn exported(dir: &Dir) {
    let weights = dir.join("runs/train/exp2/weights");
    let said = dir.yf(&["export", "--onnx"]).succeeds();
    assert!(said.stdout().trim().ends_with("exp2/weights/best.onnx"), "{}", said.stdout());
    dir.yf(&["export", "--onnx", "--fp16"]).succeeds();
    let size = |name: &str| fs::metadata(weights.join(name)).expect(name).len() as f64;
    assert!(size("best.fp16.onnx") < 0.6 * size("best.onnx"));
    dir.yf(&["export", "--onnx", "--dynamic", "--imgsz", "64x96", "-o", "wide.onnx"]).succeeds();
    let wide = dir.yf(&["info", "wide.onnx", "--json"]).succeeds().json();
    assert_eq!((&wide["imgsz"], &wide["batch"]), (&serde_json::json!([64, 96]), &Value::Null));
    dir.yf(&["export", "--onnx", "--imgsz", "70"]).refuses(2, &["70", "32"]);
    dir.yf(&["export", "--onnx", "-o", "x.txt"]).refuses(2, &["x.txt", "ends in .onnx"]);
    dir.yf(&["export", "--onnx", "-o", "nowhere/x.onnx"]).refuses(2, &["nowhere"]);
    checked_by_onnx(&[&weights.join("best.onnx"), &weights.join("best.fp16.onnx"), &dir.join("wide.onnx")]);
}

fn checked_by_onnx(files: &[&Path]) {
    let Some(python) = python() else { return };
    let script = "import sys, onnx\nfor f in sys.argv[1:]: onnx.checker.check_model(f, full_check=True)";
    let checked = Command::new(python).args(["-c", script]).args(files).output().expect("python starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// libtorch, the embedded backend and ONNX Runtime measure the same network.
fn validated_alike(dir: &Dir) {
    let val = |more: &[&str]| {
        dir.yf(&[&["val", "--data", "pairs/data.yaml", "--json"][..], more].concat()).succeeds().json()
    };
    let weights = val(&["--weights", "runs/train/exp2/weights/best.safetensors", "--device", "cpu"]);
    let exported = val(&["--weights", "runs/train/exp2/weights/best.onnx", "--backend", "embedded"]);
    for key in ["map50", "map50_95", "precision", "recall"] {
        let (a, b) = (weights[key].as_f64().expect(key), exported[key].as_f64().expect(key));
        assert!((a - b).abs() < 0.02, "{key}: {a} by libtorch, {b} as ONNX");
        assert!(
            weights["per_class"][0][key].is_number() && exported["per_class"][0][key].is_number(),
            "{key}"
        );
    }
    assert_eq!(weights["instances"], exported["instances"]);
    val(&["--modality", "ir", "--backend", "embedded"]);
    dir.yf(&["val", "--data", "pairs/data.yaml", "--split", "test"]).refuses(2, &["test"]);
}

fn inferred(dir: &Dir) {
    let (rgb, ir) = a_pair(dir);
    // The newest model is the fp16 one; at a score of 0 something is always found.
    let ran = dir.yf(&["infer", &rgb, &ir]).succeeds();
    assert!(ran.stdout().contains(&rgb), "{}", ran.stdout());
    let pictures = |folder: &str| fs::read_dir(dir.join(folder)).map_or(0, Iterator::count);
    assert_eq!(pictures("runs/predict/exp"), 1);
    dir.yf(&["infer", &rgb, &ir]).succeeds();
    assert_eq!(pictures("runs/predict/exp2"), 1);

    let mut backends = vec!["auto", "embedded"];
    if python().is_some() {
        backends.push("ort");
    }
    let found: Vec<Value> = backends
        .iter()
        .map(|backend| {
            let model = "runs/train/exp2/weights/best.onnx";
            let line =
                ["infer", &rgb, &ir, "--model", model, "--json", "--conf", "0.001", "--backend", backend];
            dir.yf(&line).succeeds().json()
        })
        .collect();
    assert_eq!(pictures("runs/predict"), 2, "--json writes no picture");
    for object in &found {
        assert_eq!(object["rgb"].as_str(), Some(rgb.as_str()));
        assert!(object["ms"]["network"].is_number());
        for detection in object["detections"].as_array().expect("detections") {
            assert!(detection["name"].is_string() && detection["score"].is_number());
            let inside = |v: &Value, side: f64| v.as_f64().is_some_and(|v| (0.0..=side).contains(&v));
            let corners = detection["box"].as_array().expect("a box");
            assert!(inside(&corners[0], 160.0) && inside(&corners[3], 128.0), "{detection}");
        }
    }
    let counts: Vec<usize> = found.iter().map(|o| o["detections"].as_array().map_or(0, Vec::len)).collect();
    assert!(counts.iter().all(|&count| count.abs_diff(counts[0]) <= 2), "{backends:?}: {counts:?}");

    // Weights are exported in memory; folders are paired; labels are written where that is asked.
    let weights = "runs/train/exp2/weights/best.safetensors";
    let line = [
        "infer",
        "pairs/images/val",
        "pairs/imagesIR/val",
        "--model",
        weights,
        "--save",
        "out",
        "--save-txt",
    ];
    dir.yf(&line).succeeds();
    assert_eq!(pictures("out/labels"), 2);
    // Nothing that was given is written over.
    for folder in ["pairs/images/val", "pairs/imagesIR/val", "pairs"] {
        let line = ["infer", "pairs/images/val", "pairs/imagesIR/val", "--model", weights, "--save", folder];
        dir.yf(&line).refuses(2, &["holds pairs/images", "another folder"]);
    }
    for (folder, word) in
        [("pairs/images/val/out", "lies in pairs/images"), ("pairs/images/train", "the data set")]
    {
        let line = ["infer", "pairs/images/val", "pairs/imagesIR/val", "--model", weights, "--save", folder];
        dir.yf(&line).refuses(2, &[word, "another folder"]);
    }
}

fn measured(dir: &Dir) {
    let model = "runs/train/exp2/weights/best.onnx";
    let bench = dir
        .yf(&["bench", "infer", model, "--runs", "2", "--backend", "embedded", "--json"])
        .succeeds()
        .json();
    for stage in ["decode", "letterbox", "network", "suppression", "whole"] {
        assert!(bench[stage]["p50"].as_f64().is_some_and(|ms| ms > 0.0), "{stage}");
    }
    let line = [
        "bench",
        "train",
        "--data",
        "pairs/data.yaml",
        "--imgsz",
        "64",
        "--batch",
        "4",
        "--device",
        "cpu",
        "--steps",
        "2",
        "--json",
    ];
    let bench = dir.yf(&line).succeeds().json();
    assert!(bench["pairs_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{bench}");
}

#[test]
fn a_broken_pair_is_named_and_the_others_go_on() {
    let Some((_made, dir)) = trained() else { return };
    let (rgb, _) = a_pair(&dir);
    fs::write(dir.join(&rgb), "no picture").expect("room");
    let folders = ["infer", "pairs/images/val", "pairs/imagesIR/val", "--json"];
    let ran = dir.yf(&folders).ends_with(1);
    assert!(ran.stderr().contains(&format!("error: {rgb}")), "{}", ran.stderr());
    assert_eq!(ran.stdout().lines().count(), 1);
    let strict = dir.yf(&[&folders[..], &["--strict"]].concat()).refuses(1, &[&rgb]);
    assert!(strict.stdout().is_empty());
}

#[test]
fn a_full_disk_loses_nothing() {
    let Some((_made, dir)) = trained() else { return };
    dir.yf(&["export", "--onnx"]).succeeds();
    let model = dir.join("runs/train/exp/weights/best.onnx");
    let before = fs::read(&model).expect("a model");
    // A limit on the size of files stands in for the disk: the write fails half way, with an error and no signal.
    let shell = format!("trap '' XFSZ; ulimit -f 100; exec {} export --onnx", env!("CARGO_BIN_EXE_yf"));
    let ran =
        Command::new("bash").args(["-c", &shell]).current_dir(dir.path()).output().expect("bash starts");
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("error: ") && stderr.contains("best.onnx"), "{stderr}");
    assert_eq!(fs::read(&model).expect("a model"), before);
    let left: Vec<_> = fs::read_dir(dir.join("runs/train/exp/weights")).expect("weights").collect();
    assert_eq!(left.len(), 3, "{left:?}");
}
