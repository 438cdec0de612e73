//! Huffman codes of coefficients, looked up two at once, together with the bits that follow them.

/// Bits that one look into a table takes in.
const LOOK: u32 = 11;
/// Entries of a table to look into.
pub const ENTRIES: usize = 1 << LOOK;

/// The codes of the first coefficients of blocks, or of the others.
#[derive(Clone)]
pub struct Codes {
    /// For each length the codes that begin with 16 bits below this, aligned to the left.
    below: [u32; 16],
    /// For each length what to add to a code of it to find its symbol.
    offset: [i32; 16],
    symbols: Vec<u8>,
    /// Of first coefficients.
    differences: bool,
    looks: Vec<Look>,
}

/// A value in the stream of coefficients: how many zeros go before it, and how many bits it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coefficient {
    /// Bits of the code and the value, at most 27.
    pub bits: u32,
    /// Coefficients that are zero before this one; [`END`] where none follows.
    pub zeros: usize,
    /// The coefficient, in steps of its quantiser.
    pub value: i32,
}

/// Zeros before the end of a block.
pub const END: usize = 128;

/// What one look finds: as many of the next two coefficients as the bits hold.
///
/// From the lowest bit: 8 bits each say how many bits it took, where the first coefficient is and where the second is,
/// counted from the next one of the block, and how far to go on; then the values, 16 bits each. A look that finds one
/// has a second of value 0 in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look(u64);

impl Look {
    /// The bits are too few. Whoever goes on by so much leaves the block, but not by its end.
    const NOTHING: Look = Look(64 << 24);

    fn new(found: &[Coefficient]) -> Self {
        let (mut bits, mut on, mut places, mut values) = (0, 0, [0; 2], [0; 2]);
        for (i, coefficient) in found.iter().enumerate() {
            bits += u64::from(coefficient.bits);
            if coefficient.zeros == END {
                on += END;
                break;
            }
            places[i..].fill((on + coefficient.zeros) as u64);
            values[i] = u64::from(coefficient.value as u16);
            on += coefficient.zeros + 1;
        }
        let where_and_how_far = bits | places[0] << 8 | places[1] << 16 | (on as u64) << 24;
        Look(where_and_how_far | values[0] << 32 | values[1] << 48)
    }

    /// Bits that it took.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        self.0 as u32 & 31
    }

    /// Where the coefficients are, counted from the next one.
    #[inline(always)]
    pub fn places(self) -> [usize; 2] {
        [self.0 >> 8 & 255, self.0 >> 16 & 255].map(|place| place as usize)
    }

    /// How far to go on in the block, plus [`END`] where it ends; 64 where one look is not enough.
    #[inline(always)]
    pub fn advance(self) -> usize {
        (self.0 >> 24 & 255) as usize
    }

    /// The coefficients, in steps of their quantiser.
    #[inline(always)]
    pub fn values(self) -> [i32; 2] {
        [(self.0 >> 32) as i16, (self.0 >> 48) as i16].map(i32::from)
    }
}

impl Codes {
    /// Codes, `counts` of each length 1 to 16, and their symbols; `differences` for first coefficients. `None` where
    /// there are more codes than bits.
    pub fn new(counts: &[u8; 16], symbols: &[u8], differences: bool) -> Option<Self> {
        let symbols = symbols.to_vec();
        let mut codes = Codes { below: [0; 16], offset: [0; 16], symbols, differences, looks: Vec::new() };
        let (mut code, mut symbol) = (0u32, 0u32);
        for (index, &count) in counts.iter().enumerate() {
            codes.offset[index] = symbol as i32 - code as i32;
            code += u32::from(count);
            symbol += u32::from(count);
            if code > 1 << (index + 1) {
                return None;
            }
            codes.below[index] = code << (15 - index);
            code <<= 1;
        }
        codes.looks = (0..ENTRIES as u64).map(|bits| codes.look(bits << (64 - LOOK))).collect();
        Some(codes)
    }

    /// What to find with [`look`].
    pub fn looks(&self) -> Option<&[Look; ENTRIES]> {
        self.looks.as_slice().try_into().ok()
    }

