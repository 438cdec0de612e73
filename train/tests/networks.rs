//! The networks in libtorch: the reference's outputs from the reference's weights, gradients everywhere, bf16.

use std::path::{Path, PathBuf};

use yf_data::labels::BoxLabel;
use yf_models::config::BUILT_IN;
use yf_models::{Graph, Network, decode};
use yf_plan::Recipe;
use yf_train::learner::Learner;
use yf_train::schedule::Schedule;
use yf_train::targets::{self, Rows};
use yf_train::torch::{self, Autocast, Device, Executor, IndexOp, Kind, Mode, Parameters, Tensor, no_grad};

/// Largest differences from the reference, in pixels and in score.
const SINGLE: (f64, f64) = (1e-3, 1e-6);
/// Largest mean differences over all cells of bf16 from single precision.
const BF16_MEAN: (f64, f64) = (0.5, 1e-4);

#[test]
fn outputs_are_the_references() {
    let Some(material) = Material::find() else { return };
    for name in ["early", "mid", "easy", "decision", "deyolo", "defa"] {
        let (graph, parameters) = material.network(name);
        let truth = material.read(&format!("{name}-n.out.npy"));
        let (px, score) = largest(&(forward(&graph, &parameters, &material.pair(), None) - truth));
        eprintln!("{name}-n: differs {px:.1e} px, {score:.1e} in score from the reference");
        assert!(px <= SINGLE.0 && score <= SINGLE.1, "{name}-n: {px} px, {score}");
    }
}

#[test]
fn bf16_is_near_single_precision() {
    let Some(material) = Material::find() else { return };
    for name in ["mid", "early"] {
        let (graph, parameters) = material.network(name);
        let single = forward(&graph, &parameters, &material.pair(), None);
        let half = forward(&graph, &parameters, &material.pair(), Some(Kind::BFloat16));
        let difference = (half.to_kind(Kind::Float) - single).abs();
        let (px, score) = largest(&difference);
        let [mean_px, mean_score] = [difference.i((.., ..4)), difference.i((.., 4..))]
            .map(|t| t.mean(Kind::Double).double_value(&[]));
        eprintln!(
            "{name}-n in bf16: {mean_px:.2} px, {mean_score:.1e} in the mean, {px:.1} px, {score:.1e} at most"
        );
        assert!(mean_px > 0.0, "bf16 changes something, or autocast was off");
        assert!(mean_px <= BF16_MEAN.0 && mean_score <= BF16_MEAN.1, "{name}-n: {mean_px} px, {mean_score}");
    }
}

#[test]
fn every_trained_parameter_gets_a_finite_gradient() {
    const SIDE: usize = 512;
    for (name, _) in BUILT_IN {
        let graph = Network::load(&format!("{name}-n"), Some(2)).unwrap().graph(SIDE, SIDE).unwrap();
        torch::seed(5);
        let parameters = Parameters::fresh(&graph, Device::Cpu);
        let trained: Vec<String> = parameters.trained().map(|(p, _)| p.name.clone()).collect();
        let before: Vec<Tensor> = parameters.buffers().map(|(_, t)| t.copy()).collect();

        let recipe = Recipe::default();
        let schedule = Schedule::new(&recipe, 10);
        let mut learner = Learner::new(&graph, parameters, &recipe, &schedule, Device::Cpu).unwrap();
        // A fresh cell guesses a box of 15 strides: one object for each map of the head.
        let of = |class, side| BoxLabel { class, cx: 0.5, cy: 0.5, w: side, h: side };
        let labels = [vec![of(0, 0.24), of(1, 0.94)], vec![of(1, 0.48)]];
        let targets = targets::of(&labels, (SIDE, SIDE), 2, Rows::of(&labels), Device::Cpu).unwrap();
        let inputs: Vec<Tensor> = graph
            .inputs
            .iter()
            .map(|_| Tensor::rand([2, 3, SIDE as i64, SIDE as i64], (Kind::Float, Device::Cpu)))
            .collect();
        let losses = learner.accumulate(&inputs, &targets, &schedule.at(0, 0)).unwrap().parts().unwrap();
        assert!(losses.iter().all(|x| x.is_finite() && *x > 0.0), "{name}: {losses:?}");

        let gradients = learner.pending_gradients();
        let reached: Vec<String> = gradients.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(reached, trained, "{name}: parameters outside the graph");
        for (parameter, gradient) in &gradients {
            let largest = gradient.abs().max().double_value(&[]);
            assert!(largest.is_finite() && largest > 0.0, "{name}, {parameter}: {largest}");
        }
        let moved = |(buffer, before): (&Tensor, &Tensor)| !buffer.equal(before);
        let buffers: Vec<Tensor> = learner.parameters.buffers().map(|(_, t)| t.shallow_clone()).collect();
        assert!(buffers.iter().zip(&before).all(moved), "{name}: running statistics that do not run");
    }
}

/// The decoded output `[1, 5, A]` with running statistics.
fn forward(graph: &Graph, parameters: &Parameters, pair: &[Tensor], autocast: Option<Kind>) -> Tensor {
    let _autocast = Autocast::enter(Device::Cpu, autocast).unwrap();
    let executor = Executor::new(graph, parameters, &graph.outputs);
    no_grad(|| executor.forward(pair, Mode::Eval)).unwrap().remove(0)
}

/// Largest magnitudes of the four box rows and of the score rows.
fn largest(difference: &Tensor) -> (f64, f64) {
    let of = |part: Tensor| part.abs().max().double_value(&[]);
    (of(difference.i((.., ..4))), of(difference.i((.., 4..))))
}

/// The reference's networks and what they compute of a pair (`YF_SHARED`). Without them a test says so and passes,
/// unless `YF_REQUIRE=1`.
struct Material {
    networks: PathBuf,
}

impl Material {
    fn find() -> Option<Self> {
        let shared = from_env("YF_SHARED").unwrap_or_else(|| workspace().join("../shared"));
        let networks = shared.join("fixtures/networks");
        if networks.exists() {
            return Some(Material { networks });
        }
        assert!(std::env::var("YF_REQUIRE").as_deref() != Ok("1"), "{} is missing", networks.display());
        eprintln!("skipped: {} is missing", networks.display());
        None
    }

    /// The decoded graph at 640 px and the reference's weights.
    fn network(&self, name: &str) -> (Graph, Parameters) {
        let path = self.networks.join(format!("{name}-n.pt"));
        let checkpoint = yf_import::read(&path, &yf_import::Limits::default()).unwrap();
        let weights = yf_import::identify(checkpoint).unwrap().weights;
        let graph = decode::append(weights.header.network().unwrap().graph(640, 640).unwrap()).unwrap();
        let parameters = Parameters::from_weights(&graph, &weights, Device::Cpu).unwrap();
        (graph, parameters)
    }

    fn read(&self, file: &str) -> Tensor {
        Tensor::read_npy(self.networks.join(file)).unwrap()
    }

    /// RGB and infrared, `[1, 3, 640, 640]`, 0..1.
    fn pair(&self) -> [Tensor; 2] {
        let planes = self.read("input_u8.npy").to_kind(Kind::Float).unsqueeze(0) / 255.0;
        [planes.i((.., ..3)).contiguous(), planes.i((.., 3..)).contiguous()]
    }
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn from_env(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
