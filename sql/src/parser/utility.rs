//! SHOW, EXPLAIN, SET and the other small statements; dispatches on the first word.
//!
//! A statement that PostgreSQL has and Thalweg has not is refused by its name; any other first
//! word is a syntax error.

use std::sync::Arc;

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Explain, Kind, ObjectKind, Show};
use super::cursor::Cursor;
use super::with_changes::refuse_changes;
use super::{
    alter_table, change, comment, copy, ddl, elsewhere, grant, lock_table, maintenance, merge, prepared, role, schema,
    sequence, setting, sql_cursor, table, transaction,
};

/// First words of PostgreSQL's other statements, with what to do instead.
const REFUSED: &[(&str, &str)] =
    &[("CALL", ""), ("DO", ""), ("IMPORT", ""), ("LISTEN", ""), ("LOAD", ""), ("NOTIFY", ""), ("SECURITY", "")];

/// First words of ours that [`transaction`] does not read.
const WORDS: [&str; 28] = [
    "UNLISTEN",
    "LOCK",
    "REFRESH",
    "COMMENT",
    "GRANT",
    "REVOKE",
    "REASSIGN",
    "CREATE",
    "DROP",
    "SHOW",
    "EXPLAIN",
    "SET",
    "RESET",
    "DISCARD",
    "DEALLOCATE",
    "ALTER",
    "COPY",
    "DELETE",
    "INSERT",
    "MERGE",
    "TRUNCATE",
    "UPDATE",
    "PREPARE",
    "EXECUTE",
    "DECLARE",
    "FETCH",
    "MOVE",
    "CLOSE",
];

/// Any statement but a query.
pub(crate) fn statement(cursor: &mut Cursor<'_>, request: &Arc<str>) -> Result<Kind> {
    let Some(word) = cursor.word() else { return cursor.unexpected() };
    if let Ok(found) = REFUSED.binary_search_by_key(&word.as_str(), |(name, _)| name) {
        let error = cursor.error_here(Error::unsupported(&word));
        let hint = REFUSED[found].1;
        return Err(if hint.is_empty() { error } else { error.hint(hint) });
    }
    if maintenance::WORDS.contains(&word.as_str()) {
        cursor.next();
        return maintenance::maintenance(cursor, &word);
    }
    if transaction::WORDS.contains(&word.as_str()) {
        return transaction::transaction(cursor);
    }
    if !WORDS.contains(&word.as_str()) {
        return cursor.unexpected().map_err(|error| elsewhere::statement(error, &word));
    }
    cursor.next();
    match word.as_str() {
        "COMMENT" => comment::comment(cursor),
        "REFRESH" => refresh(cursor),
        "LOCK" => lock_table::lock(cursor),
        "UNLISTEN" => unlisten(cursor),
        "CREATE" => ddl::create(cursor),
        "ALTER" => {
            let other = role::alter(cursor).or_else(|| schema::alter(cursor)).or_else(|| sequence::alter(cursor));
            let other = other.or_else(|| role::alter_database(cursor)).or_else(|| grant::alter(cursor));
            other.unwrap_or_else(|| alter_table::alter(cursor))
        }
        "GRANT" => grant::grant(cursor),
        "REVOKE" => grant::revoke(cursor),
        "REASSIGN" => grant::reassign(cursor),
        "TRUNCATE" => table::truncate(cursor),
        "INSERT" => change::insert(cursor, Vec::new()),
        "UPDATE" => change::update(cursor, Vec::new()),
        "DELETE" => change::delete(cursor, Vec::new()),
        "MERGE" => merge::merge(cursor, Vec::new()),
        "COPY" => copy::copy(cursor),
        "DROP" => ddl::drop(cursor),
        "SHOW" => show(cursor).map(Kind::Show),
        "EXPLAIN" => explain(cursor).map(Kind::Explain),
        "SET" => setting::set(cursor),
        "RESET" => setting::reset(cursor),
        "DISCARD" => discard(cursor),
        "PREPARE" => prepared::prepare(cursor, request),
        "EXECUTE" => prepared::execute(cursor),
        "DECLARE" => sql_cursor::declare(cursor),
        "FETCH" => sql_cursor::fetch(cursor, false),
        "MOVE" => sql_cursor::fetch(cursor, true),
        "CLOSE" => sql_cursor::close(cursor),
        _ => prepared::deallocate(cursor),
    }
}

