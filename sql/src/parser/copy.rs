//! COPY: what it copies, which way, and how the data is written.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{CopyOut, Kind, Name, Options};
use super::change::{ColumnName, Target, column_list};
use super::cursor::Cursor;
use super::with_changes::refuse_changes;

/// COPY ... FROM STDIN.
#[derive(Debug)]
pub(crate) struct Copy {
    /// The table.
    pub(crate) target: Target,
    /// The columns, if named.
    pub(crate) columns: Option<Vec<ColumnName>>,
    /// The options, names in lower case; a flag has the value `true`.
    pub(crate) options: Options,
}

/// COPY; the word is taken already.
pub(crate) fn copy(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes_token(&Token::LParen) {
        let start = cursor.place();
        let query = cursor.query()?;
        refuse_changes(&query, "a data-modifying statement in WITH is not supported in COPY")?;
        let text = cursor.written(start);
        cursor.expect_token(&Token::RParen)?;
        cursor.expect("TO")?;
        return copy_out(cursor, query, text, None);
    }
    let start = cursor.place();
    let at = cursor.position();
    let target = Target { name: cursor.name()?, alias: None, at };
    let named = cursor.written(start);
    let list = cursor.place();
    let columns = if cursor.peek().token == Token::LParen { Some(column_list(cursor)?) } else { None };
    if cursor.takes("TO") {
        let shown = match &columns {
            // Behind the list are its parenthesis and TO.
            Some(_) => cursor.written_between(list + 1, cursor.place() - 3),
            None => "*".into(),
        };
        let text = format!("SELECT {shown} FROM {named}");
        let columns = columns.map(|columns| columns.into_iter().map(|column| column.name).collect());
        return copy_out(cursor, super::parse_query(&text)?, text, Some((target.name, columns)));
    }
    cursor.expect("FROM")?;
    if !cursor.takes("STDIN") {
        return Err(cursor
            .error_here(Error::unsupported("COPY from a file or program"))
            .hint("COPY knows COPY table FROM STDIN; files are read by CREATE EXTERNAL TABLE."));
    }
    let (options, quoted) = copy_with(cursor)?;
    if quoted.is_some() {
        let message = "COPY force quote only available using COPY TO";
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    }
    if cursor.sees("WHERE") {
        return Err(cursor.error_here(Error::unsupported("COPY ... WHERE")));
    }
    Ok(Kind::Copy(Copy { target, columns, options }))
}

/// The table and the columns that COPY names.
type OfTable = Option<(Name, Option<Vec<String>>)>;

/// What follows `COPY ... TO`.
fn copy_out(cursor: &mut Cursor<'_>, query: Box<ast::Query>, text: String, of_table: OfTable) -> Result<Kind> {
    if !cursor.takes("STDOUT") {
        return Err(cursor
            .error_here(Error::unsupported("COPY to a file or program"))
            .hint("COPY knows COPY ... TO STDOUT; psql's \\copy writes it to a file."));
    }
    let (options, force_quote) = copy_with(cursor)?;
    Ok(Kind::CopyOut(CopyOut { query, text, of_table, options, force_quote }))
}

/// The columns of FORCE_QUOTE; none: all.
type ForceQuote = Option<Vec<String>>;

/// The options of COPY, FORCE_QUOTE apart.
fn copy_with(cursor: &mut Cursor<'_>) -> Result<(Options, ForceQuote)> {
    let with = cursor.takes("WITH");
    let (mut options, mut quoted) = (Options::new(), None);
    if cursor.peek().token == Token::LParen {
        copy_options(cursor, &mut options, &mut quoted)?;
    } else {
        old_copy_options(cursor, &mut options, &mut quoted)?;
        if with && options.is_empty() {
            return cursor.unexpected();
        }
    }
    Ok((options, quoted))
}

/// `*` or a list of columns.
fn force_quote(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    if cursor.takes_token(&Token::Mul) {
        return Ok(Vec::new());
    }
    let mut columns = vec![cursor.identifier()?];
    while cursor.takes_token(&Token::Comma) {
        columns.push(cursor.identifier()?);
    }
    Ok(columns)
}

/// `(name [value], ...)`.
fn copy_options(cursor: &mut Cursor<'_>, options: &mut Options, quoted: &mut ForceQuote) -> Result<()> {
    cursor.expect_token(&Token::LParen)?;
    loop {
        let place = cursor.position();
        let Token::Word(word) = cursor.peek().token else { return cursor.unexpected() };
        cursor.next();
        let name = word.value.to_lowercase();
        if name == "force_quote" {
            let listed = cursor.takes_token(&Token::LParen);
            *quoted = Some(force_quote(cursor)?);
            if listed {
                cursor.expect_token(&Token::RParen)?;
            }
            if cursor.takes_token(&Token::RParen) {
                return Ok(());
            }
            cursor.expect_token(&Token::Comma)?;
            continue;
        }
        let value = match cursor.peek().token {
            Token::Comma | Token::RParen => "true".to_string(),
            Token::LParen | Token::Mul => {
                return Err(Error::unsupported(format!("the COPY option {}", name.to_uppercase())));
            }
            _ => match cursor.value() {
                Some(value) => value,
                None => return cursor.unexpected(),
            },
        };
        if options.insert(name, value).is_some() {
            let error = Error::new(SqlState::SyntaxError, "conflicting or redundant options");
            return Err(match place {
                Some(place) => error.at(place),
                None => error,
            });
        }
        if cursor.takes_token(&Token::RParen) {
            return Ok(());
        }
        cursor.expect_token(&Token::Comma)?;
    }
}

/// `CSV HEADER DELIMITER ','`: as before PostgreSQL 9.0, which psql and dumps still write.
fn old_copy_options(cursor: &mut Cursor<'_>, options: &mut Options, quoted: &mut ForceQuote) -> Result<()> {
    const FLAGS: [(&str, &str, &str); 3] =
        [("CSV", "format", "csv"), ("BINARY", "format", "binary"), ("HEADER", "header", "true")];
    loop {
        if let Some((_, name, value)) = FLAGS.iter().find(|(word, ..)| cursor.takes(word)) {
            options.insert((*name).into(), (*value).into());
            continue;
        }
        if cursor.takes("FORCE QUOTE") {
            *quoted = Some(force_quote(cursor)?);
            continue;
        }
        let Some(word) = ["DELIMITER", "NULL", "QUOTE", "ESCAPE"].into_iter().find(|word| cursor.takes(word)) else {
            return Ok(());
        };
        cursor.takes("AS");
        options.insert(word.to_lowercase(), cursor.string()?);
    }
}
