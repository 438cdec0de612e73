//! From the loader to the network: the order of an epoch, batches prepared and sent ahead, pictures on the device.
//!
//! The way of a batch: `order` says which pictures, their dice say which pairs; `prepare` reads these on a pool of
//! threads and packs them into a page-locked buffer of `host`; `upload` copies that on a stream of its own into one of a few
//! buffers on the device; [`Feed::batch`] samples the pictures there. The training thread only gives the device its
//! last part to do.

mod cache;
mod host;
mod order;
mod parcel;
mod prepare;
mod resident;
#[cfg(test)]
mod tests;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use yf_data::DataError;
use yf_data::dataset::PairFiles;
use yf_data::labels::{self, BoxLabel};
use yf_data::loader::{Loader, prefetch};
use yf_models::Graph;
use yf_plan::Modality;

use crate::Error;
use crate::augment::{Augmentation, Draw, Pictures, Sampler, Words};
use crate::distributed::Shard;
use crate::loss::Targets;
use crate::torch::{self, Device, HostWords, Kind, Tensor, TorchError, channels_last};
use parcel::{Labels, Parcel, part};
use prepare::{Boxes, Preparer};
use upload::{Buffers, Lease};

pub use cache::keep;
pub use resident::Resident;
pub use upload::Upload;

/// Batches that are prepared at the same time; the threads that read pairs serve them all.
const AT_ONCE: usize = 3;
/// Batches that are being prepared or wait on the host.
const AHEAD: usize = 4;

/// The pairs of a split, and how batches are made of them.
pub struct Feed {
    loader: Arc<Loader>,
    labels: Arc<Vec<Vec<BoxLabel>>>,
    settings: Settings,
    preparer: Arc<Preparer>,
    resident: Option<Resident>,
    buffers: Buffers,
    sampler: Sampler,
}

/// What a feed is told.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Side of the square pictures, a multiple of 4.
    pub size: usize,
    /// Pairs a batch, over all ranks.
    pub batch: usize,
    /// Which of them are this rank's.
    pub shard: Shard,
    /// Threads that read pairs.
    pub workers: usize,
    /// Key of every random draw.
    pub seed: u64,
    /// Where batches are made.
    pub device: Device,
    /// Type of the pictures: f32, f16 or bf16.
    pub kind: Kind,
}

/// A batch whose words are on the device, or on their way. It holds one of three buffers, so take the next ones only
/// after this one was sampled or dropped.
pub struct Prepared {
    words: Tensor,
    /// Source pixels, where they do not travel.
    resident: Option<Tensor>,
    parcel: Parcel,
    labels: Labels,
    pictures: Vec<(usize, (usize, usize))>,
    /// Last, so that it is dropped after the words.
    lease: Lease,
}

/// A batch on the device.
pub struct Batch {
    /// RGB, `[N, 3, S, S]`, 0..1, channels innermost.
    pub rgb: Tensor,
    /// Infrared in three equal planes, `[N, 3, S, S]`, 0..1, channels innermost.
    pub ir: Tensor,
    /// Boxes, padded.
    pub targets: Targets,
    /// Boxes of each picture.
    pub labels: Labels,
}

impl Feed {
    /// A feed of all pairs of `loader`, which live on the device where `resident` is given; reads their labels.
    ///
    /// # Errors
    /// A label file that cannot be read, and what libtorch reports.
    pub fn new(
        loader: Loader,
        resident: Option<Resident>,
        classes: usize,
        settings: Settings,
    ) -> Result<Self, Error> {
        let labels = Arc::new(read_labels(loader.pairs(), classes)?);
        let sampler = Sampler::open(settings.device);
        // Without a kernel a GPU's pictures are made on the host, from what is there.
        let place = sampler.place();
        let resident = resident.filter(|resident| resident.words().device() == place);
        let loader = Arc::new(loader);
        let directory = resident.as_ref().map(|resident| Arc::clone(resident.directory()));
        let preparer =
            Preparer::new(Arc::clone(&loader), Arc::clone(&labels), classes, &settings, place, directory)?;
        let preparer = Arc::new(preparer);
        Ok(Feed { loader, labels, settings, preparer, resident, buffers: Buffers::new(place)?, sampler })
    }

    /// Batches an epoch, the same number on every rank; the last may be smaller.
    pub fn batches(&self) -> usize {
        self.settings.shard.batches(self.loader.len(), self.settings.batch)
    }

    /// This rank's batches of [`Feed::in_order`], whole ones: each rank's follow those of the one before.
    pub fn batches_in_order(&self) -> Range<usize> {
        self.settings.shard.of(self.loader.len().div_ceil(self.settings.batch))
    }

    /// The files.
    pub fn pairs(&self) -> &[PairFiles] {
        self.loader.pairs()
    }

    /// Boxes of every pair.
    pub fn labels(&self) -> &[Vec<BoxLabel>] {
        &self.labels
    }

    /// The batches of an epoch, prepared ahead, in an order of its own.
    pub fn epoch(&self, epoch: usize, augmentation: Augmentation) -> Upload {
        let (seed, pairs) = (self.settings.seed, self.loader.len());
        let batches = order::batches(seed, epoch, pairs, self.settings.batch, self.settings.shard);
        let partners = order::Partners::new(seed, epoch, pairs, self.settings.batch);
        let draw = move |picture: usize| Draw::new(&augmentation, seed, epoch, picture, partners.of(picture));
        self.prepared(batches, draw, Boxes::Visible)
    }

