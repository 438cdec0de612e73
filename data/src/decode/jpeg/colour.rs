//! From luma and chroma to red, green and blue, as JFIF says.

use super::transform::byte;

/// A row of pixels from one of luma and those of blue and red chroma, all of the same number of samples.
#[inline(always)]
pub fn rgb_row([luma, blue, red]: [&[u8]; 3], row: &mut [u8]) {
    let samples = luma.iter().zip(blue).zip(red);
    for (pixel, ((&y, &cb), &cr)) in row.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
        let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
        *pixel = [byte(y + 1.402 * cr), byte(y - 0.344_136 * cb - 0.714_136 * cr), byte(y + 1.772 * cb)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_jfif() {
        let mut row = [0; 12];
        rgb_row([&[76, 150, 29, 90], &[85, 44, 255, 128], &[255, 21, 107, 128]], &mut row);
        assert_eq!(row, [254, 0, 0, 0, 255, 1, 0, 0, 254, 90, 90, 90]);
    }
}
