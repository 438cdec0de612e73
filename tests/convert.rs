//! `yf data convert`: what it writes, `yf data check` has nothing against, and training can start from.

mod common;

use std::fs;

use common::Dir;

/// A tree as LLVIP is published, of synthetic pictures of 160x128: four pairs to train on and one to test on.
fn llvip() -> Dir {
    let dir = Dir::new();
    dir.synth(5);
    fs::create_dir_all(dir.join("LLVIP/Annotations")).expect("room for a folder");
    for (kind, folder) in [("images", "visible"), ("imagesIR", "infrared")] {
        fs::create_dir_all(dir.join("LLVIP").join(folder)).expect("room for a folder");
        for (split, part) in [("train", "train"), ("val", "test")] {
            let part = dir.join("LLVIP").join(folder).join(part);
            fs::rename(dir.join("pairs").join(kind).join(split), part).expect("renamed");
        }
    }
    for index in 0..5 {
        let annotation = "<annotation><size><width>160</width><height>128</height></size>\n<object><name>person</name>\n\
                          <bndbox><xmin>16</xmin><ymin>32</ymin><xmax>48</xmax><ymax>96</ymax></bndbox></object></annotation>";
        dir.write(&format!("LLVIP/Annotations/{index:06}.xml"), annotation);
    }
    dir
}

#[test]
fn a_converted_data_set_passes_the_check() {
    let dir = llvip();
    let said = dir.yf(&["data", "convert", "llvip", "LLVIP", "llvip"]).succeeds();
    assert_eq!(said.stdout().trim(), "llvip/data.yaml");
    assert!(
        said.stderr().contains("train: 4 pairs, 4 boxes") && said.stderr().contains("5 person"),
        "{}",
        said.stderr()
    );
    let check = dir.yf(&["data", "check", "llvip/data.yaml", "--json"]).succeeds().json();
    assert_eq!(check["errors"], serde_json::json!([]));
    assert_eq!(check["summary"]["splits"]["val"]["boxes"], 1);
    let labels = fs::read_to_string(dir.join("llvip/labels/train/000000.txt")).expect("labels");
    assert_eq!(labels, "0 0.200000 0.500000 0.200000 0.500000\n");
    dir.yf(&["data", "convert", "llvip", "LLVIP", "llvip"]).refuses(2, &["llvip", "not empty"]);
}

#[test]
fn what_cannot_be_converted_is_refused_before_anything_is_written() {
    let dir = llvip();
    dir.write(
        "LLVIP/Annotations/000001.xml",
        "<annotation>\n<object><name>person</name></object></annotation>",
    );
    let refused =
        dir.yf(&["data", "convert", "llvip", "LLVIP", "llvip"]).refuses(1, &["1 problem", "--skip-bad"]);
    assert!(refused.stderr().contains("000001.xml:2: the person has no bndbox"), "{}", refused.stderr());
    assert!(!dir.join("llvip").exists());
    dir.yf(&["data", "convert", "llvip", "LLVIP", "llvip", "--skip-bad", "--copy"]).succeeds();
    assert!(
        !dir.join("llvip/images/train/000001.jpg").exists()
            && dir.join("llvip/images/train/000000.jpg").is_file()
    );
    dir.yf(&["data", "convert", "m3fd", "LLVIP", "m3fd"]).refuses(2, &["LLVIP", "Vis"]);
    dir.yf(&["data", "convert", "flir", "gone", "flir"]).refuses(2, &["gone"]);
    for arguments in [
        &["coco", "LLVIP", "x"][..],
        &["m3fd", "LLVIP", "x", "--val", "1"],
        &["kaist", "LLVIP", "x", "--test-every", "0"],
    ] {
        dir.yf(&[&["data", "convert"], arguments].concat()).ends_with(2);
    }
}
