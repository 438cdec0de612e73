//! Pairs of real files through the small detector: its boxes are cells of a grid whose score is their brightness.

use std::fs;
use std::path::Path;

use yf_data::picture::Picture;

use super::*;
use crate::backend::{Choice, Options, open};
use crate::model::ModelSource;
use crate::testing::Detector;

/// Twice the detector's input, so that a cell is 16 pixels of the file.
const SIZE: (usize, usize) = (96, 64);

fn pipeline(model: Detector, settings: Settings) -> Pipeline {
    let source = ModelSource::Bytes { name: "cells.onnx".into(), bytes: model.onnx() };
    Pipeline::new(open(source, Choice::Embedded, &Options::default()).unwrap(), settings)
}

fn settings() -> Settings {
    let suppression = Suppression { conf: 0.6, iou: 0.7, max: 300, agnostic: false, multi_label: false };
    Settings { suppression, keep_pictures: true, ..Settings::default() }
}

/// A black picture with one white square of a cell, at this column and row of the grid.
fn spot(cell: Option<(usize, usize)>) -> Picture<3> {
    let mut picture = Picture::filled(SIZE.0, SIZE.1, [0; 3]);
    if let Some((column, row)) = cell {
        for y in row * 16..row * 16 + 16 {
            picture.pixels[(y * SIZE.0 + column * 16) * 3..][..48].fill(255);
        }
    }
    picture
}

fn save(picture: &Picture<3>, path: &Path) {
    let (width, height) = (picture.width as u32, picture.height as u32);
    image::save_buffer(path, &picture.pixels, width, height, image::ColorType::Rgb8).unwrap();
}

fn write(dir: &Path, name: &str, rgb: Option<(usize, usize)>, ir: Option<(usize, usize)>) -> Files {
    let files = (dir.join(format!("{name}.jpg")), dir.join(format!("{name}_ir.jpg")));
    save(&spot(rgb), &files.0);
    save(&spot(ir), &files.1);
    Files::Pair { rgb: files.0, ir: files.1 }
}

/// The two files of a pair.
fn both(files: &Files) -> (&Path, &Path) {
    match files {
        Files::Pair { rgb, ir } => (rgb, ir),
        Files::One(path) => panic!("{} is alone", path.display()),
    }
}

fn run(pipeline: &mut Pipeline, pairs: &[Files]) -> Vec<Result<PairResult, DeployError>> {
    let mut results = Vec::new();
    let outcome: Result<(), DeployError> = pipeline.run(pairs, |result| {
        results.push(result);
        Ok(())
    });
    outcome.unwrap();
    results
}

fn near(found: &[Detection], class: usize, wanted: [f32; 4]) -> bool {
    let close = |d: &Detection| d.bbox.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 0.01);
    found.len() == 1 && found[0].class == class && found[0].score > 0.9 && close(&found[0])
}

#[test]
fn boxes_come_back_in_pixels_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [write(dir.path(), "a", Some((1, 2)), None), write(dir.path(), "b", None, Some((5, 0)))];
    let results = run(&mut pipeline(Detector::SMALL, settings()), &pairs);
    let [a, b] = [0, 1].map(|i| results[i].as_ref().unwrap());
    assert!(near(&a.detections, 0, [16.0, 32.0, 32.0, 48.0]), "{:?}", a.detections);
    assert!(near(&b.detections, 1, [80.0, 0.0, 96.0, 16.0]), "{:?}", b.detections);
    assert_eq!(a.size, SIZE);
    assert_eq!(a.rgb.as_deref(), Some(both(&pairs[0]).0));
    assert_eq!(b.ir.as_deref(), Some(both(&pairs[1]).1));
    assert!([a.ms.decode, a.ms.letterbox, a.ms.network].iter().all(|ms| *ms > 0.0));
    assert_eq!(a.pictures.as_ref().unwrap().size(), SIZE);
}

#[test]
fn a_border_of_the_letterbox_is_taken_off() {
    // 96 x 48 becomes 64 x 32 in the square input, 16 rows down: a cell of 8 is 12 pixels of the file.
    let model = Detector { height: 64, width: 64, ..Detector::SMALL };
    let dir = tempfile::tempdir().unwrap();
    let files = (dir.path().join("a.jpg"), dir.path().join("a.png"));
    let mut picture = Picture::filled(96, 48, [0; 3]);
    for y in 12..24 {
        picture.pixels[(y * 96 + 24) * 3..][..36].fill(255);
    }
    save(&picture, &files.0);
    image::GrayImage::new(96, 48).save(&files.1).unwrap();
    let results = run(&mut pipeline(model, settings()), &[Files::Pair { rgb: files.0, ir: files.1 }]);
    let found = &results[0].as_ref().unwrap().detections;
    assert!(near(found, 0, [24.0, 12.0, 36.0, 24.0]), "{found:?}");
}

