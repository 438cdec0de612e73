//! Small trees in the published layouts become data sets that `check` has nothing against.

use super::*;
use crate::check;
use crate::dataset::DataSet;
use crate::decode::Limits;
use crate::fixtures::Folder;
use crate::labels;

const SIZE: (u32, u32) = (64, 48);

fn voc(objects: &[(&str, [f64; 4])]) -> String {
    let object = |(name, [x1, y1, x2, y2]): &(&str, [f64; 4])| {
        format!(
            "  <object>\n    <name>{name}</name>\n    <bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax>\
             <ymax>{y2}</ymax></bndbox>\n  </object>\n"
        )
    };
    let objects: String = objects.iter().map(object).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<annotation>\n  <size><width>64</width><height>48</height><depth>3</depth></size>\n\
         {objects}</annotation>\n"
    )
}

/// A pair of pictures; no two of a test are the same.
fn pair(source: &Folder, rgb: &str, ir: &str, seed: u8) {
    source.rgb(rgb, SIZE, seed);
    source.grey(ir, SIZE, seed);
}

fn read(source: &Folder, layout: Layout) -> Result<Conversion, DataError> {
    Conversion::read(&source.path(""), layout, &|_, _| {})
}

/// Converts what must be without problems, checks the result, and returns its summary and folder.
fn convert(source: &Folder, layout: Layout, copy: bool) -> (Summary, Folder) {
    let conversion = read(source, layout).unwrap();
    assert!(conversion.problems().is_empty(), "{:?}", conversion.problems());
    let out = Folder::new();
    let yaml = conversion.write(&out.path("set"), copy, |_| {}).unwrap();
    let set = DataSet::open(yaml).unwrap();
    assert_eq!(set.names(), layout.classes());
    let report = check::check(&set, &Limits::default(), &|_, _| {});
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let summary = conversion.summary();
    for (part, name) in summary.parts.iter().zip(["train", "val"]) {
        let checked = &report.summary.splits[name];
        assert_eq!(
            (part.pairs, part.boxes, part.background),
            (checked.pairs, checked.boxes, checked.background)
        );
    }
    (summary, out)
}

fn told(source: &Folder, layout: Layout) -> Vec<String> {
    read(source, layout).unwrap().problems().iter().map(ToString::to_string).collect()
}

fn llvip() -> Folder {
    let source = Folder::new();
    for (index, (part, stem)) in
        [("train", "010001"), ("train", "010002"), ("test", "190001")].iter().enumerate()
    {
        let [rgb, ir] = ["visible", "infrared"].map(|kind| format!("{kind}/{part}/{stem}.jpg"));
        pair(&source, &rgb, &ir, index as u8);
        let person = ("person", [16.0, 12.0, 32.0, 36.0]);
        source.write(&format!("Annotations/{stem}.xml"), voc(&[person]));
    }
    source
}

#[test]
fn llvip_keeps_its_parts() {
    let source = llvip();
    source.write("Annotations/010002.xml", voc(&[]));
    let (summary, out) = convert(&source, Layout::Llvip, false);
    assert_eq!(summary.parts[0], Part { pairs: 2, boxes: 1, background: 1 });
    assert_eq!(summary.parts[1], Part { pairs: 1, boxes: 1, background: 0 });
    let text = fs::read_to_string(out.path("set/labels/val/190001.txt")).unwrap();
    assert_eq!(text, "0 0.375000 0.500000 0.250000 0.500000\n");
    let link = fs::read_link(out.path("set/imagesIR/train/010001.jpg")).unwrap();
    assert_eq!(link, source.path("infrared/train/010001.jpg").canonicalize().unwrap());
    let yaml = fs::read_to_string(out.path("set/data.yaml")).unwrap();
    assert!(yaml.starts_with("# LLVIP, by yf data convert; val is the published test part\n"), "{yaml}");
}

#[test]
fn copies_do_not_need_the_published_folder() {
    let source = llvip();
    let (_, out) = convert(&source, Layout::Llvip, true);
    drop(source);
    let copied = out.path("set/images/train/010001.jpg");
    assert!(fs::symlink_metadata(&copied).unwrap().is_file() && fs::metadata(&copied).unwrap().len() > 0);
}

