use super::*;

fn pair(width: usize, height: usize) -> Pair {
    Pair { rgb: Picture::filled(width, height, [90, 100, 110]), ir: Picture::filled(width, height, [60]) }
}

fn detection(class: usize, bbox: [f32; 4]) -> Detection {
    Detection { class, score: 0.5, bbox }
}

const NAMES: [&str; 2] = ["person", "car"];

#[test]
fn the_same_box_is_on_both_halves() {
    let drawn = annotate(&pair(320, 256), &[detection(1, [100.0, 80.0, 200.0, 160.0])], &NAMES);
    assert_eq!(drawn.size(), (640, 256));
    for left in [0, 320] {
        assert_eq!(drawn.pixel(left + 150, 159), class_colour(1));
        assert_eq!(drawn.pixel(left + 100, 120), class_colour(1));
    }
    assert_eq!(drawn.pixel(150, 120), [90, 100, 110]);
    assert_eq!(drawn.pixel(470, 120), [60; 3]);
}

#[test]
fn labels_stay_in_the_picture() {
    // In the corner top right the label must move left and below the box.
    let drawn = annotate(&pair(320, 256), &[detection(0, [310.0, 0.0, 320.0, 30.0])], &NAMES);
    assert_eq!(drawn.pixel(300, 30), class_colour(0));
    assert_eq!(drawn.pixel(320 + 2, 100), [60; 3]);
}

#[test]
fn labels_avoid_one_another() {
    let bbox = [100.0, 100.0, 140.0, 160.0];
    let near = [110.0, 100.0, 150.0, 160.0];
    let drawn = annotate(
        &pair(320, 256),
        &[detection(1, near), Detection { score: 0.9, ..detection(0, bbox) }],
        &NAMES,
    );
    // The better one has its label above the box, the other below.
    assert_eq!(drawn.pixel(100, 99), class_colour(0));
    assert_eq!(drawn.pixel(150, 99), class_colour(0));
    assert_eq!(drawn.pixel(111, 161), class_colour(1));
}

#[test]
fn boxes_anywhere_and_pictures_of_any_size_are_no_panic() {
    let boxes = [
        [-50.0, -50.0, 1e9, 1e9],
        [1e9, 1e9, 2e9, 2e9],
        [-9e9, -9e9, -8e9, -8e9],
        [20.0, 20.0, 10.0, 10.0],
        [f32::NAN, 0.0, 1.0, 1.0],
        [0.0, f32::INFINITY, 1.0, 1.0],
    ];
    let detections: Vec<Detection> = boxes.iter().map(|&bbox| detection(9, bbox)).collect();
    let truths: Vec<Truth> = boxes.iter().map(|&bbox| Truth { class: 0, bbox }).collect();
    for (width, height) in [(0, 0), (1, 1), (2, 300), (300, 2), (64, 48)] {
        let pair = pair(width, height);
        assert_eq!(annotate(&pair, &detections, &NAMES).size(), (2 * width, height));
        sheet(&[Tile { pair: &pair, boxes: &truths }; 3], &NAMES);
    }
}

#[test]
fn a_sheet_holds_sixteen_tiles() {
    let pair = pair(640, 480);
    let boxes = [Truth { class: 0, bbox: [100.0, 100.0, 300.0, 400.0] }];
    let tile = Tile { pair: &pair, boxes: &boxes };
    assert_eq!(sheet(&[], &NAMES).size(), (1, 1));
    assert_eq!(sheet(&[tile], &NAMES).size(), (2 * 384 + 2 * GAP, 288 + 2 * GAP));
    let full = sheet(&[tile; 20], &NAMES);
    assert_eq!(full.size(), (4 * 768 + 5 * GAP, 4 * 288 + 5 * GAP));
    // The left edge of the box in the last tile's infrared half.
    assert_eq!(full.pixel(3 * (768 + GAP) + GAP + 384 + 60, 3 * (288 + GAP) + GAP + 200), class_colour(0));
}

#[test]
fn classes_have_colours_of_their_own() {
    let colours: std::collections::HashSet<[u8; 3]> = (0..80).map(class_colour).collect();
    assert_eq!(colours.len(), 80);
}

#[test]
fn a_picture_that_jpeg_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jpg");
    assert!(save_jpeg(&Picture::filled(0, 0, [0; 3]), &path).is_err());
    assert!(save_jpeg(&Picture::filled(65536, 1, [0; 3]), &path).is_err());
    assert!(!path.exists());
    save_jpeg(&annotate(&pair(64, 48), &[], &NAMES), &path).unwrap();
    assert_eq!(image::image_dimensions(&path).unwrap(), (128, 48));
}
