//! The geometry of one output picture: where each source picture lands, and what becomes of its boxes.
//!
//! Coordinates are continuous: pixel i covers i..i+1. A canvas (2S x 2S with a mosaic, else S x S) is scaled about
//! its centre, shifted into the S x S output and flipped; all of it is one affine map an axis, so that a picture
//! is interpolated once.

use yf_data::labels::BoxLabel;
use yf_data::letterbox::Letterbox;
use yf_plan::Modality;

use super::draw::{Draw, Photometry};

/// An affine map of one axis: `source = scale * output + offset`, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    /// Source pixels an output pixel; negative where the axis is flipped.
    pub scale: f64,
    /// Source coordinate of the output's edge.
    pub offset: f64,
}

impl Axis {
    /// The map to coordinates that are higher by `shift`.
    pub fn moved(self, shift: f64) -> Self {
        Axis { offset: self.offset + shift, ..self }
    }

    /// Output coordinate of a source coordinate.
    pub fn to_output(self, source: f64) -> f64 {
        (source - self.offset) / self.scale
    }
}

/// One source picture in the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    /// Width and height of the source, pixels.
    pub source: [usize; 2],
    /// Maps of x and y from output to source.
    pub map: [Axis; 2],
    /// Ranges of x and y that show the source, cut at the canvas but not at the output.
    pub rect: [[f64; 2]; 2],
    /// What infrared's source coordinates have more than RGB's, pixels in x and y.
    pub ir_shift: [f64; 2],
}

/// How one output picture is put together.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplePlan {
    /// Side of the output, pixels.
    pub size: usize,
    /// The sources, in the order of [`Draw::pictures`].
    pub tiles: Vec<Tile>,
    /// Tile of each quarter (top left, top right, bottom left, bottom right) about `split`.
    pub quarters: [Option<usize>; 4],
    /// Output x and y where the quarters meet.
    pub split: [f64; 2],
    /// Factors on the colours.
    pub photometry: Photometry,
    /// Which cameras are seen; the other's picture is border everywhere.
    pub seen: Modality,
}

/// Boxes that are not wider and higher than this many pixels are dropped.
const MIN_SIDE: f64 = 2.0;
/// Boxes this many times longer than wide are dropped.
const MAX_ASPECT: f64 = 100.0;
/// Boxes that keep no more than this part of their area are dropped.
const MIN_AREA: f64 = 0.1;

impl SamplePlan {
    /// Plans the picture of `draw` whose sources have these widths and heights (none of them 0).
    pub fn new(draw: &Draw, sizes: &[(usize, usize)], size: usize) -> Self {
        let side = size as f64;
        let mosaic = sizes.len() == 4;
        let canvas = if mosaic { 2.0 * side } else { side };
        let meeting = draw.centre.map(|c| (c * side).floor());
        let forward = [0, 1].map(|axis| {
            let shift = side * (0.5 + draw.shift[axis]) - draw.scale * canvas / 2.0;
            let (scale, shift) =
                if axis == 0 && draw.flip { (-draw.scale, side - shift) } else { (draw.scale, shift) };
            Placing { scale, shift, canvas }
        });
        let tiles = sizes
            .iter()
            .enumerate()
            .map(|(slot, &source)| {
                // Where the letterbox of validation and deployment puts it.
                let fit = Letterbox::new(source, (size, size));
                let fitted = [fit.resized.0 as f64, fit.resized.1 as f64];
                let source = [source.0, source.1];
                let origin = [0, 1].map(|axis| {
                    let before = if axis == 0 { slot % 2 == 0 } else { slot / 2 == 0 };
                    match (mosaic, before) {
                        (true, true) => meeting[axis] - fitted[axis],
                        (true, false) => meeting[axis],
                        (false, _) => [fit.left, fit.top][axis] as f64,
                    }
                });
                let place = |axis: usize| forward[axis].place(origin[axis], fitted[axis], source[axis]);
                let ((map_x, range_x), (map_y, range_y)) = (place(0), place(1));
                let longer = source[0].max(source[1]) as f64;
                Tile {
                    source,
                    map: [map_x, map_y],
                    rect: [range_x, range_y],
                    ir_shift: draw.ir_shift.map(|fraction| fraction * longer),
                }
            })
            .collect();
        let (quarters, split) = match (mosaic, draw.flip) {
            (true, false) => ([0, 1, 2, 3].map(Some), [0, 1].map(|axis| forward[axis].output(meeting[axis]))),
            (true, true) => ([1, 0, 3, 2].map(Some), [0, 1].map(|axis| forward[axis].output(meeting[axis]))),
            (false, _) => ([Some(0), None, None, None], [f64::INFINITY; 2]),
        };
        SamplePlan { size, tiles, quarters, split, photometry: draw.photometry.clone(), seen: draw.seen }
    }

