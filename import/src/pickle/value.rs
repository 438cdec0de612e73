//! What a pickle builds: values in one arena that refer to each other by [`Handle`]. Values may contain themselves and
//! nest to any depth; dropping the arena never recurses.

use std::fmt;

/// Refers to a value of one [`super::Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(pub(super) u32);

/// A value. None of them does anything.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A longer integer, whose value no checkpoint needs.
    LongInt,
    /// A float.
    Float(f64),
    /// A text.
    Text(Box<str>),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// A list.
    List(Vec<Handle>),
    /// A tuple.
    Tuple(Box<[Handle]>),
    /// A set or frozen set.
    Set(Vec<Handle>),
    /// A dictionary, in order; of equal keys the last one counts.
    Dict(Vec<(Handle, Handle)>),
    /// The name of a class or function. Only a name.
    Name(Box<Name>),
    /// An object of any class.
    Record(Box<Record>),
    /// Where tensors' elements lie.
    Storage(Box<Storage>),
    /// A view into a storage.
    Tensor(Box<View>),
}

impl Value {
    /// What messages call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::None => "None",
            Value::Bool(_) => "a truth value",
            Value::Int(_) | Value::LongInt => "an integer",
            Value::Float(_) => "a float",
            Value::Text(_) => "a text",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "a list",
            Value::Tuple(_) => "a tuple",
            Value::Set(_) => "a set",
            Value::Dict(_) => "a dictionary",
            Value::Name(_) => "a name",
            Value::Record(_) => "an object",
            Value::Storage(_) => "a storage",
            Value::Tensor(_) => "a tensor",
        }
    }
}

/// The dotted name of a class or function, as the file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// The module, e.g. `torch.nn.modules.conv`.
    pub module: String,
    /// The name in it, e.g. `Conv2d`.
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// An object of a class that is not known here: what the file says about it, nothing it could do.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its class: a [`Value::Name`].
    pub class: Handle,
    /// What it was made from, a tuple.
    pub arguments: Handle,
    /// The states it was given, usually one dictionary of attributes.
    pub states: Vec<Handle>,
    /// What was appended to it.
    pub items: Vec<Handle>,
    /// What was put into it under a key.
    pub entries: Vec<(Handle, Handle)>,
}

/// Type of a storage's elements, little-endian in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Half precision.
    F16,
    /// Half the bits of single precision, all of its exponent.
    BF16,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
    /// Integers and truth values: counters, never weights.
    Integer {
        /// Bytes of one.
        bytes: u64,
    },
}

impl Element {
    /// The type that goes with a storage class of torch, e.g. `HalfStorage`.
    pub fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "HalfStorage" => Element::F16,
            "BFloat16Storage" => Element::BF16,
            "FloatStorage" => Element::F32,
            "DoubleStorage" => Element::F64,
            "LongStorage" => Element::Integer { bytes: 8 },
            "IntStorage" => Element::Integer { bytes: 4 },
            "ShortStorage" => Element::Integer { bytes: 2 },
            "CharStorage" | "ByteStorage" | "BoolStorage" => Element::Integer { bytes: 1 },
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub fn bytes(self) -> u64 {
        match self {
            Element::F16 | Element::BF16 => 2,
            Element::F32 => 4,
            Element::F64 => 8,
            Element::Integer { bytes } => bytes,
        }
    }
}

/// A storage as the pickle declares it; whether the archive really holds it shows when it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// Type of its elements.
    pub element: Element,
    /// Its member in the archive's folder `data/`.
    pub key: String,
    /// How many elements the pickle says it has.
    pub elements: u64,
}

/// A view into a storage. Every element lies within the storage as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// A [`Value::Storage`].
    pub storage: Handle,
    /// Index of the first element.
    pub offset: u64,
    /// Dimensions.
    pub shape: Vec<u64>,
    /// Elements between neighbours along each dimension.
    pub strides: Vec<u64>,
}
