//! The entropy-coded bytes of a scan, and the bits in them.

/// The bytes of a scan without what JPEG stuffs in: zeros after `ff`, restart markers, and the end marker.
pub struct Stream {
    bytes: Vec<u8>,
    /// Where each restart interval ends.
    ends: Vec<usize>,
}

impl Stream {
    /// Reads up to the end marker; `None` where there is another marker than that and restarts in their order.
    pub fn read(scan: &[u8]) -> Option<Self> {
        // A reader takes 8 bytes at once, and reads zeros behind the end.
        let mut bytes = Vec::with_capacity(scan.len() + 8);
        let mut ends = Vec::new();
        let mut rest = scan;
        loop {
            let at = memchr::memchr(0xff, rest)?;
            match *rest.get(at + 1)? {
                0 => bytes.extend_from_slice(&rest[..=at]),
                END => {
                    bytes.extend_from_slice(&rest[..at]);
                    ends.push(bytes.len());
                    bytes.extend_from_slice(&[0; 8]);
                    return Some(Stream { bytes, ends });
                }
                marker if marker == RESTART + (ends.len() & 7) as u8 => {
                    bytes.extend_from_slice(&rest[..at]);
                    ends.push(bytes.len());
                }
                _ => return None,
            }
            rest = &rest[at + 2..];
        }
    }

    /// Number of restart intervals.
    pub fn intervals(&self) -> usize {
        self.ends.len()
    }

    /// The bits of an interval; panics where there is no such interval.
    pub fn bits(&self, interval: usize) -> Bits<'_> {
        let start = interval.checked_sub(1).map_or(0, |before| self.ends[before]);
        Bits { bytes: &self.bytes, at: start, end: self.ends[interval], buffer: 0, left: 0 }
    }
}

const END: u8 = 0xd9;
const RESTART: u8 = 0xd0;

/// Bits of an interval, from the first on. Those behind its end are no error until [`Bits::is_over`] is asked.
#[derive(Clone, Copy)]
pub struct Bits<'a> {
    bytes: &'a [u8],
    /// The byte to read next.
    at: usize,
    end: usize,
    /// The next bits, the first of them highest.
    buffer: u64,
    /// How many of them there are.
    left: u32,
}

impl Bits<'_> {
    /// Makes sure that [`Bits::ahead`] has 56 bits or more.
    #[inline(always)]
    pub fn fill(&mut self) {
        let word = self.bytes.get(self.at..).and_then(|bytes| bytes.first_chunk());
        // Bits that were there already come again and change nothing.
        self.buffer |= u64::from_be_bytes(*word.unwrap_or(&[0; 8])) >> self.left;
        self.at += (63 - self.left as usize) >> 3;
        self.left |= 56;
    }

    /// The next bits, the first of them highest.
    #[inline(always)]
    pub fn ahead(&self) -> u64 {
        self.buffer
    }

    /// Goes on by so many bits, at most as many as there are.
    #[inline(always)]
    pub fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.left -= bits;
    }

    /// Bits read beyond the end (negative where some are left).
    fn beyond(&self) -> isize {
        8 * (self.at as isize - self.end as isize) - self.left as isize
    }

    /// Whether more bits were read than there are.
    pub fn is_overrun(&self) -> bool {
        self.beyond() > 0
    }

    /// Whether the interval was read to its end, but for bits that fill its last byte.
    pub fn is_over(&self) -> bool {
        (-7..=0).contains(&self.beyond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffing_and_restarts_are_taken_out() {
        let scan = [1, 0xff, 0, 2, 0xff, 0xd0, 3, 0xff, 0xd1, 0xff, 0, 0xff, 0xd9, 7];
        let stream = Stream::read(&scan).expect("well formed");
        assert_eq!((stream.intervals(), &stream.bytes[..5]), (3, &[1, 0xff, 2, 3, 0xff][..]));
        assert_eq!(stream.ends, [3, 4, 5]);
        for broken in [&scan[..12], &[1, 0xff, 0xd1, 2, 0xff, 0xd9], &[0xff], &[]] {
            assert!(Stream::read(broken).is_none(), "{broken:x?}");
        }
    }

    #[test]
    fn bits_come_in_order_and_zeros_behind_them() {
        let scan: Vec<u8> = (1..=20).chain([0xff, 0xd9]).collect();
        let stream = Stream::read(&scan).expect("well formed");
        let mut bits = stream.bits(0);
        let mut read = Vec::new();
        for _ in 0..40 {
            bits.fill();
            read.push((bits.ahead() >> 60) as u8);
            bits.skip(4);
        }
        let whole: Vec<u8> = read.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
        assert_eq!(whole, scan[..20]);
        assert!(bits.is_over() && !bits.is_overrun());
        bits.fill();
        assert_eq!(bits.ahead() >> 8, 0);
        bits.skip(1);
        assert!(bits.is_overrun() && !bits.is_over());
    }
}