    /// Of first coefficients one, of others two, so far as they are within the first bits.
    fn look(&self, bits: u64) -> Look {
        let within = |found: &Coefficient, left: u32| found.bits <= left;
        let Some(first) = self.next(bits).filter(|found| within(found, LOOK)) else { return Look::NOTHING };
        if self.differences || first.zeros == END {
            return Look::new(&[first]);
        }
        match self.next(bits << first.bits).filter(|second| within(second, LOOK - first.bits)) {
            Some(second) => Look::new(&[first, second]),
            None => Look::new(&[first]),
        }
    }

    /// The next coefficient of a stream that begins with these bits, from the highest down, at least 27; `None` where
    /// there is no such code.
    #[cold]
    pub fn next(&self, bits: u64) -> Option<Coefficient> {
        let next = (bits >> 48) as u32;
        let index = self.below.iter().position(|&below| next < below)?;
        let length = index as u32 + 1;
        let symbol = (next >> (16 - length)) as i32 + self.offset[index];
        let symbol = *self.symbols.get(usize::try_from(symbol).ok()?)?;
        let (zeros, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (self.differences, zeros, size) {
            (true, 0, 0) | (false, 15, 0) => Some(Coefficient { bits: length, zeros, value: 0 }),
            (false, 0, 0) => Some(Coefficient { bits: length, zeros: END, value: 0 }),
            (true, 0, 1..=11) | (false, _, 1..=10) => {
                let raw = ((bits << length) >> (64 - size)) as i32;
                // The lower half of the values of a size stands for the negative ones.
                let value = if raw >> (size - 1) == 0 { raw + 1 - (1 << size) } else { raw };
                Some(Coefficient { bits: length + size, zeros, value })
            }
            _ => None,
        }
    }
}

/// Looks up the next coefficients of a stream that begins with these bits.
#[inline(always)]
pub fn look(looks: &[Look; ENTRIES], bits: u64) -> Look {
    looks[(bits >> (64 - LOOK)) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes 00, 01, 100 and 16 bits 1010...
    fn codes(differences: bool) -> Codes {
        let mut counts = [0; 16];
        (counts[1], counts[2], counts[15]) = (2, 1, 1);
        Codes::new(&counts, &[0x03, 0x00, 0x21, 0x0a], differences).expect("fewer codes than bits")
    }

    /// Bits as they come, the first of them highest.
    fn aligned(bits: &str) -> u64 {
        let digits = bits.replace(' ', "");
        u64::from_str_radix(&digits, 2).expect("digits") << (64 - digits.len())
    }

    fn next(codes: &Codes, bits: &str) -> Option<Coefficient> {
        codes.next(aligned(bits))
    }

    fn of(bits: u32, zeros: usize, value: i32) -> Option<Coefficient> {
        Some(Coefficient { bits, zeros, value })
    }

    #[test]
    fn a_code_has_its_value_behind_it() {
        let codes = codes(false);
        assert_eq!(next(&codes, "00 101"), of(5, 0, 5));
        assert_eq!(next(&codes, "00 010"), of(5, 0, -5));
        assert_eq!(next(&codes, "100 0"), of(4, 2, -1));
        assert_eq!(next(&codes, "01"), of(2, END, 0));
        assert_eq!(next(&codes, "1010000000000000 1111111111"), of(26, 0, 1023));
        assert_eq!(next(&codes, "1111111111111111"), None);
        assert_eq!(next(&self::codes(true), "01"), of(2, 0, 0));
        assert_eq!(next(&self::codes(true), "100"), None, "zeros before a first coefficient");
    }

    #[test]
    fn a_look_finds_two() {
        let codes = codes(false);
        let found = |bits: &str| {
            let look = look(codes.looks().expect("made"), aligned(bits));
            (look.bits(), look.places(), look.values(), look.advance())
        };
        assert_eq!(found("00 101 100 0"), (9, [0, 3], [5, -1], 4));
        assert_eq!(found("100 1 01"), (6, [2, 2], [1, 0], 3 + END));
        assert_eq!(found("01 00 111"), (2, [0, 0], [0, 0], END), "what follows is of the next block");
        assert_eq!(found("00 101 00 110 00 111"), (10, [0, 1], [5, 6], 2));
        assert_eq!(found("1111111111111111").3, 64);
    }

    #[test]
    fn more_codes_than_bits_are_refused() {
        let mut counts = [0; 16];
        counts[0] = 3;
        assert!(Codes::new(&counts, &[1, 2, 3], false).is_none());
    }
}
