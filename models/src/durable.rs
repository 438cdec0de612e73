//! Files that are either the old one or the new one, whole, whatever happens in between.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a file through a sibling: write, fsync, rename over the target, fsync the folder.
///
/// A crash or a full disk leaves the old file as it was; the sibling is removed on error.
///
/// # Errors
/// Whatever `fill` or the file system reports.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let sibling = sibling(path);
    let written = write_through(&sibling, path, fill);
    if written.is_err() {
        let _ = fs::remove_file(&sibling);
    }
    written
}

/// Removes siblings of `path` that processes left which were killed while they wrote.
///
/// # Errors
/// Whatever the file system reports; a folder that is not there has none.
pub fn sweep(path: &Path) -> io::Result<()> {
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let entries = match fs::read_dir(folder(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_string_lossy();
        let process = process.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".part"));
        if process.is_some_and(|id| id.parse::<u32>().is_ok()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_through(
    sibling: &Path,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(sibling)?);
    fill(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(sibling, path)?;
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name carries the process, so that two writers never share one.
fn sibling(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_the_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write(&path, |w| w.write_all(b"first and longer")).unwrap();
        write(&path, |w| w.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn sweeps_what_the_killed_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        for name in ["a.bin", ".a.bin.77.part", ".a.bin.mine.part", ".b.bin.77.part"] {
            fs::write(dir.path().join(name), b"x").unwrap();
        }
        sweep(&path).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".a.bin.mine.part", ".b.bin.77.part", "a.bin"]);
        sweep(&dir.path().join("absent/a.bin")).unwrap();
    }

    #[test]
    fn an_error_keeps_the_old_file_and_no_sibling() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write(&path, |w| w.write_all(b"old")).unwrap();
        let failed = write(&path, |w| {
            w.write_all(b"half")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
