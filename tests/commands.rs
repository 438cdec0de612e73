//! The shell around every command: help, exit status, and where output goes.

mod common;

use common::Dir;
use std::process::{Command, Stdio};

/// Every command and subcommand.
const COMMANDS: &[&[&str]] = &[&["train"], &["val"], &["import"], &["info"], &["bench", "train"]];

#[test]
fn help_has_examples_and_goes_to_standard_output() {
    let dir = Dir::new();
    for command in COMMANDS.iter().copied().chain([&[][..]]) {
        let ran = dir.yf(&[command, &["--help"]].concat()).succeeds();
        let help = ran.stdout();
        assert!(help.contains("Usage: yf") && help.contains("Examples:"), "{command:?}\n{help}");
        assert!(ran.stderr().is_empty(), "{command:?}");
    }
}

#[test]
fn defaults_are_in_the_help() {
    let help = Dir::new().yf(&["train", "--help"]).succeeds().stdout();
    for default in ["[default: 640]", "[default: 0.01]", "[default: 7.5]", "[default: runs/train]"] {
        assert!(help.contains(default), "{default}\n{help}");
    }
}

#[test]
fn what_is_not_a_command_or_a_flag_ends_with_status_2() {
    let dir = Dir::new();
    for arguments in [
        &["fly"][..],
        &["train", "--no-such-flag"],
        &["train", "--epochs", "many"],
        &["train", "--amp", "int8"],
        &["train", "--device", "tpu"],
        &["train", "--modality", "uv"],
        &["info", "mid-n", "--classes", "0"],
        &[],
    ] {
        dir.yf(arguments).ends_with(2);
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut yf = Command::new(env!("CARGO_BIN_EXE_yf"))
        .args(["info", "mid-n"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("yf starts");
    drop(yf.stdout.take());
    let output = yf.wait_with_output().expect("yf ends");
    assert!(output.status.success());
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn info_counts_the_references_parameters() {
    let dir = Dir::new();
    for (model, parameters) in [("mid-n", 1_185_027), ("early-n", 2_441_187), ("mid-x", 44_423_155)] {
        let info = dir.yf(&["info", model, "--classes", "1", "--json"]).succeeds().json();
        assert_eq!(info["parameters"], parameters, "{model}");
        let by_layer: u64 =
            info["layers"].as_array().expect("layers").iter().filter_map(|l| l["parameters"].as_u64()).sum();
        assert_eq!(by_layer, parameters as u64, "{model}");
        assert!(info["gflops"].as_f64().is_some_and(|g| g > 1.0), "{model}");
    }
}

#[test]
fn a_plan_is_refused_before_anything_is_written() {
    let dir = Dir::new();
    dir.write("images/readme.txt", "");
    let pairs = dir.write("data.yaml", "train: images\nval: images\nnames: [person]\n");
    let pairs = pairs.to_str().expect("UTF-8");
    dir.yf(&["train", "--data", "gone.yaml"]).refuses(2, &["gone.yaml", "no such file"]);
    dir.yf(&["train", "--data", pairs, "--model", "late-n"]).refuses(2, &["late-n", "mid"]);
    dir.yf(&["train", "--data", pairs, "--imgsz", "330"]).refuses(2, &["330", "32"]);
    dir.yf(&["train", "--data", pairs, "--lr0", "-1"]).refuses(2, &["lr0", "-1"]);
    dir.yf(&["train", "--data", pairs, "--name", "../x"]).refuses(2, &["--name"]);
    dir.yf(&["train", "--data", pairs, "--weights", "gone.safetensors"]).refuses(2, &["gone.safetensors"]);
    dir.yf(&["train", "--resume", "runs/train/exp"]).refuses(2, &["runs/train/exp", "last.safetensors"]);
    dir.yf(&["train", "--resume", "x", "--lr0", "1"]).refuses(2, &["--lr0", "--resume"]);
    dir.yf(&["val"]).refuses(2, &["no weights given", "yf train"]);
    assert!(!dir.join("runs").exists());
}

#[test]
fn a_message_that_nobody_reads_ends_nothing() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_yf"))
        .args(["info", "no-such-network"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2));
}
