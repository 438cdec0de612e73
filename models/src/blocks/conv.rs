//! Convolution, batch norm, SiLU: the brick of every other block.

use super::Layer;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Conv2d, Op, ValueId};

/// A convolution without bias, its batch norm, and (unless told otherwise) SiLU.
#[derive(Debug, Clone, Copy)]
pub struct Conv {
    out: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    activated: bool,
}

impl Conv {
    /// `kernel` x `kernel`, stride 1, "same" padding, SiLU.
    pub fn new(out: usize, kernel: usize) -> Self {
        Conv { out, kernel, stride: 1, groups: 1, activated: true }
    }

    /// With a stride.
    pub fn stride(self, stride: usize) -> Self {
        Conv { stride, ..self }
    }

    /// With channel groups.
    pub fn groups(self, groups: usize) -> Self {
        Conv { groups, ..self }
    }

    /// Without the activation.
    pub fn linear(self) -> Self {
        Conv { activated: false, ..self }
    }

    /// Emits `{path}.conv`, `{path}.bn` and the activation.
    pub fn emit(self, g: &mut Builder, path: &str, x: ValueId) -> Emitted {
        let Conv { out, kernel, stride, groups, activated } = self;
        let conv = Conv2d { out, kernel, stride, padding: kernel / 2, dilation: 1, groups };
        let (x, _) = g.conv2d(&format!("{path}.conv"), x, conv, false)?;
        let x = g.batch_norm(&format!("{path}.bn"), x);
        Ok(if activated { g.map_elements(Op::Silu, x, &format!("{path}.act")) } else { x })
    }
}

/// `Conv, [channels, kernel, stride, padding, groups]`; the padding is always "same".
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(5)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    let kernel = l.args.size_or(1, "kernel", 1)?.max(1);
    let stride = l.args.size_or(2, "stride", 1)?.max(1);
    if l.args.size_or(3, "padding", kernel / 2)? != kernel / 2 {
        return Err(ShapeError::Arguments(format!("argument 4 (padding) must be None or {}", kernel / 2)));
    }
    let groups = l.args.size_or(4, "groups", 1)?;
    let x = l.input()?;
    Ok(vec![Conv::new(out, kernel).stride(stride).groups(groups).emit(l.graph, &l.path, x)?])
}
