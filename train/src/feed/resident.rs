//! Pairs that live on the device: decoded once, then only plans and targets travel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};
use yf_data::DataError;
use yf_data::loader::{Loader, Sample, Sizes};

use super::parcel::part;
use crate::Error;
use crate::augment::Place;
use crate::torch::{Device, Kind, Stream, Tensor, TorchError, free_memory, with_words};

/// Memory that the network is left with, bytes: this much, or half of what is free where that is less.
const RESERVE: u64 = 16 << 30;
/// Of the rest the pairs may take this much.
const SHARE: f64 = 0.8;

/// Memory on the device for all pairs of a loader, side by side.
pub struct Resident {
    words: Tensor,
    directory: Arc<Directory>,
}

/// Where each pair lies, and which are there already.
pub struct Directory {
    sizes: Vec<Sizes>,
    /// First word of each pair.
    bases: Vec<i64>,
    present: Vec<AtomicBool>,
}

impl Resident {
    /// Takes memory for all pairs of `loader`; they arrive with the first batches that show them. `None`, with a
    /// message, where they do not fit.
    ///
    /// # Errors
    /// Headers that cannot be read, and what libtorch reports.
    pub fn open(loader: &Loader, device: Device) -> Result<Option<Self>, Error> {
        let directory = Directory::new(loader.sizes()?);
        let (bytes, free) = (4 * directory.words() as u64, free_memory(device)?);
        let room = ((free - RESERVE.min(free / 2)) as f64 * SHARE) as u64;
        let gb = |bytes: u64| bytes as f64 / 1e9;
        if bytes > room {
            warn!(
                "{} pairs take {:.2} GB, more than the {:.2} GB that the network can spare on {device:?}: they stay in the host's memory",
                loader.len(),
                gb(bytes),
                gb(room)
            );
            return Ok(None);
        }
        info!("{} pairs take {:.2} GB on {device:?}", loader.len(), gb(bytes));
        let words = Tensor::f_empty([directory.words() as i64], (Kind::Int, device));
        let words = words.map_err(TorchError::from)?;
        Ok(Some(Resident { words, directory: Arc::new(directory) }))
    }

    /// The words of all pairs, i32.
    pub fn words(&self) -> Tensor {
        self.words.shallow_clone()
    }

    /// What is where.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The same memory, for another thread.
    pub fn share(&self) -> Self {
        Resident { words: self.words(), directory: Arc::clone(&self.directory) }
    }

    /// Brings a pair to its place, by `stream` where there is one; whoever samples it must wait for that stream.
    ///
    /// # Errors
    /// A pair that is not of the size its header told, and what libtorch reports.
    pub fn take(&self, index: usize, sample: &Sample, stream: Option<&Stream>) -> Result<(), Error> {
        if self.directory.has(index) {
            return Ok(());
        }
        if sample.size() != self.directory.sizes[index].sample {
            return Err(Error::Data(DataError::Worker(format!(
                "pair {index} has become {sample:?} while the run was starting; start again"
            ))));
        }
        let start = self.directory.bases[index] as usize;
        let place = part(&self.words, start..start + sample.words().len())?;
        with_words(sample.words(), |words| match stream {
            Some(stream) => stream.copy(&place, words),
            None => place.shallow_clone().f_copy_(words).map(drop).map_err(TorchError::from),
        })?;
        self.directory.present[index].store(true, Ordering::Release);
        Ok(())
    }
}

impl Directory {
    fn new(sizes: Vec<Sizes>) -> Self {
        let mut next = 0;
        let mut place = |size: &Sizes| {
            let base = next;
            next += (size.sample.0 * size.sample.1) as i64;
            base
        };
        let bases = sizes.iter().map(&mut place).collect();
        let present = sizes.iter().map(|_| AtomicBool::new(false)).collect();
        Directory { sizes, bases, present }
    }

    /// Words of all pairs.
    fn words(&self) -> usize {
        self.sizes.iter().map(|size| size.sample.0 * size.sample.1).sum()
    }

    /// How large a pair is.
    pub fn sizes(&self, index: usize) -> Sizes {
        self.sizes[index]
    }

    /// Where a pair lies.
    pub fn place(&self, index: usize) -> Place {
        Place { base: self.bases[index], stride: self.sizes[index].sample.0 }
    }

    /// Every pair must be brought again.
    pub fn forget(&self) {
        self.present.iter().for_each(|present| present.store(false, Ordering::Release));
    }

    /// Whether a pair has arrived, or is on its way in front of every batch that is made from now on.
    pub fn has(&self, index: usize) -> bool {
        self.present[index].load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_lie_beyond_what_32_bits_count() {
        let size = Sizes { source: (1280, 1024), sample: (640, 512) };
        let directory = Directory::new(vec![size; 12_025]);
        assert_eq!(directory.words(), 12_025 * 640 * 512);
        assert_eq!(directory.place(12_024), Place { base: 12_024 * 640 * 512, stride: 640 });
        assert!(directory.place(12_024).base > i64::from(i32::MAX));
    }
}
