//! What gradients of several ranks become: this test starts itself anew as each of them.

use std::path::Path;
use std::process::{Child, Command};

use yf_data::labels::BoxLabel;
use yf_models::Network;
use yf_plan::{Device as Place, Recipe};
use yf_train::distributed::{self, World};
use yf_train::learner::Learner;
use yf_train::schedule::Schedule;
use yf_train::targets::{self, Rows};
use yf_train::torch::{self, Device, Kind, Parameters, Tensor};

const SIDE: usize = 64;
/// Pairs a batch over all ranks; three ranks get two each.
const PAIRS: usize = 6;
const STEPS: usize = 3;
/// Environment of a rank of this test: its folder, whether gradients are summed during backward, and the step in which
/// what the last rank sees is not finite.
const FOLDER: &str = "YF_TEST_FOLDER";
const OVERLAPS: &str = "YF_TEST_OVERLAPS";
const SPOILT: &str = "YF_TEST_SPOILT";

#[test]
fn summed_during_backward_or_before_a_step_all_ranks_hold_the_same_bits() {
    for size in [2, 3] {
        let [overlapping, later] = ["1", "0"].map(|overlaps| {
            let folder = tempfile::tempdir().unwrap();
            start(folder.path(), overlaps, None, size);
            let of = |name: &str| read(&folder.path().join(name));
            let [gradients, weights] = ["gradients", "weights"].map(|what| {
                let all: Vec<Vec<f32>> = (0..size).map(|rank| of(&format!("{what}-{rank}"))).collect();
                if overlaps == "1" || what == "weights" {
                    let bits = |data: &[f32]| data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert!(all.iter().all(|other| bits(other) == bits(&all[0])), "{what} of {size} ranks");
                }
                all
            });
            (gradients, weights)
        });
        // Of the first batch: summed during backward they are what the ranks' own add up to.
        let own: Vec<f32> = (0..later.0[0].len()).map(|i| later.0.iter().map(|rank| rank[i]).sum()).collect();
        let scale = own.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(scale > 0.0);
        assert!(largest(&own, &overlapping.0[0]) < 1e-6 * scale, "{size} ranks");
        assert!(largest(&overlapping.1[0], &later.1[0]) < 1e-6, "{size} ranks");
    }
}

#[test]
fn what_is_not_finite_on_one_rank_is_skipped_by_all() {
    for overlaps in ["1", "0"] {
        let after = |spoilt: usize| {
            let folder = tempfile::tempdir().unwrap();
            start(folder.path(), overlaps, Some(spoilt), 2);
            let [first, last] = [0, 1].map(|rank| read(&folder.path().join(format!("weights-{rank}"))));
            assert!(first.iter().all(|x| x.is_finite()) && first == last);
            first
        };
        // Skipped, a last step leaves other weights than a first one: the rest of the steps is done.
        assert!(after(STEPS - 1) != after(STEPS), "the spoilt step was taken");
    }
}

fn largest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max)
}

/// Runs [`as_a_rank`] in as many processes.
fn start(folder: &Path, overlaps: &str, spoilt: Option<usize>, size: usize) {
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let rank = |rank: usize| -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "as_a_rank", "--nocapture"])
            .envs([("RANK", rank.to_string()), ("WORLD_SIZE", size.to_string())])
            .envs([("MASTER_ADDR", "127.0.0.1".to_owned()), ("MASTER_PORT", port.to_string())])
            .envs([("OMP_NUM_THREADS", "1"), ("TORCH_CPP_LOG_LEVEL", "ERROR"), (OVERLAPS, overlaps)])
            .env(FOLDER, folder)
            .envs(spoilt.map(|step| (SPOILT, step.to_string())))
            .spawn()
            .unwrap()
    };
    for mut child in (0..size).map(rank).collect::<Vec<_>>() {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn as_a_rank() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let overlaps = std::env::var(OVERLAPS).unwrap() == "1";
    let work = |world: &World| {
        let spoilt = std::env::var(SPOILT).ok().map(|step| step.parse().unwrap());
        learn(world, overlaps, spoilt, Path::new(&folder));
        Ok(())
    };
    if let Err(error) = distributed::run(Some(&Place::Cpu), work) {
        eprintln!("{error}");
        distributed::exit(1);
    }
    distributed::exit(0);
}

/// A few steps on this rank's part of one batch.
fn learn(world: &World, overlaps: bool, spoilt: Option<usize>, folder: &Path) {
    let graph = Network::load("mid-n", Some(2)).unwrap().graph(SIDE, SIDE).unwrap();
    // Rank 0's weights are to become everybody's.
    torch::seed(world.shard().rank as u64);
    let parameters = Parameters::fresh(&graph, Device::Cpu);
    let recipe = Recipe { batch: PAIRS, warmup_epochs: 0.0, ..Recipe::default() };
    let schedule = Schedule::new(&recipe, 1);
    let mut rates = schedule.at(0, 0);
    rates.accumulate = 1;
    let mut learner = Learner::new(&graph, parameters, &recipe, &schedule, Device::Cpu).unwrap();
    // With shared statistics a picture that is not finite would reach the other ranks' networks as well.
    learner.join_as(world, spoilt.is_none(), overlaps).unwrap();

    torch::seed(77);
    let mine = world.shard().of(PAIRS);
    let image = || Tensor::rand([PAIRS as i64, 3, SIDE as i64, SIDE as i64], (Kind::Float, Device::Cpu));
    let part = |t: Tensor| t.narrow(0, mine.start as i64, mine.len() as i64).contiguous();
    let inputs: Vec<Tensor> = graph.inputs.iter().map(|_| part(image())).collect();
    // Unequal numbers of boxes: the ranks' own normalisers differ.
    let boxes = |i: usize| {
        let of = |n: usize| BoxLabel { class: n % 2, cx: 0.5, cy: 0.4, w: 0.3 + 0.1 * n as f32, h: 0.5 };
        (0..i).map(of).collect::<Vec<_>>()
    };
    let labels: Vec<Vec<BoxLabel>> = mine.clone().map(boxes).collect();
    let targets = targets::of(&labels, (SIDE, SIDE), 2, Rows::of(&labels), Device::Cpu).unwrap();
    for step in 0..STEPS {
        let last = world.shard().rank + 1 == world.size();
        let factor = if last && spoilt == Some(step) { f64::INFINITY } else { 1.0 };
        let inputs: Vec<Tensor> = inputs.iter().map(|input| input * factor).collect();
        learner.accumulate(&inputs, &targets, &rates).unwrap();
        if step == 0 {
            let gradients: Vec<Tensor> = learner.pending_gradients().into_iter().map(|(_, g)| g).collect();
            write(&folder.join(format!("gradients-{}", world.shard().rank)), &gradients);
        }
        learner.step(&rates).unwrap();
    }
    let weights: Vec<Tensor> = learner.parameters.trained().map(|(_, t)| t.shallow_clone()).collect();
    write(&folder.join(format!("weights-{}", world.shard().rank)), &weights);
}

fn write(path: &Path, tensors: &[Tensor]) {
    let bytes = tensors.iter().flat_map(|t| torch::to_array(t).data).flat_map(f32::to_le_bytes);
    std::fs::write(path, bytes.collect::<Vec<u8>>()).unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap())).collect()
}
