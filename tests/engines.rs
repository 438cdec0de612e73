//! Engines of every fusion, built with the real TensorRT-RTX, which needs no GPU for that, and read back as far as a
//! machine without a GPU can; then everything that must be refused, through the binary.

mod common;

use std::path::Path;

use common::{Dir, python};
use yf_deploy::DeployError;
use yf_deploy::engine::{self, Batches, Built, Capability, Manifest, Plan};
use yf_deploy::model::ModelSource;
use yf_export::{Nms, Options};
use yf_models::config::BUILT_IN;
use yf_models::{Network, Weights};

/// Least side that every network takes; the engine's size hardly depends on it, nor does the time to build it.
const SIDE: usize = 128;

/// The engine of an untrained network; nothing, with a message, where there is no TensorRT-RTX.
fn built(weights: &Weights, options: &Options, plan: &Plan) -> Option<Built> {
    let bytes = yf_export::onnx(weights, options).unwrap();
    let source = ModelSource::Bytes { name: format!("{}.onnx", weights.header.model), bytes };
    match engine::build(&source.load().unwrap(), plan, &mut |_, _, _| {}) {
        Ok(built) => Some(built),
        Err(why @ DeployError::TensorRt(_)) => {
            assert!(std::env::var_os("YF_REQUIRE").is_none_or(|v| v != "1"), "{why}");
            eprintln!("skipped: {why}");
            None
        }
        Err(why) => panic!("{} {options:?}: {why}", weights.header.model),
    }
}

fn untrained(name: &str) -> Weights {
    Weights::untrained(&Network::load(name, Some(3)).unwrap(), SIDE).unwrap()
}

/// What TensorRT-RTX writes before an engine's content: its mark, the size of the whole, its version.
fn check_header(built: &Built) {
    let header = built.engine.first_chunk::<32>().expect("a header");
    let number = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("eight bytes"));
    assert_eq!(&header[..4], b"vtrt");
    assert_eq!(number(16), built.engine.len() as u64);
    let version: Vec<String> = header[24..27].iter().map(u8::to_string).collect();
    assert_eq!(version.join("."), built.manifest.version);
}

/// In single precision with a fixed batch for some GPUs, in half precision with any batch for all, or the other way
/// round.
fn engines_of(network: &str, half_is_dynamic: bool) {
    let dir = Dir::new();
    let weights = untrained(network);
    let sizes = [false, true].map(|fp16| {
        let dynamic = fp16 == half_is_dynamic;
        let targets = if dynamic { &[][..] } else { &["sm_86", "sm_120"] };
        let plan = Plan {
            targets: targets.iter().map(|target| target.parse::<Capability>().unwrap()).collect(),
            ..Plan::default()
        };
        let options = Options { fp16, dynamic, imgsz: Some((SIDE, SIDE)), ..Options::default() };
        let built = built(&weights, &options, &plan)?;
        check_header(&built);
        let path = dir.join("network.engine");
        built.write(&path).unwrap();
        let manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.engine(&path).unwrap(), built.engine);
        assert_eq!(manifest.library, "TensorRT-RTX");
        assert_eq!(manifest.targets, targets);
        assert_eq!(manifest.precision.as_deref(), Some(if fp16 { "fp16" } else { "fp32" }));
        assert_eq!(manifest.batch, if dynamic { Batches::default() } else { Batches::fixed(1) });
        assert_eq!((manifest.model.height, manifest.model.classes), (SIDE, 3));
        assert_eq!(manifest.model.names, weights.header.names);
        Some(built.engine.len())
    });
    let [Some(single), Some(half)] = sizes else { return };
    eprintln!("{network}: {single} bytes, {half} in half precision");
    assert!(half < single, "{network}: half precision is no smaller: {half} of {single} bytes");
}

#[test]
fn every_fusion_becomes_an_engine_in_both_precisions_for_one_batch_and_for_any() {
    BUILT_IN.iter().for_each(|(name, _)| engines_of(&format!("{name}-n"), true));
    engines_of("mid-n", false);
}