/// `set00` is to train on, `set06` to test on: frames 0 to 39 of one video each.
fn kaist() -> Folder {
    let source = Folder::new();
    for (set, frame) in [("set00", 0), ("set00", 1), ("set00", 3), ("set06", 1), ("set06", 19)] {
        let [rgb, ir] = ["visible", "lwir"].map(|kind| format!("images/{set}/V000/{kind}/I{frame:05}.jpg"));
        pair(&source, &rgb, &ir, frame as u8 ^ set.as_bytes()[4]);
        let lines = "% bbGt version=3\nperson 16 12 16 24 0 0 0 0 0 0 0\nperson? 1 1 9 9 0 0 0 0 0 0 0\n\
                     people 40 10 20 30 2 40 10 10 10 0 0\nperson 50 10 10 30 1 0 0 0 0 1 0\n";
        source.write(&format!("annotations/{set}/V000/I{frame:05}.txt"), lines);
    }
    source
}

#[test]
fn kaist_is_sampled_and_only_persons_are_kept() {
    let source = kaist();
    let (summary, out) = convert(&source, Layout::Kaist(Sampling::default()), false);
    assert_eq!(summary.parts.map(|part| (part.pairs, part.boxes)), [(2, 2), (1, 1)]);
    let left_out: Vec<_> = summary.left_out.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(left_out, [("people", 3), ("person (to be ignored)", 3), ("person?", 3)]);
    let text = fs::read_to_string(out.path("set/labels/val/set06_V000_I00019.txt")).unwrap();
    assert_eq!(text, "0 0.375000 0.500000 0.250000 0.500000\n");
    for name in ["set00_V000_I00001", "set00_V000_I00003"] {
        assert!(out.path(&format!("set/images/train/{name}.jpg")).exists(), "{name}");
    }
    let every = Sampling { train_every: 1, test_every: 1 };
    assert_eq!(convert(&source, Layout::Kaist(every), false).0.parts.map(|part| part.pairs), [3, 2]);
}

#[test]
fn kaists_corrected_annotations_come_first() {
    let source = kaist();
    let xml = "<annotation><object><name>person</name><bndbox><x>0</x><y>0</y><w>32</w><h>48</h></bndbox></object>\
               </annotation>";
    for frame in ["I00001", "I00003"] {
        source.write(&format!("annotations-xml-new-sanitized/set00/V000/{frame}.xml"), xml);
    }
    let (_, out) = convert(&source, Layout::Kaist(Sampling::default()), false);
    let text = fs::read_to_string(out.path("set/labels/train/set00_V000_I00001.txt")).unwrap();
    assert_eq!(text, "0 0.250000 0.500000 0.500000 1.000000\n");
}

fn flir() -> Folder {
    let source = Folder::new();
    for (seed, stem) in ["FLIR_00002", "FLIR_08864"].iter().enumerate() {
        let pictures = ["RGB.jpg", "PreviewData.jpeg"].map(|kind| format!("align/JPEGImages/{stem}_{kind}"));
        pair(&source, &pictures[0], &pictures[1], seed as u8);
        let objects = [
            ("car", [0.0, 0.0, 32.0, 24.0]),
            ("dog", [1.0, 1.0, 5.0, 5.0]),
            ("bicycle", [8.0, 8.0, 70.0, 20.0]),
        ];
        source.write(&format!("align/Annotations/{stem}_PreviewData.xml"), voc(&objects));
    }
    source.write("align/align_train.txt", "FLIR_00002_PreviewData\n");
    source.write("align/align_validation.txt", "FLIR_08864\n\n");
    source
}

#[test]
fn flir_follows_its_lists() {
    let source = flir();
    let (summary, out) = convert(&source, Layout::Flir, false);
    assert_eq!(summary.boxes_by_class, [("person", 0), ("car", 2), ("bicycle", 2)]);
    assert_eq!((summary.left_out["dog"], summary.clipped), (2, 2));
    assert!(out.path("set/imagesIR/train/FLIR_00002.jpeg").exists());
    let text = fs::read_to_string(out.path("set/labels/val/FLIR_08864.txt")).unwrap();
    assert_eq!(text.lines().collect::<Vec<_>>()[1], "2 0.562500 0.291667 0.875000 0.250000");
    source.write("align/align_train.txt", "FLIR_00002\nFLIR_00002_PreviewData\nFLIR_77777\n");
    let told = told(&source, Layout::Flir);
    assert!(told[0].contains("align_train.txt:2: FLIR_00002 is listed a second time"), "{told:?}");
    assert!(told[1].contains("align_train.txt:3: no picture FLIR_77777_RGB"), "{told:?}");
}

