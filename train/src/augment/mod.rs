//! Augmentation: mosaic, scale and shift, flip, and the photometry of each camera.
//!
//! The way of a picture: [`Augmentation`] says how strong, [`Draw`] throws the dice for one output picture,
//! [`SamplePlan`] turns that into one affine map a source picture, [`PlanWords`] is the same for the sampler, and
//! [`Sampler`] computes the pixels in one pass on the device. RGB and infrared share every map, because they are
//! sampled as the four bytes of one word. Labels go through the same maps.

mod draw;
mod layout;
mod plan;
mod sampler;

#[cfg(test)]
mod tests;

pub use draw::{Augmentation, Draw, Photometry};
pub use layout::{PLAN_WORDS, Place, PlanWords, View, views};
pub use plan::{Axis, SamplePlan, Tile};
pub use sampler::{Pictures, Sampler, Words};
