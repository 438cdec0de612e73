//! Operations that the networks of the other tests do not use, and forms that ONNX cannot hold.

use std::collections::BTreeMap;

use yf_models::builder::Builder;
use yf_models::error::ShapeError;
use yf_models::graph::{Head, LayerSummary};
use yf_models::weights::{Array, Header};
use yf_models::{Param, Weights};

use super::*;

mod values;

/// A graph of one layer over `x`, a map of 2x4x4; nothing of it decodes boxes.
fn graph_of(emit: impl FnOnce(&mut Builder, ValueId) -> Result<ValueId, ShapeError>) -> Graph {
    graph_over([2, 4, 4], emit)
}

/// The same over a map of any size.
fn graph_over(
    size: [usize; 3],
    emit: impl FnOnce(&mut Builder, ValueId) -> Result<ValueId, ShapeError>,
) -> Graph {
    let mut g = Builder::default();
    let x = g.input("images", size.to_vec());
    let output = emit(&mut g, x).unwrap();
    let mut graph =
        g.finish(vec![output], Head { maps: vec![], strides: vec![], reg_max: 16, classes: 1 }, vec![]);
    graph.layers = vec![LayerSummary {
        index: 0,
        from: vec![],
        block: "Test".into(),
        inputs: vec![],
        outputs: vec![],
        parameters: 0,
    }];
    graph
}

/// With every parameter 1.
fn written(graph: Graph, fp16: bool) -> Result<GraphProto, ExportError> {
    weighted(graph, fp16, |_, shape| vec![1.0; shape.iter().product()])
}

/// With the elements that `fill` gives the parameter of a number and a shape.
fn weighted(
    graph: Graph,
    fp16: bool,
    fill: impl Fn(usize, &[usize]) -> Vec<f32>,
) -> Result<GraphProto, ExportError> {
    let array =
        |(i, p): (usize, &Param)| (p.name.clone(), Array { shape: p.shape.clone(), data: fill(i, &p.shape) });
    let tensors: BTreeMap<_, _> = graph.params.iter().enumerate().map(array).collect();
    let header = Header {
        model: "tiny".into(),
        config: String::new(),
        scale: String::new(),
        names: vec!["a".into()],
        imgsz: 4,
        version: "0".into(),
        epoch: 0,
        modality: None,
        training: None,
    };
    let weights = Weights { header, tensors };
    let weighted = Weighted::new(graph, &weights)?.fold_batch_norm()?;
    super::graph(&weighted, &Options { fp16, ..Options::default() }, "tiny")
}

fn operators(graph: &GraphProto) -> Vec<&str> {
    graph.node.iter().map(|n| n.op_type.as_str()).collect()
}

#[test]
fn axes_move_up_by_the_batch() {
    let graph = graph_of(|g, x| {
        let x = g.batch_norm("bn", x);
        let x = g.map_elements(Op::Relu, x, "relu");
        let parts = g.split(x, 2, &[1, 3], "split")?;
        let joined = g.concat(&[parts[1], parts[0]], 2, "concat")?;
        let turned = g.transpose(joined, &[1, 2, 0], "transpose");
        let flat = g.reshape(turned, vec![16, 2], "reshape")?;
        Ok(g.map_elements(Op::Softmax { axis: 1 }, flat, "softmax"))
    });
    let onnx = written(graph, false).unwrap();
    let expected = ["BatchNormalization", "Relu", "Split", "Concat", "Transpose", "Reshape", "Softmax"];
    assert_eq!(operators(&onnx), expected);
    let attribute = |i: usize| onnx.node[i].attribute[0].clone();
    assert_eq!([2, 3, 6].map(|i| attribute(i).i), [Some(3), Some(3), Some(2)]);
    assert_eq!(attribute(4).ints, [0, 2, 3, 1]);
    assert_eq!(onnx.node[2].output, ["split.0", "split.1"]);
    assert_eq!(onnx.node[5].input[1], "ints.0_16_2");
    assert_eq!(onnx.node[6].output, ["output0"]);
}

#[test]
fn equal_constants_are_one_initializer_and_a_reshape_of_nothing_is_no_node() {
    let graph = graph_of(|g, x| {
        let noise = g.constant("noise", vec![4, 4], vec![0.5; 16]);
        let again = g.constant("noise again", vec![4, 4], vec![0.5; 16]);
        let x = g.combine(Op::Add, x, noise, "add")?;
        let x = g.combine(Op::Sub, x, again, "sub")?;
        let same = g.reshape(x, vec![2, 4, 4], "same")?;
        Ok(g.map_elements(Op::Scale(2.0), same, "scale"))
    });
    let onnx = written(graph, true).unwrap();
    assert_eq!(operators(&onnx), ["Cast", "Add", "Sub", "Mul"]);
    let names: Vec<&str> = onnx.initializer.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["noise", "factor.2"]);
    assert!(onnx.initializer.iter().all(|t| t.data_type == proto::FLOAT16));
}

#[test]
fn operands_whose_batches_would_not_meet_are_refused() {
    let told = |graph| written(graph, false).unwrap_err().to_string();
    let ranks = told(graph_of(|g, x| {
        let flat = g.reshape(x, vec![8, 4], "flat")?;
        let rows = g.reshape(x, vec![8, 1, 4], "rows")?;
        g.combine(Op::Add, rows, flat, "sum")
    }));
    assert!(ranks.contains("sum cannot be written as ONNX") && ranks.contains("rank"), "{ranks}");
    let joined = told(graph_of(|g, x| {
        let fixed = g.constant("fixed", vec![2, 4, 4], vec![0.0; 32]);
        g.concat(&[x, fixed], 0, "joined")
    }));
    assert!(joined.contains("joined") && joined.contains("no batch"), "{joined}");
}
