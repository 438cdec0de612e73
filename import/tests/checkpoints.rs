//! Real files: the reference's checkpoints, a published one of another architecture, plain safetensors.

mod material;

use yf_import::{Checkpoint, Fault, ImportError, Limits, NameSource, identify, identify_as, read, weights};
use yf_models::{Config, Network};

/// Fusion, its tensors without counters, and its parameters for one class.
const NETWORKS: [(&str, usize, usize); 6] = [
    ("decision", 995, 4_270_934),
    ("defa", 547, 5_942_068),
    ("deyolo", 652, 6_008_143),
    ("early", 423, 2_441_187),
    ("easy", 993, 3_807_763),
    ("mid", 618, 1_185_027),
];

fn checkpoint(file: &str) -> Option<Result<Checkpoint, ImportError>> {
    Some(read(&material::shared()?.join(file), &Limits::default()))
}

#[test]
fn the_references_checkpoints_are_read_and_identified() {
    for (name, tensors, parameters) in NETWORKS {
        let Some(checkpoint) = checkpoint(&format!("fixtures/networks/{name}-n.pt")) else { return };
        let checkpoint = checkpoint.unwrap();
        assert_eq!(checkpoint.tensors.len(), tensors, "{name}");
        let running = |name: &str| name.ends_with("running_mean") || name.ends_with("running_var");
        let counted = checkpoint.tensors.iter().filter(|(name, _)| !running(name));
        assert_eq!(counted.map(|(_, array)| array.data.len()).sum::<usize>(), parameters, "{name}");
        assert_eq!(checkpoint.names.as_deref(), Some(&["person".to_owned()][..]), "{name}");
        assert_eq!((checkpoint.imgsz, checkpoint.epochs), (Some(640), None), "{name}");
        assert_eq!(checkpoint.blocks["Detect"], 1, "{name}");
        assert!(checkpoint.config.is_some(), "{name}");

        let identified = identify(checkpoint).unwrap();
        let header = &identified.weights.header;
        assert_eq!(header.model, format!("{name}-n"));
        assert_eq!((header.imgsz, header.epoch, &*header.names), (640, 0, &["person".to_owned()][..]));
        assert_eq!(identified.names, NameSource::File);
        identified.weights.check(&header.network().unwrap().graph(640, 640).unwrap()).unwrap();
    }
}

#[test]
fn another_architecture_is_refused_with_what_was_found() {
    let Some(checkpoint) = checkpoint("weights/yolov5n_v6.1_coco.pt") else { return };
    let error = identify(checkpoint.unwrap()).unwrap_err();
    let told = error.to_string();
    for part in [
        "yolov5n_v6.1_coco.pt",
        "292 tensors, 1872157 parameters, 80 classes",
        "8 C3,",
        "57 Conv",
        "1 SPPF",
        "a head with anchors",
        "nearest is yolov8-n",
        "model.0.conv.weight is 16x3x6x6 here and 16x3x3x3 there",
    ] {
        assert!(told.contains(part), "no '{part}' in {told}");
    }
    let Fault::Unknown(found) = error.fault else { panic!("{told}") };
    assert_eq!((found.tensors, found.parameters, found.classes), (292, 1_872_157, Some(80)));
}

#[test]
fn plain_safetensors_are_identified() {
    let Some(checkpoint) = checkpoint("weights/yolov8n_coco.safetensors") else { return };
    let identified = identify(checkpoint.unwrap()).unwrap();
    assert_eq!(identified.weights.header.model, "yolov8-n");
    assert_eq!(identified.names, NameSource::Coco);
    let names = &identified.weights.header.names;
    assert_eq!((names.len(), &*names[0], &*names[5], &*names[79]), (80, "person", "bus", "toothbrush"));
}

#[test]
fn written_weights_are_those_that_were_read() {
    let Some(checkpoint) = checkpoint("fixtures/networks/mid-n.pt") else { return };
    let weights = identify(checkpoint.unwrap()).unwrap().weights;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mid.safetensors");
    weights.write(&path).unwrap();
    assert_eq!(yf_models::Weights::read(&path).unwrap(), weights);
    let again = read(&path, &Limits::default()).unwrap_err().to_string();
    assert!(again.contains("a weights file of yf already"), "{again}");
}

#[test]
fn a_network_of_the_same_tensors_and_another_wiring_is_refused_unless_it_is_named() {
    let Some(checkpoint) = checkpoint("fixtures/networks/mid-n.pt") else { return };
    let mut checkpoint = checkpoint.unwrap();
    let swapped =
        Config::built_in("mid").unwrap().yaml().replace("[[11, 13], 1, Concat", "[[13, 11], 1, Concat");
    let swapped = Config::parse(&swapped, "swapped").unwrap();
    checkpoint.config = Some(swapped.clone());
    let told = identify(checkpoint.clone()).unwrap_err().to_string();
    for part in ["those of mid-n", "layer 25 is Concat from [13, 11]", "from [11, 13]"] {
        assert!(told.contains(part), "no '{part}' in {told}");
    }
    let weights = identify_as(checkpoint.clone(), Network::new(swapped, "n", 1).unwrap()).unwrap().weights;
    assert_eq!(weights.header.model, "swapped-n");
    assert_eq!(weights.header.network().unwrap().config().layers[25].from, [13, 11]);
    let told = identify_as(checkpoint, Network::load("mid-s", Some(1)).unwrap()).unwrap_err().to_string();
    assert!(told.contains("not those of mid-s: model.3.conv.weight is 8x3x3x3 here"), "{told}");
}

#[test]
fn weights_of_any_kind_are_read() {
    let Some(shared) = material::shared() else { return };
    let of = |path: &std::path::Path| weights(path, &Limits::default());
    let plain = of(&shared.join("weights/yolov8n_coco.safetensors")).unwrap();
    assert_eq!(plain.header.model, "yolov8-n");
    assert_eq!(of(&shared.join("fixtures/networks/early-n.pt")).unwrap().header.model, "early-n");
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.safetensors");
    plain.write(&own).unwrap();
    assert_eq!(of(&own).unwrap(), plain);
    let bytes = std::fs::read(&own).unwrap();
    for (name, content) in [("half", &bytes[..bytes.len() / 2]), ("start", &bytes[..4]), ("empty", &[])] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert!(of(&path).unwrap_err().to_string().contains(name));
    }
}
