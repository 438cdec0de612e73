//! A small ONNX detector for tests, whose output one can say beforehand.
//!
//! Its anchors are the cells of a grid of [`CELL`] pixels; an anchor's box is its cell, the score of class 0 is the
//! mean red value of the cell in `rgb`, that of class 1 the mean value of the cell in `ir`. It is written with
//! structs of its own, so that the reader is not checked against itself.

use half::f16;
use prost::Message;

/// Pixels of a cell's side, the detector's stride.
pub(crate) const CELL: usize = 8;

const FLOAT: i32 = 1;
const INT64: i32 = 7;
const FLOAT16: i32 = 10;

/// Which variant to write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Detector {
    pub height: usize,
    pub width: usize,
    /// `None`: dynamic.
    pub batch: Option<usize>,
    pub fp16: bool,
    /// Two streams, or the one called `images` (class 1 then never scores).
    pub pair: bool,
    /// The metadata `modality`.
    pub camera: Option<&'static str>,
}

impl Detector {
    pub(crate) const SMALL: Self =
        Self { height: 32, width: 48, batch: None, fp16: false, pair: true, camera: None };

    pub(crate) fn anchors(&self) -> usize {
        (self.height / CELL) * (self.width / CELL)
    }

    /// The serialised model.
    pub(crate) fn onnx(&self) -> Vec<u8> {
        self.proto().encode_to_vec()
    }

    /// The model, to be damaged before it is serialised.
    pub(crate) fn proto(&self) -> ModelProto {
        let side = |v: usize| v as i64;
        let batch = self.batch.map_or(-1, side);
        let input = |name| value(name, FLOAT, &[batch, 3, side(self.height), side(self.width)]);
        let names: &[&str] = if self.pair { &["rgb", "ir"] } else { &["images"] };
        let (node, initializer) = self.body(names);
        let metadata = [
            ("names", "{0: 'warm', 1: \"bear's cub\"}"),
            ("stride", "8"),
            ("task", "detect"),
            ("imgsz", "[32, 48]"),
        ];
        ModelProto {
            ir_version: 8,
            opset_import: vec![OperatorSetId { domain: String::new(), version: 17 }],
            metadata_props: metadata
                .into_iter()
                .chain(self.camera.map(|camera| ("modality", camera)))
                .map(|(k, v)| Entry { key: k.into(), value: v.into() })
                .collect(),
            graph: Some(GraphProto {
                name: "cells".into(),
                node,
                initializer,
                input: names.iter().map(|n| input(n)).collect(),
                output: vec![value("output0", FLOAT, &[batch, 6, side(self.anchors())])],
            }),
        }
    }

    fn body(&self, inputs: &[&str]) -> (Vec<NodeProto>, Vec<TensorProto>) {
        let (mut nodes, mut weights) = (Vec::new(), Vec::new());
        let mut streams = Vec::new();
        for (class, input) in inputs.iter().enumerate() {
            let mut x = (*input).to_owned();
            if self.fp16 {
                nodes.push(node("Cast", &[&x], &format!("{x}16"), vec![int("to", FLOAT16.into())]));
                x = format!("{x}16");
            }
            let (weight, scores) = (format!("w_{input}"), format!("scores_{input}"));
            weights.push(self.weight(&weight, class));
            let stride = CELL as i64;
            let shape = vec![ints("kernel_shape", &[stride, stride]), ints("strides", &[stride, stride])];
            nodes.push(node("Conv", &[&x, &weight], &scores, shape));
            streams.push(scores);
        }
        let mut map = streams[0].clone();
        if let [rgb, ir] = streams.as_slice() {
            nodes.push(node("Add", &[rgb, ir], "sum", vec![]));
            map = "sum".into();
        }
        if self.fp16 {
            nodes.push(node("Cast", &[&map], "map32", vec![int("to", FLOAT.into())]));
            map = "map32".into();
        }
        weights.push(int64s("to_anchors", &[-1, 2, self.anchors() as i64]));
        weights.push(float32s("boxes", &[1, 4, self.anchors() as i64], &self.boxes()));
        weights.push(int64s("first", &[0]));
        weights.push(float32s("nothing", &[1], &[0.0]));
        nodes.push(node("Reshape", &[&map, "to_anchors"], "scores", vec![]));
        nodes.push(node("Gather", &["scores", "first"], "one_score", vec![int("axis", 1)]));
        nodes.push(node("Mul", &["one_score", "nothing"], "zeros", vec![]));
        nodes.push(node("Add", &["zeros", "boxes"], "all_boxes", vec![]));
        nodes.push(node("Concat", &["all_boxes", "scores"], "output0", vec![int("axis", 1)]));
        (nodes, weights)
    }

