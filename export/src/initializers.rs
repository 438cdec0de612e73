//! Stored tensors of an ONNX graph: each parameter and each distinct constant once.

use std::collections::{HashMap, HashSet};

use yf_models::graph::ParamId;
use yf_models::weights::Array;

use crate::precision::Precision;
use crate::proto::{INT64, TensorProto};

/// Hands out names, each once: parameters, constants and values share one name space in ONNX.
#[derive(Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// `wanted`, or `wanted.2`, `wanted.3`, ... where it is taken.
    pub fn unique(&mut self, wanted: &str) -> String {
        let numbered = (2..).map(|n| format!("{wanted}.{n}"));
        let name = std::iter::once(wanted.to_owned()).chain(numbered).find(|n| !self.0.contains(n));
        let name = name.unwrap_or_default();
        self.0.insert(name.clone());
        name
    }
}

/// The tensors written so far.
#[derive(Debug, Default)]
pub struct Initializers {
    tensors: Vec<TensorProto>,
    params: HashMap<(ParamId, Precision), String>,
    constants: HashMap<(i32, Vec<i64>, Vec<u8>), String>,
}

impl Initializers {
    /// Name of a parameter in a precision; written at its first use.
    pub fn param(
        &mut self,
        names: &mut Names,
        id: ParamId,
        name: &str,
        array: &Array,
        precision: Precision,
    ) -> String {
        if let Some(known) = self.params.get(&(id, precision)) {
            return known.clone();
        }
        let name = names.unique(name);
        let dims = array.shape.iter().map(|&n| n as i64).collect();
        self.push(&name, dims, precision.data_type(), precision.encode(&array.data));
        self.params.insert((id, precision), name.clone());
        name
    }

    /// Name of a fixed tensor; one of the same content is used again.
    pub fn floats(
        &mut self,
        names: &mut Names,
        name: &str,
        shape: &[usize],
        data: &[f32],
        precision: Precision,
    ) -> String {
        let dims = shape.iter().map(|&n| n as i64).collect();
        self.constant(names, name, dims, precision.data_type(), precision.encode(data))
    }

    /// Name of a list of whole numbers, such as a shape.
    pub fn integers(&mut self, names: &mut Names, data: &[i64]) -> String {
        let text: Vec<String> = data.iter().map(i64::to_string).collect();
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(names, &format!("ints.{}", text.join("_")), vec![data.len() as i64], INT64, bytes)
    }

    /// Name of a tensor of whole numbers.
    pub fn shaped_integers(&mut self, names: &mut Names, name: &str, dims: Vec<i64>, data: &[i64]) -> String {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.constant(names, name, dims, INT64, bytes)
    }

    /// The tensors in order of first use.
    pub fn into_tensors(self) -> Vec<TensorProto> {
        self.tensors
    }

    fn constant(
        &mut self,
        names: &mut Names,
        name: &str,
        dims: Vec<i64>,
        data_type: i32,
        raw: Vec<u8>,
    ) -> String {
        let key = (data_type, dims, raw);
        if let Some(known) = self.constants.get(&key) {
            return known.clone();
        }
        let name = names.unique(name);
        self.push(&name, key.1.clone(), data_type, key.2.clone());
        self.constants.insert(key, name.clone());
        name
    }

    fn push(&mut self, name: &str, dims: Vec<i64>, data_type: i32, raw_data: Vec<u8>) {
        self.tensors.push(TensorProto { dims, data_type, name: name.to_owned(), raw_data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_constants_are_one() {
        let (mut names, mut all) = (Names::default(), Initializers::default());
        assert_eq!(all.integers(&mut names, &[0, 4]), "ints.0_4");
        assert_eq!(all.integers(&mut names, &[0, 4]), "ints.0_4");
        let single = all.floats(&mut names, "half", &[], &[0.5], Precision::Single);
        let half = all.floats(&mut names, "half", &[], &[0.5], Precision::Half);
        assert_eq!((single.as_str(), half.as_str()), ("half", "half.2"));
        assert_eq!(all.into_tensors().len(), 3);
    }
}
