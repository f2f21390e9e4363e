//! The statements Thalweg knows, as the parser hands them on.
//!
//! Names are folded as PostgreSQL folds them; options have lower-case names and values as written.
//! Queries stay sqlparser's. Holds no resolved object: the catalog is not asked here.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::source::{Column, FormatDefinition, Meta};
use thalweg_dataflow::types::PgType;

use super::alter_table::AlterTable;
use super::change::{Delete, Insert, Update};
use super::comment::Comment;
use super::copy::Copy;
use super::create_table_as::CreateTableAs;
use super::grant::GrantStatement;
use super::index::{CreateIndex, DropIndex};
use super::lock_table::LockTable;
use super::maintenance::Maintenance;
use super::merge::Merge;
pub(crate) use super::object_kind::ObjectKind;
use super::role::{RoleStatement, may_hold_password};
use super::schema::SchemaStatement;
use super::sequence::{AlterSequence, CreateSequence};
use super::sql_cursor::{Declare, Fetch};
use super::table::{CreateTable, Truncate};
use super::with_changes::WithChanges;

/// A statement with its text. Cheap to clone.
#[derive(Clone)]
pub struct Statement {
    text: Arc<str>,
    request: Arc<str>,
    /// What is shown in its place.
    shown: Option<Arc<str>>,
    kind: Arc<Kind>,
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Statement").field(&self.shown_text()).finish()
    }
}

impl Statement {
    pub(crate) fn new(text: &str, request: &Arc<str>, kind: Kind) -> Statement {
        Statement { text: text.into(), request: request.clone(), shown: None, kind: Arc::new(kind) }
    }

    /// A part of it, as a statement of its own.
    pub(crate) fn part(&self, kind: Arc<Kind>) -> Statement {
        Statement { kind, ..self.clone() }
    }

    /// A statement of ours, whose text nobody sees.
    pub(crate) fn unnamed(text: &str) -> Statement {
        Statement::new(text, &text.into(), Kind::Empty)
    }

    /// The whole text it came in, from which places in it are counted.
    pub(crate) fn request(&self) -> &str {
        &self.request
    }

    /// The text of this statement alone, without its semicolon.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text for logs and for others to see: nothing of one that may hold a password.
    pub fn shown_text(&self) -> &str {
        let text = self.shown.as_ref().unwrap_or(&self.text);
        if may_hold_password(text) { "<a statement with a password>" } else { text }
    }

    /// The same, which others see as this text.
    pub(crate) fn shown_as(&self, text: &str) -> Statement {
        Statement { shown: Some(text.into()), ..self.clone() }
    }

    /// Whether there is nothing in it (only white space and comments).
    pub fn is_empty(&self) -> bool {
        matches!(*self.kind, Kind::Empty)
    }

    /// What it is.
    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }
}

