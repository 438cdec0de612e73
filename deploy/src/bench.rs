//! How long a pair takes, by stage and as a whole.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::ColorType;
use serde::Serialize;
use yf_data::picture::{Pair, Picture};

use crate::DeployError;
use crate::backend::{Backend, Transfers};
use crate::model::ModelInfo;
use crate::pairing::Files;
use crate::pipeline::{Batch, Pipeline, Prepared, Reader, Settings, Stages, Tensors, detections, timed};

/// The pair to measure with.
#[derive(Clone, Debug)]
pub enum BenchPair {
    /// RGB file and infrared file.
    Files(PathBuf, PathBuf),
    /// Two JPEG files of this width and height, made for the occasion.
    MadeUp(usize, usize),
}

impl Default for BenchPair {
    /// 1280x1024, as common thermal and RGB rigs give.
    fn default() -> Self {
        Self::MadeUp(1280, 1024)
    }
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct BenchPlan {
    /// Batches that are measured; 5 more go before them.
    pub iterations: usize,
    /// Pairs in a batch.
    pub batch: usize,
    /// Bytes a second that the device's memory moves, for the floor.
    pub bandwidth: Option<f64>,
}

impl Default for BenchPlan {
    fn default() -> Self {
        Self { iterations: 50, batch: 1, bandwidth: None }
    }
}

/// Where the network's time goes on a device that has its own memory; milliseconds a batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DeviceTimes {
    /// Pictures to the device.
    pub upload: Percentiles,
    /// The network alone.
    pub compute: Percentiles,
    /// Its output back.
    pub download: Percentiles,
}

/// The least that a network moves through memory, as its file says it: weights once a batch, every convolution, matrix
/// product and pooling reading its inputs once and writing its output once, everything else fused into them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Floor {
    /// Bytes of a batch.
    pub bytes: f64,
    /// Milliseconds that they take at the bandwidth given.
    pub ms: Option<f64>,
}

/// Pairs through the whole pipeline, stages overlapped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Folder {
    /// Pairs.
    pub pairs: usize,
    /// Pairs a second, from the end of the warm-up on.
    pub per_second: f64,
    /// Time of a pair over the network's share in it (half of the batches are faster), 1 at best.
    pub over_network: f64,
}

/// Milliseconds that half, nine tenths, and 99 of 100 measurements stay within.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// Nine of ten stay within.
    pub p90: f64,
    /// 99 of 100 stay within.
    pub p99: f64,
}

/// What was measured; milliseconds a batch.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The model.
    pub model: String,
    /// Nodes of its graph.
    pub nodes: usize,
    /// The runtime that ran it.
    pub backend: String,
    /// Width and height of the RGB file.
    pub picture: (usize, usize),
    /// Width and height of the network's input.
    pub input: (usize, usize),
    /// Pairs in a batch.
    pub batch: usize,
    /// Batches measured.
    pub iterations: usize,
    /// Files to pixels.
    pub decode: Percentiles,
    /// Pixels to the network's input.
    pub letterbox: Percentiles,
    /// The network.
    pub network: Percentiles,
    /// Of the network, on a device.
    pub device: Option<DeviceTimes>,
    /// The network's memory-bound floor, where its file says what it moves.
    pub floor: Option<Floor>,
    /// Raw boxes to detections.
    pub suppression: Percentiles,
    /// Files to detections, one stage after the other.
    pub whole: Percentiles,
    /// The same pair again and again, stages overlapped.
    pub folder: Folder,
}

const WARM_UP: usize = 5;

