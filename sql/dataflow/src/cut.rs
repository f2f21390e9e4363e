//! Cuts: what defines an epoch. The sequence of cuts is the input log of the engine.
//!
//! A cut's record is a header in JSON and behind it, as bytes, the catalog and the rows of table
//! commits. Its first byte is the version; a record of version 1 was JSON alone, and is read still.

use serde::{Deserialize, Serialize};

use crate::arrangement::codec::{EncodedRows, read_bytes, read_length, write_length};
use crate::error::{Error, Result, SqlState};
use crate::plan::RelationId;
use crate::source::Offsets;

/// The first byte of a record of this version; version 1 begins with `{`.
const VERSION: u8 = 2;

/// One epoch's definition, as it stands in the cut log.
#[derive(Debug)]
pub(crate) struct Cut {
    /// Its number.
    pub(crate) epoch: u64,
    /// Its clock reading, microseconds since 1970 UTC.
    pub(crate) now: i64,
    /// The position of every source that is read, after this epoch.
    pub(crate) sources: Vec<(RelationId, Offsets)>,
    /// The catalog, if this cut changed it.
    pub(crate) catalog: Option<Vec<u8>>,
    /// What was committed to tables, in order.
    pub(crate) changes: Vec<LoggedChange>,
}

/// What one commit did to one table, resolved to rows.
#[derive(Debug)]
pub(crate) struct LoggedChange {
    /// The table.
    pub(crate) table: RelationId,
    /// The rows that went.
    pub(crate) deletes: EncodedRows,
    /// The rows that came.
    pub(crate) inserts: EncodedRows,
}

/// The part of a record that is JSON.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    epoch: u64,
    now: i64,
    sources: Vec<(RelationId, Offsets)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    catalog: Option<Vec<u8>>,
}

impl LoggedChange {
    /// Bytes of its rows.
    pub(crate) fn size(&self) -> usize {
        self.deletes.stored_size() + self.inserts.stored_size()
    }
}

impl Cut {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let header = Header { epoch: self.epoch, now: self.now, sources: self.sources.clone(), catalog: None };
        let header = serde_json::to_vec(&header)
            .map_err(|error| Error::internal(format!("a cut cannot be written: {error}")))?;
        let rows: usize = self.changes.iter().map(|change| change.size() + 16).sum();
        let mut out = Vec::with_capacity(header.len() + rows + self.catalog.as_ref().map_or(0, Vec::len) + 32);
        out.push(VERSION);
        write_length(header.len(), &mut out);
        out.extend_from_slice(&header);
        // A length of 0 stands for no catalog: one never is empty.
        let catalog = self.catalog.as_deref().unwrap_or_default();
        write_length(catalog.len(), &mut out);
        out.extend_from_slice(catalog);
        write_length(self.changes.len(), &mut out);
        for change in &self.changes {
            out.extend_from_slice(&change.table.0.to_be_bytes());
            write_rows(&change.deletes, &mut out);
            write_rows(&change.inserts, &mut out);
        }
        Ok(out)
    }

    /// A cut from its bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Cut> {
        match bytes.split_first() {
            Some((b'{', _)) => {
                let header = Cut::header(bytes)?;
                let Header { epoch, now, sources, catalog } = header;
                Ok(Cut { epoch, now, sources, catalog, changes: Vec::new() })
            }
            Some((&VERSION, rest)) => Cut::decode_body(rest),
            Some((version, _)) => Err(Error::new(
                SqlState::ObjectNotInPrerequisiteState,
                format!("a cut of the log has version {version}, this binary reads up to {VERSION}"),
            )
            .hint("Start the version of Thalweg that wrote it.")),
            None => Err(damaged("it is empty")),
        }
    }

    fn header(bytes: &[u8]) -> Result<Header> {
        serde_json::from_slice(bytes).map_err(|error| damaged(&error.to_string()))
    }

    fn decode_body(mut rest: &[u8]) -> Result<Cut> {
        let length = read_length(&mut rest)?;
        let Header { epoch, now, sources, .. } = Cut::header(read_bytes(&mut rest, length)?)?;
        let length = read_length(&mut rest)?;
        let catalog = read_bytes(&mut rest, length)?;
        let catalog = if catalog.is_empty() { None } else { Some(catalog.to_vec()) };
        let mut changes = Vec::new();
        for _ in 0..read_length(&mut rest)? {
            let table = read_bytes(&mut rest, 4)?.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            let (deletes, inserts) = (read_rows(&mut rest)?, read_rows(&mut rest)?);
            changes.push(LoggedChange { table: RelationId(table), deletes, inserts });
        }
        if rest.is_empty() {
            Ok(Cut { epoch, now, sources, catalog, changes })
        } else {
            Err(damaged("something follows it"))
        }
    }
}

fn damaged(what: &str) -> Error {
    Error::new(SqlState::DataCorrupted, format!("a cut of the log is not understood: {what}"))
}

fn write_rows(rows: &EncodedRows, out: &mut Vec<u8>) {
    write_length(rows.len(), out);
    for row in 0..rows.len() {
        let row = rows.row(row);
        write_length(row.len(), out);
        out.extend_from_slice(row);
    }
}

fn read_rows(rest: &mut &[u8]) -> Result<EncodedRows> {
    let mut rows = EncodedRows::default();
    for _ in 0..read_length(rest)? {
        let length = read_length(rest)?;
        rows.push(read_bytes(rest, length)?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[u8]]) -> EncodedRows {
        let mut out = EncodedRows::default();
        rows.iter().for_each(|row| out.push(row));
        out
    }

    fn sample() -> Cut {
        Cut {
            epoch: 7,
            now: 11,
            sources: vec![(RelationId(3), Offsets::from([(0, 5)]))],
            catalog: Some(b"{}".to_vec()),
            changes: vec![LoggedChange {
                table: RelationId(16_400),
                deletes: rows(&[b"old"]),
                inserts: rows(&[b"new", b"", &[7; 300]]),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let (cut, bytes) = (sample(), sample().encode().unwrap());
        let again = Cut::decode(&bytes).unwrap();
        assert_eq!(format!("{cut:?}"), format!("{again:?}"));
        for end in 0..bytes.len() {
            assert!(Cut::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn records_of_the_first_version_are_read_and_later_ones_refused() {
        let old = br#"{"epoch":4,"now":9,"sources":[[3,{"0":12}]],"catalog":[123,125]}"#;
        let cut = Cut::decode(old).unwrap();
        assert_eq!((cut.epoch, cut.now, cut.catalog.as_deref()), (4, 9, Some(&b"{}"[..])));
        assert_eq!(cut.sources, [(RelationId(3), Offsets::from([(0, 12)]))]);
        let mut newer = sample().encode().unwrap();
        newer[0] = VERSION + 1;
        assert_eq!(Cut::decode(&newer).unwrap_err().state(), SqlState::ObjectNotInPrerequisiteState);
    }
}
