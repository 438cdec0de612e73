//! Dual enhancement across modalities (DEYOLO, arXiv 2412.04931): what one camera sees weighs the other's map, first by
//! channel (DECA), then by position (DEPA).

use super::Layer;
use super::conv::Conv;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Conv2d, Op, ValueId};

/// Channels over the width of the shared two-layer network that weighs them.
const REDUCTION: usize = 16;

/// Kernels, equal to their strides, of the first two convolutions that take a map to one vector.
const STEPS: [usize; 2] = [5, 4];

/// A value for either camera: RGB, infrared.
type Pair = [ValueId; 2];

/// How much each channel of either map says, `[C, 1, 1]`, 0..1: one network for both.
fn channel_weights(g: &mut Builder, path: &str, maps: Pair) -> Result<Pair, ShapeError> {
    let channels = g.channels(maps[0]);
    let means = [0, 1].map(|m| g.mean(maps[m], &[1, 2], &format!("{path}.mean.{m}")));
    let both = g.concat(&means, 1, &format!("{path}.means"))?;
    let hidden = (channels / REDUCTION).max(1);
    let fc = |layer: usize| format!("{path}.fc.{layer}");
    let x = g.linear((&format!("{}.weight", fc(0)), None), both, 0..hidden, hidden, &fc(0))?;
    let x = g.map_elements(Op::Relu, x, &fc(1));
    let x = g.linear((&format!("{}.weight", fc(2)), None), x, 0..channels, channels, &fc(2))?;
    let x = g.map_elements(Op::Sigmoid, x, &fc(3));
    let weights = g.split(x, 1, &[1, 1], &format!("{path}.weights"))?;
    Ok([weights[0], weights[1]])
}

/// A map of any size as `side` x `side` cells, each the mean of the area it covers: the identity where the size is right.
fn resample(g: &mut Builder, path: &str, x: ValueId, side: usize) -> Emitted {
    let [_, height, width] = g.map(x, "DEA")?;
    let along_last = |g: &mut Builder, x: ValueId, size: usize, name: &str| -> Emitted {
        if size == side {
            return Ok(x);
        }
        let shares = g.constant(&format!("{path}.{name}.shares"), vec![size, side], shares(size, side));
        g.matmul(x, shares, &format!("{path}.{name}"))
    };
    let x = along_last(g, x, width, "columns")?;
    if height == side {
        return Ok(x);
    }
    let x = g.transpose(x, &[0, 2, 1], &format!("{path}.turn"));
    let x = along_last(g, x, height, "rows")?;
    Ok(g.transpose(x, &[0, 2, 1], &format!("{path}.turn_back")))
}

/// Share of each of `from` cells in each of `to` cells over the same length, `[from, to]`; columns add up to 1.
fn shares(from: usize, to: usize) -> Vec<f32> {
    let (long, wide) = (from as f64, to as f64);
    let mut shares = Vec::with_capacity(from * to);
    for i in 0..from {
        for j in 0..to {
            // In units of the whole length times from * to, so that bounds are whole numbers.
            let (i, j) = (i as f64, j as f64);
            let overlap = ((i + 1.0) * wide).min((j + 1.0) * long) - (i * wide).max(j * long);
            shares.push((overlap.max(0.0) / long) as f32);
        }
    }
    shares
}

/// Both maps as one vector `[C, 1, 1]`: joined, then depthwise convolutions whose stride is their kernel.
///
/// The kernels fit a map of `side` x `side` cells, which is what a 640x640 picture gives; there this is the reference.
/// At any other size the map is first resampled by area to `side` x `side`, so that the vector keeps its meaning, the
/// whole picture in one look with the weights as they were learned. (The reference crashes above that size, and below
/// it takes a plain mean and leaves those weights out.)
fn global_vector(g: &mut Builder, path: &str, maps: Pair, side: usize) -> Emitted {
    let channels = g.channels(maps[0]);
    let joined = g.concat(&maps, 0, &format!("{path}.joined"))?;
    let x = Conv::new(channels, 3).emit(g, &format!("{path}.compress"), joined)?;
    let mut x = resample(g, &format!("{path}.resample"), x, side)?;
    for (i, kernel) in [STEPS[0], STEPS[1], side / (STEPS[0] * STEPS[1])].into_iter().enumerate() {
        let conv =
            Conv2d { out: channels, kernel, stride: kernel, padding: 0, dilation: 1, groups: channels };
        let name = format!("{path}.conv_c{}", i + 1);
        x = g.conv2d(&format!("{name}.0"), x, conv, true)?.0;
        x = g.map_elements(Op::Silu, x, &format!("{name}.1"));
    }
    Ok(x)
}

