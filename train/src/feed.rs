//! From the loader to the network: the order of an epoch, pairs decoded ahead, batches on the device.

use std::collections::HashMap;
use std::sync::Arc;

use yf_data::DataError;
use yf_data::dataset::PairFiles;
use yf_data::labels::{self, BoxLabel};
use yf_data::loader::{Loader, Prefetch, Sample, prefetch};
use yf_data::random::Random;
use yf_models::Graph;
use yf_plan::Modality;

use crate::augment::{self, AugmentError, Augmentation, Draw, Source};
use crate::torch::{Device, Tensor, TorchError, channels_last};

/// Level of the picture that stands for a dead camera, 0..1.
const BLANK: f64 = 114.0 / 255.0;

/// The training pairs of a run, and how a batch is made of them.
pub struct Feed {
    loader: Arc<Loader>,
    labels: Vec<Vec<BoxLabel>>,
    settings: Settings,
}

/// What a feed is told.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Side of the square pictures.
    pub size: usize,
    /// Pairs a batch.
    pub batch: usize,
    /// Threads that decode.
    pub workers: usize,
    /// Key of every random draw.
    pub seed: u64,
    /// Where batches are made.
    pub device: Device,
    /// Which camera's pictures are seen.
    pub modality: Modality,
}

/// The dice of a batch, and its decoded pairs.
pub struct Decoded {
    draws: Vec<Draw>,
    samples: HashMap<usize, Arc<Sample>>,
}

/// A batch on the device.
pub struct Batch {
    /// RGB, `[N, 3, S, S]`, 0..1.
    pub rgb: Tensor,
    /// Infrared in three equal planes, `[N, 3, S, S]`, 0..1.
    pub ir: Tensor,
    /// Boxes of each picture.
    pub labels: Vec<Vec<BoxLabel>>,
}

impl Feed {
    /// A feed of all pairs of `loader`; reads their labels.
    ///
    /// # Errors
    /// A label file that cannot be read.
    pub fn new(loader: Loader, classes: usize, settings: Settings) -> Result<Self, DataError> {
        let labels = read_labels(loader.pairs(), classes)?;
        Ok(Feed { loader: Arc::new(loader), labels, settings })
    }

    /// Batches an epoch; the last may be smaller.
    pub fn batches(&self) -> usize {
        self.loader.len().div_ceil(self.settings.batch)
    }

    /// Boxes of every picture.
    pub fn labels(&self) -> &[Vec<BoxLabel>] {
        &self.labels
    }

    /// The pairs of an epoch, decoded ahead in the order of their batches.
    pub fn epoch(&self, epoch: usize, augmentation: Augmentation) -> Prefetch<Result<Decoded, DataError>> {
        let order = order(self.settings.seed, epoch, self.loader.len());
        let batches: Vec<Vec<usize>> = order.chunks(self.settings.batch).map(<[usize]>::to_vec).collect();
        let (loader, seed, workers) = (Arc::clone(&self.loader), self.settings.seed, self.settings.workers);
        prefetch(batches.into_iter(), workers, workers + 2, move |pictures| {
            decode(&loader, &augmentation, seed, epoch, &pictures)
        })
    }

    /// Augments a decoded batch on the device.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn batch(&self, decoded: &Decoded) -> Result<Batch, AugmentError> {
        let source =
            |index: usize| Source { pair: &decoded.samples[&index].pair, labels: &self.labels[index] };
        let made = augment::batch(&decoded.draws, source, self.settings.size, self.settings.device)?;
        let ir = made.ir.f_expand_as(&made.rgb)?.f_contiguous()?;
        let (rgb, ir) = blank(made.rgb, ir, self.settings.modality);
        Ok(Batch { rgb, ir, labels: made.labels })
    }
}

impl Batch {
    /// The tensors in the order of a graph's inputs. A one-stream network sees the RGB picture, or the infrared
    /// one where that is the modality.
    ///
    /// # Errors
    /// What libtorch reports.
    pub fn inputs(&self, graph: &Graph, modality: Modality) -> Result<Vec<Tensor>, TorchError> {
        inputs(&self.rgb, &self.ir, graph, modality)
    }
}

/// See [`Batch::inputs`].
///
/// # Errors
/// What libtorch reports.
pub fn inputs(
    rgb: &Tensor,
    ir: &Tensor,
    graph: &Graph,
    modality: Modality,
) -> Result<Vec<Tensor>, TorchError> {
    let of = |name: &str| match (name, modality) {
        ("ir", _) | ("images", Modality::Ir) => ir.shallow_clone(),
        _ => rgb.shallow_clone(),
    };
    graph.inputs.iter().map(|(name, _)| channels_last(&of(name))).collect()
}

/// A dead camera's picture is 114 everywhere.
pub fn blank(rgb: Tensor, ir: Tensor, modality: Modality) -> (Tensor, Tensor) {
    match modality {
        Modality::Both => (rgb, ir),
        Modality::Rgb => (rgb, ir.full_like(BLANK)),
        Modality::Ir => (rgb.full_like(BLANK), ir),
    }
}

/// Boxes of every pair, in order.
///
/// # Errors
/// The first label file that cannot be read.
pub fn read_labels(pairs: &[PairFiles], classes: usize) -> Result<Vec<Vec<BoxLabel>>, DataError> {
    pairs.iter().map(|p| labels::read(&p.labels, classes)).collect()
}

/// All pictures in an order keyed by seed and epoch.
fn order(seed: u64, epoch: usize, pictures: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pictures).collect();
    let mut random = Random::keyed(&[seed, epoch as u64, u64::from_le_bytes(*b"shuffle.")]);
    for last in (1..pictures).rev() {
        order.swap(last, random.below(last + 1));
    }
    order
}

fn decode(
    loader: &Loader,
    augmentation: &Augmentation,
    seed: u64,
    epoch: usize,
    pictures: &[usize],
) -> Result<Decoded, DataError> {
    let draws: Vec<Draw> =
        pictures.iter().map(|&p| Draw::new(augmentation, seed, epoch, p, loader.len())).collect();
    let mut samples = HashMap::new();
    for &index in draws.iter().flat_map(Draw::pictures) {
        if let std::collections::hash_map::Entry::Vacant(slot) = samples.entry(index) {
            slot.insert(loader.get(index)?);
        }
    }
    Ok(Decoded { draws, samples })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_picture_once_in_an_order_of_its_own() {
        let first = order(7, 0, 100);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_eq!(first, order(7, 0, 100));
        assert_ne!(first, order(7, 1, 100));
        assert_ne!(first, order(8, 0, 100));
    }
}
