//! Reading data.yaml: known keys, their types, and the line of whatever is wrong.

use std::path::{Component, Path, PathBuf};

use serde_yaml_ng::{Mapping, Value};

use super::Split;
use super::pairing::Layout;
use crate::error::DataError;

/// Keys that mean something here.
const KEYS: [&str; 10] = ["path", "train", "val", "test", "names", "nc", "rgb", "ir", "ir_suffix", "labels"];

/// Keys that other tools write and that change nothing about pairs and boxes.
const HARMLESS: [&str; 11] = [
    "download",
    "channels",
    "roboflow",
    "author",
    "date",
    "description",
    "license",
    "links",
    "url",
    "version",
    "yaml_file",
];

/// What data.yaml says.
#[derive(Debug)]
pub(super) struct Config {
    pub root: PathBuf,
    pub names: Vec<String>,
    pub layout: Layout,
    splits: [Option<Entry>; 3],
}

/// The folders and files of one part, as written.
#[derive(Debug)]
pub(super) struct Entry {
    pub paths: Vec<PathBuf>,
    pub line: Option<usize>,
}

impl Config {
    pub fn read(yaml: &Path) -> Result<Config, DataError> {
        let text = std::fs::read_to_string(yaml).map_err(|source| DataError::io(yaml, source))?;
        let value: Value = serde_yaml_ng::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            let line = error.location().map(|at| at.line());
            DataError::Config { path: yaml.to_path_buf(), line, why: format!("no valid YAML: {error}") }
        })?;
        let Value::Mapping(map) = value else {
            return Err(DataError::Config {
                path: yaml.to_path_buf(),
                line: None,
                why: "no data.yaml: expected keys such as 'train', 'val' and 'names'".into(),
            });
        };
        Reader { yaml, text: &text, map: &map }.config()
    }

    pub fn split(&self, split: Split) -> Option<&Entry> {
        self.splits[split as usize].as_ref()
    }
}

struct Reader<'a> {
    yaml: &'a Path,
    text: &'a str,
    map: &'a Mapping,
}

