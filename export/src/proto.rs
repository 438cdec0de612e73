//! The part of ONNX's protocol buffers that a detector needs, with the field numbers of onnx.proto (IR 8).
//!
//! Written down as prost derives, so that building needs no `protoc`. Scalars of an attribute are optional: an
//! explicit 0 (`axis = 0`) must reach the wire. Lists of integers are not packed, as onnx.proto is proto2: a strict
//! reader (rten's) takes no other form.

use prost::{Message, Oneof};

/// `TensorProto.DataType` of single precision.
pub const FLOAT: i32 = 1;
/// `TensorProto.DataType` of bytes.
pub const UINT8: i32 = 2;
/// `TensorProto.DataType` of 64-bit integers.
pub const INT64: i32 = 7;
/// `TensorProto.DataType` of half precision.
pub const FLOAT16: i32 = 10;

/// A model file.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    /// Version of the format.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Program that wrote it.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Version of that program.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// The computation.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Operator sets it uses.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Free metadata.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
}

/// An operator set by version; the empty domain is ONNX's own.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetIdProto {
    /// Whose operators.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// The version.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// An entry of the metadata.
#[derive(Clone, PartialEq, Message)]
pub struct StringStringEntryProto {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// Nodes in execution order with what they read from outside.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    /// Operations.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// A name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Weights and constants.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Fed at run time.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// Read at run time.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
}

/// One operation.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    /// Values read; an empty name leaves an optional one out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Values written.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// A name for messages.
    #[prost(string, tag = "3")]
    pub name: String,
    /// The operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Its attributes.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
}

/// A named attribute of an operation.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(float, optional, tag = "2")]
    pub f: Option<f32>,
    /// A whole number.
    #[prost(int64, optional, tag = "3")]
    pub i: Option<i64>,
    /// A text.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub s: Option<Vec<u8>>,
    /// Whole numbers.
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    /// Which of the fields above counts: 1 `f`, 2 `i`, 3 `s`, 7 `ints`.
    #[prost(int32, tag = "20")]
    pub r#type: i32,
}

impl AttributeProto {
    /// A number.
    pub fn float(name: &str, f: f32) -> Self {
        AttributeProto { name: name.to_owned(), f: Some(f), r#type: 1, ..Default::default() }
    }

    /// A whole number.
    pub fn int(name: &str, i: i64) -> Self {
        AttributeProto { name: name.to_owned(), i: Some(i), r#type: 2, ..Default::default() }
    }

    /// A text.
    pub fn text(name: &str, s: &str) -> Self {
        AttributeProto { name: name.to_owned(), s: Some(s.into()), r#type: 3, ..Default::default() }
    }

    /// Whole numbers.
    pub fn ints(name: &str, ints: Vec<i64>) -> Self {
        AttributeProto { name: name.to_owned(), ints, r#type: 7, ..Default::default() }
    }
}

/// A stored tensor, row-major.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// Dimensions; none for a scalar.
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// [`FLOAT`], [`FLOAT16`] or [`INT64`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// The name nodes read it by.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Little-endian elements.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
}

/// A value's name and type.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The type.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// A type: tensors only.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    /// Element type and shape.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
}

/// Element type and shape of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    /// As [`TensorProto::data_type`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// The shape.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}

/// A shape that may have symbolic dimensions.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShape {
    /// The dimensions.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// One dimension.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    /// A size or a symbol.
    #[prost(oneof = "Size", tags = "1, 2")]
    pub value: Option<Size>,
}

/// A known or a symbolic size.
#[derive(Clone, PartialEq, Oneof)]
pub enum Size {
    /// Known.
    #[prost(int64, tag = "1")]
    Known(i64),
    /// Set at run time; equal symbols are equal sizes.
    #[prost(string, tag = "2")]
    Symbol(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_written_as_proto2_writes_them() {
        // Each element with its own tag (field 8 or 1, varint), not one packed field (wire type 2).
        assert_eq!(AttributeProto::ints("", vec![0, 3]).encode_to_vec()[..4], [0x40, 0, 0x40, 3]);
        let tensor = TensorProto { dims: vec![2, 3], ..Default::default() };
        assert_eq!(tensor.encode_to_vec()[..4], [0x08, 2, 0x08, 3]);
    }

    #[test]
    fn an_axis_of_zero_reaches_the_wire() {
        assert_eq!(AttributeProto::int("", 0).encode_to_vec()[..2], [0x18, 0]);
    }
}
