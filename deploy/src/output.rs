//! Detections written down: a JSON object a pair, YOLO label lines, annotated pictures.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use yf_data::draw::save_jpeg;

use crate::DeployError;
use crate::pipeline::{PairResult, Stages};

#[derive(Serialize)]
struct PairObject<'a> {
    rgb: Option<String>,
    ir: Option<String>,
    detections: Vec<DetectionObject<'a>>,
    ms: Stages,
}

#[derive(Serialize)]
struct DetectionObject<'a> {
    class: usize,
    name: &'a str,
    score: f32,
    r#box: [f32; 4],
}

/// A pair's result as one line of JSON: `rgb`, `ir`, `detections` [{`class`, `name`, `score`, `box`}], `ms` by stage.
/// Boxes are x1 y1 x2 y2 in pixels of the RGB file. Of a single picture the other file is `null`, and boxes are in its
/// pixels.
pub fn json(result: &PairResult, names: &[String]) -> String {
    let detections = result.detections.iter().map(|d| DetectionObject {
        class: d.class,
        name: names.get(d.class).map_or("", String::as_str),
        score: d.score,
        r#box: d.bbox,
    });
    let object = PairObject {
        rgb: result.rgb.as_ref().map(|path| path.display().to_string()),
        ir: result.ir.as_ref().map(|path| path.display().to_string()),
        detections: detections.collect(),
        ms: result.ms,
    };
    serde_json::to_string(&object).unwrap_or_default()
}

/// A pair's detections as YOLO lines, `class cx cy w h score`, the box as parts of the picture's width and height.
pub fn yolo_lines(result: &PairResult) -> String {
    let (width, height) = (result.size.0 as f32, result.size.1 as f32);
    let mut lines = String::new();
    for d in &result.detections {
        let [x1, y1, x2, y2] = d.bbox;
        let (cx, cy) = ((x1 + x2) / 2.0 / width, (y1 + y2) / 2.0 / height);
        let (w, h) = ((x2 - x1) / width, (y2 - y1) / height);
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{} {cx:.6} {cy:.6} {w:.6} {h:.6} {:.6}", d.class, d.score);
    }
    lines
}

/// A folder for annotated pictures and labels, named after the RGB files.
#[derive(Debug)]
pub struct SaveFolder {
    folder: PathBuf,
    /// Folders whose sub-folders are made again.
    roots: Vec<PathBuf>,
    taken: HashSet<PathBuf>,
}

/// Where a pair's results go: the same name for its picture and its labels.
#[derive(Clone, Debug)]
pub struct SaveName {
    folder: PathBuf,
    /// Sub-folders and stem.
    name: PathBuf,
}

impl SaveFolder {
    /// Makes the folder where it is not there. What comes from below one of `roots` goes into the same sub-folders.
    ///
    /// # Errors
    /// [`DeployError::Write`] where that cannot be done.
    pub fn create(folder: &Path, roots: Vec<PathBuf>) -> Result<Self, DeployError> {
        make(folder)?;
        Ok(Self { folder: folder.to_owned(), roots, taken: HashSet::new() })
    }

    /// The name for a pair's results: sub-folders and stem of its RGB file (or of its only one), counted up where another
    /// pair of this run has it (`street`, `street-2`).
    pub fn name(&mut self, result: &PairResult) -> SaveName {
        let path = result.rgb.as_deref().or(result.ir.as_deref()).unwrap_or(Path::new(""));
        let stem = path.file_stem().unwrap_or_default();
        let below = self.roots.iter().find_map(|root| path.strip_prefix(root).ok()?.parent());
        let folders = below.unwrap_or(Path::new(""));
        let numbered = (2..).map(|n| folders.join(format!("{}-{n}", stem.to_string_lossy())));
        let mut names = std::iter::once(folders.join(stem)).chain(numbered);
        // The iterator has no end, so a free name comes.
        let free = names.find(|name| self.taken.insert(name.clone())).unwrap_or_default();
        SaveName { folder: self.folder.clone(), name: free }
    }
}

impl SaveName {
    /// Saves the pictures side by side with their boxes as `NAME.jpg`; returns the file. A result that came without its
    /// pictures is drawn nowhere.
    ///
    /// # Errors
    /// [`DeployError::Data`] or [`DeployError::Write`] where the file cannot be written.
    pub fn picture(&self, result: &PairResult, names: &[String]) -> Result<PathBuf, DeployError> {
        let path = self.file(&self.folder, ".jpg")?;
        if let Some(pictures) = &result.pictures {
            save_jpeg(&pictures.annotated(&result.detections, names), &path)?;
        }
        Ok(path)
    }

