//! Published data sets, brought into the layout that yf trains on.
//!
//! [`Conversion::read`] lists the pairs of a [`Layout`] and reads every annotation; [`Conversion::write`] makes the
//! folder: pictures as links (or copies), a label file a pair, `data.yaml`. Nothing is written before everything has
//! been read, and nothing at all is written into the published folder.
//!
//! The layouts are those that the data sets are published in (`docs/datasets.md` names the sources).

mod annotation;
mod bbgt;
mod flir;
mod holdout;
mod kaist;
mod listed;
mod llvip;
mod m3fd;
mod voc;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::dataset::Split;
use crate::error::DataError;
use crate::written::{self, KINDS};
use annotation::Boxes;
use listed::{Listed, Listing};

pub use holdout::Holdout;
pub use kaist::Sampling;

/// A published data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Layout {
    /// LLVIP: `visible`, `infrared`, `Annotations`; its `test` part becomes `val`.
    Llvip,
    /// KAIST's multispectral pedestrians: `set00` to `set11`; sets 6 to 11, which are for testing, become `val`.
    Kaist(Sampling),
    /// FLIR ADAS, the aligned version: `JPEGImages`, `Annotations`, `align_train.txt`, `align_validation.txt`.
    Flir,
    /// M3FD: `Vis`, `Ir`, `Annotation`; it is published without parts.
    M3fd(Holdout),
}

impl Layout {
    /// The data set's name.
    pub fn name(&self) -> &'static str {
        match self {
            Layout::Llvip => "LLVIP",
            Layout::Kaist(_) => "KAIST",
            Layout::Flir => "FLIR ADAS aligned",
            Layout::M3fd(_) => "M3FD",
        }
    }

    /// The classes that are kept, in the order of their labels.
    pub fn classes(&self) -> &'static [&'static str] {
        match self {
            Layout::Llvip | Layout::Kaist(_) => &["person"],
            Layout::Flir => &["person", "car", "bicycle"],
            Layout::M3fd(_) => &["People", "Car", "Bus", "Lamp", "Motorcycle", "Truck"],
        }
    }

    fn list(&self, source: &Path) -> Result<Listing, DataError> {
        match self {
            Layout::Llvip => llvip::list(source),
            Layout::Kaist(sampling) => kaist::list(source, sampling),
            Layout::Flir => flir::list(source),
            Layout::M3fd(holdout) => m3fd::list(source, holdout),
        }
    }

    /// How the parts came about, for the head of data.yaml.
    fn parts(&self) -> String {
        match self {
            Layout::Llvip => "val is the published test part".to_owned(),
            Layout::Kaist(Sampling { train_every, test_every }) => format!(
                "train is every {train_every}. frame of sets 0 to 5, val every {test_every}. of sets 6 to 11"
            ),
            Layout::Flir => "val is align_validation.txt".to_owned(),
            Layout::M3fd(holdout) => holdout.to_string(),
        }
    }
}

/// A published data set that has been read.
#[derive(Debug)]
pub struct Conversion {
    layout: Layout,
    pairs: Vec<(Listed, Boxes)>,
    problems: Vec<DataError>,
}

/// Boxes and pairs of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Pairs.
    pub pairs: usize,
    /// Boxes.
    pub boxes: usize,
    /// Pairs without a box.
    pub background: usize,
}

/// What was kept of a published data set, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// `train` and `val`.
    pub parts: [Part; 2],
    /// Boxes of every class, in the order of the classes.
    pub boxes_by_class: Vec<(&'static str, usize)>,
    /// Objects that are of none of the classes, or marked to be ignored, by what they are called.
    pub left_out: BTreeMap<String, usize>,
    /// Boxes that reached out of the picture, and were cut at its edge.
    pub clipped: usize,
}

