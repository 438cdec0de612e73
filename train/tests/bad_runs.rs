//! What a run cannot do ends it with one clear error and exit status 1; what was kept before stays whole.

mod runs;

use std::path::PathBuf;
use std::process::{Command, Output};

use runs::{PROGRAM, Place, argument, last, not_finite, parts, read, resumed, rows, run, stderr, succeed};
use yf_models::{Header, Network, Weights};
use yf_plan::{Recipe, TrainPlan};
use yf_train::torch::{self, Device, Parameters};

#[test]
fn losses_that_are_not_finite_stop_the_run_and_spare_the_average() {
    let place = Place::new(15);
    let recipe = Recipe { epochs: 4, batch: 4, warmup_epochs: 0.0, ..Recipe::default() };
    let start = place.file("overflowing.safetensors");
    // Finite, but the batch norms' outputs overflow.
    let mut weights = fresh(classes());
    for (name, array) in &mut weights.tensors {
        if name.ends_with("bn.weight") {
            array.data.fill(1e38);
        }
    }
    weights.write(&start).unwrap();
    let plan = TrainPlan { weights: Some(start), ..place.plan("run", recipe) };
    let told = refusal(&run(&plan));
    // Three batches an epoch: the fifth in a row is the second of epoch 2.
    assert!(
        told.contains("epoch 2, batch 2") && told.contains("loss is NaN in 5 batches in a row"),
        "{told}"
    );
    assert!(told.contains("at a learning rate of 7.52e-3") && told.contains("--lr0"), "{told}");
    assert!(told.contains("after epoch 1") && told.contains("last.safetensors"), "{told}");
    for file in ["last", "best"] {
        let kept = read(&plan.run.join(format!("weights/{file}.safetensors")));
        assert_eq!(not_finite(&kept), None, "{file}");
    }
    assert!(rows(&plan)[0].train.iter().all(|loss| loss.is_nan()), "no loss was counted");
}

#[test]
fn an_absurd_learning_rate_never_reaches_the_average() {
    let place = Place::new(10);
    let recipe = Recipe { epochs: 3, batch: 2, lr0: 10.0, warmup_epochs: 0.0, ..Recipe::default() };
    let plan = place.plan("run", recipe);
    let done = run(&plan);
    assert!(done.status.success() || refusal(&done).contains("in a row"), "{}", stderr(&done));
    let kept = read(&last(&plan));
    assert_eq!(not_finite(&kept), None);
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let place = Place::new(5);
    let plan = place.plan("run", Recipe { epochs: 1, batch: 4, ..Recipe::default() });
    let from = |name: &str| TrainPlan { weights: Some(place.file(name)), ..plan.clone() };

    std::fs::write(place.file("junk.safetensors"), b"\x10\0\0\0\0\0\0\0 this is no header").unwrap();
    let told = refusal(&run(&from("junk.safetensors")));
    assert!(told.contains("junk.safetensors") && told.contains("nor a safetensors file"), "{told}");

    let told = refusal(&run(&from("absent.safetensors")));
    assert!(told.contains("absent.safetensors") && told.contains("No such file"), "{told}");

    let wide = Network::load("early-x", Some(3)).unwrap();
    let graph = wide.graph(64, 64).unwrap();
    let tensors = Parameters::fresh(&graph, Device::Cpu).arrays().collect();
    let names = ["a", "b", "c"].map(String::from).to_vec();
    Weights { header: Header::new(&wide, names, 64), tensors }
        .write(&place.file("wide.safetensors"))
        .unwrap();
    let told = refusal(&run(&from("wide.safetensors")));
    assert!(told.contains("wide.safetensors") && told.contains("weights of early-x"), "{told}");
    assert!(told.contains("fits mid-n") && told.contains("it would fit early-x"), "{told}");

    let mut weights = fresh(classes());
    let (name, array) = weights.tensors.iter_mut().next().unwrap();
    array.data[0] = f32::NAN;
    let name = name.clone();
    weights.write(&place.file("nan.safetensors")).unwrap();
    let told = refusal(&run(&from("nan.safetensors")));
    assert!(told.contains("nan.safetensors") && told.contains(&name) && told.contains("NaN"), "{told}");

    let told = refusal(&run(&resumed(&plan)));
    assert!(told.contains("last.safetensors"), "{told}");
    assert!(!plan.run.join("weights").exists() || !last(&plan).exists());
}

#[test]
fn a_full_disk_loses_nothing() {
    let place = Place::new(10);
    let plan = place.plan("run", Recipe { epochs: 1, batch: 4, ..Recipe::default() });
    succeed(&plan);
    let kept = std::fs::read(last(&plan)).unwrap();
    let longer = TrainPlan { recipe: Recipe { epochs: 2, ..plan.recipe.clone() }, ..resumed(&plan) };

    let told = refusal(&run_with_files_of(kept.len() / 2, &longer));
    assert!(told.contains("weights/last.safetensors") && told.contains("File too large"), "{told}");
    assert!(std::fs::read(last(&plan)).unwrap() == kept, "the old file is touched");
    assert_eq!(parts(&plan.run.join("weights")), Vec::<PathBuf>::new());

    succeed(&longer);
    assert_eq!(read(&last(&plan)).header.epoch, 2);
    assert_eq!(rows(&plan).iter().map(|row| row.epoch).collect::<Vec<_>>(), [1, 2]);
}

/// Runs the program where no file can be larger than `bytes`: to a writer it is a disk that is full.
fn run_with_files_of(bytes: usize, plan: &TrainPlan) -> Output {
    // The signal would kill the process; without it the write fails. The shell counts blocks of 512 bytes.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$1\"", bytes / 512);
    Command::new("sh").arg("-c").arg(script).arg(PROGRAM).arg(argument(plan)).output().unwrap()
}

/// The one error of a run that failed as it should: exit status 1, no panic.
fn refusal(done: &Output) -> String {
    let told = stderr(done);
    assert_eq!(done.status.code(), Some(1), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
    let [error] = errors[..] else { panic!("one error, not {}: {told}", errors.len()) };
    assert_eq!(told.lines().last(), Some(error), "nothing after it");
    error.to_owned()
}

fn classes() -> usize {
    yf_data::synth::CLASS_NAMES.len()
}

/// A network nobody trained.
fn fresh(classes: usize) -> Weights {
    let network = Network::load("mid-n", Some(classes)).unwrap();
    let graph = network.graph(64, 64).unwrap();
    torch::seed(1);
    let tensors = Parameters::fresh(&graph, Device::Cpu).arrays().collect();
    let names = (0..classes).map(|class| format!("class {class}")).collect();
    Weights { header: Header::new(&network, names, 64), tensors }
}
