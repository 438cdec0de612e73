//! Emission: blocks call these methods, shapes are inferred and checked, and a [`Graph`] grows.

use std::collections::HashMap;
use std::ops::Range;

use crate::error::ShapeError;
use crate::graph::{Conv2d, Graph, Head, Init, LayerSummary, Node, Op, Param, ParamId, Role, Shape, ValueId};

/// What an emitting method returns.
pub type Emitted = Result<ValueId, ShapeError>;

/// A graph under construction.
#[derive(Debug, Default)]
pub struct Builder {
    values: Vec<Shape>,
    nodes: Vec<Node>,
    params: Vec<Param>,
    by_name: HashMap<String, ParamId>,
    inputs: Vec<(String, ValueId)>,
    head: Option<Head>,
    layer: usize,
}

impl Builder {
    /// Goes on emitting into a graph that was built before, e.g. to append the decoding of boxes.
    pub fn resume(graph: Graph) -> (Self, Head, Vec<LayerSummary>) {
        let by_name = graph.params.iter().enumerate().map(|(i, p)| (p.name.clone(), ParamId(i))).collect();
        let builder = Builder {
            values: graph.values,
            nodes: graph.nodes,
            params: graph.params,
            by_name,
            inputs: graph.inputs,
            head: None,
            layer: graph.layers.len(),
        };
        (builder, graph.head, graph.layers)
    }

    /// The finished graph.
    pub fn finish(self, outputs: Vec<ValueId>, head: Head, layers: Vec<LayerSummary>) -> Graph {
        Graph {
            values: self.values,
            nodes: self.nodes,
            params: self.params,
            inputs: self.inputs,
            outputs,
            head,
            layers,
        }
    }

    /// Later nodes belong to this layer of the configuration.
    pub fn enter_layer(&mut self, layer: usize) {
        self.layer = layer;
    }

    /// Shape of a value, without the batch.
    pub fn shape(&self, value: ValueId) -> &[usize] {
        &self.values[value.0]
    }

    /// Channels of a feature map.
    pub fn channels(&self, value: ValueId) -> usize {
        self.shape(value).first().copied().unwrap_or(1)
    }

    /// Number of parameters so far, buffers left out.
    pub fn parameter_count(&self) -> usize {
        self.params.iter().filter(|p| p.role != Role::Buffer).map(|p| p.shape.iter().product::<usize>()).sum()
    }

    /// Size of the input pictures, once one is declared.
    pub fn input_size(&self) -> Option<(usize, usize)> {
        self.inputs.first().map(|&(_, v)| (self.shape(v)[1], self.shape(v)[2]))
    }

    /// Hands the detection head's maps over; the first head counts.
    pub fn set_head(&mut self, head: Head) {
        self.head.get_or_insert(head);
    }

    /// The head that a block declared.
    pub fn take_head(&mut self) -> Option<Head> {
        self.head.take()
    }

    /// An input picture `[channels, H, W]`.
    pub fn input(&mut self, name: &str, shape: Shape) -> ValueId {
        let value = self.push(Op::Input, vec![], vec![], shape, name);
        self.inputs.push((name.to_owned(), value));
        value
    }

    /// Declares a parameter, or finds the one of that name: blocks may share weights.
    pub fn param(&mut self, name: String, shape: Shape, role: Role, init: Init) -> ParamId {
        if let Some(&id) = self.by_name.get(&name) {
            return id;
        }
        let id = ParamId(self.params.len());
        self.by_name.insert(name.clone(), id);
        self.params.push(Param { name, shape, role, init });
        id
    }

    /// Changes how a declared parameter starts.
    pub fn reinit(&mut self, id: ParamId, init: Init) {
        self.params[id.0].init = init;
    }

    /// A fixed tensor.
    pub fn constant(&mut self, name: &str, shape: Shape, data: Vec<f32>) -> ValueId {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        self.push(Op::Constant(data), vec![], vec![], shape, name)
    }

