//! Spatial pyramid pooling.

use super::Layer;
use super::conv::Conv;
use crate::error::ShapeError;
use crate::graph::ValueId;

/// `SPPF, [channels, kernel]`: three maximum pools in a row see what windows of k, 2k - 1 and 3k - 2 would see
/// side by side (SPP, arXiv 1406.4729).
pub fn sppf_layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(2)?;
    let out = l.scaling.channels(l.args.size(0, "channels")?);
    let kernel = l.args.size_or(1, "kernel", 5)?.max(1);
    let x = l.input()?;
    let (g, path) = (&mut *l.graph, &l.path);
    let hidden = g.channels(x) / 2;
    let mut maps = vec![Conv::new(hidden, 1).emit(g, &format!("{path}.cv1"), x)?];
    for i in 0..3 {
        maps.push(g.max_pool(maps[i], kernel, 1, kernel / 2, &format!("{path}.m.{i}"))?);
    }
    let joined = g.concat(&maps, 0, &format!("{path}.concat"))?;
    Ok(vec![Conv::new(out, 1).emit(g, &format!("{path}.cv2"), joined)?])
}
