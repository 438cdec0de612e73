//! Safetensors files that yf has not written: tensors under the names of their own program, and nothing beside them.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use yf_models::weights::{Array, HEADER_KEY};

use crate::{Checkpoint, Fault, Limits, network};

/// Reads the file.
pub(crate) fn read<R: Read + Seek>(mut file: R, path: &Path, limits: &Limits) -> Result<Checkpoint, Fault> {
    let length = file.seek(SeekFrom::End(0))?;
    if length > limits.max_tensor_bytes {
        return Err(Fault::TooLarge { what: "bytes of tensors".to_owned(), limit: limits.max_tensor_bytes });
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    let damaged = |error| Fault::Form(format!("a damaged safetensors file: {error}"));
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    if metadata.metadata().as_ref().is_some_and(|entries| entries.contains_key(HEADER_KEY)) {
        return Err(Fault::Form("a weights file of yf already: use it as it is".to_owned()));
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in SafeTensors::deserialize(&bytes).map_err(damaged)?.iter() {
        let wrong = |why: String| Fault::Tensor { name: name.to_owned(), why };
        let Some(data) = widen(&view).map_err(wrong)? else { continue };
        if let Some(index) = data.iter().position(|x| !x.is_finite()) {
            return Err(wrong(format!("element {index} is {}", data[index])));
        }
        tensors.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data });
    }
    if tensors.is_empty() {
        return Err(Fault::Form("a safetensors file without weights".to_owned()));
    }
    Ok(Checkpoint {
        path: path.to_owned(),
        tensors: network::renamed(tensors),
        names: None,
        imgsz: None,
        epochs: None,
        blocks: BTreeMap::new(),
        config: None,
    })
}

/// Elements in single precision; `None` for whole numbers, which are counters.
fn widen(view: &TensorView<'_>) -> Result<Option<Vec<f32>>, String> {
    let bytes = view.data();
    Ok(Some(match view.dtype() {
        Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        Dtype::BOOL | Dtype::U8 | Dtype::I8 | Dtype::I16 | Dtype::U16 => return Ok(None),
        Dtype::I32 | Dtype::U32 | Dtype::I64 | Dtype::U64 => return Ok(None),
        other => return Err(format!("the type {other:?}; weights are F64, F32, F16 or BF16")),
    }))
}
