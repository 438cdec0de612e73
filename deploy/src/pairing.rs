//! Which RGB file belongs to which infrared file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::DeployError;

/// Suffixes of files that count as pictures; other files in a folder are passed over.
const PICTURES: [&str; 7] = ["jpg", "jpeg", "jfif", "png", "tif", "tiff", "bmp"];

/// Files that are looked at together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Files {
    /// Both cameras'.
    Pair {
        /// The RGB file.
        rgb: PathBuf,
        /// The infrared file.
        ir: PathBuf,
    },
    /// The one picture of a one-stream network, of the camera that it sees.
    One(PathBuf),
}

impl Files {
    /// The RGB file, or the only one.
    pub fn first(&self) -> &Path {
        match self {
            Files::Pair { rgb, .. } => rgb,
            Files::One(path) => path,
        }
    }
}

/// What was found under two paths, or under one.
#[derive(Debug, Default)]
pub struct Pairing {
    /// In the order of their relative paths.
    pub pairs: Vec<Files>,
    /// One error a picture that has no partner, or more than one.
    pub alone: Vec<DeployError>,
}

/// Pairs two files, or the pictures of two folders by their relative path and stem (the suffix may differ).
///
/// # Errors
/// [`DeployError::Read`] where a path cannot be read; [`DeployError::Pairing`] where one is a file and the other a
/// folder, or neither folder holds a picture. Pictures that stay alone are in the result, for the caller to tell.
pub fn pairs(rgb: &Path, ir: &Path) -> Result<Pairing, DeployError> {
    match (is_folder(rgb)?, is_folder(ir)?) {
        (false, false) => {
            let pair = Files::Pair { rgb: rgb.to_owned(), ir: ir.to_owned() };
            Ok(Pairing { pairs: vec![pair], alone: vec![] })
        }
        (true, true) => folders(rgb, ir),
        (rgb_is_folder, _) => {
            let (folder, file) = if rgb_is_folder { (rgb, ir) } else { (ir, rgb) };
            Err(unpaired(
                file,
                format!("is a file, but {} is a folder: give two of a kind", folder.display()),
            ))
        }
    }
}

/// A picture, or all pictures of a folder, for a one-stream network.
///
/// # Errors
/// [`DeployError::Read`] where the path cannot be read; [`DeployError::Pairing`] where a folder holds no picture.
pub fn singles(path: &Path) -> Result<Pairing, DeployError> {
    let found = if is_folder(path)? {
        pictures(path)?.into_values().flatten().collect()
    } else {
        vec![path.to_owned()]
    };
    if found.is_empty() {
        return Err(unpaired(path, "holds no picture".to_owned()));
    }
    Ok(Pairing { pairs: found.into_iter().map(Files::One).collect(), alone: vec![] })
}

fn is_folder(path: &Path) -> Result<bool, DeployError> {
    Ok(std::fs::metadata(path)
        .map_err(|source| DeployError::Read { path: path.to_owned(), source })?
        .is_dir())
}

fn folders(rgb: &Path, ir: &Path) -> Result<Pairing, DeployError> {
    let (rgb_files, mut ir_files) = (pictures(rgb)?, pictures(ir)?);
    if rgb_files.is_empty() && ir_files.is_empty() {
        return Err(unpaired(rgb, format!("holds no picture, nor does {}", ir.display())));
    }
    let mut found = Pairing::default();
    for (key, mut files) in rgb_files {
        let mut partners = ir_files.remove(&key).unwrap_or_default();
        match (files.len(), partners.len()) {
            (1, 1) => found.pairs.push(Files::Pair { rgb: files.remove(0), ir: partners.remove(0) }),
            (1, 0) => {
                let why = format!("has no infrared picture {}.* in {}", key.display(), ir.display());
                found.alone.push(unpaired(&files[0], why));
            }
            (1, _) => found.alone.push(ambiguous(&partners)),
            _ => found.alone.push(ambiguous(&files)),
        }
    }
    for (key, files) in ir_files {
        let why = format!("has no RGB picture {}.* in {}", key.display(), rgb.display());
        found.alone.push(unpaired(&files[0], why));
    }
    Ok(found)
}

/// Pictures under a folder by their relative path without its suffix.
fn pictures(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>, DeployError> {
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(here) = open.pop() {
        let failed = |source| DeployError::Read { path: here.clone(), source };
        for entry in std::fs::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            // A link to a folder is not followed: it may lead back.
            if entry.file_type().map_err(failed)?.is_dir() {
                open.push(path);
            } else if is_picture(&path) {
                let key = path.strip_prefix(folder).unwrap_or(&path).with_extension("");
                found.entry(key).or_default().push(path);
            }
        }
    }
    found.values_mut().for_each(|files| files.sort());
    Ok(found)
}

