//! Folds for a cross-validation. Neighbouring frames look alike, so a fold is a contiguous stretch of every source.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use serde_yaml_ng::{Mapping, Value};

use super::pairing::Layout;
use super::{DataSet, PairFiles, Split};
use crate::error::DataError;

/// One way to part the pairs: what is learned from, and what is tested on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fold {
    /// All pairs but those of `test`.
    pub train: Vec<PairFiles>,
    /// A stretch of every source.
    pub test: Vec<PairFiles>,
}

impl DataSet {
    /// Parts the pairs of `splits`, together, into `count` folds. A source is what lies under one folder called
    /// `images`, whatever splits it has been sorted into, in the order of its files' names; the k-th fold tests on
    /// the k-th stretch of every source.
    ///
    /// # Errors
    /// As [`DataSet::pairs`]; fewer than two folds, or fewer pairs than folds.
    pub fn folds(&self, splits: &[Split], count: usize) -> Result<Vec<Fold>, DataError> {
        let sources = self.sources(splits)?;
        let pairs: usize = sources.iter().map(Vec::len).sum();
        let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
        if count < 2 || longest < count {
            return Err(DataError::Config {
                path: self.yaml.clone(),
                line: None,
                why: format!(
                    "{pairs} pairs cannot be parted into {count} folds: 2 to {longest} are possible"
                ),
            });
        }
        let fold = |k: usize| {
            let (mut train, mut test) = (Vec::new(), Vec::new());
            for source in &sources {
                let stretch = source.len() * k / count..source.len() * (k + 1) / count;
                test.extend_from_slice(&source[stretch.clone()]);
                train.extend_from_slice(&source[..stretch.start]);
                train.extend_from_slice(&source[stretch.end..]);
            }
            Fold { train, test }
        };
        Ok((0..count).map(fold).collect())
    }

    /// The files that make a data set of a fold: names and contents of a data.yaml, which is the first and is called
    /// `name.yaml`, and of the two lists it names. They are to lie in one folder, any.
    ///
    /// # Errors
    /// A path that a list cannot hold, because it is no UTF-8 or has a line break.
    pub fn fold_files(&self, name: &str, fold: &Fold) -> Result<[(String, String); 3], DataError> {
        let (train, test) = (format!("{name}-train.txt"), format!("{name}-test.txt"));
        let layout = &self.config.layout;
        let mut keys = vec![
            ("train", Value::from(train.clone())),
            ("val", test.clone().into()),
            ("names", self.names().to_vec().into()),
            ("rgb", layout.rgb.clone().into()),
            ("ir", layout.ir.clone().into()),
            ("labels", layout.labels.clone().into()),
        ];
        if !layout.ir_suffix.is_empty() {
            keys.push(("ir_suffix", layout.ir_suffix.clone().into()));
        }
        let yaml: Mapping = keys.into_iter().map(|(key, value)| (key.into(), value)).collect();
        let yaml = serde_yaml_ng::to_string(&yaml).map_err(|e| self.refused(e.to_string()))?;
        Ok([(format!("{name}.yaml"), yaml), (train, self.list(&fold.train)?), (test, self.list(&fold.test)?)])
    }

    fn list(&self, pairs: &[PairFiles]) -> Result<String, DataError> {
        let mut lines = String::new();
        for PairFiles { rgb, .. } in pairs {
            let path = rgb.to_str().filter(|path| !path.contains(['\n', '\r']));
            let path = path.ok_or_else(|| {
                self.refused(format!("{} cannot stand in a list: rename it", rgb.display()))
            })?;
            lines += path;
            lines.push('\n');
        }
        Ok(lines)
    }

    /// The pairs of every source, in the order of the files' names.
    fn sources(&self, splits: &[Split]) -> Result<Vec<Vec<PairFiles>>, DataError> {
        let mut sources: BTreeMap<PathBuf, BTreeMap<(PathBuf, PathBuf), PairFiles>> = BTreeMap::new();
        for &split in splits {
            for pair in self.pairs(split)? {
                let (source, name) = place(&pair.rgb, &self.config.layout);
                // A pair that two splits share comes once.
                sources.entry(source).or_default().insert((name, pair.rgb.clone()), pair);
            }
        }
        Ok(sources.into_values().map(|pairs| pairs.into_values().collect()).collect())
    }

    fn refused(&self, why: String) -> DataError {
        DataError::Config { path: self.yaml.clone(), line: None, why }
    }
}

/// The folder of a picture's source, and its path within that and within its split.
fn place(rgb: &Path, layout: &Layout) -> (PathBuf, PathBuf) {
    let components: Vec<Component> = rgb.components().collect();
    let folders = &components[..components.len().saturating_sub(1)];
    let images = folders.iter().rposition(|c| *c == Component::Normal(OsStr::new(&layout.rgb)));
    let (source, inner) = components.split_at(images.map_or(folders.len(), |at| at + 1));
    let inner = if inner.len() > 1 { &inner[1..] } else { inner };
    (source.iter().collect(), inner.iter().collect())
}
