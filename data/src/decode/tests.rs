//! Good pictures of all kinds, and hostile files.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ExtendedColorType, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};

use super::*;
use crate::fixtures::{Folder, shared};
use crate::letterbox::{Letterbox, write_planes};

const FILE: &str = "some/file";

fn ir(bytes: &[u8]) -> Result<Picture<1>, DataError> {
    decode_ir(bytes, Path::new(FILE), &Limits::default())
}

fn rgb(bytes: &[u8]) -> Result<Picture<3>, DataError> {
    decode_rgb(bytes, Path::new(FILE), &Limits::default())
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("encodes");
    bytes.into_inner()
}

fn jpeg(pixels: &[u8], (width, height): (u32, u32), colour: ExtendedColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode(pixels, width, height, colour).expect("encodes");
    bytes
}

fn ramp(width: u32, height: u32) -> Vec<u8> {
    (0..width * height).map(|i| (i % width * 255 / width) as u8).collect()
}

fn grey16(values: &[u16], width: u32) -> ImageBuffer<Luma<u16>, Vec<u16>> {
    ImageBuffer::from_raw(width, values.len() as u32 / width, values.to_vec()).expect("whole rows")
}

#[test]
fn sixteen_bit_infrared_is_stretched() {
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let thermal = grey16(&[29_000, 29_500, 30_000, 29_100], 2);
        assert_eq!(ir(&encoded(thermal, format)).expect("good").pixels, [0, 128, 255, 26]);
        let within_eight_bits = grey16(&[0, 7, 200, 255], 2);
        assert_eq!(ir(&encoded(within_eight_bits, format)).expect("good").pixels, [0, 7, 200, 255]);
        let eight_bits_widened = grey16(&[0, 257, 257 * 90, 257 * 100], 2);
        assert_eq!(ir(&encoded(eight_bits_widened, format)).expect("good").pixels, [0, 1, 90, 100]);
        let flat = grey16(&[30_000; 4], 2);
        assert_eq!(ir(&encoded(flat, format)).expect("good").pixels, [116; 4]);
    }
}

#[test]
fn infrared_of_several_channels_becomes_one_plane() {
    let grey = RgbImage::from_fn(4, 1, |x, _| Rgb([x as u8 * 50; 3]));
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff] {
        assert_eq!(ir(&encoded(grey.clone(), format)).expect("good").pixels, [0, 50, 100, 150]);
    }
    let coloured = RgbImage::from_pixel(1, 1, Rgb([100, 200, 50]));
    assert_eq!(ir(&encoded(coloured, ImageFormat::Png)).expect("good").pixels, [153]);
    let transparent = ImageBuffer::from_pixel(1, 1, Rgba([9u8, 9, 9, 0]));
    assert_eq!(ir(&encoded(transparent, ImageFormat::Png)).expect("good").pixels, [9]);
    let transparent = ImageBuffer::from_pixel(1, 1, LumaA([77u8, 3]));
    assert_eq!(ir(&encoded(transparent, ImageFormat::Png)).expect("good").pixels, [77]);
    let deep = ImageBuffer::<Rgb<u16>, _>::from_raw(2, 1, vec![1000u16, 1000, 1000, 3000, 3000, 3000]);
    assert_eq!(ir(&encoded(deep.expect("two pixels"), ImageFormat::Png)).expect("good").pixels, [0, 255]);
}

#[test]
fn grey_jpegs_are_the_same_plane_with_one_and_with_three_channels() {
    let plane = ramp(64, 16);
    let three: Vec<u8> = plane.iter().flat_map(|&v| [v; 3]).collect();
    let from_one = ir(&jpeg(&plane, (64, 16), ExtendedColorType::L8)).expect("good");
    let from_three = ir(&jpeg(&three, (64, 16), ExtendedColorType::Rgb8)).expect("good");
    assert_eq!(from_one, from_three);
    let worst = from_one.pixels.iter().zip(&plane).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(4), "{worst:?}");
    let as_rgb = rgb(&jpeg(&plane, (64, 16), ExtendedColorType::L8)).expect("good");
    assert_eq!(as_rgb.pixel(40, 3), [from_one.pixel(40, 3)[0]; 3]);
}

#[test]
fn rgb_of_all_kinds_becomes_three_channels() {
    let grey = DynamicImage::ImageLuma8(ImageBuffer::from_pixel(2, 1, Luma([8])));
    assert_eq!(rgb(&encoded(grey, ImageFormat::Png)).expect("good").pixels, [8; 6]);
    let transparent = ImageBuffer::from_pixel(1, 1, Rgba([1u8, 2, 3, 0]));
    assert_eq!(rgb(&encoded(transparent, ImageFormat::Png)).expect("good").pixels, [1, 2, 3]);
    let deep = ImageBuffer::from_pixel(1, 1, Rgb([257u16 * 4, 257 * 5, 257 * 6]));
    assert_eq!(rgb(&encoded(deep, ImageFormat::Tiff)).expect("good").pixels, [4, 5, 6]);
}

