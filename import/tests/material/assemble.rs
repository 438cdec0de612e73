//! Pickles assembled by hand, and zip archives around them.

use rawzip::ZipArchiveWriter;
use std::io::Write;

/// A pickle in the making. Every method appends instructions.
pub struct Pickled(Vec<u8>);

impl Pickled {
    pub fn new() -> Self {
        Pickled(vec![0x80, 2])
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn global(self, module: &str, name: &str) -> Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub fn text(self, text: &str) -> Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    /// An integer of 64 bits.
    pub fn int(self, number: i64) -> Self {
        self.raw(&[0x8a, 8]).raw(&number.to_le_bytes())
    }

    pub fn tuple_of_ints(self, numbers: &[i64]) -> Self {
        numbers.iter().fold(self.raw(b"("), |pickled, &number| pickled.int(number)).raw(b"t")
    }

    /// A call with one text.
    pub fn call(self, module: &str, name: &str, argument: &str) -> Self {
        self.global(module, name).text(argument).raw(b"\x85R")
    }

    /// A storage of so many elements.
    pub fn storage(self, class: &str, key: &str, elements: i64) -> Self {
        let id = self.raw(b"(").text("storage").global("torch", class).text(key).text("cpu");
        id.int(elements).raw(b"tQ")
    }

    /// A tensor over a storage of `elements` floats under `key`.
    pub fn tensor(self, (key, elements): (&str, i64), offset: i64, shape: &[i64], strides: &[i64]) -> Self {
        let started = self.global("torch._utils", "_rebuild_tensor_v2").raw(b"(");
        let view = started.storage("FloatStorage", key, elements).int(offset);
        view.tuple_of_ints(shape).tuple_of_ints(strides).raw(b"\x89NtR")
    }

    pub fn end(self) -> Vec<u8> {
        self.raw(b".").0
    }
}

/// A zip archive of stored members.
pub fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut archive = ZipArchiveWriter::new(&mut bytes);
    for (name, content) in members {
        let file = archive.new_file(name).compression_method(rawzip::CompressionMethod::STORE);
        let (mut entry, config) = file.start().unwrap();
        let mut writer = config.wrap(&mut entry);
        writer.write_all(content).unwrap();
        let (_, descriptor) = writer.finish().unwrap();
        entry.finish(descriptor).unwrap();
    }
    archive.finish().unwrap();
    bytes
}

/// A checkpoint: a pickle, and storages by key.
pub fn checkpoint(pickle: &[u8], storages: &[(&str, &[u8])]) -> Vec<u8> {
    let named: Vec<(String, &[u8])> =
        storages.iter().map(|(key, bytes)| (format!("archive/data/{key}"), *bytes)).collect();
    let mut members = vec![("archive/data.pkl", pickle)];
    members.extend(named.iter().map(|(name, bytes)| (name.as_str(), *bytes)));
    zip(&members)
}
