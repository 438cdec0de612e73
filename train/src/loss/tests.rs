//! The loss against recorded truth, numeric gradients, and the cases at the edge.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::torch::{self, Device, Kind, Tensor};

use super::*;

/// The folder of test material, or nothing (with a message) where there is none.
fn shared() -> Option<PathBuf> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("YF_SHARED").map_or_else(default, PathBuf::from);
    if folder.join("fixtures/loss_cases.npz").exists() {
        return Some(folder);
    }
    let required = std::env::var("YF_REQUIRE").is_ok_and(|v| v == "1");
    assert!(!required, "no test material at {} (set YF_SHARED)", folder.display());
    eprintln!("skipped: no test material at {} (set YF_SHARED)", folder.display());
    None
}

/// One recorded case.
struct Case {
    name: &'static str,
    fields: HashMap<String, Tensor>,
}

impl Case {
    fn get(&self, field: &str) -> Tensor {
        self.fields[&format!("{}_{field}", self.name)].shallow_clone()
    }

    fn strides(&self) -> Vec<i64> {
        Vec::try_from(self.get("strides")).unwrap()
    }

    fn maps(&self) -> Vec<Tensor> {
        let count = self.strides().len();
        (0..count).map(|i| self.get(&format!("feat{i}")).set_requires_grad(true)).collect()
    }

    fn targets(&self, rows: usize) -> Targets {
        let pictures = Vec::<f32>::try_from(self.get("batch_idx")).unwrap();
        let classes = Vec::<f32>::try_from(self.get("cls").reshape([-1])).unwrap();
        let boxes = Vec::<f32>::try_from(self.get("xywhn").reshape([-1])).unwrap();
        let mut labels = vec![vec![], vec![]];
        for (i, &picture) in pictures.iter().enumerate() {
            let numbers = [0, 1, 2, 3].map(|k| boxes[i * 4 + k]);
            labels[picture as usize].push((classes[i] as i64, numbers));
        }
        Targets::from_labels(&labels, (320, 320), 3, rows, Device::Cpu).unwrap()
    }
}

fn cases() -> Vec<Case> {
    let Some(folder) = shared() else { return vec![] };
    let all = Tensor::read_npz(folder.join("fixtures/loss_cases.npz")).unwrap();
    ["small", "large", "crowd", "empty", "six"]
        .into_iter()
        .map(|name| {
            let own = all.iter().filter(|(key, _)| key.starts_with(&format!("{name}_")));
            Case { name, fields: own.map(|(k, v)| (k.clone(), v.shallow_clone())).collect() }
        })
        .collect()
}

fn largest(t: &Tensor) -> f64 {
    t.detach().abs().max().double_value(&[])
}

#[test]
fn assignments_equal_the_recorded_ones() {
    for case in cases() {
        let loss = Loss::new(3, &case.strides());
        let got = loss.assignment(&case.maps(), &case.targets(8));
        let want = case.get("assigned").to_kind(Kind::Bool);
        assert!(got.assigned.equal(&want), "{}: other anchors are assigned", case.name);
        let unlike = got.gt.ne_tensor(&case.get("assigned_gt").to_kind(Kind::Int64)).logical_and(&want);
        assert_eq!(
            unlike.sum(Kind::Int64).int64_value(&[]),
            0,
            "{}: anchors answer for other boxes",
            case.name
        );
        let idle = got.scores.eq(0.0).logical_and(&want).sum(Kind::Int64).int64_value(&[]);
        eprintln!(
            "{}: {} assigned, {idle} of them without weight",
            case.name,
            want.sum(Kind::Int64).int64_value(&[])
        );
    }
}

#[test]
fn values_and_gradients_equal_the_recorded_ones() {
    for case in cases() {
        let maps = case.maps();
        let losses = Loss::new(3, &case.strides()).forward(&maps, &case.targets(16));
        losses.total.backward();

        let want = case.get("loss_box_cls_dfl");
        for part in 0..3 {
            let (got, want) = (losses.parts.double_value(&[part]), want.double_value(&[part]));
            let off = (got - want).abs();
            assert!(off <= 1e-5 * want.abs(), "{} part {part}: {got} is not {want}", case.name);
        }
        let (got, want) =
            (losses.total.double_value(&[]), case.get("loss_sum_times_batch").double_value(&[]));
        assert!((got - want).abs() <= 1e-5 * want, "{}: {got} is not {want}", case.name);

        for (i, map) in maps.iter().enumerate() {
            let want = case.get(&format!("grad{i}"));
            let off = largest(&(map.grad() - &want)) / largest(&want);
            eprintln!("{} map {i}: gradient off by {off:.1e} of its largest", case.name);
            assert!(off < 1e-4, "{} map {i}: gradient off by {off:e} of its largest", case.name);
        }
    }
}

/// A head of 2 classes and 16 bins over two small maps of a 32 px picture, and two overlapping boxes.
fn tiny() -> (Loss, Vec<Tensor>, Targets) {
    torch::seed(7);
    let options = (Kind::Float, Device::Cpu);
    let maps = vec![Tensor::randn([2, 66, 4, 4], options), Tensor::randn([2, 66, 2, 2], options)];
    let labels =
        [vec![(0, [0.4, 0.4, 0.6, 0.5]), (1, [0.6, 0.6, 0.6, 0.7])], vec![(1, [0.5, 0.5, 0.9, 0.3])]];
    let targets = Targets::from_labels(&labels, (32, 32), 2, 4, Device::Cpu).unwrap();
    (Loss::new(2, &[8, 16]), maps, targets)
}