    /// Saves the YOLO lines as `labels/NAME.txt`; returns the file. No detections make an empty file.
    ///
    /// # Errors
    /// [`DeployError::Write`] where the file cannot be written.
    pub fn labels(&self, result: &PairResult) -> Result<PathBuf, DeployError> {
        let path = self.file(&self.folder.join("labels"), ".txt")?;
        std::fs::write(&path, yolo_lines(result))
            .map_err(|source| DeployError::Write { path: path.clone(), source })?;
        Ok(path)
    }

    /// The file below a folder, with the folders that it lies in. A name may hold dots: nothing is an extension yet.
    fn file(&self, folder: &Path, suffix: &str) -> Result<PathBuf, DeployError> {
        let mut path = folder.join(&self.name).into_os_string();
        path.push(suffix);
        let path = PathBuf::from(path);
        path.parent().map_or(Ok(()), make)?;
        Ok(path)
    }
}

fn make(folder: &Path) -> Result<(), DeployError> {
    std::fs::create_dir_all(folder).map_err(|source| DeployError::Write { path: folder.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use yf_data::detection::Detection;
    use yf_data::picture::{Pair, Picture};

    use super::*;
    use crate::pictures::Pictures;

    fn result(rgb: &str) -> PairResult {
        PairResult {
            rgb: Some(rgb.into()),
            ir: Some("ir/a.png".into()),
            size: (200, 100),
            detections: vec![Detection { class: 1, score: 0.9, bbox: [20.0, 10.0, 60.0, 35.5] }],
            ms: Stages { decode: 1.0, letterbox: 0.5, network: 20.25, suppression: 0.125 },
            pictures: Some(Pictures::Pair(Pair {
                rgb: Picture::filled(200, 100, [90; 3]),
                ir: Picture::filled(200, 100, [30]),
            })),
        }
    }

    #[test]
    fn json_has_the_documented_keys() {
        let text = json(&result("rgb/a.jpg"), &["person".into(), "car \"x\"".into()]);
        assert_eq!(
            text,
            r#"{"rgb":"rgb/a.jpg","ir":"ir/a.png","detections":[{"class":1,"name":"car \"x\"","score":0.9,"box":[20.0,10.0,60.0,35.5]}],"ms":{"decode":1.0,"letterbox":0.5,"network":20.25,"suppression":0.125}}"#
        );
    }

    #[test]
    fn yolo_lines_are_parts_of_the_picture() {
        assert_eq!(yolo_lines(&result("a.jpg")), "1 0.200000 0.227500 0.200000 0.255000 0.900000\n");
    }

    #[test]
    fn equal_stems_get_files_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = SaveFolder::create(&dir.path().join("out"), vec![]).unwrap();
        let mut saved = Vec::new();
        for rgb in ["day/a.jpg", "night/a.jpg", "day/a-2.jpg", "b.png"] {
            let result = result(rgb);
            let name = folder.name(&result);
            saved.push(name.picture(&result, &["person".into()]).unwrap());
            saved.push(name.labels(&result).unwrap());
        }
        let unique: HashSet<_> = saved.iter().collect();
        assert_eq!(unique.len(), 8);
        assert!(saved.iter().all(|path| path.is_file()));
        assert!(saved[0].ends_with("out/a.jpg") && saved[3].ends_with("out/labels/a-2.txt"));
    }

    #[test]
    fn sub_folders_are_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = SaveFolder::create(dir.path(), vec!["in/rgb".into(), "in/ir".into()]).unwrap();
        let mut labels = |rgb: &str| {
            let result = result(rgb);
            let saved = folder.name(&result).labels(&result).unwrap();
            assert!(saved.is_file());
            saved.strip_prefix(dir.path()).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(labels("in/rgb/day/1.v2.jpg"), "labels/day/1.v2.txt");
        assert_eq!(labels("in/rgb/night/1.v2.jpg"), "labels/night/1.v2.txt");
        assert_eq!(labels("in/rgb/night/1.v2.png"), "labels/night/1.v2-2.txt");
        assert_eq!(labels("in/rgb/1.jpg"), "labels/1.txt");
        assert_eq!(labels("elsewhere/night/1.jpg"), "labels/1-2.txt");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = SaveFolder::create(&file.join("out"), vec![]).unwrap_err();
        assert!(error.to_string().contains("file/out"), "{error}");
    }
}
