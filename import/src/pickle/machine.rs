//! The machine that reads a pickle: a stack, marks in it, and a memo. It builds values and runs nothing.

use std::collections::HashMap;

use super::input::Input;
use super::opcode as op;
use super::value::{Element, Handle, Name, Record, Storage, Value};
use crate::limits::{Budget, Limits};
use crate::{Fault, pickle::Pickle};

/// Protocols that torch writes or has written.
const PROTOCOLS: std::ops::RangeInclusive<u8> = 2..=5;

/// State while a pickle is read.
pub(super) struct Machine<'a> {
    pub(super) input: Input<'a>,
    pub(super) values: Vec<Value>,
    stack: Vec<Handle>,
    marks: Vec<usize>,
    memo: HashMap<u32, Handle>,
    budget: Budget,
    most: usize,
}

impl<'a> Machine<'a> {
    pub fn new(bytes: &'a [u8], limits: &Limits) -> Self {
        Machine {
            input: Input::new(bytes),
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            budget: Budget::new(limits.max_values.min(u32::MAX as usize) as u64, "values in the pickle"),
            most: limits.max_values,
        }
    }

    /// Reads to the end.
    pub fn run(mut self) -> Result<Pickle, Fault> {
        self.protocol()?;
        loop {
            let code = self.input.opcode()?;
            if code == op::STOP {
                let root = self.pop()?;
                return Ok(Pickle { values: self.values, root });
            }
            self.step(code)?;
        }
    }

    fn protocol(&mut self) -> Result<(), Fault> {
        if self.input.opcode()? != op::PROTO {
            return Err(self.input.wrong("it does not start with a protocol; torch writes protocols 2 to 5"));
        }
        let protocol = self.input.u8()?;
        if !PROTOCOLS.contains(&protocol) {
            return Err(self.input.wrong(format!("protocol {protocol}; torch writes protocols 2 to 5")));
        }
        Ok(())
    }

    fn step(&mut self, code: u8) -> Result<(), Fault> {
        match code {
            op::FRAME => self.input.check_frame(),
            op::MARK | op::POP | op::POP_MARK | op::DUP => self.shuffle(code),
            op::NONE | op::NEWTRUE | op::NEWFALSE => self.constant(code),
            op::BININT | op::BININT1 | op::BININT2 | op::LONG1 | op::LONG4 | op::BINFLOAT => {
                self.number(code)
            }
            op::BINUNICODE | op::SHORT_BINUNICODE | op::BINUNICODE8 => self.text(code),
            op::BINSTRING | op::SHORT_BINSTRING => self.old_string(code),
            op::BINBYTES | op::SHORT_BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => self.bytes(code),
            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(code),
            op::BINGET | op::LONG_BINGET => self.get(code),
            op::EMPTY_TUPLE | op::TUPLE | op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.tuple(code),
            op::EMPTY_LIST | op::EMPTY_DICT | op::EMPTY_SET => self.empty(code),
            op::LIST | op::DICT | op::FROZENSET => self.collection(code),
            op::APPEND | op::APPENDS | op::ADDITEMS | op::SETITEM | op::SETITEMS => self.extend(code),
            op::GLOBAL | op::STACK_GLOBAL => self.global(code),
            op::NEWOBJ | op::NEWOBJ_EX => self.object(code),
            op::REDUCE => self.reduce(),
            op::OBJ | op::INST => self.old_call(code),
            op::BUILD => self.build(),
            op::BINPERSID => self.storage(),
            _ => Err(self.input.wrong(refusal(code))),
        }
    }

