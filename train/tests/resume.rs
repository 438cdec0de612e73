//! A run that is killed and resumed ends with the same bits as one that was never interrupted.

mod runs;

use std::path::PathBuf;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use runs::{Place, last, not_finite, parts, read, resumed, rows, start, succeed};
use yf_models::Weights;
use yf_plan::{Optimizer, Recipe, TrainPlan};

/// Longer than any epoch here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Five batches an epoch. The warm-up lasts the whole run and lets ever more batches make a step.
fn recipe(optimizer: Optimizer) -> Recipe {
    let lr0 = if optimizer == Optimizer::Sgd { 0.01 } else { 0.001 };
    Recipe { epochs: 3, batch: 4, close_mosaic: 1, seed: 11, optimizer, lr0, ..Recipe::default() }
}

#[test]
fn killed_in_mid_epoch_or_in_mid_write_a_run_ends_with_the_same_bits() {
    let place = Place::new(24);
    let whole = place.plan("whole", recipe(Optimizer::Sgd));
    succeed(&whole);
    assert_eq!(not_finite(&read(&last(&whole))), None);
    assert_eq!(rows(&whole).iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2, 3]);

    let in_epoch = place.plan("in-epoch", recipe(Optimizer::Sgd));
    let kept = kill_in_mid_epoch(&in_epoch);
    assert!(kept.tensors.keys().any(|name| name.starts_with("train.gradient.")), "gradients wait for a step");
    succeed(&resumed(&in_epoch));
    assert_same_run(&whole, &in_epoch);

    let in_write = place.plan("in-write", recipe(Optimizer::Sgd));
    kill_in_mid_write(&in_write);
    succeed(&resumed(&in_write));
    assert_eq!(parts(&in_write.run.join("weights")), Vec::<PathBuf>::new(), "the half file is swept");
    assert_same_run(&whole, &in_write);
}

#[test]
fn the_state_of_adamw_and_of_auxiliary_heads_goes_on_too() {
    let place = Place::new(24);
    let recipe = Recipe { auxiliary_gain: 0.5, ..recipe(Optimizer::AdamW) };
    let whole = place.plan("whole", recipe.clone());
    succeed(&whole);
    let in_epoch = place.plan("in-epoch", recipe);
    kill_in_mid_epoch(&in_epoch);
    succeed(&resumed(&in_epoch));
    assert_same_run(&whole, &in_epoch);
}

#[test]
fn a_finished_run_stays_as_it_is() {
    let place = Place::new(10);
    let plan = place.plan("run", Recipe { epochs: 2, batch: 4, patience: 1, ..Recipe::default() });
    succeed(&plan);
    let (weights, epochs) = (read(&last(&plan)), rows(&plan).len());
    succeed(&resumed(&plan));
    assert_same_bits(&weights, &read(&last(&plan)));
    assert_eq!(rows(&plan).len(), epochs);
}

/// Starts a run and kills it in an epoch after its first. Returns what it had kept.
fn kill_in_mid_epoch(plan: &TrainPlan) -> Weights {
    kill_at(plan, |child| {
        wait_for(child, || last(plan).exists());
        // An epoch is five batches and a validation; this is somewhere in the first of them.
        sleep(Duration::from_millis(40));
        kill(child) && rows(plan).len() == 1 && parts(&plan.run.join("weights")).is_empty()
    });
    let kept = read(&last(plan));
    assert_eq!(kept.header.epoch, 1);
    kept
}

/// Starts a run and kills it while it writes a `last.safetensors` that is not its first; the one before is still
/// whole then.
fn kill_in_mid_write(plan: &TrainPlan) {
    let sibling = |child: &Child| plan.run.join(format!("weights/.last.safetensors.{}.part", child.id()));
    kill_at(plan, |child| {
        wait_for(child, || last(plan).exists());
        let sibling = sibling(child);
        wait_for(child, || sibling.exists()) && kill(child) && sibling.exists()
    });
    let [part] = &parts(&plan.run.join("weights"))[..] else { panic!("one file in the making") };
    let [written, whole] = [part, &last(plan)].map(|path| path.metadata().unwrap().len());
    eprintln!("killed with {written} of some {whole} bytes written");
    assert_eq!(read(&last(plan)).header.epoch + 1, rows(plan).len(), "the epoch before is kept whole");
}

/// Starts the run until `catch` has killed it where it wants to: a busy machine can make it miss.
fn kill_at(plan: &TrainPlan, catch: impl Fn(&mut Child) -> bool) {
    for _ in 0..5 {
        if catch(&mut start(plan)) {
            return;
        }
        std::fs::remove_dir_all(&plan.run).unwrap();
        std::fs::create_dir(&plan.run).unwrap();
    }
    panic!("never caught where it should be killed");
}

/// Polls often enough to see a file of megabytes being written. Returns whether it came before the run's end.
fn wait_for(child: &mut Child, holds: impl Fn() -> bool) -> bool {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "nothing happens");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        sleep(Duration::from_micros(200));
    }
    true
}

/// SIGKILL: the process has no say in it. Returns whether it came before the run's end.
fn kill(child: &mut Child) -> bool {
    let _ = child.kill();
    child.wait().unwrap().code().is_none()
}

/// Equal weights, averages, optimizer state and waiting gradients, and the same row for every epoch.
fn assert_same_run(whole: &TrainPlan, resumed: &TrainPlan) {
    assert_same_bits(&read(&last(whole)), &read(&last(resumed)));
    let best = |plan: &TrainPlan| read(&plan.run.join("weights/best.safetensors"));
    assert_same_bits(&best(whole), &best(resumed));
    // Time, speed and memory are the machine's; as text, because NaN is not equal to itself.
    let timeless = |plan: &TrainPlan| -> Vec<String> {
        let row = |mut row: yf_train::records::results::Row| {
            (row.time, row.pairs_per_s, row.memory_gb) = (0.0, 0.0, 0.0);
            format!("{row:?}")
        };
        rows(plan).into_iter().map(row).collect()
    };
    assert_eq!(timeless(whole), timeless(resumed));
}

fn assert_same_bits(a: &Weights, b: &Weights) {
    let names = |weights: &Weights| weights.tensors.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(a), names(b));
    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for (name, array) in &a.tensors {
        let other = &b.tensors[name];
        assert!(array.shape == other.shape && bits(&array.data) == bits(&other.data), "{name} differs");
    }
}
