//! Which tensors of which network come over, and what becomes of their values.

use super::*;
use crate::config::BUILT_IN;

const SIDE: usize = 320;

fn names(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("class {class}")).collect()
}

fn graph(model: &str, classes: usize) -> Graph {
    Network::load(model, Some(classes)).unwrap().graph(SIDE, SIDE).unwrap()
}

fn plan(source: &str, target: &str) -> Transplant {
    Transplant::plan(&graph(source, 80), &names(80), &graph(target, 80), &names(80))
}

/// Weights of a model whose tensors all hold something different, and all of it between 0 and 1.
fn weights(model: &str, names: Vec<String>) -> Weights {
    let network = Network::load(model, Some(names.len())).unwrap();
    let graph = network.graph(SIDE, SIDE).unwrap();
    let tensors = graph.params.iter().enumerate().map(|(at, p)| {
        let value = |i: usize| ((at * 37 + i * 11) % 101) as f32 / 101.0;
        (p.name.clone(), Array { shape: p.shape.clone(), data: (0..numel(p)).map(value).collect() })
    });
    Weights { header: crate::Header::new(&network, names, SIDE), tensors: tensors.collect() }
}

fn from(layer: &Transplant, index: usize) -> Option<usize> {
    layer.layers.iter().find(|l| l.index == index).unwrap().source.as_ref().map(|s| s.0)
}

#[test]
fn a_network_takes_all_of_itself() {
    for (name, _) in BUILT_IN {
        for scale in ["n", "m", "x"] {
            let model = format!("{name}-{scale}");
            let plan = plan(&model, &model);
            let [_, adapted, left] = plan.total();
            assert_eq!((adapted, left), (Count::default(), Count::default()), "{model}");
            assert!(plan.layers.iter().all(|l| l.source == Some((l.index, l.block.clone()))), "{model}");
            assert!(plan.pieces.iter().all(|(name, piece)| *name == piece.from), "{model}");
            assert_eq!(plan.share(), 1.0);
        }
    }
}

#[test]
fn both_branches_of_a_fusion_get_the_backbone_and_the_fused_layers_the_neck() {
    // Half the width: the branches of mid-s are those of yolo11-n.
    let plan = plan("yolo11-n", "mid-s");
    for (layers, source) in
        [([3, 6], 0), ([5, 8], 2), ([12, 14], 5), ([19, 22], 8), ([20, 23], 9), ([21, 24], 10)]
    {
        assert_eq!(layers.map(|at| from(&plan, at)), [Some(source); 2], "{layers:?}");
    }
    assert_eq!(
        [30, 33, 34, 36, 37, 39, 40].map(|at| from(&plan, at)),
        [13, 16, 17, 19, 20, 22, 23].map(Some)
    );
    assert_eq!(plan.total()[2], Count::default(), "\n{}", plan.table());
}

#[test]
fn two_stems_and_the_trunk_behind_them_come_from_one_network() {
    let plan = plan("yolov8-n", "duo-n");
    for (stems, source) in [3, 4, 5, 6, 7].into_iter().zip(8..).zip(0..) {
        assert_eq!([stems.0, stems.1].map(|at| from(&plan, at)), [Some(source); 2], "{stems:?}");
    }
    let trunk = [14, 15, 16, 17, 18, 21, 24, 25, 27, 28, 30, 31];
    let sources = [5, 6, 7, 8, 9, 12, 15, 16, 18, 19, 21, 22];
    assert_eq!(trunk.map(|at| from(&plan, at)), sources.map(Some));
    let left = plan.layers.iter().filter(|l| l.left != Count::default());
    assert_eq!(left.map(|l| &*l.block).collect::<Vec<_>>(), ["Gate", "Detect"], "\n{}", plan.table());
}

