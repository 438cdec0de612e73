//! The segments of a baseline JPEG up to its only scan: sizes, tables, restart interval.

use super::huffman::Codes;

/// What a baseline JPEG says before its pixels.
pub struct Segments<'a> {
    /// Width and height, pixels.
    pub size: (usize, usize),
    /// One (grey) or three (Y, Cb, Cr).
    pub components: Vec<Component>,
    /// Minimal coded units between restart markers; 0 without any.
    pub restart: usize,
    /// What follows the scan's header.
    pub scan: &'a [u8],
}

/// A colour component.
pub struct Component {
    id: u8,
    /// Blocks in a minimal coded unit, across and down.
    pub blocks: (usize, usize),
    quantiser: u8,
    /// Steps of its coefficients, in zigzag order.
    pub steps: [u16; 64],
    /// Codes of the first coefficient of a block.
    pub dc: Option<Codes>,
    /// Codes of the others.
    pub ac: Option<Codes>,
}

impl<'a> Segments<'a> {
    /// Reads on to the first scan; `None` where this is not a baseline JPEG of 8 bits with one scan of all its one or
    /// three components, or is damaged.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[0xff, SOI])?;
        let mut tables = Tables::default();
        let mut frame = None;
        let mut restart = 0;
        loop {
            let (marker, segment, after) = segment(rest)?;
            rest = after;
            match marker {
                0xc0 | 0xc1 if frame.is_none() => frame = Some(read_frame(segment)?),
                DHT => tables.read_codes(segment)?,
                DQT => tables.read_steps(segment)?,
                DRI => restart = usize::from(u16_at(segment, 0)?),
                SOS => {
                    let (size, mut components) = frame?;
                    tables.hand_out(segment, &mut components)?;
                    return Some(Segments { size, components, restart, scan: rest });
                }
                // Metadata, among them the kinds of colour, which whoever calls has looked at.
                0xe0..=0xef | 0xfe => {}
                _ => return None,
            }
        }
    }
}

const SOI: u8 = 0xd8;
const DHT: u8 = 0xc4;
const DQT: u8 = 0xdb;
const DRI: u8 = 0xdd;
const SOS: u8 = 0xda;

/// The marker, the content of its segment, and what follows.
fn segment(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[0xff])?;
    let fill = rest.iter().take_while(|&&byte| byte == 0xff).count();
    let (&marker, rest) = rest[fill..].split_first()?;
    let length = usize::from(u16_at(rest, 0)?);
    Some((marker, rest.get(2..length)?, rest.get(length..)?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

type Frame = ((usize, usize), Vec<Component>);

fn read_frame(segment: &[u8]) -> Option<Frame> {
    let (height, width) = (usize::from(u16_at(segment, 1)?), usize::from(u16_at(segment, 3)?));
    let (precision, count) = (*segment.first()?, usize::from(*segment.get(5)?));
    let described = segment.get(6..)?.as_chunks::<3>().0;
    if precision != 8 || width == 0 || height == 0 || !matches!(count, 1 | 3) || described.len() != count {
        return None;
    }
    let component = |&[id, sampling, quantiser]: &[u8; 3]| {
        // A scan of one component is not interleaved, whatever it says.
        let sampling = if count == 1 { 0x11 } else { sampling };
        let blocks = (usize::from(sampling >> 4), usize::from(sampling & 15));
        let allowed = (1..=4).contains(&blocks.0) && (1..=4).contains(&blocks.1);
        allowed.then_some(Component { id, blocks, quantiser, steps: [0; 64], dc: None, ac: None })
    };
    Some(((width, height), described.iter().map(component).collect::<Option<_>>()?))
}

/// The tables that segments have defined so far, by number.
#[derive(Default)]
struct Tables {
    steps: [Option<[u16; 64]>; 4],
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
}

impl Tables {
    fn read_steps(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = segment.split_first() {
            let wide = head >> 4 != 0;
            let bytes = if wide { 128 } else { 64 };
            let values = rest.get(..bytes)?;
            let value = |i: usize| if wide { u16_at(values, 2 * i) } else { Some(u16::from(values[i])) };
            let mut steps = [0; 64];
            for (i, step) in steps.iter_mut().enumerate() {
                *step = value(i)?;
            }
            *self.steps.get_mut(usize::from(head & 15))? = Some(steps);
            segment = &rest[bytes..];
        }
        Some(())
    }

    fn read_codes(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let total = counts.iter().map(|&count| usize::from(count)).sum::<usize>();
            let symbols = rest.get(16..16 + total)?;
            let (tables, differences) = match head >> 4 {
                0 => (&mut self.dc, true),
                1 => (&mut self.ac, false),
                _ => return None,
            };
            *tables.get_mut(usize::from(head & 15))? = Some(Codes::new(counts, symbols, differences)?);
            segment = &rest[16 + total..];
        }
        Some(())
    }

    /// Gives each component its tables, as the scan's header says.
    fn hand_out(&self, scan: &[u8], components: &mut [Component]) -> Option<()> {
        let (&count, rest) = scan.split_first()?;
        let (chosen, spectrum) = rest.split_at_checked(2 * components.len())?;
        if usize::from(count) != components.len() || spectrum != [0, 63, 0] {
            return None;
        }
        for (component, &[id, tables]) in components.iter_mut().zip(chosen.as_chunks::<2>().0) {
            if component.id != id {
                return None;
            }
            component.steps = (*self.steps.get(usize::from(component.quantiser))?)?;
            component.dc = self.dc.get(usize::from(tables >> 4))?.clone();
            component.ac = self.ac.get(usize::from(tables & 15))?.clone();
        }
        Some(())
    }
}
