//! Blocks: what a layer of a configuration may name.
//!
//! A block reads the arguments of its layer and emits operations. Each is written once, beside the paper it
//! comes from, and is added to [`ALL`]; nothing else needs to know of it.

mod area;
mod args;
mod attention;
mod bifocus;
mod conv;
mod cross;
mod csp;
mod dea;
mod defa;
pub(crate) mod detect;
mod gate;
mod plumbing;
mod pool;

pub use args::{Arg, Args};
pub use detect::REG_MAX;

use crate::builder::Builder;
use crate::error::ShapeError;
use crate::graph::ValueId;

/// The scale's say in a layer: `max_channels`, width and the scale's name.
#[derive(Debug, Clone, Copy)]
pub struct Scaling<'a> {
    /// Name of the scale: n, s, m, l or x.
    pub name: &'a str,
    /// Width multiple.
    pub width: f64,
    /// Channels are cut off at this before the width applies.
    pub max_channels: usize,
}

impl Scaling<'_> {
    /// Channels of a layer: `round_up_to_8(min(c, max_channels) * width)`.
    pub fn channels(&self, configured: usize) -> usize {
        let wanted = configured.min(self.max_channels) as f64 * self.width;
        (wanted / 8.0).ceil() as usize * 8
    }
}

/// What a block is given.
pub struct Layer<'a> {
    /// The graph that grows.
    pub graph: &'a mut Builder,
    /// Path of its parameters, e.g. `model.12`.
    pub path: String,
    /// Outputs of the layers it reads, in the order of `from`.
    pub inputs: Vec<ValueId>,
    /// Its arguments.
    pub args: Args<'a>,
    /// Repeats after the depth multiple, at least 1.
    pub repeats: usize,
    /// The scale.
    pub scaling: Scaling<'a>,
    /// Number of classes.
    pub classes: usize,
    /// Whether the head's class branch is depthwise separable (networks of the v11 family).
    pub depthwise_head: bool,
}

impl Layer<'_> {
    /// The one input of a block that reads one layer.
    fn input(&self) -> Result<ValueId, ShapeError> {
        match self.inputs[..] {
            [x] => Ok(x),
            _ => Err(ShapeError::Arguments(format!("it reads one layer, not {}", self.inputs.len()))),
        }
    }
}

impl Layer<'_> {
    /// The RGB and the infrared map of a block that fuses two of `channels` channels.
    fn pair(&self, channels: usize) -> Result<[ValueId; 2], ShapeError> {
        let [rgb, ir] = self.inputs[..] else {
            return Err(ShapeError::Arguments(format!("it reads two layers, not {}", self.inputs.len())));
        };
        let (left, right) = (self.graph.shape(rgb).to_vec(), self.graph.shape(ir).to_vec());
        if left != right {
            return Err(ShapeError::Operands { op: "a fusion", left, right });
        }
        match self.graph.map(rgb, "a fusion")? {
            [found, _, _] if found == channels => Ok([rgb, ir]),
            _ => Err(self.graph.refuse(
                "a fusion",
                rgb,
                format!("it keeps the channels, so they must be {channels}"),
            )),
        }
    }
}

/// A block's emission: its outputs, one for nearly all.
pub type Emit = fn(&mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError>;

/// A block by its name in configurations.
pub struct Block {
    /// The name.
    pub name: &'static str,
    /// Whether repeats are the block's own business; if not, it is repeated in sequence as `path.0`, `path.1`, ...
    pub takes_repeats: bool,
    /// Whether it makes the head's class branch depthwise separable.
    pub depthwise_head: bool,
    /// Whether it begins by giving the maps that it is given, joined or blended: what reads it can be started as if it
    /// read these.
    pub begins_plain: bool,
    /// What it emits.
    pub emit: Emit,
}

const fn plain(name: &'static str, emit: Emit) -> Block {
    Block { name, takes_repeats: false, depthwise_head: false, begins_plain: false, emit }
}

/// Every block.
pub const ALL: &[Block] = &[
    plain("IdentityInput", plumbing::identity_input),
    plain("ModalitySelector", plumbing::modality_selector),
    plain("Concat", plumbing::concat),
    plain("Mean", plumbing::mean),
    plain("nn.Upsample", plumbing::upsample),
    plain("Conv", conv::layer),
    Block { takes_repeats: true, ..plain("C2f", csp::c2f_layer) },
    Block { takes_repeats: true, depthwise_head: true, ..plain("C3k2", csp::c3k2_layer) },
    plain("SPPF", pool::sppf_layer),
    Block { takes_repeats: true, ..plain("C2PSA", attention::c2psa_layer) },
    Block { takes_repeats: true, depthwise_head: true, ..plain("A2C2f", area::a2c2f_layer) },
    plain("C2f_BiFocus", bifocus::c2f_bifocus_layer),
    plain("DEA", dea::layer),
    plain("DEFA", defa::layer),
    Block { begins_plain: true, ..plain("Gate", gate::layer) },
    Block { begins_plain: true, ..plain("Cross", cross::layer) },
    plain("Detect", detect::layer),
];

/// The block of that name.
pub fn find(name: &str) -> Option<&'static Block> {
    ALL.iter().find(|b| b.name == name)
}

/// All names, for messages.
pub fn names() -> String {
    ALL.iter().map(|b| b.name).collect::<Vec<_>>().join(", ")
}
