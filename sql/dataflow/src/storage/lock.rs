//! The data folder: made when missing, held by one process, of a format that this binary knows.
//!
//! Promises: while a [`DataDirectory`] lives no other process (and nobody else in this one) opens the
//! same folder; the lock goes with the process, however it ends. Every refusal names the folder and
//! says what to do. Does not know what the folder holds.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, SqlState};

/// The format of the whole folder, as the file `VERSION` holds it: raised when an older binary would
/// misread what a newer one writes.
pub const FORMAT_VERSION: u32 = 1;

/// A data folder that this process holds.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    /// Locked while open; the system lets go of it when the process dies.
    _lock: File,
}

impl DataDirectory {
    /// Makes the folder if it is missing, takes its lock and checks its format version.
    ///
    /// Errors: 58030 without the permission, 55P03 when another process holds it, 55000 when a newer
    /// version wrote it, XX001 when its version cannot be read.
    pub fn open(path: &Path) -> Result<DataDirectory> {
        make(path)?;
        let lock = take(path)?;
        check_version(path)?;
        Ok(DataDirectory { path: path.to_path_buf(), _lock: lock })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            Error::new(SqlState::IoError, format!("data directory {path:?} is not a directory"))
                .hint("Name a directory, or a path where one can be made.")
        }
        _ => failed(&format!("could not create data directory {path:?}"), &error),
    })
}

fn take(path: &Path) -> Result<File> {
    let name = path.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&name)
        .map_err(|error| failed(&format!("could not open lock file {name:?}"), &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message; without it the error says the same.
            let _ = file.read_to_string(&mut holder);
            let error = Error::new(
                SqlState::LockNotAvailable,
                format!("data directory {path:?} is in use by another thalweg process"),
            );
            return Err(match holder.trim().parse::<u32>() {
                Ok(pid) => error.detail(format!("The process has PID {pid}.")),
                Err(_) => error.detail("Its PID is not known."),
            }
            .hint("Stop that process, or use another data directory."));
        }
        Err(TryLockError::Error(error)) => return Err(failed(&format!("could not lock file {name:?}"), &error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|error| failed(&format!("could not write lock file {name:?}"), &error))?;
    Ok(file)
}

fn check_version(path: &Path) -> Result<()> {
    let name = path.join("VERSION");
    let text = match fs::read_to_string(&name) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return write_version(path),
        Err(error) => return Err(failed(&format!("could not read file {name:?}"), &error)),
    };
    match text.trim().parse::<u32>() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(newer) if newer > FORMAT_VERSION => Err(Error::new(
            SqlState::ObjectNotInPrerequisiteState,
            format!("data directory {path:?} was written by a newer version of thalweg"),
        )
        .detail(format!("Its format version is {newer}, this binary knows {FORMAT_VERSION}."))
        .hint("Start the newer binary on it, or use another data directory.")),
        _ => Err(Error::new(SqlState::DataCorrupted, format!("file {name:?} holds no known format version"))
            .detail(format!("It reads {:?}; this binary writes {FORMAT_VERSION}.", text.trim()))
            .hint(super::frame::REMEDY)),
    }
}

/// A folder without a version is new, unless databases lie in it: those would be adopted unseen.
fn write_version(path: &Path) -> Result<()> {
    let name = path.join("VERSION");
    if ["state", "cuts"].iter().any(|database| path.join(database).exists()) {
        return Err(Error::new(SqlState::DataCorrupted, format!("data directory {path:?} has no file \"VERSION\""))
            .detail("It holds databases, whose format is therefore unknown.")
            .hint(super::frame::REMEDY));
    }
    let temporary = path.join("VERSION.new");
    let write = || {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{FORMAT_VERSION}")?;
        file.sync_all()?;
        fs::rename(&temporary, &name)?;
        File::open(path)?.sync_all()
    };
    write().map_err(|error| failed(&format!("could not write file {name:?}"), &error))
}

/// An error of the system, in our terms.
pub(super) fn failed(what: &str, error: &io::Error) -> Error {
    let state = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SqlState::DiskFull,
        io::ErrorKind::OutOfMemory => SqlState::OutOfMemory,
        io::ErrorKind::InvalidData => SqlState::DataCorrupted,
        _ => SqlState::IoError,
    };
    Error::new(state, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er");
        let held = DataDirectory::open(&path).unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert_eq!(error.state(), SqlState::LockNotAvailable);
        assert_eq!(error.message(), format!("data directory {path:?} is in use by another thalweg process"));
        assert_eq!(error.detail_text(), Some(format!("The process has PID {}.", std::process::id()).as_str()));
        drop(held);
        DataDirectory::open(&path).unwrap();
    }

    #[test]
    fn newer_and_unreadable_versions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(folder.path()).unwrap());
        let version = folder.path().join("VERSION");
        assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
        fs::write(&version, "2\n").unwrap();
        let error = DataDirectory::open(folder.path()).unwrap_err();
        assert_eq!(error.state(), SqlState::ObjectNotInPrerequisiteState);
        fs::write(&version, "one").unwrap();
        assert_eq!(DataDirectory::open(folder.path()).unwrap_err().state(), SqlState::DataCorrupted);
        fs::remove_file(&version).unwrap();
        fs::create_dir(folder.path().join("state")).unwrap();
        assert_eq!(DataDirectory::open(folder.path()).unwrap_err().state(), SqlState::DataCorrupted);
    }

    #[test]
    fn a_file_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "x").unwrap();
        let error = DataDirectory::open(&path).unwrap_err();
        assert_eq!(error.message(), format!("data directory {path:?} is not a directory"));
        let error = DataDirectory::open(&path.join("below")).unwrap_err();
        assert_eq!(error.state(), SqlState::IoError);
    }
}
