//! `train_batch.jpg`: what the network is shown, augmentation and boxes included.

use std::path::Path;

use yf_data::draw::{Tile, save_jpeg, sheet};
use yf_data::labels::BoxLabel;
use yf_data::metrics::Truth;
use yf_data::picture::{Pair, Picture};

use super::error::RecordError;

/// Most pairs on the sheet.
const MOST_PAIRS: usize = 16;

/// Draws the first 16 pairs of a batch, RGB and infrared side by side under their boxes, as JPEG.
///
/// `rgb` is [N, 3, side, side] and `ir` [N, 1, side, side], 0..1; `labels` has the boxes of the N pictures as
/// fractions of them, and `names` are indexed by class.
///
/// # Errors
/// Planes of another size than `labels` and `side` say, or a file that cannot be written.
pub fn train_batch(
    rgb: &[f32],
    ir: &[f32],
    side: usize,
    labels: &[Vec<BoxLabel>],
    names: &[String],
    path: &Path,
) -> Result<(), RecordError> {
    let expect = |modality, planes: &[f32], channels: usize| {
        let (found, expected) = (planes.len(), labels.len() * channels * side * side);
        let error = || RecordError::Planes { path: path.to_path_buf(), modality, found, expected };
        if found == expected { Ok(()) } else { Err(error()) }
    };
    expect("RGB", rgb, 3)?;
    expect("IR", ir, 1)?;
    let shown = labels.iter().take(MOST_PAIRS);
    let boxes: Vec<Vec<Truth>> = shown.map(|labels| truths(labels, side)).collect();
    let area = side * side;
    let pairs: Vec<Pair> = (0..boxes.len())
        .map(|index| Pair {
            rgb: picture(&rgb[3 * area * index..3 * area * (index + 1)], side),
            ir: picture(&ir[area * index..area * (index + 1)], side),
        })
        .collect();
    let tiles: Vec<Tile<'_>> = pairs.iter().zip(&boxes).map(|(pair, boxes)| Tile { pair, boxes }).collect();
    Ok(save_jpeg(&sheet(&tiles, names), path)?)
}

fn truths(labels: &[BoxLabel], side: usize) -> Vec<Truth> {
    labels.iter().map(|label| Truth { class: label.class, bbox: label.corners((side, side)) }).collect()
}

/// Planes of 0..1 as a picture of bytes.
fn picture<const C: usize>(planes: &[f32], side: usize) -> Picture<C> {
    let area = side * side;
    // The cast saturates, and makes no number black.
    let byte = |value: f32| (value * 255.0).round() as u8;
    let pixels =
        (0..area).flat_map(|at| (0..C).map(move |channel| byte(planes[channel * area + at]))).collect();
    Picture { width: side, height: side, pixels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels() {
        let planes = [0.0, 1.0, 0.5, 2.0, -1.0, f32::NAN, 0.2, 0.2, 0.0, 0.0, 0.0, 1.0];
        let picture: Picture<3> = picture(&planes, 2);
        assert_eq!(picture.pixels, [0, 0, 0, 255, 0, 0, 128, 51, 0, 255, 51, 255]);
    }

    #[test]
    fn a_batch_becomes_a_sheet() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("train_batch.jpg");
        let side = 64;
        let one = BoxLabel { class: 0, cx: 0.5, cy: 0.5, w: 0.5, h: 0.25 };
        let labels = vec![vec![one], vec![], vec![BoxLabel { class: 9, ..one }]];
        let (rgb, ir) = (vec![0.4; 3 * 3 * side * side], vec![0.7; 3 * side * side]);
        train_batch(&rgb, &ir, side, &labels, &["person".to_string()], &path).expect("drawn");
        let picture = image::open(&path).expect("a JPEG").to_rgb8();
        assert!(picture.width() > 2 * picture.height() / 2 && picture.height() > side as u32);
    }

    #[test]
    fn planes_that_do_not_fit_are_refused() {
        let path = Path::new("train_batch.jpg");
        let error = train_batch(&[0.0; 12], &[0.0; 3], 2, &[vec![]], &[], path).expect_err("IR is short");
        assert_eq!(error.to_string(), "cannot draw train_batch.jpg: IR has 3 values, 4 expected");
        let missing = Path::new("no/such/folder/a.jpg");
        assert!(train_batch(&[0.0; 12], &[0.0; 4], 2, &[vec![]], &[], missing).is_err());
    }
}
