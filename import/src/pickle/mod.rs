//! Pickles, read by a machine that builds inert values and runs nothing.
//!
//! Python's own reader imports what a pickle names and calls it; a pickle is a program. Here a name stays a name
//! ([`Value::Name`]), an object is what the file says about it ([`Record`]), and the few calls without which a
//! checkpoint would hold no tensors are known by name (`calls.rs`). Any other call is an error that says what the file
//! wanted.
//!
//! Values lie in one arena and refer to each other by index, so nothing here recurses, however deep they nest.

mod calls;
mod input;
mod machine;
mod opcode;
mod value;

pub use value::{Element, Handle, Name, Record, Storage, Value, View};

use crate::{Fault, Limits};

/// A pickle as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Pickle {
    values: Vec<Value>,
    root: Handle,
}

impl Pickle {
    /// Reads a pickle of protocol 2 to 5.
    ///
    /// # Errors
    /// When it is damaged, exceeds the limits, or wants something to be called that is not on the fixed list.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Self, Fault> {
        machine::Machine::new(bytes, limits).run()
    }

    /// The outermost value.
    pub fn root(&self) -> Handle {
        self.root
    }

    /// The value behind a handle of this pickle.
    pub fn value(&self, handle: Handle) -> &Value {
        &self.values[handle.0 as usize]
    }

    /// The text behind a handle, if it is one.
    pub fn text(&self, handle: Handle) -> Option<&str> {
        match self.value(handle) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number behind a handle, if it is one.
    pub fn int(&self, handle: Handle) -> Option<i64> {
        match self.value(handle) {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    pub fn items(&self, handle: Handle) -> Option<&[Handle]> {
        match self.value(handle) {
            Value::List(items) => Some(items),
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dictionary.
    pub fn entries(&self, handle: Handle) -> Option<&[(Handle, Handle)]> {
        match self.value(handle) {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// What a dictionary holds under a key, `None` values left out.
    pub fn entry(&self, dictionary: Handle, key: &str) -> Option<Handle> {
        let entries = self.entries(dictionary)?;
        self.last_of(entries, key).filter(|&found| *self.value(found) != Value::None)
    }

    /// An attribute of an object, or what a dictionary holds under its name; `None` values left out.
    pub fn attribute(&self, object: Handle, name: &str) -> Option<Handle> {
        let Value::Record(record) = self.value(object) else { return self.entry(object, name) };
        record.states.iter().rev().find_map(|&state| match self.value(state) {
            // Attributes and slots.
            Value::Tuple(states) => states.iter().find_map(|&state| self.entry(state, name)),
            _ => self.entry(state, name),
        })
    }

    /// Name of an object's class.
    pub fn class(&self, object: Handle) -> Option<&Name> {
        match self.value(object) {
            Value::Record(record) => match self.value(record.class) {
                Value::Name(name) => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    fn last_of(&self, entries: &[(Handle, Handle)], key: &str) -> Option<Handle> {
        entries.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }
}
