//! Area attention (YOLOv12, arXiv 2502.12524): the cells of a map in row-major order are cut into equal areas, and
//! attention stays within each. A2C2f puts it into an R-ELAN frame.

use super::Layer;
use super::attention::residual_feed_forward;
use super::conv::Conv;
use super::csp::c3k;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Init, Op, ValueId};

/// Channels a head.
const HEAD_CHANNELS: usize = 32;

/// The learned gain of the residual path starts here.
const LAYER_SCALE: f32 = 0.01;

/// Attention within `areas` areas. Parameters `{path}.qk`, `.v`, `.pe` (a depthwise 5x5 convolution of the values tells
/// positions), `.proj`.
fn area_attention(g: &mut Builder, path: &str, x: ValueId, areas: usize) -> Emitted {
    let [channels, height, width] = g.map(x, "an area attention")?;
    let cells = height * width;
    if channels % HEAD_CHANNELS != 0 || areas == 0 || cells % areas != 0 {
        let why = format!("heads of {HEAD_CHANNELS} channels and {areas} areas do not divide it");
        return Err(g.refuse("an area attention", x, why));
    }
    let heads = channels / HEAD_CHANNELS;
    let name = |part: &str| format!("{path}.{part}");

    let qk = Conv::new(2 * channels, 1).linear().emit(g, &name("qk"), x)?;
    let qk = g.reshape(qk, vec![2 * heads, HEAD_CHANNELS, areas, cells / areas], &name("heads"))?;
    let parts = g.split(qk, 0, &[heads, heads], &name("split"))?;
    let values = Conv::new(channels, 1).linear().emit(g, &name("v"), x)?;
    let position = Conv::new(channels, 5).groups(channels).linear().emit(g, &name("pe"), values)?;
    let v = g.reshape(values, vec![heads, HEAD_CHANNELS, areas, cells / areas], &name("values"))?;

    // Heads and areas in front, as one batch of matrices.
    let q = g.transpose(parts[0], &[0, 2, 3, 1], &name("query"));
    let k = g.transpose(parts[1], &[0, 2, 1, 3], &name("key"));
    let v = g.transpose(v, &[0, 2, 3, 1], &name("value"));
    let mixed = g.attention([q, k, v], 1.0 / (HEAD_CHANNELS as f32).sqrt(), &name("attend"))?;
    let mixed = g.transpose(mixed, &[0, 3, 1, 2], &name("mix"));
    let mixed = g.reshape(mixed, vec![channels, height, width], &name("map"))?;
    let sum = g.combine(Op::Add, mixed, position, &name("add"))?;
    Conv::new(channels, 1).linear().emit(g, &name("proj"), sum)
}

/// `A2C2f, [channels, attention, areas]`: cv2 over cv1's map and the outputs of the inner blocks in a row. An inner
/// block is two area attentions, each with a feed-forward, or C3k where attention is off. At scales l and x the
/// feed-forward is narrower, and with attention the whole is a residual with a learned gain a channel.
pub fn a2c2f_layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(3)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    let attention = l.args.flag_or(1, "attention", true)?;
    let areas = l.args.integer_or(2, "areas", 1)?;
    let (x, hidden, large) = (l.input()?, out / 2, matches!(l.scaling.name, "l" | "x"));
    let areas = match usize::try_from(areas) {
        Ok(areas) if areas > 0 => areas,
        _ if !attention => 1,
        _ => return Err(ShapeError::Arguments(format!("argument 3 (areas) must be above 0, got {areas}"))),
    };
    let feed_forward = if large { hidden * 3 / 2 } else { hidden * 2 };
    let (g, path) = (&mut *l.graph, &l.path);

    let mut maps = vec![Conv::new(hidden, 1).emit(g, &format!("{path}.cv1"), x)?];
    for i in 0..l.repeats {
        let (inner, y) = (format!("{path}.m.{i}"), maps[i]);
        maps.push(if attention {
            let mut y = y;
            for half in 0..2 {
                let block = format!("{inner}.{half}");
                let attended = area_attention(g, &format!("{block}.attn"), y, areas)?;
                y = residual_feed_forward(g, &block, "mlp", (y, attended), feed_forward)?;
            }
            y
        } else {
            c3k(g, &inner, y, hidden, 2, true)?
        });
    }
    let joined = g.concat(&maps, 0, &format!("{path}.concat"))?;
    let y = Conv::new(out, 1).emit(g, &format!("{path}.cv2"), joined)?;
    if !(attention && large) {
        return Ok(vec![y]);
    }
    let gain = g.gain(&format!("{path}.gamma"), out, Init::Fill(LAYER_SCALE));
    let scaled = g.combine(Op::Mul, y, gain, &format!("{path}.scaled"))?;
    Ok(vec![g.combine(Op::Add, x, scaled, &format!("{path}.add"))?])
}
