//! Files become what a network's inputs are made of.

use std::path::{Path, PathBuf};

use yf_data::dataset::PairFiles;
use yf_data::decode::{Limits, read_ir_within, read_pair_within, read_rgb_within};
use yf_data::letterbox::{BORDER, Letterbox, write_ir, write_rgb};
use yf_data::picture::Picture;

use super::{Settings, Stages, timed};
use crate::DeployError;
use crate::backend::Pixels;
use crate::modality::Modality;
use crate::model::{Inputs, ModelInfo, Values};
use crate::pairing::Files;
use crate::pictures::Pictures;

/// Input of the network: `rgb` and `ir`, or the one picture of a one-stream network and its unused other. The bytes
/// are the letterboxed pictures; the floats are filled from them for a network that takes such.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tensors {
    bytes: [Vec<u8>; 2],
    floats: [Vec<f32>; 2],
}

impl Tensors {
    /// What a backend is given.
    pub(crate) fn pixels(&self, values: Values) -> [Pixels<'_>; 2] {
        match values {
            Values::Floats => [0, 1].map(|input| Pixels::Floats(&self.floats[input])),
            Values::Bytes => [0, 1].map(|input| Pixels::Bytes(&self.bytes[input])),
        }
    }
}

/// What is known of pictures once their tensors are filled.
pub(crate) struct Prepared {
    /// The whole pictures, where they are to be kept.
    pub pictures: Option<Pictures>,
    /// Where the pictures lie within the network's input.
    pub letterbox: Letterbox,
    /// Time so far.
    pub ms: Stages,
}

/// Pictures that are about to be letterboxed: each as large as its file, or smaller but not too small.
#[derive(Default)]
struct Decoded {
    rgb: Option<Picture<3>>,
    ir: Option<Picture<1>>,
    /// Size of the RGB file, or of the only one.
    source: (usize, usize),
}

/// Turns files into tensors.
pub(crate) struct Reader {
    inputs: Inputs,
    values: Values,
    channels: Vec<usize>,
    size: (usize, usize),
    modality: Modality,
    limits: Limits,
    keep_pictures: bool,
}

impl Reader {
    pub(crate) fn new(info: &ModelInfo, settings: &Settings) -> Self {
        let modality = match (info.inputs, settings.modality) {
            (Inputs::Single, Modality::Both) => info.modality,
            (_, asked) => asked,
        };
        Self {
            inputs: info.inputs,
            values: info.values,
            channels: info.channels.clone(),
            size: (info.width, info.height),
            modality,
            limits: settings.limits,
            keep_pictures: settings.keep_pictures,
        }
    }

    /// Of a pair the files that the network sees: one of a one-stream network's.
    pub(crate) fn needed(&self, rgb: PathBuf, ir: PathBuf) -> Files {
        match (self.inputs, self.modality) {
            (Inputs::Pair, _) => Files::Pair { rgb, ir },
            (Inputs::Single, Modality::Ir) => Files::One(ir),
            (Inputs::Single, _) => Files::One(rgb),
        }
    }

    /// Whether a picture that is alone is one of the infrared camera.
    pub(crate) fn infrared_alone(&self) -> bool {
        self.modality == Modality::Ir
    }

    /// Decodes what a network sees together and fills the tensors with it.
    pub(crate) fn prepare(&self, files: &Files, tensors: &mut Tensors) -> Result<Prepared, DeployError> {
        let mut ms = Stages::default();
        let decoded = timed(&mut ms.decode, || self.decode(files))?;
        let letterbox = Letterbox::new(decoded.source, self.size);
        timed(&mut ms.letterbox, || self.fill(&decoded, &letterbox, tensors));
        let pictures = if self.keep_pictures { Some(self.whole(files)?) } else { None };
        Ok(Prepared { pictures, letterbox, ms })
    }

    /// Decodes no more than the network's input needs, whether pictures are kept or not: what is found is the same.
    fn decode(&self, files: &Files) -> Result<Decoded, DeployError> {
        let refused = |why: &str| {
            let path = files.first().to_owned();
            Err(DeployError::Pairing { path, why: why.to_owned() })
        };
        match (files, self.inputs) {
            (_, Inputs::Single) if self.channels == [1] && self.modality != Modality::Ir => {
                refused("is a colour picture, but the network takes one grey plane: show it infrared")
            }
            (Files::Pair { rgb, ir }, _) => {
                let (rgb, ir, source) = read_pair_within(&pair_files(rgb, ir), self.size, &self.limits)?;
                Ok(Decoded { rgb: Some(rgb), ir: Some(ir), source })
            }
            (Files::One(path), Inputs::Single) if self.infrared_alone() => {
                let (ir, source) = read_ir_within(path, self.size, &self.limits)?;
                Ok(Decoded { ir: Some(ir), source, ..Decoded::default() })
            }
            (Files::One(path), Inputs::Single) => {
                let (rgb, source) = read_rgb_within(path, self.size, &self.limits)?;
                Ok(Decoded { rgb: Some(rgb), source, ..Decoded::default() })
            }
            (Files::One(_), Inputs::Pair) => {
                refused("is one picture, but the network takes two: an RGB and an infrared one")
            }
        }
    }

    fn whole(&self, files: &Files) -> Result<Pictures, DeployError> {
        match files {
            Files::Pair { rgb, ir } => Pictures::read_pair(&pair_files(rgb, ir), &self.limits),
            Files::One(path) => Pictures::read_one(path, self.modality, &self.limits),
        }
    }

    /// Frames the pictures that the network sees; the one that it is not shown is nothing but border.
    fn fill(&self, decoded: &Decoded, letterbox: &Letterbox, tensors: &mut Tensors) {
        let seen = |camera| self.modality == Modality::Both || self.modality == camera;
        let rgb = decoded.rgb.as_ref().filter(|_| seen(Modality::Rgb));
        let ir = decoded.ir.as_ref().filter(|_| seen(Modality::Ir));
        // A one-stream network has its picture in the first place, whichever camera's it is.
        let infrared = if self.inputs == Inputs::Pair { 1 } else { 0 };
        let plane = self.size.0 * self.size.1;
        let Tensors { bytes, floats } = tensors;
        if self.inputs == Inputs::Pair || self.modality != Modality::Ir {
            match rgb {
                Some(rgb) => letterbox.frame_into(rgb, &mut bytes[0]),
                None => blank(&mut bytes[0], 3 * plane),
            }
            if self.values == Values::Floats {
                floats[0].resize(3 * plane, 0.0);
                write_rgb(&bytes[0], &mut floats[0]);
            }
        }
        if self.inputs == Inputs::Pair || self.modality == Modality::Ir {
            match ir {
                Some(ir) => letterbox.frame_into(ir, &mut bytes[infrared]),
                None => blank(&mut bytes[infrared], plane),
            }
            if self.values == Values::Floats {
                floats[infrared].resize(3 * plane, 0.0);
                write_ir(&bytes[infrared], &mut floats[infrared]);
            } else if self.channels.get(infrared) == Some(&3) {
                bytes[infrared] = bytes[infrared].iter().flat_map(|&grey| [grey; 3]).collect();
            }
        }
    }
}

fn pair_files(rgb: &Path, ir: &Path) -> PairFiles {
    PairFiles { rgb: rgb.to_owned(), ir: ir.to_owned(), labels: PathBuf::new() }
}

fn blank(pixels: &mut Vec<u8>, len: usize) {
    pixels.clear();
    pixels.resize(len, BORDER);
}
