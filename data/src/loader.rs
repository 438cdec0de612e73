//! Pairs at the network's scale, from the files, from memory or from a cache on the disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use crate::dataset::PairFiles;
use crate::decode::{Limits, dimensions, read_pair_to_fit};
use crate::disk_cache::DiskCache;
use crate::error::DataError;
pub use crate::prefetch::{Prefetch, prefetch};
use crate::resize::fit;
pub use crate::sample::Sample;
pub use crate::shared::SharedPairs;

/// Where decoded pairs stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// Nowhere: every epoch decodes anew.
    #[default]
    None,
    /// In memory.
    Ram,
    /// In files of this folder, which outlive the process and can be shared by several.
    Disk(PathBuf),
}

/// Decodes pairs and, where it was asked to, keeps them. Can be shared among threads.
#[derive(Debug)]
pub struct Loader {
    pairs: Vec<PairFiles>,
    fit: usize,
    limits: Limits,
    store: Store,
}

#[derive(Debug)]
enum Store {
    None,
    /// Locked while a pair is decoded, so that whoever wants it too waits for it.
    Ram(Vec<Mutex<Option<Arc<Sample>>>>),
    Disk(DiskCache),
    Shared(SharedPairs),
}

/// Bytes of a sample's own, beside its pixels.
const SAMPLE_BYTES: u64 = size_of::<Sample>() as u64 + 2 * size_of::<usize>() as u64;

impl Loader {
    /// A loader of `pairs`, scaled so that their longer side is `fit`. Nothing is read yet; before a cache in memory
    /// is filled, [`Loader::ensure_memory`] says whether it can be.
    ///
    /// # Errors
    /// A cache folder that cannot be made.
    pub fn new(pairs: Vec<PairFiles>, fit: usize, cache: Cache, limits: Limits) -> Result<Loader, DataError> {
        let store = match cache {
            Cache::None => Store::None,
            Cache::Ram => Store::Ram(pairs.iter().map(|_| Mutex::new(None)).collect()),
            Cache::Disk(folder) => Store::Disk(DiskCache::open(&folder, fit, pairs.len())?),
        };
        Ok(Loader { pairs, fit, limits, store })
    }