    /// Forgets every pair that was read, so that the next epoch is a first one. A cache on the disk stays. Ranks must not
    /// be reading meanwhile.
    pub fn forget(&self) {
        self.loader.forget();
        if let Some(resident) = &self.resident {
            resident.directory().forget();
        }
    }

    /// All pairs of [`Feed::batches_in_order`] in their order, letterboxed and otherwise as they are, with all their boxes.
    pub fn in_order(&self) -> Upload {
        let all: Vec<usize> = (0..self.loader.len()).collect();
        let whole = all.chunks(self.settings.batch).map(<[usize]>::to_vec);
        let mine = self.batches_in_order();
        let batches = whole.skip(mine.start).take(mine.len()).collect();
        let draw = move |picture: usize| Draw::new(&Augmentation::none(), 0, 0, picture, &[picture]);
        self.prepared(batches, draw, Boxes::All)
    }

    fn prepared(
        &self,
        batches: Vec<Vec<usize>>,
        draw: impl Fn(usize) -> Draw + Send + Sync + 'static,
        boxes: Boxes,
    ) -> Upload {
        let preparer = Arc::clone(&self.preparer);
        let whole = batches.iter().map(Vec::len).max().unwrap_or(0);
        let packed = prefetch(batches.into_iter(), AT_ONCE, AHEAD, move |pictures: Vec<usize>| {
            let draws: Vec<Draw> = pictures.into_iter().map(&draw).collect();
            preparer.prepare(&draws, whole, boxes)
        });
        let resident = self.resident.as_ref().map(Resident::share);
        self.buffers.upload(packed, Arc::clone(&self.loader), resident)
    }

    /// Seconds that one thread takes to read a pair that nobody has read yet: the mean of the first `pairs`.
    ///
    /// # Errors
    /// A pair that cannot be read.
    pub fn seconds_to_read(&self, pairs: usize) -> Result<f64, Error> {
        let pairs = pairs.min(self.loader.len());
        self.loader.forget();
        let started = Instant::now();
        (0..pairs).try_for_each(|index| self.loader.get(index).map(drop))?;
        Ok(started.elapsed().as_secs_f64() / pairs.max(1) as f64)
    }

    /// Seconds that the words of a batch take to the device, with nothing else on its way; zero on a CPU.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn seconds_to_send(&self, prepared: &Prepared) -> Result<f64, TorchError> {
        let device = self.settings.device;
        let length = prepared.words.numel();
        let words = HostWords::new(length, device)?.tensor(length)?;
        let mut started = Instant::now();
        // The first copy finds its memory.
        for _ in 0..2 {
            torch::synchronize(device)?;
            started = Instant::now();
            let _sent = words.f_to(device)?;
            torch::synchronize(device)?;
        }
        Ok(if device.is_cuda() { started.elapsed().as_secs_f64() } else { 0.0 })
    }

    /// Samples the pictures of a batch into fresh tensors; a camera that `modality` leaves out is grey.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn batch(&self, prepared: Prepared, modality: Modality) -> Result<Batch, TorchError> {
        let Settings { size, kind, device, .. } = self.settings;
        let pictures = Pictures::empty(prepared.parcel.batch, size, kind, device)?;
        self.sample(&prepared, modality, &pictures)?;
        // The buffer is somebody else's soon.
        let targets = prepared.parcel.targets(&prepared.words)?.copy().to_device(device);
        let Prepared { labels, .. } = prepared;
        Ok(Batch { rgb: pictures.rgb, ir: pictures.ir, targets, labels })
    }

    fn sample(&self, prepared: &Prepared, modality: Modality, into: &Pictures) -> Result<(), TorchError> {
        prepared.lease.wait()?;
        if into.rgb.size() != self.shape(prepared) {
            let (are, need) = (into.rgb.size(), self.shape(prepared));
            return Err(TorchError(format!("pictures of {are:?} were to hold a batch of {need:?}")));
        }
        let plans = part(&prepared.words, prepared.parcel.plans())?;
        let pixels = match &prepared.resident {
            Some(words) => words.shallow_clone(),
            None => part(&prepared.words, prepared.parcel.pixels())?,
        };
        // SAFETY: the preparer's plans read within these pixels and fill pictures of the feed's size.
        unsafe { self.sampler.sample(Words { plans: &plans, pixels: &pixels }, modality, into) }
    }

    fn shape(&self, prepared: &Prepared) -> Vec<i64> {
        let side = self.settings.size as i64;
        vec![prepared.parcel.batch as i64, 3, side, side]
    }
}

impl Prepared {
    /// Pictures of the batch.
    pub fn len(&self) -> usize {
        self.parcel.batch
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parcel.batch == 0
    }

    /// Index of each picture's pair, and width and height of its RGB file.
    pub fn pictures(&self) -> &[(usize, (usize, usize))] {
        &self.pictures
    }
}

impl Batch {
    /// The tensors in the order of a graph's inputs. A one-stream network sees the RGB picture, or the infrared
    /// one where that is the modality.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn inputs(&self, graph: &Graph, modality: Modality) -> Result<Vec<Tensor>, TorchError> {
        let of = |name: &str| match (name, modality) {
            ("ir", _) | ("images", Modality::Ir) => &self.ir,
            _ => &self.rgb,
        };
        graph.inputs.iter().map(|(name, _)| channels_last(of(name))).collect()
    }
}

/// Boxes of every pair, in order.
fn read_labels(pairs: &[PairFiles], classes: usize) -> Result<Vec<Vec<BoxLabel>>, DataError> {
    pairs.iter().map(|p| labels::read(&p.labels, classes)).collect()
}
