//! CREATE TABLE, ALTER TABLE and TRUNCATE.
//!
//! Checks form only: names and types of what constraints say are looked at when the table is made.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;

use super::ast::{Kind, Name, ObjectKind};
use super::cursor::Cursor;
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
    /// The columns whose values come from sequences of their own.
    pub(crate) generators: Vec<Generator>,
    /// LIKE.
    pub(crate) likes: Vec<Like>,
}

/// LIKE in a list of columns.
#[derive(Debug, Clone)]
pub(crate) struct Like {
    /// How many columns stand before it.
    pub(crate) at: usize,
    /// Like what.
    pub(crate) name: Name,
    /// INCLUDING, and what EXCLUDING took away again.
    included: BTreeSet<&'static str>,
}

/// What LIKE may include.
const INCLUDABLE: [&str; 9] =
    ["COMMENTS", "COMPRESSION", "CONSTRAINTS", "DEFAULTS", "GENERATED", "IDENTITY", "INDEXES", "STATISTICS", "STORAGE"];

impl Like {
    /// Whether INCLUDING names this.
    pub(crate) fn includes(&self, what: &str) -> bool {
        self.included.contains(what)
    }
}

/// CREATE TABLE ... AS, SELECT INTO.
#[derive(Debug)]
pub(crate) struct CreateTableAs {
    /// TEMPORARY.
    pub(crate) temporary: bool,
    /// ON COMMIT; `None`: PRESERVE ROWS.
    pub(crate) on_commit: Option<OnCommit>,
    /// IF NOT EXISTS.
    pub(crate) if_not_exists: bool,
    /// Its name.
    pub(crate) name: Name,
    /// Names for its columns, from the left.
    pub(crate) columns: Vec<String>,
    /// The query.
    pub(crate) query: Box<ast::Query>,
    /// WITH DATA.
    pub(crate) with_data: bool,
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
    fn new(if_not_exists: bool, name: Name) -> CreateTable {
        let (columns, defaults, constraints) = (Vec::new(), Vec::new(), Vec::new());
        let (generators, likes) = (Vec::new(), Vec::new());
        let (temporary, on_commit) = (false, None);
        CreateTable { temporary, on_commit, if_not_exists, name, columns, defaults, constraints, generators, likes }
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

/// ALTER TABLE.
#[derive(Debug)]
pub(crate) struct AlterTable {
    /// What kind the statement names; `None`: ALTER TABLE, which takes any.
    pub(crate) view: Option<ObjectKind>,
    /// IF EXISTS.
    pub(crate) if_exists: bool,
    /// Which.
    pub(crate) name: Name,
    /// What happens to it.
    pub(crate) action: AlterAction,
}

/// What ALTER TABLE does.
#[derive(Debug)]
pub(crate) enum AlterAction {
    /// RENAME TO.
    Rename(String),
    /// SET SCHEMA.
    SetSchema(String),
    /// RENAME COLUMN a TO b.
    RenameColumn(String, String),
    /// ADD COLUMN: a table of this one column with its constraints.
    AddColumn {
        /// IF NOT EXISTS.
        if_not_exists: bool,
        /// The column.
        column: CreateTable,
    },
    /// DROP COLUMN.
    DropColumn {
        /// IF EXISTS.
        if_exists: bool,
        /// Which.
        name: String,
        /// CASCADE.
        cascade: bool,
    },
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

/// Whether AS and a query come behind the table's name, its columns and ON COMMIT.
fn names_query(cursor: &Cursor<'_>) -> bool {
    let mut depth = 0_usize;
    for ahead in 0.. {
        match cursor.token(ahead) {
            None => return false,
            Some(Token::LParen) => depth += 1,
            Some(Token::RParen) => depth = depth.saturating_sub(1),
            Some(_) if depth == 0 && cursor.is_word(ahead, "AS") => return true,
            Some(_) => {}
        }
    }
    false
}

/// ON COMMIT, if it comes next.
fn on_commit(cursor: &mut Cursor<'_>, temporary: bool) -> Result<Option<OnCommit>> {
    if !cursor.sees("ON COMMIT") {
        return Ok(None);
    }
    if !temporary {
        let message = "ON COMMIT can only be used on temporary tables";
        return Err(Error::new(SqlState::InvalidTableDefinition, message));
    }
    cursor.expect("ON COMMIT")?;
    if cursor.takes("DROP") {
        Ok(Some(OnCommit::Drop))
    } else if cursor.takes("DELETE ROWS") {
        Ok(Some(OnCommit::DeleteRows))
    } else {
        cursor.expect("PRESERVE ROWS").map(|()| None)
    }
}

/// The rest of CREATE TABLE ... AS, from the columns on.
fn create_table_as(cursor: &mut Cursor<'_>, temporary: bool, if_not_exists: bool, name: Name) -> Result<CreateTableAs> {
    let columns = if cursor.peek().token == Token::LParen { column_names(cursor)? } else { Vec::new() };
    let on_commit = on_commit(cursor, temporary)?;
    if cursor.sees("WITH") || cursor.sees("USING") || cursor.sees("TABLESPACE") {
        return refuse(cursor, "CREATE TABLE ... _");
    }
    cursor.expect("AS")?;
    if cursor.sees("EXECUTE") {
        return refuse(cursor, "CREATE TABLE ... AS _");
    }
    let (query, _) = cursor.query_until(cursor.trailing_with())?;
    let with_data = !cursor.takes("WITH NO DATA");
    let _ = with_data && cursor.takes("WITH DATA");
    Ok(CreateTableAs { temporary, on_commit, if_not_exists, name, columns, query, with_data })
}

/// A query, or the table that its INTO asks for.
pub(crate) fn into(mut query: Box<ast::Query>) -> Result<Kind> {
    let ast::SetExpr::Select(select) = query.body.as_mut() else { return Ok(Kind::Query(query)) };
    let Some(into) = select.into.take() else { return Ok(Kind::Query(query)) };
    if into.unlogged {
        return Err(Error::unsupported("SELECT INTO UNLOGGED"));
    }
    let Some((schema, name)) = crate::statement::resolve::folded(&into.name) else {
        return Err(Error::unsupported("this name behind INTO"));
    };
    Ok(Kind::CreateTableAs(CreateTableAs {
        temporary: into.temporary,
        on_commit: None,
        if_not_exists: false,
        name: Name { schema, name },
        columns: Vec::new(),
        query,
        with_data: true,
    }))
}

/// Refuses the next word by name; it takes the place of `_` in the phrase.
fn refuse<T>(cursor: &Cursor<'_>, phrase: &str) -> Result<T> {
    let word = cursor.word().unwrap_or_default();
    Err(cursor.error_here(Error::unsupported(phrase.replace('_', &word))))
}

/// A column or a constraint of the table.
fn item(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
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

/// The word LIKE is taken already.
fn like(cursor: &mut Cursor<'_>, at: usize) -> Result<Like> {
    let mut like = Like { at, name: cursor.name()?, included: BTreeSet::new() };
    loop {
        let including = cursor.takes("INCLUDING");
        if !including && !cursor.takes("EXCLUDING") {
            return Ok(like);
        }
        let all = cursor.takes("ALL");
        let named = INCLUDABLE.into_iter().find(|word| !all && cursor.takes(word));
        if !all && named.is_none() {
            return cursor.unexpected();
        }
        for word in INCLUDABLE.into_iter().filter(|word| all || named == Some(word)) {
            if including {
                like.included.insert(word);
            } else {
                like.included.remove(word);
            }
        }
    }
}

fn column_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
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

fn column(cursor: &mut Cursor<'_>, table: &mut CreateTable) -> Result<()> {
    let name = cursor.identifier()?;
    let serial = serial(cursor);
    let data_type = serial.clone().map_or_else(|| cursor.data_type(), Ok)?;
    let mut generator = serial.map(|_| (GeneratorKind::Serial, SequenceOptions::default()));
    let (mut null, mut not_null, mut default) = (false, generator.is_some(), None);
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
    if let Some((kind, options)) = generator {
        if kind != GeneratorKind::Serial && default.is_some() {
            return Err(twice("both default and identity", &name, table));
        }
        table.generators.push(Generator { column: name.clone(), kind, options });
    }
    table.columns.push(Column { name, data_type, not_null });
    table.defaults.push(default);
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

/// ALTER; the word is taken already.
pub(crate) fn alter(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let kinds = [
        ("MATERIALIZED VIEW", ObjectKind::View),
        ("VIEW", ObjectKind::NamedQuery),
        ("SOURCE", ObjectKind::Source),
        ("EXTERNAL TABLE", ObjectKind::Table),
        ("SEQUENCE", ObjectKind::Sequence),
    ];
    let view = kinds.into_iter().find(|(words, _)| cursor.takes(words)).map(|(_, kind)| kind);
    if view.is_none() && !cursor.takes("TABLE") {
        return refuse(cursor, "ALTER _").map_err(|error: Error| {
            error.hint("Drop the object and create it again; CREATE OR REPLACE MATERIALIZED VIEW serves the old view until the new one is complete.")
        });
    }
    let if_exists = cursor.takes("IF EXISTS");
    cursor.takes("ONLY");
    let name = cursor.name()?;
    let action = if cursor.takes("SET SCHEMA") {
        AlterAction::SetSchema(cursor.identifier()?)
    } else if matches!(view, Some(ObjectKind::Source | ObjectKind::Table)) {
        return refuse(cursor, "ALTER SOURCE ... _");
    } else if view.is_some() && !cursor.sees("RENAME TO") {
        return refuse(cursor, "ALTER VIEW ... _");
    } else if cursor.takes("ADD") {
        add_column(cursor, &name)?
    } else if cursor.takes("DROP") {
        drop_column(cursor)?
    } else if !cursor.takes("RENAME") {
        return refuse(cursor, "ALTER TABLE ... _");
    } else if cursor.takes("TO") {
        AlterAction::Rename(cursor.identifier()?)
    } else if cursor.sees("CONSTRAINT") {
        return refuse(cursor, "ALTER TABLE ... RENAME _");
    } else {
        cursor.takes("COLUMN");
        let old = cursor.identifier()?;
        cursor.expect("TO")?;
        AlterAction::RenameColumn(old, cursor.identifier()?)
    };
    Ok(Kind::AlterTable(AlterTable { view, if_exists, name, action }))
}

/// The word ADD is taken already.
fn add_column(cursor: &mut Cursor<'_>, table: &Name) -> Result<AlterAction> {
    if !cursor.takes("COLUMN")
        && ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"].iter().any(|word| cursor.sees(word))
    {
        return refuse(cursor, "ALTER TABLE ... ADD _");
    }
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let mut one = CreateTable::new(if_not_exists, table.clone());
    column(cursor, &mut one)?;
    Ok(AlterAction::AddColumn { if_not_exists, column: one })
}

/// The word DROP is taken already.
fn drop_column(cursor: &mut Cursor<'_>) -> Result<AlterAction> {
    if !cursor.takes("COLUMN") && cursor.sees("CONSTRAINT") {
        return refuse(cursor, "ALTER TABLE ... DROP _");
    }
    let if_exists = cursor.takes("IF EXISTS");
    let name = cursor.identifier()?;
    let cascade = cursor.takes("CASCADE");
    let _ = !cascade && cursor.takes("RESTRICT");
    Ok(AlterAction::DropColumn { if_exists, name, cascade })
}
