//! What the sampler is told of one output picture: four tiles of numbers, as `sample.h` declares them.
//!
//! The maps are affine without rotation, so each tile shows a rectangle of the output and reads a rectangle, the window,
//! of its source. Where sources do not live on the device only their windows travel. Positions are 64 bits wide: a data
//! set on the device has more words than 32 bits count.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use yf_data::letterbox::BORDER;
use yf_plan::Modality;

use super::plan::{Axis, SamplePlan, Tile};

/// One source picture as the sampler sees it; index 0 is x and 1 is y.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
struct TileWords {
    base: i64,
    scale: [f64; 2],
    offset: [f64; 2],
    ir_shift: [f64; 2],
    stride: i32,
    from: [i32; 2],
    to: [i32; 2],
    low: [i32; 2],
    high: [i32; 2],
    unused: i32,
}

/// One output picture as the sampler sees it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub struct PlanWords {
    tiles: [TileWords; 4],
    hsv: [f32; 3],
    ir_gain: f32,
    ir_level: f32,
    dead: i32,
}

/// 32-bit words of a [`PlanWords`].
pub const PLAN_WORDS: usize = size_of::<PlanWords>() / 4;

/// The part of the output that shows one source, and the part of the source it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Index of the tile in its plan.
    pub tile: usize,
    /// Output pixels, x and y.
    output: [Range<usize>; 2],
    /// Source pixels, x and y.
    pub window: [Range<usize>; 2],
}

/// Where a source's words lie among those that the sampler is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of the source's first pixel, were it there; before the beginning where only a window is.
    pub base: i64,
    /// Words from row to row.
    pub stride: usize,
}

impl View {
    /// Pixels of the window.
    pub fn pixels(&self) -> usize {
        self.window[0].len() * self.window[1].len()
    }

    /// The place of the source if its window alone is packed from word `first`.
    pub fn packed(&self, first: usize) -> Place {
        let [columns, rows] = &self.window;
        let before = (rows.start * columns.len() + columns.start) as i64;
        Place { base: first as i64 - before, stride: columns.len() }
    }

    /// Copies the window out of the `words` of a source that is `width` pixels wide.
    pub fn copy(&self, words: &[u32], width: usize, to: &mut [u32]) {
        let [columns, rows] = &self.window;
        for (row, line) in rows.clone().zip(to.chunks_exact_mut(columns.len())) {
            line.copy_from_slice(&words[row * width + columns.start..row * width + columns.end]);
        }
    }
}

impl PlanWords {
    /// What the sampler is told of `plan`, whose `views` find their sources at `places`.
    pub fn new(plan: &SamplePlan, views: &[View], places: &[Place]) -> Self {
        let mut words = PlanWords::zeroed();
        for ((slot, view), place) in words.tiles.iter_mut().zip(views).zip(places) {
            *slot = tile_words(&plan.tiles[view.tile], view, place);
        }
        let photometry = &plan.photometry;
        let grey = f32::from(BORDER) / 255.0;
        words.hsv = photometry.hsv;
        words.ir_gain = photometry.ir_contrast * photometry.ir_brightness;
        words.dead = dead(plan.seen);
        words.ir_level = grey * (1.0 - photometry.ir_contrast) * photometry.ir_brightness;
        words
    }
}

/// The sampler's number of the camera that is not seen.
pub(super) fn dead(seen: Modality) -> i32 {
    match seen {
        Modality::Both => 0,
        Modality::Ir => 1,
        Modality::Rgb => 2,
    }
}

fn tile_words(tile: &Tile, view: &View, place: &Place) -> TileWords {
    let [columns, rows] = &view.window;
    let ends = |of: fn(&Range<usize>) -> usize, ranges: [&Range<usize>; 2]| ranges.map(|r| of(r) as i32);
    TileWords {
        base: place.base,
        scale: tile.map.map(|axis| axis.scale),
        offset: tile.map.map(|axis| axis.offset),
        ir_shift: tile.ir_shift,
        stride: place.stride as i32,
        from: ends(|r| r.start, [&view.output[0], &view.output[1]]),
        to: ends(|r| r.end, [&view.output[0], &view.output[1]]),
        low: ends(|r| r.start, [columns, rows]),
        high: ends(|r| r.end - 1, [columns, rows]),
        unused: 0,
    }
}

/// What `plan` shows of each of its tiles; tiles that are not seen have no view.
pub fn views(plan: &SamplePlan) -> Vec<View> {
    let split = plan.split.map(|at| first_centre_from(at, plan.size));
    let mut views = Vec::with_capacity(plan.tiles.len());
    for (quarter, tile) in plan.quarters.iter().enumerate() {
        let Some(index) = *tile else { continue };
        let half = [quarter % 2, quarter / 2];
        let within = [0, 1].map(|axis| if half[axis] == 0 { 0..split[axis] } else { split[axis]..plan.size });
        let seen = [0, 1].map(|axis| span(&plan.tiles[index], axis, &within[axis]));
        if let [Some((left, columns)), Some((top, rows))] = seen {
            views.push(View { tile: index, output: [left, top], window: [columns, rows] });
        }
    }
    views
}

/// Output pixels of `within` that show the tile on one axis, and the source pixels they are interpolated from; `None`
/// where there are none.
fn span(tile: &Tile, axis: usize, within: &Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let [low, high] = tile.rect[axis];
    let start = first_centre_from(low, within.end).max(within.start);
    let output = start..first_centre_from(high, within.end);
    // The map is monotone: the ends reach furthest, for either camera.
    let ends = [output.start, output.clone().next_back()?];
    let cameras = [0.0, tile.ir_shift[axis]];
    let ends = cameras
        .map(|shift| ends.map(|pixel| neighbours(tile.map[axis].moved(shift), pixel, tile.source[axis])));
    let ends = ends.as_flattened();
    let window = ends.iter().map(|pair| pair.0).min()?..ends.iter().map(|pair| pair.1).max()? + 1;
    Some((output, window))
}

/// The two source pixels about the centre of an output pixel, as `sample.h` finds them.
fn neighbours(map: Axis, pixel: usize, extent: usize) -> (usize, usize) {
    let last = extent.saturating_sub(1);
    let at = (map.scale * (pixel as f64 + 0.5) + map.offset - 0.5).clamp(0.0, last as f64);
    let first = at.floor() as usize;
    (first, (first + 1).min(last))
}

/// The first pixel whose centre is not before `edge`.
fn first_centre_from(edge: f64, size: usize) -> usize {
    // A cast from float to integer saturates, so infinite edges are fine.
    ((edge - 0.5).ceil().max(0.0) as usize).min(size)
}
