//! What cannot be exported is refused with what is wrong; what can be is the same file every time.

use std::collections::BTreeMap;

use yf_export::{MAX_BATCH, Options, onnx};
use yf_models::graph::Graph;
use yf_models::weights::Array;
use yf_models::{Header, Network, Weights};

/// A network whose weights are small numbers.
fn weights(graph: &Graph, network: &Network) -> Weights {
    let array = |shape: &Vec<usize>| {
        let count = shape.iter().product();
        Array { shape: shape.clone(), data: (0..count).map(|i| (i % 7) as f32 * 0.1).collect() }
    };
    let tensors: BTreeMap<_, _> = graph.params.iter().map(|p| (p.name.clone(), array(&p.shape))).collect();
    Weights { header: Header::new(network, vec!["a".into(), "b".into()], 320), tensors }
}

fn mid() -> Weights {
    let network = Network::load("mid-n", Some(2)).unwrap();
    weights(&network.graph(320, 320).unwrap(), &network)
}

fn told(weights: &Weights, options: &Options) -> String {
    onnx(weights, options).unwrap_err().to_string()
}

#[test]
fn a_size_that_does_not_fit_is_refused_with_one_that_does() {
    let told = told(&mid(), &Options { imgsz: Some((330, 320)), ..Options::default() });
    assert!(told.contains("330x320") && told.contains("320x320"), "{told}");
}

#[test]
fn weights_that_do_not_fit_are_refused_by_name() {
    let mut missing = mid();
    missing.tensors.remove("model.3.conv.weight");
    let message = told(&missing, &Options::default());
    assert!(message.contains("mid-n") && message.contains("model.3.conv.weight is missing"), "{message}");

    let mut misshaped = mid();
    misshaped.tensors.get_mut("model.40.cv2.0.2.bias").unwrap().shape = vec![3];
    let message = told(&misshaped, &Options::default());
    assert!(message.contains("model.40.cv2.0.2.bias has shape [3]"), "{message}");
}

#[test]
fn an_impossible_batch_is_refused() {
    for batch in [0, MAX_BATCH + 1] {
        let message = told(&mid(), &Options { batch, ..Options::default() });
        assert!(message.contains(&batch.to_string()), "{message}");
    }
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    let (weights, options) = (mid(), Options { fp16: true, ..Options::default() });
    assert_eq!(onnx(&weights, &options).unwrap(), onnx(&weights, &options).unwrap());
}
