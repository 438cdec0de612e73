//! The graph: what a network's code emits, as data.
//!
//! Shapes leave the batch out: a feature map is `[C, H, W]`, and every axis below counts from there. A reader
//! puts the batch in front, whatever its size, so one graph serves every batch. Constants and parameters have
//! no batch; they broadcast over it.

/// A shape without its batch dimension, e.g. `[C, H, W]`.
pub type Shape = Vec<usize>;

/// A value of the graph: an index into [`Graph::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub usize);

/// A parameter or buffer of the graph: an index into [`Graph::params`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// A two-dimensional convolution. Weight `[out, in / groups, kernel, kernel]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2d {
    /// Output channels.
    pub out: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Step in both directions.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
    /// Dilation of the kernel.
    pub dilation: usize,
    /// Channel groups; equal to the channels for a depthwise convolution.
    pub groups: usize,
}

/// A primitive operation. Two-operand operations broadcast as NumPy does.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A picture fed from outside; its name is in [`Graph::inputs`].
    Input,
    /// A learned tensor used as a value (a layer scale, say): the elements of the node's one parameter in the value's
    /// shape.
    Parameter,
    /// A fixed tensor, row-major, of the value's shape.
    Constant(Vec<f32>),
    /// Parameters: weight, then bias if there is one.
    Conv2d(Conv2d),
    /// A linear layer over the channels at every position, `y[r, ...] = sum_c w[first + r, c] x[c, ...] + b[first + r]`:
    /// a 1x1 convolution whose weight is stored as a matrix, of which it takes rows. Parameters: weight
    /// `[rows, channels]`, then bias if there is one.
    Linear {
        /// First of the rows taken; the output's channels say how many.
        first: usize,
    },
    /// Parameters: weight, bias, running mean, running variance. eps [`BN_EPS`], momentum [`BN_MOMENTUM`].
    BatchNorm2d,
    /// `x * sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Maximum over a square window; padding never wins.
    MaxPool2d {
        /// Side of the window.
        kernel: usize,
        /// Step in both directions.
        stride: usize,
        /// Padding on each side.
        padding: usize,
    },
    /// Each pixel becomes `scale` x `scale` pixels.
    UpsampleNearest {
        /// Integer factor in both directions.
        scale: usize,
    },
    /// Joins along one axis.
    Concat {
        /// Axis without the batch.
        axis: usize,
    },
    /// Cuts along one axis; one output a size.
    Split {
        /// Axis without the batch.
        axis: usize,
        /// Sizes, which add up to the input's.
        sizes: Vec<usize>,
    },
    /// A part along one axis, as long as the output's.
    Slice {
        /// Axis without the batch.
        axis: usize,
        /// Where the part begins.
        start: usize,
    },
    /// Zeros around a feature map.
    Pad {
        /// Rows and columns on each side.
        padding: usize,
    },
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a * b.
    Mul,
    /// x times a fixed number.
    Scale(f32),
    /// Matrix product over the last two axes.
    MatMul,
    /// Softmax along one axis.
    Softmax {
        /// Axis without the batch.
        axis: usize,
    },
    /// Scaled dot-product attention (arXiv 1706.03762), `softmax(scale * q k) v`: q `[..., T, d]`, k `[..., d, T]`,
    /// v `[..., T, e]`, the axes in front (heads, areas) equal; gives `[..., T, e]`.
    Attention {
        /// Multiplies the products before the softmax.
        scale: f32,
    },
    /// Same elements, the output value's shape.
    Reshape,
    /// Axes in a new order.
    Transpose {
        /// Output axis i is input axis `perm[i]`; without the batch, which stays in front.
        perm: Vec<usize>,
    },
    /// Mean over axes, which stay as ones.
    Mean {
        /// Axes without the batch.
        axes: Vec<usize>,
    },
}

/// Epsilon of every batch norm.
pub const BN_EPS: f64 = 1e-3;
/// Momentum of every batch norm's running statistics, in PyTorch's sense.
pub const BN_MOMENTUM: f64 = 0.03;

