//! SET and RESET, and what ALTER ROLE and ALTER DATABASE keep of settings.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Set};
use super::cursor::Cursor;
use super::transaction;
use crate::statement::definition::quoted;

/// What ALTER ROLE and ALTER DATABASE do with settings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// SET; without a value DEFAULT.
    Set(String, Option<String>),
    /// SET ... FROM CURRENT.
    Current(String),
    /// RESET; without a name ALL.
    Reset(Option<String>),
}

/// What comes after the role or database, if it is about settings; nothing more was taken otherwise.
pub(super) fn kept(cursor: &mut Cursor<'_>) -> Option<Result<Keep>> {
    if cursor.takes("RESET ALL") {
        return Some(Ok(Keep::Reset(None)));
    }
    if cursor.takes("RESET") {
        return Some(name(cursor).map(|name| Keep::Reset(Some(name))));
    }
    cursor.takes("SET").then(|| {
        let start = cursor.at;
        if let Ok(name) = name(cursor)
            && cursor.takes("FROM CURRENT")
        {
            return Ok(Keep::Current(name));
        }
        cursor.at = start;
        assignment(cursor, false).map(|set| Keep::Set(set.name, set.value))
    })
}

/// The name of a setting, in lower case.
pub(super) fn name(cursor: &mut Cursor<'_>) -> Result<String> {
    let name = cursor.name()?;
    Ok(name.to_string().to_lowercase())
}

/// SET; the word is taken already.
pub(super) fn set(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes("SESSION CHARACTERISTICS AS TRANSACTION") {
        return transaction::modes(cursor).map(Kind::SetTransactions);
    }
    if cursor.takes("TRANSACTION") {
        if cursor.sees("SNAPSHOT") {
            return Err(cursor.error_here(Error::unsupported("SET TRANSACTION SNAPSHOT")));
        }
        return transaction::modes(cursor).map(Kind::SetTransaction);
    }
    if cursor.sees("CONSTRAINTS") {
        return Err(cursor.error_here(Error::unsupported("SET CONSTRAINTS")));
    }
    let local = cursor.takes("LOCAL");
    if !local && !cursor.sees("SESSION AUTHORIZATION") {
        cursor.takes("SESSION");
    }
    if cursor.takes("SESSION AUTHORIZATION") {
        let value =
            if cursor.takes("DEFAULT") { None } else { cursor.string().or_else(|_| cursor.identifier()).map(Some)? };
        return Ok(Kind::Set(Set { name: "session_authorization".into(), local, value }));
    }
    assignment(cursor, local).map(Kind::Set)
}

/// `name TO value`, and what is written in other words.
fn assignment(cursor: &mut Cursor<'_>, local: bool) -> Result<Set> {
    if cursor.takes("TIME ZONE") {
        return time_zone(cursor, local);
    }
    if cursor.sees("ROLE") && !cursor.sees("ROLE TO") && cursor.token(1) != Some(&Token::Eq) {
        cursor.next();
        let value =
            if cursor.takes("NONE") { None } else { cursor.string().or_else(|_| cursor.identifier()).map(Some)? };
        return Ok(Set { name: "role".into(), local, value });
    }
    if cursor.takes("NAMES") {
        let value = if cursor.takes("DEFAULT") || cursor.at_end() { None } else { Some(cursor.string()?) };
        return Ok(Set { name: "client_encoding".into(), local, value });
    }
    let name = name(cursor)?;
    if !cursor.takes("TO") {
        cursor.expect_token(&Token::Eq)?;
    }
    if cursor.takes("DEFAULT") {
        return Ok(Set { name, local, value: None });
    }
    let mut values = Vec::new();
    loop {
        match cursor.value() {
            Some(value) => values.push(value),
            None => return cursor.unexpected(),
        }
        if !cursor.takes_token(&Token::Comma) {
            break;
        }
    }
    if name == "search_path" {
        // A list of names: each is kept so that it reads back.
        values.iter_mut().for_each(|value| *value = quoted(value));
    }
    if values.len() > 1 && !["search_path", "datestyle"].contains(&name.as_str()) {
        return Err(Error::new(SqlState::InvalidParameter, format!("SET {name} takes only one argument")));
    }
    Ok(Set { name, local, value: Some(values.join(", ")) })
}

fn time_zone(cursor: &mut Cursor<'_>, local: bool) -> Result<Set> {
    let value = if cursor.takes("LOCAL") || cursor.takes("DEFAULT") {
        None
    } else {
        cursor.takes("INTERVAL");
        match cursor.value() {
            Some(value) => Some(value),
            None => return cursor.unexpected(),
        }
    };
    Ok(Set { name: "timezone".into(), local, value })
}

/// RESET; the word is taken already.
pub(super) fn reset(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes("ALL") {
        return Ok(Kind::Reset(None));
    }
    if cursor.takes("TIME ZONE") {
        return Ok(Kind::Reset(Some("timezone".into())));
    }
    if cursor.takes("SESSION AUTHORIZATION") {
        return Ok(Kind::Reset(Some("session_authorization".into())));
    }
    name(cursor).map(Some).map(Kind::Reset)
}