#[test]
fn a_gate_or_a_question_between_the_cameras_leaves_the_neck_as_it_was() {
    let joined = plan("yolo11-n", "mid-s");
    for (model, block) in [("gated-s", "Gate"), ("cross-s", "Cross")] {
        let plan = plan("yolo11-n", model);
        let left = plan.layers.iter().filter(|l| l.left != Count::default());
        assert!(left.clone().all(|l| l.block == block), "\n{}", plan.table());
        assert!(left.count() >= 2);
        // The neck reads the two maps as mid's does.
        let neck = plan.layers.iter().find(|l| l.block == "C3k2" && l.adapted != Count::default()).unwrap();
        let name = format!("model.{}.cv1.conv.weight", neck.index);
        let same = joined.pieces.values().any(|piece| *piece == plan.pieces[&name]);
        assert!(same, "{name}: {:?}", plan.pieces[&name]);
    }
}

#[test]
fn a_fused_map_that_feeds_one_branch_is_shared_out() {
    let plan = plan("yolov8-n", "early-s");
    assert_eq!([10, 11, 23].map(|at| from(&plan, at)), [3, 3, 8].map(Some));
    // SPPF is as wide as what it reads, and the neck is not halved.
    assert_eq!([25, 28, 37].map(|at| from(&plan, at)), [None; 3]);
    // The RGB branch reads [32 RGB, 32 infrared] where its source reads 32; infrared goes on alone.
    let how = |name: &str| &plan.pieces[name].how;
    let half = |first| Part { first, width: 32, share: 0.5, mean: false };
    assert_eq!(how("model.10.conv.weight"), &How::Channels(vec![half(0), half(0)]));
    assert_eq!(how("model.11.conv.weight"), &How::Taken);
    assert_eq!(how("model.10.bn.running_var"), &How::Taken);
}

#[test]
fn the_stems_keep_their_response() {
    let source = weights("yolov8-n", names(80));
    let kernel = &source.tensors["model.0.conv.weight"];
    let plane = 9;
    let sums = |array: &Array, channels: std::ops::Range<usize>| -> Vec<f32> {
        let inputs = array.shape[1];
        let of = |out: usize, at: usize| {
            channels.clone().map(|c| array.data[(out * inputs + c) * plane + at]).sum()
        };
        (0..array.shape[0])
            .flat_map(|out| (0..plane).map(move |at| (out, at)))
            .map(|(o, at)| of(o, at))
            .collect()
    };
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    let stem = |target: &str, name: &str| match &plan("yolov8-n", target).tensors(&source).unwrap()[name] {
        Start::Whole(array) => array.clone(),
        rows => panic!("{rows:?}"),
    };
    // To a grey picture the sum over the channels is the response.
    let infrared = stem("early-s", "model.4.conv.weight");
    assert!(near(&sums(&infrared, 0..3), &sums(kernel, 0..3)));
    assert!(
        infrared.data[..plane] == infrared.data[plane..2 * plane],
        "three equal planes get equal kernels"
    );
    assert_eq!(&stem("early-s", "model.3.conv.weight"), kernel);
    let joined = stem("data-n", "model.0.conv.weight");
    assert_eq!(joined.shape, [16, 6, 3, 3]);
    assert!(near(&sums(&joined, 0..6), &sums(kernel, 0..3)), "equal pictures give the source's response");
    assert_eq!(joined.data[0], kernel.data[0] / 2.0);
}

