//! What travels to the device: one buffer with the source pixels and the tables that say how to sample them.
//!
//! A source pixel is one 32-bit word of its four bytes R, G, B, infrared, so that one gather fetches both
//! modalities. Only the window of a source that the output shows is packed.
//!
//! The maps are affine without rotation, so column and row of the source depend on x and y alone, but for the
//! quarter of the mosaic a pixel lies in. The tables hold them for both halves: `column[vertical half][x]` and
//! `row[horizontal half][y]`; word = row + column. Where no source is seen one of them is far below zero, and the
//! sum, kept from going negative, is word 0: the border's grey.

use std::ops::Range;

use rayon::prelude::*;
use yf_data::letterbox::BORDER;

use super::Source;
use super::error::AugmentError;
use super::plan::{SamplePlan, Tile};

/// Most words that can be addressed; the sum of two [`NOWHERE`] must not overflow either.
const LIMIT: usize = 1 << 30;
const NOWHERE: i32 = -(1 << 30);

/// Where the tables and the pixels of `batch` pictures lie in the buffer, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// [B, S]: 1 where the column x lies right of the split.
    Right,
    /// [B, S]: line of the column tables that row y takes: `2 * picture + vertical half`.
    Line,
    /// [B, 2, S]: left column.
    Column0,
    /// [B, 2, S]: right column.
    Column1,
    /// [B, 2, S]: weight of the right column, f32.
    ColumnWeight,
    /// [B, 2, S]: first word of the upper row.
    Row0,
    /// [B, 2, S]: first word of the lower row.
    Row1,
    /// [B, 2, S]: weight of the lower row, f32.
    RowWeight,
    /// The pixels; the first is the border.
    Pixels,
}

/// Tables and pixels of some pictures, in one buffer.
pub(super) struct Packed {
    pub(super) words: Vec<i32>,
    pub(super) batch: usize,
    pub(super) size: usize,
}

impl Packed {
    /// Packs what the plans show of their sources.
    pub(super) fn new(
        plans: &[SamplePlan],
        sources: &[Vec<Source>],
        size: usize,
    ) -> Result<Self, AugmentError> {
        let layout = Packed { words: Vec::new(), batch: plans.len(), size };
        let views: Vec<View> =
            plans.iter().enumerate().flat_map(|(picture, plan)| views(picture, plan)).collect();
        let pixels = 1 + views.iter().map(View::pixels).sum::<usize>();
        if pixels > LIMIT {
            return Err(AugmentError::TooLarge { pixels, limit: LIMIT });
        }
        let mut words = vec![0; layout.range(Part::Pixels).start + pixels];
        for part in [Part::Column0, Part::Column1, Part::Row0, Part::Row1] {
            words[layout.range(part)].fill(NOWHERE);
        }
        let mut tables = Tables { layout: &layout, words: &mut words };
        for (picture, plan) in plans.iter().enumerate() {
            tables.quarters(picture, plan);
        }
        let mut first = 1;
        for view in &views {
            tables.view(view, first);
            first += view.pixels();
        }
        let pixels = &mut words[layout.range(Part::Pixels).start..];
        pixels[0] = i32::from_ne_bytes([BORDER; 4]);
        let mut rest = &mut pixels[1..];
        let mut targets = Vec::with_capacity(views.len());
        for view in &views {
            let (own, after) = rest.split_at_mut(view.pixels());
            targets.push((view, own));
            rest = after;
        }
        targets
            .into_par_iter()
            .for_each(|(view, own)| copy_window(view, &sources[view.picture][view.tile], own));
        Ok(Packed { words, ..layout })
    }

    /// Where `part` lies; of the pixels only the start is known.
    pub(super) fn range(&self, part: Part) -> Range<usize> {
        let line = self.batch * self.size;
        let (start, length) = match part {
            Part::Right => (0, 1),
            Part::Line => (1, 1),
            Part::Column0 => (2, 2),
            Part::Column1 => (4, 2),
            Part::ColumnWeight => (6, 2),
            Part::Row0 => (8, 2),
            Part::Row1 => (10, 2),
            Part::RowWeight => (12, 2),
            Part::Pixels => return 14 * line..self.words.len().max(14 * line),
        };
        start * line..(start + length) * line
    }
}

/// The part of the output that shows one tile.
struct View {
    picture: usize,
    tile: usize,
    /// Horizontal and vertical half of the output it lies in.
    half: [usize; 2],
    columns: Taps,
    rows: Taps,
}

impl View {
    fn pixels(&self) -> usize {
        self.columns.window.len() * self.rows.window.len()
    }
}

/// Bilinear sampling along one axis.
struct Taps {
    /// Output pixels whose centre shows the source.
    output: Range<usize>,
    /// For each of them: the two source pixels, and the weight of the second.
    taps: Vec<(usize, usize, f32)>,
    /// Source pixels that are needed.
    window: Range<usize>,
}