    /// Convolution `{path}.weight`, and `{path}.bias` if `bias`; returns the value and its parameters.
    ///
    /// # Errors
    /// When `x` is no feature map, the groups do not divide the channels, or the kernel is larger than the
    /// padded map.
    pub fn conv2d(
        &mut self,
        path: &str,
        x: ValueId,
        conv: Conv2d,
        bias: bool,
    ) -> Result<(ValueId, Vec<ParamId>), ShapeError> {
        let [channels, height, width] = self.map(x, "a convolution")?;
        if conv.groups == 0
            || !channels.is_multiple_of(conv.groups)
            || !conv.out.is_multiple_of(conv.groups)
            || conv.out == 0
        {
            return Err(self.refuse(
                "a convolution",
                x,
                format!("{channels} channels to {} do not divide into {} groups", conv.out, conv.groups),
            ));
        }
        let (Some(out_height), Some(out_width)) = (conv.reach(height), conv.reach(width)) else {
            return Err(self.refuse(
                "a convolution",
                x,
                format!("its kernel of {} does not fit the padded map", conv.kernel),
            ));
        };
        let fan_in = channels / conv.groups * conv.kernel * conv.kernel;
        let init = Init::Uniform { fan_in };
        let weight_shape = vec![conv.out, channels / conv.groups, conv.kernel, conv.kernel];
        let mut params = vec![self.param(format!("{path}.weight"), weight_shape, Role::Weight, init)];
        if bias {
            params.push(self.param(format!("{path}.bias"), vec![conv.out], Role::Bias, init));
        }
        let shape = vec![conv.out, out_height, out_width];
        Ok((self.push(Op::Conv2d(conv), vec![x], params.clone(), shape, path), params))
    }

    /// A linear layer over the channels ([`Op::Linear`]) with rows `rows` of `{weight}`, which has `all` of them, and
    /// of `{bias}` if there is one.
    ///
    /// # Errors
    /// When `x` is no feature map or the rows are not there.
    pub fn linear(
        &mut self,
        (weight, bias): (&str, Option<&str>),
        x: ValueId,
        rows: Range<usize>,
        all: usize,
        name: &str,
    ) -> Emitted {
        let [channels, height, width] = self.map(x, "a linear layer")?;
        if rows.is_empty() || rows.end > all {
            return Err(self.refuse("a linear layer", x, format!("rows {rows:?} of {all} do not exist")));
        }
        let init = Init::Uniform { fan_in: channels };
        let mut params = vec![self.param(weight.to_owned(), vec![all, channels], Role::Weight, init)];
        params.extend(bias.map(|bias| self.param(bias.to_owned(), vec![all], Role::Bias, init)));
        let shape = vec![rows.len(), height, width];
        Ok(self.push(Op::Linear { first: rows.start }, vec![x], params, shape, name))
    }

    /// A learned gain `{name}` of one element a channel, as a value `[channels, 1, 1]` to multiply maps with.
    pub fn gain(&mut self, name: &str, channels: usize, init: Init) -> ValueId {
        let param = self.param(name.to_owned(), vec![channels], Role::NormWeight, init);
        self.push(Op::Parameter, vec![], vec![param], vec![channels, 1, 1], name)
    }

    /// Batch norm `{path}.weight`, `.bias`, `.running_mean`, `.running_var` over the channels.
    pub fn batch_norm(&mut self, path: &str, x: ValueId) -> ValueId {
        let channels = vec![self.channels(x)];
        let params = vec![
            self.param(format!("{path}.weight"), channels.clone(), Role::NormWeight, Init::Fill(1.0)),
            self.param(format!("{path}.bias"), channels.clone(), Role::Bias, Init::Fill(0.0)),
            self.param(format!("{path}.running_mean"), channels.clone(), Role::Buffer, Init::Fill(0.0)),
            self.param(format!("{path}.running_var"), channels, Role::Buffer, Init::Fill(1.0)),
        ];
        let shape = self.shape(x).to_vec();
        self.push(Op::BatchNorm2d, vec![x], params, shape, path)
    }

    /// An operation on each element: [`Op::Silu`], [`Op::Relu`], [`Op::Sigmoid`], [`Op::Scale`].
    pub fn map_elements(&mut self, op: Op, x: ValueId, name: &str) -> ValueId {
        let shape = self.shape(x).to_vec();
        self.push(op, vec![x], vec![], shape, name)
    }

    /// Maximum over a square window with `padding` on each side.
    ///
    /// # Errors
    /// When `x` is no feature map or the window does not fit.
    pub fn max_pool(
        &mut self,
        x: ValueId,
        kernel: usize,
        stride: usize,
        padding: usize,
        name: &str,
    ) -> Emitted {
        let [channels, height, width] = self.map(x, "a maximum pool")?;
        let window = Conv2d { out: channels, kernel, stride, padding, dilation: 1, groups: 1 };
        let (Some(out_height), Some(out_width)) = (window.reach(height), window.reach(width)) else {
            return Err(self.refuse(
                "a maximum pool",
                x,
                format!("its window of {kernel} does not fit the padded map"),
            ));
        };
        let shape = vec![channels, out_height, out_width];
        Ok(self.push(Op::MaxPool2d { kernel, stride, padding }, vec![x], vec![], shape, name))
    }