impl Reader<'_> {
    fn config(&self) -> Result<Config, DataError> {
        self.refuse_unknown_keys()?;
        let names = self.names()?;
        self.check_count(&names)?;
        let root = self.root()?;
        let splits = [self.entry(Split::Train)?, self.entry(Split::Val)?, self.entry(Split::Test)?];
        if splits[0].is_none() && splits[1].is_none() {
            return Err(self.error(None, "neither 'train' nor 'val': name the folders of the RGB pictures"));
        }
        Ok(Config { root, names, layout: self.layout()?, splits })
    }

    fn refuse_unknown_keys(&self) -> Result<(), DataError> {
        for key in self.map.keys() {
            let name = key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned);
            if KEYS.contains(&name.as_str()) || HARMLESS.contains(&name.as_str()) {
                continue;
            }
            let advice = match nearest(&name) {
                Some(known) => format!("did you mean '{known}'?"),
                None => format!("known keys are {}", KEYS.join(", ")),
            };
            return Err(self.error(Some(&name), &format!("unknown key '{name}': {advice}")));
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>, DataError> {
        let names = match self.get("names") {
            Some(Value::Sequence(list)) => list.iter().map(|v| self.name(v)).collect::<Result<_, _>>()?,
            Some(Value::Mapping(map)) => self.names_of_map(map)?,
            Some(_) => {
                return Err(self.error(Some("names"), "'names' is neither a list nor a map of class names"));
            }
            None => return Err(self.error(None, "no 'names': list the class names")),
        };
        if names.is_empty() {
            return Err(self.error(Some("names"), "'names' is empty: a detector needs at least one class"));
        }
        Ok(names)
    }

    fn names_of_map(&self, map: &Mapping) -> Result<Vec<String>, DataError> {
        let mut names = vec![None; map.len()];
        for (key, value) in map {
            let index = key.as_u64().or_else(|| key.as_str().and_then(|k| k.parse().ok()));
            match index.and_then(|i| names.get_mut(usize::try_from(i).ok()?)) {
                Some(slot) => *slot = Some(self.name(value)?),
                None => {
                    let key = key.as_str().map_or_else(|| scalar(key).unwrap_or_default(), str::to_owned);
                    let last = map.len() - 1;
                    let why =
                        format!("class '{key}' in 'names': {} names are numbered 0 to {last}", map.len());
                    return Err(self.error(Some("names"), &why));
                }
            }
        }
        let complete: Option<Vec<String>> = names.into_iter().collect();
        complete.ok_or_else(|| self.error(Some("names"), "two names of one number in 'names'"))
    }

    fn name(&self, value: &Value) -> Result<String, DataError> {
        match scalar(value) {
            Some(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
            _ => Err(self.error(Some("names"), "a class name in 'names' is empty or no text")),
        }
    }

    fn check_count(&self, names: &[String]) -> Result<(), DataError> {
        match self.get("nc") {
            None => Ok(()),
            Some(value) if value.as_u64() == Some(names.len() as u64) => Ok(()),
            Some(value) => {
                let said = scalar(value).unwrap_or_else(|| "no number".into());
                let why = format!("'nc' is {said}, 'names' has {}: correct one, or drop 'nc'", names.len());
                Err(self.error(Some("nc"), &why))
            }
        }
    }

    fn root(&self) -> Result<PathBuf, DataError> {
        let folder = self.yaml.parent().unwrap_or(Path::new(""));
        let root = match self.text_of("path")? {
            Some(path) => folder.join(path),
            None => folder.to_path_buf(),
        };
        let root = if root.as_os_str().is_empty() { PathBuf::from(".") } else { root };
        if root.is_dir() {
            return absolute(&root).map_err(|source| DataError::io(&root, source));
        }
        let why =
            format!("'path' means {}, which is no folder (it is relative to this file)", root.display());
        Err(self.error(Some("path"), &why))
    }

    fn entry(&self, split: Split) -> Result<Option<Entry>, DataError> {
        let key = split.name();
        let paths = match self.get(key) {
            None => return Ok(None),
            Some(Value::Sequence(list)) => {
                let paths: Option<Vec<PathBuf>> = list.iter().map(|v| scalar(v).map(PathBuf::from)).collect();
                paths.ok_or_else(|| {
                    self.error(Some(key), &format!("'{key}' lists something that is no path"))
                })?
            }
            Some(value) => match scalar(value) {
                Some(path) => vec![PathBuf::from(path)],
                None => {
                    return Err(
                        self.error(Some(key), &format!("'{key}' is neither a path nor a list of paths"))
                    );
                }
            },
        };
        if paths.is_empty() {
            return Err(self.error(Some(key), &format!("'{key}' is an empty list")));
        }
        Ok(Some(Entry { paths, line: self.line(key) }))
    }

    fn layout(&self) -> Result<Layout, DataError> {
        let defaults = Layout::default();
        let suffix = self.text_of("ir_suffix")?.unwrap_or_default();
        let rgb = self.folder("rgb")?.unwrap_or(defaults.rgb);
        // With a suffix alone, the infrared files lie beside the RGB files.
        let beside = if suffix.is_empty() { defaults.ir } else { rgb.clone() };
        let layout = Layout {
            ir: self.folder("ir")?.unwrap_or(beside),
            labels: self.folder("labels")?.unwrap_or(defaults.labels),
            rgb,
            ir_suffix: suffix,
        };
        if layout.ir == layout.rgb && layout.ir_suffix.is_empty() {
            let why = format!(
                "RGB and infrared pictures would both be in '{}': name another folder, or an 'ir_suffix'",
                layout.ir
            );
            return Err(self.error(Some("ir"), &why));
        }
        Ok(layout)
    }

    /// The name of a folder: one component of a path.
    fn folder(&self, key: &str) -> Result<Option<String>, DataError> {
        let Some(name) = self.text_of(key)? else { return Ok(None) };
        let name = name.trim_end_matches('/').to_owned();
        if name.is_empty() || name.contains(['/', '\\']) || name == "." || name == ".." {
            let why = format!("'{key}' is the name of a folder, such as imagesIR, and no path: '{name}'");
            return Err(self.error(Some(key), &why));
        }
        Ok(Some(name))
    }

    fn text_of(&self, key: &str) -> Result<Option<String>, DataError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match scalar(value) {
                Some(text) => Ok(Some(text)),
                None => Err(self.error(Some(key), &format!("'{key}' is no text"))),
            },
        }
    }

    /// The value of a key; an empty one (`test:`) counts as absent.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// The line, from 1, on which a key of the outermost map stands.
    fn line(&self, key: &str) -> Option<usize> {
        let starts = |line: &str| {
            let line = line.trim_start_matches('\u{feff}').trim_start_matches(['"', '\'']);
            let rest = line.strip_prefix(key).map(|rest| rest.trim_start_matches(['"', '\'']).trim_start());
            rest.is_some_and(|rest| rest.starts_with(':'))
        };
        self.text.lines().position(starts).map(|index| index + 1)
    }

    fn error(&self, key: Option<&str>, why: &str) -> DataError {
        let line = key.and_then(|key| self.line(key));
        DataError::Config { path: self.yaml.to_path_buf(), line, why: why.to_owned() }
    }
}

/// The whole path, because a folder called `images` may stand above the working directory. Links are kept unless a
/// `..` has to be resolved.
fn absolute(root: &Path) -> std::io::Result<PathBuf> {
    if root.components().any(|component| component == Component::ParentDir) {
        root.canonicalize()
    } else {
        std::path::absolute(root)
    }
}

/// A text, number or truth value as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The known key that a misspelt one most likely means.
fn nearest(name: &str) -> Option<&'static str> {
    // What other tools call the same things.
    match name.to_lowercase().as_str() {
        "validation" | "valid" | "dev" => return Some("val"),
        "classes" | "class_names" => return Some("names"),
        "num_classes" => return Some("nc"),
        "infrared" | "thermal" | "imagesir" | "images_ir" => return Some("ir"),
        "root" => return Some("path"),
        _ => {}
    }
    let name = name.to_lowercase();
    let (distance, key) = KEYS.iter().map(|key| (edits(&name, key), *key)).min()?;
    (distance <= 2 && distance < key.len()).then_some(key)
}

/// Insertions, deletions and replacements that turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
