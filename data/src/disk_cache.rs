//! Decoded pairs on the disk: one file a pair, both modalities, mapped into memory when it is read.
//!
//! A file is an 8-byte magic, the length of a JSON header, the header, zeros up to a multiple of 64 bytes, and the
//! words of a [`Sample`]. It is believed only if header, length and checksum are right and both source files still
//! have the size and the time of modification that the header tells; anything else is decoded and written anew.
//! Files are written under another name and renamed, so that processes can share a folder: each sees whole files.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::dataset::PairFiles;
use crate::error::DataError;
use crate::sample::Sample;

/// A folder of decoded pairs.
#[derive(Debug)]
pub(crate) struct DiskCache {
    folder: PathBuf,
    fit: usize,
    /// Pairs whose file was checked by this process.
    checked: Vec<AtomicBool>,
    refuses: AtomicBool,
}

const MAGIC: &[u8; 8] = b"yf-pair\n";
/// Raised whenever what a decoded pair looks like changes: the layout, decoding, resizing.
const VERSION: u32 = 1;
const ALIGNMENT: usize = 64;
/// A header is paths and numbers; more is damage.
const MAX_HEADER: usize = 64 << 10;
/// Half files that are older were left by a process that was killed.
const STALE: Duration = Duration::from_secs(3600);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    origin: Origin,
    /// Width and height of the words.
    size: (usize, usize),
    /// Width and height of the RGB file.
    source: (usize, usize),
    checksum: u32,
}

/// What a cached pair was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    version: u32,
    fit: usize,
    rgb: Stamp,
    ir: Stamp,
}

/// Tells whether a file is still the one it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    path: String,
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: u64,
}

impl DiskCache {
    /// A cache of `count` pairs scaled to `fit` in `folder`, which is made where it is not there.
    pub fn open(folder: &Path, fit: usize, count: usize) -> Result<Self, DataError> {
        fs::create_dir_all(folder).map_err(|source| DataError::io(folder, source))?;
        sweep(folder);
        let checked = (0..count).map(|_| AtomicBool::new(false)).collect();
        Ok(DiskCache { folder: folder.to_path_buf(), fit, checked, refuses: AtomicBool::new(false) })
    }

    /// Pair number `index`, whose files are `files`: from its file, or from `decode`, which is then kept. A disk that
    /// takes nothing more is complained of once and does without.
    pub fn get(
        &self,
        index: usize,
        files: &PairFiles,
        decode: impl FnOnce() -> Result<Sample, DataError>,
    ) -> Result<Sample, DataError> {
        let Ok(origin) = Origin::of(files, self.fit) else { return decode() };
        let path = self.folder.join(origin.file_name());
        if let Some(sample) = self.read(index, &path, &origin) {
            return Ok(sample);
        }
        let sample = decode()?;
        if !self.refuses.load(Ordering::Relaxed)
            && let Err(error) = write(&path, &origin, &sample)
            && !self.refuses.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{}: {error}; what is not cached yet will be decoded again", path.display());
        }
        Ok(sample)
    }

    /// `None` where there is no file, or not one that can be believed.
    fn read(&self, index: usize, path: &Path, origin: &Origin) -> Option<Sample> {
        let file = File::open(path).ok()?;
        // SAFETY: files of the cache are never written to in place, only replaced under their name; so the mapped
        // bytes do not change. Who truncates one by hand while it is mapped ends the process, but corrupts nothing.
        let map = unsafe { Mmap::map(&file) }.ok()?;
        let (header, start) = header(&map)?;
        let checksum = header.checksum;
        if header.origin != *origin {
            return None;
        }
        let sample = Sample::mapped(map, start, header.size, header.source)?;
        let seen = self.checked.get(index)?;
        if !seen.load(Ordering::Relaxed) {
            if crc32fast::hash(bytemuck::cast_slice(sample.words())) != checksum {
                return None;
            }
            seen.store(true, Ordering::Relaxed);
        }
        Some(sample)
    }
}

impl Origin {
    fn of(files: &PairFiles, fit: usize) -> io::Result<Self> {
        Ok(Origin { version: VERSION, fit, rgb: Stamp::of(&files.rgb)?, ir: Stamp::of(&files.ir)? })
    }

    /// Says where the pair lies, not how old it is: a newer pair replaces the older one.
    fn file_name(&self) -> String {
        let key = format!("{}\0{}\0{}", self.rgb.path, self.ir.path, self.fit);
        // FNV-1a, 64 bits. Two pairs of one name would only replace each other: the header holds the paths.
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        format!("{hash:016x}.pair")
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let meta = fs::metadata(path)?;
        let modified = meta.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let path = std::path::absolute(path)?.to_string_lossy().into_owned();
        Ok(Stamp { path, bytes: meta.len(), modified })
    }
}

/// The header of a cached pair, and the byte at which its words start.
fn header(bytes: &[u8]) -> Option<(Header, usize)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|&length| length <= MAX_HEADER)?;
    let header = serde_json::from_slice(rest.get(..length)?).ok()?;
    Some((header, (MAGIC.len() + 4 + length).next_multiple_of(ALIGNMENT)))
}

/// Writes a pair so that others see all of it or nothing.
fn write(path: &Path, origin: &Origin, sample: &Sample) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let words: &[u8] = bytemuck::cast_slice(sample.words());
    let header = Header {
        origin: origin.clone(),
        size: sample.size(),
        source: sample.source(),
        checksum: crc32fast::hash(words),
    };
    let json = serde_json::to_vec(&header)?;
    let mut head = [MAGIC.as_slice(), &(json.len() as u32).to_le_bytes(), &json].concat();
    head.resize(head.len().next_multiple_of(ALIGNMENT), 0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let half = path.with_extension(format!("{}-{number}.{HALF}", std::process::id()));
    let written = File::create_new(&half).and_then(|mut file| {
        file.write_all(&head)?;
        file.write_all(words)
    });
    written.and_then(|()| fs::rename(&half, path)).inspect_err(|_| {
        let _ = fs::remove_file(&half);
    })
}

/// Suffix of a file that is being written.
const HALF: &str = "part";

/// Removes what killed processes left.
fn sweep(folder: &Path) {
    let old = |path: &Path| {
        let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok();
        modified.and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age > STALE)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    for half in entries.filter(|path| path.extension().is_some_and(|suffix| suffix == HALF) && old(path)) {
        let _ = fs::remove_file(half);
    }
}

#[cfg(test)]
mod tests;