/// Channel attention: each map times what the other camera's channels and the whole scene say of it.
fn deca(g: &mut Builder, path: &str, maps: Pair, side: usize) -> Result<Pair, ShapeError> {
    let weights = channel_weights(g, path, maps)?;
    let scene = global_vector(g, path, maps, side)?;
    let mut enhanced = maps;
    for m in 0..2 {
        let name = |part: &str| format!("{path}.{part}.{m}");
        let gate = g.combine(Op::Mul, weights[1 - m], scene, &name("cross"))?;
        let gate = g.map_elements(Op::Sigmoid, gate, &name("gate"));
        enhanced[m] = g.combine(Op::Mul, maps[m], gate, &name("enhanced"))?;
    }
    Ok(enhanced)
}

/// How much each position of either map says, `[1, H, W]`, 0..1, from fine and coarse looks at the map itself and one
/// look at both.
fn position_weights(g: &mut Builder, path: &str, maps: Pair) -> Result<Pair, ShapeError> {
    let mut own = maps;
    for (m, letter) in ["v", "i"].into_iter().enumerate() {
        let fine = Conv::new(1, 3).emit(g, &format!("{path}.cv_{letter}1"), maps[m])?;
        let coarse = Conv::new(1, 7).emit(g, &format!("{path}.cv_{letter}2"), maps[m])?;
        let both = g.concat(&[fine, coarse], 0, &format!("{path}.looks.{m}"))?;
        own[m] = Conv::new(1, 5).emit(g, &format!("{path}.conv{}", m + 1), both)?;
    }
    let rgb = Conv::new(1, 3).emit(g, &format!("{path}.compress1"), maps[0])?;
    let ir = Conv::new(1, 3).emit(g, &format!("{path}.compress2"), maps[1])?;
    let common = g.combine(Op::Add, rgb, ir, &format!("{path}.common"))?;
    let common = g.map_elements(Op::Sigmoid, common, &format!("{path}.common_gate"));
    for (m, own) in own.iter_mut().enumerate() {
        let sum = g.combine(Op::Add, common, *own, &format!("{path}.sum.{m}"))?;
        *own = g.map_elements(Op::Sigmoid, sum, &format!("{path}.gate.{m}"));
    }
    Ok(own)
}

/// `DEA, [channels, side]` over the RGB and the infrared map, whose channels it keeps; `side` is the side of the maps
/// that a 640x640 picture gives there, a multiple of 20.
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(2)?;
    let channels = l.scaling.channels(l.args.size(0, "channels")?);
    let side = l.args.size(1, "side of the map")?;
    let (maps, path) = (l.pair(channels)?, &l.path);
    if side % (STEPS[0] * STEPS[1]) != 0 {
        let why = format!("argument 2 (side of the map) must be a multiple of 20, got {side}");
        return Err(ShapeError::Arguments(why));
    }
    let g = &mut *l.graph;
    let enhanced = deca(g, &format!("{path}.deca"), maps, side)?;
    let weights = position_weights(g, &format!("{path}.depa"), enhanced)?;
    let rgb = g.combine(Op::Mul, enhanced[0], weights[1], &format!("{path}.rgb"))?;
    let ir = g.combine(Op::Mul, enhanced[1], weights[0], &format!("{path}.ir"))?;
    let sum = g.combine(Op::Add, rgb, ir, &format!("{path}.sum"))?;
    Ok(vec![g.map_elements(Op::Sigmoid, sum, &format!("{path}.act"))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_shared_whole() {
        assert_eq!(shares(4, 2), [0.5, 0.0, 0.5, 0.0, 0.0, 0.5, 0.0, 0.5]);
        assert_eq!(shares(2, 4), [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        for (from, to) in [(64, 80), (7, 20), (160, 80), (80, 80)] {
            let all = shares(from, to);
            for j in 0..to {
                let sum: f64 = (0..from).map(|i| f64::from(all[i * to + j])).sum();
                assert!((sum - 1.0).abs() < 1e-6, "{from} to {to}: {sum}");
            }
        }
    }
}
