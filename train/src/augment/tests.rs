use yf_data::labels::BoxLabel;
use yf_data::letterbox::{BORDER, Letterbox};
use yf_data::picture::{Pair, Picture};
use yf_plan::Modality;

use super::*;
use crate::torch::{Device, Kind, Tensor};

mod colours;
mod gpu;

/// A pair whose infrared picture equals each of its RGB planes.
fn grey_pair(width: usize, height: usize, grey: impl Fn(usize, usize) -> u8) -> Pair {
    let bytes: Vec<u8> = (0..width * height).map(|i| grey(i % width, i / width)).collect();
    let rgb = Picture { width, height, pixels: bytes.iter().flat_map(|&b| [b; 3]).collect() };
    Pair { rgb, ir: Picture { width, height, pixels: bytes } }
}

fn noise(x: usize, y: usize) -> u8 {
    (x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503)) >> 7) as u8
}

/// Geometry alone: colours stay as they are.
fn geometry() -> Augmentation {
    Augmentation { hsv: [0.0; 3], ir_brightness: 0.0, ir_contrast: 0.0, ..Augmentation::default() }
}

/// All that there is, with cameras that fail and do not look where the other looks.
fn everything() -> Augmentation {
    Augmentation { dropout: [0.2; 2], ir_shift: 0.05, ..Augmentation::default() }
}

/// Where sources lie when they are sampled.
#[derive(Clone, Copy, PartialEq)]
enum Lying {
    /// Windows side by side.
    Packed,
    /// Whole pictures side by side.
    Whole,
}

/// Plans and pixels as tensors of words on the CPU, and the plans.
fn laid(draws: &[Draw], pairs: &[Pair], size: usize, lying: Lying) -> (Tensor, Tensor, Vec<SamplePlan>) {
    let samples: Vec<Vec<u32>> = pairs.iter().map(words_of).collect();
    let mut pixels = if lying == Lying::Whole { samples.concat() } else { vec![] };
    let mut plans = Vec::new();
    let (mut words, mut planned) = (Vec::new(), Vec::new());
    for draw in draws {
        let sizes: Vec<_> = draw.pictures().iter().map(|&i| pairs[i].size()).collect();
        let plan = SamplePlan::new(draw, &sizes, size);
        let views = views(&plan);
        let place = |view: &View| {
            let index = draw.pictures()[view.tile];
            let width = pairs[index].rgb.width;
            if lying == Lying::Whole {
                let base = samples[..index].iter().map(Vec::len).sum::<usize>() as i64;
                return Place { base, stride: width };
            }
            let first = pixels.len();
            pixels.resize(first + view.pixels(), 0);
            view.copy(&samples[index], width, &mut pixels[first..]);
            view.packed(first)
        };
        let places: Vec<Place> = views.iter().map(place).collect();
        plans.push(PlanWords::new(&plan, &views, &places));
        planned.push(plan);
    }
    words.extend_from_slice(bytemuck::cast_slice::<PlanWords, i32>(&plans));
    (Tensor::from_slice(&words), Tensor::from_slice(bytemuck::cast_slice::<u32, i32>(&pixels)), planned)
}

fn words_of(pair: &Pair) -> Vec<u32> {
    let pixels = pair.rgb.pixels.as_chunks::<3>().0.iter().zip(&pair.ir.pixels);
    pixels.map(|(&[r, g, b], &ir)| u32::from_ne_bytes([r, g, b, ir])).collect()
}

/// Pictures of `draws`, and what was planned.
fn on_cpu(draws: &[Draw], pairs: &[Pair], size: usize) -> (Pictures, Vec<SamplePlan>) {
    let (plans, pixels, planned) = laid(draws, pairs, size, Lying::Packed);
    (sampled(&plans, &pixels, draws.len(), size, Kind::Float), planned)
}

fn sampled(plans: &Tensor, pixels: &Tensor, batch: usize, size: usize, kind: Kind) -> Pictures {
    let into = Pictures::empty(batch, size, kind, Device::Cpu).unwrap();
    let sampler = Sampler::open(Device::Cpu);
    // SAFETY: made by `laid`.
    unsafe { sampler.sample(Words { plans, pixels }, Modality::Both, &into) }.unwrap();
    into
}

