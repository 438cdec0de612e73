//! What the tests of this crate need: temporary data sets, and the shared real ones.

use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

use crate::dataset::DataSet;
use crate::error::DataError;

/// A temporary folder that files are written into by relative path.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.0.path().join(inner)
    }

    pub fn write(&self, inner: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(inner);
        std::fs::create_dir_all(path.parent().expect("within the folder")).expect("a temporary folder");
        std::fs::write(&path, content).expect("a temporary file");
        path
    }

    /// Empty files, for what is listed and never decoded.
    pub fn touch(&self, paths: &[&str]) {
        paths.iter().for_each(|path| drop(self.write(path, "")));
    }

    /// An RGB picture with a pattern of its own for every `seed`; the suffix says the format.
    pub fn rgb(&self, inner: &str, (width, height): (u32, u32), seed: u8) -> PathBuf {
        let path = self.write(inner, "");
        let pattern = |x: u32, y: u32| Rgb([x as u8 ^ seed, y as u8, (x + y) as u8]);
        RgbImage::from_fn(width, height, pattern).save(&path).expect("a temporary picture");
        path
    }

    /// A grey picture, likewise.
    pub fn grey(&self, inner: &str, (width, height): (u32, u32), seed: u8) -> PathBuf {
        let path = self.write(inner, "");
        let pattern = |x: u32, y: u32| Luma([(x * 3 + y) as u8 ^ seed]);
        GrayImage::from_fn(width, height, pattern).save(&path).expect("a temporary picture");
        path
    }

    /// Writes data.yaml and opens it.
    pub fn open(&self, yaml: &str) -> Result<DataSet, DataError> {
        DataSet::open(self.write("data.yaml", yaml))
    }
}

/// The folder of shared test data, or a message why the test is skipped.
pub fn shared() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let folder = std::env::var_os("YF_SHARED").map_or_else(default, PathBuf::from);
    if folder.join("data").is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("YF_REQUIRE").as_deref() != Ok("1"), "no shared test data at {}", folder.display());
    eprintln!("skipped: no shared test data at {} (YF_SHARED)", folder.display());
    None
}
