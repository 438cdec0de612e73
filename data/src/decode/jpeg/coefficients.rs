//! The coefficients of blocks, from bits to where they are weighted and added up.

use super::huffman::{Codes, END, ENTRIES, Look, look};
use super::segments::Component;
use super::stream::Bits;
use super::transform::{Blocks, LANES, Share};

/// Reads the blocks of a component, one after the other.
pub struct Coefficients<'a> {
    dc: Reader<'a>,
    ac: Reader<'a>,
    /// The first coefficient of the block before, in steps.
    first: i32,
}

impl<'a> Coefficients<'a> {
    /// `None` where the component was given no codes.
    pub fn new(component: &'a Component) -> Option<Self> {
        Some(Coefficients { dc: Reader::new(&component.dc)?, ac: Reader::new(&component.ac)?, first: 0 })
    }

    /// The next block counts from zero.
    pub fn restart(&mut self) {
        self.first = 0;
    }

    /// Reads a block; where it is not `KEPT`, to no purpose but to get behind it. `None` where there is damage.
    #[inline(always)]
    pub fn block<const KEPT: bool>(&mut self, bits: &mut Bits, mut into: Lane) -> Option<()> {
        bits.fill();
        let difference = self.dc.next(bits)?;
        self.first = self.first.wrapping_add(difference);
        if KEPT {
            into.add(0, self.first);
        }
        // The longest code with its value has 27 bits, so that 56 are enough for two steps.
        let mut index = self.ac.step::<KEPT>(bits, 1, &mut into)?;
        while index < 64 {
            bits.fill();
            index = self.ac.step::<KEPT>(bits, index, &mut into)?;
            if index >= 64 {
                break;
            }
            index = self.ac.step::<KEPT>(bits, index, &mut into)?;
        }
        Some(())
    }
}

/// A block among eight.
pub struct Lane<'a> {
    /// The eight.
    pub blocks: &'a mut Blocks,
    /// Which of them.
    pub lane: usize,
    /// Where its coefficients go.
    pub shares: &'a [Share; 64],
}

impl Lane<'_> {
    /// Adds a coefficient, of which there are `steps`, to the slot that it belongs to.
    #[inline(always)]
    fn add(&mut self, index: usize, steps: i32) {
        let share = self.shares[index % 64];
        let slot = &mut self.blocks[share.slot as usize % 64][self.lane % LANES];
        *slot = slot.wrapping_add(steps.wrapping_mul(share.weight));
    }
}

/// The codes of a component's first coefficients, or of its others.
struct Reader<'a> {
    codes: &'a Codes,
    looks: &'a [Look; ENTRIES],
}

impl<'a> Reader<'a> {
    fn new(codes: &'a Option<Codes>) -> Option<Self> {
        let codes = codes.as_ref()?;
        Some(Reader { codes, looks: codes.looks()? })
    }

    /// The next first coefficient, less the one of the block before.
    #[inline(always)]
    fn next(&self, bits: &mut Bits) -> Option<i32> {
        let found = look(self.looks, bits.ahead());
        if found.advance() == 1 {
            bits.skip(found.bits());
            return Some(found.values()[0]);
        }
        let found = self.codes.next(bits.ahead())?;
        bits.skip(found.bits);
        Some(found.value)
    }

    /// Reads one coefficient or two, the first of them after `index` others, and says how many there are now; 64 or more
    /// at the end of the block.
    #[inline(always)]
    fn step<const KEPT: bool>(&self, bits: &mut Bits, index: usize, into: &mut Lane) -> Option<usize> {
        let found = look(self.looks, bits.ahead());
        let next = index + found.advance();
        if next & 64 == 0 {
            bits.skip(found.bits());
            if KEPT {
                let (places, values) = (found.places(), found.values());
                into.add(index + places[0], values[0]);
                into.add(index + places[1], values[1]);
            }
            return Some(next);
        }
        // A long code, or the block may end before the second coefficient of the look.
        let found = self.codes.next(bits.ahead())?;
        bits.skip(found.bits);
        let index = index + found.zeros;
        if index >= 64 {
            return (found.zeros == END).then_some(index);
        }
        if KEPT {
            into.add(index, found.value);
        }
        Some(index + 1)
    }
}
