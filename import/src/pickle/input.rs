//! The bytes of a pickle, read from the front. Every length is checked against what is left.

use super::value::Name;
use crate::Fault;

/// Longer names of classes are no names.
const MAX_NAME: usize = 1024;

/// The bytes and how far they are read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the current instruction stands.
    instruction: usize,
}

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { bytes, at: 0, instruction: 0 }
    }

    /// Where the current instruction stands.
    pub fn offset(&self) -> usize {
        self.instruction
    }

    /// An error of the current instruction.
    pub fn wrong(&self, why: impl Into<String>) -> Fault {
        Fault::Pickle { offset: self.instruction, why: why.into() }
    }

    /// The next instruction.
    pub fn opcode(&mut self) -> Result<u8, Fault> {
        self.instruction = self.at;
        self.u8()
    }

    /// So many bytes.
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let left = self.bytes.len() - self.at;
        let count = usize::try_from(count).ok().filter(|&count| count <= left).ok_or_else(|| {
            self.wrong(format!(
                "{count} bytes are wanted and {left} are left: the file is cut off or damaged"
            ))
        })?;
        let taken = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// Floats are the one thing that pickles write with the high byte first.
    pub fn f64(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_be_bytes)
    }

    /// A frame must lie within the file; within it nothing is special.
    pub fn check_frame(&mut self) -> Result<(), Fault> {
        let length = self.u64()?;
        let left = (self.bytes.len() - self.at) as u64;
        if length > left {
            return Err(self.wrong(format!("a frame of {length} bytes, and {left} are left")));
        }
        Ok(())
    }

    /// Text of so many bytes.
    pub fn text(&mut self, bytes: u64) -> Result<&'a str, Fault> {
        let raw = self.take(bytes)?;
        std::str::from_utf8(raw).map_err(|_| self.wrong("a text that is not UTF-8"))
    }

    /// A class or function as two lines.
    pub fn name(&mut self) -> Result<Name, Fault> {
        let (module, name) = (self.line()?.to_owned(), self.line()?.to_owned());
        self.checked_name(module, name)
    }

    /// A class or function whose name is of a reasonable length.
    pub fn checked_name(&self, module: String, name: String) -> Result<Name, Fault> {
        if module.len() > MAX_NAME || name.len() > MAX_NAME {
            return Err(self.wrong(format!("the name of a class of more than {MAX_NAME} bytes")));
        }
        Ok(Name { module, name })
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(MAX_NAME + 2).position(|&byte| byte == b'\n');
        let end = end.ok_or_else(|| self.wrong("a line without an end"))?;
        let line = self.text(end as u64)?;
        self.at += 1;
        Ok(line)
    }
}
