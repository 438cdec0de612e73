//! Which infrared picture and which labels belong to an RGB picture.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use super::listing::{Listing, entries, is_picture, walk};
use crate::error::DataError;

/// The files of one pair.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct PairFiles {
    /// The RGB picture.
    pub rgb: PathBuf,
    /// The infrared picture; where there is none, the path where it should be.
    pub ir: PathBuf,
    /// The label file; it need not exist.
    pub labels: PathBuf,
}

/// How the three kinds of files of a data set are told apart.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Name of the folder of RGB pictures.
    pub rgb: String,
    /// Name of the folder of infrared pictures.
    pub ir: String,
    /// Name of the folder of label files.
    pub labels: String,
    /// What the stem of an infrared file has more than that of its RGB file.
    pub ir_suffix: String,
}

impl Default for Layout {
    fn default() -> Self {
        Layout {
            rgb: "images".into(),
            ir: "imagesIR".into(),
            labels: "labels".into(),
            ir_suffix: String::new(),
        }
    }
}

impl Layout {
    /// Whether a folder of this name holds something other than RGB pictures.
    pub fn is_other_folder(&self, name: &str) -> bool {
        name != self.rgb && (name == self.ir || name == self.labels)
    }

    /// Whether this is an infrared picture that lies beside the RGB pictures.
    pub fn is_infrared_beside(&self, path: &Path) -> bool {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        self.beside() && stem.ends_with(&self.ir_suffix)
    }

    fn beside(&self) -> bool {
        self.ir == self.rgb && !self.ir_suffix.is_empty()
    }

    /// The folder of the infrared pictures of the RGB pictures in `folder`.
    fn ir_folder(&self, folder: &Path) -> Option<PathBuf> {
        if self.beside() { Some(folder.to_path_buf()) } else { replace_nearest(folder, &self.rgb, &self.ir) }
    }

    /// The folder of their labels; beside the pictures where the path has no folder called `images`.
    fn label_folder(&self, folder: &Path) -> PathBuf {
        replace_nearest(folder, &self.rgb, &self.labels).unwrap_or_else(|| folder.to_path_buf())
    }

    fn ir_stem(&self, rgb: &Path) -> OsString {
        let mut stem = rgb.file_stem().unwrap_or_default().to_os_string();
        stem.push(&self.ir_suffix);
        stem
    }
}

/// `folder` with the last component called `from` replaced: the one nearest to the files.
fn replace_nearest(folder: &Path, from: &str, to: &str) -> Option<PathBuf> {
    let mut components: Vec<Component> = folder.components().collect();
    // What stands before a `..` may not be part of the path any more.
    let start = components.iter().rposition(|c| *c == Component::ParentDir).map_or(0, |i| i + 1);
    let nearest = components[start..].iter().rposition(|c| *c == Component::Normal(OsStr::new(from)))?;
    components[start + nearest] = Component::Normal(OsStr::new(to));
    Some(components.iter().collect())
}

/// The pictures of infrared folders by stem, each folder read once.
#[derive(Default)]
struct Folders(HashMap<PathBuf, HashMap<OsString, Vec<PathBuf>>>);

impl Folders {
    /// The picture of that stem, preferably with `suffix`. A folder that is not there has none.
    fn find(&mut self, folder: &Path, stem: &OsStr, suffix: Option<&OsStr>) -> Option<PathBuf> {
        let stems = self.0.entry(folder.to_path_buf()).or_insert_with(|| by_stem(folder));
        let candidates = stems.get(stem)?;
        candidates.iter().find(|path| path.extension() == suffix).or(candidates.first()).cloned()
    }
}

fn by_stem(folder: &Path) -> HashMap<OsString, Vec<PathBuf>> {
    let mut stems: HashMap<OsString, Vec<PathBuf>> = HashMap::new();
    for path in entries(folder).unwrap_or_default() {
        if is_picture(&path) {
            stems.entry(path.file_stem().unwrap_or_default().to_os_string()).or_default().push(path);
        }
    }
    stems.values_mut().for_each(|paths| paths.sort());
    stems
}

/// The pair of every RGB picture.
pub(super) fn pair(pictures: &[PathBuf], layout: &Layout, yaml: &Path) -> Result<Vec<PairFiles>, DataError> {
    let mut folders = Folders::default();
    pictures.iter().map(|rgb| pair_one(rgb, layout, yaml, &mut folders)).collect()
}

fn pair_one(rgb: &Path, layout: &Layout, yaml: &Path, folders: &mut Folders) -> Result<PairFiles, DataError> {
    let folder = rgb.parent().unwrap_or(Path::new(""));
    let ir_folder = layout.ir_folder(folder).ok_or_else(|| DataError::Config {
        path: yaml.to_path_buf(),
        line: None,
        why: format!(
            "{} lies in no folder called '{}', so its infrared picture cannot be found: \
             name the folders (rgb: visible, ir: infrared) or a suffix of infrared files (ir_suffix: _ir)",
            rgb.display(),
            layout.rgb
        ),
    })?;
    let stem = layout.ir_stem(rgb);
    let ir = folders.find(&ir_folder, &stem, rgb.extension()).unwrap_or_else(|| {
        let mut name = stem;
        name.push(".");
        name.push(rgb.extension().unwrap_or_default());
        ir_folder.join(name)
    });
    let mut label = rgb.file_stem().unwrap_or_default().to_os_string();
    label.push(".txt");
    Ok(PairFiles { rgb: rgb.to_path_buf(), ir, labels: layout.label_folder(folder).join(label) })
}

