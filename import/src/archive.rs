//! The zip archive around a checkpoint: `NAME/data.pkl`, `NAME/data/0`, `NAME/data/1`, ..., as torch writes it.
//!
//! torch stores its members uncompressed, and nothing else is taken: so a member is never larger than the file, and
//! members that share bytes are refused.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use rawzip::{
    CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipLocator,
};

use crate::{Fault, Limits};

/// An archive whose members are known and do not overlap.
pub(crate) struct Archive<R> {
    zip: ZipArchive<At<R>>,
    members: HashMap<String, ZipArchiveEntryWayfinder>,
    /// The folder in the archive, with its slash.
    folder: String,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads the directory and checks every member's place.
    pub fn open(mut reader: R, limits: &Limits) -> Result<Self, Fault> {
        let length = reader.seek(SeekFrom::End(0))?;
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let reader = At(RefCell::new(reader));
        let zip = ZipLocator::new().locate_in_reader(reader, &mut buffer, length);
        let zip = zip.map_err(|(_, error)| damaged(error))?;
        let mut members = HashMap::new();
        let mut places = Vec::new();
        let mut entries = zip.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(damaged)? {
            if members.len() == limits.max_members {
                let what = "members in the zip archive".to_owned();
                return Err(Fault::TooLarge { what, limit: limits.max_members as u64 });
            }
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            let wrong = |why: &str| Fault::Archive(format!("member {name} {why}"));
            if entry.flags().is_encrypted() {
                return Err(wrong("is encrypted"));
            }
            if entry.compression_method() != CompressionMethod::STORE {
                return Err(wrong(
                    "is compressed; torch stores members as they are: save the file with torch",
                ));
            }
            let member = entry.wayfinder();
            let header = entry.local_header_offset();
            let (start, end) = zip.get_entry(member).map_err(damaged)?.compressed_data_range();
            if start > end || end > length {
                return Err(wrong("goes beyond the end of the file: it is cut off"));
            }
            if end - start != member.uncompressed_size_hint() {
                return Err(wrong("is said to have two different sizes"));
            }
            places.push(Place { start: header, end, name: name.clone() });
            if members.insert(name.clone(), member).is_some() {
                return Err(Fault::Archive(format!("two members are called {name}")));
            }
        }
        apart(places)?;
        let folder = folder(members.keys())?;
        Archive { zip, members, folder }.checked()
    }

    /// Refuses what is no checkpoint, or one that cannot be read here.
    fn checked(self) -> Result<Self, Fault> {
        if self.size("constants.pkl").is_some() {
            let why =
                "a TorchScript archive: a program with its weights. Save the network's state_dict instead";
            return Err(Fault::Form(why.to_owned()));
        }
        if self.size("byteorder").is_some() {
            let order = self.read("byteorder", 16)?;
            if order != b"little" {
                let order = String::from_utf8_lossy(&order).into_owned();
                return Err(Fault::Form(format!(
                    "its numbers are stored in {order}-endian order, not little"
                )));
            }
        }
        Ok(self)
    }

    /// Bytes of a member of the checkpoint's folder, `None` where there is none.
    pub fn size(&self, name: &str) -> Option<u64> {
        self.members.get(&format!("{}{name}", self.folder)).map(|member| member.uncompressed_size_hint())
    }

    /// A whole member, its checksum checked. `limit` bounds its bytes.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Fault> {
        let name = format!("{}{name}", self.folder);
        let member = self.members.get(&name);
        let member = *member.ok_or_else(|| Fault::Archive(format!("there is no member {name}")))?;
        let size = member.uncompressed_size_hint();
        if size > limit {
            return Err(Fault::TooLarge { what: format!("bytes in the member {name}"), limit });
        }
        let broken = |error: &dyn std::fmt::Display| Fault::Archive(format!("member {name}: {error}"));
        let entry = self.zip.get_entry(member).map_err(|e| broken(&e))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size as usize).map_err(|e| broken(&e))?;
        entry.verifying_reader(entry.reader()).read_to_end(&mut bytes).map_err(|e| broken(&e))?;
        Ok(bytes)
    }
}

/// A reader that is asked for bytes by their place.
struct At<R>(RefCell<R>);

impl<R: Read + Seek> ReaderAt for At<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut reader = self.0.borrow_mut();
        reader.seek(SeekFrom::Start(offset))?;
        reader.read(buffer)
    }
}

/// Where a member lies, its header included.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    start: u64,
    end: u64,
    name: String,
}

/// No two members share bytes.
fn apart(mut places: Vec<Place>) -> Result<(), Fault> {
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0].end > pair[1].start) {
        None => Ok(()),
        Some(pair) => Err(Fault::Archive(format!(
            "the members {} and {} overlap; torch writes no such files",
            pair[0].name, pair[1].name
        ))),
    }
}

/// The one folder that holds `data.pkl`.
fn folder<'a>(names: impl Iterator<Item = &'a String>) -> Result<String, Fault> {
    let mut folders = names.filter_map(|name| {
        let folder = name.strip_suffix("data.pkl")?;
        let depth = folder.matches('/').count();
        (folder.is_empty() || depth == 1 && folder.ends_with('/')).then(|| folder.to_owned())
    });
    let found = folders.next().ok_or_else(|| {
        Fault::Form("a zip archive without data.pkl: no checkpoint that torch.save wrote".to_owned())
    })?;
    if folders.next().is_some() {
        return Err(Fault::Archive("there is more than one data.pkl".to_owned()));
    }
    Ok(found)
}

fn damaged(error: rawzip::Error) -> Fault {
    Fault::Archive(error.to_string())
}
