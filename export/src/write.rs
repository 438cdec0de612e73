//! The graph written as ONNX nodes: the batch goes in front of every shape, every axis moves up by one.

use std::collections::HashMap;

use yf_models::graph::{BN_EPS, Conv2d, Graph, Node, Op, ParamId, ValueId};

use crate::error::ExportError;
use crate::fold::Weighted;
use crate::initializers::{Initializers, Names};
use crate::precision::Precision;
use crate::proto::{
    AttributeProto, Dimension, GraphProto, NodeProto, Size, TensorShape, TensorType, TypeProto,
    ValueInfoProto,
};
use crate::{Options, proto};

mod attention;
mod nms;
mod pictures;

/// Name of the output.
const OUTPUT: &str = "output0";
/// Name of the raw boxes where suppression follows.
const RAW: &str = "raw";
/// Symbol of a dynamic batch.
const BATCH: &str = "batch";

/// Writes a graph whose one output is the decoded boxes.
///
/// # Errors
/// When an operation has no ONNX counterpart in its form, or the weights lack a tensor.
pub fn graph(weighted: &Weighted<'_>, options: &Options, name: &str) -> Result<GraphProto, ExportError> {
    let graph = &weighted.graph;
    let mut writer = Writer::new(weighted, options);
    let batch =
        if options.dynamic { Size::Symbol(BATCH.to_owned()) } else { Size::Known(options.batch as i64) };
    let inputs = graph.inputs.iter();
    let input = inputs.map(|(name, value)| writer.input(name, *value, &batch, options.bytes)).collect();
    for node in &graph.nodes {
        writer.node(node)?;
    }
    let raw = graph.shape(graph.outputs[0]);
    let shape = match &options.nms {
        Some(nms) => {
            writer.suppression(RAW, raw[0] - 4, raw[1], nms);
            vec![nms::ROWS, nms::ROW]
        }
        None => raw.to_vec(),
    };
    let output = vec![value_info(OUTPUT, proto::FLOAT, &batch, &shape)];
    Ok(GraphProto {
        node: writer.nodes,
        name: name.to_owned(),
        initializer: writer.initializers.into_tensors(),
        input,
        output,
    })
}

/// Where a value of the graph comes from.
#[derive(Debug, Clone)]
enum Source<'a> {
    /// A picture or a node's result, which has a batch.
    Computed { name: String, precision: Precision },
    /// A learned tensor without a batch.
    Param(ParamId),
    /// A fixed tensor without a batch; its name and elements.
    Constant(&'a str, &'a [f32]),
}

impl Source<'_> {
    fn computed(name: String, precision: Precision) -> Self {
        Source::Computed { name, precision }
    }
}

struct Writer<'a> {
    weighted: &'a Weighted<'a>,
    fp16: bool,
    /// What the graph's output is called.
    last: &'static str,
    names: Names,
    values: HashMap<ValueId, Source<'a>>,
    casts: HashMap<(ValueId, Precision), String>,
    initializers: Initializers,
    nodes: Vec<NodeProto>,
}

impl<'a> Writer<'a> {
    fn new(weighted: &'a Weighted<'a>, options: &Options) -> Self {
        let mut names = Names::default();
        names.unique(OUTPUT);
        names.unique(RAW);
        Writer {
            weighted,
            fp16: options.fp16,
            last: if options.nms.is_some() { RAW } else { OUTPUT },
            names,
            values: HashMap::new(),
            casts: HashMap::new(),
            initializers: Initializers::default(),
            nodes: Vec::new(),
        }
    }

