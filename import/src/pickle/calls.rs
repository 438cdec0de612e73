//! The calls that are honoured: a fixed list. Everything else that a file wants to be called is refused by name.

use super::machine::Machine;
use super::value::{Handle, Value, View};
use crate::Fault;

/// More dimensions are a mistake.
const MAX_RANK: usize = 8;

/// Constructors of plain values that checkpoints carry beside their weights. Their call becomes a record of its name
/// and arguments.
const INERT: &[&str] = &[
    "_codecs.encode",
    "builtins.bytearray",
    "builtins.bytes",
    "builtins.complex",
    "builtins.object",
    "builtins.range",
    "builtins.slice",
    "collections.Counter",
    "collections.defaultdict",
    "collections.deque",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.numeric._frombuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    "numpy.dtype",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.Path",
    "pathlib._local.PosixPath",
    "pathlib._local.PurePosixPath",
    "pathlib._local.PureWindowsPath",
    "pathlib._local.WindowsPath",
    "torch.device",
    "torch.torch_version.TorchVersion",
    "types.SimpleNamespace",
    "ultralytics.utils.IterableSimpleNamespace",
    "ultralytics.yolo.utils.IterableSimpleNamespace",
];

impl Machine<'_> {
    /// The result of calling `callee` with the tuple `arguments`.
    ///
    /// # Errors
    /// When the callee is not on the list, or its arguments are not what it takes.
    pub(super) fn call(&mut self, callee: Handle, arguments: Handle) -> Result<Handle, Fault> {
        let name = self.callee(callee)?;
        if name == "torch._tensor._rebuild_from_type_v2" {
            // (function, type, arguments, state): what a subclass adds to a tensor is left out.
            let [inner, _, arguments, _] = self.arguments(arguments, &name)?;
            let inner_name = self.callee(inner)?;
            return self.call_plain(&inner_name, inner, arguments);
        }
        self.call_plain(&name, callee, arguments)
    }

    fn call_plain(&mut self, name: &str, callee: Handle, arguments: Handle) -> Result<Handle, Fault> {
        match name {
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2" => self.tensor(arguments),
            "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state" => {
                self.parameter(arguments)
            }
            "collections.OrderedDict" | "builtins.dict" => self.dictionary(arguments, name),
            "builtins.set" | "builtins.frozenset" | "builtins.list" | "builtins.tuple" | "torch.Size" => {
                self.sequence(arguments, name)
            }
            "copyreg._reconstructor" => {
                // (class, base, the base's state): an object of a class as protocols before 2 make one.
                let [class, ..] = self.arguments::<3>(arguments, name)?;
                self.name_of(class, "an object is made of")?;
                self.record(class, arguments)
            }
            _ if INERT.contains(&name) => {
                self.expect_tuple(arguments)?;
                self.record(callee, arguments)
            }
            _ => Err(Fault::Call { callee: name.to_owned(), offset: self.input.offset() }),
        }
    }

    /// The callee's name, under what Python 3 calls it.
    fn callee(&self, callee: Handle) -> Result<String, Fault> {
        let name = match self.value(callee) {
            Value::Name(name) => name,
            Value::Record(record) => {
                let class = self.name_of(record.class, "an object is made of")?;
                let callee = format!("an object of the class {class}");
                return Err(Fault::Call { callee, offset: self.input.offset() });
            }
            other => return Err(self.input.wrong(format!("{} is to be called", other.kind()))),
        };
        Ok(match name.module.as_str() {
            "__builtin__" => format!("builtins.{}", name.name),
            "copy_reg" => format!("copyreg.{}", name.name),
            _ => name.to_string(),
        })
    }

    /// Exactly so many arguments.
    fn arguments<const N: usize>(&self, arguments: Handle, callee: &str) -> Result<[Handle; N], Fault> {
        let given = self.expect_tuple(arguments)?;
        <[Handle; N]>::try_from(given).map_err(|_| {
            self.input.wrong(format!("{callee} takes {N} arguments and is given {}", given.len()))
        })
    }

    /// `(storage, offset, shape, strides, ...)`: a view whose every element lies within the storage.
    fn tensor(&mut self, arguments: Handle) -> Result<Handle, Fault> {
        let [storage, offset, shape, strides, ..] = self.expect_tuple(arguments)? else {
            return Err(self.input.wrong("a tensor wants a storage, an offset, a shape and strides"));
        };
        let (storage, offset) = (*storage, self.size(*offset)?);
        let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
        let Value::Storage(declared) = self.value(storage) else {
            return Err(self.input.wrong("a tensor without a storage"));
        };
        if shape.len() != strides.len() {
            return Err(self.input.wrong(format!("a tensor of shape {shape:?} with strides {strides:?}")));
        }
        let end = end_of(offset, &shape, &strides).filter(|&end| end <= declared.elements);
        if end.is_none() {
            return Err(self.input.wrong(format!(
                "a tensor of shape {shape:?} with strides {strides:?} from element {offset} goes beyond its storage \
                 of {} elements",
                declared.elements
            )));
        }
        self.spend(2 * shape.len())?;
        self.add(Value::Tensor(Box::new(View { storage, offset, shape, strides })))
    }

    /// `(tensor, ...)`: the tensor.
    fn parameter(&self, arguments: Handle) -> Result<Handle, Fault> {
        match self.expect_tuple(arguments)? {
            [tensor, ..] if matches!(self.value(*tensor), Value::Tensor(_)) => Ok(*tensor),
            _ => Err(self.input.wrong("a parameter without a tensor")),
        }
    }

    /// Nothing, another dictionary, or a list of pairs. What is copied is accounted for first: a short file may ask
    /// for a long copy many times.
    fn dictionary(&mut self, arguments: Handle, callee: &str) -> Result<Handle, Fault> {
        let Some(content) = self.optional(arguments, callee)? else {
            return self.add(Value::Dict(Vec::new()));
        };
        let count = match self.value(content) {
            Value::Dict(entries) => entries.len(),
            Value::List(pairs) => pairs.len(),
            other => return Err(self.input.wrong(format!("{callee} is given {}", other.kind()))),
        };
        self.spend(2 * count)?;
        let entries = self.entries(content);
        let entries =
            entries.ok_or_else(|| self.input.wrong(format!("{callee} is given no list of pairs")))?;
        self.add(Value::Dict(entries))
    }

    fn entries(&self, content: Handle) -> Option<Vec<(Handle, Handle)>> {
        match self.value(content) {
            Value::Dict(entries) => Some(entries.clone()),
            Value::List(pairs) => pairs
                .iter()
                .map(|&pair| match self.items(pair)? {
                    [key, value] => Some((*key, *value)),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    /// Nothing, or one list, tuple or set; accounted for as in [`Machine::dictionary`].
    fn sequence(&mut self, arguments: Handle, callee: &str) -> Result<Handle, Fault> {
        let items = match self.optional(arguments, callee)? {
            None => Vec::new(),
            Some(content) => {
                let count = self.items(content).map(<[Handle]>::len);
                let count = count.ok_or_else(|| {
                    self.input.wrong(format!("{callee} is given {}", self.value(content).kind()))
                })?;
                self.spend(count)?;
                self.items(content).unwrap_or_default().to_vec()
            }
        };
        self.add(match callee {
            "builtins.list" => Value::List(items),
            "builtins.set" | "builtins.frozenset" => Value::Set(items),
            _ => Value::Tuple(items.into()),
        })
    }

    /// The one argument, or none.
    fn optional(&self, arguments: Handle, callee: &str) -> Result<Option<Handle>, Fault> {
        match self.expect_tuple(arguments)? {
            [] => Ok(None),
            [content] => Ok(Some(*content)),
            more => Err(self.input.wrong(format!("{callee} takes one argument and is given {}", more.len()))),
        }
    }

    fn items(&self, handle: Handle) -> Option<&[Handle]> {
        match self.value(handle) {
            Value::List(items) | Value::Set(items) => Some(items),
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn size(&self, handle: Handle) -> Result<u64, Fault> {
        match self.value(handle) {
            Value::Int(size) => u64::try_from(*size)
                .map_err(|_| self.input.wrong(format!("a tensor with the size, offset or stride {size}"))),
            other => Err(self.input.wrong(format!("{} as the size of a tensor", other.kind()))),
        }
    }

    fn sizes(&self, handle: Handle) -> Result<Vec<u64>, Fault> {
        let items = match self.value(handle) {
            Value::Tuple(items) => items,
            other => return Err(self.input.wrong(format!("{} as the shape of a tensor", other.kind()))),
        };
        if items.len() > MAX_RANK {
            return Err(self.input.wrong(format!("a tensor of {} dimensions", items.len())));
        }
        items.iter().map(|&item| self.size(item)).collect()
    }
}

/// One past the last element that a view reaches; `None` where that is beyond all numbers.
fn end_of(offset: u64, shape: &[u64], strides: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(offset);
    }
    let mut last = offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        last = last.checked_add((size - 1).checked_mul(stride)?)?;
    }
    last.checked_add(1)
}