fn draws(augmentation: &Augmentation, count: usize, set: usize) -> Vec<Draw> {
    (0..count).map(|i| Draw::new(augmentation, 11, 2, i % set, &(0..set).collect::<Vec<_>>())).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap()
}

#[test]
fn both_modalities_get_the_same_geometry() {
    let pairs: Vec<Pair> = (0..5).map(|i| grey_pair(60 + 4 * i, 64 - 3 * i, noise)).collect();
    let (out, _) = on_cpu(&draws(&geometry(), 10, 5), &pairs, 64);
    assert_eq!((out.rgb.size(), out.ir.size()), (vec![10, 3, 64, 64], vec![10, 3, 64, 64]));
    let infrared = values(&out.ir);
    assert_eq!(values(&out.rgb), infrared);
    assert!(infrared.iter().any(|v| *v != infrared[0]));
}

#[test]
fn without_draws_a_picture_is_letterboxed() {
    // Sizes as the cache keeps them: nothing to interpolate, so every byte must come through.
    for (width, height) in [(64, 48), (64, 45), (37, 64), (64, 64), (64, 1)] {
        let pair = Pair {
            rgb: grey_pair(width, height, noise).rgb,
            ir: grey_pair(width, height, |x, y| noise(y, x)).ir,
        };
        let draw = Draw::new(&Augmentation::none(), 0, 0, 0, &[0]);
        let expected = Letterbox::new((width, height), (64, 64)).apply(&pair);
        let (out, _) = on_cpu(&[draw], &[pair], 64);
        let bytes = |t: &Tensor| values(t).iter().map(|v| (v * 255.0).round() as u8).collect::<Vec<u8>>();
        assert_eq!(bytes(&out.ir.select(1, 2)), expected.ir.pixels, "{width}x{height}");
        assert_eq!(bytes(&out.rgb.permute([0, 2, 3, 1])), expected.rgb.pixels, "{width}x{height}");
    }
}

#[test]
fn the_border_is_114_in_every_channel() {
    // White pictures, so that whatever is not white is border; zoomed out, so that there is some.
    let white = grey_pair(64, 40, |_, _| 255);
    let mut zoomed = draws(&geometry(), 12, 4);
    zoomed.iter_mut().for_each(|draw| draw.scale = 0.5);
    let (out, _) = on_cpu(&zoomed, &[white.clone(), white.clone(), white.clone(), white], 64);
    let border = f32::from(BORDER) / 255.0;
    for channel in [out.rgb.select(1, 0), out.rgb.select(1, 1), out.rgb.select(1, 2), out.ir.select(1, 0)] {
        let grey = values(&channel);
        assert!(grey.iter().all(|v| (v - border).abs() < 1e-6 || (v - 1.0).abs() < 1e-6));
        assert!(grey.iter().filter(|v| **v < 0.9).count() > grey.len() / 10);
    }
}