/// Measures each stage alone, one after the other: no stage runs while another is measured. Then the pipeline, in which
/// they overlap.
///
/// # Errors
/// [`DeployError::Choice`] where there is nothing to measure; whatever reading the pair and running the network
/// report.
pub fn bench(
    mut backend: Box<dyn Backend>,
    pair: &BenchPair,
    settings: &Settings,
    plan: &BenchPlan,
) -> Result<Report, DeployError> {
    if plan.iterations == 0 || plan.batch == 0 {
        return Err(DeployError::Choice(
            "a measurement takes at least 1 iteration and a batch of 1".to_owned(),
        ));
    }
    let reader = Reader::new(backend.info(), settings);
    let (rgb, ir, _made) = existing(pair)?;
    let files = reader.needed(rgb, ir);
    let mut measured = Vec::with_capacity(plan.iterations);
    let mut device = Vec::new();
    let mut tensors = vec![Tensors::default(); plan.batch];
    let mut picture = (0, 0);
    for iteration in 0..WARM_UP + plan.iterations {
        let (ms, size) = batch(backend.as_mut(), &reader, &files, settings, &mut tensors)?;
        picture = size;
        if iteration >= WARM_UP {
            measured.push(ms);
            device.extend(backend.transfers());
        }
    }
    let stage = |pick: fn(&Stages) -> f64| percentiles(measured.iter().map(pick).collect());
    let network = stage(|s| s.network);
    let (info, described) = (backend.info().clone(), backend.describe());
    let folder = folder(backend, &files, settings, plan, network.p50 / plan.batch as f64)?;
    Ok(Report {
        model: info.origin.clone(),
        nodes: info.nodes,
        backend: described,
        picture,
        input: (info.width, info.height),
        batch: plan.batch,
        iterations: plan.iterations,
        decode: stage(|s| s.decode),
        letterbox: stage(|s| s.letterbox),
        network,
        device: device_times(&device),
        floor: floor(&info, plan),
        suppression: stage(|s| s.suppression),
        whole: stage(|s| s.decode + s.letterbox + s.network + s.suppression),
        folder,
    })
}

fn device_times(runs: &[Transfers]) -> Option<DeviceTimes> {
    let part = |pick: fn(&Transfers) -> f64| percentiles(runs.iter().map(pick).collect());
    (!runs.is_empty()).then(|| DeviceTimes {
        upload: part(|t| t.upload),
        compute: part(|t| t.compute),
        download: part(|t| t.download),
    })
}

fn floor(info: &ModelInfo, plan: &BenchPlan) -> Option<Floor> {
    let bytes = |key: &str| info.metadata.get(key)?.parse::<f64>().ok();
    let bytes = bytes("yf.bytes.weights")? + plan.batch as f64 * bytes("yf.bytes.maps")?;
    Some(Floor { bytes, ms: plan.bandwidth.map(|bandwidth| bytes / bandwidth * 1e3) })
}

