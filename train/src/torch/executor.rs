//! libtorch executes the graph: parameters are looked up once, values are dropped after their last use.

use yf_models::graph::{BN_EPS, BN_MOMENTUM, Graph, Op, Shape, ValueId};

use super::group::{Group, sync_batch_norm};
use super::parameters::Parameters;
use super::{Device, Kind, Tensor, TorchError};

/// Whether batch norms use the batch's statistics (and update the running ones) or the running ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics.
    Train,
    /// Running statistics.
    Eval,
}

/// One operation with its tensors at hand.
struct Step {
    op: Op,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    params: Vec<Tensor>,
    /// Output shapes without the batch.
    shapes: Vec<Shape>,
    /// Values nobody reads after this step.
    dropped: Vec<usize>,
}

/// A graph, bound to parameters, for any batch.
pub struct Executor {
    steps: Vec<Step>,
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    values: usize,
    /// Whose pictures batch norms take their statistics from, besides this process's own.
    group: Option<Group>,
}

impl Executor {
    /// Binds a graph to parameters; `outputs` are the values that [`Executor::forward`] returns.
    pub fn new(graph: &Graph, parameters: &Parameters, outputs: &[ValueId]) -> Self {
        let mut steps: Vec<Step> = graph
            .nodes
            .iter()
            .filter(|node| node.op != Op::Input)
            .map(|node| Step {
                op: node.op.clone(),
                inputs: node.inputs.iter().map(|v| v.0).collect(),
                outputs: node.outputs.iter().map(|v| v.0).collect(),
                params: tensors_of(&node.op, graph.shape(node.outputs[0]), &node.params, parameters),
                shapes: node.outputs.iter().map(|&v| graph.shape(v).to_vec()).collect(),
                dropped: vec![],
            })
            .collect();
        let outputs: Vec<usize> = outputs.iter().map(|v| v.0).collect();
        plan_drops(&mut steps, &outputs, graph.values.len());
        let inputs = graph.inputs.iter().map(|(_, v)| v.0).collect();
        Executor { steps, inputs, outputs, values: graph.values.len(), group: None }
    }

    /// Batch norms take the statistics of all ranks' pictures from now on.
    pub fn synchronise(&mut self, group: &Group) {
        self.group = Some(group.clone());
    }

    /// Runs the graph. `inputs` in the graph's order, each `[N, C, H, W]` on the parameters' device.
    ///
    /// # Errors
    /// What libtorch reports, with the operation.
    pub fn forward(&self, inputs: &[Tensor], mode: Mode) -> Result<Vec<Tensor>, TorchError> {
        let mut values: Vec<Option<Tensor>> = (0..self.values).map(|_| None).collect();
        for (&at, input) in self.inputs.iter().zip(inputs) {
            values[at] = Some(input.shallow_clone());
        }
        for step in &self.steps {
            let outputs = step.run(&values, mode, self.group.as_ref())?;
            for (&at, output) in step.outputs.iter().zip(outputs) {
                values[at] = Some(output);
            }
            for &at in &step.dropped {
                values[at] = None;
            }
        }
        self.outputs.iter().map(|&at| taken(&values, at)).collect()
    }
}

fn taken(values: &[Option<Tensor>], at: usize) -> Result<Tensor, TorchError> {
    let value = values.get(at).and_then(Option::as_ref);
    value
        .map(Tensor::shallow_clone)
        .ok_or_else(|| TorchError(format!("value {at} of the graph was not computed")))
}

/// Parameters of a node; a constant's tensor stands in the same place.
fn tensors_of(
    op: &Op,
    shape: &[usize],
    params: &[yf_models::graph::ParamId],
    parameters: &Parameters,
) -> Vec<Tensor> {
    if let Op::Constant(data) = op {
        let device = parameters.tensors.first().map_or(Device::Cpu, Tensor::device);
        let with_batch: Vec<i64> = [1].into_iter().chain(shape.iter().map(|&n| n as i64)).collect();
        return vec![Tensor::from_slice(data).reshape(with_batch).to_device(device)];
    }
    params.iter().map(|id| parameters.tensors[id.0].shallow_clone()).collect()
}

fn plan_drops(steps: &mut [Step], outputs: &[usize], values: usize) {
    let mut last = vec![None; values];
    for (at, step) in steps.iter().enumerate() {
        for &value in step.inputs.iter().chain(&step.outputs) {
            last[value] = Some(at);
        }
    }
    for (value, at) in last.into_iter().enumerate() {
        if let Some(at) = at.filter(|_| !outputs.contains(&value)) {
            steps[at].dropped.push(value);
        }
    }
}

