//! The blocks as their papers write them, in plain tensor operations and double precision: nothing here knows the graph.
//! Attention is a loop over heads and areas, the checkerboard a mask, the dynamic filter a sum over shifted pictures.

use std::collections::BTreeMap;

use yf_train::torch::{Kind, Tensor};

/// Mean of the largest weight that a query gives to any key: an attention that is nearly uniform, or all on one key
/// whatever the query, would hide mistakes.
const PEAKED: std::ops::Range<f64> = 0.15..0.99;

/// The tensors of one block by their names in checkpoints, without the `model.0.` in front.
pub struct Formulas {
    pub tensors: BTreeMap<String, Tensor>,
}

impl Formulas {
    fn tensor(&self, name: &str) -> &Tensor {
        &self.tensors[name]
    }

    fn batch_norm(&self, path: &str, x: &Tensor) -> Tensor {
        let of = |part: &str| self.tensor(&format!("{path}.{part}")).view([-1, 1, 1]);
        (x - of("running_mean")) / (of("running_var") + 1e-3).sqrt() * of("weight") + of("bias")
    }

    /// Convolution with "same" padding, batch norm.
    fn linear(&self, path: &str, x: &Tensor, groups: i64) -> Tensor {
        let weight = self.tensor(&format!("{path}.conv.weight"));
        let around = weight.size()[3] / 2;
        let x = x.conv2d(weight, None::<&Tensor>, [1, 1], [around, around], [1, 1], groups);
        self.batch_norm(&format!("{path}.bn"), &x)
    }

    /// The same, then SiLU.
    fn conv(&self, path: &str, x: &Tensor) -> Tensor {
        silu(&self.linear(path, x, 1))
    }

    /// A bare convolution with a bias and "same" padding.
    fn biased(&self, path: &str, x: &Tensor) -> Tensor {
        let weight = self.tensor(&format!("{path}.weight"));
        let bias = self.tensor(&format!("{path}.bias"));
        let around = weight.size()[3] / 2;
        x.conv2d(weight, Some(bias), [1, 1], [around, around], [1, 1], 1)
    }

    /// Two 3x3 convolutions with or without their input added.
    fn bottleneck(&self, path: &str, x: &Tensor, shortcut: bool) -> Tensor {
        let y = self.conv(&format!("{path}.cv2"), &self.conv(&format!("{path}.cv1"), x));
        if shortcut { x + y } else { y }
    }

    fn c3k(&self, path: &str, x: &Tensor) -> Tensor {
        let y = self.conv(&format!("{path}.cv1"), x);
        let y = (0..2).fold(y, |y, i| self.bottleneck(&format!("{path}.m.{i}"), &y, true));
        let past = self.conv(&format!("{path}.cv2"), x);
        self.conv(&format!("{path}.cv3"), &Tensor::cat(&[y, past], 1))
    }

    /// Attention of 32-channel heads within `areas` runs of cells in row-major order.
    fn area_attention(&self, path: &str, x: &Tensor, areas: i64) -> Tensor {
        let channels = x.size()[1];
        let qk = self.linear(&format!("{path}.qk"), x, 1);
        let values = self.linear(&format!("{path}.v"), x, 1);
        let position = self.linear(&format!("{path}.pe"), &values, channels);
        let (q, k) =
            (qk.narrow(1, 0, channels).flatten(2, 3), qk.narrow(1, channels, channels).flatten(2, 3));
        let v = values.flatten(2, 3);
        let run = v.size()[2] / areas;
        let heads = (0..channels / 32).map(|head| {
            let runs = (0..areas).map(|area| {
                let part = |t: &Tensor| t.narrow(1, 32 * head, 32).narrow(2, area * run, run);
                attend(&part(&q), &part(&k), &part(&v))
            });
            Tensor::cat(&runs.collect::<Vec<_>>(), 2)
        });
        let mixed = Tensor::cat(&heads.collect::<Vec<_>>(), 1).view_as(x);
        self.linear(&format!("{path}.proj"), &(mixed + position), 1)
    }

