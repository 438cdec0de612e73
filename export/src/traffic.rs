//! Bytes that a network moves at the least: what a device's bandwidth bounds its speed by.
//!
//! Assumed: weights are read once a batch; every convolution, matrix product and pooling reads its inputs once and
//! writes its output once; everything else (activations, sums, joins, decoding) is fused into them and free.

use std::collections::HashSet;

use yf_models::graph::{Graph, Op};

/// Bytes of the weights, and of the feature maps of one picture, at that many bytes an element.
pub fn bytes(graph: &Graph, element: usize) -> (usize, usize) {
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    let mut read = HashSet::new();
    let (mut weights, mut maps) = (0, 0);
    for node in &graph.nodes {
        weights += node
            .params
            .iter()
            .filter(|id| read.insert(**id))
            .map(|id| elements(&graph.param(*id).shape))
            .sum::<usize>();
        let moves = matches!(
            node.op,
            Op::Conv2d(_) | Op::Linear { .. } | Op::MatMul | Op::Attention { .. } | Op::MaxPool2d { .. }
        );
        if moves {
            let values = node.inputs.iter().chain(&node.outputs);
            maps += values.map(|&value| elements(graph.shape(value))).sum::<usize>();
        }
    }
    (weights * element, maps * element)
}