#[test]
fn a_blanked_modality_is_grey() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [write(dir.path(), "a", Some((1, 2)), Some((4, 1)))];
    let found = |modality, conf| {
        let mut settings = Settings { modality, ..settings() };
        settings.suppression.conf = conf;
        run(&mut pipeline(Detector::SMALL, settings), &pairs).remove(0).unwrap().detections
    };
    assert_eq!(found(Modality::Both, 0.6).len(), 2);
    assert!(near(&found(Modality::Rgb, 0.6), 0, [16.0, 32.0, 32.0, 48.0]));
    assert!(near(&found(Modality::Ir, 0.6), 1, [64.0, 16.0, 80.0, 32.0]));
    // Every cell of the blanked picture scores 114 / 255 = .447, one of the 24 less than the white one beside it.
    let grey = found(Modality::Rgb, 0.44);
    let blank = |d: &&Detection| d.class == 1 && (d.score - 114.0 / 255.0).abs() < 1e-3;
    assert_eq!(grey.iter().filter(blank).count(), 23);
}

#[test]
fn a_one_stream_network_takes_the_picture_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let pairs = [write(dir.path(), "a", Some((1, 2)), Some((4, 1)))];
    let model = Detector { pair: false, ..Detector::SMALL };
    for (modality, wanted) in [
        (Modality::Both, [16.0, 32.0, 32.0, 48.0]),
        (Modality::Rgb, [16.0, 32.0, 32.0, 48.0]),
        (Modality::Ir, [64.0, 16.0, 80.0, 32.0]),
    ] {
        let mut pipeline = pipeline(model, Settings { modality, ..settings() });
        let results = run(&mut pipeline, &pairs);
        assert!(near(&results[0].as_ref().unwrap().detections, 0, wanted), "{modality}");
    }
}

#[test]
fn a_one_stream_network_sees_its_own_camera_and_needs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let pair = write(dir.path(), "a", Some((1, 2)), Some((4, 1)));
    let (rgb, ir) = both(&pair);
    for (camera, own, wanted) in
        [("rgb", rgb, [16.0, 32.0, 32.0, 48.0]), ("ir", ir, [64.0, 16.0, 80.0, 32.0])]
    {
        let model = Detector { pair: false, camera: Some(camera), ..Detector::SMALL };
        let alone = Files::One(own.to_owned());
        for files in [pair.clone(), alone] {
            let result =
                run(&mut pipeline(model, settings()), std::slice::from_ref(&files)).remove(0).unwrap();
            assert!(near(&result.detections, 0, wanted), "{camera}, {files:?}: {:?}", result.detections);
            let given = [&result.rgb, &result.ir].map(|path| path.as_deref());
            let expected = match files {
                Files::Pair { .. } => [Some(rgb), Some(ir)],
                Files::One(_) => [Some(rgb), Some(ir)].map(|path| path.filter(|p| *p == own)),
            };
            assert_eq!(given, expected);
            let drawn = result.pictures.as_ref().unwrap().annotated(&result.detections, &["warm".to_owned()]);
            assert_eq!(drawn.width > SIZE.0, expected[0].is_some() && expected[1].is_some());
        }
    }
    let refused = run(&mut pipeline(Detector::SMALL, settings()), &[Files::One(rgb.to_owned())]).remove(0);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("a.jpg") && refused.contains("takes two"), "{refused}");
}

