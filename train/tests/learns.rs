//! A few pairs are learnt by heart: in single precision, and in bf16, which `--amp` means on a CPU.

mod runs;

use runs::{Place, read, rows, run, stderr};
use yf_plan::{AmpKind, Optimizer, Recipe, TrainPlan};

/// One step an epoch, of all pairs; no geometry, so that what is to be learnt stays the same.
fn recipe(amp: Option<AmpKind>) -> Recipe {
    Recipe {
        epochs: 16,
        batch: 64,
        amp,
        optimizer: Optimizer::AdamW,
        lr0: 2e-3,
        warmup_epochs: 0.0,
        close_mosaic: 0,
        mosaic: 0.0,
        translate: 0.0,
        scale: 0.0,
        fliplr: 0.0,
        ..Recipe::default()
    }
}

/// The sum of the losses in the first epoch and in the last.
fn losses(amp: Option<AmpKind>) -> (f64, f64) {
    let place = Place::new(10);
    let plan = TrainPlan { imgsz: 96, ..place.plan("run", recipe(amp)) };
    let done = run(&plan);
    assert!(done.status.success(), "{}", stderr(&done));
    let precision = if amp.is_some() { "in bf16 (mixed)" } else { "in fp32" };
    assert!(stderr(&done).contains(precision), "{}", stderr(&done));
    assert_eq!(stderr(&done).contains("on a CPU --amp means bf16"), amp == Some(AmpKind::Fp16));

    let rows = rows(&plan);
    let sums: Vec<f64> = rows.iter().map(|row| row.train.iter().sum()).collect();
    eprintln!("{amp:?}: {sums:.2?}");
    assert!(rows.iter().all(|row| row.skipped == 0 && row.scale == 1.0));
    for file in ["best.safetensors", "last.safetensors"] {
        assert_eq!(runs::not_finite(&read(&plan.run.join("weights").join(file))), None);
    }
    for file in ["args.toml", "labels.png", "results.png", "train_batch.jpg"] {
        assert!(plan.run.join(file).metadata().unwrap().len() > 0, "{file}");
    }
    (sums[0], sums[sums.len() - 1])
}

#[test]
fn the_loss_falls_in_single_precision() {
    let (first, last) = losses(None);
    assert!(last < 0.6 * first, "{first} to {last}");
}

#[test]
fn the_loss_falls_in_bf16() {
    let (first, last) = losses(Some(AmpKind::Fp16));
    assert!(last < 0.6 * first, "{first} to {last}");
}
