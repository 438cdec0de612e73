//! From luma and chroma to red, green and blue, as JFIF says.

use super::transform::byte;

/// Pixels that are computed at once.
const TOGETHER: usize = 16;

/// A row of pixels from one of luma and those of blue and red chroma, all of the same number of samples.
#[inline(always)]
pub fn rgb_row([luma, blue, red]: [&[u8]; 3], row: &mut [u8]) {
    let (lumas, rest) = luma.as_chunks::<TOGETHER>();
    let (blues, blue) = blue.as_chunks::<TOGETHER>();
    let (reds, red) = red.as_chunks::<TOGETHER>();
    let (rows, row) = row.split_at_mut(lumas.len() * 3 * TOGETHER);
    let samples = lumas.iter().zip(blues).zip(reds);
    for (row, ((luma, blue), red)) in rows.as_chunks_mut::<{ 3 * TOGETHER }>().0.iter_mut().zip(samples) {
        let mut words = [0; TOGETHER];
        for i in 0..TOGETHER {
            words[i] = rgb(luma[i], blue[i], red[i]);
        }
        // Four bytes at once: the fourth belongs to the next pixel, which comes after.
        for (i, word) in words[..TOGETHER - 1].iter().enumerate() {
            row[3 * i..][..4].copy_from_slice(&word.to_le_bytes());
        }
        row[3 * TOGETHER - 3..].copy_from_slice(&words[TOGETHER - 1].to_le_bytes()[..3]);
    }
    let samples = rest.iter().zip(blue).zip(red);
    for (pixel, ((&y, &cb), &cr)) in row.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
        pixel.copy_from_slice(&rgb(y, cb, cr).to_le_bytes()[..3]);
    }
}

/// Red, green and blue from the lowest byte up.
#[inline(always)]
fn rgb(y: u8, cb: u8, cr: u8) -> u32 {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    let [red, green, blue] = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb].map(byte);
    u32::from(red) | u32::from(green) << 8 | u32::from(blue) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_jfif() {
        let (luma, blue, red) = ([76, 150, 29, 90], [85, 44, 255, 128], [255, 21, 107, 128]);
        let expected = [254, 0, 0, 0, 255, 1, 0, 0, 254, 90, 90, 90];
        for times in [1, 4, 9] {
            let mut row = vec![7; 12 * times];
            rgb_row([&luma.repeat(times), &blue.repeat(times), &red.repeat(times)], &mut row);
            assert_eq!(row, expected.repeat(times));
        }
    }
}
