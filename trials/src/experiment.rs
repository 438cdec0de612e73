//! The file of an experiment: what is compared on which pairs.
//!
//! ```yaml
//! data: pairs/data.yaml          # relative to this file
//! splits: [train, val]           # whose pairs are parted into folds; the default
//! folds: 5
//! seeds: [0, 1, 2]
//! train: {epochs: 200, amp: true, cache: ram}     # flags of `yf train`, for all variants
//! variants:
//!   ir-only: {model: yolov8-n, modality: ir}      # and for one
//!   mid: {model: mid-n}
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_yaml_ng::{Mapping, Value};

use crate::TrialError;

/// Flags that name a file.
const FILES: [&str; 2] = ["weights", "model"];

/// What is compared on which pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// The data.yaml, where the experiment names one.
    pub data: Option<PathBuf>,
    /// Names of the splits whose pairs are parted into folds.
    pub splits: Vec<String>,
    /// Number of folds.
    pub folds: usize,
    /// Seeds that every variant is trained with on every fold.
    pub seeds: Vec<u64>,
    /// What is compared.
    pub variants: Vec<Variant>,
}

/// A network and how it is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Its name in tables.
    pub name: String,
    /// Flags of `yf train`: those of all variants, then its own.
    pub arguments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    #[serde(default = "splits")]
    splits: Vec<String>,
    #[serde(default = "folds")]
    folds: usize,
    #[serde(default = "seeds")]
    seeds: Vec<u64>,
    #[serde(default)]
    train: Mapping,
    variants: Mapping,
}

fn splits() -> Vec<String> {
    ["train", "val"].map(str::to_owned).to_vec()
}

fn folds() -> usize {
    5
}

fn seeds() -> Vec<u64> {
    vec![0, 1, 2]
}

impl Experiment {
    /// Reads an experiment's file. What its flags mean is for `yf train` to say.
    ///
    /// # Errors
    /// A file that cannot be read, is no such YAML, or compares nothing; names that are no names of folders.
    pub fn read(path: &Path) -> Result<Self, TrialError> {
        let text = std::fs::read_to_string(path).map_err(|e| TrialError::io(path, e))?;
        Experiment::parse(path, &text)
    }

