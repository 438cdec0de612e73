//! Operations as ONNX Runtime computes them, against plain arithmetic, in either precision.

#[path = "../../../tests/material/mod.rs"]
#[allow(dead_code)]
mod material;

use std::ops::Range;

use material::{Material, workspace};
use prost::Message;
use yf_models::builder::Emitted;

use super::*;

/// Largest differences allowed of values about 1, in single and in half precision.
const SINGLE: f64 = 1e-5;
const HALF: f64 = 5e-3;

/// Channels, height, width of the input.
type Size = [usize; 3];

/// Elements that differ, about -1..1, and are the same at every run.
fn elements(count: usize, salt: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + salt * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// What ONNX Runtime makes of the operation over [`elements`]; parameters are [`elements`] too.
fn computed(
    material: &Material,
    size: Size,
    fp16: bool,
    emit: impl FnOnce(&mut Builder, ValueId) -> Emitted,
) -> (GraphProto, Vec<f32>) {
    let graph = graph_over(size, |g, x| {
        let y = emit(g, x)?;
        // Where decoding begins, numbers are single precision again.
        g.enter_layer(1);
        Ok(g.map_elements(Op::Scale(1.0), y, "out"))
    });
    let written = weighted(graph, fp16, |i, shape| elements(shape.iter().product(), i + 1)).unwrap();
    let model = proto::ModelProto {
        ir_version: crate::IR_VERSION,
        producer_name: String::new(),
        producer_version: String::new(),
        graph: Some(written.clone()),
        opset_import: vec![proto::OperatorSetIdProto { domain: String::new(), version: crate::OPSET }],
        metadata_props: vec![],
    };
    let dir = tempfile::tempdir().unwrap();
    let [file, fed, out] = ["model.onnx", "images.f32", "out.f32"].map(|name| dir.path().join(name));
    std::fs::write(&file, model.encode_to_vec()).unwrap();
    let images = elements(size.iter().product(), 0);
    std::fs::write(&fed, images.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    material.python(&[&workspace().join("export/tests/onnx_run.py"), &file, &fed, &out]);
    let bytes = std::fs::read(&out).unwrap();
    (written, bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// The operation in both precisions against what it must give.
fn gives(
    material: &Material,
    size: Size,
    truth: &[f64],
    emit: impl Fn(&mut Builder, ValueId) -> Emitted,
) -> GraphProto {
    let [single, _] = [(false, SINGLE), (true, HALF)].map(|(fp16, allowed)| {
        let (written, got) = computed(material, size, fp16, &emit);
        assert_eq!(got.len(), truth.len());
        let off = got.iter().zip(truth).map(|(&a, b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
        assert!(off <= allowed, "{:?}, fp16 {fp16}: off by {off:.1e}", operators(&written));
        written
    });
    single
}

/// The elements of a map by channel, row and column; 0 outside.
fn at(map: &[f32], [_, height, width]: Size, [c, y, x]: [i64; 3]) -> f64 {
    let inside = (0..height as i64).contains(&y) && (0..width as i64).contains(&x);
    if inside { f64::from(map[(c as usize * height + y as usize) * width + x as usize]) } else { 0.0 }
}

/// All elements of a box of a map, which may reach beyond it.
fn part(size: Size, [channels, rows, columns]: [Range<i64>; 3]) -> Vec<f64> {
    let map = elements(size.iter().product(), 0);
    let mut elements = vec![];
    for c in channels {
        for y in rows.clone() {
            elements.extend(columns.clone().map(|x| at(&map, size, [c, y, x])));
        }
    }
    elements
}

#[test]
fn slices_and_padding() {
    let Some(material) = Material::find() else { return };
    let size = [2, 4, 5];
    gives(&material, size, &part(size, [0..2, 1..3, 0..5]), |g, x| g.slice(x, 1, 1..3, "slice"));
    gives(&material, size, &part(size, [0..2, 0..4, 2..5]), |g, x| g.slice(x, 2, 2..5, "slice"));
    gives(&material, size, &part(size, [1..2, 0..4, 0..5]), |g, x| g.slice(x, 0, 1..2, "slice"));
    gives(&material, size, &part(size, [0..2, -2..6, -2..7]), |g, x| g.pad(x, 2, "pad"));
}

#[test]
fn rows_of_a_linear_layer() {
    let Some(material) = Material::find() else { return };
    let (size, all) = ([3, 2, 4], 7);
    let (map, weight, bias) = (elements(24, 0), elements(3 * all, 1), elements(all, 2));
    for (rows, biased) in [(2..5, true), (0..7, true), (3..7, false)] {
        let mut truth = vec![];
        for row in rows.clone() {
            for cell in 0..8 {
                let products = (0..3).map(|c| f64::from(weight[row * 3 + c]) * f64::from(map[c * 8 + cell]));
                truth.push(products.sum::<f64>() + if biased { f64::from(bias[row]) } else { 0.0 });
            }
        }
        let written = gives(&material, size, &truth, |g, x| {
            g.linear(("weight", biased.then_some("bias")), x, rows.clone(), all, "linear")
        });
        assert_eq!(operators(&written), ["Conv", "Mul"]);
    }
}

/// Two heads of two channels over the cells of a map, the map being queries, keys and values.
fn attention(g: &mut Builder, x: ValueId, cells: usize, scale: f32) -> Emitted {
    let keys = g.reshape(x, vec![2, 2, cells], "keys")?;
    let values = g.transpose(keys, &[0, 2, 1], "values");
    // Others than the keys, so that the two cannot change places.
    let queries = g.map_elements(Op::Sigmoid, values, "queries");
    g.attention([queries, keys, values], scale, "attend")
}

fn attended(map: &[f32], cells: usize, scale: f64) -> Vec<f64> {
    let mut truth = vec![];
    for head in 0..2 {
        let channel = |c: usize| &map[(2 * head + c) * cells..][..cells];
        let (first, second) = (channel(0), channel(1));
        let gate = |x: f32| scale / (1.0 + (-f64::from(x)).exp());
        for query in 0..cells {
            let (q0, q1) = (gate(first[query]), gate(second[query]));
            let (mut sum, mut mixed) = (0.0, [0.0; 2]);
            for (&k0, &k1) in first.iter().zip(second) {
                let weight = (q0 * f64::from(k0) + q1 * f64::from(k1)).exp();
                sum += weight;
                mixed[0] += weight * f64::from(k0);
                mixed[1] += weight * f64::from(k1);
            }
            truth.extend(mixed.map(|x| x / sum));
        }
    }
    truth
}

#[test]
fn attention_in_one_part_and_in_several() {
    let Some(material) = Material::find() else { return };
    for (size, parts) in [([4, 3, 5], 1), ([4, 60, 70], 2)] {
        let cells = size[1] * size[2];
        let truth = attended(&elements(4 * cells, 0), cells, 3.0);
        let written = gives(&material, size, &truth, |g, x| attention(g, x, cells, 3.0));
        let softmaxes = operators(&written).iter().filter(|&&op| op == "Softmax").count();
        assert_eq!(softmaxes, parts);
    }
}
