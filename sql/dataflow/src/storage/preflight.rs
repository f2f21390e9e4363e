//! What sled does not check when it opens a database, checked before it does.
//!
//! sled 1.0.0-alpha.124 keeps the place of every page in `metadata/`: one snapshot and the logs
//! written after it. Two faults of its recovery would lose data without a word:
//!
//! - With a snapshot and no log after it (a kill in the middle of an opening leaves that) it rewrites
//!   the snapshot under its own name and then removes it: the database is empty.
//! - A log is read up to its first damaged frame and the rest is dropped, in any log, although only
//!   the end of the last one can be torn by a crash.
//!
//! Promises: after [`check`] neither can happen, and no acknowledged commit is missing from the logs:
//! [`note`] keeps the end of the last log beside the database. Does not read the pages (sled checks
//! their CRC when it reads them).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::frame::REMEDY;
use super::lock::failed;
use crate::error::{Error, Result, SqlState};

/// Bytes of a frame's length and its CRC, before the payload.
const FRAME_HEADER: usize = 8;
/// Bytes of the CRC after the payload.
const FRAME_TRAILER: usize = 4;
/// What sled mixes into a frame's CRC.
const CRC_MASK: u32 = 0xAF;

/// Makes the database below `path` safe to open, or says why it cannot be.
pub(super) fn check(path: &Path) -> Result<()> {
    let Metadata { snapshot, logs } = list(path)?;
    let covered = snapshot.unwrap_or(0);
    let end = Witness::read(path);
    if let Some(end) = &end
        && end.log > covered
        && logs.last().is_none_or(|(last, _)| *last < end.log)
    {
        let name = path.join("metadata").join(format!("log_{:016x}", end.log));
        return Err(corrupt(&name, "It is missing, although the database was written to.".to_owned()));
    }
    if let (Some(snapshot), true) = (snapshot, logs.is_empty()) {
        let log = path.join("metadata").join(format!("log_{:016x}", snapshot.saturating_add(1)));
        let make = || fs::File::create(&log)?.sync_all();
        make().map_err(|error| failed(&format!("could not create file {log:?}"), &error))?;
    }
    for (index, (id, log)) in logs.iter().enumerate() {
        let last = index + 1 == logs.len();
        let acknowledged = end.as_ref().filter(|end| end.log == *id).map_or(0, |end| end.bytes);
        check_log(log, if last { acknowledged } else { u64::MAX })?;
    }
    Ok(())
}

/// Notes that all that is in the logs now is acknowledged. Not synced: after a kill the note is at
/// most one commit old, after a power cut older, and never ahead of what is durable.
pub(super) fn note(path: &Path) {
    let result = list(path).and_then(|metadata| {
        let Some((log, name)) = metadata.logs.last() else { return Ok(()) };
        let bytes = fs::metadata(name).map_err(|error| failed("could not read the size of the log", &error))?.len();
        Witness { log: *log, bytes }.write(path)
    });
    if let Err(error) = result {
        tracing::warn!(?path, %error, "could not note the end of the metadata log");
    }
}

/// What lies in sled's folder of metadata: the newest snapshot, and the logs after it in order.
struct Metadata {
    snapshot: Option<u64>,
    logs: Vec<(u64, PathBuf)>,
}

fn list(path: &Path) -> Result<Metadata> {
    let folder = path.join("metadata");
    let mut found = Metadata { snapshot: None, logs: Vec::new() };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(failed(&format!("could not read directory {folder:?}"), &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed(&format!("could not read directory {folder:?}"), &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(id) = id_of(&name, "snapshot_") {
            found.snapshot = found.snapshot.max(Some(id));
        } else if let Some(id) = id_of(&name, "log_") {
            found.logs.push((id, entry.path()));
        } else if !name.ends_with(".tmp") && (name.starts_with("snapshot") || name.starts_with("log")) {
            return Err(corrupt(&entry.path(), "Its name is not one that sled gives.".to_owned()));
        }
    }
    let covered = found.snapshot.unwrap_or(0);
    found.logs.retain(|(id, _)| *id > covered);
    found.logs.sort();
    Ok(found)
}

/// The log that the last commit went to, and its length after it.
struct Witness {
    log: u64,
    bytes: u64,
}

impl Witness {
    /// The file, beside the database: sled looks at every name in its own folders.
    fn name(path: &Path) -> PathBuf {
        path.with_extension("witness")
    }

    /// None when there is none or it is damaged: it is a second look, not the data.
    fn read(path: &Path) -> Option<Witness> {
        let bytes: [u8; 20] = fs::read(Witness::name(path)).ok()?.try_into().ok()?;
        let (numbers, crc) = bytes.split_at(16);
        if crc32fast::hash(numbers).to_le_bytes() != crc {
            return None;
        }
        let number = |at: usize| numbers[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        Some(Witness { log: number(0)?, bytes: number(8)? })
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = [self.log.to_le_bytes(), self.bytes.to_le_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        let name = Witness::name(path);
        fs::write(&name, bytes).map_err(|error| failed(&format!("could not write file {name:?}"), &error))
    }
}

/// The number in a file's name, if it is of this kind: 16 hexadecimal digits after the prefix.
fn id_of(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    if digits.len() != 16 {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}

/// Reads a log: its frames must be whole up to byte `acknowledged`, and up to its end if that is
/// beyond. After it a crash may have torn the last one.
fn check_log(path: &Path, acknowledged: u64) -> Result<()> {
    let bytes = fs::read(path).map_err(|error| failed(&format!("could not read file {path:?}"), &error))?;
    let mut at = 0;
    while let Some(length) = frame(&bytes[at..]) {
        at += length;
    }
    let torn = at < bytes.len();
    if (at as u64) < acknowledged && (torn || acknowledged != u64::MAX) {
        return Err(corrupt(path, format!("The frame at byte {at} does not match its checksum.")));
    }
    Ok(())
}

/// The length of the frame that `bytes` begin with, if it is whole.
fn frame(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..FRAME_HEADER)?;
    let mut length = [0; 8];
    length[..6].copy_from_slice(&header[..6]);
    if (crc32fast::hash(&header[..6]) as u16).to_le_bytes() != header[6..8] {
        return None;
    }
    let end = usize::try_from(u64::from_le_bytes(length)).ok()?.checked_add(FRAME_HEADER)?;
    let trailer = bytes.get(end..end.checked_add(FRAME_TRAILER)?)?;
    ((crc32fast::hash(&bytes[..end]) ^ CRC_MASK).to_le_bytes() == trailer).then_some(end + FRAME_TRAILER)
}

fn corrupt(path: &Path, detail: String) -> Error {
    Error::new(SqlState::DataCorrupted, format!("file {path:?} is damaged")).detail(detail).hint(REMEDY)
}
