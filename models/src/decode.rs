//! The decoding of boxes, appended to a training graph: raw maps become `output0`.

use crate::builder::Builder;
use crate::error::ShapeError;
use crate::graph::{Graph, Head, Op, ValueId};

/// Appends the decoding: the graph then has one output `[4 + classes, anchors]`, rows cx, cy, w, h in input
/// pixels and the class scores after the sigmoid; anchors map by map, row by row.
///
/// A side's distance is the expectation over its bins (generalised focal loss, arXiv 2006.04388), in units of
/// the stride, counted from the cell's centre.
///
/// # Errors
/// When the head's maps have not the channels they should.
pub fn append(graph: Graph) -> Result<Graph, ShapeError> {
    let (mut g, head, layers) = Builder::resume(graph);
    let anchors = Anchors::of(&g, &head);
    let (sides, cells) = (4 * head.reg_max, anchors.count());

    let mut flat = Vec::new();
    for (i, &map) in head.maps.iter().enumerate() {
        let [channels, height, width] = g.map(map, "the decoding")?;
        flat.push(g.reshape(map, vec![channels, height * width], &format!("decode.flat.{i}"))?);
    }
    let joined = g.concat(&flat, 1, "decode.join")?;
    let parts = g.split(joined, 0, &[sides, head.classes], "decode.split")?;
    let distances = distances(&mut g, parts[0], head.reg_max, cells)?;
    let boxes = boxes(&mut g, distances, &anchors)?;
    let scores = g.map_elements(Op::Sigmoid, parts[1], "decode.scores");
    let output = g.concat(&[boxes, scores], 0, "output0")?;
    Ok(g.finish(vec![output], head, layers))
}

/// Expectation over the bins: `[4 * bins, A]` to `[4, A]`. The bins become the last axis, where a softmax is
/// contiguous and the expectation is one matrix product.
fn distances(g: &mut Builder, logits: ValueId, bins: usize, cells: usize) -> Result<ValueId, ShapeError> {
    let sides = g.reshape(logits, vec![4, bins, cells], "decode.sides")?;
    let sides = g.transpose(sides, &[0, 2, 1], "decode.bins");
    let weights = g.map_elements(Op::Softmax { axis: 2 }, sides, "decode.softmax");
    let positions = g.constant("decode.positions", vec![bins, 1], (0..bins).map(|i| i as f32).collect());
    let expected = g.matmul(weights, positions, "decode.expectation")?;
    g.reshape(expected, vec![4, cells], "decode.distances")
}

/// Left, top, right and bottom distances become cx, cy, w, h in pixels.
fn boxes(g: &mut Builder, distances: ValueId, anchors: &Anchors) -> Result<ValueId, ShapeError> {
    let cells = anchors.count();
    let corners = g.split(distances, 0, &[2, 2], "decode.corners")?;
    let (left_top, right_bottom) = (corners[0], corners[1]);
    let size = g.combine(Op::Add, left_top, right_bottom, "decode.size")?;
    let skew = g.combine(Op::Sub, right_bottom, left_top, "decode.skew")?;
    let half = g.map_elements(Op::Scale(0.5), skew, "decode.half");
    let centres = g.constant("decode.anchors", vec![2, cells], anchors.centres.clone());
    let centre = g.combine(Op::Add, half, centres, "decode.centre")?;
    let boxes = g.concat(&[centre, size], 0, "decode.boxes")?;
    let strides = g.constant("decode.strides", vec![1, cells], anchors.strides.clone());
    g.combine(Op::Mul, boxes, strides, "decode.pixels")
}

/// Cell centres in units of their stride (all x, then all y), and strides.
struct Anchors {
    centres: Vec<f32>,
    strides: Vec<f32>,
}

impl Anchors {
    fn of(g: &Builder, head: &Head) -> Self {
        let (mut xs, mut ys, mut strides) = (vec![], vec![], vec![]);
        for (&map, &stride) in head.maps.iter().zip(&head.strides) {
            let (height, width) = (g.shape(map)[1], g.shape(map)[2]);
            for row in 0..height {
                for column in 0..width {
                    xs.push(column as f32 + 0.5);
                    ys.push(row as f32 + 0.5);
                    strides.push(stride as f32);
                }
            }
        }
        xs.append(&mut ys);
        Anchors { centres: xs, strides }
    }

    fn count(&self) -> usize {
        self.strides.len()
    }
}
