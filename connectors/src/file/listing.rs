//! From a LOCATION to files.
//!
//! Promises full paths, in the order of their names; errors print the full path. Follows no URL.

use std::io;
use std::path::{Path, PathBuf};

use thalweg_dataflow::{Error, Result, SqlState};

/// How a file's bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// A file of a table.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    pub(super) path: String,
    pub(super) packing: Packing,
    /// Bytes on disk.
    pub(super) size: u64,
}

/// The files at a location: one, those of a folder (hidden ones left out), or those of a glob.
pub(super) fn list(location: &str) -> Result<Vec<DataFile>> {
    let path = std::path::absolute(location).map_err(|error| io_error("resolve", location, &error))?;
    let shown = path.display().to_string();
    let paths = if path.is_dir() {
        folder(&path, &shown)?
    } else if location.contains(['*', '?', '[']) && !path.exists() {
        matching(&shown)?
    } else {
        vec![path]
    };
    if paths.is_empty() {
        return Err(Error::new(SqlState::UndefinedFile, format!("no files at \"{shown}\"")));
    }
    paths.iter().map(|path| describe(path)).collect()
}

fn folder(path: &Path, shown: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(path).map_err(|error| io_error("open folder", shown, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io_error("read folder", shown, &error))?;
        let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        if !hidden && entry.path().is_file() {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let found = glob::glob(pattern).map_err(|error| {
        Error::new(SqlState::InvalidParameter, format!("invalid pattern \"{pattern}\""))
            .detail(format!("{}.", error.msg))
    })?;
    let mut paths: Vec<PathBuf> = found.filter_map(|path| path.ok()).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

fn describe(path: &Path) -> Result<DataFile> {
    let shown = path.display().to_string();
    let data = std::fs::metadata(path).map_err(|error| io_error("open file", &shown, &error))?;
    let packing = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => Packing::Gzip,
        Some("zst" | "zstd") => Packing::Zstd,
        _ => Packing::Plain,
    };
    Ok(DataFile { path: shown, packing, size: data.len() })
}

/// An error of the file system, as PostgreSQL words it: `could not open file "/x": No such file ...`.
pub(super) fn io_error(what: &str, path: &str, error: &io::Error) -> Error {
    let state = match error.kind() {
        io::ErrorKind::NotFound => SqlState::UndefinedFile,
        _ => SqlState::IoError,
    };
    let text = error.to_string();
    let cause = text.split(" (os error").next().unwrap_or(&text);
    Error::new(state, format!("could not {what} \"{path}\": {cause}"))
}
