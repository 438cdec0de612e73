//! What an engine must fit, and what becomes of one that does not: without TensorRT where that is possible.

use std::fs;
use std::path::Path;

use prost::Message;

use super::store::sha256;
use super::*;
use crate::DeployError;
use crate::model::{Model, ModelSource};
use crate::testing::Detector;

fn model(detector: Detector) -> Model {
    ModelSource::Bytes { name: "cells.onnx".to_owned(), bytes: detector.onnx() }.load().unwrap()
}

fn manifest(engine: &[u8]) -> Manifest {
    let model = model(Detector::SMALL);
    Manifest {
        format: 1,
        engine_sha256: sha256(engine),
        onnx_sha256: sha256(&model.bytes),
        onnx_file: Some("cells.onnx".to_owned()),
        library: "TensorRT-RTX".to_owned(),
        version: "1.7.1".to_owned(),
        gpu: None,
        targets: vec!["sm_86".to_owned(), "sm_120".to_owned()],
        precision: None,
        batch: Batches::default(),
        model: model.info,
    }
}

fn sm(major: u32, minor: u32) -> Capability {
    Capability { major, minor }
}

/// What building gives; nothing, with a message, where there is no TensorRT-RTX.
fn built(model: &Model, plan: &Plan) -> Option<Result<Built, DeployError>> {
    match build(model, plan, &mut |_, _, _| {}) {
        Err(why @ DeployError::TensorRt(_)) => {
            assert!(std::env::var_os("YF_REQUIRE").is_none_or(|v| v != "1"), "{why}");
            eprintln!("skipped: {why}");
            None
        }
        result => Some(result),
    }
}

#[test]
fn hashes_are_sha_256() {
    assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn another_library_or_gpu_is_refused_by_a_sentence() {
    let manifest = manifest(b"");
    assert_eq!(manifest.fits_library("TensorRT-RTX", "1.7.1"), Ok(()));
    for (library, version) in [("TensorRT", "1.7.1"), ("TensorRT-RTX", "1.7.0")] {
        let why = manifest.fits_library(library, version).unwrap_err();
        assert!(why.contains(&format!("TensorRT-RTX 1.7.1, and here is {library} {version}")), "{why}");
    }
    assert_eq!(manifest.fits_gpu("A10", sm(8, 6)), Ok(()));
    let why = manifest.fits_gpu("L40S", sm(8, 9)).unwrap_err();
    assert!(
        why.contains("sm_86, sm_120, and L40S is sm_89") && why.contains("--target sm_86,sm_120,sm_89"),
        "{why}"
    );
    let everywhere = Manifest { targets: Vec::new(), ..manifest.clone() };
    assert_eq!(everywhere.fits_gpu("L40S", sm(8, 9)), Ok(()));
    let why = everywhere.fits_gpu("T4", sm(7, 5)).unwrap_err();
    assert!(why.contains("Ampere and later, and T4 is sm_75") && why.contains("--target sm_75"), "{why}");
    let measured = Manifest { gpu: Some("A10".to_owned()), targets: Vec::new(), ..manifest };
    assert_eq!(measured.fits_gpu("A10", sm(8, 6)), Ok(()));
    let old = Manifest { gpu: Some("T4".to_owned()), ..measured.clone() };
    assert_eq!(old.fits_gpu("T4", sm(7, 5)), Ok(()));
    assert!(measured.fits_gpu("L4", sm(8, 9)).unwrap_err().contains("built on A10, and here is L4"));
}

#[test]
fn a_manifest_is_read_as_it_was_written_and_with_its_engine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cells.engine");
    let mut written = manifest(b"engine");
    written.write(b"engine", &path).unwrap();
    written.model.origin = path.display().to_string();
    let read = Manifest::read(&path).unwrap();
    assert_eq!(read, written);
    assert_eq!(read.engine(&path).unwrap(), b"engine");
    for wrong in [&b"engin"[..], b"", b"enginE"] {
        fs::write(&path, wrong).unwrap();
        let why = read.engine(&path).unwrap_err().to_string();
        assert!(why.contains("cut off, or not the engine"), "{why}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(read.engine(&path), Err(DeployError::Read { .. })));
}

#[test]
fn a_damaged_manifest_is_an_error_and_nothing_is_allocated_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cells.engine");
    let good = serde_json::to_value(manifest(b"")).unwrap();
    let with = |pointer: &str, value: serde_json::Value| {
        let mut wrong = good.clone();
        *wrong.pointer_mut(pointer).unwrap() = value;
        wrong.to_string()
    };
    for text in [
        String::new(),
        "{}".to_owned(),
        with("/format", 2.into()),
        with("/batch/max", 0.into()),
        with("/batch/max", (1_u64 << 40).into()),
        with("/model/height", (1_u64 << 40).into()),
        with("/model/channels", serde_json::json!([3])),
        with("/model/channels/0", 7.into()),
        with("/model/names", serde_json::json!([])),
        with("/model/anchors", (1_u64 << 50).into()),
        with("/model/classes", (-1).into()),
    ] {
        fs::write(Manifest::path(&path), &text).unwrap();
        let Err(error) = Manifest::read(&path) else { panic!("it was read: {text}") };
        assert!(error.to_string().contains("cells.engine.json: "), "{error}");
    }
}

#[test]
fn an_engine_whose_network_has_changed_is_refused_and_one_whose_network_is_there_can_be_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("best.engine");
    let manifest = manifest(b"");
    assert!(manifest.same_network(&path).is_ok() && manifest.source(&path).is_none());
    let onnx = dir.path().join("cells.onnx");
    fs::write(&onnx, Detector::SMALL.onnx()).unwrap();
    let source = manifest.source(&path);
    assert!(matches!(&source, Some(ModelSource::Path(found)) if *found == onnx), "{source:?}");
    assert!(manifest.same_network(&path).is_ok());
    fs::write(&onnx, Detector { fp16: true, ..Detector::SMALL }.onnx()).unwrap();
    assert!(manifest.source(&path).is_none());
    let why = manifest.same_network(&path).unwrap_err().to_string();
    assert!(why.contains("from another") && why.contains("yf export"), "{why}");
    // The usual name will do as well: weights were exported in memory, and to a file later.
    fs::rename(&onnx, dir.path().join("best.onnx")).unwrap();
    fs::write(dir.path().join("best.onnx"), Detector::SMALL.onnx()).unwrap();
    assert!(manifest.source(&path).is_some());
}

