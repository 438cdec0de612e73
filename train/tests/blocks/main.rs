//! Every block of the fusions against its formulas, with weights strong enough that attention is peaked and gates are
//! open or shut: the block's output, and its gradients for the inputs and for every parameter.

mod formulas;

use std::sync::{Mutex, PoisonError};

use formulas::Formulas;
use yf_models::blocks::{self, Arg, Args, Layer, Scaling};
use yf_models::builder::Builder;
use yf_models::graph::{Graph, Head, Role};
use yf_models::{Param, ValueId};
use yf_train::torch::{self, Device, Executor, Kind, Mode, Parameters, Tensor};

/// Pictures a batch: more than one, and different, so that none sees another.
const BATCH: i64 = 2;
/// Largest differences allowed of single precision from the formulas in double precision, in parts of the largest
/// magnitude.
const OUTPUT: f64 = 5e-6;
const GRADIENT: f64 = 1e-4;

/// A block as a layer of a configuration names it.
struct Case {
    block: &'static str,
    arguments: Vec<Arg>,
    scale: &'static str,
    repeats: usize,
    /// Channels, height and width of each of the maps read.
    map: [usize; 3],
    maps: usize,
}

fn one_map(block: &'static str, arguments: Vec<Arg>, repeats: usize, map: [usize; 3]) -> Case {
    Case { block, arguments, scale: "n", repeats, map, maps: 1 }
}

fn two_maps(block: &'static str, argument: i64, map: [usize; 3]) -> Case {
    let arguments = vec![Arg::Int(map[0] as i64), Arg::Int(argument)];
    Case { block, arguments, scale: "n", repeats: 1, map, maps: 2 }
}

fn a2c2f(channels: i64, areas: Option<i64>) -> Vec<Arg> {
    vec![Arg::Int(channels), Arg::Bool(areas.is_some()), Arg::Int(areas.unwrap_or(-1))]
}

#[test]
fn area_attention_in_four_areas_that_begin_within_a_row() {
    one_map("A2C2f", a2c2f(128, Some(4)), 2, [48, 6, 10])
        .is(|formulas, maps| formulas.a2c2f(&maps[0], 2, Some(4), false));
}

#[test]
fn area_attention_over_the_whole_map() {
    one_map("A2C2f", a2c2f(128, Some(1)), 2, [128, 5, 6])
        .is(|formulas, maps| formulas.a2c2f(&maps[0], 2, Some(1), false));
}

#[test]
fn area_attention_with_a_learned_gain_as_at_scale_l() {
    let case = Case { scale: "l", ..one_map("A2C2f", a2c2f(128, Some(4)), 2, [128, 8, 6]) };
    let wide = case.graph().0.params.iter().find(|p| p.name.ends_with("m.0.0.mlp.0.conv.weight")).cloned();
    assert_eq!(wide.unwrap().shape, [96, 64, 1, 1]);
    case.is(|formulas, maps| formulas.a2c2f(&maps[0], 2, Some(4), true));
}

#[test]
fn area_attention_off() {
    let case = one_map("A2C2f", a2c2f(64, None), 2, [40, 7, 9]);
    case.is(|formulas, maps| formulas.a2c2f(&maps[0], 2, None, false));
}

#[test]
fn c2psa() {
    one_map("C2PSA", vec![Arg::Int(256)], 2, [256, 6, 5]).is(|formulas, maps| formulas.c2psa(&maps[0], 2));
}

#[test]
fn bifocus() {
    one_map("C2f_BiFocus", vec![Arg::Int(16), Arg::Bool(true)], 1, [24, 8, 6])
        .is(|formulas, maps| formulas.c2f_bifocus(&maps[0]));
}

#[test]
fn dea_on_the_map_its_kernels_fit() {
    two_maps("DEA", 40, [32, 40, 40]).is(|formulas, maps| formulas.dea(&maps[0], &maps[1], 40));
}

#[test]
fn dea_on_maps_of_other_sizes_sees_the_whole_picture_by_area() {
    for [height, width] in [[40, 40], [10, 20], [16, 25]] {
        two_maps("DEA", 20, [32, height, width]).is(|formulas, maps| formulas.dea(&maps[0], &maps[1], 20));
    }
}

#[test]
fn defa() {
    two_maps("DEFA", 10, [32, 7, 9]).is(|formulas, maps| formulas.defa(&maps[0], &maps[1]));
}

fn fusion(block: &'static str, rest: &[Arg], map: [usize; 3]) -> Case {
    let arguments = [&[Arg::Int(map[0] as i64)], rest].concat();
    Case { block, arguments, scale: "n", repeats: 1, map, maps: 2 }
}

fn gate(form: &str, scene: bool) -> Case {
    fusion("Gate", &[Arg::Text(form.to_owned()), Arg::Bool(scene)], [24, 7, 9])
}

#[test]
fn a_gate_that_joins() {
    gate("join", true).is(|formulas, maps| formulas.gate_join(&maps[0], &maps[1]));
}

#[test]
fn a_gate_that_blends_with_and_without_the_scene() {
    for scene in [true, false] {
        gate("blend", scene).is(|formulas, maps| formulas.gate_blend(&maps[0], &maps[1], scene));
    }
}

#[test]
fn a_gate_that_injects() {
    gate("inject", true).is(|formulas, maps| formulas.gate_inject(&maps[0], &maps[1]));
}

#[test]
fn the_mean_of_two() {
    fusion("Mean", &[], [24, 7, 9]).is(|_, maps| (&maps[0] + &maps[1]) / 2.0);
}

#[test]
fn cross_attention_of_two_cameras() {
    fusion("Cross", &[], [96, 6, 5]).is(|formulas, maps| formulas.cross(&maps[0], &maps[1]));
}

