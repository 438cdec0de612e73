//! The files of a run, and who may write them.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use yf_models::durable;

use crate::Error;

/// The folder of a run.
pub struct Folder(pub PathBuf);

/// Nobody else trains in a run's folder while this lives.
pub struct Claim(#[expect(dead_code, reason = "its lock is held until it is dropped")] File);

impl Folder {
    /// The best epoch's weights.
    pub fn best(&self) -> PathBuf {
        self.0.join("weights/best.safetensors")
    }

    /// Everything that is needed to go on.
    pub fn last(&self) -> PathBuf {
        self.0.join("weights/last.safetensors")
    }

    /// A line an epoch.
    pub fn results(&self) -> PathBuf {
        self.0.join("results.csv")
    }

    /// What the run was told.
    pub fn args(&self) -> PathBuf {
        self.0.join("args.toml")
    }

    /// Another file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Locks the folder, which is there; the system lets go of it with the process.
    ///
    /// # Errors
    /// Another process trains in it.
    pub fn claim(&self) -> Result<Claim, Error> {
        let folder = File::open(&self.0).map_err(Error::io(&self.0))?;
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => Err(Error::Other(format!(
                "{}: another process trains there: wait for it, or begin a run of its own",
                self.0.display()
            ))),
            // Some file systems know no locks.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Claim(folder)),
        }
    }

    /// Removes the half files of a process that was killed.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn sweep(&self) -> Result<(), Error> {
        [self.last(), self.best(), self.results()]
            .iter()
            .try_for_each(|path| durable::sweep(path).map_err(Error::io(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_process_s_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder(dir.path().to_owned());
        let claim = folder.claim().unwrap();
        let refused = folder.claim().map(drop).unwrap_err().to_string();
        assert!(refused.contains("another process trains there"), "{refused}");
        drop(claim);
        assert!(folder.claim().is_ok());
    }
}
