//! Exports that take bytes, and exports with suppression inside, find what the plain export finds: every fusion, and
//! COCO's YOLOv8n on pictures of the street.

mod common;

use std::path::{Path, PathBuf};

use common::{Dir, python, shared};
use yf_data::decode::{Limits, read_ir, read_rgb};
use yf_data::detection::{Detection, Suppression, iou};
use yf_data::letterbox::{Letterbox, write_ir, write_rgb};
use yf_deploy::DeployError;
use yf_deploy::backend::{self, Choice, Options};
use yf_deploy::model::{ModelSource, Values};
use yf_deploy::pairing::Files;
use yf_deploy::pipeline::{Pipeline, Settings};
use yf_export::Nms;
use yf_models::Weights;

/// Least overlap and largest difference in score, in single and in half precision.
const SINGLE: (f32, f32) = (0.99, 0.01);
const HALF: (f32, f32) = (0.98, 0.02);

fn imported(file: &Path) -> Weights {
    let checkpoint = yf_import::read(file, &yf_import::Limits::default()).unwrap();
    yf_import::identify(checkpoint).unwrap().weights
}

/// One network, one set of files, one confidence.
struct Case {
    name: String,
    weights: Weights,
    files: Files,
    conf: f32,
    imgsz: usize,
}

impl Case {
    fn onnx(&self, fp16: bool, bytes: bool, nms: bool) -> Vec<u8> {
        let nms = nms.then_some(Nms { conf: self.conf, ..Nms::default() });
        let imgsz = Some((self.imgsz, self.imgsz));
        let options = yf_export::Options { fp16, bytes, nms, imgsz, ..yf_export::Options::default() };
        yf_export::onnx(&self.weights, &options).unwrap()
    }

    fn found(&self, onnx: Vec<u8>, choice: Choice, conf: f32) -> Vec<Detection> {
        let source = ModelSource::Bytes { name: self.name.clone(), bytes: onnx };
        let options = Options { threads: Some(2), ..Options::default() };
        let backend = backend::open(source, choice, &options).unwrap();
        let suppression = Suppression { conf, ..Suppression::INFER };
        let settings = Settings { suppression, strict: true, ..Settings::default() };
        let mut found = Vec::new();
        let ran: Result<(), DeployError> =
            Pipeline::new(backend, settings).run(std::slice::from_ref(&self.files), |result| {
                found = result?.detections;
                Ok(())
            });
        ran.unwrap();
        found
    }

    /// The plain export's detections, and a little more of them, against those of every variant.
    fn variants_agree(&self) {
        let plain = self.found(self.onnx(false, false, false), Choice::Ort, self.conf);
        assert!(plain.len() >= 2, "{}: {plain:?}", self.name);
        for (fp16, bytes, nms, choice) in [
            (false, true, false, Choice::Ort),
            (false, false, true, Choice::Ort),
            (false, true, true, Choice::Ort),
            (false, true, false, Choice::Embedded),
            (true, true, false, Choice::Ort),
            (true, true, true, Choice::Ort),
        ] {
            let allowed = if fp16 { HALF } else { SINGLE };
            let found = self.found(self.onnx(fp16, bytes, nms), choice, self.conf);
            let what = format!("{} fp16 {fp16} u8 {bytes} nms {nms} {choice}", self.name);
            eprintln!("{what}: {} detections, {} plain", found.len(), plain.len());
            assert_same(&plain, &found, self.conf, allowed, &format!("{what}: gone"));
            assert_same(&found, &plain, self.conf, allowed, &format!("{what}: new"));
        }
    }
}

/// All of `wanted` that are clearly above the confidence are in `found`.
fn assert_same(
    wanted: &[Detection],
    found: &[Detection],
    conf: f32,
    (overlap, score): (f32, f32),
    what: &str,
) {
    for want in wanted.iter().filter(|d| d.score > conf + score) {
        let same = |d: &&Detection| {
            d.class == want.class
                && iou(&d.bbox, &want.bbox) >= overlap
                && (d.score - want.score).abs() <= score
        };
        assert!(found.iter().any(|d| same(&d)), "{what}: {want:?} of {wanted:?} in {found:?}");
    }
}

#[test]
fn a_trained_network_finds_the_same() {
    let (Some(shared), Some(_)) = (shared(), python()) else { return };
    let weights = imported(&shared.join("weights/yolov8n_coco.safetensors"));
    for name in ["bus.jpg", "zidane.jpg"] {
        let files = Files::One(shared.join("weights/test_images").join(name));
        let case = Case { name: name.to_owned(), weights: weights.clone(), files, conf: 0.25, imgsz: 640 };
        case.variants_agree();
    }
}

