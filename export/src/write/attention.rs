//! Attention in the operations of ONNX: a matrix product, a softmax, a matrix product.

use yf_models::graph::Node;

use super::{Writer, shifted};
use crate::precision::Precision;
use crate::proto::AttributeProto;

/// More products of queries with keys than this are not held at once (128 MB in single precision): the queries are then
/// taken in parts, one after the other. ONNX Runtime gives each part the memory of the one before. The embedded runtime
/// (rten 0.27) runs operators that cannot work in place first, so it holds the products of all parts before any softmax.
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

        let parts = scores.div_ceil(MOST_SCORES).clamp(1, queries);
        let axis = AttributeProto::int("axis", shifted(queries_axis));
        if parts == 1 {
            self.attend(node, &node.name, [&scaled, &operands[1], &operands[2]], output);
            return;
        }
        let sizes: Vec<i64> =
            (0..parts).map(|i| ((i + 1) * queries / parts - i * queries / parts) as i64).collect();
        let names = |what: &str| (0..parts).map(|i| format!("{}.{what}.{i}", node.name)).collect::<Vec<_>>();
        let cut: Vec<String> = names("queries").iter().map(|name| self.names.unique(name)).collect();
        let attended: Vec<String> = names("part").iter().map(|name| self.names.unique(name)).collect();
        let sizes = self.initializers.integers(&mut self.names, &sizes);
        self.push(
            "Split",
            &format!("{}.split", node.name),
            vec![scaled, sizes],
            cut.clone(),
            vec![axis.clone()],
        );
        for (q, part) in cut.iter().zip(&attended) {
            self.attend(node, part, [q, &operands[1], &operands[2]], vec![part.clone()]);
        }
        self.push("Concat", &node.name, attended, output, vec![axis]);
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