    fn shuffle(&mut self, code: u8) -> Result<(), Fault> {
        match code {
            op::MARK => {
                self.room(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            op::DUP => {
                let top = self.top()?;
                self.push(top)?;
            }
            op::POP_MARK => drop(self.above_mark()?),
            // What is popped may be a mark.
            _ if self.marks.last() == Some(&self.stack.len()) => drop(self.marks.pop()),
            _ => drop(self.pop()?),
        }
        Ok(())
    }

    fn constant(&mut self, code: u8) -> Result<(), Fault> {
        self.push_new(match code {
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            _ => Value::None,
        })
    }

    fn number(&mut self, code: u8) -> Result<(), Fault> {
        let value = match code {
            op::BININT => Value::Int(self.input.i32()?.into()),
            op::BININT1 => Value::Int(self.input.u8()?.into()),
            op::BININT2 => Value::Int(self.input.u16()?.into()),
            op::BINFLOAT => Value::Float(self.input.f64()?),
            _ => {
                let length =
                    if code == op::LONG1 { self.input.u8()?.into() } else { self.input.u32()?.into() };
                integer(self.input.take(length)?)
            }
        };
        self.push_new(value)
    }

    fn text(&mut self, code: u8) -> Result<(), Fault> {
        let length = match code {
            op::SHORT_BINUNICODE => self.input.u8()?.into(),
            op::BINUNICODE => self.input.u32()?.into(),
            _ => self.input.u64()?,
        };
        let text = self.input.text(length)?;
        self.push_new(Value::Text(text.into()))
    }

    /// Python 2 has one type for texts and bytes.
    fn old_string(&mut self, code: u8) -> Result<(), Fault> {
        let length =
            if code == op::SHORT_BINSTRING { self.input.u8()?.into() } else { self.input.u32()?.into() };
        let bytes = self.input.take(length)?;
        self.push_new(match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Bytes(bytes.into()),
        })
    }

    fn bytes(&mut self, code: u8) -> Result<(), Fault> {
        let length = match code {
            op::SHORT_BINBYTES => self.input.u8()?.into(),
            op::BINBYTES => self.input.u32()?.into(),
            _ => self.input.u64()?,
        };
        let bytes = self.input.take(length)?;
        self.push_new(Value::Bytes(bytes.into()))
    }

    fn put(&mut self, code: u8) -> Result<(), Fault> {
        let index = match code {
            op::BINPUT => self.input.u8()?.into(),
            op::LONG_BINPUT => self.input.u32()?,
            _ => self.memo.len() as u32,
        };
        self.room(self.memo.len())?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn get(&mut self, code: u8) -> Result<(), Fault> {
        let index = if code == op::BINGET { self.input.u8()?.into() } else { self.input.u32()? };
        let found = self.memo.get(&index).copied();
        let found = found.ok_or_else(|| self.input.wrong(format!("nothing was stored under {index}")))?;
        self.push(found)
    }

    fn tuple(&mut self, code: u8) -> Result<(), Fault> {
        let items = match code {
            op::EMPTY_TUPLE => Vec::new(),
            op::TUPLE => self.above_mark()?,
            _ => self.last(usize::from(code - op::TUPLE1) + 1)?,
        };
        self.spend(items.len())?;
        self.push_new(Value::Tuple(items.into()))
    }

    fn empty(&mut self, code: u8) -> Result<(), Fault> {
        self.push_new(match code {
            op::EMPTY_LIST => Value::List(Vec::new()),
            op::EMPTY_SET => Value::Set(Vec::new()),
            _ => Value::Dict(Vec::new()),
        })
    }

    fn collection(&mut self, code: u8) -> Result<(), Fault> {
        let items = self.above_mark()?;
        self.spend(items.len())?;
        let value = match code {
            op::LIST => Value::List(items),
            op::FROZENSET => Value::Set(items),
            _ => Value::Dict(self.pairs(&items)?),
        };
        self.push_new(value)
    }

    /// Puts what stands on the stack into the list, set or dictionary below it.
    fn extend(&mut self, code: u8) -> Result<(), Fault> {
        let items = match code {
            op::APPEND => self.last(1)?,
            op::SETITEM => self.last(2)?,
            _ => self.above_mark()?,
        };
        self.spend(items.len())?;
        let target = self.top()?;
        if matches!(code, op::SETITEM | op::SETITEMS) {
            let pairs = self.pairs(&items)?;
            match &mut self.values[target.0 as usize] {
                Value::Dict(entries) => entries.extend(pairs),
                Value::Record(record) => record.entries.extend(pairs),
                other => return Err(self.input.wrong(format!("a key is set in {}", other.kind()))),
            }
        } else {
            match &mut self.values[target.0 as usize] {
                Value::List(list) if code != op::ADDITEMS => list.extend(items),
                Value::Set(set) if code == op::ADDITEMS => set.extend(items),
                Value::Record(record) => record.items.extend(items),
                other => return Err(self.input.wrong(format!("something is appended to {}", other.kind()))),
            }
        }
        Ok(())
    }

    fn global(&mut self, code: u8) -> Result<(), Fault> {
        let name = if code == op::GLOBAL {
            self.input.name()?
        } else {
            let parts = self.last(2)?;
            match [self.value(parts[0]), self.value(parts[1])] {
                [Value::Text(module), Value::Text(name)] => {
                    let (module, name) = (module.to_string(), name.to_string());
                    self.input.checked_name(module, name)?
                }
                _ => return Err(self.input.wrong("the name of a class is no text")),
            }
        };
        self.push_new(Value::Name(Box::new(name)))
    }

    /// An object without its constructor being called: a record, whatever its class.
    fn object(&mut self, code: u8) -> Result<(), Fault> {
        let parts = self.last(if code == op::NEWOBJ { 2 } else { 3 })?;
        let (class, arguments) = (parts[0], parts[1]);
        self.name_of(class, "an object is made of")?;
        self.expect_tuple(arguments)?;
        let record = self.record(class, arguments)?;
        self.push(record)
    }

    fn reduce(&mut self) -> Result<(), Fault> {
        let parts = self.last(2)?;
        let result = self.call(parts[0], parts[1])?;
        self.push(result)
    }

    /// OBJ and INST call their class with everything above the mark.
    fn old_call(&mut self, code: u8) -> Result<(), Fault> {
        let (callee, arguments) = if code == op::INST {
            let name = self.input.name()?;
            (self.add(Value::Name(Box::new(name)))?, self.above_mark()?)
        } else {
            let mut items = self.above_mark()?;
            if items.is_empty() {
                return Err(self.input.wrong("an object without a class"));
            }
            (items.remove(0), items)
        };
        self.spend(arguments.len())?;
        let arguments = self.add(Value::Tuple(arguments.into()))?;
        let result = self.call(callee, arguments)?;
        self.push(result)
    }

    fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let target = self.top()?;
        self.spend(1)?;
        match &mut self.values[target.0 as usize] {
            Value::Record(record) => record.states.push(state),
            // A state dictionary's `_metadata`, a tensor's own attributes: nothing that weights depend on.
            Value::Dict(_) | Value::Tensor(_) => {}
            other => return Err(self.input.wrong(format!("attributes are set on {}", other.kind()))),
        }
        Ok(())
    }

    /// torch refers to storages by `("storage", class, key, device, elements)`.
    fn storage(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let Value::Tuple(parts) = self.value(id) else {
            return Err(self.input.wrong("a reference out of the pickle that is none of torch's"));
        };
        let parts: Vec<&Value> = parts.iter().map(|&part| self.value(part)).collect();
        let [Value::Text(kind), Value::Name(class), Value::Text(key), _, Value::Int(elements)] = parts[..]
        else {
            return Err(self.input.wrong("a reference out of the pickle that is no storage"));
        };
        if &**kind != "storage" || !(class.module == "torch" || class.module.starts_with("torch.")) {
            return Err(self
                .input
                .wrong(format!("a reference to {kind} of {class}, where a storage is wanted")));
        }
        let element = Element::of_storage(&class.name);
        let element =
            element.ok_or_else(|| self.input.wrong(format!("a storage of the unknown type {class}")))?;
        let elements = u64::try_from(*elements)
            .map_err(|_| self.input.wrong(format!("a storage of {elements} elements")))?;
        let storage = Storage { element, key: key.to_string(), elements };
        self.push_new(Value::Storage(Box::new(storage)))
    }

    /// The value behind a handle.
    pub(super) fn value(&self, handle: Handle) -> &Value {
        &self.values[handle.0 as usize]
    }

    /// The name behind a handle; `doing` says what wants one.
    pub(super) fn name_of(&self, handle: Handle, doing: &str) -> Result<&Name, Fault> {
        match self.value(handle) {
            Value::Name(name) => Ok(name),
            other => Err(self.input.wrong(format!("{doing} {}, where a class is wanted", other.kind()))),
        }
    }

    pub(super) fn expect_tuple(&self, handle: Handle) -> Result<&[Handle], Fault> {
        match self.value(handle) {
            Value::Tuple(items) => Ok(items),
            other => {
                Err(self.input.wrong(format!("the arguments are {}, where a tuple is wanted", other.kind())))
            }
        }
    }

    /// A new record of a class.
    pub(super) fn record(&mut self, class: Handle, arguments: Handle) -> Result<Handle, Fault> {
        let record = Record { class, arguments, states: vec![], items: vec![], entries: vec![] };
        self.add(Value::Record(Box::new(record)))
    }

    /// Keys and values by turns.
    fn pairs(&self, items: &[Handle]) -> Result<Vec<(Handle, Handle)>, Fault> {
        if !items.len().is_multiple_of(2) {
            return Err(self.input.wrong("a key without a value"));
        }
        Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// Adds a value to the arena.
    pub(super) fn add(&mut self, value: Value) -> Result<Handle, Fault> {
        self.spend(1)?;
        let handle = Handle(self.values.len() as u32);
        self.values.push(value);
        Ok(handle)
    }

    /// Accounts for so many values or entries.
    pub(super) fn spend(&mut self, count: usize) -> Result<(), Fault> {
        self.budget.spend(count as u64)
    }

    fn room(&self, taken: usize) -> Result<(), Fault> {
        if taken < self.most {
            return Ok(());
        }
        Err(Fault::TooLarge { what: "values on the pickle's stack".to_owned(), limit: self.most as u64 })
    }

    fn push_new(&mut self, value: Value) -> Result<(), Fault> {
        let handle = self.add(value)?;
        self.push(handle)
    }

    fn push(&mut self, handle: Handle) -> Result<(), Fault> {
        self.room(self.stack.len())?;
        self.stack.push(handle);
        Ok(())
    }

    /// Values below the last mark are out of reach.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Handle, Fault> {
        let reachable = &self.stack[self.floor()..];
        reachable.last().copied().ok_or_else(|| self.input.wrong("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Handle, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The last so many values, in order.
    fn last(&mut self, count: usize) -> Result<Vec<Handle>, Fault> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.floor());
        let start = start.ok_or_else(|| self.input.wrong("the stack is empty"))?;
        Ok(self.stack.split_off(start))
    }

    /// Everything above the last mark, which goes as well.
    fn above_mark(&mut self) -> Result<Vec<Handle>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| self.input.wrong("there is no mark on the stack"))?;
        Ok(self.stack.split_off(mark))
    }
}

/// A little-endian integer in two's complement.
fn integer(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::LongInt;
    }
    let negative = bytes.last().is_some_and(|&high| high >= 0x80);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(whole))
}

/// Why an instruction is not followed.
fn refusal(code: u8) -> String {
    let name = op::name(code);
    match code {
        op::EXT1 | op::EXT2 | op::EXT4 => {
            format!("{name}: it names a class by a number of another program's")
        }
        op::NEXT_BUFFER | op::READONLY_BUFFER => format!("{name}: it wants bytes from outside the file"),
        op::PROTO => "a second protocol within the pickle".to_owned(),
        _ if name.is_empty() => format!("byte {code:#04x} is no instruction: the file is damaged"),
        _ => format!("{name} is an instruction of protocols 0 and 1; torch writes protocols 2 to 5"),
    }
}
