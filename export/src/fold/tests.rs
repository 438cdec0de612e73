//! Folding against the definition of a batch norm, on a network small enough to compute by hand.

use std::collections::BTreeMap;

use yf_models::builder::Builder;
use yf_models::graph::Head;
use yf_models::weights::Header;

use super::*;

/// A 1x1 convolution from one channel to two, and its batch norm; `seen_twice` gives the convolution another
/// reader.
fn tiny(seen_twice: bool, bias: bool) -> Graph {
    let mut g = Builder::default();
    let x = g.input("images", vec![1, 1, 1]);
    let conv = Conv2d { out: 2, kernel: 1, stride: 1, padding: 0, dilation: 1, groups: 1 };
    let (y, _) = g.conv2d("model.0.conv", x, conv, bias).unwrap();
    let z = g.batch_norm("model.0.bn", y);
    let outputs = if seen_twice { vec![y, z] } else { vec![z] };
    g.finish(outputs, Head { maps: vec![], strides: vec![], reg_max: 16, classes: 1 }, vec![])
}

fn weights(bias: bool) -> Weights {
    let array = |data: [f32; 2]| Array { shape: vec![2], data: data.to_vec() };
    let mut tensors = BTreeMap::from([
        ("model.0.conv.weight".to_owned(), Array { shape: vec![2, 1, 1, 1], data: vec![0.3, -1.7] }),
        ("model.0.bn.weight".to_owned(), array([1.5, 0.25])),
        ("model.0.bn.bias".to_owned(), array([0.1, -0.2])),
        ("model.0.bn.running_mean".to_owned(), array([4.0, -0.5])),
        ("model.0.bn.running_var".to_owned(), array([0.0, 9.0])),
    ]);
    if bias {
        tensors.insert("model.0.conv.bias".to_owned(), array([0.7, 0.9]));
    }
    let header = Header {
        model: "tiny".into(),
        config: String::new(),
        scale: String::new(),
        names: vec!["a".into()],
        imgsz: 1,
        version: "0".into(),
        epoch: 0,
        modality: None,
        training: None,
    };
    Weights { header, tensors }
}

/// What convolution and batch norm compute of `x`, from the definition.
fn unfolded(weights: &Weights, x: f64) -> [f64; 2] {
    [0, 1].map(|c| {
        let at = |name: &str| weights.tensors.get(name).map_or(0.0, |a| f64::from(a.data[c]));
        let y = at("model.0.conv.weight") * x + at("model.0.conv.bias");
        let normal = (y - at("model.0.bn.running_mean")) / (at("model.0.bn.running_var") + 1e-3).sqrt();
        normal * at("model.0.bn.weight") + at("model.0.bn.bias")
    })
}

#[test]
fn a_folded_convolution_computes_both() {
    for bias in [false, true] {
        let weights = weights(bias);
        let folded = Weighted::new(tiny(false, bias), &weights).unwrap().fold_batch_norm().unwrap();
        let [_, conv] = &folded.graph.nodes[..] else { panic!("{:?}", folded.graph.nodes) };
        assert_eq!(conv.outputs, folded.graph.outputs);
        let names: Vec<&str> = conv.params.iter().map(|&p| folded.graph.param(p).name.as_str()).collect();
        assert_eq!(names, ["model.0.conv.weight", "model.0.conv.bias"]);
        let [weight, bias] = [0, 1].map(|i| &folded.array(conv.params[i]).unwrap().data);
        for x in [-3.0, 0.0, 0.8] {
            for (c, expected) in unfolded(&weights, x).into_iter().enumerate() {
                let got = f64::from(weight[c]) * x + f64::from(bias[c]);
                assert!((got - expected).abs() < 1e-6 * expected.abs().max(1.0), "{got} {expected}");
            }
        }
    }
}

#[test]
fn a_convolution_with_another_reader_stays() {
    let weights = weights(false);
    let folded = Weighted::new(tiny(true, false), &weights).unwrap().fold_batch_norm().unwrap();
    assert_eq!(folded.graph.nodes.len(), 3);
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let told = |change: fn(&mut BTreeMap<String, Array>)| {
        let mut weights = weights(false);
        change(&mut weights.tensors);
        Weighted::new(tiny(false, false), &weights).unwrap_err().to_string()
    };
    let missing = told(|t| drop(t.remove("model.0.bn.bias")));
    assert!(missing.contains("tiny") && missing.contains("model.0.bn.bias is missing"), "{missing}");
    let misshaped = told(|t| t.get_mut("model.0.conv.weight").unwrap().shape = vec![2, 1]);
    assert!(misshaped.contains("model.0.conv.weight") && misshaped.contains("[2, 1, 1, 1]"), "{misshaped}");
    let diverged = told(|t| t.get_mut("model.0.conv.weight").unwrap().data[1] = f32::NAN);
    assert!(diverged.contains("model.0.conv.weight holds NaN at element 1"), "{diverged}");
    let negative = told(|t| t.get_mut("model.0.bn.running_var").unwrap().data[1] = -1.0);
    assert!(negative.contains("negative variance"), "{negative}");
}
