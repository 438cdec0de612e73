//! Labels: a text file a picture, a line a box: `class cx cy w h`, as fractions of the picture's width and height.
//!
//! A missing file means a picture without objects. A line with more numbers is a polygon (`class x1 y1 x2 y2 ...`,
//! three points or more), as segmentation data sets have; its bounding box is taken.

use std::io::ErrorKind;
use std::path::Path;

use crate::error::DataError;

/// How far a coordinate may lie outside 0..=1 and still count as rounding: a thousandth of the picture.
const ROUNDING: f32 = 1e-3;

/// One labelled object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxLabel {
    /// Index into the data set's names.
    pub class: usize,
    /// Centre, as a fraction of the picture's width: 0..=1.
    pub cx: f32,
    /// Centre, as a fraction of the picture's height: 0..=1.
    pub cy: f32,
    /// Width, as a fraction of the picture's width: above 0, up to 1.
    pub w: f32,
    /// Height, as a fraction of the picture's height: above 0, up to 1.
    pub h: f32,
}

impl BoxLabel {
    /// The corners (x1, y1, x2, y2) in pixels of a picture of `size` (width, height).
    pub fn corners(&self, size: (usize, usize)) -> [f32; 4] {
        let (width, height) = (size.0 as f32, size.1 as f32);
        let (half_w, half_h) = (self.w / 2.0, self.h / 2.0);
        [
            (self.cx - half_w) * width,
            (self.cy - half_h) * height,
            (self.cx + half_w) * width,
            (self.cy + half_h) * height,
        ]
    }
}

/// Everything a label file says, good and bad.
#[derive(Debug, Default)]
pub struct LabelFile {
    /// The boxes, each once.
    pub boxes: Vec<BoxLabel>,
    /// Lines (from 1) that repeat an earlier box exactly, and were dropped.
    pub repeated: Vec<usize>,
    /// Lines that are no box.
    pub errors: Vec<DataError>,
    /// Whether there was no file.
    pub missing: bool,
}

/// The boxes of one label file; none where there is no file. Boxes that repeat an earlier one exactly are dropped.
///
/// # Errors
/// The first line that is no box of `classes` classes: a number missing, too many, not finite or out of range, a box
/// without area, a class that does not exist.
pub fn read(path: &Path, classes: usize) -> Result<Vec<BoxLabel>, DataError> {
    let mut file = inspect(path, classes)?;
    if file.errors.is_empty() { Ok(file.boxes) } else { Err(file.errors.remove(0)) }
}

/// Reads a label file to its end, whatever is wrong with its lines.
///
/// # Errors
/// Only where the file is there and cannot be read as text.
pub fn inspect(path: &Path, classes: usize) -> Result<LabelFile, DataError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(LabelFile { missing: true, ..LabelFile::default() });
        }
        Err(error) => return Err(DataError::io(path, error)),
    };
    let mut file = LabelFile::default();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match parse_line(line, classes) {
            Ok(label) if file.boxes.contains(&label) => file.repeated.push(index + 1),
            Ok(label) => file.boxes.push(label),
            Err(why) => {
                file.errors.push(DataError::Label { path: path.to_path_buf(), line: index + 1, why });
            }
        }
    }
    Ok(file)
}

fn parse_line(line: &str, classes: usize) -> Result<BoxLabel, String> {
    let numbers = line.split_whitespace().map(parse_number).collect::<Result<Vec<f64>, String>>()?;
    let class = parse_class(numbers[0], classes)?;
    let coordinates: Vec<f32> = numbers[1..].iter().map(|&v| v as f32).collect();
    if let Some(bad) = coordinates.iter().find(|v| !(-ROUNDING..=1.0 + ROUNDING).contains(*v)) {
        return Err(format!("{bad} is out of range: boxes are fractions of the picture's size, 0 to 1"));
    }
    let label = match coordinates.len() {
        4 => BoxLabel {
            class,
            cx: coordinates[0].clamp(0.0, 1.0),
            cy: coordinates[1].clamp(0.0, 1.0),
            w: coordinates[2].clamp(0.0, 1.0),
            h: coordinates[3].clamp(0.0, 1.0),
        },
        n if n >= 6 && n % 2 == 0 => bounding_box(class, &coordinates),
        n => {
            return Err(format!(
                "{} numbers, expected 5: class cx cy w h (or a polygon: class and three points or more)",
                n + 1
            ));
        }
    };
    if label.w <= 0.0 || label.h <= 0.0 {
        return Err(format!("a box of width {} and height {} has no area", label.w, label.h));
    }
    Ok(label)
}

