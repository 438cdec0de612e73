//! Networks for one camera: COCO's YOLOv8n finds what it should, and a baseline goes the whole road.

mod common;

use std::fs;
use std::path::Path;

use common::{Dir, python, shared, trainer};
use serde_json::Value;
use yf_data::detection::{Detection, Suppression, iou};
use yf_deploy::DeployError;
use yf_deploy::backend::{self, Choice, Options};
use yf_deploy::model::ModelSource;
use yf_deploy::pairing::Files;
use yf_deploy::pipeline::{Pipeline, Settings};

/// The truth's least overlap and largest difference in score.
const SAME: (f32, f32) = (0.98, 0.02);
const CONF: f32 = 0.25;

/// What a model finds in a picture, and in what.
struct Finding<'a> {
    model: &'a [u8],
    choice: Choice,
    picture: &'a Path,
}

impl Finding<'_> {
    /// Everything above the confidence that the truth's weakest detections may have here.
    fn detections(&self) -> Vec<Detection> {
        let source = ModelSource::Bytes { name: "yolov8n".to_owned(), bytes: self.model.to_vec() };
        let backend = backend::open(source, self.choice, &Options::default()).unwrap();
        let suppression = Suppression { conf: CONF - SAME.1, ..Suppression::INFER };
        let settings = Settings { suppression, strict: true, ..Settings::default() };
        let mut found = Vec::new();
        let files = [Files::One(self.picture.to_owned())];
        let ran: Result<(), DeployError> = Pipeline::new(backend, settings).run(&files, |result| {
            found = result?.detections;
            Ok(())
        });
        ran.unwrap();
        found
    }
}

fn expected(picture: &Value) -> Vec<Detection> {
    let number = |v: &Value| v.as_f64().unwrap() as f32;
    let read = |d: &Value| Detection {
        class: d["cls"].as_u64().unwrap() as usize,
        score: number(&d["score"]),
        bbox: [0, 1, 2, 3].map(|i| number(&d["box"][i])),
    };
    picture.as_array().unwrap().iter().map(read).collect()
}

/// Each of `wanted` is found, and nothing else that is clearly above the confidence.
fn assert_found(found: &[Detection], wanted: &[Detection], what: &str) {
    let (mut least, mut most) = (1f32, 0f32);
    for want in wanted {
        let overlap = |f: &&Detection| iou(&f.bbox, &want.bbox);
        let of_its_class = found.iter().filter(|f| f.class == want.class);
        let best = of_its_class.max_by(|a, b| overlap(a).total_cmp(&overlap(b)));
        let best = best.unwrap_or_else(|| panic!("{what}: nothing of class {}", want.class));
        least = least.min(overlap(&best));
        most = most.max((best.score - want.score).abs());
    }
    eprintln!("{what}: {} detections, IoU {least:.4}, scores differ by {most:.4}", wanted.len());
    assert!(least >= SAME.0 && most <= SAME.1, "{what}: IoU {least}, score {most}");
    let clear = found.iter().filter(|f| f.score > CONF + SAME.1).count();
    let sure = wanted.iter().filter(|w| w.score > CONF + 2.0 * SAME.1).count();
    assert!((sure..=wanted.len()).contains(&clear), "{what}: {clear} of {}\n{found:#?}", wanted.len());
}

