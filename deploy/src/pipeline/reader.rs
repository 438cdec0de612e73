//! Files become what a network's inputs are made of.

use std::path::PathBuf;

use yf_data::decode::Limits;
use yf_data::letterbox::{BORDER, Letterbox, write_ir, write_rgb};

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

    /// Takes over another's pictures behind its own, of the kind that the network takes.
    pub(crate) fn append(&mut self, other: &Self, values: Values) {
        for input in 0..2 {
            match values {
                Values::Floats => self.floats[input].extend_from_slice(&other.floats[input]),
                Values::Bytes => self.bytes[input].extend_from_slice(&other.bytes[input]),
            }
        }
    }

    /// Forgets the pictures, keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.iter_mut().for_each(Vec::clear);
        self.floats.iter_mut().for_each(Vec::clear);
    }
}

/// Decoded pictures whose tensors are filled.
pub(crate) struct Prepared {
    pub pictures: Pictures,
    pub letterbox: Letterbox,
    pub ms: Stages,
}

/// Turns files into tensors.
pub(crate) struct Reader {
    inputs: Inputs,
    values: Values,
    channels: Vec<usize>,
    size: (usize, usize),
    modality: Modality,
    limits: Limits,
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

    /// Decodes what a network sees together and fills the tensors with it.
    pub(crate) fn prepare(&self, files: &Files, tensors: &mut Tensors) -> Result<Prepared, DeployError> {
        let mut ms = Stages::default();
        let pictures = timed(&mut ms.decode, || self.read(files))?;
        let letterbox = Letterbox::new(pictures.size(), self.size);
        timed(&mut ms.letterbox, || self.fill(&pictures, &letterbox, tensors));
        Ok(Prepared { pictures, letterbox, ms })
    }

    fn read(&self, files: &Files) -> Result<Pictures, DeployError> {
        let refused = |why: &str| {
            let path = files.first().to_owned();
            Err(DeployError::Pairing { path, why: why.to_owned() })
        };
        match (files, self.inputs) {
            (_, Inputs::Single) if self.channels == [1] && self.modality != Modality::Ir => {
                refused("is a colour picture, but the network takes one grey plane: show it infrared")
            }
            (Files::Pair { rgb, ir }, _) => Pictures::read_pair(rgb, ir, &self.limits),
            (Files::One(path), Inputs::Single) => Pictures::read_one(path, self.modality, &self.limits),
            (Files::One(_), Inputs::Pair) => {
                refused("is one picture, but the network takes two: an RGB and an infrared one")
            }
        }
    }

    /// Frames the pictures that the network sees; the one that it is not shown is nothing but border.
    fn fill(&self, pictures: &Pictures, letterbox: &Letterbox, tensors: &mut Tensors) {
        let (rgb, ir) = match pictures {
            Pictures::Pair(pair) => (Some(&pair.rgb), Some(&pair.ir)),
            Pictures::Rgb(picture) => (Some(picture), None),
            Pictures::Ir(picture) => (None, Some(picture)),
        };
        let seen = |camera| self.modality == Modality::Both || self.modality == camera;
        let rgb = rgb.filter(|_| seen(Modality::Rgb));
        let ir = ir.filter(|_| seen(Modality::Ir));
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

fn blank(pixels: &mut Vec<u8>, len: usize) {
    pixels.clear();
    pixels.resize(len, BORDER);
}
