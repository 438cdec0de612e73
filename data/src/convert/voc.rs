//! Annotations in Pascal VOC's XML. A box has the corners `xmin` `ymin` `xmax` `ymax`, or, in KAIST's files, `x` `y`
//! `w` `h`.

use std::path::Path;

use roxmltree::{Document, Node};

use super::annotation::{Annotation, Object, no_box};
use crate::error::DataError;

/// Reads a file's text; `path` is for errors. All of its objects that are wrong are named.
pub(super) fn parse(text: &str, path: &Path) -> Result<Annotation, Vec<DataError>> {
    let document = Document::parse(text.trim_start_matches('\u{feff}'))
        .map_err(|error| vec![no_box(path, error.pos().row as usize, format!("is no XML: {error}"))])?;
    let root = document.root_element();
    let (mut objects, mut wrong) = (Vec::new(), Vec::new());
    for node in root.children().filter(|node| node.has_tag_name("object")) {
        let line = document.text_pos_at(node.range().start).row as usize;
        match object(node, line) {
            Ok(object) => objects.push(object),
            Err(why) => wrong.push(no_box(path, line, why)),
        }
    }
    if wrong.is_empty() { Ok(Annotation { size: size(root), objects }) } else { Err(wrong) }
}

/// The picture's size; some files have zeros there.
fn size(root: Node<'_, '_>) -> Option<(usize, usize)> {
    let size = child(root, "size")?;
    let side = |name| text(size, name)?.parse::<usize>().ok().filter(|side| *side > 0);
    Some((side("width")?, side("height")?))
}

fn object(node: Node<'_, '_>, line: usize) -> Result<Object, String> {
    let name = text(node, "name").ok_or("an object without a name")?.to_owned();
    let bounds = child(node, "bndbox").ok_or_else(|| format!("the {name} has no bndbox"))?;
    let number = |name: &str| -> Result<f64, String> {
        let value = text(bounds, name).ok_or_else(|| format!("the box has no {name}"))?;
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("{name} is '{value:.40}', not a number"))
    };
    let corners = if child(bounds, "xmin").is_none() && child(bounds, "w").is_some() {
        let [x, y, w, h] = [number("x")?, number("y")?, number("w")?, number("h")?];
        [x, y, x + w, y + h]
    } else {
        [number("xmin")?, number("ymin")?, number("xmax")?, number("ymax")?]
    };
    Ok(Object { line, name, corners, ignored: false })
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name)?.text().map(str::trim)
}
