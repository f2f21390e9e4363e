//! What a statement gives to the wire: rows, a tag, a wish for data; and notices on the way.
//!
//! Frames nothing.

use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use thalweg_dataflow::error::Error;

use super::{CopyIn, CopyOut, Session};

/// How bad a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// `INFO`.
    Info,
    /// `NOTICE`.
    Notice,
    /// `WARNING`.
    Warning,
}

impl Severity {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "INFO",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
        }
    }
}

/// A NoticeResponse.
#[derive(Debug, Clone)]
pub struct Notice {
    /// How bad.
    pub severity: Severity,
    /// SQLSTATE (00000 for a plain notice), message, detail, hint.
    pub fields: Error,
}

/// How the CommandComplete of rows is worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowsTag {
    /// `SELECT n`.
    Select,
    /// `SHOW`.
    Show,
    /// `EXPLAIN`.
    Explain,
    /// `INSERT 0 n`.
    Insert,
    /// `UPDATE n`.
    Update,
    /// `DELETE n`.
    Delete,
    /// `MERGE n`.
    Merge,
    /// `FETCH n`.
    Fetch {
        /// The cursor was declared BINARY.
        binary: bool,
    },
}

impl RowsTag {
    /// Whether rows are in binary form where the client does not say which it wants.
    pub fn is_binary(self) -> bool {
        matches!(self, RowsTag::Fetch { binary: true })
    }

    /// The tag after so many rows.
    pub fn complete(self, rows: u64) -> String {
        match self {
            RowsTag::Select => format!("SELECT {rows}"),
            RowsTag::Show => "SHOW".into(),
            RowsTag::Explain => "EXPLAIN".into(),
            RowsTag::Insert => format!("INSERT 0 {rows}"),
            RowsTag::Update => format!("UPDATE {rows}"),
            RowsTag::Delete => format!("DELETE {rows}"),
            RowsTag::Merge => format!("MERGE {rows}"),
            RowsTag::Fetch { .. } => format!("FETCH {rows}"),
        }
    }
}

/// What a statement gave.
pub enum Outcome {
    /// Rows.
    Rows {
        /// Their columns, types by `PgType::of`.
        schema: SchemaRef,
        /// The rows. Errors carry ours (`Error::from`). Dropping it ends the statement.
        rows: SendableRecordBatchStream,
        /// The tag to close them with.
        tag: RowsTag,
    },
    /// No rows: the command tag.
    Done(String),
    /// Rows as data.
    CopyOut(Box<CopyOut>),
    /// Data is wanted, and then [`finish_copy`](super::Session::finish_copy).
    Copy(Box<CopyIn>),
    /// There was no statement (EmptyQueryResponse).
    Empty,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Rows { schema, tag, .. } => {
                f.debug_struct("Rows").field("schema", schema).field("tag", tag).finish()
            }
            Outcome::Copy(copy) => copy.fmt(f),
            Outcome::CopyOut(copy) => copy.fmt(f),
            Outcome::Done(tag) => f.debug_tuple("Done").field(tag).finish(),
            Outcome::Empty => f.write_str("Empty"),
        }
    }
}

impl Session {
    /// Sends a NOTICE.
    pub(crate) fn notice(&self, fields: Error) {
        self.tell(Severity::Notice, fields);
    }

    /// Sends a WARNING.
    pub(crate) fn warning(&self, fields: Error) {
        self.tell(Severity::Warning, fields);
    }

    fn tell(&self, severity: Severity, fields: Error) {
        if !self.settings.is_silent(severity) {
            // A connection that does not read its notices loses them, not its statements.
            let _ = self.notices.try_send(Notice { severity, fields });
        }
    }
}
