//! Decoded pairs in memory that the processes of one machine share: whoever wants a pair first decodes it for all.
//!
//! A region is a state a pair, then the pairs' words, each pair's from a multiple of 64 bytes on. It lies in an anonymous
//! file, which others open by the path of its maker's file descriptor and which the system frees with its last process.
//! A pair's words are written once, by the one process that has claimed it, before its state says that they are there.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memmap2::{MmapOptions, MmapRaw};

use crate::error::DataError;
use crate::loader::Sizes;
use crate::sample::Sample;

/// Nobody has decoded it; all memory begins so.
const ABSENT: u32 = 0;
/// Some process is at it.
const CLAIMED: u32 = 1;
/// Its words may be read.
const THERE: u32 = 2;

/// How often it is looked whether another process has decoded a pair, which takes it milliseconds.
const GLANCE: Duration = Duration::from_micros(200);

/// Bytes to a multiple of which pairs are aligned.
const ALIGNMENT: usize = 64;

/// The pairs of a loader, side by side in memory of several processes.
#[derive(Debug, Clone)]
pub struct SharedPairs {
    region: Arc<Region>,
    sizes: Arc<Vec<Sizes>>,
    /// First byte of each pair's words.
    starts: Arc<Vec<usize>>,
    /// What others open; held open by the maker.
    path: PathBuf,
}

/// The memory. Words are only borrowed from it where the state says [`THERE`].
#[derive(Debug)]
pub(crate) struct Region {
    map: MmapRaw,
    _file: File,
}

impl SharedPairs {
    /// Memory for pairs of these sizes, none of them there yet. It is taken as the pairs come.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn create(sizes: Vec<Sizes>) -> io::Result<Self> {
        let (starts, bytes) = layout(&sizes);
        let file = anonymous_file()?;
        file.set_len(bytes as u64)?;
        let path = path_of(&file);
        SharedPairs::new(file, path, sizes, starts)
    }

    /// The memory that another process has made for the same pairs and still holds, by its [`SharedPairs::path`].
    ///
    /// # Errors
    /// What the system refuses, and memory for other pairs.
    pub fn open(path: &Path, sizes: Vec<Sizes>) -> io::Result<Self> {
        let (starts, bytes) = layout(&sizes);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != bytes as u64 {
            return Err(io::Error::other("it was made for other pairs"));
        }
        SharedPairs::new(file, path.to_owned(), sizes, starts)
    }

    fn new(file: File, path: PathBuf, sizes: Vec<Sizes>, starts: Vec<usize>) -> io::Result<Self> {
        let map = MmapOptions::new().map_raw(&file)?;
        let region = Arc::new(Region { map, _file: file });
        Ok(SharedPairs { region, sizes: Arc::new(sizes), starts: Arc::new(starts), path })
    }

    /// Where other processes of this machine find the memory as long as this one holds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of pairs.
    pub(crate) fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Pair number `index`: from the memory, or from `decode`, whose pair is then there for all.
    pub(crate) fn get(
        &self,
        index: usize,
        decode: impl FnOnce() -> Result<Sample, DataError>,
    ) -> Result<Sample, DataError> {
        assert!(index < self.len(), "pair {index} of {}", self.len());
        let state = self.region.state(index);
        loop {
            match state.compare_exchange(ABSENT, CLAIMED, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => break,
                Err(THERE) => return Ok(self.sample(index)),
                Err(_) => std::thread::sleep(GLANCE),
            }
        }
        let mut claim = Claim { state, leaves: ABSENT };
        let sample = decode()?;
        if sample.size() != self.sizes[index].sample {
            let why = format!("pair {index} has become {sample:?} while the run was starting; start again");
            return Err(DataError::Worker(why));
        }
        // SAFETY: `starts` leaves that many words of the region to this pair, and its claim is ours.
        unsafe { self.region.write(self.starts[index], sample.words()) };
        claim.leaves = THERE;
        drop(claim);
        Ok(self.sample(index))
    }

    /// Makes every pair absent. No process may read or hold one meanwhile.
    pub(crate) fn forget(&self) {
        (0..self.sizes.len()).for_each(|index| self.region.state(index).store(ABSENT, Ordering::Release));
    }

    fn sample(&self, index: usize) -> Sample {
        let Sizes { sample, source } = self.sizes[index];
        Sample::shared(Arc::clone(&self.region), self.starts[index], sample, source)
    }
}