    fn graph(&self) -> &'a Graph {
        &self.weighted.graph
    }

    fn node(&mut self, node: &'a Node) -> Result<(), ExportError> {
        match &node.op {
            Op::Input => {}
            Op::Parameter => self.set(node, Source::Param(node.params[0])),
            Op::Constant(data) => self.set(node, Source::Constant(&node.name, data)),
            Op::Reshape if self.graph().shape(node.inputs[0]) == self.graph().shape(node.outputs[0]) => {
                let same = self.source(node, node.inputs[0])?.clone();
                self.set(node, same);
            }
            _ => self.operation(node)?,
        }
        Ok(())
    }

    /// An operation: its operands in the precision it computes in, its attributes, its results.
    fn operation(&mut self, node: &'a Node) -> Result<(), ExportError> {
        self.check_operands(node)?;
        let precision = self.precision(node)?;
        let mut input = Vec::new();
        for &value in &node.inputs {
            input.push(self.operand(node, value, precision)?);
        }
        match node.op {
            Op::Linear { first } => input.extend(self.linear_params(node, first, precision)?),
            _ => {
                for &id in &node.params {
                    input.push(self.param(id, precision)?);
                }
            }
        }
        let output = self.outputs(node, precision);
        if let Op::Attention { scale } = node.op {
            self.attention(node, scale, &input, output, precision);
            return Ok(());
        }
        if node.op == Op::Silu {
            self.silu(node, input, output);
            return Ok(());
        }
        input.extend(self.fixed_operands(node, precision));
        self.push(operator(&node.op), &node.name, input, output, attributes(&node.op));
        Ok(())
    }

    /// `x * sigmoid(x)` in the two nodes that every runtime knows how to fuse.
    fn silu(&mut self, node: &Node, input: Vec<String>, output: Vec<String>) {
        let gate = self.names.unique(&format!("{}.sigmoid", node.name));
        self.push("Sigmoid", &gate, input.clone(), vec![gate.clone()], vec![]);
        let factors = [input, vec![gate]].concat();
        self.push("Mul", &node.name, factors, output, vec![]);
    }

    /// Operands that ONNX wants as tensors and the graph holds as numbers.
    fn fixed_operands(&mut self, node: &Node, precision: Precision) -> Vec<String> {
        let (names, all) = (&mut self.names, &mut self.initializers);
        match &node.op {
            Op::Reshape => {
                // 0 keeps the batch, whatever it is.
                let shape = &self.weighted.graph.values[node.outputs[0].0];
                vec![all.integers(names, &behind_batch(shape))]
            }
            Op::Split { sizes, .. } => {
                let sizes: Vec<i64> = sizes.iter().map(|&n| n as i64).collect();
                vec![all.integers(names, &sizes)]
            }
            &Op::Slice { axis, start } => {
                let end = start + self.weighted.graph.values[node.outputs[0].0][axis];
                [start as i64, end as i64, shifted(axis)].map(|n| all.integers(names, &[n])).to_vec()
            }
            &Op::Pad { padding } => {
                let around = padding as i64;
                vec![all.integers(names, &[0, 0, around, around, 0, 0, around, around])]
            }
            &Op::Scale(factor) => {
                vec![all.floats(names, &format!("factor.{factor}"), &[], &[factor], precision)]
            }
            &Op::UpsampleNearest { scale } => {
                // No region of interest; the factors are single precision in every model.
                let scales = [1.0, 1.0, scale as f32, scale as f32];
                let name = format!("scales.{scale}");
                vec![String::new(), all.floats(names, &name, &[4], &scales, Precision::Single)]
            }
            _ => vec![],
        }
    }

    fn precision(&self, node: &Node) -> Result<Precision, ExportError> {
        if !self.fp16 {
            return Ok(Precision::Single);
        }
        let mut all_half = true;
        for &value in &node.inputs {
            if let Source::Computed { precision, .. } = self.source(node, value)? {
                all_half &= *precision == Precision::Half;
            }
        }
        Ok(Precision::of(self.graph(), node, all_half))
    }

    /// Name of a value in a precision; a cast is written once, where it is first needed.
    fn operand(&mut self, node: &Node, value: ValueId, wanted: Precision) -> Result<String, ExportError> {
        match self.source(node, value)?.clone() {
            Source::Param(id) => {
                let array = self.weighted.array(id)?;
                let (name, shape) = (&self.weighted.graph.param(id).name, self.weighted.graph.shape(value));
                Ok(self.initializers.floats(&mut self.names, name, shape, &array.data, wanted))
            }
            Source::Constant(name, data) => {
                let shape = self.graph().shape(value);
                Ok(self.initializers.floats(&mut self.names, name, shape, data, wanted))
            }
            Source::Computed { name, precision } if precision == wanted => Ok(name),
            Source::Computed { name, .. } => {
                if let Some(cast) = self.casts.get(&(value, wanted)) {
                    return Ok(cast.clone());
                }
                let cast = self.names.unique(&format!("{name}.{}", wanted.suffix()));
                let to = AttributeProto::int("to", i64::from(wanted.data_type()));
                self.push("Cast", &cast, vec![name], vec![cast.clone()], vec![to]);
                self.casts.insert((value, wanted), cast.clone());
                Ok(cast)
            }
        }
    }

    fn param(&mut self, id: ParamId, precision: Precision) -> Result<String, ExportError> {
        let array = self.weighted.array(id)?;
        let name = &self.weighted.graph.param(id).name;
        Ok(self.initializers.param(&mut self.names, id, name, array, precision))
    }

    /// The rows of a linear layer's matrix as the weight of a 1x1 convolution, and of its bias.
    fn linear_params(
        &mut self,
        node: &Node,
        first: usize,
        precision: Precision,
    ) -> Result<Vec<String>, ExportError> {
        let rows = self.graph().shape(node.outputs[0])[0];
        let mut written = Vec::new();
        for &id in &node.params {
            let array = self.weighted.array(id)?;
            let all = array.shape[0].max(1);
            let (width, name) = (array.data.len() / all, &self.weighted.graph.param(id).name);
            let part = &array.data[first * width..(first + rows) * width];
            let name = if rows == all { name.clone() } else { format!("{name}.{first}") };
            let shape = if array.shape.len() == 2 { vec![rows, width, 1, 1] } else { vec![rows] };
            written.push(self.initializers.floats(&mut self.names, &name, &shape, part, precision));
        }
        Ok(written)
    }

    fn outputs(&mut self, node: &Node, precision: Precision) -> Vec<String> {
        let several = node.outputs.len() > 1;
        let mut written = Vec::new();
        for (i, &value) in node.outputs.iter().enumerate() {
            let name = match several {
                _ if self.graph().outputs.contains(&value) => self.last.to_owned(),
                true => self.names.unique(&format!("{}.{i}", node.name)),
                false => self.names.unique(&node.name),
            };
            self.values.insert(value, Source::computed(name.clone(), precision));
            written.push(name);
        }
        written
    }

    fn set(&mut self, node: &Node, source: Source<'a>) {
        self.values.insert(node.outputs[0], source);
    }

    fn source(&self, node: &Node, value: ValueId) -> Result<&Source<'a>, ExportError> {
        self.values.get(&value).ok_or_else(|| refuse(node, "it reads a value that is not yet computed"))
    }

    /// With the batch in front, operands broadcast only where those that have one are of equal rank and the
    /// others of no larger one.
    fn check_operands(&self, node: &Node) -> Result<(), ExportError> {
        let (mut batched, mut fixed) = (vec![], vec![]);
        for &value in &node.inputs {
            let rank = self.graph().shape(value).len();
            match self.source(node, value)? {
                Source::Computed { .. } => batched.push(rank),
                _ => fixed.push(rank),
            }
        }
        let &rank = batched.first().ok_or_else(|| refuse(node, "it computes with constants alone"))?;
        if batched.iter().any(|&r| r != rank) || fixed.iter().any(|&r| r > rank) {
            return Err(refuse(node, "its operands differ in rank, so the batch has no one place"));
        }
        if matches!(node.op, Op::Concat { .. }) && !fixed.is_empty() {
            return Err(refuse(node, "a constant has no batch to be joined along"));
        }
        Ok(())
    }

    fn push(
        &mut self,
        op: &str,
        name: &str,
        input: Vec<String>,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input,
            output,
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute,
        });
    }
}

