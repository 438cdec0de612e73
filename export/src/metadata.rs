//! `metadata_props`: what a runtime must know beside the computation, under the keys that Ultralytics uses.
//!
//! Values that are not plain text are Python literals there (`{0: 'person'}`), so they are here. The date is
//! left out: the same weights give the same file.

use yf_models::graph::Graph;
use yf_models::weights::Header;

use crate::proto::StringStringEntryProto;
use crate::{Nms, Options, traffic};

/// The entries for a network of this header and graph.
pub fn entries(header: &Header, graph: &Graph, options: &Options) -> Vec<StringStringEntryProto> {
    let (height, width) = graph.input_size();
    let stride = graph.head.strides.iter().max().copied().unwrap_or(0);
    let pictures = if graph.inputs.len() == 2 { "RGB + infrared" } else { "one picture" };
    let python = |flag| if flag { "True" } else { "False" };
    let arguments = format!(
        "{{'batch': {}, 'half': {}, 'dynamic': {}, 'nms': {}}}",
        options.batch,
        python(options.fp16),
        python(options.dynamic),
        python(options.nms.is_some())
    );
    let (weights, maps) = traffic::bytes(graph, if options.fp16 { 2 } else { 4 });
    let entries = [
        ("description", format!("yf {}, a detector ({pictures})", header.model)),
        ("author", "yf".to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("stride", stride.to_string()),
        ("task", "detect".to_owned()),
        ("batch", options.batch.to_string()),
        ("imgsz", format!("[{height}, {width}]")),
        ("names", python_names(&header.names)),
        ("args", arguments),
        ("yf.model", header.model.clone()),
        ("yf.epoch", header.epoch.to_string()),
        ("yf.trained_with", header.version.clone()),
        ("yf.precision", if options.fp16 { "fp16" } else { "fp32" }.to_owned()),
    ];
    let entries = entries.into_iter().chain([
        ("yf.input", if options.bytes { "uint8" } else { "float32" }.to_owned()),
        ("yf.bytes.weights", weights.to_string()),
        ("yf.bytes.maps", maps.to_string()),
    ]);
    let thresholds = |nms: Nms| [("yf.nms.conf", nms.conf.to_string()), ("yf.nms.iou", nms.iou.to_string())];
    let suppression = options.nms.map(thresholds).into_iter().flatten();
    let modality = header.modality.map(|camera| ("modality", camera.name().to_owned()));
    let entry = |(key, value): (&str, String)| StringStringEntryProto { key: key.to_owned(), value };
    entries.chain(suppression).chain(modality).map(entry).collect()
}

/// `{0: 'person', 1: 'cycle'}`.
fn python_names(names: &[String]) -> String {
    let entries: Vec<String> =
        names.iter().enumerate().map(|(i, name)| format!("{i}: {}", python_string(name))).collect();
    format!("{{{}}}", entries.join(", "))
}

/// A Python string literal in single quotes.
fn python_string(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\'' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            // U+2028 and its like end a line for some readers.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                literal.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_a_python_dictionary() {
        let names = ["person", "fire 'n' smoke", "a\\b", "two\nlines", "\"x\"", "人"].map(String::from);
        assert_eq!(
            python_names(&names),
            r#"{0: 'person', 1: 'fire \'n\' smoke', 2: 'a\\b', 3: 'two\nlines', 4: '"x"', 5: '人'}"#
        );
        assert_eq!(python_names(&[]), "{}");
    }
}