/// Every statement there is.
#[derive(Debug)]
pub(crate) enum Kind {
    /// Nothing.
    Empty,
    /// SELECT, VALUES, TABLE, WITH.
    Query(Box<ast::Query>),
    /// CREATE SOURCE.
    CreateSource(CreateSource),
    /// CREATE MATERIALIZED VIEW.
    CreateView(CreateView),
    /// CREATE VIEW.
    CreateNamedQuery(CreateNamedQuery),
    /// CREATE EXTERNAL TABLE.
    CreateExternalTable(CreateExternalTable),
    /// CREATE TABLE.
    CreateTable(CreateTable),
    /// CREATE TABLE ... AS, SELECT INTO.
    CreateTableAs(CreateTableAs),
    /// CREATE TABLE ... WITH (connector = ...).
    CreateStoredSource(CreateSource),
    /// CREATE INDEX.
    CreateIndex(Box<CreateIndex>),
    /// DROP INDEX.
    DropIndex(DropIndex),
    /// COMMENT ON.
    Comment(Comment),
    /// LOCK TABLE.
    Lock(LockTable),
    /// REFRESH MATERIALIZED VIEW.
    Refresh(Name),
    /// VACUUM and its kin.
    Maintenance(Maintenance),
    /// ALTER TABLE.
    AlterTable(AlterTable),
    /// INSERT.
    Insert(Insert),
    /// UPDATE.
    Update(Update),
    /// DELETE.
    Delete(Delete),
    /// MERGE.
    Merge(Box<Merge>),
    /// Any of these or a query, whose WITH changes rows.
    WithChanges(Box<WithChanges>),
    /// TRUNCATE.
    Truncate(Truncate),
    /// COPY ... FROM STDIN.
    Copy(Copy),
    /// DROP.
    Drop(Drop),
    /// About roles and who is a member of them.
    Role(RoleStatement),
    /// About rights and owners.
    Grant(GrantStatement),
    /// CREATE SEQUENCE.
    CreateSequence(CreateSequence),
    /// ALTER SEQUENCE.
    AlterSequence(AlterSequence),
    /// About schemas.
    Schema(SchemaStatement),
    /// SHOW.
    Show(Show),
    /// EXPLAIN.
    Explain(Explain),
    /// SET.
    Set(Set),
    /// RESET name, or all.
    Reset(Option<String>),
    /// BEGIN, START TRANSACTION; the word is the command tag.
    Begin(&'static str, Modes),
    /// COMMIT, END.
    Commit {
        /// AND CHAIN: another one begins at once.
        chain: bool,
    },
    /// ROLLBACK, ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE.
    Release(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// SET TRANSACTION.
    SetTransaction(Modes),
    /// SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransactions(Modes),
    /// PREPARE.
    Prepare(Prepare),
    /// EXECUTE.
    Execute(Execute),
    /// DECLARE.
    Declare(Declare),
    /// FETCH, MOVE.
    Fetch(Fetch),
    /// CLOSE name, or all.
    Close(Option<String>),
    /// COPY ... TO STDOUT.
    CopyOut(CopyOut),
    /// DISCARD ALL and its kin; the command tag.
    Discard(&'static str),
    /// DEALLOCATE name, or all.
    Deallocate(Option<String>),
}

impl Kind {
    /// Whether it makes or drops objects or changes who may do what.
    pub(crate) fn is_ddl(&self) -> bool {
        matches!(
            self,
            Kind::CreateSource(_)
                | Kind::CreateView(_)
                | Kind::CreateNamedQuery(_)
                | Kind::CreateExternalTable(_)
                | Kind::CreateTable(_)
                | Kind::CreateTableAs(_)
                | Kind::CreateStoredSource(_)
                | Kind::CreateIndex(_)
                | Kind::DropIndex(_)
                | Kind::AlterTable(_)
                | Kind::Comment(_)
                | Kind::Drop(_)
                | Kind::Role(_)
                | Kind::Grant(_)
                | Kind::Schema(_)
                | Kind::CreateSequence(_)
                | Kind::AlterSequence(_)
        )
    }

    /// Whether it changes rows of tables, or makes such changes durable.
    pub(crate) fn is_change(&self) -> bool {
        matches!(
            self,
            Kind::Insert(_)
                | Kind::Update(_)
                | Kind::Delete(_)
                | Kind::Merge(_)
                | Kind::WithChanges(_)
                | Kind::Truncate(_)
                | Kind::Copy(_)
                | Kind::Commit { .. }
        )
    }

    /// What a transaction that is READ ONLY refuses it as.
    pub(crate) fn writes(&self) -> Option<&'static str> {
        Some(match self {
            Kind::Insert(_) => "INSERT",
            Kind::Update(_) => "UPDATE",
            Kind::Delete(_) => "DELETE",
            Kind::Merge(_) => "MERGE",
            Kind::WithChanges(changes) => changes.main.kind().writes().unwrap_or("SELECT"),
            Kind::Truncate(_) => "TRUNCATE TABLE",
            Kind::Copy(_) => "COPY FROM",
            Kind::CreateSource(_) => "CREATE SOURCE",
            Kind::CreateView(_) => "CREATE MATERIALIZED VIEW",
            Kind::CreateNamedQuery(_) => "CREATE VIEW",
            Kind::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
            Kind::CreateTable(_) | Kind::CreateStoredSource(_) => "CREATE TABLE",
            Kind::CreateTableAs(_) => "CREATE TABLE AS",
            Kind::CreateIndex(_) => "CREATE INDEX",
            Kind::DropIndex(_) => "DROP INDEX",
            Kind::AlterTable(_) => "ALTER TABLE",
            Kind::Drop(_) => "DROP",
            Kind::Schema(schema) => schema.tag(),
            Kind::CreateSequence(_) => "CREATE SEQUENCE",
            Kind::AlterSequence(_) => "ALTER SEQUENCE",
            _ => return None,
        })
    }
}

/// What a transaction may do, as far as it was said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Modes {
    /// ISOLATION LEVEL, lower case.
    pub(crate) isolation: Option<&'static str>,
    /// READ ONLY or READ WRITE.
    pub(crate) read_only: Option<bool>,
}

/// PREPARE.
#[derive(Debug)]
pub(crate) struct Prepare {
    /// Its name.
    pub(crate) name: String,
    /// The types of its parameters, from the left, as far as they were given.
    pub(crate) types: Vec<Option<PgType>>,
    /// What is prepared.
    pub(crate) statement: Statement,
}

/// EXECUTE.
#[derive(Debug)]
pub(crate) struct Execute {
    /// The prepared statement.
    pub(crate) name: String,
    /// Expressions for its parameters, as they were written, each with its place in the request.
    pub(crate) values: Vec<(String, Option<usize>)>,
}

/// COPY ... TO STDOUT.
#[derive(Debug)]
pub(crate) struct CopyOut {
    /// Whose rows.
    pub(crate) query: Box<ast::Query>,
    /// The query's text.
    pub(crate) text: String,
    /// The table from whose name, and the columns from whose names, it was made: places in it are nobody's.
    pub(crate) of_table: Option<(Name, Option<Vec<String>>)>,
    /// WITH.
    pub(crate) options: Options,
    /// FORCE_QUOTE: these columns, or all if none is named.
    pub(crate) force_quote: Option<Vec<String>>,
}

/// A name that may have a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The schema, if written.
    pub(crate) schema: Option<String>,
    /// The object.
    pub(crate) name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(f, "{schema}.")?;
        }
        f.write_str(&self.name)
    }
}

