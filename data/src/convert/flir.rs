//! FLIR ADAS, the aligned version of 2020: `JPEGImages` with `FLIR_NNNNN_RGB.jpg` and `FLIR_NNNNN_PreviewData.jpeg`,
//! `Annotations/FLIR_NNNNN_PreviewData.xml`, and two lists of names.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::listed::{Listed, Listing, folder, optional_folder, pictures};
use crate::dataset::Split;
use crate::error::DataError;

/// What the infrared files' names end with.
const INFRARED: &str = "_PreviewData";
/// What the RGB files' names end with.
const RGB: &str = "_RGB";

/// The pairs of both lists.
pub(super) fn list(source: &Path) -> Result<Listing, DataError> {
    let root = optional_folder(source, &["align"])?.unwrap_or_else(|| source.to_path_buf());
    let found = pictures(&folder(&root, &["JPEGImages"])?)?;
    let annotations = folder(&root, &["Annotations"])?;
    let (mut listing, mut seen) = (Listing::default(), HashSet::new());
    for (name, split) in [("align_train.txt", Split::Train), ("align_validation.txt", Split::Val)] {
        let list = list_file(&root, name)?;
        let text = fs::read_to_string(&list).map_err(|source| DataError::io(&list, source))?;
        for (index, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            let name = line.strip_suffix(INFRARED).unwrap_or(line);
            let mut wrong = |why: String| {
                listing.problems.push(DataError::Config { path: list.clone(), line: Some(index + 1), why });
            };
            if !seen.insert(name.to_owned()) {
                wrong(format!("{name} is listed a second time"));
                continue;
            }
            let picture = |kind: &str| found.get(&format!("{name}{kind}")).cloned();
            match (picture(RGB), picture(INFRARED)) {
                (Some(rgb), Some(ir)) => {
                    let annotation = annotations.join(format!("{name}{INFRARED}.xml"));
                    listing.pairs.push(Listed { split, name: name.to_owned(), rgb, ir, annotation });
                }
                (rgb, _) => {
                    let missing = if rgb.is_none() { RGB } else { INFRARED };
                    wrong(format!("no picture {name}{missing} in JPEGImages"));
                }
            }
        }
    }
    Ok(listing)
}

/// A list lies beside the folders, in other copies where VOC has its lists.
fn list_file(root: &Path, name: &str) -> Result<PathBuf, DataError> {
    let places = [root.join(name), root.join("ImageSets/Main").join(name)];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| DataError::Layout {
        path: root.to_path_buf(),
        why: format!("no {name} in here or in ImageSets/Main: is this the aligned version?"),
    })
}
