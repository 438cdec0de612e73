//! A grey input as one plane: the layers that read its three equal planes are folded over them.
//!
//! A convolution over three equal planes is one over a single plane with the three kernels summed, exactly. Where the
//! planes are read by anything else, they are made of the one.

use yf_models::graph::{Node, Op, ParamId, ValueId};
use yf_models::weights::Array;

use crate::error::ExportError;
use crate::fold::Weighted;

/// Planes of the input before.
const PLANES: usize = 3;

impl Weighted<'_> {
    /// Makes an input of three equal planes one of a single plane.
    ///
    /// # Errors
    /// When the weights lack a tensor.
    pub fn one_plane(mut self, input: ValueId) -> Result<Self, ExportError> {
        let readers = self.readers_of(input);
        let mut others = Vec::new();
        for reader in readers {
            if self.is_plain_convolution(reader, input) {
                self.fold_planes(reader, 0)?;
            } else if let Some((first, convolutions)) = self.joined(reader, input) {
                for convolution in convolutions {
                    self.fold_planes(convolution, first)?;
                }
                let joined = self.graph.nodes[reader].outputs[0];
                self.graph.values[joined.0][0] -= PLANES - 1;
            } else {
                others.push(reader);
            }
        }
        self.graph.values[input.0][0] = 1;
        if !others.is_empty() {
            self.triple(input, &others);
        }
        Ok(self)
    }

    fn readers_of(&self, value: ValueId) -> Vec<usize> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.inputs.contains(&value)).map(|(at, _)| at).collect()
    }

    fn is_plain_convolution(&self, node: usize, input: ValueId) -> bool {
        let node = &self.graph.nodes[node];
        matches!(node.op, Op::Conv2d(conv) if conv.groups == 1) && node.inputs == [input]
    }

    /// Of a node that joins the input, once, with other channels for convolutions alone: the input's first channel
    /// in what they read, and the convolutions.
    fn joined(&self, node: usize, input: ValueId) -> Option<(usize, Vec<usize>)> {
        let Node { op: Op::Concat { axis: 0 }, inputs, outputs, .. } = &self.graph.nodes[node] else {
            return None;
        };
        let at = inputs.iter().position(|value| *value == input)?;
        let once = inputs.iter().filter(|value| **value == input).count() == 1;
        let convolutions = self.readers_of(outputs[0]);
        let all = convolutions.iter().all(|&node| self.is_plain_convolution(node, outputs[0]));
        let first = inputs[..at].iter().map(|&value| self.graph.shape(value)[0]).sum();
        (once && all && !self.graph.outputs.contains(&outputs[0])).then_some((first, convolutions))
    }

    /// Sums a convolution's kernels over three channels from `first` on.
    fn fold_planes(&mut self, node: usize, first: usize) -> Result<(), ExportError> {
        let id = self.graph.nodes[node].params[0];
        let weight = summed(self.array(id)?, first);
        let param = self.graph.param(id);
        let (name, role) = (param.name.clone(), param.role);
        let folded: ParamId = self.declare(name, role, weight);
        self.graph.nodes[node].params[0] = folded;
        Ok(())
    }

    /// Makes three planes of the one for nodes that need them.
    fn triple(&mut self, input: ValueId, readers: &[usize]) {
        let mut shape = self.graph.values[input.0].clone();
        shape[0] = PLANES;
        self.graph.values.push(shape);
        let tripled = ValueId(self.graph.values.len() - 1);
        for &reader in readers {
            for value in self.graph.nodes[reader].inputs.iter_mut().filter(|value| **value == input) {
                *value = tripled;
            }
        }
        let source = self.graph.nodes.iter().position(|node| node.outputs.contains(&input));
        let node = Node {
            op: Op::Concat { axis: 0 },
            inputs: vec![input; PLANES],
            outputs: vec![tripled],
            params: vec![],
            name: "planes".to_owned(),
            layer: 0,
        };
        self.graph.nodes.insert(source.map_or(0, |at| at + 1), node);
    }
}

/// `[out, in, h, w]` with three input channels from `first` on summed into one; in double precision, rounded once.
fn summed(weight: &Array, first: usize) -> Array {
    let [out, channels] = [weight.shape[0], weight.shape[1]];
    let kernel: usize = weight.shape[2..].iter().product();
    let mut data = Vec::with_capacity(out * (channels + 1 - PLANES) * kernel);
    for filter in weight.data.chunks_exact(channels * kernel) {
        let (before, rest) = filter.split_at(first * kernel);
        let (planes, after) = rest.split_at(PLANES * kernel);
        data.extend_from_slice(before);
        data.extend(
            (0..kernel).map(|at| {
                (0..PLANES).map(|plane| f64::from(planes[plane * kernel + at])).sum::<f64>() as f32
            }),
        );
        data.extend_from_slice(after);
    }
    let mut shape = weight.shape.clone();
    shape[1] = channels + 1 - PLANES;
    Array { shape, data }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_kernels_become_their_sum_and_the_others_stay() {
        let data: Vec<f32> = (0..10).map(|v| v as f32).collect();
        let weight = Array { shape: vec![2, 5, 1, 1], data };
        let folded = summed(&weight, 1);
        assert_eq!(folded.shape, [2, 3, 1, 1]);
        assert_eq!(folded.data, [0.0, 6.0, 4.0, 5.0, 21.0, 9.0]);
    }
}
