//! Batch norm folded into the convolution before it: in evaluation mode both are linear, so one does for two.

use std::borrow::Cow;
use std::collections::HashMap;

use yf_models::graph::{BN_EPS, Conv2d, Graph, Init, Node, Op, Param, ParamId, Role, ValueId};
use yf_models::weights::{Array, Weights};

use crate::error::ExportError;

/// A graph with an array for each of its parameters.
#[derive(Debug)]
pub struct Weighted<'a> {
    /// The graph.
    pub graph: Graph,
    /// By [`ParamId`]; `None` only where the weights lack a frozen tensor that nothing computes with.
    pub arrays: Vec<Option<Cow<'a, Array>>>,
}

impl<'a> Weighted<'a> {
    /// Joins a graph and its weights.
    ///
    /// # Errors
    /// What [`Weights::check`] finds.
    pub fn new(graph: Graph, weights: &'a Weights) -> Result<Self, ExportError> {
        let misfit = |why| ExportError::Weights { model: weights.header.model.clone(), why };
        weights.check(&graph).map_err(misfit)?;
        let arrays: Vec<_> =
            graph.params.iter().map(|p| weights.tensors.get(&p.name).map(Cow::Borrowed)).collect();
        Ok(Weighted { graph, arrays })
    }

    /// The array of a parameter.
    ///
    /// # Errors
    /// When the weights lack it.
    pub fn array(&self, id: ParamId) -> Result<&Array, ExportError> {
        self.arrays[id.0].as_deref().ok_or_else(|| ExportError::Weights {
            model: "the network".to_owned(),
            why: format!("{} is missing", self.graph.param(id).name),
        })
    }

    /// Folds each batch norm whose input is a convolution that nobody else reads. The convolution's weight keeps
    /// its name and gains a bias beside it. Computed in double precision, rounded once.
    ///
    /// # Errors
    /// When the weights lack a tensor.
    pub fn fold_batch_norm(mut self) -> Result<Self, ExportError> {
        let readers = readers(&self.graph);
        let mut kept: Vec<Node> = Vec::with_capacity(self.graph.nodes.len());
        let mut convolutions: HashMap<ValueId, (usize, Conv2d)> = HashMap::new();
        let mut folded: HashMap<[Vec<ParamId>; 2], Vec<ParamId>> = HashMap::new();
        for node in std::mem::take(&mut self.graph.nodes) {
            match (&node.op, node.inputs.first().and_then(|x| convolutions.get(x))) {
                (Op::BatchNorm2d, Some(&(at, _))) => {
                    let conv = &mut kept[at];
                    let key = [conv.params.clone(), node.params.clone()];
                    // Blocks may share weights; then they go on sharing.
                    conv.params = match folded.get(&key) {
                        Some(params) => params.clone(),
                        None => {
                            let params = self.fold_pair(conv, &node)?;
                            folded.insert(key, params.clone());
                            params
                        }
                    };
                    conv.outputs = node.outputs;
                    continue;
                }
                (Op::Conv2d(conv), _) if readers.get(&node.outputs[0]) == Some(&1) => {
                    convolutions.insert(node.outputs[0], (kept.len(), *conv));
                }
                _ => {}
            }
            kept.push(node);
        }
        self.graph.nodes = kept;
        Ok(self)
    }

    /// Declares the weight and the bias of one convolution with its batch norm inside.
    fn fold_pair(&mut self, conv: &Node, norm: &Node) -> Result<Vec<ParamId>, ExportError> {
        let weight = self.array(conv.params[0])?;
        let bias = conv.params.get(1).map(|&id| self.array(id)).transpose()?;
        let norm = [norm.params[0], norm.params[1], norm.params[2], norm.params[3]];
        let [gain, shift, mean, variance] = norm.map(|id| self.array(id));
        let (weight, bias) =
            fold(weight, bias, &Norm { gain: gain?, shift: shift?, mean: mean?, variance: variance? });
        let name = self.graph.param(conv.params[0]).name.clone();
        let beside = format!("{}.bias", name.strip_suffix(".weight").unwrap_or(&name));
        Ok(vec![self.declare(name, Role::Weight, weight), self.declare(beside, Role::Bias, bias)])
    }

    /// Adds a parameter that the graph did not have.
    pub(crate) fn declare(&mut self, name: String, role: Role, array: Array) -> ParamId {
        let param = Param { name, shape: array.shape.clone(), role, init: Init::Fill(0.0) };
        self.graph.params.push(param);
        self.arrays.push(Some(Cow::Owned(array)));
        ParamId(self.graph.params.len() - 1)
    }
}

/// The arrays of a batch norm, one element a channel.
struct Norm<'a> {
    gain: &'a Array,
    shift: &'a Array,
    mean: &'a Array,
    variance: &'a Array,
}

/// `gain * (w x + b - mean) / sqrt(variance + eps) + shift` as one weight and one bias.
fn fold(weight: &Array, bias: Option<&Array>, norm: &Norm<'_>) -> (Array, Array) {
    let channels = norm.gain.data.len();
    let per_channel = weight.data.len() / channels.max(1);
    let mut folded_weight = Vec::with_capacity(weight.data.len());
    let mut folded_bias = Vec::with_capacity(channels);
    for channel in 0..channels {
        let at = |array: &Array| f64::from(array.data[channel]);
        let scale = at(norm.gain) / (at(norm.variance) + BN_EPS).sqrt();
        let kernel = &weight.data[channel * per_channel..][..per_channel];
        folded_weight.extend(kernel.iter().map(|&w| (f64::from(w) * scale) as f32));
        folded_bias.push((at(norm.shift) + (bias.map_or(0.0, at) - at(norm.mean)) * scale) as f32);
    }
    (
        Array { shape: weight.shape.clone(), data: folded_weight },
        Array { shape: vec![channels], data: folded_bias },
    )
}

/// How often each value is read; the graph's outputs count.
fn readers(graph: &Graph) -> HashMap<ValueId, usize> {
    let read = graph.nodes.iter().flat_map(|n| &n.inputs).chain(&graph.outputs);
    read.fold(HashMap::new(), |mut counts, &value| {
        *counts.entry(value).or_default() += 1;
        counts
    })
}

#[cfg(test)]
mod tests;