/// Infrared pictures in the folders of a listing that no RGB picture there takes.
pub(super) fn lone_infrared(
    listing: &Listing,
    layout: &Layout,
    yaml: &Path,
) -> Result<Vec<PathBuf>, DataError> {
    let mut lone = Vec::new();
    for (ir_folder, rgb_folder) in folders_of(listing, layout)? {
        let Ok(infrared) = entries(&ir_folder) else { continue };
        let in_rgb_folder: Vec<PathBuf> = entries(&rgb_folder)
            .unwrap_or_default()
            .into_iter()
            .filter(|path| is_picture(path) && !layout.is_infrared_beside(path))
            .collect();
        let pairs = pair(&in_rgb_folder, layout, yaml)?;
        let taken: HashSet<PathBuf> = pairs.into_iter().map(|pair| pair.ir).collect();
        let is_infrared =
            |path: &PathBuf| is_picture(path) && (!layout.beside() || layout.is_infrared_beside(path));
        lone.extend(infrared.into_iter().filter(|path| is_infrared(path) && !taken.contains(path)));
    }
    lone.sort();
    Ok(lone)
}

/// Infrared folder to RGB folder: those of the listed pictures, and those under the counterpart of a listed folder,
/// which may have no RGB picture at all.
fn folders_of(listing: &Listing, layout: &Layout) -> Result<BTreeMap<PathBuf, PathBuf>, DataError> {
    let mut folders = BTreeMap::new();
    let parents: HashSet<&Path> = listing.pictures.iter().filter_map(|path| path.parent()).collect();
    for folder in parents {
        if let Some(ir) = layout.ir_folder(folder) {
            folders.insert(ir, folder.to_path_buf());
        }
    }
    for folder in &listing.folders {
        let Some(ir_root) = layout.ir_folder(folder).filter(|ir| ir.is_dir()) else { continue };
        for picture in walk(&ir_root, |name| name == layout.labels)? {
            let ir_folder = picture.parent().unwrap_or(&ir_root);
            let inner = ir_folder.strip_prefix(&ir_root).unwrap_or(Path::new(""));
            folders
                .entry(ir_folder.to_path_buf())
                .or_insert_with(|| folder.join(inner).components().collect());
        }
    }
    Ok(folders)
}

/// Pairs two pictures, or the pictures of two folders by their path within the folder and their stem; sorted.
///
/// # Errors
/// A path that is not there, a file against a folder, folders without pictures, a picture without its counterpart.
pub fn pair_folders(rgb: &Path, ir: &Path) -> Result<Vec<PairFiles>, DataError> {
    let is_folder =
        |path: &Path| std::fs::metadata(path).map(|m| m.is_dir()).map_err(|e| DataError::io(path, e));
    match (is_folder(rgb)?, is_folder(ir)?) {
        (false, false) => Ok(vec![files(rgb, ir)]),
        (true, true) => pair_two_folders(rgb, ir),
        (rgb_is_folder, _) => {
            let file = if rgb_is_folder { ir } else { rgb };
            let why = "is a file, and the other path is a folder: name two files or two folders";
            Err(DataError::Pairing { path: file.to_path_buf(), why: why.into() })
        }
    }
}

fn pair_two_folders(rgb: &Path, ir: &Path) -> Result<Vec<PairFiles>, DataError> {
    let keyed = |root: &Path| -> Result<BTreeMap<PathBuf, PathBuf>, DataError> {
        let key = |path: &Path| path.strip_prefix(root).unwrap_or(path).with_extension("");
        Ok(walk(root, |_| false)?.into_iter().map(|path| (key(&path), path)).collect())
    };
    let mut infrared = keyed(ir)?;
    let mut pairs = Vec::new();
    for (key, picture) in keyed(rgb)? {
        let Some(found) = infrared.remove(&key) else {
            let why = format!("no infrared picture '{}.*' in {}", key.display(), ir.display());
            return Err(DataError::Pairing { path: picture, why });
        };
        pairs.push(files(&picture, &found));
    }
    if let Some((key, lone)) = infrared.into_iter().next() {
        let why = format!("no RGB picture '{}.*' in {}", key.display(), rgb.display());
        return Err(DataError::Pairing { path: lone, why });
    }
    if pairs.is_empty() {
        return Err(DataError::Pairing { path: rgb.to_path_buf(), why: "no pictures in this folder".into() });
    }
    Ok(pairs)
}

fn files(rgb: &Path, ir: &Path) -> PairFiles {
    let folder = rgb.parent().unwrap_or(Path::new(""));
    let label = Path::new(rgb.file_stem().unwrap_or_default()).with_extension("txt");
    let labels = Layout::default().label_folder(folder).join(label);
    PairFiles { rgb: rgb.to_path_buf(), ir: ir.to_path_buf(), labels }
}
