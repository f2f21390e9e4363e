//! CREATE TABLE and TRUNCATE.
//!
//! Checks form only: names and types of what constraints say are looked at when the table is made.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::ast::{Kind, Name};
use super::create_table_as::{create_table_as, names_query, on_commit};
use super::cursor::Cursor;
use super::like::{Like, like};
use super::sequence::{self, SequenceOptions};
use crate::session::temporary::OnCommit;

/// CREATE TABLE.
#[derive(Debug, Clone)]
pub(crate) struct CreateTable {
    /// TEMPORARY.
    pub(crate) temporary: bool,
    /// ON COMMIT; `None`: PRESERVE ROWS.
    pub(crate) on_commit: Option<OnCommit>,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// The DEFAULT of each column, as it was written.
    pub(crate) defaults: Vec<Option<String>>,
    /// The other constraints, in the order they were written.
    pub(crate) constraints: Vec<Constraint>,
    /// The columns that are computed from others, and what from, as it was written.
    pub(crate) generated: Vec<(String, String)>,
    /// The columns whose values come from sequences of their own.
    pub(crate) generators: Vec<Generator>,
    /// LIKE.
    pub(crate) likes: Vec<Like>,
}

/// A column whose values come from a sequence that is made with it.
#[derive(Debug, Clone)]
pub(crate) struct Generator {
    /// The column.
    pub(crate) column: String,
    /// How.
    pub(crate) kind: GeneratorKind,
    /// What is said of the sequence.
    pub(crate) options: SequenceOptions,
}

/// How a column has its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GeneratorKind {
    /// serial: as its DEFAULT.
    Serial,
    /// GENERATED ... AS IDENTITY.
    Identity {
        /// ALWAYS; else BY DEFAULT.
        always: bool,
    },
}

impl CreateTable {
    /// Without columns.
    pub(super) fn new(if_not_exists: bool, name: Name) -> CreateTable {
        let (columns, defaults, constraints) = (Vec::new(), Vec::new(), Vec::new());
        let (generated, generators, likes) = (Vec::new(), Vec::new(), Vec::new());
        CreateTable {
            temporary: false,
            on_commit: None,
            if_not_exists,
            name,
            columns,
            defaults,
            constraints,
            generated,
            generators,
            likes,
        }
    }

    /// Puts the columns of another behind its own, with all that belongs to them.
    pub(crate) fn append(&mut self, other: &CreateTable) {
        self.columns.extend_from_slice(&other.columns);
        self.defaults.extend_from_slice(&other.defaults);
        self.constraints.extend_from_slice(&other.constraints);
        self.generated.extend_from_slice(&other.generated);
        self.generators.extend_from_slice(&other.generators);
    }
}

/// A constraint of a table or of one of its columns.
#[derive(Debug, Clone)]
pub(crate) struct Constraint {
    /// CONSTRAINT name.
    pub(crate) name: Option<String>,
    /// What it says.
    pub(crate) rule: Rule,
}

/// What a constraint says.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// PRIMARY KEY, and its columns.
    PrimaryKey(Vec<String>),
    /// UNIQUE, and its columns.
    Unique(Vec<String>),
    /// CHECK: the expression as it was written.
    Check(String),
}

/// TRUNCATE.
#[derive(Debug)]
pub(crate) struct Truncate {
    /// Which.
    pub(crate) names: Vec<Name>,
    /// RESTART IDENTITY.
    pub(crate) restart: bool,
}

/// Words that end a DEFAULT.
const AFTER_DEFAULT: [&str; 9] =
    ["NOT", "NULL", "CHECK", "PRIMARY", "UNIQUE", "CONSTRAINT", "REFERENCES", "GENERATED", "DEFAULT"];

/// CREATE TABLE; the words are taken already.
pub(crate) fn create_table(cursor: &mut Cursor<'_>, temporary: bool) -> Result<Kind> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name()?;
    if names_query(cursor) {
        return create_table_as(cursor, temporary, if_not_exists, name).map(Kind::CreateTableAs);
    }
    let mut table = CreateTable { temporary, ..CreateTable::new(if_not_exists, name) };
    if cursor.sees("OF") || cursor.sees("PARTITION") {
        return refuse(cursor, "CREATE TABLE ... _");
    }
    cursor.expect_token(&Token::LParen)?;
    if !cursor.takes_token(&Token::RParen) {
        loop {
            item(cursor, &mut table)?;
            if cursor.takes_token(&Token::RParen) {
                break;
            }
            cursor.expect_token(&Token::Comma)?;
        }
    }
    table.on_commit = on_commit(cursor, temporary)?;
    if ["INHERITS", "PARTITION", "USING", "WITH", "WITHOUT", "ON", "TABLESPACE"].iter().any(|word| cursor.sees(word)) {
        return refuse(cursor, "CREATE TABLE ... _");
    }
    Ok(Kind::CreateTable(table))
}

