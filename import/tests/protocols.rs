//! What Python's own pickle writes, at every protocol and for every type of weights, is read to the last bit.

mod material;

use std::process::Command;

use yf_import::{Fault, Limits, read};

/// The folder that the script has filled.
fn pickled() -> Option<tempfile::TempDir> {
    let python = material::python()?;
    let dir = tempfile::tempdir().unwrap();
    let script = material::workspace().join("import/tests/pickles.py");
    let done = Command::new(python).arg(script).arg(dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(dir)
}

#[test]
fn what_a_hostile_pickle_wants_does_not_happen() {
    let Some(dir) = pickled() else { return };
    for protocol in 2..=5 {
        let told = read(&dir.path().join(format!("{protocol}-hostile.pt")), &Limits::default()).unwrap_err();
        assert!(matches!(&told.fault, Fault::Call { callee, .. } if callee == "posix.system"), "{told}");
    }
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn pickles_of_every_protocol_and_type_are_read() {
    let Some(dir) = pickled() else { return };
    for protocol in 2..=5 {
        for class in ["HalfStorage", "BFloat16Storage", "FloatStorage", "DoubleStorage"] {
            let path = dir.path().join(format!("{protocol}-{class}.pt"));
            let read = read(&path, &Limits::default()).unwrap();
            let expected = [
                ("model.0.bias", &[3][..], &[-0.5, -0.625, -0.75][..]),
                ("model.0.scale", &[2], &[-0.125, -0.375]),
                ("model.0.weight", &[2, 3], &[0.0, 0.125, 0.25, 0.375, 0.5, 0.625]),
            ];
            assert_eq!(read.tensors.len(), expected.len(), "{path:?}");
            for ((name, array), (wanted, shape, data)) in read.tensors.iter().zip(expected) {
                assert_eq!((name.as_str(), &*array.shape, &*array.data), (wanted, shape, data), "{path:?}");
            }
            assert_eq!(read.names.unwrap(), ["person", "cycle 人"], "{path:?}");
            assert_eq!((read.imgsz, read.epochs), (Some(320), Some(7)), "{path:?}");
        }
    }
}