fn parse_number(word: &str) -> Result<f64, String> {
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(format!("'{word}' is no finite number")),
        Err(_) => Err(format!("'{word}' is no number")),
    }
}

fn parse_class(number: f64, classes: usize) -> Result<usize, String> {
    if number < 0.0 || number.fract() != 0.0 {
        return Err(format!("class {number}: a class is a whole number from 0"));
    }
    if number >= classes as f64 {
        let last = classes.saturating_sub(1);
        return Err(format!("class {number}: the data set names {classes} classes, 0 to {last}"));
    }
    Ok(number as usize)
}

fn bounding_box(class: usize, points: &[f32]) -> BoxLabel {
    let range = |axis: usize| {
        let along = points.iter().skip(axis).step_by(2).map(|v| v.clamp(0.0, 1.0));
        along.fold((1.0f32, 0.0f32), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((x1, x2), (y1, y2)) = (range(0), range(1));
    BoxLabel { class, cx: (x1 + x2) / 2.0, cy: (y1 + y2) / 2.0, w: x2 - x1, h: y2 - y1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a.txt");
        std::fs::write(&path, text).expect("a temporary file");
        (folder, path)
    }

    #[test]
    fn boxes_are_read() {
        let (_folder, path) = file_of("\u{feff}0 0.5 0.25 0.5 0.5\r\n\n2.0 1 1 1e-1 0.2\n");
        let boxes = read(&path, 3).expect("good labels");
        assert_eq!(boxes[0], BoxLabel { class: 0, cx: 0.5, cy: 0.25, w: 0.5, h: 0.5 });
        assert_eq!(boxes[1].class, 2);
        assert_eq!(boxes[0].corners((100, 40)), [25.0, 0.0, 75.0, 20.0]);
    }

    #[test]
    fn no_file_means_no_objects() {
        let file = inspect(Path::new("no/such/label.txt"), 1).expect("background");
        assert!(file.missing && file.boxes.is_empty());
    }

    #[test]
    fn polygons_become_their_bounding_box() {
        let (_folder, path) = file_of("0 0.1 0.2 0.5 0.2 0.3 0.6\n");
        let one = read(&path, 1).expect("a polygon")[0];
        for (is, should) in [(one.cx, 0.3), (one.cy, 0.4), (one.w, 0.4), (one.h, 0.4)] {
            assert!((is - should).abs() < 1e-6, "{one:?}");
        }
    }

    #[test]
    fn repeated_boxes_are_dropped_and_told() {
        let (_folder, path) = file_of("0 .5 .5 .1 .1\n0 .4 .5 .1 .1\n0 0.5 0.5 0.1 0.1\n");
        let file = inspect(&path, 1).expect("readable");
        assert_eq!((file.boxes.len(), file.repeated), (2, vec![3]));
    }

    #[test]
    fn every_bad_line_is_named() {
        let cases = [
            ("0 0.5 0.5 0.1", "4 numbers, expected 5"),
            ("0 .5 .5 .1 .1 .9", "6 numbers"),
            ("0 nan .5 .1 .1", "'nan' is no finite number"),
            ("0 .5 inf .1 .1", "no finite number"),
            ("0 .5 .5 .1 1.5", "1.5 is out of range"),
            ("0 -0.2 .5 .1 .1", "-0.2 is out of range"),
            ("0 .5 .5 0 .1", "no area"),
            ("3 .5 .5 .1 .1", "class 3: the data set names 3 classes, 0 to 2"),
            ("-1 .5 .5 .1 .1", "whole number"),
            ("0.5 .5 .5 .1 .1", "whole number"),
            ("person .5 .5 .1 .1", "'person' is no number"),
            ("0,0.5,0.5,0.1,0.1", "is no number"),
        ];
        let text: String = cases.iter().map(|(line, _)| format!("{line}\n")).collect();
        let (_folder, path) = file_of(&text);
        let errors = inspect(&path, 3).expect("readable").errors;
        assert_eq!(errors.len(), cases.len());
        for (index, (error, (line, expected))) in errors.iter().zip(cases).enumerate() {
            assert!(error.to_string().contains(expected), "{line}: {error}");
            assert_eq!((error.line(), error.file()), (Some(index + 1), Some(path.as_path())));
        }
        assert_eq!(read(&path, 3).expect_err("bad labels").line(), Some(1));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let (_folder, path) = file_of("");
        std::fs::write(&path, [0xff, 0xfe, 0x00, 0x80]).expect("a temporary file");
        assert!(read(&path, 1).is_err());
    }
}
