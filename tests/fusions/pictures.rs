//! Inputs and truths, from arrays of NumPy.

use std::path::Path;

/// Side of the pictures.
pub const SIDE: usize = 640;

/// A pair as a backend takes it.
pub struct Pair {
    pub rgb: Vec<f32>,
    pub ir: Vec<f32>,
}

impl Pair {
    /// The pair that the reference's outputs belong to.
    pub fn of_the_reference(networks: &Path) -> Self {
        let pixels = elements(&networks.join("input_u8.npy"), |bytes: [u8; 1]| f32::from(bytes[0]) / 255.0);
        assert_eq!(pixels.len(), 6 * SIDE * SIDE);
        let (rgb, ir) = pixels.split_at(3 * SIDE * SIDE);
        Pair { rgb: rgb.to_vec(), ir: ir.to_vec() }
    }

    /// A corner of it, height x width, repeated where that is larger.
    pub fn cut(&self, (height, width): (usize, usize)) -> Self {
        let cut = |planes: &[f32]| {
            let pixel = |c: usize, y: usize, x: usize| planes[(c * SIDE + y % SIDE) * SIDE + x % SIDE];
            (0..3 * height * width)
                .map(|i| pixel(i / (height * width), i / width % height, i % width))
                .collect()
        };
        Pair { rgb: cut(&self.rgb), ir: cut(&self.ir) }
    }

    /// A batch whose last is this pair, and the others are this pair with its rows in reverse.
    pub fn batch(&self, count: usize) -> Self {
        let batch = |planes: &[f32]| {
            let reversed =
                planes.chunks(SIDE * SIDE).flat_map(|plane| plane.rchunks(SIDE).flatten().copied());
            let others = reversed.collect::<Vec<_>>().repeat(count - 1);
            others.into_iter().chain(planes.iter().copied()).collect()
        };
        Pair { rgb: batch(&self.rgb), ir: batch(&self.ir) }
    }
}

/// What the reference computes of its pair, `[1, 5, anchors]`.
pub fn reference_output(networks: &Path, name: &str) -> Vec<f32> {
    elements(&networks.join(format!("{name}.out.npy")), f32::from_le_bytes)
}

/// Elements of an array file of NumPy, version 1: ten bytes, of which the last two are the length of the header.
fn elements<const SIZE: usize>(path: &Path, read: impl Fn([u8; SIZE]) -> f32) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00", "{}", path.display());
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].as_chunks().0.iter().map(|&element| read(element)).collect()
}