/// The pair as often as there are pairs in all batches, through a pipeline; the first batches warm it up.
fn folder(
    backend: Box<dyn Backend>,
    files: &Files,
    settings: &Settings,
    plan: &BenchPlan,
    network: f64,
) -> Result<Folder, DeployError> {
    let (warm_up, pairs) = (WARM_UP * plan.batch, plan.iterations * plan.batch);
    let settings = Settings { batch: Batch::Of(plan.batch), strict: true, keep_pictures: false, ..*settings };
    let all = vec![files.clone(); warm_up + pairs];
    let (mut seen, mut begun) = (0, Instant::now());
    Pipeline::new(backend, settings).run(&all, |result| {
        result?;
        seen += 1;
        if seen == warm_up {
            begun = Instant::now();
        }
        Ok::<_, DeployError>(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let per_second = pairs as f64 / seconds;
    Ok(Folder { pairs, per_second, over_network: 1e3 / per_second / network })
}

/// One batch, as many pairs as there are buffers, through all stages.
fn batch(
    backend: &mut dyn Backend,
    reader: &Reader,
    files: &Files,
    settings: &Settings,
    tensors: &mut [Tensors],
) -> Result<(Stages, (usize, usize)), DeployError> {
    let (mut ms, mut letterboxes) = (Stages::default(), Vec::new());
    for tensors in &mut *tensors {
        let Prepared { letterbox, ms: own, .. } = reader.prepare(files, tensors)?;
        ms.decode += own.decode;
        ms.letterbox += own.letterbox;
        letterboxes.push(letterbox);
    }
    let values = backend.info().values;
    let pictures: Vec<_> = tensors.iter().map(|tensors| tensors.pixels(values)).collect();
    let raw = timed(&mut ms.network, || backend.run(&pictures))?;
    let info = backend.info();
    timed(&mut ms.suppression, || {
        for (raw, letterbox) in raw.chunks_exact(info.output_len()).zip(&letterboxes) {
            detections(raw, info, letterbox, &settings.suppression);
        }
    });
    Ok((ms, letterboxes[0].source))
}

/// The files, and the folder that goes when they were made up.
fn existing(pair: &BenchPair) -> Result<(PathBuf, PathBuf, Option<tempfile::TempDir>), DeployError> {
    match pair {
        BenchPair::Files(rgb, ir) => Ok((rgb.clone(), ir.clone(), None)),
        BenchPair::MadeUp(width, height) => {
            let failed = |source| DeployError::Write { path: std::env::temp_dir(), source };
            let folder = tempfile::tempdir().map_err(failed)?;
            let (rgb, ir) = (folder.path().join("rgb.jpg"), folder.path().join("ir.jpg"));
            let pair = made_up(*width, *height);
            save(&rgb, &pair.rgb, ColorType::Rgb8)?;
            save(&ir, &pair.ir, ColorType::L8)?;
            Ok((rgb, ir, Some(folder)))
        }
    }
}

fn save<const C: usize>(path: &Path, picture: &Picture<C>, colours: ColorType) -> Result<(), DeployError> {
    let failed =
        |why: image::ImageError| DeployError::Write { path: path.to_owned(), source: io::Error::other(why) };
    let (width, height) = (picture.width as u32, picture.height as u32);
    image::save_buffer(path, &picture.pixels, width, height, colours).map_err(failed)
}

/// Slopes, edges and grain, so that decoding costs about what a street scene costs.
fn made_up(width: usize, height: usize) -> Pair {
    let mut grain = 1u32;
    let mut value = |x: usize, y: usize, channel: usize| {
        grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let block = ((x / 48 + y / 64 + channel) % 5) * 30;
        (block + x * 60 / width + y * 40 / height + (grain >> 28) as usize) as u8
    };
    let mut rgb = Picture::filled(width, height, [0; 3]);
    let mut ir = Picture::filled(width, height, [0]);
    for y in 0..height {
        for x in 0..width {
            let at = y * width + x;
            for channel in 0..3 {
                rgb.pixels[at * 3 + channel] = value(x, y, channel);
            }
            ir.pixels[at] = value(x, y, 3);
        }
    }
    Pair { rgb, ir }
}

/// By the nearest rank: the smallest value that this part of the measurements does not exceed.
fn percentiles(mut ms: Vec<f64>) -> Percentiles {
    ms.sort_by(f64::total_cmp);
    let rank = |part: f64| ms[((ms.len() as f64 * part).ceil() as usize).clamp(1, ms.len()) - 1];
    Percentiles { p50: rank(0.5), p90: rank(0.9), p99: rank(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Choice, Options, open};
    use crate::model::ModelSource;
    use crate::testing::Detector;

    #[test]
    fn percentiles_are_measurements() {
        let hundred = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentiles(hundred), Percentiles { p50: 50.0, p90: 90.0, p99: 99.0 });
        assert_eq!(percentiles(vec![7.0]), Percentiles { p50: 7.0, p90: 7.0, p99: 7.0 });
    }

    #[test]
    fn every_stage_is_measured() {
        let source = ModelSource::Bytes { name: "cells.onnx".into(), bytes: Detector::SMALL.onnx() };
        let open = || open(source.clone(), Choice::Embedded, &Options::default()).unwrap();
        let (pair, plan) =
            (BenchPair::MadeUp(320, 240), BenchPlan { iterations: 3, batch: 2, bandwidth: None });
        let report = bench(open(), &pair, &Settings::default(), &plan).unwrap();
        assert_eq!((report.picture, report.input, report.batch), ((320, 240), (48, 32), 2));
        assert_eq!(report.nodes, Detector::SMALL.proto().graph.unwrap().node.len());
        let stages = [report.decode, report.letterbox, report.network, report.suppression];
        assert!(stages.iter().all(|s| s.p50 > 0.0 && s.p50 <= s.p90 && s.p90 <= s.p99));
        assert!(report.whole.p99 >= report.decode.p50);
        assert!(serde_json::to_value(&report).unwrap()["network"]["p50"].is_number());
        assert!(report.folder.pairs == 6 && report.folder.per_second > 0.0);
        assert!(report.device.is_none() && report.floor.is_none());
        let nothing = BenchPlan { iterations: 0, ..plan };
        assert!(bench(open(), &pair, &Settings::default(), &nothing).is_err());
    }
}
