//! Random and damaged files: never a panic, and never more memory than the limits allow.
//!
//! The allocator of this program counts. [`open`] is what the fuzz targets run as well.

mod material;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Cursor;
use std::path::Path;

use material::assemble::{Pickled, checkpoint};
use proptest::prelude::*;
use yf_import::pickle::Pickle;
use yf_import::{Limits, read_from};

/// Counts what this thread holds and held at most.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + layout.size());
        MOST.set(MOST.get().max(HELD.get()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.set(HELD.get().saturating_sub(layout.size()));
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Small, so that a file of a test can reach them.
const LIMITS: Limits = Limits {
    max_members: 100,
    max_pickle_bytes: 1 << 20,
    max_values: 10_000,
    max_tensor_bytes: 1 << 20,
    max_depth: 16,
};

/// What reading may hold beside the file: values and their entries (with room to grow), names, tensors twice, buffers.
const MOST_BYTES: usize = 8 << 20;

/// Bytes that `work` holds at most.
fn most_held(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    work();
    MOST.get() - before
}

/// Reads bytes as a whole file, and as the pickle of a checkpoint with one small storage.
fn open(bytes: &[u8]) {
    let read = |file: &[u8]| read_from(Cursor::new(file), Path::new("fuzzed"), &LIMITS);
    let _ = read(bytes).map(|found| found.tensors.len());
    if bytes.starts_with(&[0x80]) {
        let _ = read(&checkpoint(bytes, &[("0", &[0; 64])])).map(|found| found.tensors.len());
    }
}

fn is_bounded(bytes: &[u8]) {
    let held = most_held(|| open(bytes));
    assert!(held <= MOST_BYTES + 4 * bytes.len(), "{held} bytes for {} bytes", bytes.len());
}

/// A pickle with a tensor, calls, an object, memory and marks.
fn sample() -> Vec<u8> {
    let state = Pickled::new().raw(b"}q\x00(").text("model.0.weight").tensor(("0", 16), 1, &[3, 5], &[5, 1]);
    let state = state.text("a").call("torch", "device", "cpu").text("set").global("__builtin__", "set");
    let state = state.raw(b"](K\x01K\x02e\x85Rq\x01").text("object").global("a", "B").raw(b")\x81}");
    state.text("x").raw(b"h\x01sbq\x02").text("own").raw(b"h\x00u").end()
}

#[test]
fn the_sample_is_read() {
    let read = read_from(Cursor::new(checkpoint(&sample(), &[("0", &[0; 64])])), Path::new("x"), &LIMITS);
    assert_eq!(read.unwrap().tensors["model.0.weight"].shape, [3, 5]);
}

#[test]
fn a_pickle_that_is_cut_off_anywhere_is_an_error() {
    let sample = sample();
    for end in 0..sample.len() {
        assert!(Pickle::read(&sample[..end], &LIMITS).is_err(), "{end} of {} bytes", sample.len());
        is_bounded(&sample[..end]);
    }
}

#[test]
fn every_instruction_at_every_place_is_taken_or_refused() {
    let sample = sample();
    for at in 0..sample.len() {
        for byte in 0..=255 {
            let mut damaged = sample.clone();
            damaged[at] = byte;
            let _ = Pickle::read(&damaged, &LIMITS);
        }
    }
}

#[test]
fn real_pickles_are_cut_off_and_damaged() {
    let Some(shared) = material::shared() else { return };
    let file = std::fs::read(shared.join("fixtures/networks/early-n.pt")).unwrap();
    let at = file.windows(2).position(|window| window == b"\x80\x02").unwrap();
    let pickle = &file[at..at + 128_238];
    assert!(Pickle::read(pickle, &Limits::default()).is_ok());
    for end in (0..pickle.len()).step_by(997) {
        assert!(Pickle::read(&pickle[..end], &Limits::default()).is_err());
    }
    proptest!(ProptestConfig::with_cases(200), |(changes in prop::collection::vec((0..pickle.len(), any::<u8>()), 1..8))| {
        let mut damaged = pickle.to_vec();
        for (at, byte) in changes {
            damaged[at] = byte;
        }
        is_bounded(&damaged);
        let held = most_held(|| drop(Pickle::read(&damaged, &Limits::default())));
        prop_assert!(held <= 64 << 20, "{held}");
    });
}

/// Instructions and what goes with them, so that random programs get somewhere.
fn instructions() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        &b"("[..],
        b"0",
        b"1",
        b"2",
        b"N",
        b"R",
        b"a",
        b"b",
        b"d",
        b"}",
        b"e",
        b"]",
        b"l",
        b"o",
        b"s",
        b"t",
        b")",
        b"u",
        b"Q",
        b"\x81",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x88",
        b"\x89",
        b"\x8f",
        b"\x90",
        b"\x91",
        b"\x92",
        b"\x93",
        b"\x94",
        b"K\x01",
        b"K\x00",
        b"M\x00\x01",
        b"J\xff\xff\xff\xff",
        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"h\x00",
        b"h\x01",
        b"h\x02",
        b"q\x00",
        b"q\x01",
        b"q\x02",
        b"\x8c\x01a",
        b"\x8c\x08_modules",
        b"\x8c\x0b_parameters",
        b"\x8c\x07storage",
        b"ca\nB\n",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nHalfStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
        b"cbuiltins\nlist\n",
        b"cbuiltins\nset\n",
        b"ccopyreg\n_reconstructor\n",
        b"ctorch._tensor\n_rebuild_from_type_v2\n",
        b"ctorch\nSize\n",
        b"cposix\nsystem\n",
    ]);
    let storage = Just(Pickled::new().storage("FloatStorage", "0", 16).end()[2..].to_vec());
    let storage = storage.prop_map(|bytes| bytes[..bytes.len() - 1].to_vec());
    let tensor = (0..20i64, 0..20i64, 0..20i64).prop_map(|(offset, size, stride)| {
        let bytes = Pickled::new().tensor(("0", 16), offset, &[size], &[stride]).end();
        bytes[2..bytes.len() - 1].to_vec()
    });
    prop_oneof![8 => fixed.prop_map(<[u8]>::to_vec), 1 => storage, 1 => tensor]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        is_bounded(&bytes);
        is_bounded(&[&[0x80, 4], &*bytes].concat());
        is_bounded(&[b"PK\x03\x04", &*bytes].concat());
    }

    #[test]
    fn random_programs_are_taken_or_refused(program in prop::collection::vec(instructions(), 0..200)) {
        is_bounded(&[&[0x80, 2], &*program.concat(), b"."].concat());
    }

    #[test]
    fn damaged_archives_are_taken_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut file = checkpoint(&sample(), &[("0", &[0; 64]), ("1", &[1; 8])]);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        is_bounded(&file);
    }
}

#[test]
fn what_a_directory_claims_takes_no_memory() {
    // The counts and sizes of the directory's end, and of an entry, are replaced by the largest.
    let file = checkpoint(&sample(), &[("0", &[0; 64])]);
    for signature in [b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"] {
        let start = file.windows(4).position(|window| window == signature).unwrap();
        for at in start + 4..(start + 46).min(file.len()) {
            for width in [1, 2, 4, 8] {
                let mut damaged = file.clone();
                damaged[at..(at + width).min(file.len())].fill(0xff);
                is_bounded(&damaged);
            }
        }
    }
}