#[test]
fn a_box_stays_around_what_it_was_around() {
    let label = BoxLabel { class: 3, cx: 0.6, cy: 0.45, w: 0.3, h: 0.4 };
    let inside = |x: usize, y: usize| {
        let within = |at: f32, centre: f32, length: f32| (at - centre).abs() < length / 2.0;
        within((x as f32 + 0.5) / 160.0, label.cx, label.w)
            && within((y as f32 + 0.5) / 120.0, label.cy, label.h)
    };
    let pair = grey_pair(160, 120, |x, y| if inside(x, y) { 255 } else { 0 });
    let (size, mut seen, mut complete) = (160, 0, 0);
    let pairs = vec![pair; 60];
    for draw in draws(&geometry(), 60, 60) {
        let (out, planned) = on_cpu(&[draw], &pairs, size);
        let labels = planned[0].labels(|_| std::slice::from_ref(&label));
        // Border is 114 and the rest of the picture is 0: above 160 lies the object alone.
        let bright = values(&out.ir.select(1, 0)).iter().map(|v| *v > 160.0 / 255.0).collect::<Vec<bool>>();
        for kept in &labels {
            let [x0, y0, x1, y1] = kept.corners((size, size));
            assert_eq!(kept.class, 3);
            assert!(x0 >= -1e-3 && y0 >= -1e-3 && x1 <= 160.001 && y1 <= 160.001);
            // Half a source pixel, seen through a zoom of at most 1.5, and the threshold's rounding.
            let margin = 1.5;
            let at = |x: f32, y: f32| bright[(y as usize).min(159) * size + (x as usize).min(159)];
            let (middle_x, middle_y) = ((x0 + x1) / 2.0, (y0 + y1) / 2.0);
            assert!(at(middle_x, middle_y), "the middle of {kept:?} is dark");
            if x1 - x0 > 4.0 && y1 - y0 > 4.0 {
                for (x, y) in [(x0, middle_y), (x1, middle_y), (middle_x, y0), (middle_x, y1)] {
                    let inwards =
                        (x + margin * (middle_x - x).signum(), y + margin * (middle_y - y).signum());
                    let inwards = if x == middle_x { (x, inwards.1) } else { (inwards.0, y) };
                    assert!(at(inwards.0, inwards.1), "just inside {kept:?} it is dark");
                }
            }
            seen += 1;
        }
        let area = bright.iter().filter(|b| **b).count() as f32;
        let boxed: f32 = labels.iter().map(|l| l.w * l.h * (size * size) as f32).sum();
        let rounding = 60.0 + 0.12 * area;
        assert!(boxed < area + rounding, "boxes cover {boxed} pixels, the objects {area}");
        // Objects of which a tenth is left are bright, but have no box.
        if labels.len() == 4 {
            assert!(boxed > area - rounding, "boxes cover {boxed} pixels, the objects {area}");
            complete += 1;
        }
    }
    assert!(seen > 60 && complete > 0, "{seen} boxes, {complete} whole mosaics");
}

#[test]
fn boxes_of_which_too_little_is_left_are_dropped() {
    let mut draw = Draw::new(&Augmentation::none(), 0, 0, 0, &[0]);
    draw.shift = [0.5, 0.0];
    let plan = SamplePlan::new(&draw, &[(100, 100)], 100);
    let kept = |cx: f32, w: f32, h: f32| {
        plan.labels(|_| Box::leak(Box::new([BoxLabel { class: 0, cx, cy: 0.5, w, h }])))
    };
    // The right half of the source is pushed out.
    assert_eq!(kept(0.25, 0.2, 0.2), [BoxLabel { class: 0, cx: 0.75, cy: 0.5, w: 0.2, h: 0.2 }]);
    assert_eq!(kept(0.75, 0.2, 0.2), []);
    assert_eq!(kept(0.59, 0.2, 0.2), [], "5 % of the area is left");
    assert_eq!(kept(0.57, 0.2, 0.2).len(), 1, "15 % of the area is left");
    assert_eq!(kept(0.25, 0.02, 0.2), [], "2 px wide");
    assert_eq!(kept(0.25, 0.2, 0.019), [], "less than 2 px high");
}

#[test]
fn a_mosaic_shows_four_pictures_about_one_point() {
    let levels = [10u8, 60, 200, 250];
    let pairs: Vec<Pair> = levels.iter().map(|&level| grey_pair(64, 64, |_, _| level)).collect();
    let mut draw = draws(&geometry(), 1, 4).remove(0);
    (draw.scale, draw.shift, draw.centre) = (1.0, [0.0; 2], [1.0; 2]);
    let pictures = draw.pictures().to_vec();
    for flip in [false, true] {
        draw.flip = flip;
        let (out, _) = on_cpu(std::slice::from_ref(&draw), &pairs, 64);
        let corner = |x: i64, y: i64| (out.ir.double_value(&[0, 0, y, x]) * 255.0).round() as u8;
        let shown = [corner(31, 31), corner(32, 31), corner(31, 32), corner(32, 32)];
        let order = if flip { [1, 0, 3, 2] } else { [0, 1, 2, 3] };
        assert_eq!(shown, order.map(|slot| levels[pictures[slot]]));
        assert_eq!(corner(0, 0), shown[0]);
        assert_eq!(corner(63, 63), shown[3]);
    }
}

