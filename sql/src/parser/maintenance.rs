//! VACUUM, ANALYZE, CLUSTER, REINDEX and CHECKPOINT, with their options.
//!
//! Checks the words and values of options, and which of them exclude each other; not the names.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Name};
use super::cursor::Cursor;

/// The most workers that VACUUM's PARALLEL may ask for.
const MAX_PARALLEL: i64 = 1024;

/// One of the statements.
#[derive(Debug)]
pub(crate) enum Maintenance {
    /// VACUUM.
    Vacuum {
        /// The relations, each with the columns to analyse; none: all there are.
        relations: Vec<(Name, Vec<String>)>,
        /// The statement analyses, too.
        analyzes: bool,
        /// What is refused once it is clear that no block is open.
        refusal: Option<Error>,
    },
    /// ANALYZE.
    Analyze(Vec<(Name, Vec<String>)>),
    /// CLUSTER, with USING; `None`: all tables.
    Cluster(Option<(Name, Option<String>)>),
    /// REINDEX.
    Reindex(Reindex),
    /// CHECKPOINT.
    Checkpoint,
}

/// REINDEX.
#[derive(Debug)]
pub(crate) struct Reindex {
    /// Of what.
    pub(crate) what: Reindexed,
    /// CONCURRENTLY.
    pub(crate) concurrently: bool,
    /// TABLESPACE.
    pub(crate) tablespace: Option<String>,
}

/// What is reindexed.
#[derive(Debug)]
pub(crate) enum Reindexed {
    /// INDEX.
    Index(Name),
    /// TABLE.
    Table(Name),
    /// SCHEMA.
    Schema(String),
    /// DATABASE.
    Database(Option<String>),
    /// SYSTEM.
    System(Option<String>),
}

/// The words the statements begin with.
pub(crate) const WORDS: [&str; 6] = ["ANALYSE", "ANALYZE", "CHECKPOINT", "CLUSTER", "REINDEX", "VACUUM"];

/// After this first word.
pub(crate) fn maintenance(cursor: &mut Cursor<'_>, word: &str) -> Result<Kind> {
    let statement = match word {
        "VACUUM" => vacuum(cursor)?,
        "CLUSTER" => cluster(cursor)?,
        "REINDEX" => Maintenance::Reindex(reindex(cursor)?),
        "CHECKPOINT" => Maintenance::Checkpoint,
        _ => analyze(cursor)?,
    };
    Ok(Kind::Maintenance(statement))
}

/// A given option.
struct Given {
    name: String,
    value: Option<String>,
    position: Option<usize>,
}

impl Given {
    /// As a switch. Error: 42601.
    fn is_on(&self) -> Result<bool> {
        match self.value.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "on" | "1") => Ok(true),
            Some("false" | "off" | "0") => Ok(false),
            Some(_) => Err(Error::new(SqlState::SyntaxError, format!("{} requires a Boolean value", self.name))),
        }
    }

    /// This error, at its place.
    fn error(&self, message: &str) -> Error {
        let error = Error::new(SqlState::SyntaxError, message);
        match self.position {
            Some(position) => error.at(position),
            None => error,
        }
    }
}

