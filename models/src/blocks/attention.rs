//! Self-attention over the cells of a feature map.

use super::Layer;
use super::conv::Conv;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Op, ValueId};

/// Channels a head of C2PSA.
const HEAD_CHANNELS: usize = 64;

/// Multi-head attention over the H * W cells (arXiv 1706.03762); keys have half the channels of values, and a
/// depthwise 3x3 convolution of the values tells positions.
fn attention(g: &mut Builder, path: &str, x: ValueId) -> Emitted {
    let [channels, height, width] = g.map(x, "an attention")?;
    let heads = (channels / HEAD_CHANNELS).max(1);
    if channels % heads != 0 {
        return Err(g.refuse("an attention", x, format!("its channels do not divide into {heads} heads")));
    }
    let (value_dim, key_dim) = (channels / heads, channels / heads / 2);
    let cells = height * width;

    let qkv = Conv::new(channels + 2 * key_dim * heads, 1).linear().emit(g, &format!("{path}.qkv"), x)?;
    let qkv = g.reshape(qkv, vec![heads, 2 * key_dim + value_dim, cells], &format!("{path}.heads"))?;
    let parts = g.split(qkv, 1, &[key_dim, key_dim, value_dim], &format!("{path}.split"))?;
    let (query, key, value) = (parts[0], parts[1], parts[2]);

    let query = g.transpose(query, &[0, 2, 1], &format!("{path}.query"));
    let value_rows = g.transpose(value, &[0, 2, 1], &format!("{path}.value"));
    let scale = 1.0 / (key_dim as f32).sqrt();
    let mixed = g.attention([query, key, value_rows], scale, &format!("{path}.attend"))?;
    let mixed = g.transpose(mixed, &[0, 2, 1], &format!("{path}.mix"));

    let map = vec![channels, height, width];
    let mixed = g.reshape(mixed, map.clone(), &format!("{path}.map"))?;
    let value = g.reshape(value, map, &format!("{path}.values"))?;
    let position = Conv::new(channels, 3).groups(channels).linear().emit(g, &format!("{path}.pe"), value)?;
    let sum = g.combine(Op::Add, mixed, position, &format!("{path}.add"))?;
    Conv::new(channels, 1).linear().emit(g, &format!("{path}.proj"), sum)
}

/// `x + attended`, then a two-layer feed-forward with a residual of its own; `hidden` is the width between.
pub fn residual_feed_forward(
    g: &mut Builder,
    path: &str,
    part: &str,
    (x, attended): (ValueId, ValueId),
    hidden: usize,
) -> Emitted {
    let channels = g.channels(x);
    let x = g.combine(Op::Add, x, attended, &format!("{path}.add1"))?;
    let wide = Conv::new(hidden, 1).emit(g, &format!("{path}.{part}.0"), x)?;
    let fed = Conv::new(channels, 1).linear().emit(g, &format!("{path}.{part}.1"), wide)?;
    g.combine(Op::Add, x, fed, &format!("{path}.add2"))
}

/// Attention, then a feed-forward of ratio 2, both residual.
fn psa_block(g: &mut Builder, path: &str, x: ValueId) -> Emitted {
    let channels = g.channels(x);
    let attended = attention(g, &format!("{path}.attn"), x)?;
    residual_feed_forward(g, path, "ffn", (x, attended), 2 * channels)
}

/// `C2PSA, [channels]`: half the channels go through the attention blocks, half past them (YOLO11).
pub fn c2psa_layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(2)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    let x = l.input()?;
    let (g, path) = (&mut *l.graph, &l.path);
    if g.channels(x) != out {
        return Err(g.refuse("C2PSA", x, format!("its {out} output channels must equal the input's")));
    }
    let hidden = out / 2;
    let y = Conv::new(2 * hidden, 1).emit(g, &format!("{path}.cv1"), x)?;
    let halves = g.split(y, 0, &[hidden, hidden], &format!("{path}.split"))?;
    let mut attended = halves[1];
    for i in 0..l.repeats {
        attended = psa_block(g, &format!("{path}.m.{i}"), attended)?;
    }
    let joined = g.concat(&[halves[0], attended], 0, &format!("{path}.concat"))?;
    Ok(vec![Conv::new(out, 1).emit(g, &format!("{path}.cv2"), joined)?])
}