#[test]
fn pixels_are_interpolated_as_the_plan_says() {
    let pairs: Vec<Pair> = (0..4).map(|i| grey_pair(64, 40 + 3 * i, noise)).collect();
    let aside = Augmentation { ir_shift: 0.05, ..geometry() };
    let some = [draws(&geometry(), 4, 4), draws(&aside, 8, 4)].concat();
    let (out, planned) = on_cpu(&some, &pairs, 64);
    assert!(values(&out.rgb.narrow(0, 0, 4)) == values(&out.ir.narrow(0, 0, 4)));
    assert!(values(&out.rgb.narrow(0, 4, 8)) != values(&out.ir.narrow(0, 4, 8)));
    for (at, (draw, plan)) in some.iter().zip(&planned).enumerate() {
        let is = values(&out.ir.select(0, at as i64).select(0, 0));
        for (i, is) in is.into_iter().enumerate() {
            let centre = [(i % 64) as f64 + 0.5, (i / 64) as f64 + 0.5];
            let expected = by_definition(plan, draw, &pairs, centre);
            assert!(
                (f64::from(is) - expected).abs() < 1e-5,
                "picture {at}, {centre:?}: {is}, not {expected}"
            );
        }
    }
}

/// Grey of an output point: of the tile of its quarter, bilinear between pixel centres, in f64.
fn by_definition(plan: &SamplePlan, draw: &Draw, pairs: &[Pair], at: [f64; 2]) -> f64 {
    let half = [0, 1].map(|axis| usize::from(at[axis] >= plan.split[axis]));
    let Some(index) = plan.quarters[2 * half[1] + half[0]] else { return 114.0 / 255.0 };
    let tile = &plan.tiles[index];
    if (0..2).any(|axis| at[axis] < tile.rect[axis][0] || at[axis] >= tile.rect[axis][1]) {
        return 114.0 / 255.0;
    }
    let source = [0, 1]
        .map(|axis| tile.map[axis].scale * at[axis] + tile.map[axis].offset + tile.ir_shift[axis] - 0.5);
    let ir = &pairs[draw.pictures()[index]].ir;
    let pixel = |x: f64, y: f64| {
        let inside = |v: f64, side: usize| v.clamp(0.0, side as f64 - 1.0) as usize;
        f64::from(ir.pixel(inside(x, ir.width), inside(y, ir.height))[0])
    };
    let [x, y] = source.map(f64::floor);
    let [right, down] = [source[0] - x, source[1] - y];
    let upper = pixel(x, y) * (1.0 - right) + pixel(x + 1.0, y) * right;
    let lower = pixel(x, y + 1.0) * (1.0 - right) + pixel(x + 1.0, y + 1.0) * right;
    (upper * (1.0 - down) + lower * down) / 255.0
}

#[test]
fn windows_show_what_whole_pictures_show() {
    let pairs: Vec<Pair> = (0..6).map(|i| grey_pair(64, 40 + i, noise)).collect();
    let some = draws(&everything(), 12, 6);
    let [packed, whole] = [Lying::Packed, Lying::Whole].map(|lying| {
        let (plans, pixels, _) = laid(&some, &pairs, 64, lying);
        sampled(&plans, &pixels, some.len(), 64, Kind::Float)
    });
    assert!(packed.rgb == whole.rgb && packed.ir == whole.ir);
    // Nor does a picture depend on its batch.
    let (alone, _) = on_cpu(&some[7..8], &pairs, 64);
    assert_eq!(values(&alone.rgb), values(&packed.rgb.narrow(0, 7, 1)));
}

#[test]
fn positions_beyond_32_bits_are_reached() {
    // The same picture, once at the beginning and once as if 2^33 words lay before it.
    let pairs = [grey_pair(64, 48, noise)];
    let some = draws(&geometry(), 3, 1);
    let (near, pixels, planned) = laid(&some, &pairs, 64, Lying::Whole);
    let far = 1i64 << 33;
    let plans: Vec<PlanWords> = some
        .iter()
        .zip(&planned)
        .map(|(_, plan)| {
            let views = views(plan);
            let places = vec![Place { base: far, stride: 64 }; views.len()];
            PlanWords::new(plan, &views, &places)
        })
        .collect();
    let plans = Tensor::from_slice(bytemuck::cast_slice::<PlanWords, i32>(&plans));
    let start = pixels.data_ptr().cast::<u8>().wrapping_offset(-(far as isize) * 4);
    // SAFETY: nothing but the plans' reads goes through this tensor, and these lie within `pixels`.
    let shifted = unsafe { Tensor::from_blob(start, &[1], &[1], Kind::Int, Device::Cpu) };
    let [near, far] = [(&near, &pixels), (&plans, &shifted)]
        .map(|(plans, pixels)| sampled(plans, pixels, 3, 64, Kind::Float));
    assert!(near.rgb == far.rgb);
}