/// What `plan` shows of each of its tiles.
fn views(picture: usize, plan: &SamplePlan) -> Vec<View> {
    let split = plan.split.map(|at| first_centre_from(at, plan.size));
    let mut views = Vec::with_capacity(plan.tiles.len());
    for (quarter, tile) in plan.quarters.iter().enumerate() {
        let Some(index) = *tile else { continue };
        let half = [quarter % 2, quarter / 2];
        let within = [0, 1].map(|axis| if half[axis] == 0 { 0..split[axis] } else { split[axis]..plan.size });
        let [columns, rows] = [0, 1].map(|axis| Taps::new(&plan.tiles[index], axis, &within[axis]));
        if let (Some(columns), Some(rows)) = (columns, rows) {
            views.push(View { picture, tile: index, half, columns, rows });
        }
    }
    views
}

/// The first pixel whose centre is not before `edge`.
fn first_centre_from(edge: f64, size: usize) -> usize {
    // A cast from float to integer saturates, so infinite edges are fine.
    ((edge - 0.5).ceil().max(0.0) as usize).min(size)
}

impl Taps {
    /// `None` where the tile is not seen.
    fn new(tile: &Tile, axis: usize, within: &Range<usize>) -> Option<Self> {
        let [low, high] = tile.rect[axis];
        let start = first_centre_from(low, within.end).max(within.start);
        let output = start..first_centre_from(high, within.end);
        let last = (tile.source[axis] - 1) as f64;
        let map = tile.map[axis];
        let taps: Vec<(usize, usize, f32)> = output
            .clone()
            .map(|pixel| {
                // From centre to centre; beyond the outermost centres the edge pixel goes on.
                let at = (map.scale * (pixel as f64 + 0.5) + map.offset - 0.5).clamp(0.0, last);
                let first = at.floor();
                (first as usize, (first + 1.0).min(last) as usize, (at - first) as f32)
            })
            .collect();
        let start = taps.iter().map(|tap| tap.0).min()?;
        let end = taps.iter().map(|tap| tap.1).max()? + 1;
        Some(Taps { output, taps, window: start..end })
    }
}

/// The tables of all pictures, to be filled in.
struct Tables<'a> {
    layout: &'a Packed,
    words: &'a mut [i32],
}

impl Tables<'_> {
    /// Says which pixels lie in which half.
    fn quarters(&mut self, picture: usize, plan: &SamplePlan) {
        let size = plan.size;
        let split = plan.split.map(|at| first_centre_from(at, size));
        let right = self.layout.range(Part::Right).start + picture * size;
        let line = self.layout.range(Part::Line).start + picture * size;
        for pixel in 0..size {
            self.words[right + pixel] = i32::from(pixel >= split[0]);
            self.words[line + pixel] = 2 * picture as i32 + i32::from(pixel >= split[1]);
        }
    }

    /// Fills in the columns and rows of a view whose window is packed from word `first`.
    fn view(&mut self, view: &View, first: usize) {
        let [across, down] = view.half;
        let (size, width) = (self.layout.size, view.columns.window.len());
        let columns = (2 * view.picture + down) * size + view.columns.output.start;
        let rows = (2 * view.picture + across) * size + view.rows.output.start;
        let column_parts = [Part::Column0, Part::Column1, Part::ColumnWeight];
        let row_parts = [Part::Row0, Part::Row1, Part::RowWeight];
        self.taps(&view.columns, columns, column_parts, |at| at as i32);
        self.taps(&view.rows, rows, row_parts, |at| (first + at * width) as i32);
    }

    fn taps(&mut self, taps: &Taps, at: usize, parts: [Part; 3], word: impl Fn(usize) -> i32) {
        let [first, second, weight] = parts.map(|part| self.layout.range(part).start + at);
        for (i, &(a, b, w)) in taps.taps.iter().enumerate() {
            self.words[first + i] = word(a - taps.window.start);
            self.words[second + i] = word(b - taps.window.start);
            self.words[weight + i] = w.to_bits() as i32;
        }
    }
}

/// Packs the window of a source that a view shows.
fn copy_window(view: &View, source: &Source, words: &mut [i32]) {
    let (rgb, ir) = (&source.pair.rgb, &source.pair.ir);
    let columns = view.columns.window.clone();
    for (row, line) in view.rows.window.clone().zip(words.chunks_exact_mut(columns.len())) {
        let pixels = row * rgb.width + columns.start..row * rgb.width + columns.end;
        let colours = rgb.pixels[3 * pixels.start..3 * pixels.end].as_chunks::<3>().0;
        for ((word, &[r, g, b]), &ir) in line.iter_mut().zip(colours).zip(&ir.pixels[pixels]) {
            *word = i32::from_ne_bytes([r, g, b, ir]);
        }
    }
}