/// Refuses the next word by name; it takes the place of `_` in the phrase.
pub(super) fn refuse<T>(cursor: &Cursor<'_>, phrase: &str) -> Result<T> {
    let word = cursor.word().unwrap_or_default();
    Err(cursor.error_here(Error::unsupported(phrase.replace('_', &word))))
}

/// A column or a constraint of the table.
pub(super) fn item(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    if cursor.takes("LIKE") {
        let like = like(cursor, table.columns.len())?;
        table.likes.push(like);
        return Ok(());
    }
    if cursor.sees("EXCLUDE") || cursor.sees("FOREIGN") {
        return refuse(cursor, "_ in a column list");
    }
    let name = if cursor.takes("CONSTRAINT") { Some(cursor.identifier()?) } else { None };
    let rule = if cursor.takes("PRIMARY KEY") {
        Rule::PrimaryKey(column_names(cursor)?)
    } else if cursor.takes("UNIQUE") {
        Rule::Unique(column_names(cursor)?)
    } else if cursor.takes("CHECK") {
        check(cursor)?
    } else if name.is_some() {
        return refuse(cursor, "_ as a constraint");
    } else {
        return column(cursor, table);
    };
    table.constraints.push(Constraint { name, rule });
    not_deferrable(cursor)
}

pub(super) fn column_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    cursor.expect_token(&Token::LParen)?;
    let mut names = vec![cursor.identifier()?];
    while cursor.takes_token(&Token::Comma) {
        names.push(cursor.identifier()?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(names)
}

/// The word CHECK is taken already.
fn check(cursor: &mut Cursor<'_>) -> Result<Rule> {
    cursor.expect_token(&Token::LParen)?;
    let (_, text) = cursor.written_expression()?;
    cursor.expect_token(&Token::RParen)?;
    if cursor.sees("NO INHERIT") {
        return refuse(cursor, "CHECK with _ INHERIT");
    }
    Ok(Rule::Check(text))
}

fn not_deferrable(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.takes("NOT DEFERRABLE");
    if cursor.sees("DEFERRABLE") || cursor.sees("INITIALLY DEFERRED") {
        return refuse(cursor, "a constraint that is _");
    }
    cursor.takes("INITIALLY IMMEDIATE");
    Ok(())
}

pub(super) fn column(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    let name = cursor.identifier()?;
    let serial = serial(cursor);
    let data_type = serial.clone().map_or_else(|| cursor.data_type(), Ok)?;
    let mut generator = serial.map(|_| (GeneratorKind::Serial, SequenceOptions::default()));
    let (mut null, mut not_null, mut default, mut computed) = (false, generator.is_some(), None, None);
    loop {
        let constraint = if cursor.takes("CONSTRAINT") { Some(cursor.identifier()?) } else { None };
        let rule = if cursor.takes("NOT NULL") {
            not_null = true;
            None
        } else if cursor.takes("NULL") {
            null = true;
            None
        } else if cursor.takes("DEFAULT") {
            if default.is_some() || matches!(generator, Some((GeneratorKind::Serial, _))) {
                return Err(twice("multiple default values", &name, table));
            }
            let end = cursor.before(&AFTER_DEFAULT);
            default = Some(cursor.until(end, |cursor| cursor.written_expression())?.1);
            None
        } else if cursor.takes("PRIMARY KEY") {
            Some(Rule::PrimaryKey(vec![name.clone()]))
        } else if cursor.takes("UNIQUE") {
            Some(Rule::Unique(vec![name.clone()]))
        } else if cursor.takes("CHECK") {
            Some(check(cursor)?)
        } else if let Some(identity) = identity(cursor)? {
            if generator.is_some() {
                return Err(twice("multiple identity specifications", &name, table));
            }
            (generator, not_null) = (Some(identity), true);
            None
        } else if let Some(text) = generated(cursor)? {
            if computed.replace(text).is_some() {
                return Err(twice("multiple generation clauses", &name, table));
            }
            None
        } else if constraint.is_some()
            || ["GENERATED", "REFERENCES", "COLLATE", "COMPRESSION"].iter().any(|word| cursor.sees(word))
        {
            return refuse(cursor, "_ for a column");
        } else {
            break;
        };
        if let Some(rule) = rule {
            table.constraints.push(Constraint { name: constraint, rule });
            not_deferrable(cursor)?;
        }
        if null && not_null {
            return Err(Error::new(
                SqlState::SyntaxError,
                format!(
                    "conflicting NULL/NOT NULL declarations for column \"{name}\" of table \"{}\"",
                    table.name.name
                ),
            ));
        }
    }
    if table.columns.iter().any(|column| column.name == name) {
        return Err(Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once")));
    }
    one_origin(table, &name, default.is_some(), generator, computed)?;
    table.columns.push(Column { name, data_type, not_null });
    table.defaults.push(default);
    Ok(())
}

/// Enters where a column's values come from, if not from a DEFAULT; from one of these alone.
fn one_origin(
    table: &mut CreateTable,
    name: &str,
    has_default: bool,
    generator: Option<(GeneratorKind, SequenceOptions)>,
    computed: Option<String>,
) -> Result<()> {
    if let Some(text) = computed {
        if has_default || matches!(generator, Some((GeneratorKind::Serial, _))) {
            return Err(twice("both default and generation expression", name, table));
        }
        if generator.is_some() {
            return Err(twice("both identity and generation expression", name, table));
        }
        table.generated.push((name.to_string(), text));
    }
    if let Some((kind, options)) = generator {
        if kind != GeneratorKind::Serial && has_default {
            return Err(twice("both default and identity", name, table));
        }
        table.generators.push(Generator { column: name.to_string(), kind, options });
    }
    Ok(())
}

/// The type of a serial column, if this is one.
fn serial(cursor: &mut Cursor<'_>) -> Option<PgType> {
    let types = [
        (["SMALLSERIAL", "SERIAL2"], PgType::Int2),
        (["SERIAL", "SERIAL4"], PgType::Int4),
        (["BIGSERIAL", "SERIAL8"], PgType::Int8),
    ];
    types.into_iter().find(|(words, _)| words.iter().any(|word| cursor.takes(word))).map(|(_, data_type)| data_type)
}

/// GENERATED ... AS IDENTITY, if it comes next.
fn identity(cursor: &mut Cursor<'_>) -> Result<Option<(GeneratorKind, SequenceOptions)>> {
    let always = cursor.takes("GENERATED ALWAYS AS IDENTITY");
    if !always && !cursor.takes("GENERATED BY DEFAULT AS IDENTITY") {
        return Ok(None);
    }
    let mut options = SequenceOptions::default();
    if cursor.takes_token(&Token::LParen) {
        options = sequence::options(cursor)?;
        cursor.expect_token(&Token::RParen)?;
    }
    Ok(Some((GeneratorKind::Identity { always }, options)))
}

/// GENERATED ALWAYS AS (expression) STORED, if it comes next: the expression as it was written.
fn generated(cursor: &mut Cursor<'_>) -> Result<Option<String>> {
    if cursor.sees("GENERATED BY DEFAULT AS") {
        cursor.takes("GENERATED");
        let message = "for a generated column, GENERATED ALWAYS must be specified";
        return Err(cursor.error_here(Error::new(SqlState::SyntaxError, message)));
    }
    if !cursor.takes("GENERATED ALWAYS AS") {
        return Ok(None);
    }
    cursor.expect_token(&Token::LParen)?;
    let (_, text) = cursor.written_expression()?;
    cursor.expect_token(&Token::RParen)?;
    cursor.expect("STORED")?;
    Ok(Some(text))
}

/// Something was said of a column twice.
fn twice(what: &str, column: &str, table: &CreateTable) -> Error {
    let message = format!("{what} specified for column \"{column}\" of table \"{}\"", table.name.name);
    Error::new(SqlState::SyntaxError, message)
}

/// TRUNCATE; the word is taken already.
pub(crate) fn truncate(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.takes("TABLE");
    cursor.takes("ONLY");
    let names = cursor.names()?;
    let restart = cursor.takes("RESTART IDENTITY");
    let _ = !restart && cursor.takes("CONTINUE IDENTITY");
    let _ = cursor.takes("CASCADE") || cursor.takes("RESTRICT");
    Ok(Kind::Truncate(Truncate { names, restart }))
}
