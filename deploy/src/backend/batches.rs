//! Any number of pairs through a network of a fixed batch, or through batches of a few sizes.

use super::Pixels;
use crate::DeployError;
use crate::model::{Inputs, ModelInfo, Values};

/// Checks the pairs, then calls `run` with batches the network takes, each with its size, and joins what it returns.
///
/// Of a network that takes any batch, `size_for` says how many of the pairs that are left go at once. The last batch of
/// a fixed size may have fewer pairs than its size: what `run` returns for the others is dropped.
pub(super) fn run(
    info: &ModelInfo,
    pairs: &[[Pixels<'_>; 2]],
    size_for: impl Fn(usize) -> usize,
    mut run: impl FnMut(&[[Pixels<'_>; 2]], usize) -> Result<Vec<f32>, DeployError>,
) -> Result<Vec<f32>, DeployError> {
    pairs.iter().try_for_each(|pair| check(info, pair))?;
    let size = |left: usize| info.batch.unwrap_or_else(|| size_for(left).clamp(1, left));
    if !pairs.is_empty() && size(pairs.len()) == pairs.len() {
        return run(pairs, pairs.len());
    }
    let (mut out, mut left) = (Vec::with_capacity(pairs.len() * info.output_len()), pairs);
    while !left.is_empty() {
        let size = size(left.len());
        let (here, later) = left.split_at(size.min(left.len()));
        out.extend_from_slice(&run(here, size)?[..here.len() * info.output_len()]);
        left = later;
    }
    Ok(out)
}

fn check(info: &ModelInfo, pair: &[Pixels<'_>; 2]) -> Result<(), DeployError> {
    const PAIR: [&str; 2] = ["rgb", "ir"];
    for (index, pixels) in pair.iter().enumerate().take(inputs(info)) {
        let input = if info.inputs == Inputs::Pair { PAIR[index] } else { "images" };
        let expected = info.input_len(index);
        let fits = match pixels {
            Pixels::Floats(_) => info.values == Values::Floats,
            Pixels::Bytes(_) => info.values == Values::Bytes,
        };
        if !fits || pixels.len() != expected {
            let (kind, got) = (info.values.name(), if fits { pixels.len() } else { 0 });
            return Err(DeployError::Input { input, expected, got, kind });
        }
    }
    Ok(())
}

fn inputs(info: &ModelInfo) -> usize {
    if info.inputs == Inputs::Pair { 2 } else { 1 }
}

/// Where pictures are laid one behind the other, for runtimes that read them from the host's memory.
#[derive(Default)]
pub(super) struct Joined {
    floats: [Vec<f32>; 2],
    bytes: [Vec<u8>; 2],
}

impl Joined {
    /// What every input is given: the pairs' pictures, filled up to the size of a batch with zeros. One pair alone is
    /// not copied.
    pub fn feeds<'a>(
        &'a mut self,
        info: &ModelInfo,
        pairs: &'a [[Pixels<'a>; 2]],
        size: usize,
    ) -> Vec<Pixels<'a>> {
        if let ([pair], 1) = (pairs, size) {
            return pair[..inputs(info)].to_vec();
        }
        let Self { floats, bytes } = self;
        let buffers = floats.iter_mut().zip(bytes).enumerate().take(inputs(info));
        let join = |(input, (floats, bytes)): (usize, (&'a mut Vec<f32>, &'a mut Vec<u8>))| {
            floats.clear();
            bytes.clear();
            for pair in pairs {
                match pair[input] {
                    Pixels::Floats(picture) => floats.extend_from_slice(picture),
                    Pixels::Bytes(picture) => bytes.extend_from_slice(picture),
                }
            }
            let len = size * info.input_len(input);
            match info.values {
                Values::Floats => {
                    floats.resize(len, 0.0);
                    Pixels::Floats(floats)
                }
                Values::Bytes => {
                    bytes.resize(len, 0);
                    Pixels::Bytes(bytes)
                }
            }
        };
        buffers.map(join).collect()
    }
}
