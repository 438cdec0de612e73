//! Parameters and operations of every shipped network, against the published integers; of our own, against what their
//! blocks add to mid.

use yf_models::config::BUILT_IN;
use yf_models::{Network, cost};

/// Parameters at n, s, m, l, x: for 1 class and for 80.
type Counts = [(usize, usize); 5];

const PARAMETERS: &[(&str, Counts)] = &[
    (
        "data",
        [
            (3_011_475, 3_157_632),
            (11_136_851, 11_167_424),
            (25_858_195, 25_903_936),
            (43_632_339, 43_693_248),
            (68_155_731, 68_231_808),
        ],
    ),
    (
        "early",
        [
            (2_441_187, 2_587_344),
            (8_857_075, 8_887_648),
            (22_976_323, 23_022_064),
            (44_403_219, 44_464_128),
            (69_358_691, 69_434_768),
        ],
    ),
    (
        "mid",
        [
            (1_185_027, 1_233_408),
            (4_078_387, 4_112_432),
            (15_458_451, 15_489_024),
            (20_014_739, 20_045_312),
            (44_423_155, 44_468_896),
        ],
    ),
    (
        "easy",
        [
            (3_807_763, 3_841_808),
            (14_178_387, 14_208_960),
            (27_798_611, 27_859_520),
            (37_839_955, 37_900_864),
            (84_828_691, 84_919_936),
        ],
    ),
    (
        "decision",
        [
            (4_270_934, 4_339_024),
            (15_181_590, 15_242_736),
            (34_394_614, 34_486_096),
            (52_891_158, 53_012_976),
            (82_492_726, 82_644_880),
        ],
    ),
    (
        "deyolo",
        [
            (6_008_143, 6_154_300),
            (22_942_063, 22_972_636),
            (48_771_727, 48_817_468),
            (78_367_151, 78_428_060),
            (122_336_399, 122_412_476),
        ],
    ),
    (
        "defa",
        [
            (5_942_068, 6_088_225),
            (22_750_276, 22_780_849),
            (48_466_345, 48_512_086),
            (77_963_932, 78_024_841),
            (121_757_600, 121_833_677),
        ],
    ),
    (
        "yolov8",
        [
            (3_011_043, 3_157_200),
            (11_135_987, 11_166_560),
            (25_856_899, 25_902_640),
            (43_630_611, 43_691_520),
            (68_153_571, 68_229_648),
        ],
    ),
    (
        "yolo11",
        [
            (2_590_035, 2_624_080),
            (9_428_179, 9_458_752),
            (20_053_779, 20_114_688),
            (25_311_251, 25_372_160),
            (56_874_931, 56_966_176),
        ],
    ),
];

/// Giga-operations at 640x640, n, 1 class. DEFA's published figures are 16.3 without and 30.0 with its attention and
/// dynamic filter; filtering by a matrix product and one gate for two take less.
const GFLOPS: &[(&str, f64)] = &[
    ("data", 8.28),
    ("early", 6.77),
    ("mid", 3.36),
    ("easy", 10.78),
    ("decision", 11.92),
    ("deyolo", 16.8),
    ("defa", 27.9),
    ("yolov8", 8.19),
    ("yolo11", 6.50),
];

fn network(name: &str, classes: usize) -> Network {
    Network::load(name, Some(classes)).unwrap()
}

#[test]
fn parameters_are_the_references() {
    for &(name, counts) in PARAMETERS {
        for (scale, (one, eighty)) in ["n", "s", "m", "l", "x"].into_iter().zip(counts) {
            for (classes, count) in [(1, one), (80, eighty)] {
                let graph = network(&format!("{name}-{scale}"), classes).graph(64, 96).unwrap();
                assert_eq!(graph.parameter_count(), count, "{name}-{scale}, {classes} classes");
            }
        }
    }
}

