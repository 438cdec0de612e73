//! The pickle machine: what a file wants to be called is refused by name, and what it claims is bounded.

mod material;

use material::assemble::Pickled;
use yf_import::pickle::{Pickle, Value};
use yf_import::{Fault, Limits};

fn read(pickled: Pickled) -> Result<Pickle, Fault> {
    Pickle::read(&pickled.end(), &Limits::default())
}

/// The pickle is refused because it wants `callee` to be called.
fn refuses_call(pickled: Pickled, callee: &str) {
    match read(pickled) {
        Err(Fault::Call { callee: told, .. }) => assert_eq!(told, callee),
        other => panic!("{callee}: {other:?}"),
    }
}

/// The pickle is refused with these words.
fn refuses(pickled: Pickled, words: &str) {
    let told = read(pickled).expect_err(words).to_string();
    assert!(told.contains(words), "no '{words}' in {told}");
}

fn is_too_large(pickled: Pickled) {
    let told = read(pickled);
    assert!(matches!(told, Err(Fault::TooLarge { .. })), "{:?}", told.err());
}

#[test]
fn every_call_off_the_list_is_refused_by_name() {
    for (module, name) in [
        ("posix", "system"),
        ("os", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "__import__"),
        ("builtins", "getattr"),
        ("importlib", "import_module"),
        ("pickle", "loads"),
        ("functools", "partial"),
        ("operator", "attrgetter"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.hub", "load"),
        ("numpy", "load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._tensor", "_rebuild_from_type_v2_"),
        ("webbrowser", "open"),
    ] {
        refuses_call(Pickled::new().call(module, name, "ls"), &format!("{module}.{name}"));
    }
    refuses_call(Pickled::new().call("__builtin__", "eval", "1"), "builtins.eval");
}

#[test]
fn no_way_to_a_call_is_forgotten() {
    let system = || Pickled::new().global("posix", "system");
    // Out of the memo, the name made of two texts, protocol 0's instructions.
    refuses_call(system().raw(b"q\x05h\x05").text("ls").raw(b"\x85R"), "posix.system");
    refuses_call(system().raw(b"\x940h\x00").text("ls").raw(b"\x85R"), "posix.system");
    let named = Pickled::new().text("posix").text("system").raw(b"\x93");
    refuses_call(named.text("ls").raw(b"\x85R"), "posix.system");
    refuses_call(Pickled::new().raw(b"(").text("ls").raw(b"iposix\nsystem\n"), "posix.system");
    refuses_call(Pickled::new().raw(b"(").global("posix", "system").text("ls").raw(b"o"), "posix.system");
    // Inside a list, a dictionary, the state of an object, the arguments of a call that is honoured.
    refuses_call(Pickled::new().raw(b"](").call("posix", "system", "ls").raw(b"e"), "posix.system");
    refuses_call(Pickled::new().raw(b"}").text("a").call("posix", "system", "ls").raw(b"s"), "posix.system");
    let object = Pickled::new().global("a", "B").raw(b")\x81");
    refuses_call(object.call("posix", "system", "ls").raw(b"b"), "posix.system");
    let set = Pickled::new().global("builtins", "set").call("posix", "system", "ls");
    refuses_call(set.raw(b"\x85R"), "posix.system");
    // By a call that is honoured and calls.
    let by_type = || Pickled::new().global("torch._tensor", "_rebuild_from_type_v2").raw(b"(");
    let arguments = |pickled: Pickled| pickled.global("torch", "Tensor").text("ls").raw(b"\x85}tR");
    refuses_call(arguments(by_type().global("posix", "system")), "posix.system");
    let itself = "torch._tensor._rebuild_from_type_v2";
    refuses_call(arguments(by_type().global("torch._tensor", "_rebuild_from_type_v2")), itself);
    // A chain of attributes; an object that is called.
    let chain = Pickled::new().global("builtins", "getattr").global("os", "path").text("os").raw(b"\x86R");
    refuses_call(chain, "builtins.getattr");
    let called = Pickled::new().global("functools", "partial").raw(b")\x81)R");
    refuses_call(called, "an object of the class functools.partial");
    refuses(Pickled::new().text("posix.system").raw(b")R"), "a text is to be called");
}

#[test]
fn objects_of_any_class_are_inert() {
    let pickle = read(Pickled::new().global("posix", "system").text("ls").raw(b"\x85\x81")).unwrap();
    assert_eq!(pickle.class(pickle.root()).unwrap().to_string(), "posix.system");
    let with_state = Pickled::new().global("a", "B").raw(b")\x81}").text("key").text("value").raw(b"sb");
    let pickle = read(with_state).unwrap();
    let value = pickle.attribute(pickle.root(), "key").unwrap();
    assert_eq!(pickle.text(value), Some("value"));
    let reconstructed = Pickled::new().global("copy_reg", "_reconstructor").raw(b"(");
    let reconstructed = reconstructed.global("subprocess", "Popen").global("__builtin__", "object");
    let pickle = read(reconstructed.raw(b"NtR")).unwrap();
    assert_eq!(pickle.class(pickle.root()).unwrap().to_string(), "subprocess.Popen");
}

#[test]
fn attributes_are_set_on_objects_only() {
    refuses(Pickled::new().global("os", "environ").raw(b"}b"), "attributes are set on a name");
    refuses(Pickled::new().raw(b"]}b"), "attributes are set on a list");
    refuses(Pickled::new().int(1).raw(b"}b"), "attributes are set on an integer");
    refuses(Pickled::new().int(1).text("a").text("b").raw(b"s"), "a key is set in an integer");
    refuses(Pickled::new().text("x").raw(b"Na"), "something is appended to a text");
}

#[test]
fn instructions_that_no_checkpoint_needs_are_refused_by_name() {
    for (bytes, name) in [
        (&b"\x82\x01"[..], "EXT1"),
        (b"\x83\x01\x00", "EXT2"),
        (b"\x84\x01\x00\x00\x00", "EXT4"),
        (b"\x97", "NEXT_BUFFER"),
        (b"\x98", "READONLY_BUFFER"),
        (b"P1\n", "PERSID"),
        (b"I1\n", "INT is an instruction of protocols 0 and 1"),
        (b"S'a'\n", "STRING"),
        (b"g1\n", "GET"),
        (b"\x80\x04", "a second protocol"),
        (b"\xff", "0xff is no instruction"),
    ] {
        refuses(Pickled::new().raw(bytes), name);
    }
    for (bytes, words) in
        [(&b"\x80\x01N."[..], "protocol 1"), (b"\x80\x06N.", "protocol 6"), (b"N.", "start")]
    {
        let told = Pickle::read(bytes, &Limits::default()).unwrap_err().to_string();
        assert!(told.contains(words) && told.contains("2 to 5"), "{told}");
    }
}

#[test]
fn lengths_are_checked_against_what_is_left() {
    for length in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\xff",
        b"B\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"\x8a\xff",
    ] {
        refuses(Pickled::new().raw(length), "are left");
    }
    refuses(Pickled::new().raw(b"\x95\xff\xff\xff\xff\xff\xff\xff\xff"), "a frame of");
    refuses(
        Pickled::new().raw(&[b"c".as_slice(), &[b'a'; 5000], b"\nb\n"].concat()),
        "a line without an end",
    );
    let long = "a".repeat(5000);
    refuses(Pickled::new().text(&long).text("b").raw(b"\x93"), "the name of a class of more than 1024 bytes");
}

