//! CREATE SOURCE, `CREATE [MATERIALIZED] VIEW`, CREATE EXTERNAL TABLE and DROP. (CREATE TABLE: `table`.)
//!
//! Checks form only: whether names exist and options make sense is the catalog's and the
//! connectors' business.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::{Column, FormatDefinition, Meta};

use super::ast::{
    CreateExternalTable, CreateNamedQuery, CreateSource, CreateView, Drop, Kind, ObjectKind, Options, column,
};
use super::cursor::Cursor;
use super::table::create_table;
use super::with_changes::refuse_changes;
use super::{elsewhere, grant, index, role, schema, sequence};

/// The rest of `CREATE [OR REPLACE]`.
pub(crate) fn create(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let or_replace = cursor.takes("OR REPLACE");
    if takes_temporary(cursor) {
        return create_temporary(cursor, or_replace);
    }
    if cursor.takes("MATERIALIZED VIEW") {
        return create_view(cursor, or_replace).map(Kind::CreateView);
    }
    if cursor.takes("VIEW") {
        return create_named_query(cursor, or_replace, false).map(Kind::CreateNamedQuery);
    }
    if let Some(role) = (!or_replace).then(|| role::create(cursor)).flatten() {
        return role;
    }
    if !or_replace && cursor.takes("SEQUENCE") {
        return sequence::create(cursor, false);
    }
    if !or_replace && cursor.takes("SCHEMA") {
        return schema::create(cursor);
    }
    if !or_replace && (cursor.sees("INDEX") || cursor.sees("UNIQUE")) {
        return index::create(cursor);
    }
    if !or_replace && cursor.takes("SOURCE") {
        return create_source(cursor).map(Kind::CreateSource);
    }
    if !or_replace && cursor.takes("EXTERNAL TABLE") {
        return create_external_table(cursor).map(Kind::CreateExternalTable);
    }
    if !or_replace && cursor.takes("TABLE") {
        if cursor.names_connector() {
            return create_source(cursor).map(Kind::CreateStoredSource);
        }
        return create_table(cursor, false);
    }
    let hint = match cursor.word().as_deref() {
        Some("SOURCE" | "EXTERNAL" | "TABLE") => "OR REPLACE works for views only.",
        Some(word) => elsewhere::instead(word).unwrap_or(
            "CREATE knows SCHEMA, SOURCE, TABLE, SEQUENCE, INDEX, VIEW, MATERIALIZED VIEW, EXTERNAL TABLE and ROLE.",
        ),
        None => return cursor.unexpected(),
    };
    let what = cursor.word().unwrap_or_default();
    let replace = if or_replace { "OR REPLACE " } else { "" };
    Err(cursor.error_here(Error::unsupported(format!("CREATE {replace}{what}")).hint(hint)))
}

/// Takes the words for a temporary object.
fn takes_temporary(cursor: &mut Cursor<'_>) -> bool {
    let words = ["LOCAL TEMPORARY", "LOCAL TEMP", "GLOBAL TEMPORARY", "GLOBAL TEMP", "TEMPORARY", "TEMP"];
    words.iter().any(|words| cursor.takes(words))
}

