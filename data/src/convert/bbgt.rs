//! KAIST's text annotations, `% bbGt version=3`: a line an object,
//! `label x y w h occlusion vx vy vw vh ignore angle`: the box, how much of it is hidden (0, 1 or 2), its visible part,
//! and whether it is to be ignored. Some copies have only the first five or six.

use std::path::Path;

use super::annotation::{Annotation, Object, no_box};
use crate::error::DataError;

/// Where a line says whether the object is to be ignored.
const IGNORE: usize = 10;

/// Reads a file's text; `path` is for errors. All of its lines that are wrong are named.
pub(super) fn parse(text: &str, path: &Path) -> Result<Annotation, Vec<DataError>> {
    let (mut objects, mut wrong) = (Vec::new(), Vec::new());
    for (index, line) in text.trim_start_matches('\u{feff}').lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('%') {
            continue;
        }
        match object(line, index + 1) {
            Ok(object) => objects.push(object),
            Err(why) => wrong.push(no_box(path, index + 1, why)),
        }
    }
    if wrong.is_empty() { Ok(Annotation { size: None, objects }) } else { Err(wrong) }
}

fn object(text: &str, line: usize) -> Result<Object, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let number = |index: usize| -> Result<f64, String> {
        let field = fields.get(index).ok_or("a line is: label x y w h occlusion ...")?;
        let number = field.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| format!("'{field:.40}' is not a number"))
    };
    let [x, y, w, h] = [number(1)?, number(2)?, number(3)?, number(4)?];
    let ignored = fields.len() > IGNORE && number(IGNORE)? != 0.0;
    Ok(Object { line, name: fields[0].to_owned(), corners: [x, y, x + w, y + h], ignored })
}
