//! Attention in the operations of ONNX: a matrix product, a softmax, a matrix product.

use yf_models::graph::Node;

use super::{Writer, shifted};
use crate::precision::Precision;
use crate::proto::AttributeProto;

/// More products of queries with keys than this are not held at once (128 MB in single precision): the queries are then
/// taken in parts, one after the other, each in the memory of the one before.
const MOST_SCORES: usize = 1 << 25;

impl Writer<'_> {
    /// `softmax(scale * q k) v`; `operands` are the names of q, k, v. The scale goes onto the queries, which are fewer
    /// than the products.
    pub(super) fn attention(
        &mut self,
        node: &Node,
        scale: f32,
        operands: &[String],
        output: Vec<String>,
        precision: Precision,
    ) {
        let graph = self.graph();
        let [q, k, _] = [0, 1, 2].map(|i| graph.shape(node.inputs[i]));
        let queries_axis = q.len() - 2;
        let (queries, scores) =
            (q[queries_axis], q[..=queries_axis].iter().product::<usize>() * k[k.len() - 1]);

        let factor =
            self.initializers.floats(&mut self.names, &format!("factor.{scale}"), &[], &[scale], precision);
        let scaled = self.names.unique(&format!("{}.scaled", node.name));
        self.push("Mul", &scaled, vec![operands[0].clone(), factor], vec![scaled.clone()], vec![]);

        // Queries and results share a row only where they are equally wide.
        let equally_wide = q.last() == graph.shape(node.outputs[0]).last();
        let parts = if equally_wide { scores.div_ceil(MOST_SCORES).clamp(1, queries) } else { 1 };
        let axis = AttributeProto::int("axis", shifted(queries_axis));
        if parts == 1 {
            self.attend(node, &node.name, [&scaled, &operands[1], &operands[2]], output);
            return;
        }
        let mut row = scaled;
        for i in 0..parts {
            // Queries that wait, then results: each part takes the first of the row and puts its result behind the last,
            // so that no part can begin before the one in front is done, and in the end all are in order.
            let size = (i + 1) * queries / parts - i * queries / parts;
            let sizes = self.initializers.integers(&mut self.names, &[size as i64, (queries - size) as i64]);
            let [first, rest, part] =
                ["first", "rest", "part"].map(|what| self.names.unique(&format!("{}.{what}.{i}", node.name)));
            let cut = vec![first.clone(), rest.clone()];
            self.push(
                "Split",
                &format!("{}.split.{i}", node.name),
                vec![row, sizes],
                cut,
                vec![axis.clone()],
            );
            self.attend(node, &part, [&first, &operands[1], &operands[2]], vec![part.clone()]);
            let last = i + 1 == parts;
            row = if last { output[0].clone() } else { self.names.unique(&format!("{}.row.{i}", node.name)) };
            let name = if last { node.name.clone() } else { row.clone() };
            self.push("Concat", &name, vec![rest, part], vec![row.clone()], vec![axis.clone()]);
        }
    }

    /// One part of the queries, already scaled.
    fn attend(&mut self, node: &Node, name: &str, [q, k, v]: [&String; 3], output: Vec<String>) {
        let rank = self.graph().shape(node.outputs[0]).len();
        let products = self.names.unique(&format!("{name}.products"));
        let weights = self.names.unique(&format!("{name}.weights"));
        self.push("MatMul", &products, vec![q.clone(), k.clone()], vec![products.clone()], vec![]);
        let axis = AttributeProto::int("axis", shifted(rank - 1));
        self.push("Softmax", &weights, vec![products], vec![weights.clone()], vec![axis]);
        self.push("MatMul", name, vec![weights, v.clone()], output, vec![]);
    }
}
