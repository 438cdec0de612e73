//! What a graph costs: parameters, operations, bytes.

use crate::graph::{Graph, Node, Op, Role};

/// Cost of one pair through a graph.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Multiply-additions of convolutions, matrix products and batch norms, these at four an element: so count the
    /// published figures of this field, which this one is to be compared with.
    pub macs: u64,
    /// Parameters, batch-norm weights and frozen ones included.
    pub parameters: usize,
    /// Values read and written by all operations; times the bytes of an element it is the traffic of an
    /// execution that keeps nothing in registers or caches between operations.
    pub elements_moved: u64,
    /// The fewest values that must move: inputs, parameters and outputs, once each.
    pub elements_least: u64,
}

impl Cost {
    /// Giga-operations, a multiply-addition counted as two.
    pub fn gflops(&self) -> f64 {
        2.0 * self.macs as f64 / 1e9
    }
}

/// Counts a graph.
pub fn of(graph: &Graph) -> Cost {
    let numel = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    let ends: u64 =
        graph.inputs.iter().map(|(_, v)| v).chain(&graph.outputs).map(|&v| numel(graph.shape(v))).sum();
    let weights: u64 = graph.params.iter().filter(|p| p.role != Role::Buffer).map(|p| numel(&p.shape)).sum();
    Cost {
        macs: graph.nodes.iter().map(|node| macs(graph, node)).sum(),
        parameters: graph.parameter_count(),
        elements_moved: graph.nodes.iter().map(|node| moved(graph, node)).sum(),
        elements_least: ends + weights,
    }
}

/// Giga-operations of each layer of the configuration, in order.
pub fn gflops_by_layer(graph: &Graph) -> Vec<f64> {
    let mut by_layer = vec![0.0; graph.layers.len()];
    for node in &graph.nodes {
        if let Some(sum) = by_layer.get_mut(node.layer) {
            *sum += 2.0 * macs(graph, node) as f64 / 1e9;
        }
    }
    by_layer
}

fn macs(graph: &Graph, node: &Node) -> u64 {
    let output: u64 = graph.shape(node.outputs[0]).iter().product::<usize>() as u64;
    match &node.op {
        Op::Conv2d(conv) => {
            let per_group = graph.shape(node.inputs[0])[0] / conv.groups;
            output * (per_group * conv.kernel * conv.kernel) as u64
        }
        Op::Linear { .. } => output * graph.shape(node.inputs[0])[0] as u64,
        Op::Attention { .. } => attention(graph, node),
        Op::BatchNorm2d => 4 * output,
        Op::MatMul => output * graph.shape(node.inputs[0]).last().copied().unwrap_or(0) as u64,
        _ => 0,
    }
}

/// Products of queries with keys, then of weights with values.
fn attention(graph: &Graph, node: &Node) -> u64 {
    let size = |value: usize, from_end: usize| graph.shape(node.inputs[value]).iter().rev().nth(from_end);
    let (d, keys, e) = (size(0, 0).unwrap_or(&0), size(1, 0).unwrap_or(&0), size(2, 0).unwrap_or(&0));
    let rows = graph.shape(node.outputs[0]).iter().product::<usize>() / e.max(&1);
    (rows * keys * (d + e)) as u64
}

fn moved(graph: &Graph, node: &Node) -> u64 {
    let values: usize =
        node.inputs.iter().chain(&node.outputs).map(|&v| graph.shape(v).iter().product::<usize>()).sum();
    let weights: usize = node.params.iter().map(|&p| graph.param(p).shape.iter().product::<usize>()).sum();
    match node.op {
        Op::Reshape | Op::Input | Op::Constant(_) | Op::Parameter => 0,
        _ => (values + weights) as u64,
    }
}
