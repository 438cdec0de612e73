//! Augmentation: mosaic, scale and shift, flip, and the photometry of each camera.
//!
//! The way of a picture: [`Augmentation`] says how strong, [`Draw`] throws the dice for one output picture,
//! [`SamplePlan`] turns that into one affine map a source picture, and [`batch`] computes the pixels as tensors
//! on the device. RGB and infrared share every map, because they are sampled as the four bytes of one word.
//! Labels go through the same maps.

mod draw;
mod error;
mod pack;
mod photometric;
mod plan;
mod warp;

#[cfg(test)]
mod tests;

pub use draw::{Augmentation, Draw, Photometry};
pub use error::AugmentError;
pub use plan::{Axis, SamplePlan, Tile};

use crate::torch::{Device, Kind, Tensor};
use yf_data::labels::BoxLabel;
use yf_data::picture::Pair;

/// A decoded pair with its labels, borrowed from wherever pairs are kept.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Both pictures, of one size.
    pub pair: &'a Pair,
    /// Boxes as fractions of the picture.
    pub labels: &'a [BoxLabel],
}

/// Augmented pairs, ready for the network.
#[derive(Debug)]
pub struct Batch {
    /// RGB, f32 [B, 3, S, S], 0..1, contiguous.
    pub rgb: Tensor,
    /// Infrared, f32 [B, 1, S, S], 0..1, contiguous. A network of three equal planes expands it.
    pub ir: Tensor,
    /// Boxes of each picture, as fractions of the S x S output.
    pub labels: Vec<Vec<BoxLabel>>,
}

/// Computes the augmented pictures of `draws` at `size` x `size` pixels on `device`.
///
/// `source` gives the pair of an index; it is asked for the indices of [`Draw::pictures`]. Sources are sampled
/// bilinearly, so a source should come resized to fit `size` (as the cache keeps it); one that is much larger
/// would alias. Nothing here waits for the device.
///
/// # Errors
/// A source without pixels or with planes of another length than its size says, pictures too large to address,
/// or an error of libtorch (memory).
pub fn batch<'a>(
    draws: &[Draw],
    source: impl Fn(usize) -> Source<'a>,
    size: usize,
    device: Device,
) -> Result<Batch, AugmentError> {
    let mut plans = Vec::with_capacity(draws.len());
    let mut sources = Vec::with_capacity(draws.len());
    let mut labels = Vec::with_capacity(draws.len());
    for draw in draws {
        let own: Vec<Source<'a>> = draw.pictures().iter().map(|&index| source(index)).collect();
        for (source, &index) in own.iter().zip(draw.pictures()) {
            source.check(index)?;
        }
        let sizes: Vec<(usize, usize)> = own.iter().map(|s| s.pair.size()).collect();
        let plan = SamplePlan::new(draw, &sizes, size);
        labels.push(plan.labels(|tile| own[tile].labels));
        plans.push(plan);
        sources.push(own);
    }
    let (rgb, ir) = pictures(&plans, &sources, size, device)?;
    Ok(Batch { rgb, ir, labels })
}

/// Pixels of the planned pictures: RGB [B, 3, S, S] and infrared [B, 1, S, S].
fn pictures(
    plans: &[SamplePlan],
    sources: &[Vec<Source>],
    size: usize,
    device: Device,
) -> Result<(Tensor, Tensor), AugmentError> {
    let side = size as i64;
    let shape = |channels: i64| [plans.len() as i64, channels, side, side];
    let rgb = Tensor::f_empty(shape(3), (Kind::Float, device))?;
    let ir = Tensor::f_empty(shape(1), (Kind::Float, device))?;
    // A CPU works picture by picture, so that intermediate planes stay in its cache; a GPU wants all at once.
    let chunk = if device == Device::Cpu { 1 } else { plans.len().max(1) };
    let mut first = 0;
    for (plans, sources) in plans.chunks(chunk).zip(sources.chunks(chunk)) {
        let packed = pack::Packed::new(plans, sources, size)?;
        let planes = warp::warp(&packed, device)?;
        let factors: Vec<&Photometry> = plans.iter().map(|p| &p.photometry).collect();
        let count = plans.len() as i64;
        let chunk_rgb = photometric::hsv(&planes.f_narrow(1, 0, 3)?, &factors)?;
        rgb.f_narrow(0, first, count)?.f_copy_(&chunk_rgb)?;
        let chunk_ir = photometric::infrared(&planes.f_narrow(1, 3, 1)?, &factors)?;
        ir.f_narrow(0, first, count)?.f_copy_(&chunk_ir)?;
        first += count;
    }
    Ok((rgb, ir))
}

impl Source<'_> {
    fn check(&self, index: usize) -> Result<(), AugmentError> {
        let (rgb, ir) = (&self.pair.rgb, &self.pair.ir);
        let pixels = rgb.width * rgb.height;
        if pixels == 0
            || rgb.size() != ir.size()
            || rgb.pixels.len() != pixels * 3
            || ir.pixels.len() != pixels
        {
            return Err(AugmentError::Source { index, rgb: rgb.size(), ir: ir.size() });
        }
        Ok(())
    }
}
