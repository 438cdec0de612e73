//! A start from other weights: a fusion begins as the one-stream network it comes from, and learns from there.

mod runs;

use std::path::{Path, PathBuf};

use runs::{Place, rows, run, stderr};
use yf_models::{Graph, Header, Network, Transplant, ValueId, Weights, decode};
use yf_plan::{Recipe, TrainPlan};
use yf_train::torch::{self, Device, Executor, Kind, Mode, Parameters, Tensor, no_grad};

const SIDE: usize = 64;
const CLASSES: usize = 2;

fn graph(model: &str) -> Graph {
    decode::append(Network::load(model, Some(CLASSES)).unwrap().graph(SIDE, SIDE).unwrap()).unwrap()
}

fn names() -> Vec<String> {
    vec!["person".to_owned(), "car".to_owned()]
}

/// A one-stream network with weights and statistics of no particular kind.
fn source(model: &str) -> (Graph, Parameters, Weights) {
    let graph = graph(model);
    torch::seed(7);
    let parameters = Parameters::fresh(&graph, Device::Cpu);
    for (param, tensor) in parameters.buffers() {
        let spread = tensor.rand_like() * 0.5;
        let value = if param.name.ends_with("running_var") { spread + 0.2 } else { spread };
        no_grad(|| tensor.shallow_clone().copy_(&value));
    }
    let network = Network::load(model, Some(CLASSES)).unwrap();
    let weights =
        Weights { header: Header::new(&network, names(), SIDE), tensors: parameters.arrays().collect() };
    (graph, parameters, weights)
}

/// The fusion as it starts from these weights.
fn start(model: &str, weights: &Weights) -> (Graph, Parameters, Transplant) {
    let graph = graph(model);
    let network = Network::load(model, Some(CLASSES)).unwrap();
    let transplant = Transplant::from_weights(weights, &network, &graph, &names()).unwrap();
    torch::seed(8);
    let parameters = Parameters::fresh(&graph, Device::Cpu);
    parameters.start_from(&transplant.tensors(weights).unwrap()).unwrap();
    (graph, parameters, transplant)
}

/// What the last operation of a layer computes.
fn output_of(graph: &Graph, layer: usize) -> ValueId {
    graph.nodes.iter().rfind(|node| node.layer == layer && node.name != "output0").unwrap().outputs[0]
}

fn compute(graph: &Graph, parameters: &Parameters, pictures: &[&Tensor], value: ValueId) -> Tensor {
    let inputs: Vec<Tensor> = pictures.iter().map(|t| t.shallow_clone()).collect();
    let executor = Executor::new(graph, parameters, &[value]);
    no_grad(|| executor.forward(&inputs, Mode::Eval)).unwrap().remove(0)
}

fn assert_near(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(a.size(), b.size(), "{what}");
    let difference = (a - b).abs().max().double_value(&[]);
    let scale = b.abs().max().double_value(&[]);
    assert!(scale > 0.0 && difference <= 1e-4 * scale.max(1.0), "{what}: {difference} of {scale}");
}

fn pictures() -> (Tensor, Tensor) {
    torch::seed(9);
    let shape = [1, 3, SIDE as i64, SIDE as i64];
    let colours = Tensor::rand(shape, (Kind::Float, Device::Cpu));
    let grey =
        Tensor::rand([1, 1, SIDE as i64, SIDE as i64], (Kind::Float, Device::Cpu)).expand(shape, false);
    (colours, grey.contiguous())
}

#[test]
fn each_branch_computes_of_its_picture_what_its_source_does() {
    let (colours, grey) = pictures();
    for (source_model, model, branches) in [
        ("yolo11-n", "mid-s", &[(15, 17, 6), (21, 24, 10)][..]),
        // From P3 on the RGB branch of early reads infrared too, and the first C2f of deyolo focuses.
        ("yolov8-n", "early-s", &[(7, 8, 2)]),
        ("yolov8-n", "deyolo-n", &[(4, 14, 1)]),
        ("yolo11-n", "decision-n", &[(3, 12, 0)]),
        ("yolov8-n", "duo-n", &[(5, 10, 2), (7, 12, 4)]),
    ] {
        let (one, one_parameters, weights) = source(source_model);
        let (two, parameters, _) = start(model, &weights);
        for &(rgb, infrared, layer) in branches {
            for (branch, picture) in [(rgb, &colours), (infrared, &grey)] {
                let wanted = compute(&one, &one_parameters, &[picture], output_of(&one, layer));
                let found = compute(&two, &parameters, &[&colours, &grey], output_of(&two, branch));
                assert_near(&found, &wanted, &format!("{model}, layer {branch}"));
            }
        }
    }
}

