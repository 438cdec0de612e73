//! Suppression inside the graph: `[N, 4 + classes, anchors]` becomes `[N, 300, 6]`, x1 y1 x2 y2 score class.
//!
//! As in Rust: an anchor has its best class alone, boxes suppress those of their own class, and the best 300 of a
//! picture stay, best first. The chosen scores are scattered back onto the anchors and the largest taken from there, so
//! that every shape is known beforehand, whatever is found; rows without a detection are zero.

use super::{OUTPUT, Writer};
use crate::Nms;
use crate::precision::Precision;
use crate::proto::AttributeProto;

/// Rows of the output.
pub(crate) const ROWS: usize = 300;
/// Values of a row.
pub(crate) const ROW: usize = 6;

impl Writer<'_> {
    /// Appends suppression to `raw`, of that many classes and anchors.
    pub(super) fn suppression(&mut self, raw: &str, classes: usize, anchors: usize, nms: &Nms) {
        let axis = |axis| vec![AttributeProto::int("axis", axis)];
        let rows = ROWS.min(anchors);
        let sizes = self.whole(&[4, classes as i64]);
        let [columns, scores] = ["nms.columns", "nms.scores"].map(|name| self.names.unique(name));
        self.push(
            "Split",
            "nms.split",
            vec![raw.to_owned(), sizes],
            vec![columns.clone(), scores.clone()],
            axis(1),
        );
        let perm = vec![AttributeProto::ints("perm", vec![0, 2, 1])];
        let boxes = self.step("Transpose", "nms.boxes", &[&columns], perm);
        let (scores, class) = self.best_class(scores, classes);

        let limit = self.whole(&[ROWS as i64]);
        let iou = self.number("nms.iou", nms.iou);
        let conf = self.number("nms.conf", nms.conf);
        let centred = vec![AttributeProto::int("center_point_box", 1)];
        let chosen =
            self.step("NonMaxSuppression", "nms.chosen", &[&boxes, &scores, &limit, &iou, &conf], centred);
        let values = self.step("GatherND", "nms.values", &[&scores, &chosen], vec![]);
        let nothing = self.number("nms.nothing", 0.0);
        let blank = self.step("Mul", "nms.blank", &[&scores, &nothing], vec![]);
        let kept = self.step("ScatterND", "nms.kept", &[&blank, &chosen, &values], vec![]);
        let over_classes = vec![AttributeProto::ints("axes", vec![1]), AttributeProto::int("keepdims", 0)];
        let kept = self.step("ReduceMax", "nms.anchors", &[&kept], over_classes);

        let [score, at] = ["nms.top", "nms.at"].map(|name| self.names.unique(name));
        let count = self.whole(&[rows as i64]);
        self.push("TopK", "nms.best", vec![kept, count], vec![score.clone(), at.clone()], axis(1));
        let column = self.whole(&[0, rows as i64, 1]);
        let score = self.step("Reshape", "nms.score", &[&score, &column], vec![]);
        let class = match class {
            Some(class) => {
                let class = self.step("GatherElements", "nms.class", &[&class, &at], axis(1));
                let to = vec![AttributeProto::int("to", i64::from(Precision::Single.data_type()))];
                let class = self.step("Cast", "nms.class.fp32", &[&class], to);
                self.step("Reshape", "nms.class.column", &[&class, &column], vec![])
            }
            None => self.step("Mul", "nms.class", &[&score, &nothing], vec![]),
        };
        let at = self.step("Reshape", "nms.at.column", &[&at, &column], vec![]);
        let at = self.step("Concat", "nms.at.columns", &[at.as_str(); 4], axis(2));
        let found = self.step("GatherElements", "nms.found", &[&boxes, &at], axis(1));
        let (low, high) = self.corners(&found);
        let found = self.step("Concat", "nms.rows", &[&low, &high, &score, &class], axis(2));
        self.blank_unused(&found, &score, rows);
    }

    /// Scores with those of an anchor's best class alone, and (of several) which class that is, `[N, anchors]`.
    fn best_class(&mut self, scores: String, classes: usize) -> (String, Option<String>) {
        if classes == 1 {
            return (scores, None);
        }
        let over_classes = vec![AttributeProto::int("axis", 1), AttributeProto::int("keepdims", 1)];
        let best = self.step("ArgMax", "nms.class.best", &[&scores], over_classes);
        let numbers: Vec<i64> = (0..classes as i64).collect();
        let numbers = self.initializers.shaped_integers(
            &mut self.names,
            "nms.classes",
            vec![1, classes as i64, 1],
            &numbers,
        );
        let is_best = self.step("Equal", "nms.class.is_best", &[&best, &numbers], vec![]);
        let to = vec![AttributeProto::int("to", i64::from(Precision::Single.data_type()))];
        let mask = self.step("Cast", "nms.class.mask", &[&is_best], to);
        let scores = self.step("Mul", "nms.class.scores", &[&scores, &mask], vec![]);
        let flat = self.whole(&[0, -1]);
        (scores, Some(self.step("Reshape", "nms.class.flat", &[&best, &flat], vec![])))
    }

    /// Of rows cx cy w h: x1 y1, and x2 y2.
    fn corners(&mut self, boxes: &str) -> (String, String) {
        let halves = self.whole(&[2, 2]);
        let [centre, size] = ["nms.centre", "nms.size"].map(|name| self.names.unique(name));
        let axis = vec![AttributeProto::int("axis", 2)];
        self.push(
            "Split",
            "nms.halves",
            vec![boxes.to_owned(), halves],
            vec![centre.clone(), size.clone()],
            axis,
        );
        let half = self.number("nms.half", 0.5);
        let reach = self.step("Mul", "nms.reach", &[&size, &half], vec![]);
        let low = self.step("Sub", "nms.low", &[&centre, &reach], vec![]);
        (low, self.step("Add", "nms.high", &[&centre, &reach], vec![]))
    }

    /// Zeroes rows without a score, fills up to [`ROWS`], and calls the result the output.
    fn blank_unused(&mut self, rows: &str, score: &str, count: usize) {
        let nothing = self.number("nms.nothing", 0.0);
        let used = self.step("Greater", "nms.used", &[score, &nothing], vec![]);
        let to = vec![AttributeProto::int("to", i64::from(Precision::Single.data_type()))];
        let used = self.step("Cast", "nms.used.fp32", &[&used], to);
        let operands = vec![rows.to_owned(), used];
        if count == ROWS {
            self.push("Mul", "nms.output", operands, vec![OUTPUT.to_owned()], vec![]);
            return;
        }
        let short = self.names.unique("nms.short");
        self.push("Mul", &short, operands, vec![short.clone()], vec![]);
        let missing = self.whole(&[0, 0, 0, 0, (ROWS - count) as i64, 0]);
        self.push("Pad", "nms.output", vec![short, missing], vec![OUTPUT.to_owned()], vec![]);
    }

    /// A node with one result, which has its name.
    fn step(&mut self, op: &str, name: &str, input: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = self.names.unique(name);
        let input = input.iter().map(|&operand| operand.to_owned()).collect();
        self.push(op, &name, input, vec![name.clone()], attribute);
        name
    }

    fn whole(&mut self, numbers: &[i64]) -> String {
        self.initializers.integers(&mut self.names, numbers)
    }

    fn number(&mut self, name: &str, number: f32) -> String {
        self.initializers.floats(&mut self.names, name, &[1], &[number], Precision::Single)
    }
}