#[test]
fn the_stack_is_never_read_below_its_marks() {
    for bytes in [
        &b"0"[..],
        b"1",
        b"2",
        b"t",
        b"\x86",
        b"N\x86",
        b"N(\x85",
        b"R",
        b"NR",
        b"e",
        b"N(Na",
        b"s",
        b"b",
        b"Q",
        b"o",
        b"(o",
        b"l",
        b"q\0",
        b"h\0",
        b"\x94",
        b"\x93",
        b"\x81",
        b"\x92",
        b"\x90",
        b"\x91",
        b"(N",
        b"(",
    ] {
        let told = read(Pickled::new().raw(bytes));
        let fine = matches!((bytes, &told), (b"(N", Ok(_)));
        assert!(fine || matches!(told, Err(Fault::Pickle { .. })), "{bytes:?}: {told:?}");
    }
}

#[test]
fn tensors_lie_within_their_storages() {
    let of = |offset, shape: &[i64], strides: &[i64]| Pickled::new().tensor(("0", 6), offset, shape, strides);
    for (offset, shape, strides) in
        [(0, &[2, 3][..], &[3, 1][..]), (5, &[], &[]), (0, &[6, 9], &[1, 0]), (6, &[0], &[1])]
    {
        let pickle = read(of(offset, shape, strides)).unwrap();
        assert!(matches!(pickle.value(pickle.root()), Value::Tensor(_)), "{shape:?}");
    }
    for (offset, shape, strides, words) in [
        (1, &[2, 3][..], &[3, 1][..], "goes beyond its storage of 6 elements"),
        (6, &[], &[], "goes beyond"),
        (7, &[0], &[1], "goes beyond"),
        (0, &[7], &[1], "goes beyond"),
        (0, &[2], &[-1], "stride -1"),
        (-1, &[2], &[1], "stride -1"),
        (0, &[-2], &[1], "stride -2"),
        (0, &[i64::MAX, i64::MAX], &[i64::MAX, i64::MAX], "goes beyond"),
        (i64::MAX, &[2], &[i64::MAX], "goes beyond"),
        (0, &[2, 3], &[1], "with strides"),
        (0, &[1; 9], &[1; 9], "9 dimensions"),
    ] {
        refuses(of(offset, shape, strides), words);
    }
    refuses(Pickled::new().storage("FloatStorage", "0", -1), "a storage of -1 elements");
    refuses(Pickled::new().storage("QInt8Storage", "0", 1), "the unknown type torch.QInt8Storage");
    refuses(Pickled::new().text("elsewhere").raw(b"Q"), "none of torch's");
    refuses(Pickled::new().global("torch._utils", "_rebuild_parameter").raw(b"N\x85R"), "without a tensor");
    refuses(Pickled::new().global("torch._utils", "_rebuild_tensor_v2").raw(b"]R"), "a tuple is wanted");
}

