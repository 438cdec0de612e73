//! What is looked at together: a pair, or the one picture of a one-stream network.

use std::path::Path;

use yf_data::dataset::PairFiles;
use yf_data::decode::{Limits, read_ir, read_pair, read_rgb};
use yf_data::detection::Detection;
use yf_data::draw::{annotate, annotate_one, grey};
use yf_data::picture::{Pair, Picture};

use crate::DeployError;
use crate::modality::Modality;

/// Decoded pictures.
#[derive(Clone, Debug)]
pub enum Pictures {
    /// Both cameras', of one size.
    Pair(Pair),
    /// The RGB camera's alone.
    Rgb(Picture<3>),
    /// The infrared camera's alone.
    Ir(Picture<1>),
}

impl Pictures {
    /// Reads a pair whole; the infrared picture is brought to the size of the RGB one.
    pub(crate) fn read_pair(files: &PairFiles, limits: &Limits) -> Result<Self, DeployError> {
        Ok(Self::Pair(read_pair(files, limits)?))
    }

    /// Reads a picture whole, as one of the infrared camera, or of the RGB camera for any other modality.
    pub(crate) fn read_one(path: &Path, modality: Modality, limits: &Limits) -> Result<Self, DeployError> {
        Ok(match modality {
            Modality::Ir => Self::Ir(read_ir(path, limits)?),
            Modality::Rgb | Modality::Both => Self::Rgb(read_rgb(path, limits)?),
        })
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Pair(pair) => pair.size(),
            Self::Rgb(picture) => picture.size(),
            Self::Ir(picture) => picture.size(),
        }
    }

    /// The pictures, side by side where there are two, under their detections. `names` are indexed by class.
    pub fn annotated(&self, detections: &[Detection], names: &[String]) -> Picture<3> {
        match self {
            Self::Pair(pair) => annotate(pair, detections, names),
            Self::Rgb(picture) => annotate_one(picture, detections, names),
            Self::Ir(picture) => annotate_one(&grey(picture), detections, names),
        }
    }
}