fn is_picture(path: &Path) -> bool {
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    PICTURES.iter().any(|known| known.eq_ignore_ascii_case(&suffix))
}

fn ambiguous(files: &[PathBuf]) -> DeployError {
    let others: Vec<_> = files[1..].iter().map(|f| f.display().to_string()).collect();
    unpaired(&files[0], format!("differs from {} by its suffix only: which one is meant?", others.join(", ")))
}

fn unpaired(path: &Path, why: String) -> DeployError {
    DeployError::Pairing { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["rgb", "ir"] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn folders_pair_by_relative_path_and_stem() {
        let dir = tree(&[
            "rgb/b.jpg",
            "ir/b.PNG",
            "rgb/day/a.v1.jpg",
            "ir/day/a.v1.tiff",
            "rgb/a.jpg",
            "ir/a.jpg",
            "rgb/x.txt",
        ]);
        let found = pairs(&dir.path().join("rgb"), &dir.path().join("ir")).unwrap();
        let tails = |files: &Files| match files {
            Files::Pair { rgb, ir } => (tail(rgb), tail(ir)),
            Files::One(path) => panic!("{} has a partner", path.display()),
        };
        let names: Vec<_> = found.pairs.iter().map(tails).collect();
        let expected = [("a.jpg", "a.jpg"), ("b.jpg", "b.PNG"), ("a.v1.jpg", "a.v1.tiff")];
        assert_eq!(names, expected.map(|(r, i)| (r.to_owned(), i.to_owned())));
        assert!(found.alone.is_empty());
    }

    fn tail(path: &Path) -> String {
        path.file_name().unwrap().to_string_lossy().into_owned()
    }

    #[test]
    fn what_has_no_partner_is_named() {
        let dir = tree(&[
            "rgb/a.jpg",
            "ir/b.jpg",
            "rgb/c.jpg",
            "ir/c.jpg",
            "rgb/d.jpg",
            "ir/d.jpg",
            "ir/d.png",
            "rgb/e.jpg",
            "rgb/e.png",
            "ir/e.jpg",
        ]);
        let found = pairs(&dir.path().join("rgb"), &dir.path().join("ir")).unwrap();
        assert_eq!(found.pairs.len(), 1);
        let alone: Vec<_> = found.alone.iter().map(ToString::to_string).collect();
        assert_eq!(alone.len(), 4);
        for (text, file, why) in [
            (&alone[0], "rgb/a.jpg", "no infrared picture a.*"),
            (&alone[1], "ir/d.jpg", "d.png"),
            (&alone[2], "rgb/e.jpg", "e.png"),
            (&alone[3], "ir/b.jpg", "no RGB picture b.*"),
        ] {
            assert!(text.contains(file) && text.contains(why), "{text}");
        }
    }

    #[test]
    fn one_camera_needs_no_partner() {
        let dir = tree(&["rgb/b.jpg", "rgb/day/a.png", "rgb/b.txt", "rgb/a.jpg"]);
        let folder = dir.path().join("rgb");
        let found = singles(&folder).unwrap();
        let names: Vec<_> = found.pairs.iter().map(|files| tail(files.first())).collect();
        assert_eq!((names, found.alone.len()), (["a.jpg", "b.jpg", "a.png"].map(String::from).to_vec(), 0));
        assert_eq!(singles(&folder.join("b.jpg")).unwrap().pairs, [Files::One(folder.join("b.jpg"))]);
        assert!(singles(&dir.path().join("ir")).unwrap_err().to_string().contains("holds no picture"));
        assert!(singles(&folder.join("gone.jpg")).unwrap_err().to_string().contains("gone.jpg"));
    }

    #[test]
    fn paths_that_cannot_pair_are_refused() {
        let dir = tree(&["rgb/a.jpg"]);
        let (rgb, ir) = (dir.path().join("rgb"), dir.path().join("ir"));
        let text = |a: &Path, b: &Path| pairs(a, b).unwrap_err().to_string();
        assert!(text(&rgb.join("a.jpg"), &ir).contains("is a folder"));
        assert!(text(&ir, &ir).contains("holds no picture"));
        assert!(text(&rgb.join("none.jpg"), &ir).contains("none.jpg"));
        assert_eq!(pairs(&rgb.join("a.jpg"), &rgb.join("a.jpg")).unwrap().pairs.len(), 1);
    }
}
