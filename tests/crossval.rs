//! Cross-validation through the binary: folds, runs side by side, results, and going on after an interruption.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Dir, Ran, shared, trainer};
use serde_json::Value;

const EXPERIMENT: &str = "\
data: ../pairs/data.yaml
folds: 2
seeds: [3]
train: {epochs: 1, batch: 4, imgsz: 64}
variants:
  ir-only: {model: yolov8-n, modality: ir}
  mid: {model: mid-n, modality-dropout: 0.5}
";

fn crossval(dir: &Dir, more: &[&str]) -> Ran {
    let line = ["crossval", "run", "experiments/small.yaml", "--device", "cpu", "--jobs", "2"];
    dir.yf(&[&line[..], more].concat())
}

fn results(dir: &Dir) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("runs/crossval/small/results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_variant_runs_on_every_fold_once() {
    let Some(_) = trainer() else { return };
    let dir = Dir::new();
    dir.synth(10);
    dir.write("experiments/small.yaml", EXPERIMENT);
    let planned = crossval(&dir, &["--dry-run"]).succeeds().stdout();
    assert!(!dir.join("runs").exists(), "a dry run writes nothing");
    assert_eq!(planned.lines().count(), 4, "{planned}");
    crossval(&dir, &["--only", "mid"]).succeeds();
    assert_eq!(results(&dir).len(), 2);
    // As if the process had been killed in the middle of a run.
    let run = dir.join("runs/crossval/small/runs/ir-only-fold0-seed3");
    fs::create_dir_all(run.join("weights")).unwrap();
    fs::write(run.join("args.toml"), "half").unwrap();
    let told = crossval(&dir, &[]).succeeds().stderr();
    assert!(told.contains("2 of 4 runs are done") && told.contains("2/2 ir-only"), "{told}");
    let found = results(&dir);
    let cameras = |trial: &Value| trial["cameras"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for trial in &found {
        let tested = if trial["variant"] == "mid" { vec!["both", "rgb", "ir"] } else { vec!["ir"] };
        assert_eq!(cameras(trial), tested);
        assert_eq!((&trial["epoch"], &trial["pairs"]), (&1.into(), &serde_json::json!([5, 5])));
    }
    let args = fs::read_to_string(run.join("args.toml")).unwrap();
    assert!(args.contains("seed = 3") && args.contains("val_every = 0"), "{args}");
    let files = |name: &str| run.join("weights").join(name).exists();
    assert!(files("best.safetensors") && !files("last.safetensors"));
    let report = |more: &[&str]| {
        let line = ["crossval", "report", "runs/crossval/small/results.jsonl"];
        dir.yf(&[&line[..], more].concat())
    };
    let page = report(&["--against", "ir-only", "-o", "page"]).succeeds().stdout();
    assert!(page.starts_with("2 variants; folds: 2, seeds: 1; 5 pairs"), "{page}");
    assert_eq!(fs::read_to_string(dir.join("page/report.md")).unwrap(), page);
    assert!(fs::read(dir.join("page/report.png")).unwrap().starts_with(b"\x89PNG"));
    report(&["--against", "early"]).refuses(2, &["'early'", "ir-only, mid"]);
    let one = report(&["--only", "ir-only", "-o", "one"]).succeeds().stdout();
    assert!(one.starts_with("1 variants;") && !one.contains("| mid |"), "{one}");
    let both = report(&["--only", "mid", "--against", "ir-only", "-o", "both"]).succeeds().stdout();
    assert_eq!(both, page);
    report(&["--only", "early"]).refuses(2, &["no such variant", "ir-only, mid"]);
    // Nothing is left to do, and nothing is done under a name that means something else now.
    assert!(crossval(&dir, &["--dry-run"]).succeeds().stdout().is_empty());
    dir.write("experiments/small.yaml", EXPERIMENT.replace("0.5", "0.25"));
    crossval(&dir, &[]).refuses(2, &["'mid'", "another name"]);
    dir.write("experiments/small.yaml", EXPERIMENT.replace("folds: 2", "folds: 2\nsplits: [train]"));
    crossval(&dir, &[]).refuses(2, &["of other pairs", "--out"]);
}

/// What the repository says that its experiments found was found by the experiments that it has.
#[test]
fn the_results_that_are_kept_are_those_of_the_experiments() {
    let Some(shared) = shared() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = shared.join("data/real.yaml");
    if !root.join("../shared/weights").is_dir() {
        eprintln!("skipped: the experiments name ../shared/weights, which is not there");
        return;
    }
    for name in ["fusion", "ablations"] {
        let out = tempfile::tempdir().unwrap();
        let kept = fs::read_to_string(root.join(format!("experiments/results/{name}.jsonl"))).unwrap();
        fs::write(out.path().join("results.jsonl"), &kept).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_yf"));
        command.current_dir(root).args(["crossval", "run", &format!("experiments/{name}.yaml"), "--dry-run"]);
        let ran = command.arg("--data").arg(&data).arg("--out").arg(out.path()).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{told}");
        let done = format!("{} of ", kept.lines().count());
        let left = String::from_utf8_lossy(&ran.stdout).lines().count();
        assert!(left == 0 || told.contains(&done), "{done}: {told}");
    }
}

#[test]
fn an_experiment_that_cannot_be_run_is_refused_before_anything_runs() {
    let dir = Dir::new();
    dir.synth(10);
    for (from, to, words) in [
        ("folds: 2", "folds: 11", ["10 pairs", "2 to 10"]),
        ("modality-dropout: 0.5", "modality-dropout: 1.5", ["variant 'mid'", "modality-dropout"]),
        ("model: mid-n", "model: mid-n, seed: 4", ["variant 'mid'", "--seed is set by"]),
        ("model: mid-n", "modle: mid-n", ["variant 'mid'", "--modle"]),
        ("../pairs/data.yaml", "pairs.yaml", ["experiments/pairs.yaml", "no such file"]),
        ("model: mid-n", "model: data-n, auxiliary-gain: 0.5", ["variant 'mid'", "meet too early in data-n"]),
        ("batch: 4", "batch: auto", ["variant 'ir-only'", "name a number"]),
    ] {
        dir.write("experiments/small.yaml", EXPERIMENT.replace(from, to));
        crossval(&dir, &[]).refuses(2, &words);
    }
    dir.write("experiments/small.yaml", EXPERIMENT);
    crossval(&dir, &["--only", "early"]).refuses(2, &["no such variant", "ir-only, mid"]);
    crossval(&dir, &["--weights", "own.pt"])
        .refuses(2, &["--weights", "no variant of experiments/small.yaml"]);
    dir.write("experiments/small.yaml", EXPERIMENT.replace("model: mid-n", "model: mid-n, weights: coco.pt"));
    crossval(&dir, &[]).refuses(2, &["variant 'mid'", "experiments/coco.pt"]);
    crossval(&dir, &["--weights", "own.pt"]).refuses(2, &["variant 'mid'", " own.pt"]);
    dir.write("experiments/small.yaml", EXPERIMENT);
    crossval(&dir, &["--part", "3/2"]).ends_with(2);
    crossval(&dir, &["--part", "50/50"]).refuses(2, &["--part 50/50", "only 4 runs"]);
}
