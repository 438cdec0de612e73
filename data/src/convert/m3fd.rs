//! M3FD: `Vis` and `Ir` (`vi` and `ir` in some copies), one VOC file a pair in `Annotation`, no parts.

use std::path::Path;

use super::holdout::Holdout;
use super::listed::{Listing, folder};
use crate::dataset::Split;
use crate::error::DataError;

/// All pairs, a share of them held out.
pub(super) fn list(source: &Path, holdout: &Holdout) -> Result<Listing, DataError> {
    let visible = folder(source, &["Vis", "vi"])?;
    let infrared = folder(source, &["Ir"])?;
    let annotations = folder(source, &["Annotation", "Annotations"])?;
    let annotation = |stem: &str| annotations.join(format!("{stem}.xml"));
    let mut listing = Listing::default();
    listing.pair_up(Split::Train, [&visible, &infrared], |_| true, str::to_owned, annotation)?;
    if listing.pairs.len() < 2 {
        let why = format!("{} pairs cannot be split into two parts", listing.pairs.len());
        return Err(DataError::Layout { path: source.to_path_buf(), why });
    }
    let held = holdout.of(listing.pairs.len());
    for (pair, _) in listing.pairs.iter_mut().zip(held).filter(|(_, held)| *held) {
        pair.split = Split::Val;
    }
    Ok(listing)
}