    /// Nearest-neighbour enlargement.
    ///
    /// # Errors
    /// When `x` is no feature map.
    pub fn upsample(&mut self, x: ValueId, scale: usize, name: &str) -> Emitted {
        let [channels, height, width] = self.map(x, "an upsampling")?;
        let shape = vec![channels, height * scale, width * scale];
        Ok(self.push(Op::UpsampleNearest { scale }, vec![x], vec![], shape, name))
    }

    /// Joins values along `axis`.
    ///
    /// # Errors
    /// When other axes differ.
    pub fn concat(&mut self, inputs: &[ValueId], axis: usize, name: &str) -> Emitted {
        let shapes: Vec<Shape> = inputs.iter().map(|&v| self.shape(v).to_vec()).collect();
        let agree = |s: &Shape| {
            s.len() == shapes[0].len()
                && s.iter().zip(&shapes[0]).enumerate().all(|(i, (a, b))| i == axis || a == b)
        };
        if shapes.is_empty() || axis >= shapes[0].len() || !shapes.iter().all(agree) {
            return Err(ShapeError::Concat { axis, inputs: shapes });
        }
        let mut shape = shapes[0].clone();
        shape[axis] = shapes.iter().map(|s| s[axis]).sum();
        Ok(self.push(Op::Concat { axis }, inputs.to_vec(), vec![], shape, name))
    }

    /// Cuts a value along `axis` into parts of `sizes`.
    ///
    /// # Errors
    /// When the sizes do not add up.
    pub fn split(
        &mut self,
        x: ValueId,
        axis: usize,
        sizes: &[usize],
        name: &str,
    ) -> Result<Vec<ValueId>, ShapeError> {
        let shape = self.shape(x).to_vec();
        if shape.get(axis) != Some(&sizes.iter().sum()) {
            return Err(self.refuse(
                "a split",
                x,
                format!("parts of {sizes:?} do not add up along axis {axis}"),
            ));
        }
        let outputs: Vec<ValueId> = sizes
            .iter()
            .map(|&size| {
                let mut part = shape.clone();
                part[axis] = size;
                self.value(part)
            })
            .collect();
        self.node(Op::Split { axis, sizes: sizes.to_vec() }, vec![x], outputs.clone(), vec![], name);
        Ok(outputs)
    }

    /// The part `range` along `axis`.
    ///
    /// # Errors
    /// When it reaches beyond the value.
    pub fn slice(&mut self, x: ValueId, axis: usize, range: Range<usize>, name: &str) -> Emitted {
        let mut shape = self.shape(x).to_vec();
        match shape.get_mut(axis) {
            Some(size) if !range.is_empty() && range.end <= *size => *size = range.len(),
            _ => return Err(self.refuse("a slice", x, format!("{range:?} is not within axis {axis}"))),
        }
        Ok(self.push(Op::Slice { axis, start: range.start }, vec![x], vec![], shape, name))
    }

    /// A feature map with `padding` zeros on each side.
    ///
    /// # Errors
    /// When `x` is no feature map.
    pub fn pad(&mut self, x: ValueId, padding: usize, name: &str) -> Emitted {
        let [channels, height, width] = self.map(x, "a padding")?;
        let shape = vec![channels, height + 2 * padding, width + 2 * padding];
        Ok(self.push(Op::Pad { padding }, vec![x], vec![], shape, name))
    }

    /// Mean over axes, which stay as ones.
    pub fn mean(&mut self, x: ValueId, axes: &[usize], name: &str) -> ValueId {
        let mut shape = self.shape(x).to_vec();
        for &axis in axes {
            shape[axis] = 1;
        }
        self.push(Op::Mean { axes: axes.to_vec() }, vec![x], vec![], shape, name)
    }