#[test]
fn operations_are_the_references() {
    for &(name, gflops) in GFLOPS {
        let counted = cost::of(&network(&format!("{name}-n"), 1).graph(640, 640).unwrap()).gflops();
        assert!((counted - gflops).abs() < 0.01 * gflops, "{name}: {counted}");
    }
}

/// Fusions of our own: mid but for a block, and YOLOv8 with two stems.
const LIKE_MID: [&str; 2] = ["gated", "cross"];
const TWO_STEMS: &str = "duo";

/// Two matrices from both maps to one and a bias.
fn gate(channels: usize) -> usize {
    2 * (2 * channels * channels) + channels
}

/// For either camera three projections to half the channels, a depthwise 3x3 and one projection back, their batch norms,
/// a gain.
fn cross(channels: usize) -> usize {
    let half = channels / 2;
    2 * (channels * 3 * half + 2 * 3 * half + 9 * half + 2 * half + half * channels + 2 * channels + channels)
}

#[test]
fn our_fusions_add_to_mid_what_their_blocks_hold() {
    for (scale, [p3, p4, p5]) in
        [("n", [64, 64, 128]), ("s", [128, 128, 256]), ("m", [256, 256, 512]), ("l", [256, 256, 512])]
    {
        let count =
            |name: &str| network(&format!("{name}-{scale}"), 1).graph(64, 96).unwrap().parameter_count();
        assert_eq!(count("gated"), count("mid") + gate(p3) + gate(p4) + gate(p5), "{scale}");
        assert_eq!(count("cross"), count("mid") + cross(p4) + cross(p5), "{scale}");
    }
}

#[test]
fn our_fusions_cost_little_more_than_mid() {
    let cost = |name: &str| cost::of(&network(&format!("{name}-n"), 1).graph(640, 640).unwrap());
    let mid = cost("mid");
    for name in LIKE_MID {
        let ours = cost(name);
        assert!(ours.parameters as f64 <= 1.15 * mid.parameters as f64, "{name}: {ours:?}");
        assert!(ours.gflops() <= 1.15 * mid.gflops(), "{name}: {ours:?}");
        let large = cost::of(&network(&format!("{name}-n"), 1).graph(1280, 1280).unwrap());
        let grown = large.gflops() - cost::of(&network("mid-n", 1).graph(1280, 1280).unwrap()).gflops();
        let added = ours.gflops() - mid.gflops();
        assert!(
            (grown / added - 4.0).abs() < 0.05,
            "{name} grows with the picture's area: {}",
            grown / added
        );
    }
}

#[test]
fn two_stems_add_one_to_yolov8_and_a_gate_and_save_in_the_head() {
    for (scale, p3) in [("n", 64), ("s", 128)] {
        let layers = |name: &str| {
            let graph = network(&format!("{name}-{scale}"), 1).graph(64, 96).unwrap();
            graph.layers.iter().map(|l| l.parameters).collect::<Vec<_>>()
        };
        let sum = |layers: &[usize]| layers.iter().sum::<usize>();
        let (one, easy) = (layers("yolov8"), layers("easy"));
        // The head of easy reads maps of the same widths, with the same class branch.
        let heads = (easy[easy.len() - 1], one[one.len() - 1]);
        let expected = sum(&one) + sum(&one[..5]) + gate(p3) + heads.0 - heads.1;
        assert_eq!(sum(&layers(TWO_STEMS)), expected, "{scale}");
    }
    let cost = cost::of(&network("duo-n", 1).graph(640, 640).unwrap());
    assert!(cost.parameters <= 3_000_000 && cost.gflops() <= 9.0, "{cost:?}");
}

#[test]
fn every_shipped_network_is_among_the_counted() {
    let counted: Vec<&str> =
        PARAMETERS.iter().map(|(name, _)| *name).chain(LIKE_MID).chain([TWO_STEMS]).collect();
    for (name, _) in BUILT_IN {
        assert!(counted.contains(name), "{name}");
    }
}