impl Step {
    fn run(
        &self,
        values: &[Option<Tensor>],
        mode: Mode,
        group: Option<&Group>,
    ) -> Result<Vec<Tensor>, TorchError> {
        let input = |i: usize| taken(values, self.inputs[i]);
        let param = |i: usize| self.params.get(i);
        let axis = |axis: usize| axis as i64 + 1;
        let one = match &self.op {
            Op::Input => return Ok(vec![]),
            Op::Parameter => self.params[0].f_reshape(self.with_batch(1))?,
            Op::Constant(_) => self.params[0].shallow_clone(),
            Op::Conv2d(conv) => {
                let (stride, padding, dilation) =
                    (conv.stride as i64, conv.padding as i64, conv.dilation as i64);
                input(0)?.f_conv2d(
                    &self.params[0],
                    param(1),
                    [stride, stride],
                    [padding, padding],
                    [dilation, dilation],
                    conv.groups as i64,
                )?
            }
            &Op::Linear { first } => self.linear(&input(0)?, first)?,
            &Op::Attention { scale } => attention(&input(0)?, &input(1)?, &input(2)?, scale)?,
            Op::BatchNorm2d => match (group, &self.params[..]) {
                (Some(group), [weight, bias, mean, var]) if mode == Mode::Train => {
                    sync_batch_norm(group, &input(0)?, [weight, bias, mean, var], BN_EPS, BN_MOMENTUM)?
                }
                _ => input(0)?.f_batch_norm(
                    param(0),
                    param(1),
                    param(2),
                    param(3),
                    mode == Mode::Train,
                    BN_MOMENTUM,
                    BN_EPS,
                    true,
                )?,
            },
            Op::Silu => input(0)?.f_silu()?,
            Op::Relu => input(0)?.f_relu()?,
            Op::Sigmoid => input(0)?.f_sigmoid()?,
            &Op::MaxPool2d { kernel, stride, padding } => {
                let square = |n: usize| [n as i64, n as i64];
                input(0)?.f_max_pool2d(square(kernel), square(stride), square(padding), [1, 1], false)?
            }
            Op::UpsampleNearest { .. } => {
                let size = [self.shapes[0][1] as i64, self.shapes[0][2] as i64];
                input(0)?.f_upsample_nearest2d(size, None, None)?
            }
            Op::Concat { axis: at } => {
                let parts = (0..self.inputs.len()).map(input).collect::<Result<Vec<_>, _>>()?;
                Tensor::f_cat(&parts, axis(*at))?
            }
            Op::Split { axis: at, sizes } => {
                let sizes: Vec<i64> = sizes.iter().map(|&n| n as i64).collect();
                return Ok(input(0)?.f_split_with_sizes(sizes, axis(*at))?);
            }
            &Op::Slice { axis: at, start } => {
                input(0)?.f_narrow(axis(at), start as i64, self.shapes[0][at] as i64)?
            }
            &Op::Pad { padding } => input(0)?.f_constant_pad_nd([padding as i64; 4])?,
            Op::Add => input(0)?.f_add(&input(1)?)?,
            Op::Sub => input(0)?.f_sub(&input(1)?)?,
            Op::Mul => input(0)?.f_mul(&input(1)?)?,
            Op::Scale(by) => input(0)?.f_mul_scalar(f64::from(*by))?,
            Op::MatMul => input(0)?.f_matmul(&input(1)?)?,
            Op::Softmax { axis: at } => input(0)?.f_softmax(axis(*at), None::<Kind>)?,
            Op::Reshape => {
                let x = input(0)?;
                x.f_reshape(self.with_batch(x.size()[0]))?
            }
            Op::Transpose { perm } => {
                let perm: Vec<i64> = [0].into_iter().chain(perm.iter().map(|&a| axis(a))).collect();
                input(0)?.f_permute(perm)?
            }
            Op::Mean { axes } => {
                let axes: Vec<i64> = axes.iter().map(|&a| axis(a)).collect();
                input(0)?.f_mean_dim(&axes[..], true, None::<Kind>)?
            }
        };
        Ok(vec![one])
    }

    /// The output's shape behind a batch.
    fn with_batch(&self, batch: i64) -> Vec<i64> {
        [batch].into_iter().chain(self.shapes[0].iter().map(|&n| n as i64)).collect()
    }

    /// Rows `first..` of the matrix, as many as the output has channels, as a 1x1 convolution.
    fn linear(&self, x: &Tensor, first: usize) -> Result<Tensor, TorchError> {
        let rows = |t: &Tensor| t.f_narrow(0, first as i64, self.shapes[0][0] as i64);
        let weight = rows(&self.params[0])?.f_unsqueeze(-1)?.f_unsqueeze(-1)?;
        let bias = self.params.get(1).map(rows).transpose()?;
        Ok(x.f_conv2d(&weight, bias.as_ref(), [1, 1], [0, 0], [1, 1], 1)?)
    }
}

/// libtorch's fused attention, which never holds all products: the axes in front become one.
fn attention(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32) -> Result<Tensor, TorchError> {
    let flat = |t: &Tensor| t.f_flatten(1, -3);
    let mixed = Tensor::f_scaled_dot_product_attention(
        &flat(q)?,
        &flat(k)?.f_transpose(-2, -1)?,
        &flat(v)?,
        None::<&Tensor>,
        0.0,
        false,
        f64::from(scale),
        false,
    )?;
    let mut shape = q.size();
    if let (Some(last), Some(width)) = (shape.last_mut(), v.size().last()) {
        *last = *width;
    }
    Ok(mixed.f_reshape(shape)?)
}