#[test]
fn pictures_as_bytes_go_in_and_suppression_does_not() {
    let weights = untrained("mid-n");
    let options = Options { dynamic: true, bytes: true, imgsz: Some((SIDE, SIDE)), ..Options::default() };
    for fp16 in [false, true] {
        let Some(built) = built(&weights, &Options { fp16, ..options.clone() }, &Plan::default()) else {
            return;
        };
        check_header(&built);
        assert_eq!(built.manifest.model.channels, [3, 1]);
    }
    let bytes = yf_export::onnx(&weights, &Options { nms: Some(Nms::default()), ..options }).unwrap();
    let model = ModelSource::Bytes { name: "nms.onnx".to_owned(), bytes }.load().unwrap();
    let why = engine::build(&model, &Plan::default(), &mut |_, _, _| {}).unwrap_err().to_string();
    assert!(why.contains("suppression inside") && why.contains("without --nms"), "{why}");
}

/// A folder with `mid.onnx` and `mid.engine` built from it; nothing where there is no TensorRT-RTX.
fn folder() -> Option<Dir> {
    python()?;
    let dir = Dir::new();
    let options = Options { imgsz: Some((SIDE, SIDE)), ..Options::default() };
    yf_export::export_file(&untrained("mid-n"), &options, &dir.join("mid.onnx")).unwrap();
    let ran = dir.yf(&["export", "mid.onnx", "--engine"]);
    if ran.stderr().contains("no TensorRT was found") {
        assert!(std::env::var_os("YF_REQUIRE").is_none_or(|v| v != "1"), "{}", ran.stderr());
        eprintln!("skipped: {}", ran.stderr());
        return None;
    }
    let ran = ran.succeeds();
    assert_eq!(ran.stdout(), "mid.engine\n");
    assert!(
        ran.stderr().contains("mid-n for 3 classes at 128x128, fp32, 1 a run, TensorRT-RTX 1."),
        "{}",
        ran.stderr()
    );
    for picture in ["rgb.png", "ir.png"] {
        image::RgbImage::new(64, 64).save(dir.join(picture)).unwrap();
    }
    Some(dir)
}

const INFER: [&str; 7] = ["infer", "rgb.png", "ir.png", "--json", "--model", "mid.engine", "--backend"];

fn infer(backend: &str) -> Vec<&str> {
    INFER.into_iter().chain([backend]).collect()
}

/// There the engine would run, or be refused for other reasons.
fn has_a_gpu() -> bool {
    Path::new("/dev/nvidiactl").exists()
}

#[test]
fn an_engine_that_does_not_fit_is_refused_by_one_sentence() {
    let Some(dir) = folder() else { return };
    let info = dir.yf(&["info", "mid.engine"]).succeeds();
    assert!(
        info.stdout().contains("TensorRT-RTX 1.") && info.stdout().contains("from    mid.onnx"),
        "{}",
        info.stdout()
    );
    dir.yf(&infer("ort")).refuses(2, &["mid.engine is a TensorRT engine", "--backend tensorrt"]);
    if !has_a_gpu() {
        dir.yf(&infer("tensorrt")).refuses(2, &["no CUDA device", "driver"]);
        let ran = dir.yf(&infer("auto")).succeeds();
        assert!(ran.stderr().contains("goes on with the ONNX file beside it"), "{}", ran.stderr());
        assert_eq!(ran.json()["detections"], serde_json::json!([]));
    }

    // Without its ONNX file nothing can be built again.
    let onnx = std::fs::read(dir.join("mid.onnx")).unwrap();
    std::fs::remove_file(dir.join("mid.onnx")).unwrap();
    let (engine, manifest) = (std::fs::read(dir.join("mid.engine")).unwrap(), dir.join("mid.engine.json"));
    let text = std::fs::read_to_string(&manifest).unwrap();
    dir.write("mid.engine", &engine[..engine.len() / 2]);
    for backend in ["tensorrt", "auto"] {
        dir.yf(&infer(backend)).refuses(2, &["mid.engine: ", "cut off, or not the engine"]);
    }
    dir.yf(&["info", "mid.engine"]).refuses(2, &["cut off"]);
    dir.write("mid.engine", &engine);
    let version = serde_json::from_str::<Manifest>(&text).unwrap().version;
    dir.write("mid.engine.json", text.replace(&version, "1.5.0"));
    dir.yf(&infer("tensorrt")).refuses(2, &["was built with TensorRT-RTX 1.5.0, and here is TensorRT-RTX"]);
    dir.write("mid.engine.json", text.replace("\"TensorRT-RTX\"", "\"TensorRT\""));
    dir.yf(&infer("tensorrt")).refuses(2, &["was built with TensorRT 1.", "YF_TENSORRT_DIR"]);
    dir.write("mid.engine.json", &text[..text.len() / 2]);
    dir.yf(&infer("tensorrt")).refuses(2, &["mid.engine.json: is damaged"]);
    std::fs::remove_file(&manifest).unwrap();
    dir.yf(&infer("tensorrt")).refuses(2, &["mid.engine.json: ", "belongs to it"]);

    // With another ONNX file of that name the engine is of a network that is no more.
    dir.write("mid.engine.json", &text);
    dir.write("mid.onnx", [&onnx[..], &[0]].concat());
    for backend in ["tensorrt", "auto"] {
        dir.yf(&infer(backend)).refuses(2, &["from another mid.onnx", "yf export"]);
    }
}

