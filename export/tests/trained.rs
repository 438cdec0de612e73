//! A trained one-stream network, end to end: exported, run in ONNX Runtime, it finds in photographs what its
//! authors' program finds; and half precision finds the same.

mod material;

use std::path::Path;

use material::{Material, workspace};
use safetensors::SafeTensors;
use serde_json::Value;
use yf_data::decode::{self, Limits};
use yf_data::detection::{Detection, Suppression, iou, suppress};
use yf_data::letterbox::{self, Letterbox};
use yf_data::picture::{Pair, Picture};
use yf_export::{Options, export_file};
use yf_models::weights::Array;
use yf_models::{Header, Weights};

const SIDE: usize = 640;
const CLASSES: usize = 80;

/// Two detections are the same where their boxes overlap by this and their scores differ by no more than that.
const SAME: (f32, f32) = (0.98, 0.02);

/// COCO-trained YOLOv8n: a plain safetensors file, to which the configuration beside this file belongs.
fn yolov8n(material: &Material) -> Weights {
    let bytes = std::fs::read(material.shared.join("weights/yolov8n_coco.safetensors")).unwrap();
    let array = |view: safetensors::tensor::TensorView<'_>| Array {
        shape: view.shape().to_vec(),
        data: view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    };
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let header = Header {
        model: "yolov8n".into(),
        config: std::fs::read_to_string(workspace().join("export/tests/yolov8.yaml")).unwrap(),
        scale: "n".into(),
        names: (0..CLASSES).map(|i| format!("class {i}")).collect(),
        imgsz: SIDE,
        version: "0".into(),
        epoch: 0,
        modality: None,
        training: None,
    };
    Weights { header, tensors: tensors.into_iter().map(|(name, view)| (name, array(view))).collect() }
}

/// What the model finds in a picture, in pixels of the file.
fn detections(material: &Material, model: &Path, picture: &Path) -> Vec<Detection> {
    let dir = tempfile::tempdir().unwrap();
    let (fed, out) = (dir.path().join("images.f32"), dir.path().join("output.f32"));
    let rgb = decode::read_rgb(picture, &Limits::default()).unwrap();
    let frame = Letterbox::new((rgb.width, rgb.height), (SIDE, SIDE));
    let rgb = bilinear(&rgb, frame.resized);
    let ir = Picture::filled(rgb.width, rgb.height, [0]);
    let (mut images, mut unused) = (vec![0.0; 3 * SIDE * SIDE], vec![0.0; 3 * SIDE * SIDE]);
    letterbox::write_planes(&frame.apply(&Pair { rgb, ir }), &mut images, &mut unused);
    std::fs::write(&fed, images.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    material.python(&[&workspace().join("export/tests/onnx_run.py"), model, &fed, &out]);
    let output = std::fs::read(&out).unwrap();
    let raw: Vec<f32> = output.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let mut found = suppress(&raw, CLASSES, raw.len() / (4 + CLASSES), &Suppression::INFER);
    for detection in &mut found {
        detection.bbox = frame.to_source(detection.bbox);
    }
    found
}

/// Bilinear between the four nearest pixels, as the truth's program resizes: no smoothing where it shrinks.
fn bilinear(picture: &Picture<3>, (width, height): (usize, usize)) -> Picture<3> {
    let at = |i: usize, from: usize, to: usize| {
        let x = ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
        (x as usize, (x as usize + 1).min(from - 1), x.fract())
    };
    let mut resized = Picture::filled(width, height, [0; 3]);
    for y in 0..height {
        let (above, below, dy) = at(y, picture.height, height);
        for x in 0..width {
            let (left, right, dx) = at(x, picture.width, width);
            for c in 0..3 {
                let pixel = |row: usize, column: usize| f64::from(picture.row(row)[3 * column + c]);
                let along = |row| pixel(row, left) * (1.0 - dx) + pixel(row, right) * dx;
                let value = along(above) * (1.0 - dy) + along(below) * dy;
                resized.pixels[3 * (y * width + x) + c] = value.round() as u8;
            }
        }
    }
    resized
}

fn expected(pictures: &Value, name: &str) -> Vec<Detection> {
    let number = |v: &Value| v.as_f64().unwrap() as f32;
    let found = pictures[name].as_array().unwrap();
    let read = |d: &Value| Detection {
        class: d["cls"].as_u64().unwrap() as usize,
        score: number(&d["score"]),
        bbox: [0, 1, 2, 3].map(|i| number(&d["box"][i])),
    };
    found.iter().map(read).collect()
}

fn assert_same(found: &[Detection], wanted: &[Detection], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}: {found:#?} {wanted:#?}");
    let (mut least_iou, mut most_score) = (1f32, 0f32);
    for want in wanted {
        let of_its_class = found.iter().filter(|f| f.class == want.class);
        let best = of_its_class.max_by(|a, b| iou(&a.bbox, &want.bbox).total_cmp(&iou(&b.bbox, &want.bbox)));
        let best = best.unwrap_or_else(|| panic!("{what}: nothing of class {}", want.class));
        least_iou = least_iou.min(iou(&best.bbox, &want.bbox));
        most_score = most_score.max((best.score - want.score).abs());
    }
    eprintln!("{what}: {} detections, IoU {least_iou}, scores differ by {most_score}", wanted.len());
    assert!(least_iou >= SAME.0 && most_score <= SAME.1, "{what}: IoU {least_iou}, score {most_score}");
}

#[test]
fn a_trained_network_finds_what_it_should_in_either_precision() {
    let Some(material) = Material::find() else { return };
    let weights = yolov8n(&material);
    let dir = tempfile::tempdir().unwrap();
    let [single, half] = [false, true].map(|fp16| {
        let options = Options { fp16, ..Options::default() };
        let path = options.default_path(&dir.path().join("best.safetensors"));
        export_file(&weights, &options, &path).unwrap();
        path
    });
    let folder = material.shared.join("weights");
    let truth = std::fs::read(folder.join("yolov8n_expected.json")).unwrap();
    let truth: Value = serde_json::from_slice(&truth).unwrap();
    for name in ["bus.jpg", "zidane.jpg"] {
        let picture = folder.join("test_images").join(name);
        let [single, half] = [&single, &half].map(|model| detections(&material, model, &picture));
        assert_same(&single, &expected(&truth["pictures"], name), &format!("{name}, fp32 and the truth"));
        assert_same(&half, &single, &format!("{name}, fp16 and fp32"));
    }
}