#[test]
fn yolov8n_finds_what_it_should_on_every_backend_and_in_either_precision() {
    let Some(shared) = shared() else { return };
    let file = shared.join("weights/yolov8n_coco.safetensors");
    let weights = yf_import::weights(&file, &yf_import::Limits::default()).unwrap();
    let truth = fs::read(shared.join("weights/yolov8n_expected.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    let mut choices = vec![Choice::Embedded];
    choices.extend(python().map(|_| Choice::Ort));
    for fp16 in [false, true] {
        let options = yf_export::Options { fp16, ..yf_export::Options::default() };
        let model = yf_export::onnx(&weights, &options).unwrap();
        for &choice in &choices {
            for name in ["bus.jpg", "zidane.jpg"] {
                let picture = shared.join("weights/test_images").join(name);
                let found = Finding { model: &model, choice, picture: &picture }.detections();
                let what = format!("{name}, {choice}, {}", if fp16 { "fp16" } else { "fp32" });
                assert_found(&found, &expected(&truth["pictures"][name]), &what);
            }
        }
    }
}

/// Trains a baseline of one camera on a tiny data set.
fn trained(dir: &Dir, modality: &[&str]) -> String {
    let line =
        ["train", "--data", "pairs/data.yaml", "--model", "yolov8-n", "--imgsz", "64", "--epochs", "1"];
    let ran = dir.yf(&[&line[..], &["--batch", "4", "--device", "cpu"], modality].concat()).succeeds();
    let rows: Vec<String> = ran.stdout().lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 3, "a header, one camera, the best epoch: {rows:?}");
    ran.stdout() + &ran.stderr()
}

#[test]
fn a_baseline_of_the_infrared_camera_goes_the_whole_road() {
    let Some(_) = trainer() else { return };
    let dir = Dir::new();
    dir.synth(10);
    let told = trained(&dir, &["--modality", "ir"]);
    assert!(told.lines().any(|row| row.starts_with("IR ")), "{told}");
    let exported = dir.yf(&["export", "--onnx"]).succeeds();
    let model = exported.stdout().trim().to_owned();
    let info = dir.yf(&["info", &model, "--json"]).succeeds().json();
    assert_eq!(info["inputs"].as_array().map(Vec::len), Some(1), "{info}");

    // The camera it was trained on is what every command shows it.
    let val = |more: &[&str]| {
        let line = ["val", "--data", "pairs/data.yaml", "--json"];
        dir.yf(&[&line[..], more].concat()).succeeds().json()
    };
    let scores =
        |report: &Value| ["map50", "map50_95", "precision", "recall"].map(|key| report[key].as_f64());
    let weights = val(&["--device", "cpu"]);
    assert_eq!(scores(&weights), scores(&val(&["--device", "cpu", "--modality", "ir"])));
    let backend = ["--weights", &model, "--backend", "embedded"];
    assert_eq!(scores(&val(&backend)), scores(&val(&[&backend[..], &["--modality", "ir"]].concat())));

    let file = |kind: &str| {
        let folder = format!("pairs/{kind}/val");
        let first = fs::read_dir(dir.join(&folder)).unwrap().map(|e| e.unwrap().file_name()).min().unwrap();
        format!("{folder}/{}", first.to_str().unwrap())
    };
    let (rgb, ir) = (file("images"), file("imagesIR"));
    let infer = |files: &[&str]| {
        let line = ["--model", &model, "--json", "--conf", "0.0001", "--backend", "embedded"];
        dir.yf(&[&["infer"][..], files, &line].concat()).succeeds().json()
    };
    let (pair, alone) = (infer(&[&rgb, &ir]), infer(&[&ir]));
    assert_eq!(pair["detections"], alone["detections"], "the infrared picture is the one that counts");
    assert_eq!((&alone["rgb"], alone["ir"].as_str()), (&Value::Null, Some(ir.as_str())));
    assert_ne!(infer(&[&rgb])["detections"], alone["detections"]);
    dir.yf(&["infer", "pairs/imagesIR/val", "--model", &model, "--save", "out"]).succeeds();
    assert_eq!(fs::read_dir(dir.join("out")).unwrap().count(), 2);
    dir.yf(&["bench", "infer", &model, "--runs", "1", "--backend", "embedded"]).succeeds();
}

#[test]
fn without_a_word_a_baseline_sees_rgb_and_a_start_keeps_its_camera() {
    let Some(_) = trainer() else { return };
    let dir = Dir::new();
    dir.synth(10);
    let told = trained(&dir, &[]);
    assert!(told.contains("yolov8-n sees one camera: rgb"), "{told}");
    assert!(told.lines().any(|row| row.starts_with("RGB ")), "{told}");
    let infrared =
        ["--modality", "ir", "--name", "ir", "--weights", "runs/train/exp/weights/best.safetensors"];
    assert!(trained(&dir, &infrared).contains("all "), "the table of the start");
    let again = trained(&dir, &["--weights", "runs/train/ir/weights/best.safetensors"]);
    assert!(again.contains("sees one camera: ir"), "{again}");
    // A fusion from a baseline, and what a fusion cannot do.
    let line = ["train", "--data", "pairs/data.yaml", "--imgsz", "64", "--epochs", "1", "--device", "cpu"];
    let best = "runs/train/ir/weights/best.safetensors";
    let fused = [&line[..], &["--model", "data-n", "--name", "data", "--weights", best]].concat();
    assert!(dir.yf(&fused).succeeds().stderr().contains("data-n starts from yolov8-n"));
    let refused = [&line[..], &["--model", "mid-n", "--weights", best]].concat();
    dir.yf(&refused).refuses(2, &[best, "fits mid-n", "it would fit mid-s"]);
    let fused = "runs/train/data/weights/best.safetensors";
    dir.yf(&["infer", "pairs/images/val", "--model", fused]).refuses(2, &["two cameras", "IR"]);
}
