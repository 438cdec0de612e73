//! KAIST's multispectral pedestrians: `images/setNN/VNNN/{visible,lwir}/INNNNN.jpg`, and for every frame a text file
//! under `annotations` or a VOC file under `annotations-xml-new(-sanitized)`, in folders of the same names.
//!
//! Videos have 20 frames a second, so only every Nth is taken, as the benchmark's lists do (`train-all-02`,
//! `test-all-20`): of every 20 the last, I00019, I00039 and so on.

use std::path::{Path, PathBuf};

use super::listed::{Listing, folder, optional_folder};
use crate::dataset::{Split, entries};
use crate::error::DataError;

/// Where annotations lie, the corrected ones first.
const ANNOTATIONS: [&str; 3] = ["annotations-xml-new-sanitized", "annotations-xml-new", "annotations"];

/// Which frames are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Of the sets to train on, the last of so many, at least 1.
    pub train_every: usize,
    /// Of the sets to test on, the last of so many, at least 1.
    pub test_every: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling { train_every: 2, test_every: 20 }
    }
}

/// The sampled frames of all sets that are there.
pub(super) fn list(source: &Path, sampling: &Sampling) -> Result<Listing, DataError> {
    let images = optional_folder(source, &["images"])?.unwrap_or_else(|| source.to_path_buf());
    let mut listing = Listing::default();
    for set in numbered(&images, "set")? {
        let (split, every) = match set.number {
            0..=5 => (Split::Train, sampling.train_every),
            _ => (Split::Val, sampling.test_every),
        };
        let annotations = annotations(source, &set.name)?;
        for video in numbered(&set.path, "V")? {
            let (rgb, ir) = (folder(&video.path, &["visible"])?, folder(&video.path, &["lwir"])?);
            let (annotations, suffix) = (annotations.folder.join(&video.name), annotations.suffix);
            listing.pair_up(
                split,
                [&rgb, &ir],
                |stem| number(stem, "I").is_some_and(|frame| (frame + 1) % every.max(1) == 0),
                |stem| format!("{}_{}_{stem}", set.name, video.name),
                |stem| annotations.join(format!("{stem}.{suffix}")),
            )?;
        }
    }
    if listing.pairs.is_empty() && listing.problems.is_empty() {
        let why = "no setNN/VNNN/visible and lwir with frames like I00019.jpg in here".to_owned();
        return Err(DataError::Layout { path: images, why });
    }
    Ok(listing)
}

struct Annotations {
    folder: PathBuf,
    suffix: &'static str,
}

/// The best annotations that a set has.
fn annotations(source: &Path, set: &str) -> Result<Annotations, DataError> {
    for name in ANNOTATIONS {
        if let Some(folder) = optional_folder(source, &[name])?.map(|folder| folder.join(set))
            && folder.is_dir()
        {
            tracing::info!("{set}: annotations of {name}");
            return Ok(Annotations { folder, suffix: if name.contains("xml") { "xml" } else { "txt" } });
        }
    }
    let why = format!("no {set} in a folder {}", ANNOTATIONS.join(" or "));
    Err(DataError::Layout { path: source.to_path_buf(), why })
}

struct Numbered {
    name: String,
    number: usize,
    path: PathBuf,
}

/// The folders called `prefix` and a number, in the order of their names.
fn numbered(parent: &Path, prefix: &str) -> Result<Vec<Numbered>, DataError> {
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        let number = number(&name, prefix).filter(|_| path.is_dir())?;
        Some(Numbered { name, number, path })
    };
    let mut found: Vec<Numbered> = entries(parent)?.into_iter().filter_map(read).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The number of `set03`, `V001` or `I00019`.
fn number(name: &str, prefix: &str) -> Option<usize> {
    name.strip_prefix(prefix)?.parse().ok()
}
