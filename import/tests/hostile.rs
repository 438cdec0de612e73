//! Whole files made to deceive: archives, storages and module trees that claim more than there is.

mod material;

use std::io::Cursor;
use std::path::Path;

use material::assemble::{Pickled, checkpoint, zip};
use yf_import::{Checkpoint, Fault, Limits, read_from};

fn read(file: &[u8]) -> Result<Checkpoint, Fault> {
    read_from(Cursor::new(file), Path::new("test.pt"), &Limits::default())
}

fn refuses(file: &[u8], words: &str) {
    let told = read(file).expect_err(words).to_string();
    assert!(told.contains(words), "no '{words}' in {told}");
}

/// `{"model.0.weight": tensor}` over storage 0.
fn one_tensor(elements: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let state = Pickled::new().raw(b"}").text("model.0.weight");
    state.tensor(("0", elements), 0, shape, strides).raw(b"s").end()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

const MEMBER: &str = "archive/data.pkl";

#[test]
fn a_state_dictionary_is_read_through_its_strides() {
    let transposed = one_tensor(6, &[3, 2], &[1, 3]);
    let read = read(&checkpoint(&transposed, &[("0", &floats(&[0., 1., 2., 3., 4., 5.]))])).unwrap();
    let array = &read.tensors["model.0.weight"];
    assert_eq!((&*array.shape, &*array.data), (&[3, 2][..], &[0., 3., 1., 4., 2., 5.][..]));
}

#[test]
fn names_lose_what_wraps_the_network() {
    for name in
        ["module.model.0.weight", "model.model.0.weight", "0.weight", "module._orig_mod.model.0.weight"]
    {
        let state = Pickled::new().raw(b"}").text(name).tensor(("0", 1), 0, &[1], &[1]).raw(b"s").end();
        let read = read(&checkpoint(&state, &[("0", &floats(&[7.]))])).unwrap();
        assert_eq!(read.tensors["model.0.weight"].data, [7.], "{name}");
    }
}

#[test]
fn storages_hold_what_is_declared() {
    let pickle = one_tensor(4, &[4], &[1]);
    refuses(&checkpoint(&pickle, &[]), "tensor model.0.weight: its storage 0 is not in the file");
    refuses(&checkpoint(&pickle, &[("0", &[0; 15])]), "tensor model.0.weight: its storage 0 has 15 bytes");
    refuses(&checkpoint(&pickle, &[("0", &[0; 17])]), "has 17 bytes in the file, and 4 elements of 4 bytes");
    let huge = one_tensor(i64::MAX, &[4], &[1]);
    refuses(&checkpoint(&huge, &[("0", &[0; 16])]), "its storage 0 has 16 bytes");
    // One element, spread over a shape of more than the limit.
    let spread = one_tensor(1, &[1 << 20, 1 << 20], &[0, 0]);
    refuses(&checkpoint(&spread, &[("0", &[0; 4])]), "bytes of tensors");
    for (value, word) in [(f32::NAN, "element 1 is NaN"), (f32::INFINITY, "element 1 is inf")] {
        let file = checkpoint(&one_tensor(2, &[2], &[1]), &[("0", &floats(&[0., value]))]);
        refuses(&file, &format!("tensor model.0.weight: {word}"));
    }
}

#[test]
fn damaged_bytes_are_told_by_their_checksum() {
    let content = floats(&[0.25; 64]);
    let mut file = checkpoint(&one_tensor(64, &[64], &[1]), &[("0", &content)]);
    let at = file.windows(content.len()).position(|window| window == content).unwrap();
    file[at + 100] ^= 1;
    refuses(&file, "tensor model.0.weight: member archive/data/0");
}

#[test]
fn a_file_that_is_cut_off_is_told_wherever_it_ends() {
    let file = checkpoint(&one_tensor(2, &[2], &[1]), &[("0", &floats(&[1., 2.]))]);
    assert!(read(&file).is_ok());
    for end in 0..file.len() {
        assert!(read(&file[..end]).is_err(), "{end} of {} bytes", file.len());
    }
}

#[test]
fn members_that_share_bytes_are_refused() {
    // The second member's entry in the directory is made to point at the first one's header.
    let pickle = one_tensor(2, &[2], &[1]);
    let mut file = checkpoint(&pickle, &[("0", &floats(&[1., 2.])), ("1", &floats(&[3., 4.]))]);
    let entries: Vec<usize> =
        file.windows(4).enumerate().filter(|(_, w)| w == b"PK\x01\x02").map(|(at, _)| at).collect();
    let (first, second) = (entries[1] + 42, entries[2] + 42);
    file.copy_within(first..first + 4, second);
    refuses(&file, "overlap");
}

#[test]
fn archives_that_torch_does_not_write_are_refused() {
    refuses(&zip(&[("a/b.txt", b"x")]), "without data.pkl");
    refuses(&zip(&[("a/data.pkl", b"x"), ("b/data.pkl", b"x")]), "more than one data.pkl");
    refuses(&zip(&[(MEMBER, b"x"), (MEMBER, b"y")]), "two members are called archive/data.pkl");
    refuses(&zip(&[("a/b/c/data.pkl", b"x")]), "without data.pkl");
    refuses(&zip(&[(MEMBER, b"x"), ("archive/byteorder", b"big")]), "big-endian");
    refuses(&zip(&[(MEMBER, b"x"), ("archive/constants.pkl", b"x")]), "TorchScript");
    refuses(&zip(&[(MEMBER, b"")]), "the pickle cannot be read, at byte 0");
    let mut compressed = zip(&[(MEMBER, b"xxxx")]);
    let entry = compressed.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    compressed[entry + 10] = 8;
    refuses(&compressed, "is compressed; torch stores members as they are");
    let limits = Limits { max_members: 2, ..Limits::default() };
    let many = zip(&[("a", b""), ("b", b""), ("c", b"")]);
    let told = read_from(Cursor::new(&many), Path::new("x"), &limits).unwrap_err();
    assert!(matches!(told, Fault::TooLarge { limit: 2, .. }), "{told}");
    let limits = Limits { max_pickle_bytes: 3, ..Limits::default() };
    let told = read_from(Cursor::new(&zip(&[(MEMBER, b"xxxx")])), Path::new("x"), &limits).unwrap_err();
    assert!(matches!(told, Fault::TooLarge { limit: 3, .. }), "{told}");
}

#[test]
fn other_files_are_told_what_they_are() {
    refuses(b"", "empty");
    refuses(b"hello, world, this is text", "neither");
    refuses(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "before version 1.6");
    refuses(b"\x08\0\0\0\0\0\0\0{}      ", "safetensors file without weights");
    refuses(b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "damaged safetensors");
    refuses(&checkpoint(&Pickled::new().raw(b"}").end(), &[]), "no network is in it: it holds a dictionary");
    refuses(&checkpoint(&Pickled::new().int(5).end(), &[]), "it holds an integer");
    let record = Pickled::new().global("a", "B").raw(b")\x81").end();
    refuses(&checkpoint(&record, &[]), "an object of the class a.B");
    refuses(&checkpoint(&Pickled::new().call("posix", "system", "ls").end(), &[]), "posix.system");
}

/// A module under the memo's number 0 whose children are what `children` puts into a dictionary.
fn module(children: impl FnOnce(Pickled) -> Pickled) -> Vec<u8> {
    let module = Pickled::new().global("a", "Net").raw(b")\x81q\x00}").text("_modules").raw(b"}");
    children(module).raw(b"ssb").end()
}

#[test]
fn a_module_within_itself_is_refused() {
    let own = module(|pickled| pickled.text("0").raw(b"h\x00"));
    refuses(&checkpoint(&own, &[]), "modules within each other");
}

#[test]
fn modules_that_double_at_every_level_are_refused() {
    // Each of 60 modules has the one below as both of its children: 2^60 paths.
    let mut tree = Pickled::new().global("a", "Net").raw(b")\x81q\x00");
    for _ in 0..60 {
        let parent = tree.global("a", "Net").raw(b")\x81}").text("_modules").raw(b"}(");
        tree = parent.text("0").raw(b"h\x00").text("1").raw(b"h\x00usbq\x00");
    }
    refuses(&checkpoint(&tree.end(), &[]), "parts of the network");
}

#[test]
fn a_name_that_grows_without_end_is_refused() {
    let long = "n".repeat(5000);
    let state = Pickled::new().raw(b"}").text(&long).tensor(("0", 1), 0, &[1], &[1]).raw(b"s").end();
    refuses(&checkpoint(&state, &[("0", &[0; 4])]), "bytes in the name of a tensor");
}