    /// The same experiment on other weights: every variant that starts from weights starts from this file. `None` where
    /// none does.
    pub fn starting_from(mut self, weights: &str) -> Option<Self> {
        let flag = |arguments: &[String]| arguments.iter().position(|word| word == "--weights");
        let mut any = false;
        for Variant { arguments, .. } in &mut self.variants {
            if let Some(value) = flag(arguments).and_then(|at| arguments.get_mut(at + 1)) {
                weights.clone_into(value);
                any = true;
            }
        }
        any.then_some(self)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, TrialError> {
        let wrong = |line, why| TrialError::Experiment { path: path.to_path_buf(), line, why };
        let file: File = serde_yaml_ng::from_str(text)
            .map_err(|e| wrong(e.location().map(|at| at.line()), format!("no experiment: {e}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let common = flags(&file.train, folder).map_err(|why| wrong(None, format!("'train': {why}")))?;
        let variant = |(name, own): (&Value, &Value)| {
            let name = name.as_str().filter(|name| is_name(name)).ok_or_else(|| {
                format!("{name:?} is no name of a variant: letters, digits and . _ - are, e.g. mid-drop.2")
            })?;
            let own = match own {
                Value::Mapping(own) => own,
                Value::Null => &Mapping::new(),
                _ => return Err(format!("'{name}' is no map of flags, such as {{model: mid-n}}")),
            };
            let own = flags(own, folder).map_err(|why| format!("'{name}': {why}"))?;
            Ok(Variant { name: name.to_owned(), arguments: joined(&common, own) })
        };
        let variants: Vec<Variant> =
            file.variants.iter().map(variant).collect::<Result<_, _>>().map_err(|why| wrong(None, why))?;
        if variants.is_empty() || file.seeds.is_empty() {
            return Err(wrong(None, "nothing to compare: 'variants' or 'seeds' is empty".to_owned()));
        }
        let again = |(at, seed): &(usize, &u64)| file.seeds[..*at].contains(seed);
        if let Some((_, seed)) = file.seeds.iter().enumerate().find(again) {
            return Err(wrong(None, format!("'seeds': {seed} is there twice")));
        }
        let data = file.data.map(|data| folder.join(data));
        Ok(Experiment { data, splits: file.splits, folds: file.folds, seeds: file.seeds, variants })
    }
}

/// A name that is a folder's on any system.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

/// A flag and its value; a switch has none. `None` where a switch is off.
type Flag = (String, Option<Option<String>>);

fn flags(map: &Mapping, folder: &Path) -> Result<Vec<Flag>, String> {
    let flag = |(key, value): (&Value, &Value)| {
        let key = key.as_str().ok_or("a flag is a text, such as epochs")?.to_owned();
        let value = match value {
            Value::Bool(on) => on.then_some(None),
            Value::Number(number) => Some(Some(number.to_string())),
            Value::String(text) => Some(Some(in_folder(&key, text, folder))),
            _ => return Err(format!("the value of '{key}' is neither a number nor a text nor true")),
        };
        Ok((key, value))
    };
    map.iter().map(flag).collect()
}

/// Files are relative to the experiment's; a network by its name is none.
fn in_folder(key: &str, text: &str, folder: &Path) -> String {
    let is_file = FILES.contains(&key) && Path::new(text).extension().is_some();
    let path = folder.join(text);
    path.to_str().filter(|_| is_file).unwrap_or(text).to_owned()
}

/// The flags of both as arguments; where both have one, `own` says.
fn joined(common: &[Flag], own: Vec<Flag>) -> Vec<String> {
    let overridden = |flag: &&Flag| !own.iter().any(|(key, _)| *key == flag.0);
    let all = common.iter().filter(overridden).chain(&own);
    let words = all.filter_map(|(key, value)| Some((format!("--{key}"), value.clone()?)));
    words.flat_map(|(key, value)| std::iter::once(key).chain(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Experiment, TrialError> {
        Experiment::parse(Path::new("experiments/some.yaml"), text)
    }

    #[test]
    fn a_variant_has_the_flags_of_all_and_its_own() {
        let text = "\
data: ../pairs/data.yaml
seeds: [4]
train: {epochs: 200, amp: true, cos-lr: true, weights: coco.pt}
variants:
  ir-only: {model: yolov8-n, modality: ir, cos-lr: false}
  own.2: {model: nets/own.yaml, epochs: 20, modality-dropout: '0.3,0.1'}
  plain:
";
        let read = parse(text).unwrap();
        assert_eq!(read.data, Some("experiments/../pairs/data.yaml".into()));
        assert_eq!((read.folds, read.seeds, read.splits.len()), (5, vec![4], 2));
        let lines: Vec<String> = read.variants.iter().map(|v| v.arguments.join(" ")).collect();
        assert_eq!(
            lines,
            [
                "--epochs 200 --amp --weights experiments/coco.pt --model yolov8-n --modality ir",
                "--amp --cos-lr --weights experiments/coco.pt --model experiments/nets/own.yaml --epochs 20 \
                 --modality-dropout 0.3,0.1",
                "--epochs 200 --amp --cos-lr --weights experiments/coco.pt",
            ]
        );
    }

    #[test]
    fn other_weights_take_the_place_of_those_that_are_named() {
        let text = "variants:\n  a: {weights: coco.pt, epochs: 3}\n  b: {epochs: 3}\n";
        let read = parse(text).unwrap().starting_from("mine.safetensors").unwrap();
        let lines: Vec<String> = read.variants.iter().map(|v| v.arguments.join(" ")).collect();
        assert_eq!(lines, ["--weights mine.safetensors --epochs 3", "--epochs 3"]);
        assert!(parse("variants: {a: {epochs: 3}}\n").unwrap().starting_from("mine.pt").is_none());
    }

    #[test]
    fn what_is_no_experiment_is_told() {
        for (text, expected) in [
            ("variants: {a: {}}\nfold: 3\n", "some.yaml:2"),
            ("folds: 3\n", "variants"),
            ("variants: {}\n", "nothing to compare"),
            ("seeds: [4, 1, 4]\nvariants: {a: {}}\n", "'seeds': 4 is there twice"),
            ("variants: {a/b: {}}\n", "no name of a variant"),
            ("variants: {a: 3}\n", "'a' is no map of flags"),
            ("variants: {a: {epochs: [1]}}\n", "'a': the value of 'epochs'"),
        ] {
            let error = parse(text).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