impl Region {
    fn state(&self, index: usize) -> &AtomicU32 {
        // SAFETY: the region begins with an aligned state for each of its pairs, which is only ever used atomically.
        unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().cast::<u32>().add(index)) }
    }

    /// Writes words from byte `start` on.
    ///
    /// # Safety
    /// They lie within the region, at a multiple of four, and nobody else reads or writes there.
    unsafe fn write(&self, start: usize, words: &[u32]) {
        // SAFETY: the caller's promise.
        unsafe {
            let to = self.map.as_mut_ptr().add(start).cast::<u32>();
            to.copy_from_nonoverlapping(words.as_ptr(), words.len());
        }
    }

    /// `count` words from byte `start` on: those of a pair that was found to be there.
    pub(crate) fn words(&self, start: usize, count: usize) -> &[u32] {
        // SAFETY: only SharedPairs hands out start and count, of a pair whose words nobody writes any more.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(start).cast::<u32>(), count) }
    }
}

/// A pair that this process decodes. What goes wrong leaves it to others.
struct Claim<'a> {
    state: &'a AtomicU32,
    leaves: u32,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.state.store(self.leaves, Ordering::Release);
    }
}

/// First byte of each pair's words, and bytes in all.
fn layout(sizes: &[Sizes]) -> (Vec<usize>, usize) {
    let mut next = (size_of::<u32>() * sizes.len()).next_multiple_of(ALIGNMENT);
    let mut place = |size: &Sizes| {
        let start = next;
        next += (size_of::<u32>() * size.sample.0 * size.sample.1).next_multiple_of(ALIGNMENT);
        start
    };
    let starts = sizes.iter().map(&mut place).collect();
    (starts, next.max(ALIGNMENT))
}

#[cfg(target_os = "linux")]
fn anonymous_file() -> io::Result<File> {
    use std::os::fd::FromRawFd;
    // SAFETY: a string that ends with a zero; the descriptor is new and ours.
    unsafe {
        match libc::memfd_create(c"yf-pairs".as_ptr(), libc::MFD_CLOEXEC) {
            descriptor if descriptor >= 0 => Ok(File::from_raw_fd(descriptor)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(target_os = "linux")]
fn path_of(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn anonymous_file() -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn path_of(_file: &File) -> PathBuf {
    PathBuf::new()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::picture::{Pair, Picture};

    const SIZES: [(usize, usize); 5] = [(3, 2), (16, 16), (1, 1), (7, 5), (64, 3)];

    fn sizes() -> Vec<Sizes> {
        SIZES.iter().map(|&sample| Sizes { source: (640, 480), sample }).collect()
    }

    /// A pair whose pixels tell its number.
    fn pair(index: usize) -> Sample {
        let (width, height) = SIZES[index];
        let grey = 10 * index as u8;
        let rgb = Picture { width, height, pixels: vec![grey; 3 * width * height] };
        let ir = Picture { width, height, pixels: vec![grey + 1; width * height] };
        Sample::new(&Pair { rgb, ir }, (640, 480)).expect("pixels")
    }

    #[test]
    fn a_pair_is_decoded_once_for_all_who_open_the_memory() {
        let maker = SharedPairs::create(sizes()).expect("memory");
        let other = SharedPairs::open(maker.path(), sizes()).expect("the maker's memory");
        let decoded = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (pairs, decoded) = (if thread % 2 == 0 { &maker } else { &other }, &decoded);
                scope.spawn(move || {
                    for index in 0..SIZES.len() {
                        let sample = pairs.get(index, || {
                            decoded.fetch_add(1, Ordering::Relaxed);
                            std::thread::sleep(Duration::from_millis(2));
                            Ok(pair(index))
                        });
                        assert_eq!(sample.expect("decodes"), pair(index));
                    }
                });
            }
        });
        assert_eq!(decoded.into_inner(), SIZES.len());
        other.forget();
        assert!(maker.get(3, || Err(DataError::Worker("asked again".to_owned()))).is_err());
    }

    #[test]
    fn what_cannot_be_decoded_is_left_to_the_next() {
        let pairs = SharedPairs::create(sizes()).expect("memory");
        assert!(pairs.get(1, || Err(DataError::Worker("a bad file".to_owned()))).is_err());
        assert!(pairs.get(1, || Ok(pair(0))).is_err(), "a pair of another size");
        assert_eq!(pairs.get(1, || Ok(pair(1))).expect("decodes"), pair(1));
    }

    #[test]
    fn memory_of_other_pairs_is_refused() {
        let maker = SharedPairs::create(sizes()).expect("memory");
        assert!(SharedPairs::open(maker.path(), sizes()[1..].to_vec()).is_err());
        let path = maker.path().to_owned();
        drop(maker);
        assert!(SharedPairs::open(&path, sizes()).is_err(), "gone with its maker");
    }
}
