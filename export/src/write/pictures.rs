//! The inputs: float planes as they are, or bytes that the graph itself normalises.

use yf_models::graph::ValueId;

use super::{Source, Writer, value_info};
use crate::precision::Precision;
use crate::proto::{self, AttributeProto, Size, ValueInfoProto};

impl Writer<'_> {
    /// Declares an input whose planes are `value`, and writes what makes planes of its bytes.
    pub(super) fn input(&mut self, name: &str, value: ValueId, batch: &Size, bytes: bool) -> ValueInfoProto {
        let shape = self.graph().shape(value).to_vec();
        // Inputs come first, so that no other value takes their names.
        let name = self.names.unique(name);
        if !bytes {
            self.values.insert(value, Source::computed(name.clone(), Precision::Single));
            return value_info(&name, proto::FLOAT, batch, &shape);
        }
        let [channels, height, width] = [shape[0], shape[1], shape[2]];
        let [cast, unit, planes] =
            ["float", "unit", "planes"].map(|step| self.names.unique(&format!("{name}.{step}")));
        let to = AttributeProto::int("to", i64::from(proto::FLOAT));
        self.push("Cast", &cast, vec![name.clone()], vec![cast.clone()], vec![to]);
        let factor =
            self.initializers.floats(&mut self.names, "byte", &[], &[1.0 / 255.0], Precision::Single);
        self.push("Mul", &unit, vec![cast, factor], vec![unit.clone()], vec![]);
        if channels == 1 {
            // One channel last is one channel first: nothing moves.
            let target = [0, 1, height as i64, width as i64];
            let target = self.initializers.integers(&mut self.names, &target);
            self.push("Reshape", &planes, vec![unit, target], vec![planes.clone()], vec![]);
        } else {
            let perm = AttributeProto::ints("perm", vec![0, 3, 1, 2]);
            self.push("Transpose", &planes, vec![unit], vec![planes.clone()], vec![perm]);
        }
        self.values.insert(value, Source::computed(planes, Precision::Single));
        value_info(&name, proto::UINT8, batch, &[height, width, channels])
    }
}