fn refuse(node: &Node, why: &str) -> ExportError {
    ExportError::Operation { node: node.name.clone(), why: why.to_owned() }
}

/// ONNX's name of an operation.
fn operator(op: &Op) -> &'static str {
    match op {
        Op::Input | Op::Parameter | Op::Constant(_) => "Constant",
        Op::Conv2d(_) | Op::Linear { .. } => "Conv",
        Op::BatchNorm2d => "BatchNormalization",
        Op::Silu | Op::Mul | Op::Scale(_) => "Mul",
        Op::Relu => "Relu",
        Op::Sigmoid => "Sigmoid",
        Op::MaxPool2d { .. } => "MaxPool",
        Op::UpsampleNearest { .. } => "Resize",
        Op::Concat { .. } => "Concat",
        Op::Split { .. } => "Split",
        Op::Add => "Add",
        Op::Sub => "Sub",
        Op::Slice { .. } => "Slice",
        Op::Pad { .. } => "Pad",
        Op::MatMul | Op::Attention { .. } => "MatMul",
        Op::Softmax { .. } => "Softmax",
        Op::Reshape => "Reshape",
        Op::Transpose { .. } => "Transpose",
        Op::Mean { .. } => "ReduceMean",
    }
}

fn attributes(op: &Op) -> Vec<AttributeProto> {
    let ints = AttributeProto::ints;
    match op {
        Op::Conv2d(conv) => convolution(conv),
        Op::Linear { .. } => vec![ints("kernel_shape", vec![1, 1])],
        Op::BatchNorm2d => vec![AttributeProto::float("epsilon", BN_EPS as f32)],
        &Op::MaxPool2d { kernel, stride, padding } => vec![
            ints("kernel_shape", vec![kernel as i64; 2]),
            ints("strides", vec![stride as i64; 2]),
            ints("pads", vec![padding as i64; 4]),
        ],
        Op::UpsampleNearest { .. } => vec![
            AttributeProto::text("mode", "nearest"),
            AttributeProto::text("coordinate_transformation_mode", "asymmetric"),
            AttributeProto::text("nearest_mode", "floor"),
        ],
        Op::Concat { axis } | Op::Split { axis, .. } | Op::Softmax { axis } => {
            vec![AttributeProto::int("axis", shifted(*axis))]
        }
        Op::Transpose { perm } => vec![ints("perm", behind_batch_axes(perm))],
        Op::Mean { axes } => vec![
            ints("axes", axes.iter().map(|&axis| shifted(axis)).collect()),
            AttributeProto::int("keepdims", 1),
        ],
        _ => vec![],
    }
}

