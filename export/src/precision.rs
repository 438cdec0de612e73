//! Which values are half precision, and what a number becomes there.
//!
//! An fp16 model computes its layers in half precision. The decoding of boxes stays in single precision: half
//! precision has steps of half a pixel from 512 px on. Inputs and the output are single precision in either
//! case, so that a caller needs no other buffers.

use half::f16;
use yf_models::graph::{Graph, Node, Op};

use crate::proto;

/// Element type of a floating-point tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits.
    Single,
    /// 16 bits.
    Half,
}

impl Precision {
    /// `TensorProto.DataType`.
    pub fn data_type(self) -> i32 {
        match self {
            Precision::Single => proto::FLOAT,
            Precision::Half => proto::FLOAT16,
        }
    }

    /// Suffix of values that were cast to it.
    pub fn suffix(self) -> &'static str {
        match self {
            Precision::Single => "fp32",
            Precision::Half => "fp16",
        }
    }

    /// Little-endian elements. What half precision cannot hold becomes its largest number, never an infinity.
    pub fn encode(self, data: &[f32]) -> Vec<u8> {
        match self {
            Precision::Single => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Precision::Half => data.iter().flat_map(|&x| to_half(x).to_le_bytes()).collect(),
        }
    }

    /// Precision a node of an fp16 model computes in. Joining and flattening the raw maps moves data only and is
    /// exact in half precision, so the cast comes once, behind it.
    pub fn of(graph: &Graph, node: &Node, inputs_are_half: bool) -> Self {
        let decoding = node.layer >= graph.layers.len();
        let moves_only = matches!(node.op, Op::Reshape | Op::Concat { .. });
        if !decoding || (moves_only && inputs_are_half) { Precision::Half } else { Precision::Single }
    }
}

fn to_half(x: f32) -> f16 {
    f16::from_f32(x.clamp(f16::MIN.to_f32(), f16::MAX.to_f32()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_never_overflows() {
        assert_eq!(to_half(70_000.0).to_f32(), 65_504.0);
        assert_eq!(to_half(-1e30).to_f32(), -65_504.0);
        assert_eq!(to_half(0.1).to_f32(), 0.099_975_586);
        assert_eq!(Precision::Half.encode(&[1.0]), [0x00, 0x3c]);
    }
}