    /// Scaled dot-product attention; shapes as [`Op::Attention`] says.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn attention(&mut self, [q, k, v]: [ValueId; 3], scale: f32, name: &str) -> Emitted {
        let of = |value| ends(self.shape(value)).map(|(&ends, front)| (ends, front));
        let shape = match (of(q), of(k), of(v)) {
            (Some(([queries, d], heads)), Some(([d_too, keys], hk)), Some(([values, e], hv)))
                if d == d_too && keys == values && heads == hk && heads == hv =>
            {
                [heads, &[queries, e]].concat()
            }
            _ => {
                let (left, right) = (self.shape(q).to_vec(), self.shape(k).to_vec());
                return Err(ShapeError::Operands { op: "an attention", left, right });
            }
        };
        Ok(self.push(Op::Attention { scale }, vec![q, k, v], vec![], shape, name))
    }

    /// [`Op::Add`], [`Op::Sub`] or [`Op::Mul`] with broadcasting.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn combine(&mut self, op: Op, left: ValueId, right: ValueId, name: &str) -> Emitted {
        let (a, b) = (self.shape(left).to_vec(), self.shape(right).to_vec());
        let Some(shape) = broadcast(&a, &b) else {
            let op = match op {
                Op::Add => "an addition",
                Op::Sub => "a subtraction",
                _ => "a product",
            };
            return Err(ShapeError::Operands { op, left: a, right: b });
        };
        Ok(self.push(op, vec![left, right], vec![], shape, name))
    }

    /// Matrix product over the last two axes; those in front are equal.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn matmul(&mut self, left: ValueId, right: ValueId, name: &str) -> Emitted {
        let (a, b) = (self.shape(left).to_vec(), self.shape(right).to_vec());
        let wrong = || ShapeError::Operands { op: "a matrix product", left: a.clone(), right: b.clone() };
        let (Some((&[rows, inner], front)), Some((&[inner_too, columns], front_too))) = (ends(&a), ends(&b))
        else {
            return Err(wrong());
        };
        if inner != inner_too || !(front == front_too || front_too.is_empty()) {
            return Err(wrong());
        }
        let shape = [front, &[rows, columns]].concat();
        Ok(self.push(Op::MatMul, vec![left, right], vec![], shape, name))
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshape(&mut self, x: ValueId, shape: Shape, name: &str) -> Emitted {
        if self.shape(x).iter().product::<usize>() != shape.iter().product::<usize>() {
            return Err(self.refuse("a reshape", x, format!("it has not the elements of {shape:?}")));
        }
        Ok(self.push(Op::Reshape, vec![x], vec![], shape, name))
    }

    /// Axes in a new order.
    pub fn transpose(&mut self, x: ValueId, perm: &[usize], name: &str) -> ValueId {
        let shape = perm.iter().map(|&axis| self.shape(x)[axis]).collect();
        self.push(Op::Transpose { perm: perm.to_vec() }, vec![x], vec![], shape, name)
    }

    /// A feature map's three sizes.
    ///
    /// # Errors
    /// When the value has another rank.
    pub fn map(&self, x: ValueId, op: &str) -> Result<[usize; 3], ShapeError> {
        self.shape(x).try_into().map_err(|_| self.refuse(op, x, "it wants a feature map CxHxW".to_owned()))
    }

    /// The error of an operation that cannot take `x`.
    pub fn refuse(&self, op: &str, x: ValueId, why: String) -> ShapeError {
        ShapeError::Input { op: op.to_owned(), input: self.shape(x).to_vec(), why }
    }

    fn value(&mut self, shape: Shape) -> ValueId {
        self.values.push(shape);
        ValueId(self.values.len() - 1)
    }

    fn push(
        &mut self,
        op: Op,
        inputs: Vec<ValueId>,
        params: Vec<ParamId>,
        shape: Shape,
        name: &str,
    ) -> ValueId {
        let output = self.value(shape);
        self.node(op, inputs, vec![output], params, name);
        output
    }

    fn node(
        &mut self,
        op: Op,
        inputs: Vec<ValueId>,
        outputs: Vec<ValueId>,
        params: Vec<ParamId>,
        name: &str,
    ) {
        self.nodes.push(Node { op, inputs, outputs, params, name: name.to_owned(), layer: self.layer });
    }
}

impl Conv2d {
    /// Output size along one axis of length `size`, or `None` where the kernel does not fit.
    pub fn reach(&self, size: usize) -> Option<usize> {
        let span = self.dilation * (self.kernel.checked_sub(1)?) + 1;
        let room = (size + 2 * self.padding).checked_sub(span)?;
        room.checked_div(self.stride).map(|steps| steps + 1)
    }
}

fn ends(shape: &[usize]) -> Option<(&[usize; 2], &[usize])> {
    shape.split_last_chunk().map(|(front, last)| (last, front))
}

fn broadcast(a: &[usize], b: &[usize]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_is_numpys() {
        assert_eq!(broadcast(&[4, 1], &[3, 4, 5]), Some(vec![3, 4, 5]));
        assert_eq!(broadcast(&[2], &[3]), None);
    }

    #[test]
    fn shapes_that_do_not_fit_are_told() {
        let mut g = Builder::default();
        let a = g.input("rgb", vec![3, 41, 41]);
        let b = g.input("ir", vec![3, 42, 42]);
        let told = g.concat(&[a, b], 0, "join").unwrap_err().to_string();
        assert_eq!(told, "cannot concatenate 3x41x41 and 3x42x42 along axis 0: the other axes differ");
        let conv = Conv2d { out: 8, kernel: 3, stride: 1, padding: 1, dilation: 1, groups: 2 };
        assert!(g.conv2d("c", a, conv, false).unwrap_err().to_string().contains("groups"));
    }
}
