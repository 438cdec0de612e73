//! What an annotation file says, as labels.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::listed::Listed;
use super::{bbgt, voc};
use crate::decode;
use crate::error::DataError;
use crate::labels::BoxLabel;

/// No annotation of a picture is longer.
const MAX_BYTES: u64 = 16 << 20;

/// An annotated object, in pixels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    /// Line that it begins on, from 1.
    pub line: usize,
    /// What it is called.
    pub name: String,
    /// x1 y1 x2 y2.
    pub corners: [f64; 4],
    /// Marked as neither object nor background.
    pub ignored: bool,
}

/// What an annotation file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Annotation {
    /// Width and height of the picture that was annotated, where the file says it.
    pub size: Option<(usize, usize)>,
    pub objects: Vec<Object>,
}

/// The labels of a pair.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Boxes {
    /// Each once.
    pub kept: Vec<BoxLabel>,
    /// What objects are called that are not kept.
    pub left_out: Vec<String>,
    /// Boxes that were cut at the picture's edge.
    pub clipped: usize,
}

impl Boxes {
    /// The label file.
    pub fn lines(&self) -> String {
        let line = |b: &BoxLabel| format!("{} {:.6} {:.6} {:.6} {:.6}\n", b.class, b.cx, b.cy, b.w, b.h);
        self.kept.iter().map(line).collect()
    }
}

/// The boxes of a pair that are of one of `classes`, or everything that is wrong with its annotation.
pub(super) fn read(pair: &Listed, classes: &[&str]) -> Result<Boxes, Vec<DataError>> {
    let path = &pair.annotation;
    let text = text(path).map_err(|error| vec![error])?;
    let annotation = match path.extension().and_then(|suffix| suffix.to_str()) {
        Some("xml") => voc::parse(&text, path)?,
        _ => bbgt::parse(&text, path)?,
    };
    let size = match annotation.size {
        Some(size) => size,
        None => decode::dimensions(&pair.rgb).map_err(|error| vec![error])?,
    };
    boxes(annotation.objects, size, classes, path)
}

fn text(path: &Path) -> Result<String, DataError> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => no_box(path, 1, "the annotation is not there"),
        ErrorKind::InvalidData => no_box(path, 1, "the annotation is no UTF-8 text"),
        _ => DataError::io(path, error),
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(no_box(path, 1, "the annotation is longer than 16 MiB"));
    }
    fs::read_to_string(path).map_err(failed)
}

fn boxes(
    objects: Vec<Object>,
    size: (usize, usize),
    classes: &[&str],
    path: &Path,
) -> Result<Boxes, Vec<DataError>> {
    let (mut boxes, mut wrong) = (Boxes::default(), Vec::new());
    for object in objects {
        let class = classes.iter().position(|class| class.eq_ignore_ascii_case(&object.name));
        let Some(class) = class.filter(|_| !object.ignored) else {
            let marked = if object.ignored { " (to be ignored)" } else { "" };
            boxes.left_out.push(format!("{}{marked}", object.name));
            continue;
        };
        match label(class, object.corners, size) {
            Ok((label, clipped)) => {
                boxes.clipped += usize::from(clipped);
                if !boxes.kept.contains(&label) {
                    boxes.kept.push(label);
                }
            }
            Err(why) => wrong.push(no_box(path, object.line, why)),
        }
    }
    if wrong.is_empty() { Ok(boxes) } else { Err(wrong) }
}

/// A box as fractions of the picture, and whether it had to be cut at the edge.
fn label(
    class: usize,
    corners: [f64; 4],
    (width, height): (usize, usize),
) -> Result<(BoxLabel, bool), String> {
    let [x1, y1, x2, y2] = corners;
    if !(x1 < x2 && y1 < y2) {
        return Err(format!("the box {x1} {y1} {x2} {y2} has no area"));
    }
    let (width, height) = (width as f64, height as f64);
    let cut = [x1.clamp(0.0, width), y1.clamp(0.0, height), x2.clamp(0.0, width), y2.clamp(0.0, height)];
    let (w, h) = ((cut[2] - cut[0]) / width, (cut[3] - cut[1]) / height);
    // What is thinner is written as zero.
    if w < 1e-6 || h < 1e-6 {
        return Err(format!("the box {x1} {y1} {x2} {y2} lies outside the picture of {width}x{height}"));
    }
    let (cx, cy) = ((cut[0] + cut[2]) / 2.0 / width, (cut[1] + cut[3]) / 2.0 / height);
    let [cx, cy, w, h] = [cx, cy, w, h].map(|fraction| fraction as f32);
    Ok((BoxLabel { class, cx, cy, w, h }, cut != corners))
}

/// Something in an annotation that is no box.
pub(super) fn no_box(path: &Path, line: usize, why: impl Into<String>) -> DataError {
    DataError::Label { path: path.to_path_buf(), line, why: why.into() }
}