#[test]
fn other_classes_leave_or_reorder_the_rows_of_the_head() {
    let old = ["person", "bicycle", "car"].map(String::from);
    let (source, target) = (graph("yolov8-s", 3), graph("yolov8-s", 4));
    let new = ["Car", "dog", "person", "tree"].map(String::from);
    let plan = Transplant::plan(&source, &old, &target, &new);
    let weights = weights("yolov8-s", old.to_vec());
    let tensors = plan.tensors(&weights).unwrap();
    let bias = &weights.tensors["model.22.cv3.1.2.bias"].data;
    assert_eq!(tensors["model.22.cv3.1.2.bias"], Start::Rows(vec![(0, vec![bias[2]]), (2, vec![bias[0]])]));
    let Start::Rows(rows) = &tensors["model.22.cv3.1.2.weight"] else { panic!("rows") };
    assert_eq!(rows[1].1, weights.tensors["model.22.cv3.1.2.weight"].data[..128]);
    let others = Transplant::plan(&source, &old, &target, &names(4));
    assert_eq!(others.total()[2].tensors, 6, "the last convolution of each map's class branch");
    let renamed = Transplant::plan(&source, &old, &source, &["person", "cycle", "car"].map(String::from));
    assert_eq!(renamed.total()[2], Count::default());
}

#[test]
fn a_convolution_never_moves_without_its_batch_norm() {
    for (source, _) in BUILT_IN {
        for (target, _) in BUILT_IN {
            let plan = plan(&format!("{source}-n"), &format!("{target}-s"));
            for name in plan.pieces.keys() {
                if let Some(unit) = name.strip_suffix(".bn.running_mean") {
                    assert!(
                        plan.pieces.contains_key(&format!("{unit}.conv.weight")),
                        "{source} to {target}: {unit}"
                    );
                }
            }
        }
    }
}

#[test]
fn where_nothing_fits_the_error_says_what_would() {
    let told = |source: &str, target: &str| {
        let network = Network::load(target, Some(3)).unwrap();
        let graph = network.graph(SIDE, SIDE).unwrap();
        Transplant::from_weights(&weights(source, names(80)), &network, &graph, &names(3))
            .unwrap_err()
            .to_string()
    };
    let half = told("yolo11-n", "mid-n");
    assert!(half.contains("yolo11-n") && half.contains("fits mid-n") && half.contains("mid-s ("), "{half}");
    let wide = told("yolov8-x", "mid-n");
    assert!(wide.contains("data-x ("), "{wide}");
}

#[test]
fn damaged_weights_are_refused_by_name() {
    let network = Network::load("data-n", Some(3)).unwrap();
    let graph = network.graph(SIDE, SIDE).unwrap();
    let mut weights = weights("yolov8-n", names(80));
    let plan = Transplant::from_weights(&weights, &network, &graph, &names(3)).unwrap();
    weights.tensors.get_mut("model.4.cv1.bn.running_var").unwrap().data[0] = f32::NAN;
    assert!(plan.tensors(&weights).unwrap_err().contains("model.4.cv1.bn.running_var holds NaN"));
    weights.tensors.remove("model.4.cv1.conv.weight");
    let told = Transplant::from_weights(&weights, &network, &graph, &names(3)).unwrap_err().to_string();
    assert!(told.contains("model.4.cv1.conv.weight is missing"), "{told}");
}

#[test]
fn the_table_says_where_each_layer_comes_from() {
    let table = plan("yolov8-n", "data-n").table();
    let row = |start: &str| {
        table.lines().find(|l| l.starts_with(start)).unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(row("0 Conv"), ["0", "Conv", "0", "Conv", "4", "1", "0", "32", "864", "0"]);
    assert_eq!(row("all").last(), Some(&"0"), "{table}");
}

#[test]
fn another_block_is_a_source_only_where_it_fits_whole() {
    let wider = plan("yolov8-n", "deyolo-n");
    let focused = wider.layers.iter().find(|l| l.block == "C2f_BiFocus").unwrap();
    assert_eq!(focused.source, Some((2, "C2f".to_owned())));
    assert!(focused.left.parameters > 0, "what C2f has not");
    for (source, target) in [("yolov8-n", "mid-s"), ("yolo11-n", "decision-n")] {
        let plan = plan(source, target);
        let head = plan.layers.len() - 1;
        let of_another =
            plan.layers[..head].iter().find(|l| l.source.as_ref().is_some_and(|s| s.1 != l.block));
        assert_eq!(of_another, None, "{source} to {target}");
    }
}