/// WITH and OPTIONS.
pub(crate) type Options = BTreeMap<String, String>;

/// CREATE SOURCE.
#[derive(Debug)]
pub(crate) struct CreateSource {
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// INCLUDE.
    pub(crate) includes: Vec<(Meta, String)>,
    /// WITH.
    pub(crate) options: Options,
    /// FORMAT ... ENCODE.
    pub(crate) format: Option<FormatDefinition>,
}

/// CREATE MATERIALIZED VIEW.
#[derive(Debug)]
pub(crate) struct CreateView {
    /// OR REPLACE.
    pub(crate) or_replace: bool,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// Names for its columns, from the left.
    pub(crate) columns: Vec<String>,
    /// The query.
    pub(crate) query: Box<ast::Query>,
    /// The query as it was written.
    pub(crate) text: String,
    /// WITH.
    pub(crate) options: Options,
}

/// CREATE VIEW: a named query.
#[derive(Debug)]
pub(crate) struct CreateNamedQuery {
    /// OR REPLACE.
    pub(crate) or_replace: bool,
    /// TEMPORARY.
    pub(crate) temporary: bool,
    /// Its name.
    pub(crate) name: Name,
    /// Names for its columns, from the left.
    pub(crate) columns: Vec<String>,
    /// The query.
    pub(crate) query: Box<ast::Query>,
    /// The query as it was written.
    pub(crate) text: String,
}

/// CREATE EXTERNAL TABLE.
#[derive(Debug)]
pub(crate) struct CreateExternalTable {
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// The columns, if declared.
    pub(crate) columns: Vec<Column>,
    /// STORED AS, upper case.
    pub(crate) stored_as: String,
    /// LOCATION.
    pub(crate) location: String,
    /// OPTIONS.
    pub(crate) options: Options,
}

/// DROP.
#[derive(Debug)]
pub(crate) struct Drop {
    /// What.
    pub(crate) kind: ObjectKind,
    /// IF EXISTS.
    pub(crate) if_exists: bool,
    /// Which.
    pub(crate) names: Vec<Name>,
    /// CASCADE.
    pub(crate) cascade: bool,
}

/// SHOW.
#[derive(Debug)]
pub(crate) enum Show {
    /// SHOW SOURCES, MATERIALIZED VIEWS, TABLES.
    Objects(ObjectKind),
    /// SHOW SCHEMAS.
    Schemas,
    /// SHOW COLUMNS FROM ...
    Columns(Name),
    /// SHOW CREATE ...
    Create(ObjectKind, Name),
    /// SHOW ALL.
    All,
    /// SHOW name.
    Setting(String),
}

/// EXPLAIN.
#[derive(Debug)]
pub(crate) enum Explain {
    /// Of a query.
    Query(Box<ast::Query>),
    /// Of a view that exists.
    View(Name),
    /// Of a view as it would be.
    CreateView(Box<ast::Query>),
}

/// SET.
#[derive(Debug)]
pub(crate) struct Set {
    /// The setting's name, lower case.
    pub(crate) name: String,
    /// SET LOCAL: until the end of the transaction.
    pub(crate) local: bool,
    /// The value; `None`: DEFAULT.
    pub(crate) value: Option<String>,
}

/// A column's declaration before INCLUDE and the like are told apart.
pub(crate) fn column(name: String, data_type: PgType, not_null: bool) -> Column {
    Column { name, data_type, not_null }
}
