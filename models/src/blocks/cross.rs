//! Cross attention between the cameras whose cost grows with the number of positions, not with its square.
//!
//! Efficient attention (arXiv 1812.01243): the keys of one camera, a softmax over all positions, sum its values up into a
//! few descriptions of the whole scene; the queries of the other, a softmax over channels, mix these at every position.
//! A depthwise convolution of the same values adds what lies nearby.

use super::Layer;
use super::conv::Conv;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Init, Op, ValueId};

/// Channels a head.
const HEAD_CHANNELS: usize = 16;

/// The learned gain of what a camera takes from the other starts here.
const LAYER_SCALE: f32 = 0.01;

/// What one camera asks and tells.
struct Projected {
    /// `[heads, d, HW]`, a softmax over `d`.
    query: ValueId,
    /// `[heads, HW, d]`, a softmax over the positions.
    key: ValueId,
    /// `[heads, d, HW]`.
    value: ValueId,
    /// The values as a map, `[heads * d, H, W]`.
    map: ValueId,
}

/// Parameters `{path}.qkv`.
fn project(g: &mut Builder, path: &str, x: ValueId, heads: usize) -> Result<Projected, ShapeError> {
    let [_, height, width] = g.map(x, "Cross")?;
    let (hidden, cells) = (heads * HEAD_CHANNELS, height * width);
    let name = |part: &str| format!("{path}.{part}");
    let qkv = Conv::new(3 * hidden, 1).linear().emit(g, &name("qkv"), x)?;
    let parts = g.split(qkv, 0, &[hidden; 3], &name("split"))?;
    let rows = |g: &mut Builder, map: ValueId, part: &str| {
        g.reshape(map, vec![heads, HEAD_CHANNELS, cells], &name(part))
    };
    let query = rows(g, parts[0], "queries")?;
    let query = g.map_elements(Op::Softmax { axis: 1 }, query, &name("query"));
    let key = rows(g, parts[1], "keys")?;
    let key = g.map_elements(Op::Softmax { axis: 2 }, key, &name("key"));
    let key = g.transpose(key, &[0, 2, 1], &name("key_rows"));
    Ok(Projected { query, key, value: rows(g, parts[2], "value")?, map: parts[2] })
}

/// A map with what its camera's queries find at the other. Parameters `{path}.pe`, `.proj`, `.gamma`.
fn enriched(g: &mut Builder, path: &str, x: ValueId, query: ValueId, other: &Projected) -> Emitted {
    let name = |part: &str| format!("{path}.{part}");
    let (channels, shape) = (g.channels(x), g.shape(other.map).to_vec());
    let scene = g.matmul(other.value, other.key, &name("scene"))?;
    let mixed = g.matmul(scene, query, &name("mixed"))?;
    let mixed = g.reshape(mixed, shape.clone(), &name("map"))?;
    let nearby = Conv::new(shape[0], 3).groups(shape[0]).linear().emit(g, &name("pe"), other.map)?;
    let found = g.combine(Op::Add, mixed, nearby, &name("found"))?;
    let found = Conv::new(channels, 1).linear().emit(g, &name("proj"), found)?;
    let gain = g.gain(&name("gamma"), channels, Init::Fill(LAYER_SCALE));
    let found = g.combine(Op::Mul, found, gain, &name("scaled"))?;
    g.combine(Op::Add, x, found, &name("add"))
}

/// `Cross, [channels]` over the RGB and the infrared map, both of `channels` channels: either with what it finds at the
/// other, joined, so twice the channels. Heads have 16 channels and half the map's width together.
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(1)?;
    let channels = l.scaling.channels(l.args.size(0, "channels")?);
    let ([rgb, ir], path) = (l.pair(channels)?, &l.path);
    let g = &mut *l.graph;
    let heads = (channels / 2 / HEAD_CHANNELS).max(1);
    let (of_rgb, of_ir) = (format!("{path}.rgb"), format!("{path}.ir"));
    let (told_by_rgb, told_by_ir) = (project(g, &of_rgb, rgb, heads)?, project(g, &of_ir, ir, heads)?);
    let rgb = enriched(g, &of_rgb, rgb, told_by_rgb.query, &told_by_ir)?;
    let ir = enriched(g, &of_ir, ir, told_by_ir.query, &told_by_rgb)?;
    Ok(vec![g.concat(&[rgb, ir], 0, &format!("{path}.fused"))?])
}