#[test]
fn where_all_fits_a_fusion_of_equal_pictures_detects_as_its_source_does() {
    let (_, grey) = pictures();
    for (source_model, model) in [("yolo11-n", "mid-s"), ("yolov8-n", "data-n"), ("yolov8-n", "yolov8-n")] {
        let (one, one_parameters, weights) = source(source_model);
        let (two, parameters, transplant) = start(model, &weights);
        assert_eq!(transplant.share(), 1.0, "{model}");
        let wanted = compute(&one, &one_parameters, &[&grey], one.outputs[0]);
        let inputs = vec![&grey; two.inputs.len()];
        assert_near(&compute(&two, &parameters, &inputs, two.outputs[0]), &wanted, model);
    }
}

/// Of two different pictures a fresh gate gives the mean, which of equal ones is either.
#[test]
fn a_gate_that_learned_nothing_yet_leaves_the_trunk_what_it_was() {
    let (_, grey) = pictures();
    let (one, one_parameters, weights) = source("yolov8-n");
    let (two, parameters, _) = start("duo-n", &weights);
    for (trunk, layer) in [(13, 4), (18, 9), (24, 15), (27, 18), (30, 21)] {
        let wanted = compute(&one, &one_parameters, &[&grey], output_of(&one, layer));
        let found = compute(&two, &parameters, &[&grey, &grey], output_of(&two, trunk));
        assert_near(&found, &wanted, &format!("duo-n, layer {trunk}"));
    }
}

#[test]
fn a_start_from_coco_is_ahead_of_one_from_nothing() {
    let Some(shared) = shared() else { return };
    let place = Place::new(5);
    let coco = shared.join("weights/yolov8n_coco.safetensors");
    let recipe = Recipe { epochs: 1, batch: 4, mosaic: 0.0, ..Recipe::default() };
    let plan = |name: &str, model: &str| TrainPlan {
        data: few_pairs(&place, &shared),
        model: model.to_owned(),
        imgsz: 192,
        ..place.plan(name, recipe.clone())
    };
    for model in ["data-n", "yolov8-n"] {
        let nothing = plan(&format!("{model} from nothing"), model);
        let started = TrainPlan { weights: Some(coco.clone()), ..plan(&format!("{model} from COCO"), model) };
        let losses = [&nothing, &started].map(|plan| {
            let done = run(plan);
            let told = stderr(&done);
            assert!(done.status.success(), "{told}");
            assert_eq!(told.contains("0 Conv"), plan.weights.is_some(), "the table: {told}");
            let losses = rows(plan)[0].train;
            eprintln!("{model}, {}: {losses:.3?}", plan.run.display());
            losses
        });
        let [nothing, coco] = losses;
        assert!(coco[0] < 0.8 * nothing[0] && coco[2] < 0.8 * nothing[2], "{coco:?} and {nothing:?}");
    }
}

/// A data set of 8 training pairs and 2 others of real pictures.
fn few_pairs(place: &Place, shared: &Path) -> PathBuf {
    let list = |split: &str, most: usize| {
        let folder = shared.join("data/roadscene/images").join(split);
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().canonicalize().unwrap().to_str().unwrap().to_owned())
            .collect();
        files.sort();
        files.truncate(most);
        let file = place.file(&format!("{split}.txt"));
        std::fs::write(&file, files.join("\n")).unwrap();
        file.display().to_string()
    };
    let (train, val) = (list("train", 8), list("val", 2));
    let yaml = place.file("few.yaml");
    std::fs::write(&yaml, format!("train: {train}\nval: {val}\nnames: [person, cycle, car]\n")).unwrap();
    yaml
}

/// The folder of shared test material, or `None` with a message (an error where `YF_REQUIRE=1`).
fn shared() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("YF_SHARED").filter(|v| !v.is_empty()).map_or_else(default, PathBuf::from);
    if folder.exists() {
        return Some(folder);
    }
    assert!(std::env::var("YF_REQUIRE").as_deref() != Ok("1"), "{} is missing", folder.display());
    eprintln!("skipped: {} is missing", folder.display());
    None
}