    /// [2, 3, CELL, CELL]: the row `class` averages channel 0.
    fn weight(&self, name: &str, class: usize) -> TensorProto {
        let plane = CELL * CELL;
        let mut values = vec![0.0; 2 * 3 * plane];
        values[class * 3 * plane..][..plane].fill(1.0 / plane as f32);
        let dims = [2, 3, CELL as i64, CELL as i64];
        if !self.fp16 {
            return float32s(name, &dims, &values);
        }
        let raw_data = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        TensorProto { name: name.into(), dims: dims.to_vec(), data_type: FLOAT16, raw_data }
    }

    /// Rows cx, cy, w, h.
    fn boxes(&self) -> Vec<f32> {
        let columns = self.width / CELL;
        let cells = || 0..self.anchors();
        let centre = |i: usize| (i * CELL + CELL / 2) as f32;
        let cx = cells().map(|a| centre(a % columns));
        let cy = cells().map(|a| centre(a / columns));
        let side = cells().chain(cells()).map(|_| CELL as f32);
        cx.chain(cy).chain(side).collect()
    }

    /// What the detector gives for a batch of pictures, computed here.
    pub(crate) fn expected(&self, rgb: &[f32], ir: &[f32]) -> Vec<f32> {
        let len = 3 * self.height * self.width;
        let mut out = Vec::new();
        for n in 0..rgb.len() / len {
            out.extend(self.boxes());
            out.extend(self.cell_means(&rgb[n * len..]));
            match self.pair {
                true => out.extend(self.cell_means(&ir[n * len..])),
                false => out.extend(vec![0.0; self.anchors()]),
            }
        }
        out
    }

    fn cell_means(&self, picture: &[f32]) -> Vec<f32> {
        let columns = self.width / CELL;
        let mean = |anchor: usize| {
            let (y, x) = (anchor / columns * CELL, anchor % columns * CELL);
            let row = |dy: usize| picture[(y + dy) * self.width + x..][..CELL].iter().sum::<f32>();
            (0..CELL).map(row).sum::<f32>() / (CELL * CELL) as f32
        };
        (0..self.anchors()).map(mean).collect()
    }
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: format!("{op}_{output}"),
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.into()],
        attribute,
    }
}

fn int(name: &str, v: i64) -> AttributeProto {
    AttributeProto { name: name.into(), i: Some(v), ints: vec![], kind: 2 }
}

fn ints(name: &str, v: &[i64]) -> AttributeProto {
    AttributeProto { name: name.into(), i: None, ints: v.to_vec(), kind: 7 }
}

fn float32s(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto { name: name.into(), dims: dims.to_vec(), data_type: FLOAT, raw_data }
}

fn int64s(name: &str, values: &[i64]) -> TensorProto {
    let raw_data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    TensorProto { name: name.into(), dims: vec![values.len() as i64], data_type: INT64, raw_data }
}

/// A value of a graph; a negative axis is dynamic.
pub(crate) fn value(name: &str, elem_type: i32, axes: &[i64]) -> ValueInfoProto {
    let dim = |v: &i64| {
        if *v < 0 {
            Dim { value: None, name: Some("batch".into()) }
        } else {
            Dim { value: Some(*v), name: None }
        }
    };
    let shape = Some(TensorShape { dim: axes.iter().map(dim).collect() });
    ValueInfoProto {
        name: name.into(),
        kind: Some(TypeProto { tensor_type: Some(TensorType { elem_type, shape }) }),
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetId>,
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<Entry>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSetId {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    // Not packed, as onnx.proto (proto2) has it; rten takes it in no other form.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<TypeProto>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dim>,
}
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dim {
    #[prost(int64, optional, tag = "1")]
    pub value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}