#[test]
fn gradient_agrees_with_finite_differences() {
    let (loss, maps, targets) = tiny();
    let maps: Vec<Tensor> = maps.into_iter().map(|map| map.set_requires_grad(true)).collect();
    // The assignment and CIoU's alpha are constants to the gradient, so only the class part and the
    // distributions can be differenced against the loss itself; their sum is what is checked.
    let assignment = loss.assignment(&maps, &targets);
    let part = |maps: &[Tensor]| {
        let head = Head::read(maps, &loss);
        loss.class_part(&head, &assignment) + loss.dfl_part(&head, &assignment)
    };
    part(&maps).backward();
    let step = 1e-2;
    for (map, at) in
        [(0, [0, 3, 1, 2]), (0, [0, 65, 2, 1]), (0, [1, 40, 2, 2]), (1, [0, 64, 0, 1]), (1, [1, 20, 1, 1])]
    {
        let moved = |by: f64| {
            let copies: Vec<Tensor> = maps.iter().map(|map| map.detach().copy()).collect();
            let _ = at.iter().fold(copies[map].shallow_clone(), |t, &i| t.get(i)).g_add_scalar_(by);
            part(&copies).double_value(&[])
        };
        let numeric = (moved(step) - moved(-step)) / (2.0 * step);
        let got = maps[map].grad().double_value(&at);
        assert!((got - numeric).abs() < 2e-3 * numeric.abs().max(1.0), "{got} is not {numeric} at {at:?}");
    }
}

#[test]
fn nothing_to_find() {
    let (loss, maps, _) = tiny();
    let maps: Vec<Tensor> = maps.into_iter().map(|map| map.set_requires_grad(true)).collect();
    let losses = loss.forward(&maps, &Targets::none(2, 0, Device::Cpu));
    losses.total.backward();
    let parts = Vec::<f32>::try_from(&losses.parts).unwrap();
    assert!(parts[0] == 0.0 && parts[1] > 0.0 && parts[2] == 0.0, "{parts:?}");
    let padded = Targets::from_labels(&[vec![], vec![]], (32, 32), 2, 8, Device::Cpu).unwrap();
    assert!(loss.forward(&maps, &padded).parts.equal(&losses.parts));
    for map in &maps {
        assert_eq!(largest(&map.grad().narrow(1, 0, 64)), 0.0, "no box, no box gradient");
        assert!(largest(&map.grad()) > 0.0);
    }
}

#[test]
fn padding_changes_nothing() {
    let (loss, maps, targets) = tiny();
    let padded = Targets {
        boxes: targets.boxes.constant_pad_nd([0, 0, 0, 9]),
        classes: targets.classes.constant_pad_nd([0, 9]),
        mask: targets.mask.to_kind(Kind::Float).constant_pad_nd([0, 9]),
    };
    assert!(loss.forward(&maps, &padded).parts.equal(&loss.forward(&maps, &targets).parts));
}

#[test]
fn half_precision_maps_are_computed_in_32_bits() {
    let (loss, maps, targets) = tiny();
    for kind in [Kind::BFloat16, Kind::Half] {
        let half: Vec<Tensor> = maps.iter().map(|map| map.to_kind(kind).set_requires_grad(true)).collect();
        let rounded: Vec<Tensor> = half.iter().map(|map| map.detach().to_kind(Kind::Float)).collect();
        let losses = loss.forward(&half, &targets);
        assert!(losses.parts.equal(&loss.forward(&rounded, &targets).parts));
        losses.total.backward();
        assert_eq!(half[0].grad().kind(), kind);
        assert!(largest(&half[0].grad()).is_finite());
    }
}

#[test]
fn what_ranks_add_up_to_is_the_loss_of_the_whole_batch() {
    let (loss, maps, targets) = tiny();
    let sums = loss.sums(&maps, &targets);
    let one = loss.forward(&maps, &targets);
    // As if another rank had seen the same: half the share of each, twice the pictures, the same loss together.
    let [weight, pictures] = [0, 1].map(|i| sums.totals.double_value(&[i]));
    let share =
        sums.divided_by(&Tensor::from_slice(&[2.0 * weight.max(1.0), 2.0 * pictures]).to_kind(Kind::Float));
    let sum = |t: &Tensor| t.sum(Kind::Float).double_value(&[]);
    let ratio = |a: &Tensor, b: &Tensor| sum(a) / sum(b);
    assert!((ratio(&share.parts, &one.parts) - 0.5).abs() < 1e-6);
    assert!((ratio(&share.total, &one.total) - 1.0).abs() < 1e-6);
}

/// `cargo test --release -p yf-train loss_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement, not a check"]
fn loss_speed() {
    let options = (Kind::Float, Device::Cpu);
    let maps: Vec<Tensor> =
        [40, 20, 10].map(|n| Tensor::randn([16, 67, n, n], options).set_requires_grad(true)).into();
    let label = |i: usize| (i as i64 % 3, [0.1 + 0.08 * i as f32, 0.9 - 0.08 * i as f32, 0.2, 0.15]);
    let labels = vec![(0..10).map(label).collect(); 16];
    let targets = Targets::from_labels(&labels, (320, 320), 3, 16, Device::Cpu).unwrap();
    let loss = Loss::new(3, &[8, 16, 32]);
    for round in 0..6 {
        let start = std::time::Instant::now();
        let losses = loss.forward(&maps, &targets);
        let forward = start.elapsed();
        losses.total.backward();
        eprintln!("round {round}: forward {forward:.1?}, with backward {:.1?}", start.elapsed());
    }
}
