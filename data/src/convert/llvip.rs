//! LLVIP: `visible/{train,test}`, `infrared/{train,test}`, one VOC file a pair in `Annotations`.

use std::path::Path;

use super::listed::{Listing, folder};
use crate::dataset::Split;
use crate::error::DataError;

/// The pairs of both published parts.
pub(super) fn list(source: &Path) -> Result<Listing, DataError> {
    let [visible, infrared, annotations] =
        ["visible", "infrared", "Annotations"].map(|name| folder(source, &[name]));
    let (visible, infrared, annotations) = (visible?, infrared?, annotations?);
    let mut listing = Listing::default();
    for (part, split) in [("train", Split::Train), ("test", Split::Val)] {
        let (rgb, ir) = (folder(&visible, &[part])?, folder(&infrared, &[part])?);
        let annotation = |stem: &str| annotations.join(format!("{stem}.xml"));
        listing.pair_up(split, [&rgb, &ir], |_| true, str::to_owned, annotation)?;
    }
    Ok(listing)
}