    /// A2C2f; `areas` is `None` where attention is off.
    pub fn a2c2f(&self, x: &Tensor, repeats: usize, areas: Option<i64>, residual: bool) -> Tensor {
        let mut maps = vec![self.conv("cv1", x)];
        for i in 0..repeats {
            let y = maps[i].shallow_clone();
            maps.push(match areas {
                None => self.c3k(&format!("m.{i}"), &y),
                Some(areas) => (0..2).fold(y, |y, half| {
                    let path = format!("m.{i}.{half}");
                    let y = &y + self.area_attention(&format!("{path}.attn"), &y, areas);
                    let wide = self.conv(&format!("{path}.mlp.0"), &y);
                    &y + self.linear(&format!("{path}.mlp.1"), &wide, 1)
                }),
            });
        }
        let y = self.conv("cv2", &Tensor::cat(&maps, 1));
        if residual { x + self.tensor("gamma").view([-1, 1, 1]) * y } else { y }
    }

    /// C2PSA: heads of 64 channels, keys of 32.
    pub fn c2psa(&self, x: &Tensor, repeats: usize) -> Tensor {
        let halves = self.conv("cv1", x).chunk(2, 1);
        let mut y = halves[1].shallow_clone();
        for i in 0..repeats {
            let path = format!("m.{i}");
            let qkv = self.linear(&format!("{path}.attn.qkv"), &y, 1);
            let (mut mixed, mut values) = (vec![], vec![]);
            for head in qkv.split(128, 1) {
                let part = |first: i64, size: i64| head.narrow(1, first, size).flatten(2, 3);
                mixed.push(attend(&part(0, 32), &part(32, 32), &part(64, 64)));
                values.push(head.narrow(1, 64, 64));
            }
            let values = Tensor::cat(&values, 1);
            let position = self.linear(&format!("{path}.attn.pe"), &values, values.size()[1]);
            let sum = Tensor::cat(&mixed, 1).view_as(&y) + position;
            y = &y + self.linear(&format!("{path}.attn.proj"), &sum, 1);
            let wide = self.conv(&format!("{path}.ffn.0"), &y);
            y = &y + self.linear(&format!("{path}.ffn.1"), &wide, 1);
        }
        self.conv("cv2", &Tensor::cat(&[halves[0].shallow_clone(), y], 1))
    }

    /// The colour of a checkerboard where row + column is even, through conv1, and the other, through conv2; each packed
    /// along the rows, and back.
    fn focus(&self, path: &str, x: &Tensor, turned: bool) -> Tensor {
        let upright = |t: &Tensor| if turned { t.transpose(2, 3) } else { t.shallow_clone() };
        let x = upright(x).contiguous();
        let [b, c, h, w] = <[i64; 4]>::try_from(x.size()).unwrap();
        let line = |n: i64| Tensor::arange(n, (Kind::Int64, x.device()));
        let first = (line(h).view([-1, 1]) + line(w)).remainder(2).eq(0).expand_as(&x).contiguous();
        let mut out = x.zeros_like();
        for (mask, conv) in [(first.shallow_clone(), "conv1"), (first.logical_not(), "conv2")] {
            let packed = x.masked_select(&mask).view([b, c, h, w / 2]);
            let seen = upright(&self.conv(&format!("{path}.{conv}"), &upright(&packed)));
            out = out.masked_scatter(&mask, &seen.contiguous());
        }
        upright(&out)
    }

    /// C2f with one inner block, then BiFocus.
    pub fn c2f_bifocus(&self, x: &Tensor) -> Tensor {
        let y = self.conv("cv1", x);
        let halves = y.chunk(2, 1);
        let inner = self.bottleneck("m.0", &halves[1], false);
        let y = self.conv("cv2", &Tensor::cat(&[y, inner], 1));
        let horizontal = self.focus("bifocus.focus_h", &y, false);
        let vertical = self.focus("bifocus.focus_v", &y, true);
        let y = Tensor::cat(&[y, horizontal, vertical], 1);
        let y = silu(&self.linear("bifocus.depth_wise.depth_conv", &y, y.size()[1]));
        self.conv("bifocus.depth_wise.point_conv", &y)
    }

