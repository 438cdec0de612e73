use std::path::Path;

use yf_data::decode::Limits;
use yf_data::loader::Cache;

use super::*;
use crate::torch::{open_device, to_array};

const SIDE: usize = 64;
const PAIRS: usize = 7;

/// Noise of several sizes with a box each, as files.
fn pairs(folder: &Path) -> Vec<PairFiles> {
    let noise = |x: u32, y: u32, i: usize| {
        ((x * 31 + y * 17 + i as u32 * 53).wrapping_mul(2_654_435_761) >> 13) as u8
    };
    (0..PAIRS)
        .map(|i| {
            let file = |kind: &str| folder.join(format!("{i}{kind}"));
            let files = PairFiles { rgb: file("rgb.png"), ir: file("ir.png"), labels: file(".txt") };
            let (width, height) = (100 + 9 * i as u32, 120 - 7 * i as u32);
            let colours = |x, y| image::Rgb([noise(x, y, i), noise(y, x, i), noise(x, x + y, i)]);
            image::RgbImage::from_fn(width, height, colours).save(&files.rgb).unwrap();
            let heat = |x, y| image::Luma([noise(x + 5, y, i)]);
            image::GrayImage::from_fn(width / 2, height / 2, heat).save(&files.ir).unwrap();
            std::fs::write(&files.labels, "0 0.5 0.5 0.4 0.3\n1 0.2 0.3 0.1 0.1\n").unwrap();
            files
        })
        .collect()
}

fn settings(workers: usize, device: Device) -> Settings {
    Settings { size: SIDE, batch: 3, shard: Shard::WHOLE, workers, seed: 5, device, kind: Kind::Float }
}

fn feed(folder: &Path, cache: Cache, settings: Settings) -> Feed {
    let loader = Loader::new(pairs(folder), SIDE, cache, Limits::default()).unwrap();
    Feed::new(loader, None, 2, settings).unwrap()
}

fn resident_feed(folder: &Path, settings: Settings) -> Feed {
    let loader = Loader::new(pairs(folder), SIDE, Cache::Ram, Limits::default()).unwrap();
    let resident = Resident::open(&loader, settings.device).unwrap();
    Feed::new(loader, Some(resident.expect("a few kilobytes")), 2, settings).unwrap()
}

/// Everything that two epochs and a validation show, as numbers.
fn shown(feed: &Feed) -> Vec<Vec<f32>> {
    let epochs = (0..2).map(|epoch| feed.epoch(epoch, Augmentation::default())).chain([feed.in_order()]);
    let mut all = Vec::new();
    for prepared in epochs.flatten() {
        let batch = feed.batch(prepared.unwrap(), Modality::Both).unwrap();
        let Targets { boxes, classes, mask } = &batch.targets;
        all.extend([&batch.rgb, &batch.ir, boxes, classes, mask].map(|t| to_array(t).data));
    }
    all
}

#[test]
fn every_cache_shows_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::Cpu;
    let expected = shown(&feed(folder.path(), Cache::None, settings(2, device)));
    assert_eq!(expected.len(), 5 * 9);
    assert_ne!(expected[0], expected[15], "another epoch shows other pictures");
    assert!(shown(&feed(folder.path(), Cache::Ram, settings(2, device))) == expected, "ram");
    for run in ["written", "read"] {
        let cache = Cache::Disk(folder.path().join("cache"));
        assert!(shown(&feed(folder.path(), cache, settings(2, device))) == expected, "disk, {run}");
    }
    let resident = resident_feed(folder.path(), settings(2, device));
    assert!(shown(&resident) == expected, "device");
    resident.forget();
    assert!(shown(&resident) == expected, "device, anew");
}

#[test]
fn threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [one, five] =
        [1, 5].map(|workers| shown(&feed(folder.path(), Cache::Ram, settings(workers, Device::Cpu))));
    assert!(one == five);
}

#[test]
fn a_gpu_shows_what_a_cpu_shows() {
    let device = open_device(None).unwrap();
    if !device.is_cuda() {
        eprintln!("skipped: there is no GPU");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let expected = shown(&feed(folder.path(), Cache::Ram, settings(2, Device::Cpu)));
    let feeds = [
        feed(folder.path(), Cache::Ram, settings(2, device)),
        resident_feed(folder.path(), settings(2, device)),
    ];
    for (name, feed) in ["ram", "device"].iter().zip(&feeds) {
        for (at, (is, expected)) in shown(feed).iter().zip(&expected).enumerate() {
            let most = is.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 1e-4, "{name}, tensor {at}: {most}");
        }
    }
}

#[test]
fn a_broken_pair_is_named_and_ends_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let feed = feed(folder.path(), Cache::None, settings(2, Device::Cpu));
    std::fs::write(folder.path().join("3ir.png"), "no picture").unwrap();
    let results: Vec<_> = feed.in_order().collect();
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true]);
    let error = results.into_iter().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("3ir.png"), "{error}");
}

#[test]
fn an_epoch_can_be_left_at_any_time() {
    let folder = tempfile::tempdir().unwrap();
    let feed = feed(folder.path(), Cache::Ram, settings(2, Device::Cpu));
    drop(feed.epoch(0, Augmentation::default()));
    let mut epoch = feed.epoch(1, Augmentation::default());
    let held = epoch.next().unwrap().unwrap();
    drop(epoch);
    drop(feed);
    assert_eq!(held.len(), 3);
}
