//! What is kept between starts, in the user's cache folder: engines, timings of kernels, finished kernels.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::DeployError;
use crate::backend::library;

/// The folder `yf/tensorrt` of the user's cache, where there is one.
pub(crate) struct Store {
    folder: Option<PathBuf>,
}

impl Store {
    /// The user's.
    pub fn of_user() -> Self {
        Self { folder: library::cache().map(|cache| cache.join("yf/tensorrt")) }
    }

    /// Where a file of that name lies, or would.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    /// What was kept under a name; nothing where nothing was.
    pub fn read(&self, name: &str) -> Vec<u8> {
        self.path(name).and_then(|path| fs::read(path).ok()).unwrap_or_default()
    }

    /// Keeps bytes under a name. It is a cache: what cannot be kept is made again, so failing is worth a line in the log.
    pub fn keep(&self, name: &str, bytes: &[u8]) {
        let Some(path) = self.path(name) else { return };
        if let Err(why) = write(&path, bytes) {
            tracing::debug!("not kept for the next start: {why}");
        }
    }
}

/// Writes a file that is the old one or the new one, whole; makes its folder.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), DeployError> {
    let failed = |source| DeployError::Write { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any other file is made, and not for the owner alone.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error)).map(drop)
}

/// The hash of a file's content, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