    /// DEA whose kernels fit `side` x `side` cells.
    pub fn dea(&self, rgb: &Tensor, ir: &Tensor, side: i64) -> Tensor {
        let channels = rgb.size()[1];
        let scene = self.conv("deca.compress", &Tensor::cat(&[rgb, ir], 1));
        let mut scene = area_resampled(&scene, side);
        for i in 1..=3 {
            let (weight, bias) = (
                self.tensor(&format!("deca.conv_c{i}.0.weight")),
                self.tensor(&format!("deca.conv_c{i}.0.bias")),
            );
            let stride = weight.size()[3];
            scene = silu(&scene.conv2d(weight, Some(bias), [stride, stride], [0, 0], [1, 1], channels));
        }
        let by_channel = |x: &Tensor| {
            let hidden = mean(x).matmul(&self.tensor("deca.fc.0.weight").tr()).relu();
            hidden.matmul(&self.tensor("deca.fc.2.weight").tr()).sigmoid().view([-1, channels, 1, 1])
        };
        let (w_v, w_i) = (by_channel(rgb), by_channel(ir));
        let rgb = rgb * (w_i * &scene).sigmoid();
        let ir = ir * (w_v * &scene).sigmoid();

        let own = |x: &Tensor, letter: &str, last: &str| {
            let fine = self.conv(&format!("depa.cv_{letter}1"), x);
            let coarse = self.conv(&format!("depa.cv_{letter}2"), x);
            self.conv(last, &Tensor::cat(&[fine, coarse], 1))
        };
        let (s_v, s_i) = (own(&rgb, "v", "depa.conv1"), own(&ir, "i", "depa.conv2"));
        let common = (self.conv("depa.compress1", &rgb) + self.conv("depa.compress2", &ir)).sigmoid();
        let (a_v, a_i) = ((&common + s_v).sigmoid(), (common + s_i).sigmoid());
        (rgb * a_i + ir * a_v).sigmoid()
    }

    /// DEFA with eight heads.
    pub fn defa(&self, rgb: &Tensor, ir: &Tensor) -> Tensor {
        let [b, c, h, w] = <[i64; 4]>::try_from(rgb.size()).unwrap();
        let scene = mean(&(rgb + ir)).view([b, c, 1, 1]);
        let hidden = self.biased("dynamic_conv.1", &scene).relu();
        let kernel = self.biased("dynamic_conv.3", &hidden).view([b, 25]).softmax(1, Kind::Double);

        let (weight, bias) =
            (self.tensor("cross_attn.in_proj_weight"), self.tensor("cross_attn.in_proj_bias"));
        let project = |x: &Tensor, part: i64| {
            let (weight, bias) = (weight.narrow(0, part * c, c), bias.narrow(0, part * c, c));
            weight.matmul(&x.flatten(2, 3)) + bias.view([-1, 1])
        };
        let (q, k, v) = (project(rgb, 0), project(ir, 1), project(ir, 2));
        let heads = (0..8).map(|head| {
            let part = |t: &Tensor| t.narrow(1, head * c / 8, c / 8);
            attend(&part(&q), &part(&k), &part(&v))
        });
        let mixed = Tensor::cat(&heads.collect::<Vec<_>>(), 1);
        let mixed = self.tensor("cross_attn.out_proj.weight").matmul(&mixed)
            + self.tensor("cross_attn.out_proj.bias").view([-1, 1]);
        let shifted = mixed.view([b, c, h, w]).im2col([5, 5], [1, 1], [2, 2], [1, 1]).view([b, c, 25, h * w]);
        let filtered = (shifted * kernel.view([b, 1, 25, 1])).sum_dim_intlist(2i64, false, Kind::Double);
        let filtered = filtered.view([b, c, h, w]);

        let gates = self.biased("gate.0", &Tensor::cat(&[rgb, ir], 1)).relu();
        let gates = self.biased("gate.2", &gates).sigmoid();
        let (w_v, w_i) = (gates.narrow(1, 0, 1), gates.narrow(1, 1, 1));
        let fused = w_i * &filtered + rgb + w_v * &filtered + ir;
        silu(&self.batch_norm("enhance.1", &self.biased("enhance.0", &fused)))
    }

    /// The weight of RGB in a gate, 0..1; that of infrared is the rest.
    fn gate(&self, rgb: &Tensor, ir: &Tensor, scene: bool) -> Tensor {
        let joined = Tensor::cat(&[rgb, ir], 1);
        let here = self.biased("here", &joined);
        let logits = if scene {
            let weight = self.tensor("scene.weight").flatten(1, 3);
            here + mean(&joined).matmul(&weight.tr()).unsqueeze(-1).unsqueeze(-1)
        } else {
            here
        };
        let weight = logits.sigmoid();
        let decided =
            (&weight - 0.5).abs().gt(0.4).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((0.1..0.9).contains(&decided), "gates open or shut where they decide: {decided}");
        weight
    }

