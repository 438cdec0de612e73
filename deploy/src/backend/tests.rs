//! One suite for every backend, against the detector whose output one can say beforehand.

use super::*;
use crate::testing::Detector;

/// The backends of this machine. ONNX Runtime is left out, with a message, where it is not installed.
fn choices() -> Vec<Choice> {
    let missing = onnx_runtime::unavailable(&Options::default()).expect("ORT_DYLIB_PATH names a library");
    match missing {
        None => vec![Choice::Embedded, Choice::Ort],
        Some(why) if std::env::var_os("YF_REQUIRE").is_some_and(|v| v == "1") => panic!("{why}"),
        Some(why) => {
            eprintln!("tested without ONNX Runtime: {why}");
            vec![Choice::Embedded]
        }
    }
}

fn source(model: &Detector) -> ModelSource {
    ModelSource::Bytes { name: "cells.onnx".to_owned(), bytes: model.onnx() }
}

fn pictures(model: &Detector, batch: usize, salt: usize) -> Vec<f32> {
    let len = batch * 3 * model.height * model.width;
    (0..len).map(|i| ((i * 7919 + salt * 104_729) % 1009) as f32 / 1009.0).collect()
}

/// Pictures that lie one behind the other, as the pairs of a batch.
fn run(backend: &mut dyn Backend, rgb: &[f32], ir: &[f32], batch: usize) -> Vec<f32> {
    let len = rgb.len() / batch;
    let pairs: Vec<[Pixels<'_>; 2]> =
        rgb.chunks(len).zip(ir.chunks(len)).map(|(rgb, ir)| [rgb.into(), ir.into()]).collect();
    backend.run(&pairs).unwrap()
}

fn check(choice: Choice, model: &Detector, batch: usize) {
    let mut backend =
        open(source(model), choice, &Options { threads: Some(2), ..Options::default() }).unwrap();
    let (rgb, ir) = (pictures(model, batch, 1), pictures(model, batch, 2));
    let got = run(backend.as_mut(), &rgb, &ir, batch);
    let want = model.expected(&rgb, &ir);
    assert_eq!(got.len(), want.len());
    let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let tolerance = if model.fp16 { 2e-3 } else { 1e-6 };
    assert!(far <= tolerance, "{choice} {model:?} batch {batch}: off by {far}");
}

#[test]
fn every_variant_gives_what_it_must() {
    for choice in choices() {
        for fp16 in [false, true] {
            for pair in [true, false] {
                for fixed in [None, Some(1), Some(4)] {
                    let model = Detector { fp16, pair, batch: fixed, ..Detector::SMALL };
                    for batch in [1, 2, 3, 4, 9] {
                        check(choice, &model, batch);
                    }
                }
            }
        }
    }
}

/// What a GPU is given, with the processor in its place: bound tensors, copies there and back, parts of a batch.
#[test]
fn bound_memory_gives_the_same() {
    if !choices().contains(&Choice::Ort) {
        return;
    }
    for fixed in [None, Some(4)] {
        let model = Detector { batch: fixed, ..Detector::SMALL };
        let mut bound =
            OnnxRuntime::bound_on_cpu(source(&model).load().unwrap(), &Options::default()).unwrap();
        for (batch, salt) in [(1, 1), (4, 2), (7, 3), (7, 4), (1, 5)] {
            let (rgb, ir) = (pictures(&model, batch, salt), pictures(&model, batch, 2 * salt));
            let got = run(&mut bound, &rgb, &ir, batch);
            let far =
                got.iter().zip(model.expected(&rgb, &ir)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(far <= 1e-6, "batch {batch}: off by {far}");
            let spent = bound.transfers().unwrap();
            assert!(spent.upload > 0.0 && spent.compute > 0.0 && spent.download > 0.0);
        }
    }
}

#[test]
fn a_provider_that_the_library_lacks_is_an_error() {
    if !choices().contains(&Choice::Ort) {
        return;
    }
    for choice in [Choice::OrtCuda, Choice::OrtTensorRt] {
        let Err(error) = open(source(&Detector::SMALL), choice, &Options::default()) else {
            eprintln!("{choice} is there: nothing to refuse");
            continue;
        };
        let text = error.to_string();
        let provider = if choice == Choice::OrtCuda { "CUDA" } else { "TensorRT" };
        assert!(text.contains(provider) || matches!(error, DeployError::Runtime { .. }), "{text}");
    }
}

#[test]
fn what_cannot_be_tuned_says_so() {
    let options = Options { tune: true, ..Options::default() };
    for choice in [Choice::Embedded, Choice::Ort, Choice::TensorRt] {
        let Err(error) = open(source(&Detector::SMALL), choice, &options) else { panic!("{choice} opened") };
        assert!(error.to_string().contains("leave --tune out"), "{error}");
    }
    assert!(open(source(&Detector::SMALL), Choice::Auto, &options).is_ok());
}

#[test]
fn an_empty_batch_is_an_empty_result() {
    for choice in choices() {
        for batch in [None, Some(2)] {
            let model = Detector { batch, ..Detector::SMALL };
            let mut backend = open(source(&model), choice, &Options::default()).unwrap();
            assert!(backend.run(&[]).unwrap().is_empty());
        }
    }
}

#[test]
fn a_slice_of_the_wrong_length_is_refused() {
    for choice in choices() {
        let mut backend = open(source(&Detector::SMALL), choice, &Options::default()).unwrap();
        let rgb = pictures(&Detector::SMALL, 1, 0);
        let (whole, short) = (Pixels::from(rgb.as_slice()), Pixels::from(&rgb[1..]));
        let error = backend.run(&[[whole; 2], [whole, short]]).unwrap_err();
        assert!(matches!(error, DeployError::Input { input: "ir", .. }), "{error}");
    }
}

#[test]
fn a_one_stream_model_does_not_look_at_ir() {
    for choice in choices() {
        let model = Detector { pair: false, ..Detector::SMALL };
        let mut backend = open(source(&model), choice, &Options::default()).unwrap();
        let rgb = pictures(&model, 1, 0);
        let rgb = Pixels::from(rgb.as_slice());
        assert_eq!(backend.run(&[[rgb, Pixels::NONE]]).unwrap(), backend.run(&[[rgb, rgb]]).unwrap());
    }
}

#[test]
fn a_graph_that_cannot_run_is_refused_by_name() {
    let mut model = Detector::SMALL.proto();
    model.graph.as_mut().unwrap().node[0].op_type = "Convolution".to_owned();
    let bytes = prost::Message::encode_to_vec(&model);
    for choice in choices() {
        let source = ModelSource::Bytes { name: "odd.onnx".to_owned(), bytes: bytes.clone() };
        let Err(error) = open(source, choice, &Options::default()) else { panic!("{choice} took it") };
        assert!(matches!(error, DeployError::Runtime { .. }), "{error}");
        let text = error.to_string();
        assert!(text.starts_with("odd.onnx: ") && text.contains("Convolution"), "{text}");
    }
}

#[test]
fn auto_says_what_it_took() {
    let backend = open(source(&Detector::SMALL), Choice::Auto, &Options::default()).unwrap();
    let expected = if choices().contains(&Choice::Ort) { "ONNX Runtime, " } else { "embedded" };
    assert!(backend.describe().starts_with(expected), "{}", backend.describe());
}

#[test]
fn a_named_library_that_is_missing_is_an_error_and_no_panic() {
    let options = Options { ort_library: Some("/nowhere/libonnxruntime.so".into()), ..Options::default() };
    for choice in [Choice::Ort, Choice::OrtCuda, Choice::Auto] {
        let Err(error) = open(source(&Detector::SMALL), choice, &options) else { panic!("{choice} opened") };
        assert!(matches!(error, DeployError::Library(_)), "{error}");
        assert!(error.to_string().contains("/nowhere/libonnxruntime.so"), "{error}");
    }
    assert!(open(source(&Detector::SMALL), Choice::Embedded, &options).is_ok());
}

#[test]
fn choices_are_read_as_they_are_written() {
    for name in Choice::NAMES {
        assert_eq!(name.parse::<Choice>().unwrap().to_string(), name);
    }
    assert!("gpu".parse::<Choice>().unwrap_err().to_string().contains("there are auto"));
}

#[test]
fn an_engine_runs_on_tensorrt_alone() {
    let engine = || ModelSource::Path("best.engine".into());
    for choice in [Choice::Ort, Choice::OrtCuda, Choice::OrtTensorRt, Choice::Embedded] {
        let Err(error) = open(engine(), choice, &Options::default()) else { panic!("{choice} took it") };
        assert!(matches!(error, DeployError::Choice(_)), "{error}");
        assert!(error.to_string().contains("--backend tensorrt"), "{error}");
    }
    for choice in [Choice::Auto, Choice::TensorRt] {
        let Err(error) = open(engine(), choice, &Options::default()) else { panic!("{choice} took it") };
        assert!(error.to_string().starts_with("best.engine.json: "), "{error}");
    }
}

mod plugins {
    //! Providers in libraries of their own. OpenVINO's plugin, which is among the tests' packages, computes on the
    //! processors and GPUs of Intel and finds nothing elsewhere.

    use super::*;

    /// OpenVINO's plugin beside the ONNX Runtime that is found, where it is installed.
    fn openvino() -> Option<PathBuf> {
        let library::Found::At(runtime) = library::discover() else { return None };
        let packages = runtime.parent()?.parent()?.parent()?;
        let plugin = packages.join("onnxruntime_ep_openvino/libonnxruntime_providers_openvino_plugin.so");
        if plugin.exists() {
            return Some(plugin);
        }
        let required = std::env::var_os("YF_REQUIRE").is_some_and(|v| v == "1");
        assert!(!required, "{} is missing (make python)", plugin.display());
        eprintln!("skipped: {} is missing (make python)", plugin.display());
        None
    }

    fn options(plugin: &str) -> Options {
        Options { plugin: Some(plugin.into()), threads: Some(2), ..Options::default() }
    }

    #[test]
    fn a_plugin_computes_or_says_that_it_finds_no_device() {
        let Some(plugin) = openvino() else { return };
        let plugin = plugin.to_str().unwrap();
        let intel = std::fs::read_to_string("/proc/cpuinfo").unwrap().contains("GenuineIntel");
        for choice in [Choice::OrtPlugin, Choice::Auto] {
            match open(source(&Detector::SMALL), choice, &options(plugin)) {
                Ok(backend) => assert!(backend.describe().contains("OpenVINO"), "{}", backend.describe()),
                Err(error) => {
                    assert!(!intel, "{error}");
                    assert!(error.to_string().contains("finds no device here"), "{error}");
                    eprintln!("not computed: {error}");
                    return;
                }
            }
        }
        for fixed in [None, Some(4)] {
            let model = Detector { batch: fixed, ..Detector::SMALL };
            for batch in [1, 4, 7] {
                let mut backend = open(source(&model), Choice::OrtPlugin, &options(plugin)).unwrap();
                let (rgb, ir) = (pictures(&model, batch, 1), pictures(&model, batch, 2));
                let got = run(backend.as_mut(), &rgb, &ir, batch);
                let want = model.expected(&rgb, &ir);
                let far = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // OpenVINO may compute in half precision where the processor has it.
                assert!(got.len() == want.len() && far <= 2e-2, "batch {batch}: off by {far}");
            }
        }
    }

    #[test]
    fn what_is_no_plugin_is_refused_and_the_processor_never_takes_its_place() {
        if !choices().contains(&Choice::Ort) {
            return;
        }
        let library::Found::At(runtime) = library::discover() else { return };
        let no_plugin = runtime.to_str().unwrap();
        for (plugin, words) in [
            ("/nowhere/libep.so", "/nowhere/libep.so"),
            ("/tmp", "not a file"),
            (no_plugin, "cannot be used"),
        ] {
            let Err(error) = open(source(&Detector::SMALL), Choice::Auto, &options(plugin)) else {
                panic!("{plugin} was taken")
            };
            assert!(matches!(error, DeployError::Library(_)), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        for (choice, options) in [
            (Choice::OrtPlugin, Options::default()),
            (Choice::OrtCuda, options("x.so")),
            (Choice::Embedded, options("x.so")),
        ] {
            let Err(error) = open(source(&Detector::SMALL), choice, &options) else {
                panic!("{choice} opened")
            };
            assert!(
                matches!(error, DeployError::Choice(_)) && error.to_string().contains("--plugin"),
                "{error}"
            );
        }
    }
}