#[test]
fn the_orientation_of_a_jpeg_is_applied() {
    let plain = jpeg(&ramp(64, 16), (64, 16), ExtendedColorType::L8);
    // An EXIF segment that says nothing but orientation 6: turn right.
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&plain[..2], exif, &plain[2..]].concat();
    let (plain, turned_picture) = (ir(&plain).expect("good"), ir(&turned).expect("good"));
    assert_eq!(turned_picture.size(), (16, 64));
    assert_eq!(turned_picture.pixel(15, 10), plain.pixel(10, 0), "the top row became the right column");
    let folder = Folder::new();
    assert_eq!(dimensions(&folder.write("a.jpg", turned)).expect("a header"), (16, 64));
}

#[test]
fn truncated_files_are_errors_wherever_they_end() {
    let noise: Vec<u8> = (0..96u32 * 64 * 3).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = RgbImage::from_raw(96, 64, noise.clone()).expect("whole rows");
    let files = [
        jpeg(&noise, (96, 64), ExtendedColorType::Rgb8),
        encoded(image.clone(), ImageFormat::Png),
        encoded(image.clone(), ImageFormat::Tiff),
        encoded(image, ImageFormat::Bmp),
    ];
    for bytes in files {
        assert!(rgb(&bytes).is_ok() && ir(&bytes).is_ok());
        let nearly = bytes.len() - 2;
        for length in (1..40).chain((40..nearly).step_by(61)).chain([nearly]) {
            let error = rgb(&bytes[..length]).map(|_| length).expect_err("truncated");
            assert!(error.to_string().starts_with("some/file: "), "{error}");
            assert!(ir(&bytes[..length]).is_err(), "{length} of {}", bytes.len());
            let small = rgb_no_less(&bytes[..length], Path::new(FILE), &Limits::default(), (1, 1));
            assert!(small.is_err(), "{length} of {}", bytes.len());
        }
    }
}

#[test]
fn what_follows_the_end_of_a_jpeg_does_no_harm() {
    let bytes = jpeg(&ramp(64, 16), (64, 16), ExtendedColorType::L8);
    assert!(ir(&[&bytes[..], &[0; 100]].concat()).is_ok());
}

#[test]
fn files_that_are_no_pictures_say_so() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "the file is empty"),
        (b"0 0.5 0.5 0.1 0.1\n", "no picture"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "convert it to JPEG, PNG, TIFF or BMP"),
        (b"\xff\xd8\xff", "truncated"),
    ];
    for (bytes, expected) in cases {
        for error in [rgb(bytes).map(drop), ir(bytes).map(drop)].map(|r| r.expect_err("no picture")) {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

#[test]
fn headers_that_claim_absurd_sizes_are_refused_before_memory_is_taken() {
    let mut png = encoded(RgbImage::new(2, 2), ImageFormat::Png);
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    assert!(rgb(&png).is_err(), "its checksum is wrong, too");

    let mut jpeg = jpeg(&ramp(16, 16), (16, 16), ExtendedColorType::L8);
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).expect("a frame header");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let error = rgb(&jpeg).expect_err("65535 a side");
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
    assert!(error.to_string().contains("65535x65535, more than the limit of 16384 pixels a side"), "{error}");

    let bmp = encoded(RgbImage::new(300, 200), ImageFormat::Bmp);
    let limits = Limits { max_pixels: 1000, ..Limits::default() };
    let error = decode_ir(&bmp, Path::new(FILE), &limits).expect_err("60,000 pixels");
    assert!(matches!(error, DataError::TooLarge { .. }), "{error}");
}

#[test]
fn large_files_and_folders_are_refused() {
    let folder = Folder::new();
    let path = folder.rgb("a.png", (20, 20), 1);
    let limits = Limits { max_bytes: 10, ..Limits::default() };
    assert!(matches!(read_rgb(&path, &limits), Err(DataError::TooLarge { .. })));
    assert!(read_rgb(&folder.path(""), &Limits::default()).is_err());
    assert!(dimensions(&folder.path("")).is_err() && dimensions(&folder.path("none.jpg")).is_err());
}

#[test]
fn junk_behind_a_good_start_is_an_error_and_no_panic() {
    let pictures = [ImageFormat::Png, ImageFormat::Tiff, ImageFormat::Bmp]
        .map(|format| encoded(RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 7])), format));
    let jpeg = jpeg(&ramp(64, 16), (64, 16), ExtendedColorType::L8);
    let mut state = 1u32;
    for bytes in pictures.iter().chain([&jpeg]) {
        for _ in 0..100 {
            let mut damaged = bytes.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = 4 + (state >> 8) as usize % (damaged.len() - 4);
                damaged[at] = state as u8;
            }
            // Damage within the pixels cannot always be told; it must only never be a panic or the wrong size.
            if let Ok(picture) = rgb(&damaged) {
                assert_eq!(picture.pixels.len(), picture.width * picture.height * 3);
            }
            let _ = ir(&damaged);
        }
    }
}

