//! `yf import`: checkpoints of other programs, through the binary.

mod common;

use std::fs;

use common::{Dir, shared};

#[test]
fn a_checkpoint_becomes_weights_that_other_commands_take() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    fs::copy(shared.join("fixtures/networks/early-n.pt"), dir.join("early.pt")).unwrap();
    let told = dir.yf(&["import", "early.pt"]).succeeds().stdout();
    for part in ["early-n", "1: person", "2441187", "640", "the file does not tell", "early.safetensors"] {
        assert!(told.contains(part), "no '{part}' in\n{told}");
    }
    let info = dir.yf(&["info", "early.safetensors", "--json"]).succeeds().json();
    assert_eq!((&info["model"], &info["parameters"]), (&"early-n".into(), &2_441_187.into()));
    dir.yf(&["export", "early.safetensors", "--onnx"]).succeeds();
    assert!(dir.join("early.onnx").is_file());

    dir.yf(&["import", "early.pt"]).refuses(2, &["early.safetensors", "there already", "--force"]);
    let misfit = ["import", "early.pt", "-o", "mid.safetensors", "--model", "mid-n"];
    dir.yf(&misfit).refuses(2, &["early.pt", "not those of mid-n", "model.4.conv.weight"]);
    let report = dir.yf(&["import", "early.pt", "--force", "--json"]).succeeds().json();
    assert_eq!((&report["model"], &report["names"][0]), (&"early-n".into(), &"person".into()));
    assert!(report["epochs"].is_null());
}

#[test]
fn tensors_alone_are_taken_with_a_word_about_their_names() {
    let Some(shared) = shared() else { return };
    let dir = Dir::new();
    fs::copy(shared.join("weights/yolov8n_coco.safetensors"), dir.join("coco.safetensors")).unwrap();
    dir.yf(&["import", "coco.safetensors"]).refuses(2, &["coco.safetensors", "overwrite", "-o"]);
    let ran = dir.yf(&["import", "coco.safetensors", "-o", "v8.safetensors"]).succeeds();
    assert!(ran.stdout().contains("yolov8-n") && ran.stderr().contains("COCO"), "{}", ran.stderr());
}

#[test]
fn what_cannot_be_imported_is_refused_with_the_reason_and_writes_nothing() {
    let dir = Dir::new();
    dir.yf(&["import", "gone.pt"]).refuses(2, &["gone.pt", "no such file"]);
    dir.write("text.pt", "this is no checkpoint");
    dir.yf(&["import", "text.pt"]).refuses(2, &["text.pt", "neither a checkpoint"]);
    dir.write("cut.pt", b"PK\x03\x04 and no more");
    dir.yf(&["import", "cut.pt"]).refuses(2, &["cut.pt", "zip archive"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);

    let Some(shared) = shared() else { return };
    let v5 = shared.join("weights/yolov5n_v6.1_coco.pt");
    let v5 = v5.to_str().unwrap();
    let words = ["no network that yf has", "1872157 parameters", "8 C3", "anchors"];
    dir.yf(&["import", v5, "-o", "v5.safetensors"]).refuses(2, &words);
    assert!(!dir.join("v5.safetensors").exists());
}
