//! Data sets with everything wrong at once.

use super::*;
use crate::fixtures::{Folder, shared};

fn quiet(_: usize, _: usize) {}

fn checked(folder: &Folder, yaml: &str) -> Report {
    check(&folder.open(yaml).expect("a good data.yaml"), &Limits::default(), &quiet)
}

fn has(problems: &[Problem], file: &str, line: Option<usize>, message: &str) -> bool {
    problems.iter().any(|p| p.file.ends_with(file) && p.line == line && p.message.contains(message))
}

#[test]
fn all_problems_are_listed_at_once() {
    let folder = Folder::new();
    for (name, seed) in [("good", 1), ("labels", 2), ("lonely", 3), ("small", 4), ("twin", 5)] {
        folder.rgb(&format!("images/train/{name}.png"), (40, 30), seed);
    }
    for (name, seed) in [("good", 11), ("labels", 12), ("extra", 13), ("cut", 14)] {
        folder.grey(&format!("imagesIR/train/{name}.png"), (20, 15), seed);
    }
    folder.grey("imagesIR/train/small.png", (20, 20), 15);
    folder.rgb("imagesIR/train/twin.png", (40, 30), 5);
    folder.write("images/train/cut.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR");
    folder.write("images/train/blank.jpg", b"");
    folder.grey("imagesIR/train/blank.png", (20, 15), 16);
    folder.write("labels/train/good.txt", "0 .5 .5 .1 .1\n0 .5 .5 .1 .1\n");
    folder.write("labels/train/labels.txt", "0 .5 .5 .1 .1\n9 .5 .5 .1 .1\n0 nan .5 .1 .1\n");
    folder.rgb("images/val/again.png", (40, 30), 1);
    folder.grey("imagesIR/val/again.png", (20, 15), 11);
    folder.rgb("images/val/own.png", (40, 30), 77);
    folder.grey("imagesIR/val/own.png", (20, 15), 78);

    let report =
        checked(&folder, "train: images/train\nval: images/val\ntest: images/none\nnames: [a, b, a]\n");
    let errors = [
        ("train/lonely.png", None, "no infrared picture"),
        ("imagesIR/train/extra.png", None, "no RGB picture"),
        ("images/train/cut.png", None, "damaged PNG"),
        ("images/train/blank.jpg", None, "the file is empty"),
        ("labels/train/labels.txt", Some(2), "class 9"),
        ("labels/train/labels.txt", Some(3), "no finite number"),
        ("data.yaml", Some(3), "there is no"),
    ];
    for (file, line, message) in errors {
        assert!(has(&report.errors, file, line, message), "{file} {message}: {:#?}", report.errors);
    }
    assert_eq!(report.errors.len(), errors.len(), "{:#?}", report.errors);
    let warnings = [
        ("imagesIR/train/small.png", None, "the aspects differ: infrared is 20x20, RGB is 40x30"),
        ("imagesIR/train/twin.png", None, "the same file as its RGB picture"),
        ("labels/train/good.txt", Some(2), "repeats an earlier box"),
        ("images/val/again.png", None, "the same picture is in 'train'"),
        ("data.yaml", None, "class 'b' is never used"),
        ("data.yaml", None, "two classes are called 'a'"),
        ("data.yaml", None, "'val' has no labelled object"),
    ];
    for (file, line, message) in warnings {
        assert!(has(&report.warnings, file, line, message), "{file} {message}: {:#?}", report.warnings);
    }
    let train = &report.summary.splits["train"];
    assert_eq!((train.pairs, train.boxes, train.background), (7, 2, 5));
    let json = serde_json::to_value(&report).expect("serialises");
    assert!(json["errors"][0]["file"].is_string() && json["summary"]["splits"]["val"]["pairs"] == 2);
}

#[test]
fn labels_without_a_picture_are_told_but_not_texts_beside_pictures() {
    let lone = "no RGB picture belongs to this label file";
    for (frames, labels) in [("images", "labels"), ("frames", "frames")] {
        let folder = Folder::new();
        folder.rgb(&format!("{frames}/a.png"), (8, 8), 1);
        folder.grey(&format!("{frames}/a_ir.png"), (8, 8), 1);
        folder.write(&format!("{labels}/a.txt"), "0 .5 .5 .1 .1\n");
        for other in ["classes.txt", "all.txt"] {
            folder.write(&format!("{labels}/{other}"), "x\n");
        }
        let yaml = format!("train: {frames}\nval: {frames}\nir_suffix: _ir\nnames: [x]\n");
        let report = checked(&folder, &yaml);
        assert_eq!(has(&report.warnings, "labels/all.txt", None, lone), frames == "images");
        assert!(
            !has(&report.warnings, "frames/all.txt", None, lone) && report.errors.is_empty(),
            "{report:#?}"
        );
        assert!(!has(&report.warnings, "labels/classes.txt", None, lone));
    }
}

#[test]
fn bad_pairs_are_told_apart_from_good_ones() {
    let folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.rgb(&format!("images/{name}.png"), (8, 8), 1);
        folder.grey(&format!("imagesIR/{name}.png"), (8, 8), 1);
    }
    folder.write("imagesIR/b.png", "junk");
    let set = folder.open("train: images\nnames: [a]\n").expect("good");
    let pairs = set.pairs(Split::Train).expect("listed");
    let heard = AtomicUsize::new(0);
    let (good, bad) = check_pairs(&pairs, 1, &Limits::default(), &|_, total| {
        assert_eq!(total, 3);
        heard.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(good, [pairs[0].clone(), pairs[2].clone()]);
    assert_eq!(bad.len(), 1);
    assert!(
        bad[0]
            .to_string()
            .ends_with("imagesIR/b.png: no picture: the content is neither JPEG, PNG, TIFF nor BMP")
    );
    assert_eq!(heard.into_inner(), 3);
}

#[test]
fn the_shared_data_sets_have_no_errors() {
    let Some(shared) = shared() else { return };
    let open = |yaml: &str| DataSet::open(shared.join("data").join(yaml)).expect("good");
    let real = check(&open("real.yaml"), &Limits::default(), &quiet);
    assert_eq!(real.errors, []);
    assert_eq!((real.summary.splits["train"].pairs, real.summary.splits["val"].pairs), (168, 38));
    let sample = check(&open("llvip_sample/data.yaml"), &Limits::default(), &quiet);
    assert_eq!(sample.errors, []);
    assert!(has(&sample.warnings, "data.yaml", None, "all 2 pairs of 'val' are also in 'train'"));
}
