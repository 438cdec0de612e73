//! From what data.yaml names to the RGB pictures: folders are walked, text files are read.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::pairing::Layout;
use crate::error::DataError;

/// Suffixes of files that count as pictures. Those that cannot be decoded are listed all the same, so that
/// decoding names them instead of their going missing silently.
const SUFFIXES: [&str; 13] =
    ["bmp", "dng", "gif", "heic", "jfif", "jpeg", "jpg", "mpo", "pfm", "png", "tif", "tiff", "webp"];

/// The RGB pictures of one part.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Sorted, each once.
    pub pictures: Vec<PathBuf>,
    /// Folders that were walked for them.
    pub folders: Vec<PathBuf>,
}

impl Listing {
    pub fn read(paths: &[PathBuf], root: &Path, layout: &Layout) -> Result<Listing, DataError> {
        let mut listing = Listing::default();
        for path in paths {
            let path = tidy(&locate(path, root));
            let meta = std::fs::metadata(&path).map_err(|source| DataError::io(&path, source))?;
            if meta.is_dir() {
                listing.pictures.extend(walk(&path, |name| layout.is_other_folder(name))?);
                listing.folders.push(path);
            } else if is_picture(&path) {
                listing.pictures.push(path);
            } else {
                listing.pictures.extend(read_text_list(&path, root)?);
            }
        }
        listing.pictures.retain(|path| !layout.is_infrared_beside(path));
        listing.pictures.sort();
        listing.pictures.dedup();
        Ok(listing)
    }
}

/// `path` from `root`. Exported data sets write `../train/images` and mean a folder beside the YAML.
fn locate(path: &Path, root: &Path) -> PathBuf {
    let located = root.join(path);
    match path.strip_prefix("..") {
        Ok(inner) if !located.exists() && root.join(inner).exists() => root.join(inner),
        _ => located,
    }
}

/// A path a line; `./` starts at the text file's folder, other relative paths at `root`.
fn read_text_list(list: &Path, root: &Path) -> Result<Vec<PathBuf>, DataError> {
    let text = std::fs::read_to_string(list).map_err(|source| DataError::io(list, source))?;
    let folder = list.parent().unwrap_or(root);
    let mut pictures = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let path = match line.strip_prefix("./") {
            Some(inner) => folder.join(inner),
            None => root.join(line),
        };
        if !is_picture(&path) {
            return Err(DataError::Config {
                path: list.to_path_buf(),
                line: Some(index + 1),
                why: format!("'{line}' is no path of a picture (expected .jpg, .png, .tif or .bmp)"),
            });
        }
        if !path.is_file() {
            return Err(DataError::Config {
                path: list.to_path_buf(),
                line: Some(index + 1),
                why: format!("there is no {}", path.display()),
            });
        }
        pictures.push(tidy(&path));
    }
    Ok(pictures)
}

/// All pictures under `folder`, sorted; hidden files and folders, and folders that `skip` names, are left out.
pub(super) fn walk(folder: &Path, skip: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, DataError> {
    let mut pictures = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    // Links may lead back to a folder above.
    let mut seen = HashSet::new();
    while let Some(folder) = open.pop() {
        let real = folder.canonicalize().map_err(|source| DataError::io(&folder, source))?;
        if !seen.insert(real) {
            continue;
        }
        for path in entries(&folder)? {
            if path.is_dir() {
                if !path.file_name().is_some_and(|name| skip(&name.to_string_lossy())) {
                    open.push(path);
                }
            } else if is_picture(&path) {
                pictures.push(path);
            }
        }
    }
    pictures.sort();
    Ok(pictures)
}

/// What lies directly in a folder, hidden entries left out.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::io(folder, source);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}

/// Whether the suffix is that of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let suffix = path.extension().and_then(|s| s.to_str()).unwrap_or_default();
    SUFFIXES.iter().any(|known| known.eq_ignore_ascii_case(suffix))
}

/// Without `.` components and doubled separators, so that one file has one path.
fn tidy(path: &Path) -> PathBuf {
    path.components().collect()
}