/// A temporary object; the words before its kind are taken already.
fn create_temporary(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<Kind> {
    if cursor.takes("VIEW") {
        create_named_query(cursor, or_replace, true).map(Kind::CreateNamedQuery)
    } else if !or_replace && cursor.takes("SEQUENCE") {
        sequence::create(cursor, true)
    } else if !or_replace && cursor.takes("TABLE") {
        create_table(cursor, true)
    } else {
        cursor.unexpected()
    }
}

fn create_source(cursor: &mut Cursor<'_>) -> Result<CreateSource> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name()?;
    let mut source = CreateSource {
        if_not_exists,
        name,
        columns: Vec::new(),
        includes: Vec::new(),
        options: Options::new(),
        format: None,
    };
    if cursor.takes_token(&Token::LParen) {
        columns(cursor, &mut source.columns, Some(&mut source.includes))?;
    }
    while cursor.takes("INCLUDE") {
        include(cursor, &mut source.includes)?;
    }
    if cursor.takes("WITH") {
        source.options = cursor.options(true)?;
    }
    if cursor.takes("FORMAT") {
        source.format = Some(format(cursor)?);
    }
    if cursor.sees("WATERMARK") || cursor.sees("PRIMARY") {
        return refuse_here(cursor, "with a connector");
    }
    let names = source.columns.iter().map(|column| &column.name).chain(source.includes.iter().map(|(_, name)| name));
    distinct(names)?;
    Ok(source)
}

/// `(` is taken already; reads to `)`.
fn columns(
    cursor: &mut Cursor<'_>,
    into: &mut Vec<Column>,
    mut includes: Option<&mut Vec<(Meta, String)>>,
) -> Result<()> {
    if cursor.takes_token(&Token::RParen) {
        return Ok(());
    }
    loop {
        match &mut includes {
            Some(includes) if cursor.takes("INCLUDE") => include(cursor, includes)?,
            _ => into.push(column_definition(cursor)?),
        }
        if cursor.takes_token(&Token::RParen) {
            return Ok(());
        }
        cursor.expect_token(&Token::Comma)?;
    }
}

fn column_definition(cursor: &mut Cursor<'_>) -> Result<Column> {
    if ["PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT", "WATERMARK"].iter().any(|word| cursor.sees(word)) {
        return refuse_here(cursor, "in a column list");
    }
    let name = cursor.identifier()?;
    let data_type = cursor.data_type()?;
    let mut not_null = false;
    loop {
        if cursor.takes("NOT NULL") {
            not_null = true;
        } else if cursor.takes("NULL") {
            not_null = false;
        } else if ["PRIMARY", "UNIQUE", "CHECK", "DEFAULT", "GENERATED", "REFERENCES", "CONSTRAINT", "COLLATE", "AS"]
            .iter()
            .any(|word| cursor.sees(word))
        {
            return refuse_here(cursor, "for a column");
        } else {
            return Ok(column(name, data_type, not_null));
        }
    }
}

fn refuse_here<T>(cursor: &Cursor<'_>, place: &str) -> Result<T> {
    let word = cursor.word().unwrap_or_default();
    let word = if word == "PRIMARY" || word == "FOREIGN" { format!("{word} KEY") } else { word };
    Err(cursor.error_here(Error::unsupported(format!("{word} {place}"))))
}

/// The word INCLUDE is taken already.
fn include(cursor: &mut Cursor<'_>, into: &mut Vec<(Meta, String)>) -> Result<()> {
    let (meta, default) = match cursor.word().as_deref() {
        Some("KEY") => (Meta::Key, "key"),
        Some("PARTITION") => (Meta::Partition, "partition"),
        Some("OFFSET") => (Meta::Offset, "offset"),
        Some("TIMESTAMP") => (Meta::Timestamp, "timestamp"),
        Some(_) => {
            return refuse_here(cursor, "after INCLUDE")
                .map_err(|error: Error| error.hint("INCLUDE knows key, partition, offset and timestamp."));
        }
        None => return cursor.unexpected(),
    };
    cursor.next();
    let name = if cursor.takes("AS") { cursor.identifier()? } else { default.to_string() };
    into.push((meta, name));
    Ok(())
}

/// The word FORMAT is taken already.
fn format(cursor: &mut Cursor<'_>) -> Result<FormatDefinition> {
    let Some(format) = cursor.word() else { return cursor.unexpected() };
    cursor.next();
    cursor.expect("ENCODE")?;
    let Some(encode) = cursor.word() else { return cursor.unexpected() };
    cursor.next();
    let options = if cursor.peek().token == Token::LParen { cursor.options(true)? } else { Options::new() };
    Ok(FormatDefinition { format, encode, options })
}

fn create_view(cursor: &mut Cursor<'_>, or_replace: bool) -> Result<CreateView> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name()?;
    let columns = output_names(cursor)?;
    let mut options = if cursor.takes("WITH") { cursor.options(true)? } else { Options::new() };
    cursor.expect("AS")?;
    let (query, text) = cursor.query_until(cursor.trailing_with())?;
    refuse_changes(&query, "materialized views must not use data-modifying statements in WITH")?;
    if cursor.takes("WITH NO DATA") {
        return Err(Error::unsupported("WITH NO DATA")
            .hint("A materialized view is filled when it is created and kept up to date."));
    }
    if !cursor.takes("WITH DATA") && cursor.takes("WITH") {
        for (name, value) in cursor.options(true)? {
            if options.insert(name.clone(), value).is_some() {
                return Err(Error::new(SqlState::SyntaxError, format!("option \"{name}\" provided more than once")));
            }
        }
    }
    if or_replace && if_not_exists {
        return Err(Error::new(SqlState::SyntaxError, "OR REPLACE and IF NOT EXISTS exclude each other"));
    }
    Ok(CreateView { or_replace, if_not_exists, name, columns, query, text, options })
}

/// `(names)` of a view's columns, or nothing.
fn output_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    if cursor.takes_token(&Token::LParen) {
        columns.push(cursor.identifier()?);
        while cursor.takes_token(&Token::Comma) {
            columns.push(cursor.identifier()?);
        }
        cursor.expect_token(&Token::RParen)?;
    }
    distinct(columns.iter())?;
    Ok(columns)
}

