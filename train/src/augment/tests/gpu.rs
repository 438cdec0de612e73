//! The kernel: that NVRTC takes it, and where there is a GPU that it computes what the CPU computes, and how fast.

use std::time::Instant;

use super::*;
use crate::torch::{compile, open_device, synchronize};

#[test]
fn nvrtc_compiles_the_kernel() {
    for architecture in ["sm_80", "sm_90"] {
        match compile(sampler::SOURCE, architecture) {
            Ok(bytes) => assert!(bytes > 1000),
            Err(why) if why.to_string().contains("cannot open shared object") => {
                eprintln!("skipped: there is no NVRTC ({why})");
            }
            Err(why) => panic!("{architecture}: {why}"),
        }
    }
}

/// A GPU, or `None` with a message.
fn gpu() -> Option<Device> {
    let device = open_device(None).unwrap();
    if !device.is_cuda() {
        eprintln!("skipped: there is no GPU");
    }
    device.is_cuda().then_some(device)
}

#[test]
fn a_gpu_computes_what_the_cpu_computes() {
    let Some(device) = gpu() else { return };
    let pairs: Vec<Pair> = (0..6)
        .map(|i| Pair {
            ir: grey_pair(640, 500 + i, |x, y| noise(y, x)).ir,
            rgb: grey_pair(640, 500 + i, noise).rgb,
        })
        .collect();
    let some = draws(&everything(), 12, 6);
    let sampler = Sampler::open(device);
    assert_eq!(sampler.place(), device, "the kernel was compiled");
    let (plans, pixels, _) = laid(&some, &pairs, 640, Lying::Packed);
    for kind in [Kind::Float, Kind::Half, Kind::BFloat16] {
        let expected = sampled(&plans, &pixels, 12, 640, kind);
        let into = Pictures::empty(12, 640, kind, device).unwrap();
        let (plans, pixels) = (plans.to_device(device), pixels.to_device(device));
        // SAFETY: made by `laid`.
        unsafe { sampler.sample(Words { plans: &plans, pixels: &pixels }, Modality::Both, &into) }.unwrap();
        synchronize(device).unwrap();
        for (is, expected) in [(&into.rgb, &expected.rgb), (&into.ir, &expected.ir)] {
            let difference =
                (is.to_device(Device::Cpu).to_kind(Kind::Float) - expected.to_kind(Kind::Float)).abs();
            let (most, differ) =
                (difference.max().double_value(&[]), difference.gt(0.0).sum(Kind::Int64).int64_value(&[]));
            eprintln!("{kind:?}: largest difference {most:.2e}, {differ} of {} values", difference.numel());
            assert!(most <= 1e-3, "{kind:?}: {most}");
        }
    }
}

#[test]
fn time_of_a_batch_on_the_gpu() {
    let Some(device) = gpu() else { return };
    let pairs: Vec<Pair> = (0..64).map(|i| grey_pair(640, 512, |x, y| noise(x + i, y))).collect();
    let some = draws(&Augmentation::default(), 64, 64);
    let sampler = Sampler::open(device);
    for lying in [Lying::Packed, Lying::Whole] {
        let (plans, pixels, _) = laid(&some, &pairs, 640, lying);
        let (plans, pixels) = (plans.to_device(device), pixels.to_device(device));
        for kind in [Kind::Float, Kind::Half] {
            let into = Pictures::empty(64, 640, kind, device).unwrap();
            // SAFETY: made by `laid`.
            let once = || {
                unsafe { sampler.sample(Words { plans: &plans, pixels: &pixels }, Modality::Both, &into) }
                    .unwrap()
            };
            once();
            synchronize(device).unwrap();
            let started = Instant::now();
            (0..50).for_each(|_| once());
            synchronize(device).unwrap();
            eprintln!(
                "64 mosaics of 640 px, {kind:?}: {:.3} ms a batch",
                started.elapsed().as_secs_f64() * 20.0
            );
        }
    }
}
