//! Auxiliary heads: whom they teach, and what is kept of them.

mod runs;

use std::collections::BTreeMap;

use runs::{Place, last, read, succeed};
use yf_data::labels::BoxLabel;
use yf_models::auxiliary::PREFIX;
use yf_models::{Auxiliary, Network};
use yf_plan::Recipe;
use yf_train::learner::Learner;
use yf_train::schedule::Schedule;
use yf_train::targets::{self, Rows};
use yf_train::torch::{self, Device, Kind, Parameters, Tensor};

const SIDE: usize = 128;

/// Gradients of mid-n of one batch, by name, helped with this gain; with 0 without the heads.
fn gradients(gain: f64) -> BTreeMap<String, Tensor> {
    let graph = Network::load("mid-n", Some(2)).unwrap().graph(SIDE, SIDE).unwrap();
    let helped = if gain > 0.0 { Auxiliary::append(graph).unwrap() } else { Auxiliary::none(graph) };
    torch::seed(5);
    let parameters = Parameters::fresh(&helped.graph, Device::Cpu);
    let (recipe, schedule) = (Recipe::default(), Schedule::new(&Recipe::default(), 10));
    let mut learner = Learner::new(&helped.graph, parameters, &recipe, &schedule, Device::Cpu).unwrap();
    learner.help(&helped.heads, gain);
    let labels = [vec![BoxLabel { class: 1, cx: 0.5, cy: 0.4, w: 0.5, h: 0.6 }], vec![]];
    let targets = targets::of(&labels, (SIDE, SIDE), 2, Rows::of(&labels), Device::Cpu).unwrap();
    torch::seed(6);
    let side = SIDE as i64;
    let picture = || Tensor::rand([2, 3, side, side], (Kind::Float, Device::Cpu));
    let inputs: Vec<Tensor> = helped.graph.inputs.iter().map(|_| picture()).collect();
    learner.accumulate(&inputs, &targets, &schedule.at(0, 0)).unwrap();
    learner.pending_gradients().into_iter().collect()
}

#[test]
fn auxiliary_heads_teach_the_branches_in_proportion_and_nothing_else() {
    let [without, half, whole] = [0.0, 0.5, 1.0].map(gradients);
    // Layers 3 to 24 of mid are the branches; neck and head come after them.
    let layer = |name: &str| name.split('.').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    let mut branches = 0;
    for (name, own) in &without {
        let largest = |t: Tensor| t.abs().max().double_value(&[]);
        let helped = [&half, &whole].map(|with| with[name].shallow_clone() - own);
        if layer(name) > 24 {
            assert!(helped.into_iter().all(|more| largest(more) == 0.0), "{name}");
            continue;
        }
        let [half, whole] = helped;
        let size = largest(whole.shallow_clone());
        // What a batch norm behind it takes away is zero but for rounding.
        let off = largest(half * 2.0 - whole);
        assert!(off <= 1e-3 * (size + largest(own.shallow_clone())) + 1e-6, "{name}: {off} of {size}");
        branches += usize::from(size > 1e-5);
    }
    assert!(branches > 100, "{branches}");
    let heads: Vec<&String> = whole.keys().filter(|name| name.starts_with(PREFIX)).collect();
    assert_eq!(whole.len(), without.len() + heads.len());
    assert!(["rgb", "ir"].iter().all(|c| heads.iter().any(|name| name.contains(&format!(".{c}.")))));
}

#[test]
fn they_are_kept_to_go_on_with_and_not_to_export() {
    let place = Place::new(10);
    let recipe = Recipe { epochs: 1, batch: 4, auxiliary_gain: 0.5, ..Recipe::default() };
    let plan = place.plan("run", recipe);
    succeed(&plan);
    let best = read(&plan.run.join("weights/best.safetensors"));
    let graph = best.header.network().unwrap().graph(64, 64).unwrap();
    assert_eq!(best.tensors.len(), graph.params.len());
    best.check(&graph).unwrap();
    let kept = read(&last(&plan));
    kept.check(&graph).unwrap();
    assert!(kept.tensors.keys().any(|name| name.starts_with(PREFIX)));
    assert!(kept.tensors.keys().any(|name| name.starts_with(&format!("train.model.{PREFIX}"))));
}