fn create_named_query(cursor: &mut Cursor<'_>, or_replace: bool, temporary: bool) -> Result<CreateNamedQuery> {
    let name = cursor.name()?;
    let columns = output_names(cursor)?;
    if cursor.sees("WITH") {
        return Err(cursor.error_here(Error::unsupported("CREATE VIEW ... WITH")));
    }
    cursor.expect("AS")?;
    let (query, text) = cursor.query_until(cursor.check_option())?;
    refuse_changes(&query, "views must not contain data-modifying statements in WITH")?;
    if cursor.sees("WITH") {
        return Err(cursor.error_here(Error::unsupported("CHECK OPTION")));
    }
    Ok(CreateNamedQuery { or_replace, temporary, name, columns, query, text })
}

fn create_external_table(cursor: &mut Cursor<'_>) -> Result<CreateExternalTable> {
    let if_not_exists = cursor.takes("IF NOT EXISTS");
    let name = cursor.name()?;
    let mut columns_read = Vec::new();
    if cursor.takes_token(&Token::LParen) {
        columns(cursor, &mut columns_read, None)?;
    }
    distinct(columns_read.iter().map(|column| &column.name))?;
    let (mut stored_as, mut location, mut options) = (None, None, None);
    loop {
        if stored_as.is_none() && cursor.takes("STORED AS") {
            let Some(word) = cursor.word() else { return cursor.unexpected() };
            cursor.next();
            stored_as = Some(word);
        } else if location.is_none() && cursor.takes("LOCATION") {
            location = Some(cursor.string()?);
        } else if options.is_none() && cursor.takes("OPTIONS") {
            options = Some(cursor.options(false)?);
        } else if ["PARTITIONED", "COMPRESSION", "DELIMITER", "WITH"].iter().any(|word| cursor.sees(word)) {
            return refuse_here(cursor, "in CREATE EXTERNAL TABLE")
                .map_err(|error: Error| error.hint("Say it in OPTIONS ('format.delimiter' ';')."));
        } else {
            break;
        }
    }
    let (Some(stored_as), Some(location)) = (stored_as, location) else { return cursor.unexpected() };
    Ok(CreateExternalTable {
        if_not_exists,
        name,
        columns: columns_read,
        stored_as,
        location,
        options: options.unwrap_or_default(),
    })
}

/// The rest of DROP.
pub(crate) fn drop(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes("INDEX") {
        return index::drop(cursor);
    }
    if cursor.takes("SCHEMA") {
        return schema::drop(cursor);
    }
    if cursor.takes("OWNED") {
        return grant::drop_owned(cursor);
    }
    if let Some(role) = role::drop(cursor) {
        return role;
    }
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
        let Some(word) = cursor.word() else { return cursor.unexpected() };
        let error = Error::unsupported(format!("DROP {word}"))
            .hint("DROP knows SCHEMA, SOURCE, TABLE, SEQUENCE, INDEX, VIEW, MATERIALIZED VIEW and ROLE.");
        return Err(cursor.error_here(error));
    };
    let if_exists = cursor.takes("IF EXISTS");
    let names = cursor.names()?;
    let cascade = cursor.takes("CASCADE");
    if !cascade {
        cursor.takes("RESTRICT");
    }
    Ok(Kind::Drop(Drop { kind, if_exists, names, cascade }))
}

fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::new(SqlState::DuplicateColumn, format!("column \"{name}\" specified more than once")));
        }
    }
    Ok(())
}
