//! The kinds of objects, and what they are called.

/// What kind of object a statement names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    /// SOURCE.
    Source,
    /// MATERIALIZED VIEW.
    View,
    /// VIEW.
    NamedQuery,
    /// TABLE, EXTERNAL TABLE.
    Table,
    /// SEQUENCE.
    Sequence,
}

impl ObjectKind {
    /// As in messages.
    pub(crate) fn word(self) -> &'static str {
        match self {
            ObjectKind::Source => "source",
            ObjectKind::View => "materialized view",
            ObjectKind::NamedQuery => "view",
            ObjectKind::Table => "table",
            ObjectKind::Sequence => "sequence",
        }
    }

    /// As in command tags.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            ObjectKind::Source => "SOURCE",
            ObjectKind::View => "MATERIALIZED VIEW",
            ObjectKind::NamedQuery => "VIEW",
            ObjectKind::Table => "TABLE",
            ObjectKind::Sequence => "SEQUENCE",
        }
    }
}