impl Case {
    /// The block alone, reading the graph's inputs, and its output.
    fn graph(&self) -> (Graph, ValueId) {
        let mut graph = Builder::default();
        let inputs = (0..self.maps).map(|i| graph.input(&format!("map{i}"), self.map.to_vec())).collect();
        let outputs = (blocks::find(self.block).unwrap().emit)(&mut Layer {
            graph: &mut graph,
            path: "model.0".to_owned(),
            inputs,
            args: Args(&self.arguments),
            repeats: self.repeats,
            scaling: Scaling { name: self.scale, width: 1.0, max_channels: 1024 },
            classes: 1,
            depthwise_head: false,
        });
        let output = outputs.unwrap()[0];
        let head = Head { maps: vec![], strides: vec![], reg_max: 16, classes: 1 };
        (graph.finish(vec![output], head, vec![]), output)
    }

    /// Compares outputs and gradients.
    fn is(&self, formula: impl Fn(&Formulas, &[Tensor]) -> Tensor) {
        let (graph, output) = self.graph();
        let Drawn { parameters, maps, direction } = self.draw(&graph, output);
        let doubled = |t: &Tensor| t.to_kind(Kind::Double).set_requires_grad(true);
        let named = |p: &Param| p.name.trim_start_matches("model.0.").to_owned();
        let tensors =
            parameters.declared.iter().zip(&parameters.tensors).map(|(p, t)| (named(p), doubled(t)));
        let formulas = Formulas { tensors: tensors.collect() };
        let exact_maps: Vec<Tensor> = maps.iter().map(doubled).collect();
        let truth = formula(&formulas, &exact_maps);

        parameters.require_gradients();
        let maps: Vec<Tensor> = maps.into_iter().map(|map| map.set_requires_grad(true)).collect();
        let executor = Executor::new(&graph, &parameters, &[output]);
        let ours = executor.forward(&maps, Mode::Eval).unwrap().remove(0);
        let off = self.near("output", &ours, &truth, OUTPUT);

        (&ours * &direction).sum(Kind::Float).backward();
        (&truth * direction.to_kind(Kind::Double)).sum(Kind::Double).backward();
        let mut gradients = vec![];
        for (i, (map, exact)) in maps.iter().zip(&exact_maps).enumerate() {
            gradients.push((format!("gradient of map {i}"), map.grad(), exact.grad()));
        }
        for (param, tensor) in parameters.trained() {
            let exact = formulas.tensors[&named(param)].grad();
            gradients.push((format!("gradient of {}", param.name), tensor.grad(), exact));
        }
        let worst = gradients.iter().map(|(what, ours, exact)| self.near(what, ours, exact, GRADIENT));
        let worst = worst.fold(0.0, f64::max);
        eprintln!("{} {:?}: differs by {off:.1e}, gradients by {worst:.1e}", self.block, self.map);
    }

    /// Draws from libtorch's one generator, so one test at a time.
    fn draw(&self, graph: &Graph, output: ValueId) -> Drawn {
        static GENERATOR: Mutex<()> = Mutex::new(());
        let _alone = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        torch::seed(11);
        let tensors = graph.params.iter().map(strong).collect();
        let [channels, height, width] = self.map.map(|n| n as i64);
        let map = |_| normal(&[BATCH, channels, height, width]) + normal(&[BATCH, channels, 1, 1]);
        let batched: Vec<i64> =
            [BATCH].into_iter().chain(graph.shape(output).iter().map(|&n| n as i64)).collect();
        Drawn {
            parameters: Parameters::new(graph.params.clone(), tensors),
            maps: (0..self.maps).map(map).collect(),
            direction: normal(&batched),
        }
    }

    /// The largest difference over the truth's largest magnitude.
    fn near(&self, what: &str, ours: &Tensor, truth: &Tensor, allowed: f64) -> f64 {
        assert_eq!(ours.size(), truth.size(), "{}: {what}", self.block);
        let largest = |t: &Tensor| t.abs().max().double_value(&[]);
        let scale = largest(truth);
        assert!(scale > 0.0, "{}: {what} is 0, which compares nothing", self.block);
        let off = largest(&(ours.to_kind(Kind::Double) - truth)) / scale;
        assert!(off <= allowed, "{} {:?}: {what} differs by {off:.1e} of {scale:.1e}", self.block, self.map);
        off
    }
}

/// What a comparison is made with.
struct Drawn {
    parameters: Parameters,
    maps: Vec<Tensor>,
    /// Gradients are taken of the output's sum with these weights.
    direction: Tensor,
}

fn normal(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

/// Weights that a training could have reached: every part has a say, and attention and gates decide.
fn strong(param: &Param) -> Tensor {
    let shape: Vec<i64> = param.shape.iter().map(|&n| n as i64).collect();
    let fan_in: i64 = shape.iter().skip(1).product();
    let part_of = |parts: &[&str]| parts.iter().any(|part| param.name.contains(part));
    let gain = if part_of(&["dynamic_conv", "gate", "fc", "depa", "in_proj", "here", "scene"]) {
        2.0
    } else if part_of(&["qk"]) {
        1.4
    } else if part_of(&[".proj.", "mlp.1", "ffn.1"]) {
        // Ends of residual paths: the blocks behind must not see ever larger maps.
        0.3
    } else {
        1.0
    };
    let positive = || Tensor::rand(&shape, (Kind::Float, Device::Cpu)) + 0.5;
    match param.role {
        Role::Weight => normal(&shape) * (gain / (fan_in as f64).sqrt()),
        Role::NormWeight => positive(),
        Role::Buffer if param.name.ends_with("var") => positive(),
        _ => normal(&shape) * 0.3,
    }
}
