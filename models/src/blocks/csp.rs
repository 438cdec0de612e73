//! Cross-stage partial blocks: a part of the channels goes through the inner blocks, the rest goes past them
//! (CSPNet, arXiv 1911.11929). C2f and C3k2 keep every intermediate map; C3k is the three-convolution form.

use super::Layer;
use super::conv::Conv;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Op, ValueId};

/// Two convolutions, and their input added where the channels allow it.
#[derive(Debug, Clone, Copy)]
pub struct Bottleneck {
    out: usize,
    hidden: usize,
    shortcut: bool,
}

impl Bottleneck {
    /// Width between the two 3x3 convolutions is `hidden`.
    pub fn new(out: usize, hidden: usize, shortcut: bool) -> Self {
        Bottleneck { out, hidden, shortcut }
    }

    /// Emits `{path}.cv1`, `{path}.cv2`.
    pub fn emit(self, g: &mut Builder, path: &str, x: ValueId) -> Emitted {
        let y = Conv::new(self.hidden, 3).emit(g, &format!("{path}.cv1"), x)?;
        let y = Conv::new(self.out, 3).emit(g, &format!("{path}.cv2"), y)?;
        if self.shortcut && g.channels(x) == self.out {
            return g.combine(Op::Add, x, y, &format!("{path}.add"));
        }
        Ok(y)
    }
}

/// C3 with `n` bottlenecks: cv3 over [m(cv1 x), cv2 x].
pub fn c3k(g: &mut Builder, path: &str, x: ValueId, out: usize, n: usize, shortcut: bool) -> Emitted {
    let hidden = out / 2;
    let mut y = Conv::new(hidden, 1).emit(g, &format!("{path}.cv1"), x)?;
    for i in 0..n {
        y = Bottleneck::new(hidden, hidden, shortcut).emit(g, &format!("{path}.m.{i}"), y)?;
    }
    let past = Conv::new(hidden, 1).emit(g, &format!("{path}.cv2"), x)?;
    let joined = g.concat(&[y, past], 0, &format!("{path}.concat"))?;
    Conv::new(out, 1).emit(g, &format!("{path}.cv3"), joined)
}

/// The frame of C2f and C3k2: cv1 to two halves of `hidden`, `n` inner blocks in a row on the second, and cv2
/// over both halves and every inner block's output.
pub fn c2f(
    g: &mut Builder,
    path: &str,
    x: ValueId,
    (out, hidden, n): (usize, usize, usize),
    mut inner: impl FnMut(&mut Builder, &str, ValueId) -> Emitted,
) -> Emitted {
    let y = Conv::new(2 * hidden, 1).emit(g, &format!("{path}.cv1"), x)?;
    let mut maps = g.split(y, 0, &[hidden, hidden], &format!("{path}.split"))?;
    for i in 0..n {
        maps.push(inner(g, &format!("{path}.m.{i}"), maps[i + 1])?);
    }
    let joined = g.concat(&maps, 0, &format!("{path}.concat"))?;
    Conv::new(out, 1).emit(g, &format!("{path}.cv2"), joined)
}

/// `C2f, [channels, shortcut]`.
pub fn c2f_layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(2)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    let shortcut = l.args.flag_or(1, "shortcut", false)?;
    let (x, hidden) = (l.input()?, out / 2);
    let bottleneck = Bottleneck::new(hidden, hidden, shortcut);
    Ok(vec![c2f(l.graph, &l.path, x, (out, hidden, l.repeats), |g, path, x| bottleneck.emit(g, path, x))?])
}

/// `C3k2, [channels, c3k, expansion]`. At scales m, l and x the inner block is C3k whatever the argument says.
pub fn c3k2_layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(3)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    let inner_c3k = l.args.flag_or(1, "c3k", false)? || matches!(l.scaling.name, "m" | "l" | "x");
    let hidden = (out as f64 * l.args.fraction_or(2, "expansion", 0.5)?) as usize;
    let x = l.input()?;
    let emitted = c2f(l.graph, &l.path, x, (out, hidden, l.repeats), |g, path, x| {
        if inner_c3k {
            c3k(g, path, x, hidden, 2, true)
        } else {
            Bottleneck::new(hidden, hidden / 2, true).emit(g, path, x)
        }
    })?;
    Ok(vec![emitted])
}
