//! The description of good files, and the refusal of bad ones.

use super::*;
use crate::testing::{Detector, ModelProto, value};

fn why(damage: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = Detector::SMALL.proto();
    damage(&mut model);
    match ModelInfo::from_bytes(&model.encode_to_vec(), "m.onnx") {
        Err(e @ DeployError::Model { .. }) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_a_pair_model() {
    let info = ModelInfo::from_bytes(&Detector::SMALL.onnx(), "m.onnx").unwrap();
    assert_eq!((info.inputs, info.batch), (Inputs::Pair, None));
    assert_eq!(info.input_names, ["rgb", "ir"]);
    assert_eq!((info.height, info.width, info.classes, info.anchors, info.stride), (32, 48, 2, 24, 8));
    assert_eq!(info.names, ["warm", "bear's cub"]);
    assert_eq!(info.metadata["task"], "detect");
    assert_eq!((info.input_len(0), info.input_len(1), info.output_len()), (3 * 32 * 48, 3 * 32 * 48, 6 * 24));
}

#[test]
fn reads_a_fixed_one_stream_model() {
    let model = Detector { pair: false, batch: Some(2), fp16: true, ..Detector::SMALL };
    let info = ModelInfo::from_bytes(&model.onnx(), "m.onnx").unwrap();
    assert_eq!((info.inputs, info.batch), (Inputs::Single, Some(2)));
    assert_eq!(info.input_names, ["images"]);
}

#[test]
fn the_order_of_the_inputs_does_not_count() {
    let mut model = Detector::SMALL.proto();
    model.graph.as_mut().unwrap().input.reverse();
    let info = ModelInfo::from_bytes(&model.encode_to_vec(), "m.onnx").unwrap();
    assert_eq!(info.input_names, ["rgb", "ir"]);
}

#[test]
fn missing_metadata_has_defaults() {
    let mut model = Detector::SMALL.proto();
    model.metadata_props.clear();
    let info = ModelInfo::from_bytes(&model.encode_to_vec(), "m.onnx").unwrap();
    assert_eq!(info.names, ["class0", "class1"]);
    assert_eq!(info.stride, 32);
}

#[test]
fn what_is_no_detector_is_refused_with_its_reason() {
    let graph = |m: &mut ModelProto, i: usize, v| m.graph.as_mut().unwrap().input[i] = v;
    let output = |m: &mut ModelProto, axes: &[i64]| {
        m.graph.as_mut().unwrap().output[0] = value("output0", 1, axes);
    };
    let cases = [
        (why(|m| m.graph = None), "no network"),
        (why(|m| graph(m, 1, value("thermal", 1, &[-1, 3, 32, 48]))), "[rgb, thermal]"),
        (why(|m| graph(m, 1, value("ir", 1, &[-1, 3, 32, 64]))), "differ in size"),
        (why(|m| graph(m, 0, value("rgb", 2, &[-1, 32, 48, 3]))), "differ in size or kind"),
        (why(|m| graph(m, 0, value("rgb", 2, &[-1, 3, 32, 48]))), "[batch, height, width, 3]"),
        (why(|m| graph(m, 0, value("rgb", 10, &[-1, 3, 32, 48]))), "float16"),
        (why(|m| graph(m, 0, value("rgb", 1, &[-1, 3, -1, -1]))), "[?, 3, ?, ?]"),
        (why(|m| graph(m, 0, value("rgb", 1, &[-1, 3, 1 << 40, 48]))), "fixed height"),
        (why(|m| graph(m, 0, value("rgb", 1, &[-1, 3, 32]))), "not [batch, 3, height, width]"),
        (why(|m| m.graph.as_mut().unwrap().output.clear()), "no output"),
        (
            why(|m| {
                m.metadata_props.clear();
                output(m, &[-1, 300, 6]);
            }),
            "no metadata `names`",
        ),
        (why(|m| output(m, &[-1, 4, 24])), "4 + classes"),
        (why(|m| output(m, &[-1, i64::MAX, 24])), "4 + classes"),
        (why(|m| output(m, &[-1, 7, 24])), "names 2 classes, but its output holds 3"),
        (why(|m| m.metadata_props[0].value = "person".into()), "`names`"),
        (why(|m| m.metadata_props[1].value = "wide".into()), "stride 'wide'"),
    ];
    for (error, part) in cases {
        assert!(error.starts_with("m.onnx: ") && error.contains(part), "{error} / {part}");
    }
}

#[test]
fn bytes_and_suppression_inside_are_seen() {
    let mut model = Detector::SMALL.proto();
    let entries = [("yf.nms.conf", "0.3"), ("yf.nms.iou", "0.6")];
    model
        .metadata_props
        .extend(entries.map(|(k, v)| crate::testing::Entry { key: k.into(), value: v.into() }));
    let graph = model.graph.as_mut().unwrap();
    graph.input = vec![value("rgb", 2, &[4, 32, 48, 3]), value("ir", 2, &[4, 32, 48, 1])];
    graph.output = vec![value("output0", 1, &[4, 300, 6])];
    let info = ModelInfo::from_bytes(&model.encode_to_vec(), "m.onnx").unwrap();
    assert_eq!((info.values, info.channels.as_slice()), (Values::Bytes, &[3, 1][..]));
    assert_eq!((info.input_len(0), info.input_len(1)), (3 * 32 * 48, 32 * 48));
    assert_eq!(info.suppressed, Some(Suppressed { rows: 300, conf: Some(0.3), iou: Some(0.6) }));
    assert_eq!((info.classes, info.anchors, info.output_len()), (2, 0, 1800));
}

#[test]
fn junk_names_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let good = Detector::SMALL.onnx();
    for junk in
        [&b""[..], b"hello, I am no model", &[0xff; 4096], &[0; 4096], &good[..good.len() / 2], &good[..9]]
    {
        let path = dir.path().join("best.onnx");
        std::fs::write(&path, junk).unwrap();
        let error = ModelInfo::from_file(&path).unwrap_err().to_string();
        assert!(error.contains("best.onnx: ") && error.contains("not an ONNX model"), "{error}");
    }
    for missing in [dir.path().join("none.onnx"), dir.path().to_owned()] {
        let error = ModelSource::Path(missing.clone()).load().unwrap_err();
        assert!(matches!(&error, DeployError::Read { path, .. } if *path == missing), "{error}");
    }
}
