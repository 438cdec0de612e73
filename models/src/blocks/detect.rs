//! The anchor-free detection head: for each cell a distribution over the distance to each side of the box
//! (generalised focal loss, arXiv 2006.04388) and class logits.

use super::Layer;
use super::conv::Conv;
use crate::builder::{Builder, Emitted};
use crate::error::ShapeError;
use crate::graph::{Conv2d, Head, Init, Role, ValueId};

/// Bins of the distribution over each side's distance, in units of the stride.
pub const REG_MAX: usize = 16;

/// Picture side that the class bias assumes: about five objects a picture.
const PRIOR_SIDE: f32 = 640.0;

/// `Detect, [nc, stride, width]` over feature maps of increasing stride; any number of them. The class branch of maps from
/// that stride on is depthwise separable; without it, that of all maps in networks of the v11 family and of none in
/// others. `width` is the class branch's, the same at every scale; without it the first map's channels, or the classes if
/// these are more.
pub fn layer(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(3)?;
    let branches = Branches::new(l)?;
    let (height, _) = l.graph.input_size().unwrap_or((0, 0));
    let mut head = Head { maps: vec![], strides: vec![], reg_max: REG_MAX, classes: l.classes };
    for (i, &x) in l.inputs.iter().enumerate() {
        let [_, rows, _] = l.graph.map(x, "Detect")?;
        let stride = height / rows;
        let boxes = branches.boxes(l.graph, &format!("{}.cv2.{i}", l.path), x)?;
        let classes = branches.classes(l.graph, &format!("{}.cv3.{i}", l.path), x, stride)?;
        head.maps.push(l.graph.concat(&[boxes, classes], 0, &format!("{}.concat.{i}", l.path))?);
        head.strides.push(stride);
    }
    // The reference counts the bins 0..15 as a frozen convolution and keeps them in its checkpoints.
    l.graph.param(format!("{}.dfl.conv.weight", l.path), vec![1, REG_MAX, 1, 1], Role::Frozen, Init::Arange);
    let maps = head.maps.clone();
    l.graph.set_head(head);
    Ok(maps)
}

/// Widths of the two branches, set by the first map.
struct Branches {
    box_width: usize,
    class_width: usize,
    classes: usize,
    /// Stride from which the class branch is depthwise separable.
    depthwise_from: usize,
}

impl Branches {
    fn new(l: &Layer<'_>) -> Result<Self, ShapeError> {
        let &first = l.inputs.first().ok_or_else(|| ShapeError::Arguments("it reads no layer".to_owned()))?;
        let channels = l.graph.channels(first);
        Ok(Branches {
            box_width: (channels / 4).max(4 * REG_MAX),
            class_width: l.args.size_or(2, "width", channels.max(l.classes.min(100)))?.max(1),
            classes: l.classes,
            depthwise_from: l.args.size_or(1, "stride", if l.depthwise_head { 0 } else { usize::MAX })?,
        })
    }

    fn boxes(&self, g: &mut Builder, path: &str, x: ValueId) -> Emitted {
        let x = Conv::new(self.box_width, 3).emit(g, &format!("{path}.0"), x)?;
        let x = Conv::new(self.box_width, 3).emit(g, &format!("{path}.1"), x)?;
        last(g, &format!("{path}.2"), x, 4 * REG_MAX, 1.0)
    }

    fn classes(&self, g: &mut Builder, path: &str, mut x: ValueId, stride: usize) -> Emitted {
        for i in 0..2 {
            x = if stride >= self.depthwise_from {
                let channels = g.channels(x);
                let y = Conv::new(channels, 3).groups(channels).emit(g, &format!("{path}.{i}.0"), x)?;
                Conv::new(self.class_width, 1).emit(g, &format!("{path}.{i}.1"), y)?
            } else {
                Conv::new(self.class_width, 3).emit(g, &format!("{path}.{i}"), x)?
            };
        }
        let cells = (PRIOR_SIDE / stride as f32).powi(2);
        last(g, &format!("{path}.2"), x, self.classes, (5.0 / self.classes as f32 / cells).ln())
    }
}

/// The closing 1x1 convolution, whose bias starts where the objects are expected.
fn last(g: &mut Builder, path: &str, x: ValueId, out: usize, bias: f32) -> Emitted {
    let conv = Conv2d { out, kernel: 1, stride: 1, padding: 0, dilation: 1, groups: 1 };
    let (x, params) = g.conv2d(path, x, conv, true)?;
    g.reinit(params[1], Init::Fill(bias));
    Ok(x)
}