#[test]
fn what_cannot_become_an_engine_is_refused_before_one_is_written() {
    let Some(dir) = folder() else { return };
    std::fs::remove_file(dir.join("mid.engine")).unwrap();
    let export = |more: &[&str]| dir.yf(&[&["export", "mid.onnx", "--engine"], more].concat());
    export(&["--target", "sm_90"]).refuses(2, &["sm_86", "no other GPU"]);
    export(&["--target", "ampere"]).refuses(2, &["ampere"]);
    export(&["--batch", "1,8,32"]).refuses(2, &["takes exactly 1 a run", "--dynamic"]);
    export(&["--batch", "8,1,32"]).refuses(2, &["three that rise"]);
    export(&["--fp16"]).refuses(2, &["is written already", "--fp16"]);
    export(&["--dynamic"]).refuses(2, &["is written already", "--dynamic"]);
    export(&["-o", "mid.onnx"]).refuses(2, &["would overwrite"]);
    export(&["-o", "mid.plan"]).refuses(2, &["ends in .engine"]);
    dir.yf(&["export", "mid.onnx", "--target", "sm_86"]).refuses(2, &["required arguments"]);
    let nowhere = dir.yf_with(&["export", "mid.onnx", "--engine"], &[("YF_TENSORRT_DIR", "/nowhere")]);
    nowhere.refuses(1, &["YF_TENSORRT_DIR names /nowhere", "libnvinfer.so.10"]);
    dir.write("fake/libtensorrt_rtx.so.1", "not a library");
    let fake = dir.yf_with(&["export", "mid.onnx", "--engine"], &[("YF_TENSORRT_DIR", "fake")]);
    fake.refuses(1, &["libtensorrt_rtx.so.1", "cannot be loaded"]);
    assert!(!dir.join("mid.engine").exists());
}

#[test]
fn weights_become_an_engine_beside_them_and_an_onnx_file_where_that_is_asked() {
    let Some(dir) = folder() else { return };
    untrained("early-n").write(&dir.join("best.safetensors")).unwrap();
    let line = [
        "export",
        "best.safetensors",
        "--engine",
        "--fp16",
        "--dynamic",
        "--batch",
        "1,4,16",
        "--target",
        "89",
    ];
    dir.yf(&line).succeeds();
    let alone = Manifest::read(&dir.join("best.fp16.engine")).unwrap();
    assert_eq!((alone.batch, alone.onnx_file), (Batches { min: 1, opt: 4, max: 16 }, None));
    assert_eq!(alone.targets, ["sm_89"]);
    let ran = dir.yf(&["export", "best.safetensors", "--engine", "--onnx", "--batch", "2"]).succeeds();
    assert_eq!(ran.stdout(), "best.onnx\nbest.engine\n");
    let both = Manifest::read(&dir.join("best.engine")).unwrap();
    assert_eq!((both.batch, both.onnx_file.as_deref()), (Batches::fixed(2), Some("best.onnx")));
    assert!(both.same_network(&dir.join("best.engine")).is_ok());
}