#[test]
fn batches_that_do_not_fit_the_network_are_refused() {
    let fixed = model(Detector { batch: Some(4), ..Detector::SMALL });
    for (model, batch, part) in [
        (&fixed, Batches::default(), "takes exactly 4 pairs"),
        (&model(Detector::SMALL), Batches { min: 8, opt: 4, max: 2 }, "three numbers that rise"),
    ] {
        let plan = Plan { batch: Some(batch), ..Plan::default() };
        let Some(result) = built(model, &plan) else { return };
        let why = result.unwrap_err().to_string();
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn the_parser_names_the_node_that_it_refuses() {
    let mut proto = Detector::SMALL.proto();
    proto.graph.as_mut().unwrap().node[1].op_type = "Convolution".to_owned();
    let odd = ModelSource::Bytes { name: "odd.onnx".to_owned(), bytes: proto.encode_to_vec() };
    let Some(result) = built(&odd.load().unwrap(), &Plan::default()) else { return };
    let why = result.unwrap_err().to_string();
    assert!(why.starts_with("odd.onnx: TensorRT-RTX 1.") && why.contains("node 1 "), "{why}");
    assert!(why.contains("Convolution"), "{why}");
}

#[test]
fn a_gpu_that_no_engine_is_built_for_is_refused() {
    let plan = Plan { targets: vec![sm(9, 0)], ..Plan::default() };
    let Some(result) = built(&model(Detector::SMALL), &plan) else { return };
    let why = result.unwrap_err().to_string();
    assert!(why.contains("sm_86") && why.contains("for no other GPU"), "{why}");
}

#[test]
fn bytes_and_one_stream_and_any_batch_are_built() {
    let dir = tempfile::tempdir().unwrap();
    for detector in [
        Detector { fp16: true, ..Detector::SMALL },
        Detector { pair: false, batch: Some(3), ..Detector::SMALL },
    ] {
        let model = model(detector);
        let Some(result) = built(&model, &Plan::default()) else { return };
        let built = result.unwrap();
        let path = dir.path().join("cells.engine");
        built.write(&path).unwrap();
        let manifest = Manifest::read(&path).unwrap();
        assert_eq!(manifest.batch, detector.batch.map_or(Batches::default(), Batches::fixed));
        assert_eq!(manifest.model.batch, detector.batch);
        assert_eq!(manifest.engine(&path).unwrap(), built.engine);
    }
    assert_eq!(Manifest::path(Path::new("a/b.engine")), Path::new("a/b.engine.json"));
}
