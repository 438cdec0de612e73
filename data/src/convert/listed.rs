//! Finding pairs: folders by any of their published names, pictures by their stems.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dataset::{Split, entries, is_picture};
use crate::error::DataError;

/// A published pair.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// `Train` or `Val`.
    pub split: Split,
    /// The stem of all three files to be written.
    pub name: String,
    pub rgb: PathBuf,
    pub ir: PathBuf,
    /// Need not be there: that is found out when it is read.
    pub annotation: PathBuf,
}

/// All pairs of a published data set, and pictures that are no part of one.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub pairs: Vec<Listed>,
    pub problems: Vec<DataError>,
}

impl Listing {
    /// Pairs the pictures of two folders by their stems; `name` and `annotation` say what becomes of a stem.
    pub fn pair_up(
        &mut self,
        split: Split,
        [rgb, ir]: [&Path; 2],
        wanted: impl Fn(&str) -> bool,
        name: impl Fn(&str) -> String,
        annotation: impl Fn(&str) -> PathBuf,
    ) -> Result<(), DataError> {
        let (rgb_pictures, mut ir_pictures) = (pictures(rgb)?, pictures(ir)?);
        for (stem, picture) in rgb_pictures.into_iter().filter(|(stem, _)| wanted(stem)) {
            match ir_pictures.remove(&stem) {
                Some(partner) => {
                    let (name, annotation) = (name(&stem), annotation(&stem));
                    self.pairs.push(Listed { split, name, rgb: picture, ir: partner, annotation });
                }
                None => self.problems.push(alone(picture, ir, "infrared")),
            }
        }
        let lone = ir_pictures.into_iter().filter(|(stem, _)| wanted(stem));
        self.problems.extend(lone.map(|(_, picture)| alone(picture, rgb, "RGB")));
        Ok(())
    }
}

fn alone(path: PathBuf, folder: &Path, kind: &str) -> DataError {
    DataError::Pairing { path, why: format!("no {kind} picture of this name in {}", folder.display()) }
}

/// The pictures directly in a folder, by their stems.
pub(super) fn pictures(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DataError> {
    let stem = |path: PathBuf| Some((path.file_stem()?.to_str()?.to_owned(), path));
    Ok(entries(folder)?.into_iter().filter(|path| is_picture(path)).filter_map(stem).collect())
}

/// The folder among those in `parent` that has one of these names, capitals or not.
pub(super) fn folder(parent: &Path, names: &[&str]) -> Result<PathBuf, DataError> {
    optional_folder(parent, names)?.ok_or_else(|| DataError::Layout {
        path: parent.to_path_buf(),
        why: format!(
            "no folder {} in here: name the one that the data set was unpacked to",
            names.join(" or ")
        ),
    })
}

/// As [`folder`], `None` where there is none.
pub(super) fn optional_folder(parent: &Path, names: &[&str]) -> Result<Option<PathBuf>, DataError> {
    let folders: Vec<PathBuf> = entries(parent)?.into_iter().filter(|path| path.is_dir()).collect();
    let called = |path: &&PathBuf, name: &str| {
        path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.eq_ignore_ascii_case(name))
    };
    Ok(names.iter().find_map(|name| folders.iter().find(|path| called(path, name)).cloned()))
}