    /// The same pairs, kept from now on in memory that was made for their sizes ([`Loader::sizes`]). Panics where that is
    /// another number of pairs.
    #[must_use]
    pub fn shared(self, pairs: SharedPairs) -> Loader {
        assert_eq!(pairs.len(), self.pairs.len(), "memory of other pairs");
        Loader { store: Store::Shared(pairs), ..self }
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The files, in the order of [`Loader::get`].
    pub fn pairs(&self) -> &[PairFiles] {
        &self.pairs
    }

    /// Pair number `index`, from its cache or from its files. Panics where there is no such pair, as an index does.
    ///
    /// # Errors
    /// Files that cannot be read or decoded.
    pub fn get(&self, index: usize) -> Result<Arc<Sample>, DataError> {
        match &self.store {
            Store::None => self.decode(index).map(Arc::new),
            Store::Disk(cache) => cache.get(index, &self.pairs[index], || self.decode(index)).map(Arc::new),
            Store::Shared(pairs) => pairs.get(index, || self.decode(index)).map(Arc::new),
            Store::Ram(kept) => {
                let mut slot = kept[index].lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(sample) = &*slot {
                    return Ok(Arc::clone(sample));
                }
                let sample = Arc::new(self.decode(index)?);
                *slot = Some(Arc::clone(&sample));
                Ok(sample)
            }
        }
    }

    /// Forgets a pair that a cache in this process's own memory holds: someone else keeps it now.
    pub fn release(&self, index: usize) {
        if let Store::Ram(kept) = &self.store {
            *kept[index].lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Forgets every pair in memory. Where processes share it, none of them may read or hold a pair meanwhile.
    pub fn forget(&self) {
        match &self.store {
            Store::Ram(kept) => (0..kept.len()).for_each(|index| self.release(index)),
            Store::Shared(pairs) => pairs.forget(),
            Store::None | Store::Disk(_) => (),
        }
    }

    fn decode(&self, index: usize) -> Result<Sample, DataError> {
        let (pair, source) = read_pair_to_fit(&self.pairs[index], self.fit, &self.limits)?;
        let files = &self.pairs[index];
        Sample::new(&pair, source).ok_or_else(|| {
            let why = format!("RGB and infrared of {:?} and {:?} pixels", pair.rgb.size(), pair.ir.size());
            DataError::picture(&files.rgb, why)
        })
    }

    /// Sizes (width, height) of all RGB files and of their samples, from the files' headers.
    ///
    /// # Errors
    /// The first header that cannot be read.
    pub fn sizes(&self) -> Result<Vec<Sizes>, DataError> {
        self.pairs.par_iter().map(|files| self.size(files)).collect()
    }

    fn size(&self, files: &PairFiles) -> Result<Sizes, DataError> {
        let source = dimensions(&files.rgb)?;
        Ok(Sizes { source, sample: fit(source, self.fit) })
    }

    /// Bytes that all pairs take in memory, both modalities at the loader's scale. Reads the headers of at most
    /// `sample_count` files, spread over the pairs, and is exact where that is all of them.
    ///
    /// # Errors
    /// A header that cannot be read.
    pub fn estimate_bytes(&self, sample_count: usize) -> Result<u64, DataError> {
        let total = self.pairs.len();
        let count = sample_count.clamp(1, total.max(1)).min(total);
        if count == 0 {
            return Ok(0);
        }
        let bytes = (0..count)
            .into_par_iter()
            .map(|i| {
                let (width, height) = self.size(&self.pairs[i * total / count])?.sample;
                Ok(4 * (width * height) as u64 + SAMPLE_BYTES)
            })
            .try_reduce(|| 0, |a, b| Ok(a + b))?;
        Ok((u128::from(bytes) * total as u128 / count as u128) as u64)
    }

    /// Whether a cache in this process's memory fits into `room` bytes. Says the bytes that it will take; 0 without one.
    ///
    /// # Errors
    /// [`DataError::Memory`] where it does not fit, and headers that cannot be read.
    pub fn ensure_memory(&self, room: u64) -> Result<u64, DataError> {
        if !matches!(self.store, Store::Ram(_)) {
            return Ok(0);
        }
        let needed = self.estimate_bytes(1000)?;
        if needed > room { Err(DataError::Memory { needed, available: room }) } else { Ok(needed) }
    }
}

/// How large a pair is, (width, height) in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// The RGB file.
    pub source: (usize, usize),
    /// The sample, resized.
    pub sample: (usize, usize),
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn loader(cache: Cache, folder: &Path) -> Loader {
        let mut pairs = Vec::new();
        for (i, size) in [(40, 20), (30, 60), (64, 64)].into_iter().enumerate() {
            let file = |kind: &str| folder.join(format!("{i}{kind}.png"));
            let (rgb, ir) = (file("rgb"), file("ir"));
            image::RgbImage::new(size.0, size.1).save(&rgb).expect("a temporary picture");
            image::GrayImage::new(size.0 / 2, size.1 / 2).save(&ir).expect("a temporary picture");
            pairs.push(PairFiles { rgb, ir, labels: file("txt") });
        }
        Loader::new(pairs, 32, cache, Limits::default()).expect("no folder to make")
    }

    #[test]
    fn the_cache_holds_both_modalities_resized() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loader = loader(Cache::Ram, folder.path());
        let first = loader.get(1).expect("a good pair");
        drop(folder);
        let sample = loader.get(1).expect("from memory");
        assert_eq!((sample.size(), sample.source(), sample.words().len()), ((16, 32), (30, 60), 512));
        assert!(Arc::ptr_eq(&sample, &first));
        loader.release(1);
        assert!(loader.get(1).is_err(), "forgotten, and its files are gone");
    }

    #[test]
    fn the_estimate_is_what_the_cache_takes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loader = loader(Cache::Ram, folder.path());
        let sizes = loader.sizes().expect("headers");
        let words: usize = (0..3)
            .map(|i| {
                let sample = loader.get(i).expect("good");
                assert_eq!(sizes[i], Sizes { source: sample.source(), sample: sample.size() });
                sample.words().len()
            })
            .sum();
        assert_eq!(loader.estimate_bytes(10).expect("headers"), 4 * words as u64 + 3 * SAMPLE_BYTES);
        assert!(loader.ensure_memory(1 << 20).expect("a few kilobytes") > 0);
        assert!(matches!(loader.ensure_memory(0), Err(DataError::Memory { available: 0, .. })));
    }

    #[test]
    fn without_a_cache_nothing_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loader = loader(Cache::None, folder.path());
        loader.get(0).expect("good");
        assert_eq!(loader.ensure_memory(0).expect("nothing to hold"), 0);
        drop(folder);
        assert!(loader.get(0).is_err());
    }
}