impl Conversion {
    /// Lists the pairs under `source` and reads their annotations. `progress` hears how many of how many are read,
    /// from many threads.
    ///
    /// # Errors
    /// [`DataError::Layout`] where the folders of that data set are not there, or hold no pair with a box;
    /// [`DataError::Io`] where a folder cannot be listed. What is wrong with single pairs is kept among the
    /// [`problems`](Self::problems).
    pub fn read(
        source: &Path,
        layout: Layout,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Conversion, DataError> {
        let Listing { pairs: listed, mut problems } = layout.list(source)?;
        let (done, all) = (AtomicUsize::new(0), listed.len());
        let read = |pair: Listed| {
            let boxes = annotation::read(&pair, layout.classes());
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, all);
            (pair, boxes)
        };
        let mut pairs = Vec::new();
        for (pair, boxes) in listed.into_par_iter().map(read).collect::<Vec<_>>() {
            match boxes {
                Ok(boxes) => pairs.push((pair, boxes)),
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() && pairs.iter().all(|(_, boxes)| boxes.kept.is_empty()) {
            let classes = layout.classes().join(", ");
            let why = format!("no pair of {} with a box of {classes} is in here", layout.name());
            return Err(DataError::Layout { path: source.to_path_buf(), why });
        }
        Ok(Conversion { layout, pairs, problems })
    }

    /// Pairs that are left out, one reason each: pictures without their counterpart, annotations that are none, with
    /// file and line.
    pub fn problems(&self) -> &[DataError] {
        &self.problems
    }

    /// What is kept.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        let mut counts = vec![0; self.layout.classes().len()];
        for (pair, boxes) in &self.pairs {
            let part = &mut summary.parts[usize::from(pair.split == Split::Val)];
            part.pairs += 1;
            part.boxes += boxes.kept.len();
            part.background += usize::from(boxes.kept.is_empty());
            boxes.kept.iter().for_each(|label| counts[label.class] += 1);
            summary.clipped += boxes.clipped;
            for name in &boxes.left_out {
                *summary.left_out.entry(name.clone()).or_default() += 1;
            }
        }
        summary.boxes_by_class = self.layout.classes().iter().copied().zip(counts).collect();
        summary
    }

    /// Writes the data set into `out`, pictures as links to the published ones or as copies; returns its data.yaml.
    /// `progress` hears the number of pairs written so far, from any thread.
    ///
    /// # Errors
    /// [`DataError::Output`] where no pair is left, `out` exists and is not an empty folder, or takes no links;
    /// [`DataError::Io`] where a file cannot be written.
    pub fn write(
        &self,
        out: &Path,
        copy: bool,
        progress: impl Fn(usize) + Sync,
    ) -> Result<PathBuf, DataError> {
        if self.pairs.is_empty() {
            let why = "no pair is left that could be written".to_owned();
            return Err(DataError::Output { path: out.to_path_buf(), why });
        }
        written::make_folders(out)?;
        let done = AtomicUsize::new(0);
        self.pairs.par_iter().try_for_each(|(pair, boxes)| {
            write_pair(out, pair, boxes, copy)?;
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Ok::<_, DataError>(())
        })?;
        let comment = format!("{}, by yf data convert; {}", self.layout.name(), self.layout.parts());
        written::write_yaml(out, &comment, self.layout.classes())
    }
}

fn write_pair(out: &Path, pair: &Listed, boxes: &Boxes, copy: bool) -> Result<(), DataError> {
    let folder = |kind: &str| out.join(kind).join(pair.split.name());
    let file = |kind: &str, suffix: &str| folder(kind).join(format!("{}.{suffix}", pair.name));
    for (kind, picture) in KINDS.iter().zip([&pair.rgb, &pair.ir]) {
        let suffix = picture.extension().unwrap_or_default().to_string_lossy();
        bring(picture, &file(kind, &suffix), copy)?;
    }
    written::write(&file(KINDS[2], "txt"), boxes.lines().as_bytes())
}

fn bring(picture: &Path, to: &Path, copy: bool) -> Result<(), DataError> {
    if copy {
        return fs::copy(picture, to).map(drop).map_err(|source| DataError::io(picture, source));
    }
    // From the root, so that the link holds wherever the data set lies.
    let real = picture.canonicalize().map_err(|source| DataError::io(picture, source))?;
    link(&real, to).map_err(|error| DataError::Output {
        path: to.to_path_buf(),
        why: format!("no link can be made: {error}; copy with --copy"),
    })
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
