use yf_data::letterbox::{BORDER, Letterbox};
use yf_data::picture::Picture;

use super::*;

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

fn draws(augmentation: &Augmentation, count: usize, set: usize) -> Vec<Draw> {
    (0..count).map(|i| Draw::new(augmentation, 11, 2, i % set, set)).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap()
}

fn on_cpu<'a>(draws: &[Draw], source: impl Fn(usize) -> Source<'a>, size: usize) -> Batch {
    batch(draws, source, size, Device::Cpu).unwrap()
}

#[test]
fn both_modalities_get_the_same_geometry() {
    let pairs: Vec<Pair> = (0..5).map(|i| grey_pair(60 + 4 * i, 64 - 3 * i, noise)).collect();
    let out = on_cpu(&draws(&geometry(), 10, 5), |i| Source { pair: &pairs[i], labels: &[] }, 64);
    assert_eq!((out.rgb.size(), out.ir.size()), (vec![10, 3, 64, 64], vec![10, 1, 64, 64]));
    let infrared = values(&out.ir.expand([10, 3, 64, 64], false));
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
        let draw = Draw::new(&Augmentation::none(), 0, 0, 0, 1);
        let out = on_cpu(&[draw], |_| Source { pair: &pair, labels: &[] }, 64);
        let expected = Letterbox::new((width, height), (64, 64)).apply(&pair);
        let bytes = |t: &Tensor| values(t).iter().map(|v| (v * 255.0).round() as u8).collect::<Vec<u8>>();
        assert_eq!(bytes(&out.ir), expected.ir.pixels, "{width}x{height}");
        assert_eq!(bytes(&out.rgb.permute([0, 2, 3, 1])), expected.rgb.pixels, "{width}x{height}");
    }
}

#[test]
fn the_border_is_114_in_every_channel() {
    // White pictures, so that whatever is not white is border; zoomed out, so that there is some.
    let white = grey_pair(64, 40, |_, _| 255);
    let mut zoomed = draws(&geometry(), 12, 4);
    zoomed.iter_mut().for_each(|draw| draw.scale = 0.5);
    let out = on_cpu(&zoomed, |_| Source { pair: &white, labels: &[] }, 64);
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
    for draw in draws(&geometry(), 60, 60) {
        let out = on_cpu(&[draw], |_| Source { pair: &pair, labels: std::slice::from_ref(&label) }, size);
        // Border is 114 and the rest of the picture is 0: above 160 lies the object alone.
        let bright = values(&out.ir).iter().map(|v| *v > 160.0 / 255.0).collect::<Vec<bool>>();
        for kept in &out.labels[0] {
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
        let boxed: f32 = out.labels[0].iter().map(|l| l.w * l.h * (size * size) as f32).sum();
        let rounding = 60.0 + 0.12 * area;
        assert!(boxed < area + rounding, "boxes cover {boxed} pixels, the objects {area}");
        // Objects of which a tenth is left are bright, but have no box.
        if out.labels[0].len() == 4 {
            assert!(boxed > area - rounding, "boxes cover {boxed} pixels, the objects {area}");
            complete += 1;
        }
    }
    assert!(seen > 60 && complete > 0, "{seen} boxes, {complete} whole mosaics");
}

#[test]
fn boxes_of_which_too_little_is_left_are_dropped() {
    let mut draw = Draw::new(&Augmentation::none(), 0, 0, 0, 1);
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
        let out = on_cpu(std::slice::from_ref(&draw), |i| Source { pair: &pairs[i], labels: &[] }, 64);
        let corner = |x: i64, y: i64| (out.ir.double_value(&[0, 0, y, x]) * 255.0).round() as u8;
        let shown = [corner(31, 31), corner(32, 31), corner(31, 32), corner(32, 32)];
        let order = if flip { [1, 0, 3, 2] } else { [0, 1, 2, 3] };
        assert_eq!(shown, order.map(|slot| levels[pictures[slot]]));
        assert_eq!(corner(0, 0), shown[0]);
        assert_eq!(corner(63, 63), shown[3]);
    }
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let pairs: Vec<Pair> = (0..6).map(|i| grey_pair(64, 40 + i, noise)).collect();
    let all = draws(&Augmentation::default(), 6, 6);
    let plans: Vec<SamplePlan> = all
        .iter()
        .map(|d| SamplePlan::new(d, &d.pictures().iter().map(|&i| pairs[i].size()).collect::<Vec<_>>(), 64))
        .collect();
    let sources: Vec<Vec<Source>> = all
        .iter()
        .map(|d| d.pictures().iter().map(|&i| Source { pair: &pairs[i], labels: &[] }).collect())
        .collect();
    // One buffer for all, as a GPU takes it, against picture by picture, as a CPU does.
    let together = warp::warp(&pack::Packed::new(&plans, &sources, 64).unwrap(), Device::Cpu).unwrap();
    for (i, (plan, source)) in plans.iter().zip(&sources).enumerate() {
        let alone = pack::Packed::new(std::slice::from_ref(plan), std::slice::from_ref(source), 64).unwrap();
        let alone = warp::warp(&alone, Device::Cpu).unwrap();
        assert_eq!(values(&together.select(0, i as i64)), values(&alone));
    }
}

#[test]
fn pairs_that_do_not_fit_together_are_refused() {
    let mut pair = grey_pair(8, 8, noise);
    pair.ir = Picture { width: 8, height: 7, pixels: vec![0; 56] };
    let draw = Draw::new(&Augmentation::none(), 0, 0, 4, 5);
    let error = batch(&[draw], |_| Source { pair: &pair, labels: &[] }, 32, Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("pair 4") && error.to_string().contains("8x7"), "{error}");
    let empty = batch(&[], |_| Source { pair: &pair, labels: &[] }, 32, Device::Cpu).unwrap();
    assert_eq!(empty.rgb.size(), [0, 3, 32, 32]);
}
