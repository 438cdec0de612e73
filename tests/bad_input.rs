//! Bad input: each kind gets an error that names the file (and line), ends with status 1 or 2, and never a panic.

mod common;

use std::fs;
use std::path::Path;

use common::Dir;

/// A data set that is good until `harm` touches it; `data check` must then say all of `words`, with an error.
fn harmed(harm: impl Fn(&Dir), words: &[&str]) {
    let dir = Dir::new();
    dir.synth(6);
    harm(&dir);
    let ran = dir.yf(&["data", "check", "pairs/data.yaml"]);
    let ran = ran.ends_with(1);
    let said = ran.stdout() + &ran.stderr();
    for word in words {
        assert!(said.contains(word), "no '{word}' in\n{said}");
    }
}

fn first_label(dir: &Dir) -> std::path::PathBuf {
    let mut labels: Vec<_> =
        fs::read_dir(dir.join("pairs/labels/train")).unwrap().map(|e| e.unwrap().path()).collect();
    labels.sort();
    labels.swap_remove(0)
}

/// The first training picture's file in `images` or `imagesIR`.
fn first_picture(dir: &Dir, kind: &str) -> std::path::PathBuf {
    let stem = first_label(dir).file_stem().unwrap().to_owned();
    let mut pictures: Vec<_> = fs::read_dir(dir.join("pairs").join(kind).join("train"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    pictures.retain(|p| p.file_stem() == Some(&stem));
    pictures.swap_remove(0)
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).expect("UTF-8")
}

#[test]
fn a_good_data_set_is_good() {
    let dir = Dir::new();
    dir.synth(6);
    dir.yf(&["data", "check", "pairs/data.yaml"]).succeeds();
    let report = dir.yf(&["data", "check", "pairs/data.yaml", "--json"]).succeeds().json();
    assert_eq!(report["errors"], serde_json::json!([]));
}

#[test]
fn labels_are_refused_with_file_and_line() {
    for (text, line) in [
        ("0 0.5 0.5 0.1 0.1\n0 nan 0.5 0.1 0.1\n", ":2"),
        ("0 0.5 0.5 0.1\n", ":1"),
        ("0 1.5 0.5 0.1 0.1\n", ":1"),
        ("0 0.5 0.5 -0.1 0.1\n", ":1"),
        ("9 0.5 0.5 0.1 0.1\n", ":1"),
        ("person 0.5 0.5 0.1 0.1\n", ":1"),
    ] {
        let dir = Dir::new();
        dir.synth(6);
        let label = first_label(&dir);
        fs::write(&label, text).unwrap();
        let ran = dir.yf(&["data", "check", "pairs/data.yaml"]).ends_with(1);
        let place = format!("{}{line}", name(&label));
        assert!(
            (ran.stdout() + &ran.stderr()).contains(&place),
            "{text:?}: no {place} in\n{}{}",
            ran.stdout(),
            ran.stderr()
        );
    }
}

#[test]
fn missing_infrared_is_named() {
    harmed(|dir| fs::remove_file(first_picture(dir, "imagesIR")).unwrap(), &["imagesIR"]);
}

#[test]
fn truncated_empty_and_false_pictures_are_named() {
    for kind in ["images", "imagesIR"] {
        for content in ["truncated", "empty", "text"] {
            let dir = Dir::new();
            dir.synth(6);
            let picture = first_picture(&dir, kind);
            let bytes = fs::read(&picture).unwrap();
            let harm = match content {
                "truncated" => bytes[..bytes.len() / 2].to_vec(),
                "empty" => Vec::new(),
                _ => b"this is no picture".to_vec(),
            };
            fs::write(&picture, harm).unwrap();
            let ran = dir.yf(&["data", "check", "pairs/data.yaml"]).ends_with(1);
            let said = ran.stdout() + &ran.stderr();
            assert!(
                said.contains(name(&picture)),
                "{kind}, {content}: {} is not named in\n{said}",
                name(&picture)
            );
        }
    }
}

#[test]
fn an_absurdly_large_picture_is_refused_without_being_decoded() {
    // A PNG header that claims 100000 x 100000 pixels.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend(100_000_u32.to_be_bytes());
    png.extend(100_000_u32.to_be_bytes());
    png.extend([8, 2, 0, 0, 0, 0, 0, 0, 0]);
    harmed(
        |dir| {
            let picture = first_picture(dir, "images");
            fs::remove_file(&picture).unwrap();
            fs::write(picture.with_extension("png"), &png).unwrap();
        },
        &[".png"],
    );
}

#[test]
fn all_problems_are_listed_at_once() {
    harmed(
        |dir| {
            fs::write(first_label(dir), "7 0.5 0.5 0.1 0.1\n0 inf 0.5 0.1 0.1\n").unwrap();
            fs::write(first_picture(dir, "images"), "").unwrap();
        },
        &[".txt:1", ".txt:2", "images/train"],
    );
}

#[test]
fn a_data_yaml_that_cannot_be_used_is_refused() {
    let dir = Dir::new();
    dir.synth(6);
    for (yaml, word) in [
        ("trian: images/train\nval: images/val\nnames: [a]\n", "trian"),
        ("train: images/train\nval: images/val\n", "names"),
        ("train: images/train\nval: images/val\nnames: []\n", "names"),
        ("train: [\n", "own.yaml"),
        ("", "own.yaml"),
        ("train: nowhere\nval: images/val\nnames: [a]\n", "nowhere"),
    ] {
        dir.write("pairs/own.yaml", yaml);
        for command in [&["data", "check", "pairs/own.yaml"][..], &["train", "--data", "pairs/own.yaml"]] {
            let ran = dir.yf(command);
            let said = ran.stdout() + &ran.stderr();
            assert!(said.contains(word), "{yaml:?}: no '{word}' in\n{said}");
            assert!(said.contains("error"), "{yaml:?}: no error in\n{said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
    assert!(!dir.join("runs").exists());
}

#[test]
fn training_refuses_a_harmed_data_set_and_says_what_to_do() {
    let dir = Dir::new();
    dir.synth(6);
    let label = first_label(&dir);
    fs::write(&label, "7 0.5 0.5 0.1 0.1\n").unwrap();
    let ran = dir.yf(&["train", "--data", "pairs/data.yaml", "--device", "cpu"]).refuses(1, &["--skip-bad"]);
    assert!(ran.stderr().contains(&format!("{}:1", name(&label))), "{}", ran.stderr());
    assert!(!dir.join("runs").exists());
}

#[test]
fn labels_that_nobody_finds_are_told() {
    let dir = Dir::new();
    dir.synth(6);
    let label = first_label(&dir);
    fs::rename(&label, label.with_file_name("another.txt")).unwrap();
    let checked = dir.yf(&["data", "check", "pairs/data.yaml"]).succeeds().stdout();
    assert!(checked.contains("another.txt: no RGB picture belongs to this label file"), "{checked}");
    let train = ["train", "--data", "pairs/data.yaml", "--device", "cpu", "--imgsz", "64", "--epochs", "1"];
    fs::remove_dir_all(dir.join("pairs/labels/val")).unwrap();
    if common::trainer().is_some() {
        let told = dir.yf(&train).succeeds().stderr();
        assert!(told.contains("no validation pair has a labelled object"), "{told}");
        fs::remove_dir_all(dir.join("pairs/labels")).unwrap();
        dir.yf(&train).refuses(1, &["training pairs has a labelled object", "labels/train/"]);
    }
    dir.yf(&["train", "--data", "pairs"]).refuses(2, &["pairs is a folder", "data.yaml"]);
    let crowd = ["train", "--data", "pairs/data.yaml", "--workers", "100000"];
    dir.yf(&crowd).refuses(2, &["--workers", "at most 1024"]);
    dir.yf(&["infer", "a.jpg", "b.jpg", "--batch", "100000000000"]).refuses(2, &["--batch", "at most 4096"]);
}

#[test]
fn junk_where_a_model_is_expected_is_named() {
    let dir = Dir::new();
    dir.synth(6);
    let (rgb, ir) = (first_picture(&dir, "images"), first_picture(&dir, "imagesIR"));
    let (rgb, ir) = (rgb.to_str().unwrap(), ir.to_str().unwrap());
    for (file, content) in [
        ("junk.onnx", &b"junk"[..]),
        ("empty.onnx", b""),
        ("junk.safetensors", b"junk"),
        ("empty.safetensors", b""),
        ("huge.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"),
    ] {
        dir.write(file, content);
        dir.yf(&["infer", rgb, ir, "--model", file]).refuses(2, &[file]);
        dir.yf(&["val", "--weights", file, "--data", "pairs/data.yaml"]).refuses(2, &[file]);
        dir.yf(&["bench", "infer", file]).refuses(2, &[file]);
        dir.yf(&["info", file]).refuses(2, &[file]);
        if file.ends_with(".safetensors") {
            dir.yf(&["export", file, "--onnx"]).refuses(2, &[file]);
            dir.yf(&["train", "--data", "pairs/data.yaml", "--weights", file]).refuses(2, &[file]);
        }
    }
    dir.write("own.yaml", "backbone:\n  - [-1, 1, Konv, [16, 3, 2]]\n");
    dir.yf(&["train", "--data", "pairs/data.yaml", "--model", "own.yaml"])
        .refuses(2, &["own.yaml", "layer 0", "Konv"]);
    dir.yf(&["infer", rgb, "gone.png"]).refuses(2, &["gone.png"]);
    assert!(!dir.join("runs").exists());
}

#[test]
fn skip_bad_lists_what_it_skips_and_trains_on_the_rest() {
    if common::trainer().is_none() {
        return;
    }
    let dir = Dir::new();
    dir.synth(6);
    let label = first_label(&dir);
    fs::write(&label, "7 0.5 0.5 0.1 0.1\n").unwrap();
    let line = [
        "train",
        "--data",
        "pairs/data.yaml",
        "--skip-bad",
        "--imgsz",
        "64",
        "--epochs",
        "1",
        "--batch",
        "2",
        "--device",
        "cpu",
    ];
    let ran = dir.yf(&line).succeeds();
    assert!(ran.stderr().contains(&format!("{}:1", name(&label))), "{}", ran.stderr());
    assert!(dir.join("runs/train/exp/weights/best.safetensors").is_file());
}

#[test]
fn a_full_disk_ends_a_command_with_an_error() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = std::process::Command::new(env!("CARGO_BIN_EXE_yf"))
        .args(["info", "mid-n"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("cannot write to standard output"));
}

#[test]
fn synth_never_writes_over_anything() {
    let dir = Dir::new();
    dir.write("taken/notes.txt", "mine");
    dir.yf(&["data", "synth", "taken"]).refuses(2, &["taken"]);
    assert_eq!(fs::read_to_string(dir.join("taken/notes.txt")).unwrap(), "mine");
    dir.yf(&["data", "synth", "new", "--size", "8x8"]).refuses(2, &["8x8"]);
    dir.yf(&["data", "synth", "new", "--pairs", "0"]).refuses(2, &[]);
    assert!(!dir.join("new").exists());
}
