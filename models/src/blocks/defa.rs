//! Dynamic enhanced fusion attention: infrared is read through the eyes of RGB (cross attention), filtered with a kernel
//! that depends on the scene, and added where a gate opens.

use super::Layer;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Conv2d, Op, ValueId};

/// Heads of the cross attention.
const HEADS: usize = 8;
/// Side of the dynamic kernel.
const KERNEL: usize = 5;

/// A convolution with a bias, stride 1 and "same" padding.
fn conv(g: &mut Builder, path: &str, x: ValueId, out: usize, kernel: usize) -> Emitted {
    let conv = Conv2d { out, kernel, stride: 1, padding: kernel / 2, dilation: 1, groups: 1 };
    Ok(g.conv2d(path, x, conv, true)?.0)
}

/// The scene's 5x5 kernel as a matrix `[columns, rows]`; its elements are positive and add up to 1.
fn dynamic_kernel(g: &mut Builder, path: &str, sum: ValueId) -> Emitted {
    let channels = g.channels(sum);
    let x = g.mean(sum, &[1, 2], &format!("{path}.0"));
    let x = conv(g, &format!("{path}.1"), x, 4 * channels, 1)?;
    let x = g.map_elements(Op::Relu, x, &format!("{path}.2"));
    let x = conv(g, &format!("{path}.3"), x, KERNEL * KERNEL, 1)?;
    let x = g.map_elements(Op::Softmax { axis: 0 }, x, &format!("{path}.4"));
    let x = g.reshape(x, vec![KERNEL, KERNEL], &format!("{path}.kernel"))?;
    Ok(g.transpose(x, &[1, 0], &format!("{path}.columns")))
}

/// Multi-head attention over the cells: queries from RGB, keys and values from infrared (arXiv 1706.03762). The
/// projections lie in one matrix, as PyTorch keeps them.
fn cross_attention(g: &mut Builder, path: &str, rgb: ValueId, ir: ValueId) -> Emitted {
    let [channels, height, width] = g.map(rgb, "DEFA")?;
    if channels % HEADS != 0 {
        return Err(g.refuse("DEFA", rgb, format!("its channels do not divide into {HEADS} heads")));
    }
    let (dim, cells, all) = (channels / HEADS, height * width, 3 * channels);
    let name = |part: &str| format!("{path}.{part}");
    let (weight, bias) = (name("in_proj_weight"), name("in_proj_bias"));
    let projection = (weight.as_str(), Some(bias.as_str()));

    let q = g.linear(projection, rgb, 0..channels, all, &name("q"))?;
    let q = g.reshape(q, vec![HEADS, dim, cells], &name("q.heads"))?;
    let q = g.transpose(q, &[0, 2, 1], &name("query"));
    let kv = g.linear(projection, ir, channels..all, all, &name("kv"))?;
    let kv = g.reshape(kv, vec![2 * HEADS, dim, cells], &name("kv.heads"))?;
    let parts = g.split(kv, 0, &[HEADS, HEADS], &name("kv.split"))?;
    let v = g.transpose(parts[1], &[0, 2, 1], &name("value"));

    let mixed = g.attention([q, parts[0], v], 1.0 / (dim as f32).sqrt(), &name("attend"))?;
    let mixed = g.transpose(mixed, &[0, 2, 1], &name("mix"));
    let mixed = g.reshape(mixed, vec![channels, height, width], &name("map"))?;
    let (weight, bias) = (name("out_proj.weight"), name("out_proj.bias"));
    g.linear((&weight, Some(&bias)), mixed, 0..channels, channels, &name("out_proj"))
}

/// The map filtered with one kernel for all channels. The five vertical shifts of a channel times the kernel's matrix
/// give its five vertical filters; these, shifted horizontally, are summed.
fn filter(g: &mut Builder, path: &str, x: ValueId, kernel: ValueId) -> Emitted {
    let [channels, height, width] = g.map(x, "DEFA")?;
    let wide = width + KERNEL - 1;
    let padded = g.pad(x, KERNEL / 2, &format!("{path}.pad"))?;
    let mut shifts = Vec::new();
    for row in 0..KERNEL {
        let shift = g.slice(padded, 1, row..row + height, &format!("{path}.row.{row}"))?;
        shifts.push(g.reshape(shift, vec![1, channels * height * wide], &format!("{path}.flat.{row}"))?);
    }
    let shifts = g.concat(&shifts, 0, &format!("{path}.rows"))?;
    let filtered = g.matmul(kernel, shifts, &format!("{path}.filters"))?;
    let filtered = g.reshape(filtered, vec![KERNEL, channels, height, wide], &format!("{path}.maps"))?;
    let columns = g.split(filtered, 0, &[1; KERNEL], &format!("{path}.columns"))?;
    let mut sum = None;
    for (column, &map) in columns.iter().enumerate() {
        let shift = g.slice(map, 3, column..column + width, &format!("{path}.column.{column}"))?;
        sum = Some(match sum {
            None => shift,
            Some(before) => g.combine(Op::Add, before, shift, &format!("{path}.sum.{column}"))?,
        });
    }
    let sum = sum.ok_or_else(|| ShapeError::Arguments("the kernel is empty".to_owned()))?;
    g.reshape(sum, vec![channels, height, width], &format!("{path}.filtered"))
}

/// How far the filtered map enters, `[1, H, W]`: the gates of both cameras together, 0..2.
fn gate(g: &mut Builder, path: &str, maps: [ValueId; 2], hidden: usize) -> Emitted {
    let joined = g.concat(&maps, 0, &format!("{path}.joined"))?;
    let x = conv(g, &format!("{path}.0"), joined, hidden, 3)?;
    let x = g.map_elements(Op::Relu, x, &format!("{path}.1"));
    let x = conv(g, &format!("{path}.2"), x, 2, 3)?;
    let x = g.map_elements(Op::Sigmoid, x, &format!("{path}.3"));
    let gates = g.split(x, 0, &[1, 1], &format!("{path}.gates"))?;
    g.combine(Op::Add, gates[0], gates[1], &format!("{path}.both"))
}

/// `DEFA, [channels, reduction]` over the RGB and the infrared map, whose channels it keeps; the gate's hidden width is
/// the channels over `reduction`, at least 1.
///
/// Each camera's gate weighs the same filtered map, so the gates are added before the product: one product for two.
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(2)?;
    let channels = l.scaling.channels(l.args.size(0, "channels")?);
    let reduction = l.args.size(1, "reduction of the gate")?;
    let ([rgb, ir], path) = (l.pair(channels)?, &l.path);
    let g = &mut *l.graph;
    let name = |part: &str| format!("{path}.{part}");

    let sum = g.combine(Op::Add, rgb, ir, &name("sum"))?;
    let kernel = dynamic_kernel(g, &name("dynamic_conv"), sum)?;
    let seen = cross_attention(g, &name("cross_attn"), rgb, ir)?;
    let filtered = filter(g, &name("filter"), seen, kernel)?;
    let gate = gate(g, &name("gate"), [rgb, ir], (channels / reduction).max(1))?;
    let gated = g.combine(Op::Mul, filtered, gate, &name("gated"))?;
    let fused = g.combine(Op::Add, gated, sum, &name("fused"))?;
    let y = conv(g, &name("enhance.0"), fused, channels, 3)?;
    let y = g.batch_norm(&name("enhance.1"), y);
    Ok(vec![g.map_elements(Op::Silu, y, &name("enhance.2"))])
}
