//! From storages in the archive to tensors in single precision.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use half::{bf16, f16};
use yf_models::weights::Array;

use crate::archive::Archive;
use crate::pickle::{Element, Handle, Pickle, Storage, Value, View};
use crate::{Fault, Limits};

/// Reads tensors by name. Those of whole numbers (counters) are left out. Each storage is read once, and only one is
/// in memory at a time.
pub(crate) fn read<R: Read + Seek>(
    archive: &Archive<R>,
    pickle: &Pickle,
    named: &BTreeMap<String, Handle>,
    limits: &Limits,
) -> Result<BTreeMap<String, Array>, Fault> {
    let mut by_storage: BTreeMap<&str, Vec<Wanted>> = BTreeMap::new();
    let mut elements = 0u64;
    for (name, &handle) in named {
        let Some(wanted) = Wanted::of(pickle, name, handle) else { continue };
        elements = wanted.elements().map_or(u64::MAX, |count| elements.saturating_add(count));
        if elements > limits.max_tensor_bytes / 4 {
            return Err(Fault::TooLarge {
                what: "bytes of tensors".to_owned(),
                limit: limits.max_tensor_bytes,
            });
        }
        by_storage.entry(&wanted.storage.key).or_default().push(wanted);
    }
    let mut tensors = BTreeMap::new();
    for (key, wanted) in by_storage {
        let bytes = storage(archive, key, &wanted, limits)?;
        for tensor in wanted {
            tensors.insert(tensor.name.to_owned(), tensor.widen(&bytes)?);
        }
    }
    Ok(tensors)
}

/// The bytes of a storage, which must be as many as every tensor in it expects.
fn storage<R: Read + Seek>(
    archive: &Archive<R>,
    key: &str,
    wanted: &[Wanted<'_>],
    limits: &Limits,
) -> Result<Vec<u8>, Fault> {
    let member = format!("data/{key}");
    let size = archive.size(&member);
    for tensor in wanted {
        let expected = tensor.storage.elements.checked_mul(tensor.storage.element.bytes());
        if size.is_none() || size != expected {
            let why = match size {
                None => format!("its storage {key} is not in the file"),
                Some(size) => format!(
                    "its storage {key} has {size} bytes in the file, and {} elements of {} bytes are declared",
                    tensor.storage.elements,
                    tensor.storage.element.bytes()
                ),
            };
            return Err(Fault::Tensor { name: tensor.name.to_owned(), why });
        }
    }
    archive.read(&member, limits.max_tensor_bytes).map_err(|fault| match (fault, wanted.first()) {
        (Fault::Archive(why), Some(tensor)) => Fault::Tensor { name: tensor.name.to_owned(), why },
        (fault, _) => fault,
    })
}

/// A tensor that is wanted.
struct Wanted<'a> {
    name: &'a str,
    view: &'a View,
    storage: &'a Storage,
}

impl<'a> Wanted<'a> {
    /// `None` for what is no tensor of weights.
    fn of(pickle: &'a Pickle, name: &'a str, handle: Handle) -> Option<Self> {
        let Value::Tensor(view) = pickle.value(handle) else { return None };
        let Value::Storage(storage) = pickle.value(view.storage) else { return None };
        match storage.element {
            Element::Integer { .. } => None,
            _ => Some(Wanted { name, view, storage }),
        }
    }

    fn elements(&self) -> Option<u64> {
        self.view.shape.iter().try_fold(1u64, |count, &size| count.checked_mul(size))
    }

    fn widen(&self, bytes: &[u8]) -> Result<Array, Fault> {
        let data = match self.storage.element {
            Element::F16 => self.gather(bytes.as_chunks().0, |b| f16::from_le_bytes(b).to_f32()),
            Element::BF16 => self.gather(bytes.as_chunks().0, |b| bf16::from_le_bytes(b).to_f32()),
            Element::F32 => self.gather(bytes.as_chunks().0, f32::from_le_bytes),
            Element::F64 => self.gather(bytes.as_chunks().0, |b| f64::from_le_bytes(b) as f32),
            Element::Integer { .. } => None,
        };
        let data = data.ok_or_else(|| self.wrong("it goes beyond its storage".to_owned()))?;
        if let Some(index) = data.iter().position(|x| !x.is_finite()) {
            return Err(self.wrong(format!(
                "element {index} is {}: the training diverged, or the file is damaged",
                data[index]
            )));
        }
        Ok(Array { shape: self.view.shape.iter().map(|&size| size as usize).collect(), data })
    }

    fn wrong(&self, why: String) -> Fault {
        Fault::Tensor { name: self.name.to_owned(), why }
    }

    /// The view's elements in row-major order; `None` where one lies outside.
    fn gather<const N: usize>(&self, storage: &[[u8; N]], widen: fn([u8; N]) -> f32) -> Option<Vec<f32>> {
        let (shape, strides) = (&self.view.shape, &self.view.strides);
        let count = usize::try_from(self.elements()?).ok()?;
        let start = usize::try_from(self.view.offset).ok()?;
        if is_contiguous(shape, strides) {
            let part = storage.get(start..start.checked_add(count)?)?;
            return Some(part.iter().map(|&b| widen(b)).collect());
        }
        let mut data = Vec::with_capacity(count);
        let mut at = vec![0u64; shape.len()];
        for _ in 0..count {
            let place = at.iter().zip(strides).map(|(i, stride)| i * stride).sum::<u64>();
            data.push(widen(*storage.get(start + place as usize)?));
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                if at[axis] < shape[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        Some(data)
    }
}

/// Whether the elements lie one after the other; strides of axes of one element do not matter.
fn is_contiguous(shape: &[u64], strides: &[u64]) -> bool {
    let mut expected = 1u64;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size > 1 && stride != expected {
            return false;
        }
        expected = expected.saturating_mul(size);
    }
    true
}
