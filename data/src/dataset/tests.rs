//! Data sets of all layouts, written into temporary folders, and the real ones.

use super::*;
use crate::fixtures::{Folder, shared};

const NAMES: &str = "names: [person]\n";

fn relative(folder: &Folder, pairs: &[PairFiles]) -> Vec<[String; 3]> {
    let root = folder.path("").canonicalize().expect("the folder exists");
    let inner = |path: &Path| {
        let path = path.strip_prefix(&root).or_else(|_| path.strip_prefix(folder.path("")));
        path.expect("within the folder").display().to_string()
    };
    pairs.iter().map(|pair| [inner(&pair.rgb), inner(&pair.ir), inner(&pair.labels)]).collect()
}

fn train_of(folder: &Folder, yaml: &str) -> Vec<[String; 3]> {
    let set = folder.open(&format!("{NAMES}{yaml}")).expect("a good data.yaml");
    relative(folder, &set.pairs(Split::Train).expect("good pairs"))
}

fn refusal(yaml: &str) -> DataError {
    let folder = Folder::new();
    folder.touch(&["images/a.jpg"]);
    folder.open(yaml).expect_err("refused")
}

#[test]
fn folders_are_walked_and_suffixes_may_differ() {
    let folder = Folder::new();
    folder.touch(&[
        "images/train/b.jpg",
        "images/train/deep/a.JPG",
        "imagesIR/train/b.png",
        "imagesIR/train/deep/a.tif",
    ]);
    folder.touch(&["images/train/.hidden.jpg", "images/train/notes.txt", "imagesIR/train/b.txt"]);
    assert_eq!(
        train_of(&folder, "train: images/train\n"),
        [
            ["images/train/b.jpg", "imagesIR/train/b.png", "labels/train/b.txt"],
            ["images/train/deep/a.JPG", "imagesIR/train/deep/a.tif", "labels/train/deep/a.txt"],
        ]
    );
}

#[test]
fn the_folder_nearest_to_the_file_is_replaced() {
    let folder = Folder::new();
    folder.touch(&["images/set/images/seq/a.jpg", "images/set/imagesIR/seq/a.jpg"]);
    assert_eq!(
        train_of(&folder, "path: images/set\ntrain: images\n"),
        [["images/set/images/seq/a.jpg", "images/set/imagesIR/seq/a.jpg", "images/set/labels/seq/a.txt"]]
    );
}

#[test]
fn a_yaml_within_the_images_folder_works() {
    let folder = Folder::new();
    folder.touch(&["images/train/a.jpg", "imagesIR/train/a.jpg"]);
    let yaml = folder.write("images/data.yaml", format!("{NAMES}train: train\n"));
    let pairs = DataSet::open(yaml).expect("good").pairs(Split::Train).expect("good pairs");
    assert_eq!(relative(&folder, &pairs)[0][1], "imagesIR/train/a.jpg");
}

#[test]
fn a_whole_set_as_train_leaves_infrared_and_labels_out() {
    let folder = Folder::new();
    folder.touch(&["train/images/a.jpg", "train/imagesIR/a.jpg", "train/labels/a.png"]);
    assert_eq!(train_of(&folder, "train: train\n").len(), 1);
    // What exports write that mean a folder beside the YAML.
    assert_eq!(train_of(&folder, "train: ../train/images\n").len(), 1);
}

#[test]
fn text_files_list_paths_from_the_root_or_from_themselves() {
    let folder = Folder::new();
    folder.touch(&[
        "images/a.jpg",
        "imagesIR/a.jpg",
        "lists/images/b.jpg",
        "lists/imagesIR/b.png",
        "images/c.jpg",
    ]);
    folder.write("lists/train.txt", "images/a.jpg\r\n\n./images/b.jpg\nimages/a.jpg\n");
    let listed = train_of(&folder, "train: [lists/train.txt, images/c.jpg]\n");
    let pictures: Vec<&str> = listed.iter().map(|pair| pair[0].as_str()).collect();
    assert_eq!(pictures, ["images/a.jpg", "images/c.jpg", "lists/images/b.jpg"]);
    assert_eq!(listed[2][1], "lists/imagesIR/b.png");
}