#[test]
fn deep_and_circular_values_are_read_and_dropped() {
    const DEEP: usize = 999_000;
    let lists = Pickled::new().raw(&vec![b']'; DEEP]).raw(&vec![b'a'; DEEP - 1]);
    drop(read(lists).unwrap());
    drop(read(Pickled::new().raw(b")").raw(&vec![0x85; DEEP])).unwrap());
    drop(read(Pickled::new().raw(b"N").raw(&b"0]q\x00h\x00a".repeat(1000))).unwrap());
    let own = read(Pickled::new().raw(b"}q\x00").text("me").raw(b"h\x00s")).unwrap();
    assert_eq!(own.entry(own.root(), "me"), Some(own.root()));
}

#[test]
fn bombs_are_stopped() {
    is_too_large(Pickled::new().raw(&vec![b']'; 3_000_000]));
    is_too_large(Pickled::new().raw(b"N").raw(&vec![b'2'; 3_000_000]));
    is_too_large(Pickled::new().raw(&vec![b'('; 3_000_000]));
    is_too_large(Pickled::new().raw(b"N").raw(&vec![0x94; 3_000_000]));
    // A list of a thousand that a call copies, again and again.
    let list = Pickled::new().raw(b"](").raw(&vec![b'N'; 1000]).raw(b"eq\x00");
    let copies = b"cbuiltins\nlist\nh\x00\x85R".repeat(3000);
    is_too_large(list.raw(&copies));
    let pairs = Pickled::new().raw(b"}(").raw(&vec![b'N'; 2000]).raw(b"uq\x00");
    is_too_large(pairs.raw(&b"ccollections\nOrderedDict\nh\x00\x85R".repeat(3000)));
    // Pairs of pairs of pairs: small here, for nothing is ever unfolded.
    read(Pickled::new().raw(b"N").raw(&b"2\x86".repeat(100_000))).unwrap();
}