#[test]
fn infrared_comes_to_the_frame_of_rgb() {
    let folder = Folder::new();
    let files = PairFiles {
        rgb: folder.rgb("a.png", (60, 40), 0),
        ir: folder.grey("b.png", (30, 20), 0),
        labels: folder.path("a.txt"),
    };
    let limits = Limits::default();
    let pair = read_pair(&files, &limits).expect("good");
    assert_eq!((pair.rgb.size(), pair.ir.size()), ((60, 40), (60, 40)));
    let (small, source) = read_pair_to_fit(&files, 30, &limits).expect("good");
    assert_eq!((small.rgb.size(), small.ir.size(), source), ((30, 20), (30, 20), (60, 40)));
    assert_eq!(small.ir, read_ir(&files.ir, &limits).expect("good"), "not resized at all");
    assert_eq!(dimensions(&files.rgb).expect("a header"), (60, 40));
}

#[test]
fn a_jpeg_comes_no_larger_than_it_is_wanted() {
    let folder = Folder::new();
    let files = PairFiles {
        rgb: folder.rgb("a.jpg", (96, 64), 0),
        ir: folder.grey("b.jpg", (192, 128), 0),
        labels: folder.path("a.txt"),
    };
    let limits = Limits::default();
    let (rgb, ir, source) = read_pair_within(&files, (48, 48), &limits).expect("good");
    assert_eq!((rgb.size(), ir.size(), source), ((48, 32), (48, 32), (96, 64)));
    let (fitted, _) = read_pair_to_fit(&files, 48, &limits).expect("good");
    assert_eq!((&fitted.rgb, &fitted.ir), (&rgb, &ir), "training sees what is deployed");
    let (rgb, ir, _) = read_pair_within(&files, (50, 50), &limits).expect("good");
    assert_eq!((rgb.size(), ir.size()), ((96, 64), (96, 64)), "never less than it is scaled to");
    assert_eq!(read_rgb_within(&files.rgb, (13, 9), &limits).expect("good").0.size(), (24, 16));
    assert_eq!(read_ir_within(&files.ir, (13, 9), &limits).expect("good").0.size(), (24, 16));
    assert_eq!(read_rgb(&files.rgb, &limits).expect("good").size(), (96, 64));
}

#[test]
fn a_missing_infrared_picture_is_told_as_such() {
    let folder = Folder::new();
    let rgb = folder.rgb("images/a.png", (6, 4), 0);
    let files = PairFiles { rgb, ir: folder.path("imagesIR/a.png"), labels: folder.path("a.txt") };
    let error = read_pair(&files, &Limits::default()).expect_err("no infrared");
    assert!(matches!(error, DataError::Pairing { .. }), "{error}");
    assert!(error.to_string().contains("imagesIR/a.png"), "{error}");
}

/// What the reference's own loader (OpenCV) made of one of the LLVIP pairs: uint8 [6, 640, 640], R, G, B, 3 x IR.
#[test]
fn a_real_pair_is_what_the_reference_reads() {
    let Some(shared) = shared() else { return };
    let file = std::fs::read(shared.join("fixtures/networks/input_u8.npy")).expect("a fixture");
    let planes = &file[file.len() - 6 * 640 * 640..];
    let difference = |name: &str| {
        let path = |kind: &str| shared.join(format!("data/llvip_sample/{kind}/{name}"));
        let files = PairFiles { rgb: path("images"), ir: path("imagesIR"), labels: path("labels") };
        let pair = read_pair(&files, &Limits::default()).expect("good");
        let framed = Letterbox::new(pair.size(), (640, 640)).apply(&pair);
        let (mut rgb, mut ir) = (vec![0.0; 3 * 640 * 640], vec![0.0; 3 * 640 * 640]);
        write_planes(&framed, &mut rgb, &mut ir);
        let mean = |ours: &[f32], theirs: &[u8]| {
            let off: f32 = ours.iter().zip(theirs).map(|(a, &b)| (a * 255.0 - f32::from(b)).abs()).sum();
            off / ours.len() as f32
        };
        (mean(&rgb, &planes[..rgb.len()]), mean(&ir, &planes[rgb.len()..]))
    };
    let differences = ["190003.jpg", "120270.jpg"].map(difference);
    // Two shades: OpenCV skips pixels where it shrinks, this crate does not.
    assert!(differences.iter().any(|(rgb, ir)| *rgb < 2.0 && *ir < 2.0), "{differences:?}");
}