#[test]
fn half_types_are_rounded_to_nearest_even() {
    let pairs: Vec<Pair> = (0..4).map(|i| grey_pair(64, 60 - i, noise)).collect();
    let some = draws(&Augmentation::default(), 6, 4);
    let (plans, pixels, _) = laid(&some, &pairs, 64, Lying::Packed);
    let exact = sampled(&plans, &pixels, 6, 64, Kind::Float);
    for kind in [Kind::Half, Kind::BFloat16] {
        let rounded = sampled(&plans, &pixels, 6, 64, kind);
        assert!(rounded.rgb == exact.rgb.to_kind(kind) && rounded.ir == exact.ir.to_kind(kind), "{kind:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let pairs = [grey_pair(8, 8, noise)];
    let (plans, pixels, _) = laid(&draws(&geometry(), 2, 1), &pairs, 32, Lying::Packed);
    let sampler = Sampler::open(Device::Cpu);
    let refused = |into: &Pictures, plans: &Tensor| {
        // SAFETY: refused before anything is read.
        unsafe { sampler.sample(Words { plans, pixels: &pixels }, Modality::Both, into) }
            .unwrap_err()
            .to_string()
    };
    let good = |batch| Pictures::empty(batch, 32, Kind::Float, Device::Cpu).unwrap();
    assert!(refused(&good(3), &plans).contains("3 pictures need"));
    assert!(refused(&good(2), &plans.to_kind(Kind::Int64)).contains("words of plans"));
    let rows = Pictures { rgb: good(2).rgb.contiguous(), ir: good(2).ir.contiguous() };
    assert!(refused(&rows, &plans).contains("channels innermost"));
}

#[test]
fn a_camera_that_fails_in_one_picture_is_grey_there_alone() {
    let pairs = vec![grey_pair(32, 32, noise); 40];
    let some = draws(&everything(), 40, 40);
    let (plans, pixels, _) = laid(&some, &pairs, 32, Lying::Packed);
    let grey = |t: &Tensor, at: usize| values(&t.get(at as i64)).iter().all(|v| *v == 114.0 / 255.0);
    let out = sampled(&plans, &pixels, 40, 32, Kind::Float);
    for (at, draw) in some.iter().enumerate() {
        let dead = [grey(&out.rgb, at), grey(&out.ir, at)];
        assert_eq!(dead, [draw.seen == Modality::Ir, draw.seen == Modality::Rgb]);
    }
    assert!([Modality::Ir, Modality::Rgb, Modality::Both].iter().all(|m| some.iter().any(|d| d.seen == *m)));
    // Where only one camera is seen at all, it never fails.
    let into = Pictures::empty(40, 32, Kind::Float, Device::Cpu).unwrap();
    // SAFETY: made by `laid`.
    unsafe {
        Sampler::open(Device::Cpu).sample(Words { plans: &plans, pixels: &pixels }, Modality::Ir, &into)
    }
    .unwrap();
    assert!((0..40).all(|at| grey(&into.rgb, at) && !grey(&into.ir, at)));
}

#[test]
fn a_dead_camera_is_grey() {
    let pairs = [grey_pair(32, 32, noise)];
    let (plans, pixels, _) = laid(&draws(&Augmentation::default(), 1, 1), &pairs, 32, Lying::Packed);
    let into = Pictures::empty(1, 32, Kind::Float, Device::Cpu).unwrap();
    let sampler = Sampler::open(Device::Cpu);
    let grey = |t: &Tensor| values(t).iter().all(|v| *v == 114.0 / 255.0);
    for (modality, dead) in
        [(Modality::Both, [false; 2]), (Modality::Rgb, [false, true]), (Modality::Ir, [true, false])]
    {
        // SAFETY: made by `laid`.
        unsafe { sampler.sample(Words { plans: &plans, pixels: &pixels }, modality, &into) }.unwrap();
        assert_eq!([grey(&into.rgb), grey(&into.ir)], dead, "{modality:?}");
    }
}
