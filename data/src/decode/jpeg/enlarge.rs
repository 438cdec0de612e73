//! Chroma of half as many samples, enlarged for a whole picture: each new sample is three parts of the nearest one and
//! one part of the next nearest, across and down.

/// The row between `near` and `far`, three times as near to the first.
#[inline(always)]
pub fn between(near: &[u8], far: &[u8], row: &mut [u8]) {
    for ((row, &near), &far) in row.iter_mut().zip(near).zip(far) {
        *row = mix(near, far);
    }
}

/// A row of twice as many samples, or of one less.
#[inline(always)]
pub fn widen(samples: &[u8], row: &mut [u8]) {
    let (Some(first), Some(&last)) = (row.first_mut(), samples.last()) else { return };
    *first = samples[0];
    // From here on, two new samples lie between every two old ones.
    let (pairs, end) = row[1..].as_chunks_mut::<2>();
    for ((new, &left), &right) in pairs.iter_mut().zip(samples).zip(&samples[1..]) {
        *new = [mix(left, right), mix(right, left)];
    }
    if let [end] = end {
        *end = last;
    }
}

#[inline(always)]
fn mix(near: u8, far: u8) -> u8 {
    ((3 * u16::from(near) + u16::from(far) + 2) >> 2) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_samples_lie_a_quarter_and_three_quarters_of_the_way() {
        for length in [5, 6] {
            let mut row = [7; 6];
            widen(&[0, 100, 200], &mut row[..length]);
            assert_eq!(row[..length], [0, 25, 75, 125, 175, 200][..length]);
        }
        let mut row = [0; 2];
        widen(&[9], &mut row);
        assert_eq!(row, [9, 9]);
        between(&[0, 100], &[100, 0], &mut row);
        assert_eq!(row, [25, 75]);
    }
}
