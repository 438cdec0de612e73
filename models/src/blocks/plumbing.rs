//! Layers without weights: inputs, concatenation, the mean, upsampling.

use super::{Arg, Layer};
use crate::error::ShapeError;
use crate::graph::{Op, ValueId};

/// `IdentityInput`: both pictures, RGB first. The network has declared them.
pub fn identity_input(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(0)?;
    Ok(l.inputs.clone())
}

/// `ModalitySelector, [1]` takes the RGB picture, `[2]` the infrared one.
pub fn modality_selector(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(1)?;
    let which = l.args.size(0, "modality: 1 for RGB, 2 for infrared")?;
    match (l.inputs.len(), l.inputs.get(which - 1)) {
        (2, Some(&picture)) => Ok(vec![picture]),
        (2, None) => {
            Err(ShapeError::Arguments(format!("modality {which} does not exist: 1 is RGB, 2 is infrared")))
        }
        _ => Err(ShapeError::Arguments("it reads the layer IdentityInput".to_owned())),
    }
}

/// `Concat, [1]`: joins feature maps along the channels.
pub fn concat(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(1)?;
    if l.args.size_or(0, "axis", 1)? != 1 {
        return Err(ShapeError::Arguments(
            "argument 1 (axis) must be 1: maps are joined along the channels".to_owned(),
        ));
    }
    Ok(vec![l.graph.concat(&l.inputs, 0, &format!("{}.concat", l.path))?])
}

/// `Mean, [channels]`: the mean of the RGB and the infrared map, both of `channels` channels.
pub fn mean(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(1)?;
    let channels = l.scaling.channels(l.args.size(0, "channels")?);
    let [rgb, ir] = l.pair(channels)?;
    let sum = l.graph.combine(Op::Add, rgb, ir, &format!("{}.sum", l.path))?;
    Ok(vec![l.graph.map_elements(Op::Scale(0.5), sum, &format!("{}.mean", l.path))])
}

/// `nn.Upsample, [None, scale, nearest]`.
pub fn upsample(l: &mut Layer<'_>) -> Result<Vec<ValueId>, ShapeError> {
    l.args.at_most(3)?;
    if !matches!(l.args.0.first(), None | Some(Arg::None)) {
        return Err(ShapeError::Arguments("argument 1 (size) must be None: give a scale instead".to_owned()));
    }
    if !matches!(l.args.0.get(2), None | Some(Arg::None))
        && l.args.0.get(2) != Some(&Arg::Text("nearest".to_owned()))
    {
        return Err(ShapeError::Arguments("argument 3 (mode) must be nearest".to_owned()));
    }
    let scale = l.args.size(1, "scale")?;
    let x = l.input()?;
    Ok(vec![l.graph.upsample(x, scale, &format!("{}.upsample", l.path))?])
}
