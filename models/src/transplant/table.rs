//! The table of a start: what each layer takes, adapts and leaves.

use std::fmt::Write;

use super::{Count, LayerOrigin, Transplant};

impl Transplant {
    /// A row a layer: its block, the source's layer, and of tensors and parameters those taken, adapted and left; the
    /// sum below. Without a line break at the end.
    pub fn table(&self) -> String {
        let row = |layer: &LayerOrigin| {
            let source = layer.source.as_ref().map_or("-".to_owned(), |(at, block)| format!("{at} {block}"));
            [format!("{} {}", layer.index, layer.block), source]
        };
        let names: Vec<[String; 2]> = self.layers.iter().map(row).collect();
        let widest = |column: usize| names.iter().map(|n| n[column].chars().count()).max().unwrap_or(0);
        let widths = [widest(0).max(5), widest(1).max(6)];
        let mut text = format!(
            "{:<w0$}  {:<w1$}  {:^23}  {:^32}\n{:<w0$}  {:<w1$}  {:>7} {:>7} {:>7}  {:>10} {:>10} {:>10}",
            "",
            "",
            "tensors",
            "parameters",
            "layer",
            "from",
            "taken",
            "adapted",
            "left",
            "taken",
            "adapted",
            "left",
            w0 = widths[0],
            w1 = widths[1],
        );
        for (name, layer) in names.iter().zip(&self.layers) {
            line(&mut text, widths, name, [layer.taken, layer.adapted, layer.left]);
        }
        line(&mut text, widths, &["all".to_owned(), String::new()], self.total());
        text
    }
}

fn line(text: &mut String, [w0, w1]: [usize; 2], [layer, source]: &[String; 2], counts: [Count; 3]) {
    let [t, a, l] = counts;
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "\n{layer:<w0$}  {source:<w1$}  {:>7} {:>7} {:>7}  {:>10} {:>10} {:>10}",
        t.tensors, a.tensors, l.tensors, t.parameters, a.parameters, l.parameters,
    );
}
