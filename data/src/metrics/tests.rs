use std::path::PathBuf;
use std::process::Command;

use super::*;
use crate::random::Random;

fn detection(class: usize, score: f32, bbox: [f32; 4]) -> Detection {
    Detection { class, score, bbox }
}

fn truth(class: usize, bbox: [f32; 4]) -> Truth {
    Truth { class, bbox }
}

const HERE: [f32; 4] = [10.0, 10.0, 50.0, 90.0];
const THERE: [f32; 4] = [110.0, 10.0, 150.0, 90.0];

#[test]
fn perfect_detections_score_one() {
    let mut evaluator = Evaluator::new(3);
    evaluator.add(&[detection(0, 0.8, HERE), detection(2, 0.6, THERE)], &[truth(0, HERE), truth(2, THERE)]);
    let metrics = evaluator.finish();
    assert!((metrics.map50 - 1.0).abs() < 1e-12 && (metrics.map50_95 - 1.0).abs() < 1e-12);
    assert_eq!((metrics.precision, metrics.recall), (1.0, 1.0));
    assert_eq!(metrics.confidence, f64::from(0.6f32));
    assert_eq!((metrics.pictures, metrics.instances, metrics.per_class[2].pictures), (1, 2, 1));
    assert_eq!(metrics.per_class[1].instances, 0);
}

#[test]
fn the_operating_point_leaves_low_scores_out() {
    let mut evaluator = Evaluator::new(1);
    let found = [detection(0, 0.9, HERE), detection(0, 0.2, [0.0, 0.0, 5.0, 5.0]), detection(0, 0.1, THERE)];
    evaluator.add(&found, &[truth(0, HERE), truth(0, THERE)]);
    // F1 is 2/3 after one, 2/4 after two and 4/5 after all three.
    let metrics = evaluator.finish();
    assert_eq!(metrics.confidence, f64::from(0.1f32));
    assert_eq!((metrics.precision, metrics.recall), (2.0 / 3.0, 1.0));
}

#[test]
fn nothing_seen_and_junk_are_no_panic() {
    assert_eq!(Evaluator::new(0).finish(), Metrics::default());
    let mut evaluator = Evaluator::new(1);
    let junk = [detection(0, f32::NAN, HERE), detection(0, 0.5, [f32::NAN; 4]), detection(7, 0.5, HERE)];
    evaluator.add(&junk, &[truth(0, HERE), truth(1, [3.0; 4])]);
    let metrics = evaluator.finish();
    assert_eq!((metrics.map50, metrics.precision, metrics.recall, metrics.confidence), (0.0, 0.0, 0.0, 0.0));
    assert_eq!((metrics.per_class.len(), metrics.instances), (8, 2));
}

#[derive(Serialize)]
struct Picture {
    truths: Vec<Truth>,
    detections: Vec<Detection>,
}

#[derive(Serialize)]
struct Case {
    classes: usize,
    pictures: Vec<Picture>,
}

/// Class 3 has no instances, class 4 is never found, scores are coarse (so ties happen), and the first picture has
/// more detections of a class than count.
fn random_case(seed: u64) -> Case {
    let mut random = Random::keyed(&[seed]);
    let pictures = (0..60).map(|index| random_picture(&mut random, index)).collect();
    Case { classes: 5, pictures }
}

fn random_picture(random: &mut Random, index: usize) -> Picture {
    let truths: Vec<Truth> = (0..random.below(14))
        .map(|_| {
            let (x, y) = (random.range(0.0, 500.0), random.range(0.0, 400.0));
            let (w, h) = (random.range(5.0, 120.0), random.range(5.0, 120.0));
            truth([0, 1, 2, 4][random.below(4)], [x, y, x + w, y + h])
        })
        .collect();
    let mut detections = Vec::new();
    for truth in truths.iter().filter(|truth| truth.class != 4) {
        for _ in 0..random.below(4) {
            let class = if random.chance(0.85) { truth.class } else { random.below(4) };
            let slack = 0.25 * (truth.bbox[2] - truth.bbox[0]).min(truth.bbox[3] - truth.bbox[1]);
            let bbox = truth.bbox.map(|v| v + slack * random.range(-1.0, 1.0) * random.unit());
            detections.push(detection(class, (random.unit() * 50.0).round() / 50.0, bbox));
        }
    }
    for _ in 0..if index == 0 { 400 } else { random.below(10) } {
        let (x, y) = (random.range(0.0, 500.0), random.range(0.0, 400.0));
        let class = if index == 0 { 0 } else { random.below(4) };
        detections.push(detection(class, random.unit(), [x, y, x + 40.0, y + 40.0]));
    }
    Picture { truths, detections }
}

#[test]
fn shards_merge_into_the_whole() {
    let case = random_case(1);
    let evaluate = |pictures: &[Picture]| {
        let mut evaluator = Evaluator::new(case.classes);
        pictures.iter().for_each(|p| evaluator.add(&p.detections, &p.truths));
        evaluator
    };
    let mut merged = evaluate(&case.pictures[..17]);
    merged.merge(evaluate(&case.pictures[17..]));
    assert_eq!(merged.finish(), evaluate(&case.pictures).finish());
}

/// `YF_PYTHON`, else the project's own Python; `None` (a skip) where there is neither and `YF_REQUIRE` is not 1.
fn python() -> Option<PathBuf> {
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
    };
    let own = || cache().map(|cache| cache.join("yf/python/bin/python"));
    let python = std::env::var_os("YF_PYTHON").map(PathBuf::from).or_else(own).filter(|path| path.exists());
    let required = std::env::var("YF_REQUIRE").is_ok_and(|value| value == "1");
    assert!(python.is_some() || !required, "YF_REQUIRE is 1 and there is no Python with pycocotools");
    python
}

#[test]
fn equal_to_pycocotools() {
    let Some(python) = python() else {
        eprintln!("skipped: no Python with pycocotools (set YF_PYTHON)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("by_pycocotools.py");
    std::fs::write(&script, include_str!("by_pycocotools.py")).unwrap();
    for seed in 0..2 {
        let case = random_case(seed);
        let file = folder.path().join("case.json");
        std::fs::write(&file, serde_json::to_vec(&case).unwrap()).unwrap();
        let output = Command::new(&python).arg(&script).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

        let mut evaluator = Evaluator::new(case.classes);
        case.pictures.iter().for_each(|p| evaluator.add(&p.detections, &p.truths));
        let metrics = evaluator.finish();
        assert!(metrics.instances > 200 && (0.2..0.8).contains(&metrics.map50), "{metrics:?}");
        let close = |ours: f64, theirs: &serde_json::Value| {
            assert!((ours - theirs.as_f64().unwrap()).abs() < 1e-9, "{ours} against {theirs} of {expected}");
        };
        close(metrics.map50, &expected["map50"]);
        close(metrics.map50_95, &expected["map50_95"]);
        for class in &metrics.per_class {
            close(class.map50, &expected["per_class"][class.class][0]);
            close(class.map50_95, &expected["per_class"][class.class][1]);
        }
    }
}
