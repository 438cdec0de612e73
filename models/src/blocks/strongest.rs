//! The stronger answer of two cameras, channel by channel and position by position: what either sees stays, and a dead
//! one takes nothing away.

use super::Layer;
use crate::error::ShapeError;
use crate::graph::{Init, Op, ValueId};

/// `Strongest, [channels]` over the RGB and the infrared map, whose channels it keeps: `max(a x_v, b x_i)` with a learned
/// gain a channel for either camera, 1 at the start.
///
/// The maximum is written `relu(p - q) + q`.
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(1)?;
    let channels = l.scaling.channels(l.args.size(0, "channels")?);
    let ([rgb, ir], path) = (l.pair(channels)?, &l.path);
    let g = &mut *l.graph;
    let name = |part: &str| format!("{path}.{part}");

    let gain = g.gain(&name("gain_v"), channels, Init::Fill(1.0));
    let rgb = g.combine(Op::Mul, rgb, gain, &name("rgb"))?;
    let gain = g.gain(&name("gain_i"), channels, Init::Fill(1.0));
    let ir = g.combine(Op::Mul, ir, gain, &name("ir"))?;
    let more = g.combine(Op::Sub, rgb, ir, &name("more"))?;
    let more = g.map_elements(Op::Relu, more, &name("relu"));
    Ok(vec![g.combine(Op::Add, ir, more, &name("fused"))?])
}