fn show(cursor: &mut Cursor<'_>) -> Result<Show> {
    if cursor.takes("SOURCES") {
        return Ok(Show::Objects(ObjectKind::Source));
    }
    if cursor.takes("MATERIALIZED VIEWS") {
        return Ok(Show::Objects(ObjectKind::View));
    }
    if cursor.takes("VIEWS") {
        return Ok(Show::Objects(ObjectKind::NamedQuery));
    }
    if cursor.takes("SEQUENCES") {
        return Ok(Show::Objects(ObjectKind::Sequence));
    }
    if cursor.takes("TABLES") || cursor.takes("EXTERNAL TABLES") {
        return Ok(Show::Objects(ObjectKind::Table));
    }
    if cursor.takes("CREATE") {
        let kind = if cursor.takes("SOURCE") {
            ObjectKind::Source
        } else if cursor.takes("MATERIALIZED VIEW") {
            ObjectKind::View
        } else if cursor.takes("VIEW") {
            ObjectKind::NamedQuery
        } else if cursor.takes("SEQUENCE") {
            ObjectKind::Sequence
        } else if cursor.takes("EXTERNAL TABLE") || cursor.takes("TABLE") {
            ObjectKind::Table
        } else {
            return cursor.unexpected();
        };
        return Ok(Show::Create(kind, cursor.name()?));
    }
    if cursor.takes("ALL") {
        return Ok(Show::All);
    }
    if cursor.takes("TIME ZONE") {
        return Ok(Show::Setting("timezone".into()));
    }
    if cursor.takes("TRANSACTION ISOLATION LEVEL") {
        return Ok(Show::Setting("transaction_isolation".into()));
    }
    if cursor.takes("SESSION AUTHORIZATION") {
        return Ok(Show::Setting("session_authorization".into()));
    }
    if cursor.takes("SCHEMAS") {
        return Ok(Show::Schemas);
    }
    if cursor.takes("COLUMNS") {
        if !cursor.takes("FROM") {
            cursor.expect("IN")?;
        }
        return cursor.name().map(Show::Columns);
    }
    let name = setting::name(cursor)?;
    match elsewhere::shown_by(&name) {
        Some(hint) => {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            Err(Error::new(SqlState::UndefinedObject, message).hint(hint))
        }
        None => Ok(Show::Setting(name)),
    }
}

fn explain(cursor: &mut Cursor<'_>) -> Result<Explain> {
    if cursor.sees("ANALYZE") || cursor.sees("ANALYSE") {
        return Err(cursor.error_here(Error::unsupported("EXPLAIN ANALYZE")));
    }
    cursor.takes("VERBOSE");
    if cursor.peek().token == Token::LParen && !cursor.starts_parenthesised_query() {
        explain_options(cursor)?;
    }
    if cursor.takes("MATERIALIZED VIEW") {
        return cursor.name().map(Explain::View);
    }
    if cursor.takes("CREATE") {
        return match ddl::create(cursor)? {
            Kind::CreateView(view) => Ok(Explain::CreateView(view.query)),
            _ => {
                Err(Error::unsupported("EXPLAIN of this statement")
                    .hint("EXPLAIN knows queries and materialized views."))
            }
        };
    }
    let query = cursor.query()?;
    refuse_changes(&query, "a data-modifying statement in WITH is not supported in EXPLAIN")?;
    Ok(Explain::Query(query))
}

fn explain_options(cursor: &mut Cursor<'_>) -> Result<()> {
    cursor.expect_token(&Token::LParen)?;
    loop {
        let place = cursor.word();
        match place.as_deref() {
            Some("VERBOSE" | "COSTS" | "SETTINGS" | "SUMMARY") => cursor.next(),
            Some(other) => return Err(cursor.error_here(Error::unsupported(format!("EXPLAIN ({other})")))),
            None => return cursor.unexpected(),
        };
        if !matches!(cursor.peek().token, Token::Comma | Token::RParen) && cursor.value().is_none() {
            return cursor.unexpected();
        }
        if cursor.takes_token(&Token::RParen) {
            return Ok(());
        }
        cursor.expect_token(&Token::Comma)?;
    }
}

fn discard(cursor: &mut Cursor<'_>) -> Result<Kind> {
    for (word, tag) in [
        ("ALL", "DISCARD ALL"),
        ("PLANS", "DISCARD PLANS"),
        ("SEQUENCES", "DISCARD SEQUENCES"),
        ("TEMP", "DISCARD TEMP"),
        ("TEMPORARY", "DISCARD TEMP"),
    ] {
        if cursor.takes(word) {
            return Ok(Kind::Discard(tag));
        }
    }
    cursor.unexpected()
}

/// REFRESH MATERIALIZED VIEW: it is as fresh as it can be all the time.
fn refresh(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.expect("MATERIALIZED VIEW")?;
    cursor.takes("CONCURRENTLY");
    let name = cursor.name()?;
    if cursor.takes("WITH NO DATA") {
        return Err(cursor.error_here(Error::unsupported("REFRESH ... WITH NO DATA")));
    }
    cursor.takes("WITH DATA");
    Ok(Kind::Refresh(name))
}

/// UNLISTEN: nobody listens, as there is no LISTEN.
fn unlisten(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if !cursor.takes_token(&Token::Mul) {
        cursor.identifier()?;
    }
    Ok(Kind::Discard("UNLISTEN"))
}