#[test]
fn m3fd_is_split_into_two_parts() {
    for names in [["Vis", "Ir", "Annotation"], ["vi", "ir", "Annotations"]] {
        let source = Folder::new();
        for index in 0..10 {
            let [rgb, ir] = [0, 1].map(|kind| format!("{}/{index:05}.png", names[kind]));
            pair(&source, &rgb, &ir, index);
            let objects = [("Lamp", [0.0, 0.0, 6.0, 6.0]), ("People", [6.0, 6.0, 12.0, 30.0])];
            source.write(&format!("{}/{index:05}.xml", names[2]), voc(&objects));
        }
        let (summary, _) = convert(&source, Layout::M3fd(Holdout::default()), false);
        assert_eq!(summary.parts.map(|part| part.pairs), [8, 2]);
        assert_eq!((summary.boxes_by_class[0], summary.boxes_by_class[3]), (("People", 10), ("Lamp", 10)));
    }
}

#[test]
fn what_is_no_annotation_is_named_with_file_and_line() {
    let source = llvip();
    let broken = [("person", [9.0, 9.0, 9.0, 20.0]), ("person", [70.0, 9.0, 80.0, 20.0])];
    source.write("Annotations/010001.xml", voc(&broken));
    source.write("Annotations/010002.xml", voc(&[]).replace("</annotation>", ""));
    fs::remove_file(source.path("Annotations/190001.xml")).unwrap();
    pair(&source, "visible/test/190002.jpg", "infrared/test/190003.jpg", 9);
    let told = told(&source, Layout::Llvip);
    for (said, words) in told.iter().zip([
        ["190002.jpg", "no infrared picture"],
        ["190003.jpg", "no RGB picture"],
        ["010001.xml:4", "no area"],
        ["010001.xml:8", "outside the picture of 64x48"],
        ["010002.xml:", "no XML"],
        ["190001.xml:1", "is not there"],
    ]) {
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    }
    assert_eq!(told.len(), 6, "{told:?}");

    let source = kaist();
    source.write("annotations/set00/V000/I00001.txt", "% bbGt version=3\nperson 1 2 three 4\nperson 1 2\n");
    let told = super::tests::told(&source, Layout::Kaist(Sampling::default()));
    assert!(told[0].contains("I00001.txt:2: 'three' is not a number"), "{told:?}");
    assert!(told[1].contains("I00001.txt:3: a line is"), "{told:?}");
}

#[test]
fn bad_pairs_are_left_out_of_what_is_written() {
    let source = llvip();
    source.write("Annotations/010001.xml", "");
    let conversion = read(&source, Layout::Llvip).unwrap();
    assert_eq!((conversion.problems().len(), conversion.summary().parts[0].pairs), (1, 1));
    let out = Folder::new();
    conversion.write(&out.path("set"), false, |_| {}).unwrap();
    assert!(!out.path("set/images/train/010001.jpg").exists());
    assert_eq!(labels::read(&out.path("set/labels/train/010002.txt"), 1).unwrap().len(), 1);
}

#[test]
fn other_folders_are_refused_and_nothing_is_overwritten() {
    let empty = Folder::new();
    empty.write("readme.txt", "");
    let layouts =
        [Layout::Llvip, Layout::Kaist(Sampling::default()), Layout::Flir, Layout::M3fd(Holdout::default())];
    for layout in layouts {
        let error = read(&empty, layout).unwrap_err();
        assert!(matches!(error, DataError::Layout { .. }), "{layout:?}: {error}");
    }
    let source = llvip();
    for stem in ["010001", "010002", "190001"] {
        source.write(&format!("Annotations/{stem}.xml"), voc(&[("cat", [1.0, 1.0, 9.0, 9.0])]));
    }
    assert!(read(&source, Layout::Llvip).unwrap_err().to_string().contains("a box of person"));
    let broken = llvip();
    for stem in ["010001", "010002", "190001"] {
        broken.write(&format!("Annotations/{stem}.xml"), "");
    }
    let out = Folder::new();
    let error = read(&broken, Layout::Llvip).unwrap().write(&out.path("set"), false, |_| {}).unwrap_err();
    assert!(error.to_string().contains("no pair is left"), "{error}");
    out.write("set/mine.txt", "");
    let error = read(&llvip(), Layout::Llvip).unwrap().write(&out.path("set"), false, |_| {}).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
}