#[test]
fn a_bad_line_of_a_list_is_named() {
    let folder = Folder::new();
    folder.touch(&["images/a.jpg"]);
    for (second, expected) in [("images/none.jpg", "there is no"), ("hello", "no path of a picture")] {
        let list = folder.write("train.txt", format!("images/a.jpg\n{second}\n"));
        let set = folder.open(&format!("{NAMES}train: train.txt\n")).expect("good");
        let error = set.pairs(Split::Train).expect_err("a bad list");
        assert_eq!((error.line(), error.file()), (Some(2), Some(list.as_path())), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn folders_can_have_other_names() {
    let folder = Folder::new();
    folder.touch(&["visible/train/a.jpg", "infrared/train/a.jpg"]);
    assert_eq!(
        train_of(&folder, "train: visible/train\nrgb: visible\nir: infrared\nlabels: boxes\n"),
        [["visible/train/a.jpg", "infrared/train/a.jpg", "boxes/train/a.txt"]]
    );
}

#[test]
fn infrared_may_lie_beside_with_a_suffix() {
    let folder = Folder::new();
    folder.touch(&["frames/a.jpg", "frames/a_ir.png", "frames/lone_ir.png"]);
    assert_eq!(
        train_of(&folder, "train: frames\nir_suffix: _ir\n"),
        [["frames/a.jpg", "frames/a_ir.png", "frames/a.txt"]]
    );
    let set = DataSet::open(folder.path("data.yaml")).expect("good");
    assert_eq!(set.lone_infrared(Split::Train).expect("readable"), [folder.path("frames/lone_ir.png")]);
}

#[test]
fn missing_and_lone_infrared_are_told() {
    let folder = Folder::new();
    folder.touch(&[
        "images/t/a.jpg",
        "images/t/b.jpg",
        "imagesIR/t/b.jpg",
        "imagesIR/t/b.png",
        "imagesIR/t/c.jpg",
    ]);
    folder.touch(&["imagesIR/t/deep/d.jpg"]);
    let set = folder.open(&format!("{NAMES}train: images/t\n")).expect("good");
    let pairs = relative(&folder, &set.pairs(Split::Train).expect("listed"));
    assert_eq!(pairs[0][1], "imagesIR/t/a.jpg", "where it should be");
    assert_eq!(pairs[1][1], "imagesIR/t/b.jpg", "the suffix of the RGB picture is preferred");
    let lone = set.lone_infrared(Split::Train).expect("readable");
    let expected = ["b.png", "c.jpg", "deep/d.jpg"].map(|name| folder.path("imagesIR/t").join(name));
    assert_eq!(lone, expected);
}

#[test]
fn pictures_outside_any_images_folder_are_refused_with_advice() {
    let folder = Folder::new();
    folder.touch(&["visible/a.jpg"]);
    let set = folder.open(&format!("{NAMES}train: visible\n")).expect("good");
    let error = set.pairs(Split::Train).expect_err("no images folder").to_string();
    assert!(error.contains("a.jpg") && error.contains("'images'") && error.contains("ir_suffix"), "{error}");
}

#[test]
fn names_are_a_list_or_a_map() {
    let folder = Folder::new();
    let names = |yaml: &str| folder.open(&format!("train: images\n{yaml}")).expect("good").names().to_vec();
    assert_eq!(names("nc: 2\nnames: [a, 7]\n"), ["a", "7"]);
    assert_eq!(names("names:\n  1: b\n  0: a\n"), ["a", "b"]);
    assert_eq!(names("names: {0: no}\ndownload: x\ntest:\n"), ["no"]);
}

#[test]
fn mistakes_in_the_yaml_are_named_with_their_line() {
    let cases = [
        ("train: images\nname: [a]\n", Some(2), "unknown key 'name': did you mean 'names'?"),
        ("train: images\nnames: [a]\nvalid: images\n", Some(3), "did you mean 'val'?"),
        (
            "train: images\nnames: [a]\nkpt_shape: [17, 3]\n",
            Some(3),
            "unknown key 'kpt_shape': known keys are path",
        ),
        ("train: images\n", None, "no 'names'"),
        ("train: images\nnames: []\n", Some(2), "'names' is empty"),
        (
            "train: images\nnames: {0: a, 2: b}\n",
            Some(2),
            "class '2' in 'names': 2 names are numbered 0 to 1",
        ),
        ("train: images\nnames: [a, b]\nnc: 3\n", Some(3), "'nc' is 3, 'names' has 2"),
        ("names: [a]\n", None, "neither 'train' nor 'val'"),
        ("train: images\nnames: [a]\npath: nowhere\n", Some(3), "is no folder"),
        ("train: {a: b}\nnames: [a]\n", Some(1), "'train' is neither a path nor a list"),
        ("train: images\nnames: [a]\nir: images\n", Some(3), "would both be in 'images'"),
        ("train: images\nnames: [a]\nir: some/where\n", Some(3), "name of a folder"),
        ("train: [a\nnames: {\n", Some(2), "no valid YAML"),
        ("train: images\ntrain: images\nnames: [a]\n", None, "no valid YAML"),
        ("just words\n", None, "no data.yaml"),
        ("", None, "no data.yaml"),
    ];
    for (yaml, line, expected) in cases {
        let error = refusal(yaml);
        assert!(error.to_string().contains(expected), "{yaml}: {error}");
        if line.is_some() {
            assert_eq!(error.line(), line, "{yaml}: {error}");
        }
    }
    let error = DataSet::open("no/such/data.yaml").expect_err("not there");
    assert!(error.to_string().starts_with("no/such/data.yaml: "), "{error}");
}

#[test]
fn parts_that_lead_nowhere_are_refused_at_their_line() {
    let folder = Folder::new();
    folder.touch(&["images/empty/notes.md"]);
    let set = folder.open(&format!("{NAMES}train: images/none\nval: images/empty\n")).expect("good");
    let cases = [
        (Split::Train, Some(2), "there is no"),
        (Split::Val, Some(3), "has no pictures"),
        (Split::Test, None, "no 'test'"),
    ];
    for (split, line, expected) in cases {
        let error = set.pairs(split).expect_err("nothing there");
        assert_eq!(error.line(), line);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
#[cfg(unix)]
fn links_that_lead_back_end_the_walk() {
    let folder = Folder::new();
    folder.touch(&["images/a.jpg", "imagesIR/a.jpg"]);
    std::os::unix::fs::symlink(folder.path("images"), folder.path("images/again")).expect("a link");
    assert_eq!(train_of(&folder, "train: images\n").len(), 1);
}

#[test]
fn two_folders_are_paired_by_path_and_stem() {
    let folder = Folder::new();
    folder.touch(&["rgb/x/a.jpg", "rgb/b.jpg", "ir/x/a.png", "ir/b.jpg"]);
    let pairs = pair_folders(&folder.path("rgb"), &folder.path("ir")).expect("good pairs");
    let irs: Vec<PathBuf> = pairs.into_iter().map(|pair| pair.ir).collect();
    assert_eq!(irs, [folder.path("ir/b.jpg"), folder.path("ir/x/a.png")]);
    let one = pair_folders(&folder.path("rgb/b.jpg"), &folder.path("ir/x/a.png")).expect("two files");
    assert_eq!(one.len(), 1);

    folder.touch(&["ir/c.jpg"]);
    let lone = pair_folders(&folder.path("rgb"), &folder.path("ir")).expect_err("a lone infrared picture");
    assert_eq!(lone.file(), Some(folder.path("ir/c.jpg").as_path()));
    folder.touch(&["rgb/a.jpg"]);
    let lone = pair_folders(&folder.path("rgb"), &folder.path("ir")).expect_err("a lone RGB picture");
    assert_eq!(lone.file(), Some(folder.path("rgb/a.jpg").as_path()));
    assert!(pair_folders(&folder.path("rgb"), &folder.path("ir/b.jpg")).is_err());
    assert!(pair_folders(&folder.path("rgb"), &folder.path("none")).is_err());
}

#[test]
fn the_shared_data_sets_open() {
    let Some(shared) = shared() else { return };
    let counts = |yaml: &str| {
        let set = DataSet::open(shared.join("data").join(yaml)).expect("a good data set");
        let count = |split| {
            let pairs = set.pairs(split).expect("good pairs");
            assert!(pairs.iter().all(|p| p.rgb.is_file() && p.ir.is_file() && p.labels.is_file()), "{yaml}");
            assert_eq!(set.lone_infrared(split).expect("readable"), Vec::<PathBuf>::new());
            pairs.len()
        };
        (count(Split::Train), count(Split::Val), set.classes())
    };
    assert_eq!(counts("real.yaml"), (168, 38, 3));
    assert_eq!(counts("roadscene/data.yaml"), (144, 32, 3));
    assert_eq!(counts("msrs/data.yaml"), (24, 6, 3));
    assert_eq!(counts("llvip_sample/data.yaml"), (2, 2, 1));
}

#[test]
fn a_fold_is_a_stretch_of_every_source_and_its_files_make_a_data_set() {
    let folder = Folder::new();
    let names = |source: &str, split: &str, numbers: &[usize]| -> Vec<String> {
        let one = |n| ["visible", "ir"].map(|kind| format!("{source}/{kind}/{split}/{n:03}.jpg"));
        numbers.iter().flat_map(one).collect()
    };
    // The second half of road's frames is its validation, which is a stretch of its own among the others.
    let files = [
        names("road", "train", &[0, 1, 2, 7, 8, 9]),
        names("road", "val", &[3, 4, 5, 6]),
        names("night", "train", &[0, 1, 2, 3, 4, 5, 6]),
    ]
    .concat();
    folder.touch(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let yaml = "names: [person]\nrgb: visible\nir: ir\ntrain: [road/visible/train, night/visible/train]\nval: road/visible\n";
    let set = folder.open(yaml).expect("a good data.yaml");
    let folds = set.folds(&[Split::Train, Split::Val], 5).expect("enough pairs");
    let numbers = |pairs: &[PairFiles], source: &str| -> Vec<usize> {
        let own = pairs.iter().filter(|p| p.rgb.components().any(|c| c.as_os_str() == source));
        own.map(|p| p.rgb.file_stem().unwrap().to_str().unwrap().parse().unwrap()).collect()
    };
    for (k, fold) in folds.iter().enumerate() {
        assert_eq!(numbers(&fold.test, "road"), [2 * k, 2 * k + 1], "a pair of two splits comes once");
        assert_eq!(fold.train.len() + fold.test.len(), 17);
        assert!(fold.test.iter().all(|pair| !fold.train.contains(pair)));
    }
    let night: Vec<usize> = folds.iter().flat_map(|fold| numbers(&fold.test, "night")).collect();
    assert_eq!(night, [0, 1, 2, 3, 4, 5, 6]);
    for (name, text) in set.fold_files("fold3", &folds[3]).expect("paths are text") {
        folder.write(&format!("elsewhere/{name}"), text);
    }
    let again = DataSet::open(folder.path("elsewhere/fold3.yaml")).expect("a good data.yaml");
    let sorted = |pairs: &[PairFiles]| {
        let mut pairs = pairs.to_vec();
        pairs.sort();
        pairs
    };
    assert_eq!(sorted(&again.pairs(Split::Train).unwrap()), sorted(&folds[3].train));
    assert_eq!(sorted(&again.pairs(Split::Val).unwrap()), sorted(&folds[3].test));
    assert_eq!(again.names(), set.names());
    for count in [0, 1, 11] {
        let refused = set.folds(&[Split::Train, Split::Val], count).unwrap_err().to_string();
        assert!(refused.contains("2 to 10 are possible"), "{refused}");
    }
}
