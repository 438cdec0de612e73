//! Any number of pictures through a network of a fixed batch, or through batches of a few sizes.

use std::borrow::Cow;

use super::Pixels;
use crate::DeployError;
use crate::model::{Inputs, ModelInfo, Values};

/// Checks the pictures, then calls `run` with batches the network takes and joins what it returns.
///
/// Of a network that takes any batch, `size_for` says how many of the pictures that are left go at once. The last
/// batch of a fixed size is filled up with zeros, and what comes out for them is dropped.
pub(super) fn run(
    info: &ModelInfo,
    pictures: [Pixels<'_>; 2],
    batch: usize,
    size_for: impl Fn(usize) -> usize,
    mut run: impl FnMut(&[Pixels<'_>], usize) -> Result<Vec<f32>, DeployError>,
) -> Result<Vec<f32>, DeployError> {
    let pictures = if info.inputs == Inputs::Pair { &pictures[..] } else { &pictures[..1] };
    check(info, pictures, batch)?;
    if batch == 0 {
        return Ok(Vec::new());
    }
    let size = |left: usize| info.batch.unwrap_or_else(|| size_for(left).clamp(1, left));
    if size(batch) == batch {
        return run(pictures, batch);
    }
    let (mut out, mut first) = (Vec::with_capacity(batch * info.output_len()), 0);
    while first < batch {
        let size = size(batch - first);
        let here = size.min(batch - first);
        let parts: Vec<Part<'_>> = pictures
            .iter()
            .enumerate()
            .map(|(input, pixels)| Part::new(*pixels, info.input_len(input), first..first + here, size))
            .collect();
        let views: Vec<Pixels<'_>> = parts.iter().map(Part::view).collect();
        out.extend_from_slice(&run(&views, size)?[..here * info.output_len()]);
        first += here;
    }
    Ok(out)
}

fn check(info: &ModelInfo, pictures: &[Pixels<'_>], batch: usize) -> Result<(), DeployError> {
    const PAIR: [&str; 2] = ["rgb", "ir"];
    for (index, pixels) in pictures.iter().enumerate() {
        let input = if info.inputs == Inputs::Pair { PAIR[index] } else { "images" };
        let expected = batch * info.input_len(index);
        let fits = match pixels {
            _ if expected == 0 => true,
            Pixels::Floats(_) => info.values == Values::Floats,
            Pixels::Bytes(_) => info.values == Values::Bytes,
        };
        if !fits || pixels.len() != expected {
            let (kind, got) = (info.values.name(), if fits { pixels.len() } else { 0 });
            return Err(DeployError::Input { input, batch, expected, got, kind });
        }
    }
    Ok(())
}

/// Some pictures of an input, filled up to the size of a batch; borrowed where it is whole.
enum Part<'a> {
    Floats(Cow<'a, [f32]>),
    Bytes(Cow<'a, [u8]>),
}

impl<'a> Part<'a> {
    fn new(pixels: Pixels<'a>, len: usize, pictures: std::ops::Range<usize>, size: usize) -> Self {
        let values = pictures.start * len..pictures.end * len;
        match pixels {
            Pixels::Floats(all) => Self::Floats(padded(&all[values], size * len)),
            Pixels::Bytes(all) => Self::Bytes(padded(&all[values], size * len)),
        }
    }

    fn view(&self) -> Pixels<'_> {
        match self {
            Self::Floats(values) => Pixels::Floats(values),
            Self::Bytes(values) => Pixels::Bytes(values),
        }
    }
}

fn padded<T: Copy + Default>(part: &[T], len: usize) -> Cow<'_, [T]> {
    if part.len() == len {
        return part.into();
    }
    let mut whole = part.to_vec();
    whole.resize(len, T::default());
    whole.into()
}