fn convolution(conv: &Conv2d) -> Vec<AttributeProto> {
    vec![
        AttributeProto::ints("kernel_shape", vec![conv.kernel as i64; 2]),
        AttributeProto::ints("strides", vec![conv.stride as i64; 2]),
        AttributeProto::ints("pads", vec![conv.padding as i64; 4]),
        AttributeProto::ints("dilations", vec![conv.dilation as i64; 2]),
        AttributeProto::int("group", conv.groups as i64),
    ]
}

/// An axis of the graph, as an axis behind the batch.
fn shifted(axis: usize) -> i64 {
    axis as i64 + 1
}

fn behind_batch_axes(perm: &[usize]) -> Vec<i64> {
    std::iter::once(0).chain(perm.iter().map(|&axis| shifted(axis))).collect()
}

/// Reshape's target: 0 copies the batch.
fn behind_batch(shape: &[usize]) -> Vec<i64> {
    std::iter::once(0).chain(shape.iter().map(|&n| n as i64)).collect()
}

fn value_info(name: &str, elem_type: i32, batch: &Size, shape: &[usize]) -> ValueInfoProto {
    let known = shape.iter().map(|&n| Size::Known(n as i64));
    let dim =
        std::iter::once(batch.clone()).chain(known).map(|size| Dimension { value: Some(size) }).collect();
    let tensor = TensorType { elem_type, shape: Some(TensorShape { dim }) };
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

#[cfg(test)]
mod tests;
