//! A batch, prepared on the host: pairs read, windows and numbers written into one buffer.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use yf_data::DataError;
use yf_data::labels::BoxLabel;
use yf_data::loader::{Loader, Sample, Sizes};

use super::Settings;
use super::host::{HostBuffers, HostLease};
use super::parcel::{Labels, Parcel};
use super::resident::Directory;
use crate::Error;
use crate::augment::{Draw, PLAN_WORDS, Place, PlanWords, SamplePlan, View, views};
use crate::targets::{self, Rows};
use crate::torch::Device;

/// Prepares batches; shared by the threads that run ahead of the training.
pub struct Preparer {
    loader: Arc<Loader>,
    labels: Arc<Vec<Vec<BoxLabel>>>,
    rows: Rows,
    classes: usize,
    size: usize,
    buffers: HostBuffers,
    resident: Option<Arc<Directory>>,
    threads: ThreadPool,
}

/// Which boxes of the sources a batch keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boxes {
    /// Those of which enough is left, cut at the edges.
    Visible,
    /// All of them.
    All,
}

/// A batch on the host.
pub struct Packed {
    /// The buffer.
    pub words: HostLease,
    /// What is where in it.
    pub parcel: Parcel,
    /// Boxes of each picture.
    pub labels: Labels,
    /// Index of each picture (in a mosaic the one it was drawn for) and width and height of its RGB file.
    pub pictures: Vec<(usize, (usize, usize))>,
    /// Pairs that must be brought to the device first.
    pub missing: Vec<(usize, Arc<Sample>)>,
}

/// One output picture.
struct Picture {
    plan: SamplePlan,
    views: Vec<View>,
    places: Vec<Place>,
}

impl Preparer {
    /// A preparer of the pairs of `loader`, whose batches travel to `target`.
    ///
    /// # Errors
    /// No threads.
    pub fn new(
        loader: Arc<Loader>,
        labels: Arc<Vec<Vec<BoxLabel>>>,
        classes: usize,
        settings: &Settings,
        target: Device,
        resident: Option<Arc<Directory>>,
    ) -> Result<Self, Error> {
        let threads = ThreadPoolBuilder::new()
            .num_threads(settings.workers.max(1))
            .thread_name(|i| format!("pairs-{i}"))
            .build()
            .map_err(|e| Error::Other(format!("no threads to read pairs with: {e}")))?;
        Ok(Preparer {
            loader,
            rows: Rows::of(&labels),
            labels,
            classes,
            size: settings.size,
            buffers: HostBuffers::new(target),
            resident,
            threads,
        })
    }

    /// Prepares the pictures of `draws`; the largest batches of the epoch have `whole` pictures.
    ///
    /// # Errors
    /// A pair that cannot be read, a label that is none, no memory.
    pub fn prepare(&self, draws: &[Draw], whole: usize, boxes: Boxes) -> Result<Packed, Error> {
        let samples = self.read(draws)?;
        let sizes = |index: usize| self.sizes(index, &samples);
        let mut pictures: Vec<Picture> = draws.iter().map(|draw| self.plan(draw, &sizes)).collect();
        let labels: Labels =
            draws.iter().zip(&pictures).map(|(d, p)| self.labels(d, &p.plan, boxes)).collect();
        let size = (self.size, self.size);
        let targets = targets::of(&labels, size, self.classes, self.rows, Device::Cpu)?;
        let mut parcel = Parcel { batch: draws.len(), rows: targets.mask.size()[1] as usize, pixels: 0 };
        match &self.resident {
            Some(directory) => place_resident(draws, &mut pictures, directory),
            None => parcel.pixels = place_packed(&mut pictures),
        }
        let mut words = self.buffers.take(parcel.words(), at_most(parcel.words(), draws.len(), whole))?;
        parcel.write_targets(&targets, words.words_mut())?;
        write_plans(&pictures, &mut words.words_mut()[parcel.plans()]);
        if self.resident.is_none() {
            let pixels = &mut words.words_mut()[parcel.pixels()];
            self.threads.install(|| copy_windows(draws, &pictures, &samples, pixels));
        }
        let first = |draw: &Draw| (draw.pictures()[0], sizes(draw.pictures()[0]).source);
        Ok(Packed {
            words,
            parcel,
            labels,
            pictures: draws.iter().map(first).collect(),
            missing: if self.resident.is_some() { samples.into_iter().collect() } else { vec![] },
        })
    }

