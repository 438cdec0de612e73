//! Pairs at the network's scale, from the files or from memory.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use crate::dataset::PairFiles;
use crate::decode::{Limits, dimensions, read_pair_to_fit};
use crate::error::DataError;
use crate::picture::Pair;
pub use crate::prefetch::{Prefetch, prefetch};
use crate::resize::fit;

/// Where decoded pairs stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Nowhere: every epoch decodes anew.
    #[default]
    None,
    /// In memory, both modalities, resized.
    Ram,
}

/// One pair as the training reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Scaled so that the longer side is the loader's `fit`, without padding.
    pub pair: Pair,
    /// Width and height of the RGB file.
    pub source: (usize, usize),
}

/// Decodes pairs and, where it was asked to, keeps them. Can be shared among threads.
#[derive(Debug)]
pub struct Loader {
    pairs: Vec<PairFiles>,
    fit: usize,
    limits: Limits,
    /// Empty without a cache.
    kept: Vec<OnceLock<Arc<Sample>>>,
}

/// Bytes of a sample's own, beside its pixels.
const SAMPLE_BYTES: u64 = size_of::<Sample>() as u64 + 2 * size_of::<usize>() as u64;

impl Loader {
    /// A loader of `pairs`, scaled so that their longer side is `fit`. Nothing is read yet; before the cache is
    /// filled, [`Loader::ensure_memory`] says whether it can be.
    pub fn new(pairs: Vec<PairFiles>, fit: usize, cache: Cache, limits: Limits) -> Loader {
        let kept = match cache {
            Cache::None => Vec::new(),
            Cache::Ram => pairs.iter().map(|_| OnceLock::new()).collect(),
        };
        Loader { pairs, fit, limits, kept }
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

    /// Pair number `index`, from memory or from its files. Panics where there is no such pair, as an index does.
    ///
    /// # Errors
    /// Files that cannot be read or decoded.
    pub fn get(&self, index: usize) -> Result<Arc<Sample>, DataError> {
        if let Some(sample) = self.kept.get(index).and_then(OnceLock::get) {
            return Ok(Arc::clone(sample));
        }
        let (pair, source) = read_pair_to_fit(&self.pairs[index], self.fit, &self.limits)?;
        let sample = Arc::new(Sample { pair, source });
        // Two threads may decode the same pair; the first one's is kept.
        Ok(match self.kept.get(index) {
            Some(slot) => Arc::clone(slot.get_or_init(|| sample)),
            None => sample,
        })
    }

    /// Fills the cache on all cores; `progress` hears how many of how many are done. Nothing happens without a cache.
    ///
    /// # Errors
    /// The first pair that cannot be read.
    pub fn fill(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<(), DataError> {
        let done = std::sync::atomic::AtomicUsize::new(0);
        (0..self.kept.len()).into_par_iter().try_for_each(|index| {
            self.get(index)?;
            progress(done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1, self.kept.len());
            Ok(())
        })
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
                let (width, height) = fit(dimensions(&self.pairs[i * total / count].rgb)?, self.fit);
                Ok(4 * (width * height) as u64 + SAMPLE_BYTES)
            })
            .try_reduce(|| 0, |a, b| Ok(a + b))?;
        Ok((u128::from(bytes) * total as u128 / count as u128) as u64)
    }

    /// Whether the cache fits into the memory that is free, less a tenth that is left to everything else. Says the
    /// bytes that the cache will take; 0 without a cache.
    ///
    /// # Errors
    /// [`DataError::Memory`] where it does not fit, and headers that cannot be read.
    pub fn ensure_memory(&self) -> Result<u64, DataError> {
        if self.kept.is_empty() {
            return Ok(0);
        }
        let needed = self.estimate_bytes(1000)?;
        match available_memory() {
            Some(available) if needed > available / 10 * 9 => Err(DataError::Memory { needed, available }),
            _ => Ok(needed),
        }
    }
}

/// Bytes of memory that can still be had: what the system says, or less where a control group (a container) allows
/// less. `None` where neither can be read.
pub fn available_memory() -> Option<u64> {
    let free = std::fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(mem_available);
    match (free, control_group_rest()) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What a control group still allows, version 2 or 1. Cached file contents count as used there, but give way.
fn control_group_rest() -> Option<u64> {
    let read = |folder: &Path, file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let number = |folder: &Path, file: &str| read(folder, file)?.trim().parse::<u64>().ok();
    let rest = |folder: &Path, limit: &str, used: &str, cached: &str| {
        let (limit, used) = (number(folder, limit)?, number(folder, used)?);
        let cached = read(folder, "memory.stat").as_deref().and_then(|stat| field(stat, cached)).unwrap_or(0);
        Some(limit.saturating_sub(used.saturating_sub(cached)))
    };
    let (two, one) = (Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/memory"));
    rest(two, "memory.max", "memory.current", "inactive_file")
        .or_else(|| rest(one, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
}

/// The value of `name` in lines of names and numbers.
fn field(stat: &str, name: &str) -> Option<u64> {
    let words = stat.lines().filter_map(|line| line.split_once(' '));
    words.filter(|(key, _)| *key == name).find_map(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
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
        Loader::new(pairs, 32, cache, Limits::default())
    }

    #[test]
    fn the_cache_holds_both_modalities_resized() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loader = loader(Cache::Ram, folder.path());
        loader.fill(&|_, total| assert_eq!(total, 3)).expect("good pairs");
        drop(folder);
        let sample = loader.get(1).expect("from memory");
        assert_eq!(
            (sample.pair.rgb.size(), sample.pair.ir.size(), sample.source),
            ((16, 32), (16, 32), (30, 60))
        );
        assert!(Arc::ptr_eq(&sample, &loader.get(1).expect("from memory")));
    }

    #[test]
    fn the_estimate_is_what_the_cache_takes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loader = loader(Cache::Ram, folder.path());
        let pixels: usize = (0..3)
            .map(|i| loader.get(i).expect("good").pair.clone())
            .map(|pair| pair.rgb.pixels.len() + pair.ir.pixels.len())
            .sum();
        assert_eq!(loader.estimate_bytes(10).expect("headers"), pixels as u64 + 3 * SAMPLE_BYTES);
        assert!(loader.ensure_memory().expect("a few kilobytes") > 0);
    }

    #[test]
    fn without_a_cache_nothing_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let loader = loader(Cache::None, folder.path());
        loader.get(0).expect("good");
        assert_eq!(loader.ensure_memory().expect("nothing to hold"), 0);
        drop(folder);
        assert!(loader.get(0).is_err());
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(field("anon 7\ninactive_file 4096\n", "inactive_file"), Some(4096));
        assert!(available_memory().is_some_and(|bytes| bytes > 0));
    }
}