/// One operation with what it reads and writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// Values read, in the order the operation defines.
    pub inputs: Vec<ValueId>,
    /// Values written; more than one only for [`Op::Split`].
    pub outputs: Vec<ValueId>,
    /// Parameters and buffers used.
    pub params: Vec<ParamId>,
    /// A readable name, unique in the graph: the parameter path or the block's place.
    pub name: String,
    /// The configuration's layer that emitted it.
    pub layer: usize,
}

/// How a parameter starts, before any training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform in ±1/sqrt(fan_in): what PyTorch gives a convolution's weight and bias.
    Uniform {
        /// Inputs that meet in one output.
        fan_in: usize,
    },
    /// All equal to this.
    Fill(f32),
    /// 0, 1, 2, ...
    Arange,
}

/// What a parameter is to an optimizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Weight of a convolution: weight decay applies.
    Weight,
    /// A bias: no decay, its own warm-up.
    Bias,
    /// Weight of a batch norm or a layer scale: no decay.
    NormWeight,
    /// Counted as a parameter, never trained (the bins of the distribution focal loss).
    Frozen,
    /// Running statistics: not a parameter.
    Buffer,
}

/// A named tensor of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The name in checkpoints, e.g. `model.12.cv1.conv.weight`.
    pub name: String,
    /// Its shape.
    pub shape: Shape,
    /// What it is to an optimizer.
    pub role: Role,
    /// How it starts.
    pub init: Init,
}

/// The detection head's raw maps, where the training graph ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// One map a scale, `[4 * reg_max + classes, H, W]`: box bins (left, top, right, bottom), then class logits.
    pub maps: Vec<ValueId>,
    /// Pixels of the input a cell of each map stands for.
    pub strides: Vec<usize>,
    /// Bins of the distribution over each side's distance.
    pub reg_max: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Head {
    /// Cells of all maps together.
    pub fn anchors(&self, graph: &Graph) -> usize {
        self.maps.iter().map(|&map| graph.shape(map)[1] * graph.shape(map)[2]).sum()
    }
}

/// A network at one input size. Nodes are in execution order.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// Shape of every value, without the batch.
    pub values: Vec<Shape>,
    /// Operations; each reads only values written before it.
    pub nodes: Vec<Node>,
    /// Parameters and buffers, each once, in order of first use.
    pub params: Vec<Param>,
    /// Inputs by name: `rgb` and `ir`, or `images`; each `[C, H, W]` in 0..1.
    pub inputs: Vec<(String, ValueId)>,
    /// What the graph computes: the head's maps, or after [`crate::decode::append`] the one `output0`.
    pub outputs: Vec<ValueId>,
    /// The detection head.
    pub head: Head,
    /// A line a layer of the configuration, for the table of `yf info`.
    pub layers: Vec<LayerSummary>,
}

/// A layer of the configuration as it came out.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerSummary {
    /// Index in the configuration.
    pub index: usize,
    /// Layers it reads, as absolute indices; empty for the network's input.
    pub from: Vec<usize>,
    /// Name of the block.
    pub block: String,
    /// Shapes read.
    pub inputs: Vec<Shape>,
    /// Shapes written.
    pub outputs: Vec<Shape>,
    /// Parameters, the frozen ones included.
    pub parameters: usize,
}

impl Graph {
    /// Shape of a value, without the batch.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        &self.values[value.0]
    }

    /// A parameter by its handle.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// Height and width of the input pictures.
    pub fn input_size(&self) -> (usize, usize) {
        let shape = self.shape(self.inputs[0].1);
        (shape[1], shape[2])
    }

    /// Number of parameters: batch-norm weights and the frozen ones included, buffers not.
    pub fn parameter_count(&self) -> usize {
        self.params.iter().filter(|p| p.role != Role::Buffer).map(|p| p.shape.iter().product::<usize>()).sum()
    }
}