#[test]
fn many_pairs_come_in_order_and_broken_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let cell = |i: usize| Some((i % 6, i % 4));
    let mut pairs: Vec<_> = (0..40).map(|i| write(dir.path(), &i.to_string(), cell(i), None)).collect();
    fs::write(both(&pairs[7]).1, "").unwrap();
    let whole = fs::read(both(&pairs[20]).0).unwrap();
    fs::write(both(&pairs[20]).0, &whole[..whole.len() / 2]).unwrap();
    pairs[33] = Files::Pair { rgb: both(&pairs[33]).0.to_owned(), ir: dir.path().join("gone.jpg") };
    let broken = [(7, "7_ir.jpg"), (20, "20.jpg"), (33, "gone.jpg")];
    for (fixed, batch) in [(None, Batch::Of(1)), (None, Batch::Of(7)), (Some(4), Batch::Auto)] {
        let model = Detector { batch: fixed, ..Detector::SMALL };
        let results = run(&mut pipeline(model, Settings { batch, ..settings() }), &pairs);
        assert_eq!(results.len(), 40);
        for (i, result) in results.iter().enumerate() {
            match (result, broken.iter().find(|(n, _)| *n == i)) {
                (Ok(result), None) => {
                    assert_eq!(result.rgb.as_deref(), Some(both(&pairs[i]).0));
                    let (x, y) = ((i % 6 * 16) as f32, (i % 4 * 16) as f32);
                    assert!(near(&result.detections, 0, [x, y, x + 16.0, y + 16.0]), "{batch:?}, pair {i}");
                }
                (Err(error), Some((_, name))) => {
                    assert!(error.to_string().contains(name), "pair {i}: {error}");
                }
                other => panic!("pair {i}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_answer_that_is_no_number_is_an_error_of_its_pair() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Detector::SMALL.proto();
    let weights = model.graph.as_mut().unwrap().initializer.iter_mut().find(|w| w.name == "boxes").unwrap();
    weights.raw_data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    let source =
        ModelSource::Bytes { name: "cells.onnx".into(), bytes: prost::Message::encode_to_vec(&model) };
    let backend = open(source, Choice::Embedded, &Options::default()).unwrap();
    let pair = write(dir.path(), "a", Some((1, 2)), None);
    let refused = run(&mut Pipeline::new(backend, settings()), &[pair]).remove(0).unwrap_err().to_string();
    assert!(refused.contains("a.jpg: cells.onnx answers with NaN"), "{refused}");
}

#[test]
fn strict_ends_at_the_first_broken_pair_and_so_does_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    let pairs: Vec<_> = (0..10).map(|i| write(dir.path(), &i.to_string(), None, None)).collect();
    fs::write(both(&pairs[3]).0, "no picture").unwrap();
    let mut seen = 0;
    let mut strict = pipeline(Detector::SMALL, Settings { strict: true, ..settings() });
    let outcome: Result<(), DeployError> = strict.run(&pairs, |_| {
        seen += 1;
        Ok(())
    });
    assert_eq!(seen, 3);
    assert!(outcome.unwrap_err().to_string().contains("3.jpg"));
    let mut seen = 0;
    let stop: Result<(), DeployError> = strict.run(&pairs, |_| {
        seen += 1;
        Err(DeployError::Choice("disk full".into()))
    });
    assert_eq!((seen, stop.unwrap_err().to_string().as_str()), (1, "disk full"));
}

#[test]
fn what_was_begun_is_finished_when_the_run_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let pair = write(dir.path(), "a", Some((1, 2)), None);
    let pairs = vec![pair; 500];
    let (stop, mut seen) = (AtomicBool::new(false), 0);
    let outcome: Result<(), DeployError> =
        pipeline(Detector::SMALL, settings()).run_until(&stop, &pairs, |result| {
            assert!(near(&result?.detections, 0, [16.0, 32.0, 32.0, 48.0]));
            seen += 1;
            stop.store(seen >= 3, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        });
    outcome.unwrap();
    assert!((3..200).contains(&seen), "{seen} of 500");
}

#[test]
fn rows_of_a_network_with_suppression_inside_are_detections() {
    let mut rows = vec![10.0, 20.0, 30.0, 40.0, 0.9, 1.0];
    rows.extend([1.0, 2.0, 3.0, 4.0, 0.3, 0.0]);
    rows.extend([1.0, 2.0, 3.0, 4.0, 0.8, 2.0]);
    rows.extend([0.0; 12]);
    let found = suppressed(&rows, 2, &Suppression::INFER);
    assert_eq!(found.len(), 2, "the third row has a class that there is not");
    assert_eq!(found[0], Detection { class: 1, score: 0.9, bbox: [10.0, 20.0, 30.0, 40.0] });
    let sure = Suppression { conf: 0.5, ..Suppression::INFER };
    assert_eq!(suppressed(&rows, 2, &sure).len(), 1);
}

#[test]
fn no_pairs_are_no_results() {
    assert!(run(&mut pipeline(Detector::SMALL, settings()), &[]).is_empty());
}
