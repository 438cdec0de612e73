//! Auxiliary heads for training alone: each camera's branch is to find the objects by itself, before the branches meet.
//!
//! Where two streams are trained by one loss, the easier camera does the work and the other's branch learns little. A
//! head of its own gives each branch a loss of its own. The heads come after everything else in the graph, parameters
//! included, so that what validates or exports the network has only to leave them out.

use crate::blocks::{Args, Layer, Scaling, detect};
use crate::builder::Builder;
use crate::error::ShapeError;
use crate::graph::{Graph, Head, Op, ValueId};

/// What the names of their parameters begin with.
pub const PREFIX: &str = "train.auxiliary.";

/// A training graph with auxiliary heads.
#[derive(Debug, Clone, PartialEq)]
pub struct Auxiliary {
    /// Its outputs are the maps of the network's own head, then those of [`Auxiliary::heads`], one after the other.
    pub graph: Graph,
    /// One a camera that has feature maps of its own at a stride of the network's head.
    pub heads: Vec<Head>,
}

impl Auxiliary {
    /// The graph as it is.
    pub fn none(graph: Graph) -> Self {
        Auxiliary { graph, heads: vec![] }
    }

    /// Appends a head to each camera's branch: over the deepest layer that sees this camera alone, at every stride of
    /// the network's head where there is one. Without such layers (the cameras are joined before) no heads are there.
    ///
    /// # Errors
    /// When a head cannot take its maps.
    pub fn append(graph: Graph) -> Result<Self, ShapeError> {
        let branches: Vec<(String, Vec<ValueId>)> = branches(&graph);
        let (mut builder, own, layers) = Builder::resume(graph);
        let (mut outputs, mut heads) = (own.maps.clone(), vec![]);
        for (camera, inputs) in branches {
            detect::layer(&mut Layer {
                graph: &mut builder,
                path: format!("{PREFIX}{camera}"),
                inputs,
                args: Args(&[]),
                repeats: 1,
                scaling: Scaling { name: "", width: 1.0, max_channels: usize::MAX },
                classes: own.classes,
                // The cheaper one: it is thrown away.
                depthwise_head: true,
            })?;
            let Some(head) = builder.take_head() else { continue };
            outputs.extend(&head.maps);
            heads.push(head);
        }
        Ok(Auxiliary { graph: builder.finish(outputs, own, layers), heads })
    }
}

/// Each camera's deepest maps, in the order of the head's strides.
fn branches(graph: &Graph) -> Vec<(String, Vec<ValueId>)> {
    if graph.inputs.len() < 2 {
        return vec![];
    }
    let seen = seen(graph);
    let (height, width) = graph.input_size();
    let mut found = vec![];
    for (bit, (camera, _)) in graph.inputs.iter().enumerate() {
        let alone = |value: ValueId| seen[value.0] == 1 << bit;
        // A layer where the cameras meet may hold parts of one of them, which are not its result.
        let pure = |layer: usize| {
            graph
                .nodes
                .iter()
                .filter(|node| node.layer == layer)
                .all(|node| node.outputs.iter().all(|&v| alone(v)))
        };
        let deepest = |stride: usize| {
            let is_map = |value: ValueId| matches!(graph.shape(value), [_, h, w] if (h * stride, w * stride) == (height, width));
            let results =
                graph.nodes.iter().rev().filter_map(|node| Some((node.layer, *node.outputs.first()?)));
            let mut maps = results.filter(|&(_, value)| alone(value) && is_map(value));
            maps.find(|&(layer, _)| pure(layer)).map(|(_, value)| value)
        };
        let maps: Vec<ValueId> = graph.head.strides.iter().filter_map(|&stride| deepest(stride)).collect();
        if !maps.is_empty() {
            found.push((camera.clone(), maps));
        }
    }
    found
}

/// For every value the inputs it depends on, a bit each.
fn seen(graph: &Graph) -> Vec<u32> {
    let mut seen = vec![0u32; graph.values.len()];
    for (bit, (_, value)) in graph.inputs.iter().enumerate() {
        seen[value.0] = 1 << bit;
    }
    for node in graph.nodes.iter().filter(|node| node.op != Op::Input) {
        let all = node.inputs.iter().fold(0, |all, value| all | seen[value.0]);
        node.outputs.iter().for_each(|value| seen[value.0] = all);
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Network;

    fn with_heads(model: &str) -> (Graph, Auxiliary) {
        let graph = Network::load(model, Some(3)).unwrap().graph(128, 96).unwrap();
        (graph.clone(), Auxiliary::append(graph).unwrap())
    }

    #[test]
    fn mid_gets_a_head_on_each_branch_and_stays_what_it_is() {
        let (before, after) = with_heads("mid-n");
        let shapes =
            |head: &Head| head.maps.iter().map(|&m| after.graph.shape(m).to_vec()).collect::<Vec<_>>();
        assert_eq!(after.heads.len(), 2);
        for head in &after.heads {
            assert_eq!((&head.strides, head.classes), (&before.head.strides, 3));
            assert_eq!(shapes(head), shapes(&before.head));
        }
        // Over the last layers of the two backbones, as mid.yaml numbers them.
        let read = |name: &str| {
            let node = after.graph.nodes.iter().find(|node| node.name == name).unwrap();
            let source =
                after.graph.nodes.iter().find(|from| from.outputs.contains(&node.inputs[0])).unwrap();
            source.layer
        };
        let layers = |camera| [0, 1, 2].map(|i| read(&format!("{PREFIX}{camera}.cv2.{i}.0.conv")));
        assert_eq!((layers("rgb"), layers("ir")), ([11, 15, 21], [13, 17, 24]));
        // Everything of the network comes first.
        let kept = before.params.len();
        assert_eq!(after.graph.params[..kept], before.params);
        assert!(after.graph.params[kept..].iter().all(|param| param.name.starts_with(PREFIX)));
        assert!(!before.params.iter().any(|param| param.name.starts_with(PREFIX)));
        assert_eq!((&after.graph.head, after.graph.outputs.len()), (&before.head, 9));
    }

    #[test]
    fn every_fusion_takes_heads_where_its_cameras_are_apart() {
        for (model, cameras) in
            [("yolov8-n", 0), ("data-n", 0), ("decision-n", 2), ("gated-n", 2), ("cross-n", 2)]
        {
            let (before, after) = with_heads(model);
            assert_eq!(after.heads.len(), cameras, "{model}");
            assert!(
                after.heads.iter().all(|head| head.strides.iter().all(|s| before.head.strides.contains(s)))
            );
        }
    }
}