    /// The pairs that the batch shows and that are not on the device, each once, on all threads.
    fn read(&self, draws: &[Draw]) -> Result<HashMap<usize, Arc<Sample>>, DataError> {
        let there = |index: usize| self.resident.as_ref().is_some_and(|directory| directory.has(index));
        let wanted: BTreeSet<usize> = draws.iter().flat_map(Draw::pictures).copied().collect();
        let wanted: Vec<usize> = wanted.into_iter().filter(|&index| !there(index)).collect();
        let read = |index: usize| Ok((index, self.loader.get(index)?));
        self.threads.install(|| wanted.into_par_iter().with_max_len(1).map(read).collect())
    }

    fn sizes(&self, index: usize, samples: &HashMap<usize, Arc<Sample>>) -> Sizes {
        match &self.resident {
            Some(directory) => directory.sizes(index),
            None => Sizes { source: samples[&index].source(), sample: samples[&index].size() },
        }
    }

    fn plan(&self, draw: &Draw, sizes: &impl Fn(usize) -> Sizes) -> Picture {
        let sizes: Vec<(usize, usize)> = draw.pictures().iter().map(|&index| sizes(index).sample).collect();
        let plan = SamplePlan::new(draw, &sizes, self.size);
        Picture { views: views(&plan), plan, places: vec![] }
    }

    fn labels(&self, draw: &Draw, plan: &SamplePlan, boxes: Boxes) -> Vec<BoxLabel> {
        let of_tile = |tile: usize| self.labels[draw.pictures()[tile]].as_slice();
        match boxes {
            Boxes::Visible => plan.labels(of_tile),
            Boxes::All => plan.all_labels(of_tile),
        }
    }
}

/// Words that a batch of `whole` pictures hardly ever exceeds, where one of `pictures` took so many.
///
/// A picture's source windows differ in size with a standard deviation of about half their mean, a batch's by that over
/// the root of its pictures; room is left for three of these.
fn at_most(words: usize, pictures: usize, whole: usize) -> usize {
    let whole = whole.max(pictures).max(1) as f64;
    let mean = words as f64 * whole / pictures.max(1) as f64;
    (mean * (1.0 + 3.0 * 0.55 / whole.sqrt())) as usize
}

/// Every view finds its source where the directory says.
fn place_resident(draws: &[Draw], pictures: &mut [Picture], directory: &Directory) {
    for (draw, picture) in draws.iter().zip(pictures) {
        let place = |view: &View| directory.place(draw.pictures()[view.tile]);
        picture.places = picture.views.iter().map(place).collect();
    }
}

/// Windows side by side; returns their words.
fn place_packed(pictures: &mut [Picture]) -> usize {
    let mut next = 0;
    for picture in pictures {
        let place = |view: &View| {
            let place = view.packed(next);
            next += view.pixels();
            place
        };
        picture.places = picture.views.iter().map(place).collect();
    }
    next
}

fn write_plans(pictures: &[Picture], words: &mut [u32]) {
    for (picture, words) in pictures.iter().zip(words.chunks_exact_mut(PLAN_WORDS)) {
        let plan = PlanWords::new(&picture.plan, &picture.views, &picture.places);
        words.copy_from_slice(bytemuck::cast_slice(std::slice::from_ref(&plan)));
    }
}

/// Copies the windows of all views to where [`place_packed`] put them.
fn copy_windows(
    draws: &[Draw],
    pictures: &[Picture],
    samples: &HashMap<usize, Arc<Sample>>,
    mut words: &mut [u32],
) {
    let mut windows = Vec::new();
    for (draw, picture) in draws.iter().zip(pictures) {
        for view in &picture.views {
            let (own, rest) = words.split_at_mut(view.pixels());
            windows.push((view, draw.pictures()[view.tile], own));
            words = rest;
        }
    }
    windows.into_par_iter().with_max_len(1).for_each(|(view, index, own)| {
        let sample = &samples[&index];
        view.copy(sample.words(), sample.size().0, own);
    });
}