/// `(name [value], ...)`, each of these names.
fn options(cursor: &mut Cursor<'_>, statement: &str, known: &[&str]) -> Result<Vec<Given>> {
    let mut all = Vec::new();
    cursor.expect_token(&Token::LParen)?;
    loop {
        let Some(name) = cursor.word().map(|word| word.to_lowercase()) else { return cursor.unexpected() };
        let position = cursor.position();
        cursor.next();
        let given = Given { name, value: cursor.value(), position };
        if !known.contains(&given.name.as_str()) {
            return Err(given.error(&format!("unrecognized {statement} option \"{}\"", given.name)));
        }
        all.push(given);
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(all)
}

/// Relations, each perhaps with columns.
fn relations(cursor: &mut Cursor<'_>) -> Result<Vec<(Name, Vec<String>)>> {
    let mut all = Vec::new();
    while !cursor.at_end() {
        let name = cursor.name()?;
        let mut columns = Vec::new();
        if cursor.takes_token(&Token::LParen) {
            columns = cursor.identifiers()?;
            cursor.expect_token(&Token::RParen)?;
        }
        all.push((name, columns));
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
        if cursor.at_end() {
            return cursor.unexpected();
        }
    }
    Ok(all)
}

fn vacuum(cursor: &mut Cursor<'_>) -> Result<Maintenance> {
    let (mut full, mut analyzes, mut parallel, mut skipping_pages, mut toast) = (false, false, false, false, true);
    if cursor.peek().token == Token::LParen {
        const KNOWN: [&str; 10] = [
            "full",
            "freeze",
            "verbose",
            "analyze",
            "disable_page_skipping",
            "skip_locked",
            "index_cleanup",
            "process_toast",
            "truncate",
            "parallel",
        ];
        for given in options(cursor, "VACUUM", &KNOWN)? {
            match given.name.as_str() {
                "parallel" => parallel = workers(&given)? > 0,
                "index_cleanup" if given.value.as_deref().is_some_and(|it| it.eq_ignore_ascii_case("auto")) => {}
                "full" => full = given.is_on()?,
                "analyze" => analyzes = given.is_on()?,
                "disable_page_skipping" => skipping_pages = given.is_on()?,
                "process_toast" => toast = given.is_on()?,
                _ => drop(given.is_on()?),
            }
        }
    } else {
        full = cursor.takes("FULL");
        cursor.takes("FREEZE");
        cursor.takes("VERBOSE");
        analyzes = cursor.takes("ANALYZE") || cursor.takes("ANALYSE");
    }
    let relations = relations(cursor)?;
    if full && parallel {
        return Err(unsupported("VACUUM FULL cannot be performed in parallel"));
    }
    if !analyzes && relations.iter().any(|(_, columns)| !columns.is_empty()) {
        return Err(unsupported("ANALYZE option must be specified when a column list is provided"));
    }
    let refusal = match full {
        true if skipping_pages => Some("VACUUM option DISABLE_PAGE_SKIPPING cannot be used with FULL"),
        true if !toast => Some("PROCESS_TOAST required with VACUUM FULL"),
        _ => None,
    };
    Ok(Maintenance::Vacuum { relations, analyzes, refusal: refusal.map(unsupported) })
}

/// 0A000 in these words.
fn unsupported(message: &str) -> Error {
    Error::new(SqlState::FeatureNotSupported, message)
}

/// The value of PARALLEL. Error: 42601.
fn workers(given: &Given) -> Result<i64> {
    let Some(value) = &given.value else {
        return Err(given.error(&format!("parallel option requires a value between 0 and {MAX_PARALLEL}")));
    };
    let Ok(workers) = value.parse() else {
        return Err(Error::new(SqlState::SyntaxError, "parallel requires an integer value"));
    };
    if !(0..=MAX_PARALLEL).contains(&workers) {
        return Err(given.error(&format!("parallel workers for vacuum must be between 0 and {MAX_PARALLEL}")));
    }
    Ok(workers)
}

fn analyze(cursor: &mut Cursor<'_>) -> Result<Maintenance> {
    if cursor.peek().token == Token::LParen {
        for given in options(cursor, "ANALYZE", &["verbose", "skip_locked"])? {
            given.is_on()?;
        }
    } else {
        cursor.takes("VERBOSE");
    }
    Ok(Maintenance::Analyze(relations(cursor)?))
}

fn cluster(cursor: &mut Cursor<'_>) -> Result<Maintenance> {
    if cursor.peek().token == Token::LParen {
        for given in options(cursor, "CLUSTER", &["verbose"])? {
            given.is_on()?;
        }
    } else {
        cursor.takes("VERBOSE");
    }
    if cursor.at_end() {
        return Ok(Maintenance::Cluster(None));
    }
    let first = cursor.name()?;
    // The order of words before PostgreSQL 8.3.
    if first.schema.is_none() && cursor.takes("ON") {
        return Ok(Maintenance::Cluster(Some((cursor.name()?, Some(first.name)))));
    }
    let index = if cursor.takes("USING") { Some(cursor.identifier()?) } else { None };
    Ok(Maintenance::Cluster(Some((first, index))))
}

fn reindex(cursor: &mut Cursor<'_>) -> Result<Reindex> {
    let (mut concurrently, mut tablespace) = (false, None);
    if cursor.peek().token == Token::LParen {
        for given in options(cursor, "REINDEX", &["verbose", "concurrently", "tablespace"])? {
            match given.name.as_str() {
                "tablespace" => {
                    let missing = || Error::new(SqlState::SyntaxError, "tablespace requires a parameter");
                    tablespace = Some(given.value.ok_or_else(missing)?);
                }
                "concurrently" => concurrently = given.is_on()?,
                _ => drop(given.is_on()?),
            }
        }
    }
    let Some(word) = cursor.word() else { return cursor.unexpected() };
    if !["INDEX", "TABLE", "SCHEMA", "DATABASE", "SYSTEM"].contains(&word.as_str()) {
        return cursor.unexpected();
    }
    cursor.next();
    concurrently |= cursor.takes("CONCURRENTLY");
    let what = match word.as_str() {
        "INDEX" => Reindexed::Index(cursor.name()?),
        "TABLE" => Reindexed::Table(cursor.name()?),
        "SCHEMA" => Reindexed::Schema(cursor.identifier()?),
        other => {
            let name = if cursor.at_end() { None } else { Some(cursor.identifier()?) };
            if other == "SYSTEM" { Reindexed::System(name) } else { Reindexed::Database(name) }
        }
    };
    Ok(Reindex { what, concurrently, tablespace })
}
