//! Bi-directional decoupled focus (DEYOLO, arXiv 2412.04931): a map is packed along each direction by the two colours
//! of a checkerboard, so that 3x3 convolutions see twice as far without losing a pixel.

use super::Layer;
use super::conv::Conv;
use super::csp::{Bottleneck, c2f};
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::ValueId;

/// Axes of a map that is cut into 2x2 cells, `[C, H/2, 2, W/2, 2]`: row and column within a cell.
const ROW: usize = 2;
const COLUMN: usize = 4;

/// The four pixels of every 2x2 cell, each `[C, H/2, 1, W/2, 1]`: `[[top left, top right], [bottom left, bottom right]]`.
type Cells = [[ValueId; 2]; 2];

fn cells(g: &mut Builder, path: &str, x: ValueId) -> Result<Cells, ShapeError> {
    let [channels, height, width] = g.map(x, "BiFocus")?;
    if height % 2 != 0 || width % 2 != 0 {
        return Err(g.refuse("BiFocus", x, "height and width must be even".to_owned()));
    }
    let cut = g.reshape(x, vec![channels, height / 2, 2, width / 2, 2], &format!("{path}.cells"))?;
    let rows = g.split(cut, ROW, &[1, 1], &format!("{path}.rows"))?;
    let columns = |g: &mut Builder, i: usize| -> Result<[ValueId; 2], ShapeError> {
        let parts = g.split(rows[i], COLUMN, &[1, 1], &format!("{path}.columns.{i}"))?;
        Ok([parts[0], parts[1]])
    };
    Ok([columns(g, 0)?, columns(g, 1)?])
}

/// The way a map is packed: pixels of one colour in a cell stand one after the other along `axis`.
struct Focus {
    axis: usize,
    name: &'static str,
}

const HORIZONTAL: Focus = Focus { axis: ROW, name: "focus_h" };
const VERTICAL: Focus = Focus { axis: COLUMN, name: "focus_v" };

impl Focus {
    /// Packs either colour, convolves it, and puts it back in its place.
    fn emit(
        &self,
        g: &mut Builder,
        path: &str,
        [channels, height, width]: [usize; 3],
        cells: &Cells,
    ) -> Emitted {
        let path = format!("{path}.{}", self.name);
        let [[top_left, top_right], [bottom_left, bottom_right]] = *cells;
        // The second colour begins where the first is missing: at the right along rows, at the bottom along columns.
        let other = if self.axis == ROW { [top_right, bottom_left] } else { [bottom_left, top_right] };
        let first = self.convolve(g, &path, 1, [top_left, bottom_right], [channels, height, width])?;
        let other = self.convolve(g, &path, 2, other, [channels, height, width])?;

        let [top_left, bottom_right] = first;
        let [top_right, bottom_left] = if self.axis == ROW { other } else { [other[1], other[0]] };
        let top = g.concat(&[top_left, top_right], COLUMN, &format!("{path}.top"))?;
        let bottom = g.concat(&[bottom_left, bottom_right], COLUMN, &format!("{path}.bottom"))?;
        let joined = g.concat(&[top, bottom], ROW, &format!("{path}.joined"))?;
        g.reshape(joined, vec![channels, height, width], &format!("{path}.map"))
    }

    /// One colour through its convolution; comes back as it was given.
    fn convolve(
        &self,
        g: &mut Builder,
        path: &str,
        number: usize,
        colour: [ValueId; 2],
        [channels, height, width]: [usize; 3],
    ) -> Result<[ValueId; 2], ShapeError> {
        let name = |part: &str| format!("{path}.{part}{number}");
        let packed = g.concat(&colour, self.axis, &name("packed"))?;
        let (map, cells) = if self.axis == ROW {
            (vec![channels, height, width / 2], vec![channels, height / 2, 2, width / 2, 1])
        } else {
            (vec![channels, height / 2, width], vec![channels, height / 2, 1, width / 2, 2])
        };
        let packed = g.reshape(packed, map, &name("colour"))?;
        let seen = Conv::new(channels, 3).emit(g, &name("conv"), packed)?;
        let unpacked = g.reshape(seen, cells, &name("cells"))?;
        let parts = g.split(unpacked, self.axis, &[1, 1], &name("parts"))?;
        Ok([parts[0], parts[1]])
    }
}

/// A depthwise 3x3 and a pointwise convolution over the map and its two focused forms.
fn bifocus(g: &mut Builder, path: &str, x: ValueId) -> Emitted {
    let shape = g.map(x, "BiFocus")?;
    let cells = cells(g, path, x)?;
    let horizontal = HORIZONTAL.emit(g, path, shape, &cells)?;
    let vertical = VERTICAL.emit(g, path, shape, &cells)?;
    let joined = g.concat(&[x, horizontal, vertical], 0, &format!("{path}.concat"))?;
    let channels = g.channels(joined);
    let depthwise = Conv::new(channels, 3).groups(channels);
    let y = depthwise.emit(g, &format!("{path}.depth_wise.depth_conv"), joined)?;
    Conv::new(shape[0], 1).emit(g, &format!("{path}.depth_wise.point_conv"), y)
}

/// `C2f_BiFocus, [channels, shortcut]`: C2f with one inner block, then BiFocus; repeats stand one after the other. The
/// published networks give `True` and yet have no shortcut, so the argument changes nothing.
pub fn c2f_bifocus_layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(2)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    l.args.flag_or(1, "shortcut", false)?;
    let (x, hidden) = (l.input()?, out / 2);
    let bottleneck = Bottleneck::new(hidden, hidden, false);
    let (g, path) = (&mut *l.graph, &l.path);
    let y = c2f(g, path, x, (out, hidden, 1), |g, path, x| bottleneck.emit(g, path, x))?;
    Ok(vec![bifocus(g, &format!("{path}.bifocus"), y)?])
}