/// Random weights give boxes whose scores hardly differ, so raw maps are compared: an export that takes bytes gives what
/// the plain one gives, and suppression inside leaves what suppression in Rust leaves of the same network's raw maps.
fn fusion_agrees(name: &str) {
    let (Some(shared), Some(_)) = (shared(), python()) else { return };
    let weights = imported(&shared.join(format!("fixtures/networks/{name}.pt")));
    let sample = shared.join("data/llvip_sample");
    let file = |folder: &str| -> PathBuf { sample.join(folder).join("190003.jpg") };
    let (rgb, ir) = (file("images"), file("imagesIR"));
    let files = Files::Pair { rgb: rgb.clone(), ir: ir.clone() };
    let mut case = Case { name: name.to_owned(), weights, files, conf: 0.0, imgsz: 320 };
    let framed = Framed::read(&rgb, &ir, case.imgsz);
    for (fp16, choice, (px, score)) in [
        (false, Choice::Ort, (1e-2, 1e-5)),
        (false, Choice::Embedded, (1e-2, 1e-5)),
        (true, Choice::Ort, (0.2, 1e-2)),
    ] {
        let plain = framed.raw(case.onnx(fp16, false, false), choice);
        let bytes = framed.raw(case.onnx(fp16, true, false), choice);
        let boxes = plain.len() / 5 * 4;
        let far = |from: usize, to: usize| {
            let pairs = plain[from..to].iter().zip(&bytes[from..to]);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let (off, score_off) = (far(0, boxes), far(boxes, plain.len()));
        eprintln!("{name} u8 {choice} fp16 {fp16}: {off:.1e} px, {score_off:.1e} in score");
        assert!(off <= px && score_off <= score, "{name} {choice}: {off} px, {score_off}");
    }
    let all = case.found(case.onnx(false, false, false), Choice::Ort, 0.0);
    assert!(all.len() > 20, "{name}: {} boxes", all.len());
    case.conf = (all[14].score + all[15].score) / 2.0;
    for bytes in [false, true] {
        let plain = case.found(case.onnx(false, bytes, false), Choice::Ort, case.conf);
        let found = case.found(case.onnx(false, bytes, true), Choice::Ort, case.conf);
        assert_eq!(plain.len(), found.len(), "{name}");
        assert_same(&plain, &found, 0.0, (0.999, 1e-6), &format!("{name} nms, u8 {bytes}"));
    }
}

/// A letterboxed pair.
struct Framed {
    rgb: Vec<u8>,
    ir: Vec<u8>,
}

impl Framed {
    fn read(rgb: &Path, ir: &Path, side: usize) -> Self {
        let limits = Limits::default();
        let (rgb, ir) = (read_rgb(rgb, &limits).unwrap(), read_ir(ir, &limits).unwrap());
        let letterbox = Letterbox::new(rgb.size(), (side, side));
        Self { rgb: letterbox.frame(&rgb).pixels, ir: letterbox.frame(&ir).pixels }
    }

    /// What the network gives for it.
    fn raw(&self, onnx: Vec<u8>, choice: Choice) -> Vec<f32> {
        let source = ModelSource::Bytes { name: "variant.onnx".to_owned(), bytes: onnx };
        let options = Options { threads: Some(2), ..Options::default() };
        let mut backend = backend::open(source, choice, &options).unwrap();
        if backend.info().values == Values::Bytes {
            return backend.run(&[[self.rgb.as_slice().into(), self.ir.as_slice().into()]]).unwrap();
        }
        let [mut rgb, mut ir] = [0, 1].map(|input| vec![0.0; backend.info().input_len(input)]);
        write_rgb(&self.rgb, &mut rgb);
        write_ir(&self.ir, &mut ir);
        backend.run(&[[rgb.as_slice().into(), ir.as_slice().into()]]).unwrap()
    }
}

#[test]
fn early_agrees() {
    fusion_agrees("early-n");
}

#[test]
fn mid_agrees() {
    fusion_agrees("mid-n");
}

#[test]
fn easy_agrees() {
    fusion_agrees("easy-n");
}

#[test]
fn decision_agrees() {
    fusion_agrees("decision-n");
}

#[test]
fn deyolo_agrees() {
    fusion_agrees("deyolo-n");
}

#[test]
fn defa_agrees() {
    fusion_agrees("defa-n");
}

#[test]
fn the_embedded_runtime_refuses_suppression_inside() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    let weights = imported(&shared.join("fixtures/networks/mid-n.pt"));
    let options = yf_export::Options {
        nms: Some(Nms::default()),
        imgsz: Some((64, 64)),
        ..yf_export::Options::default()
    };
    let model = dir.join("mid.onnx");
    yf_export::export_file(&weights, &options, &model).unwrap();
    let sample = shared.join("data/llvip_sample");
    let [rgb, ir] = ["images", "imagesIR"].map(|f| sample.join(f).join("190003.jpg").display().to_string());
    let line = ["infer", &rgb, &ir, "--model", "mid.onnx", "--backend", "embedded", "--json"];
    dir.yf(&line).refuses(2, &["suppression inside", "--nms"]);
}
