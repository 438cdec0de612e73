//! What is written where, and what is refused. `tests/triton.rs` of the program reads it with Triton's own definitions.

use super::*;

fn picture(name: &str) -> Tensor {
    Tensor { name: name.into(), element: Element::Float32, dims: vec![3, 64, 96] }
}

fn signature() -> Signature {
    let output = Tensor { name: "output0".into(), element: Element::Float32, dims: vec![6, 126] };
    Signature {
        inputs: vec![picture("rgb"), picture("ir")],
        output,
        classes: vec!["person".into(), "two\nlines".into()],
    }
}

fn put(home: &Path, name: &str, signature: &Signature, bytes: &[u8]) -> Result<PathBuf, ExportError> {
    add(&home.join("models"), name, signature, Program::Onnx(bytes), &Serving::default())
}

#[test]
fn later_versions_are_counted_up() {
    let home = tempfile::tempdir().unwrap();
    let first = put(home.path(), "yf", &signature(), b"first").unwrap();
    let second = put(home.path(), "yf", &signature(), b"second").unwrap();
    assert!(first.ends_with("models/yf/1") && second.ends_with("models/yf/2"));
    assert_eq!(fs::read(first.join("model.onnx")).unwrap(), b"first");
    assert_eq!(fs::read(second.join("model.onnx")).unwrap(), b"second");
    let labels = fs::read_to_string(home.path().join("models/yf/labels.txt")).unwrap();
    assert_eq!(labels, "person\ntwo lines\n");
    assert_eq!(fs::read_dir(home.path().join("models/yf")).unwrap().count(), 4);
}

#[test]
fn another_network_is_no_version_of_the_first() {
    let home = tempfile::tempdir().unwrap();
    put(home.path(), "yf", &signature(), b"first").unwrap();
    let mut other = signature();
    other.output.dims = vec![7, 126];
    other.classes.push("dog".into());
    let told = put(home.path(), "yf", &other, b"second").unwrap_err().to_string();
    assert!(told.contains("config.pbtxt") && told.contains("another name"), "{told}");
    assert!(!home.path().join("models/yf/2").exists());
}

#[test]
fn an_engine_is_a_plan_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let program = Program::Engine(b"engine");
    let version = add(home.path(), "yf_trt", &signature(), program, &Serving::default()).unwrap();
    assert_eq!(fs::read(version.join("model.plan")).unwrap(), b"engine");
    let config = fs::read_to_string(home.path().join("yf_trt/config.pbtxt")).unwrap();
    assert!(config.contains("tensorrt_plan") && config.contains("KIND_GPU"), "{config}");
}

#[test]
fn names_and_numbers_that_no_server_takes_are_refused() {
    let home = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", ".hidden", "a/b", "a b", "../up", "ü"] {
        assert!(put(home.path(), name, &signature(), b"x").is_err(), "{name}");
    }
    for (max_batch, instances) in [(0, 1), (MAX_SERVED_BATCH + 1, 1), (8, 0)] {
        let serving = Serving { max_batch, instances, ..Serving::default() };
        assert!(add(home.path(), "yf", &signature(), Program::Onnx(b"x"), &serving).is_err());
    }
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
}
