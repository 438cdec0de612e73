use std::fs;

use yf_data::labels::BoxLabel;

use super::*;
use crate::records::results::Row;

/// Where the pictures are kept to be looked at, if anywhere.
const KEEP: &str = "YF_KEEP_PLOTS";

/// A plausible run: falling losses, rising metrics, warm-up and linear decay.
fn row(epoch: usize, epochs: usize) -> Row {
    let t = epoch as f64 / epochs as f64;
    let noise = |k: f64| 0.03 * ((epoch as f64 * k).sin() + (epoch as f64 * k * 2.7).cos());
    let fall = |from: f64, to: f64, k: f64| to + (from - to) * (-4.0 * t).exp() + noise(k);
    let rise = |to: f64, k: f64| (to * (1.0 - (-3.0 * t).exp()) + noise(k)).clamp(0.0, 1.0);
    let lr = 0.01 * (1.0 - 0.99 * t);
    Row {
        epoch,
        time: 20.0 * epoch as f64,
        train: [fall(3.1, 1.4, 1.3), fall(4.6, 0.9, 1.7), fall(2.4, 1.05, 0.9)],
        precision: rise(0.75, 2.1),
        recall: rise(0.62, 1.1),
        map50: rise(0.66, 1.9),
        map50_95: rise(0.36, 1.4),
        val: [fall(3.0, 1.6, 2.3), fall(4.2, 1.3, 2.9), fall(2.3, 1.2, 1.1)],
        lr: [
            lr * (3.0 * t * 10.0).min(1.0),
            lr * (3.0 * t * 10.0).min(1.0),
            if epoch == 1 { 0.07 } else { lr },
        ],
        scale: 65_536.0,
        skipped: 0,
        pairs_per_s: 120.0,
        memory_gb: 3.2,
    }
}

fn many_boxes(pictures: usize, classes: usize) -> Vec<Vec<BoxLabel>> {
    let mut state = 7u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut one = |_| {
        let (w, h) = (0.02 + 0.2 * random().powi(3), 0.03 + 0.5 * random().powi(3));
        let class = (random() * random() * classes as f32) as usize;
        BoxLabel { class, cx: w / 2.0 + (1.0 - w) * random(), cy: h / 2.0 + (1.0 - h) * random(), w, h }
    };
    (0..pictures).map(|picture| (0..picture % 13).map(&mut one).collect()).collect()
}

/// The pixels of a plot and how many of them are not white.
fn drawn(name: &str, draw: impl Fn(&std::path::Path) -> Result<(), RecordError>) -> usize {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    draw(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    if let Ok(keep) = std::env::var(KEEP) {
        fs::copy(&path, std::path::Path::new(&keep).join(name)).expect("kept");
    }
    let picture = image::open(&path).expect("a PNG").to_rgb8();
    picture.pixels().filter(|pixel| pixel.0 != [255; 3]).count()
}

#[test]
fn results_hold_with_any_rows() {
    let thirty: Vec<Row> = (1..=30).map(|epoch| row(epoch, 30)).collect();
    let full = drawn("results.png", |path| results(&thirty, path));
    let mut gaps = thirty.clone();
    for row in &mut gaps[8..12] {
        row.train = [f64::NAN; 3];
        row.map50 = f64::INFINITY;
    }
    let with_gaps = drawn("results-gaps.png", |path| results(&gaps, path));
    assert!(with_gaps < full, "gaps are not drawn");
    drawn("results-one.png", |path| results(&thirty[..1], path));
    drawn("results-two.png", |path| results(&thirty[..2], path));
    drawn("results-none.png", |path| results(&[], path));
    let blank = Row { train: [f64::NAN; 3], val: [f64::NAN; 3], ..row(1, 30) };
    drawn("results-nan.png", |path| results(&[blank], path));
    let long: Vec<Row> = (1..=300).map(|epoch| row(epoch, 300)).collect();
    drawn("results-long.png", |path| results(&long, path));
}

#[test]
fn labels_hold_with_any_boxes() {
    let names = |count: usize| (0..count).map(|i| format!("class name {i}")).collect::<Vec<_>>();
    let few = drawn("labels-few.png", |path| labels(&many_boxes(300, 3), &names(3), path));
    let none = drawn("labels-none.png", |path| labels(&[], &names(3), path));
    assert!(none < few);
    drawn("labels-80.png", |path| labels(&many_boxes(3000, 80), &names(80), path));
    drawn("labels-365.png", |path| labels(&many_boxes(3000, 365), &names(365), path));
    drawn("labels-unnamed.png", |path| labels(&many_boxes(20, 5), &[], path));
    let odd = BoxLabel { class: 0, cx: f32::NAN, cy: -3.0, w: f32::INFINITY, h: 0.5 };
    drawn("labels-odd.png", |path| labels(&[vec![odd], vec![]], &names(1), path));
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let path = Path::new("no/such/folder/a.png");
    assert!(matches!(results(&[], path), Err(RecordError::Io { .. })));
    assert!(matches!(labels(&[], &[], path), Err(RecordError::Io { .. })));
}
