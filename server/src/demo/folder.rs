//! The demo's data folder and its memory of what it made there.
//!
//! Promises: [`Folder::open`] with `fresh` empties only a folder that a demo made and that no
//! server uses.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thalweg_dataflow::storage::DataDirectory;

use crate::failure::Failure;

/// The file in which the demo remembers.
const MEMORY: &str = "demo.json";

/// What streams in a demo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// Events, as `--rate` says it.
    pub(crate) rate: String,
    /// The broker they go through, if any.
    pub(crate) kafka: Option<String>,
}

impl Stream {
    /// The flags that ask for it.
    pub(crate) fn flags(&self) -> String {
        match &self.kafka {
            Some(broker) => format!("--rate {} --kafka {broker}", self.rate),
            None => format!("--rate {}", self.rate),
        }
    }
}

/// A folder of a demo.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    stream: Option<Stream>,
}

impl Folder {
    /// Looks at the folder; it need not exist.
    pub(crate) fn open(path: &Path, fresh: bool) -> Result<Folder, Failure> {
        let mut folder = Folder { path: path.to_path_buf(), stream: None };
        match std::fs::read(folder.memory()) {
            Ok(bytes) => {
                folder.stream = Some(serde_json::from_slice(&bytes).map_err(|error| {
                    Failure::new(format!("{} is damaged: {error}", folder.memory().display()))
                        .hint("Remove the folder and start the demo again.")
                })?);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => folder.refuse_foreign()?,
            Err(error) => return Err(Failure::new(format!("cannot read {}: {error}", folder.memory().display()))),
        }
        if fresh && folder.stream.is_some() {
            folder.empty()?;
        }
        Ok(folder)
    }

    /// What streams here, if a demo ran before.
    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    /// Remembers what streams here.
    pub(crate) fn remember(&mut self, stream: &Stream) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("cannot write {}: {error}", self.memory().display()));
        std::fs::create_dir_all(&self.path).map_err(failed)?;
        let text = serde_json::to_vec_pretty(stream).map_err(|error| failed(error.into()))?;
        std::fs::write(self.memory(), text).map_err(failed)?;
        self.stream = Some(stream.clone());
        Ok(())
    }

    fn memory(&self) -> PathBuf {
        self.path.join(MEMORY)
    }

    /// A folder with something in it that is no demo's is somebody else's.
    fn refuse_foreign(&self) -> Result<(), Failure> {
        let Ok(mut entries) = std::fs::read_dir(&self.path) else { return Ok(()) };
        if entries.next().is_none() {
            return Ok(());
        }
        let failure = Failure::usage(format!("{} holds something that no demo made", self.path.display()));
        Err(failure.hint("Name another folder with --data-dir."))
    }

    /// Removes everything in the folder, under its lock.
    fn empty(&mut self) -> Result<(), Failure> {
        let lock = DataDirectory::open(&self.path).map_err(Failure::data_dir)?;
        let failed = |error: std::io::Error| Failure::new(format!("cannot empty {}: {error}", self.path.display()));
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_type().map_err(failed)?.is_dir() {
                true => std::fs::remove_dir_all(entry.path()).map_err(failed)?,
                false => std::fs::remove_file(entry.path()).map_err(failed)?,
            }
        }
        drop(lock);
        self.stream = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_empties_only_its_own_folder() {
        let dir = tempfile::tempdir().unwrap();
        let stream = Stream { rate: "max".into(), kafka: None };
        let mut folder = Folder::open(dir.path(), true).unwrap();
        assert!(folder.stream().is_none());
        folder.remember(&stream).unwrap();
        drop(DataDirectory::open(dir.path()).unwrap());
        std::fs::create_dir(dir.path().join("state")).unwrap();
        assert_eq!(Folder::open(dir.path(), false).unwrap().stream(), Some(&stream));
        assert!(Folder::open(dir.path(), true).unwrap().stream().is_none());
        assert!(!dir.path().join("state").exists());

        std::fs::write(dir.path().join("thesis.txt"), "precious").unwrap();
        std::fs::remove_file(dir.path().join(MEMORY)).ok();
        assert_eq!(Folder::open(dir.path(), true).unwrap_err().code, 2);
        assert!(dir.path().join("thesis.txt").exists());
    }

    #[test]
    fn a_folder_in_use_is_not_emptied() {
        let dir = tempfile::tempdir().unwrap();
        Folder::open(dir.path(), false).unwrap().remember(&Stream { rate: "max".into(), kafka: None }).unwrap();
        let held = DataDirectory::open(dir.path()).unwrap();
        assert_eq!(Folder::open(dir.path(), true).unwrap_err().code, 3);
        drop(held);
        Folder::open(dir.path(), true).unwrap();
    }
}