    /// Both maps, each times twice its weight.
    pub fn gate_join(&self, rgb: &Tensor, ir: &Tensor) -> Tensor {
        let weight = self.gate(rgb, ir, true);
        let rest = 1.0 - &weight;
        Tensor::cat(&[2.0 * weight * rgb, 2.0 * rest * ir], 1)
    }

    /// The weighed mean of both maps.
    pub fn gate_blend(&self, rgb: &Tensor, ir: &Tensor, scene: bool) -> Tensor {
        let weight = self.gate(rgb, ir, scene);
        let rest = 1.0 - &weight;
        weight * rgb + rest * ir
    }

    /// Infrared and between -1 and 1 times RGB.
    pub fn gate_inject(&self, rgb: &Tensor, ir: &Tensor) -> Tensor {
        ir + (2.0 * self.gate(rgb, ir, true) - 1.0) * rgb
    }

    /// Cross with heads of 16 channels, in the order of ordinary attention: every position weighs all others.
    pub fn cross(&self, rgb: &Tensor, ir: &Tensor) -> Tensor {
        let asked = |own: &str, other: &str, x: &Tensor, of: &Tensor| {
            let queries = self.linear(&format!("{own}.qkv"), x, 1).chunk(3, 1).remove(0);
            let mut told = self.linear(&format!("{other}.qkv"), of, 1).chunk(3, 1);
            let (values, keys) = (told.remove(2), told.remove(1));
            let heads = (0..queries.size()[1] / 16).map(|head| {
                let part = |t: &Tensor| t.narrow(1, 16 * head, 16).flatten(2, 3);
                let query = part(&queries).softmax(1, Kind::Double);
                let key = part(&keys).softmax(2, Kind::Double);
                let peak = key.amax([2i64].as_slice(), false).mean(Kind::Double).double_value(&[]);
                assert!(PEAKED.contains(&peak), "the weights drawn make keys that hide mistakes: {peak}");
                let weights = query.transpose(1, 2).matmul(&key);
                part(&values).matmul(&weights.transpose(1, 2))
            });
            let mixed = Tensor::cat(&heads.collect::<Vec<_>>(), 1).view_as(&values);
            let nearby = self.linear(&format!("{own}.pe"), &values, values.size()[1]);
            let found = self.linear(&format!("{own}.proj"), &(mixed + nearby), 1);
            x + self.tensor(&format!("{own}.gamma")).view([-1, 1, 1]) * found
        };
        Tensor::cat(&[asked("rgb", "ir", rgb, ir), asked("ir", "rgb", ir, rgb)], 1)
    }
}

fn silu(x: &Tensor) -> Tensor {
    x * x.sigmoid()
}

/// Mean of every channel, `[N, C]`.
fn mean(x: &Tensor) -> Tensor {
    x.mean_dim([2i64, 3].as_slice(), false, Kind::Double)
}

/// One head: q and k `[N, d, T]`, v `[N, e, T]`; gives `[N, e, T]`.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let products = q.transpose(1, 2).matmul(k) / (q.size()[1] as f64).sqrt();
    let weights = products.softmax(2, Kind::Double);
    let peak = weights.amax([2i64].as_slice(), false).mean(Kind::Double).double_value(&[]);
    assert!(PEAKED.contains(&peak), "the weights drawn make an attention that hides mistakes: {peak}");
    v.matmul(&weights.transpose(1, 2))
}

/// Every cell is cut so finely that the new ones are whole numbers of pieces; then means over these.
fn area_resampled(x: &Tensor, side: i64) -> Tensor {
    let ((up, down), (right, left)) = (pieces(x.size()[2], side), pieces(x.size()[3], side));
    let fine = x.repeat_interleave_self_int(up, 2, None).repeat_interleave_self_int(right, 3, None);
    fine.avg_pool2d([down, left], [down, left], [0, 0], false, true, None)
}

/// Pieces of an old cell and of a new one.
fn pieces(from: i64, to: i64) -> (i64, i64) {
    let common = (1..=from.min(to)).rev().find(|&n| from % n == 0 && to % n == 0).unwrap_or(1);
    (to / common, from / common)
}