    /// Boxes of all tiles in the output, cut at its edges, without those of which too little is left:
    /// 2 px or less wide or high, an aspect of 100 or more, or a tenth or less of their area (of the part that
    /// the mosaic's canvas holds).
    pub fn labels<'a>(&self, of_tile: impl Fn(usize) -> &'a [BoxLabel]) -> Vec<BoxLabel> {
        let whole = [[0.0, self.size as f64]; 2];
        let mut kept = Vec::new();
        for (index, tile) in self.tiles.iter().enumerate() {
            for label in of_tile(index) {
                let on_canvas = cut(tile.place(label), tile.rect);
                let visible = cut(on_canvas, whole);
                if worth_keeping(on_canvas, visible) {
                    kept.push(normalised(label.class, visible, self.size));
                }
            }
        }
        kept
    }

    /// Boxes of all tiles in the output, every one of them and uncut: what a letterbox makes of them.
    pub fn all_labels<'a>(&self, of_tile: impl Fn(usize) -> &'a [BoxLabel]) -> Vec<BoxLabel> {
        let placed = |(index, tile): (usize, &Tile)| {
            let place = |label: &BoxLabel| normalised(label.class, tile.place(label), self.size);
            of_tile(index).iter().map(place).collect::<Vec<_>>()
        };
        self.tiles.iter().enumerate().flat_map(placed).collect()
    }
}

impl Tile {
    /// Ranges of x and y that a label of the source covers in the output.
    fn place(&self, label: &BoxLabel) -> [[f64; 2]; 2] {
        let spans = [(label.cx, label.w), (label.cy, label.h)];
        [0, 1].map(|axis| {
            let extent = self.source[axis] as f64;
            let (centre, length) = (f64::from(spans[axis].0), f64::from(spans[axis].1));
            sorted([-0.5, 0.5].map(|half| self.map[axis].to_output((centre + half * length) * extent)))
        })
    }
}

/// Canvas to output on one axis: `output = scale * canvas + shift`.
struct Placing {
    scale: f64,
    shift: f64,
    canvas: f64,
}

impl Placing {
    fn output(&self, canvas: f64) -> f64 {
        self.scale * canvas + self.shift
    }

    /// Map and visible range of `extent` source pixels that cover `length` of the canvas from `origin`.
    fn place(&self, origin: f64, length: f64, extent: usize) -> (Axis, [f64; 2]) {
        let density = extent as f64 / length;
        let map = Axis { scale: density / self.scale, offset: -density * (self.shift / self.scale + origin) };
        let range = [origin.max(0.0), (origin + length).min(self.canvas)];
        (map, sorted(range.map(|edge| self.output(edge))))
    }
}

fn sorted([a, b]: [f64; 2]) -> [f64; 2] {
    [a.min(b), a.max(b)]
}

fn cut(range: [[f64; 2]; 2], to: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    [0, 1].map(|axis| range[axis].map(|edge| edge.clamp(to[axis][0], to[axis][1])))
}

fn worth_keeping(was: [[f64; 2]; 2], now: [[f64; 2]; 2]) -> bool {
    let sides = |r: [[f64; 2]; 2]| r.map(|[low, high]| high - low);
    let ([was_w, was_h], [w, h]) = (sides(was), sides(now));
    w > MIN_SIDE && h > MIN_SIDE && w.max(h) < MAX_ASPECT * w.min(h) && w * h > MIN_AREA * was_w * was_h
}

fn normalised(class: usize, [[x0, x1], [y0, y1]]: [[f64; 2]; 2], size: usize) -> BoxLabel {
    let part = |pixels: f64| (pixels / size as f64) as f32;
    BoxLabel {
        class,
        cx: part((x0 + x1) / 2.0),
        cy: part((y0 + y1) / 2.0),
        w: part(x1 - x0),
        h: part(y1 - y0),
    }
}
