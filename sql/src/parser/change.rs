//! INSERT, UPDATE, DELETE and COPY, as PostgreSQL's grammar has them.
//!
//! Expressions, queries and FROM lists are sqlparser's; the statements around them are read here,
//! because sqlparser takes every dialect's. Resolves no name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{self, Visit, visit_relations};
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{CopyOut, Kind, Name, Options};
use super::cursor::Cursor;

/// The table that a statement changes.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: Name,
    /// AS.
    pub(crate) alias: Option<String>,
    /// The name's place in the request, in characters from 1.
    pub(crate) at: Option<usize>,
}

/// A column that a statement names.
#[derive(Debug)]
pub(crate) struct ColumnName {
    /// The name.
    pub(crate) name: String,
    /// Its place in the request.
    pub(crate) at: Option<usize>,
}

/// INSERT.
#[derive(Debug)]
pub(crate) struct Insert {
    /// WITH before the statement.
    pub(crate) with: Option<ast::With>,
    /// The table.
    pub(crate) target: Target,
    /// The columns, if named.
    pub(crate) columns: Option<Vec<ColumnName>>,
    /// The rows; `None`: DEFAULT VALUES.
    pub(crate) source: Option<Box<ast::Query>>,
    /// ON CONFLICT.
    pub(crate) conflict: Option<Conflict>,
    /// RETURNING.
    pub(crate) returning: Option<Vec<ast::SelectItem>>,
}

/// ON CONFLICT.
#[derive(Debug)]
pub(crate) struct Conflict {
    /// What conflicts are meant.
    pub(crate) arbiter: Option<Arbiter>,
    /// What then.
    pub(crate) action: ConflictAction,
}

/// The constraint that ON CONFLICT names.
#[derive(Debug)]
pub(crate) enum Arbiter {
    /// By its columns.
    Columns(Vec<ColumnName>),
    /// ON CONSTRAINT.
    Constraint(String),
}

/// What ON CONFLICT does.
#[derive(Debug)]
pub(crate) enum ConflictAction {
    /// DO NOTHING.
    Nothing,
    /// DO UPDATE.
    Update(Vec<Assignment>, Option<Box<ast::Expr>>),
}

/// One part of SET.
#[derive(Debug)]
pub(crate) struct Assignment {
    /// The columns: one, or those of a list in parentheses.
    pub(crate) columns: Vec<ColumnName>,
    /// Their values.
    pub(crate) source: AssignmentSource,
}

/// Where the values of a part of SET come from.
#[derive(Debug)]
pub(crate) enum AssignmentSource {
    /// One expression, or DEFAULT, a column.
    Values(Vec<ast::Expr>),
    /// The one row of a query.
    Row(Box<ast::Query>),
}

/// UPDATE.
#[derive(Debug)]
pub(crate) struct Update {
    /// WITH before the statement.
    pub(crate) with: Option<ast::With>,
    /// The table.
    pub(crate) target: Target,
    /// SET.
    pub(crate) assignments: Vec<Assignment>,
    /// FROM.
    pub(crate) from: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub(crate) condition: Option<ast::Expr>,
    /// RETURNING.
    pub(crate) returning: Option<Vec<ast::SelectItem>>,
}

/// DELETE.
#[derive(Debug)]
pub(crate) struct Delete {
    /// WITH before the statement.
    pub(crate) with: Option<ast::With>,
    /// The table.
    pub(crate) target: Target,
    /// USING.
    pub(crate) using: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub(crate) condition: Option<ast::Expr>,
    /// RETURNING.
    pub(crate) returning: Option<Vec<ast::SelectItem>>,
}

/// The options of COPY.
pub(crate) type CopyOptions = Options;

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

/// WITH before INSERT, UPDATE or DELETE, whose word is the token at `end`.
pub(crate) fn with(cursor: &mut Cursor<'_>, end: usize) -> Result<Kind> {
    let with = Some(cursor.with_clause(end)?);
    if cursor.takes("INSERT") {
        insert(cursor, with)
    } else if cursor.takes("UPDATE") {
        update(cursor, with)
    } else {
        cursor.expect("DELETE")?;
        delete(cursor, with)
    }
}

/// INSERT; the word is taken already.
pub(crate) fn insert(cursor: &mut Cursor<'_>, with: Option<ast::With>) -> Result<Kind> {
    cursor.expect("INTO")?;
    let target = target(cursor, true)?;
    let columns = match cursor.peek().token {
        Token::LParen if !cursor.starts_parenthesised_query() => Some(column_list(cursor)?),
        _ => None,
    };
    if cursor.sees("OVERRIDING") {
        return Err(cursor.error_here(Error::unsupported("OVERRIDING")));
    }
    let source = if cursor.takes("DEFAULT VALUES") { None } else { Some(cursor.inserted_query()?) };
    let conflict = if cursor.takes("ON CONFLICT") { Some(conflict(cursor)?) } else { None };
    let returning = returning(cursor)?;
    Ok(Kind::Insert(Insert { with, target, columns, source, conflict, returning }))
}

/// UPDATE; the word is taken already.
pub(crate) fn update(cursor: &mut Cursor<'_>, with: Option<ast::With>) -> Result<Kind> {
    cursor.takes("ONLY");
    let target = target(cursor, false)?;
    cursor.expect("SET")?;
    let assignments = assignments(cursor)?;
    let from = if cursor.takes("FROM") { cursor.tables()? } else { Vec::new() };
    let condition = condition(cursor)?;
    let returning = returning(cursor)?;
    Ok(Kind::Update(Update { with, target, assignments, from, condition, returning }))
}

/// DELETE; the word is taken already.
pub(crate) fn delete(cursor: &mut Cursor<'_>, with: Option<ast::With>) -> Result<Kind> {
    cursor.expect("FROM")?;
    cursor.takes("ONLY");
    let target = target(cursor, false)?;
    let using = if cursor.takes("USING") { cursor.tables()? } else { Vec::new() };
    let condition = condition(cursor)?;
    let returning = returning(cursor)?;
    Ok(Kind::Delete(Delete { with, target, using, condition, returning }))
}

fn condition(cursor: &mut Cursor<'_>) -> Result<Option<ast::Expr>> {
    if cursor.sees("WHERE CURRENT OF") {
        return Err(Error::unsupported("WHERE CURRENT OF"));
    }
    if cursor.takes("WHERE") { cursor.expression().map(Some) } else { Ok(None) }
}

fn returning(cursor: &mut Cursor<'_>) -> Result<Option<Vec<ast::SelectItem>>> {
    if cursor.takes("RETURNING") { cursor.select_items().map(Some) } else { Ok(None) }
}

/// A name with an alias; INSERT wants the word AS before it.
fn target(cursor: &mut Cursor<'_>, as_is_needed: bool) -> Result<Target> {
    let at = cursor.position();
    let name = cursor.name()?;
    let alias = if cursor.takes("AS") {
        Some(cursor.identifier()?)
    } else if !as_is_needed && !cursor.sees("SET") && matches!(cursor.peek().token, Token::Word(_)) {
        // A word that begins the next clause is reserved, and no alias.
        if ["USING", "WHERE", "RETURNING"].iter().any(|word| cursor.sees(word)) {
            None
        } else {
            Some(cursor.identifier()?)
        }
    } else {
        None
    };
    Ok(Target { name, alias, at })
}

fn column_name(cursor: &mut Cursor<'_>) -> Result<ColumnName> {
    let at = cursor.position();
    let name = cursor.identifier()?;
    if matches!(cursor.peek().token, Token::Period | Token::LBracket) {
        return Err(cursor.error_here(Error::unsupported("a part of a column as a target")));
    }
    Ok(ColumnName { name, at })
}

fn column_list(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnName>> {
    cursor.expect_token(&Token::LParen)?;
    let mut names = vec![column_name(cursor)?];
    while cursor.takes_token(&Token::Comma) {
        names.push(column_name(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(names)
}

fn assignments(cursor: &mut Cursor<'_>) -> Result<Vec<Assignment>> {
    let mut assignments = Vec::new();
    loop {
        assignments.push(assignment(cursor)?);
        if !cursor.takes_token(&Token::Comma) {
            return Ok(assignments);
        }
    }
}

fn assignment(cursor: &mut Cursor<'_>) -> Result<Assignment> {
    if cursor.peek().token != Token::LParen {
        let columns = vec![column_name(cursor)?];
        cursor.expect_token(&Token::Eq)?;
        return Ok(Assignment { columns, source: AssignmentSource::Values(vec![cursor.value_or_default()?]) });
    }
    let columns = column_list(cursor)?;
    cursor.expect_token(&Token::Eq)?;
    let here = cursor.position();
    let placed = |error: Error| here.map_or(error.clone(), |place| error.at(place));
    if cursor.starts_parenthesised_query() {
        if let Some(query) = subquery(cursor.expression()?) {
            return Ok(Assignment { columns, source: AssignmentSource::Row(query) });
        }
        return Err(placed(no_row()));
    }
    let is_row = cursor.takes("ROW");
    if cursor.peek().token != Token::LParen {
        cursor.expression()?;
        return Err(placed(no_row()));
    }
    cursor.expect_token(&Token::LParen)?;
    let mut values = vec![cursor.value_or_default()?];
    while cursor.takes_token(&Token::Comma) {
        values.push(cursor.value_or_default()?);
    }
    cursor.expect_token(&Token::RParen)?;
    // One value in parentheses is that value.
    if !is_row && values.len() == 1 {
        return Err(placed(no_row()));
    }
    if values.len() != columns.len() {
        return Err(placed(Error::new(SqlState::SyntaxError, "number of columns does not match number of values")));
    }
    Ok(Assignment { columns, source: AssignmentSource::Values(values) })
}

fn no_row() -> Error {
    let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
    Error::new(SqlState::FeatureNotSupported, message)
}

/// The query, if the expression is one in parentheses.
fn subquery(expr: ast::Expr) -> Option<Box<ast::Query>> {
    match expr {
        ast::Expr::Subquery(query) => Some(query),
        ast::Expr::Nested(inner) => subquery(*inner),
        _ => None,
    }
}

/// The words ON CONFLICT are taken already.
fn conflict(cursor: &mut Cursor<'_>) -> Result<Conflict> {
    let place = cursor.position();
    let arbiter = if cursor.takes("ON CONSTRAINT") {
        Some(Arbiter::Constraint(cursor.identifier()?))
    } else if cursor.peek().token == Token::LParen {
        let columns = column_list(cursor)?;
        if cursor.sees("WHERE") {
            return Err(cursor.error_here(Error::unsupported("a partial index in ON CONFLICT")));
        }
        Some(Arbiter::Columns(columns))
    } else {
        None
    };
    cursor.expect("DO")?;
    if cursor.takes("NOTHING") {
        return Ok(Conflict { arbiter, action: ConflictAction::Nothing });
    }
    cursor.expect("UPDATE SET")?;
    let assignments = assignments(cursor)?;
    let condition = condition(cursor)?;
    if arbiter.is_none() {
        let error = Error::new(
            SqlState::SyntaxError,
            "ON CONFLICT DO UPDATE requires inference specification or constraint name",
        )
        .hint("For example, ON CONFLICT (column_name).");
        return Err(match place {
            Some(place) => error.at(place.saturating_sub("ON CONFLICT ".len()).max(1)),
            None => error,
        });
    }
    Ok(Conflict { arbiter, action: ConflictAction::Update(assignments, condition.map(Box::new)) })
}

/// COPY; the word is taken already.
pub(crate) fn copy(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if cursor.takes_token(&Token::LParen) {
        let start = cursor.place();
        let query = cursor.query()?;
        let text = cursor.written(start);
        cursor.expect_token(&Token::RParen)?;
        cursor.expect("TO")?;
        return copy_out(cursor, query, text, false);
    }
    let start = cursor.place();
    let at = cursor.position();
    let target = Target { name: cursor.name()?, alias: None, at };
    let named = cursor.written(start);
    let list = cursor.place();
    let columns = if cursor.peek().token == Token::LParen { Some(column_list(cursor)?) } else { None };
    if cursor.takes("TO") {
        let shown = match columns {
            // Behind the list are its parenthesis and TO.
            Some(_) => cursor.written_between(list + 1, cursor.place() - 3),
            None => "*".into(),
        };
        let text = format!("SELECT {shown} FROM {named}");
        return copy_out(cursor, super::parse_query(&text)?, text, true);
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

/// What follows `COPY ... TO`.
fn copy_out(cursor: &mut Cursor<'_>, query: Box<ast::Query>, text: String, of_table: bool) -> Result<Kind> {
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

/// Every name that stands where a relation stands.
fn names_in<V: Visit>(node: &V, into: &mut Vec<ast::ObjectName>) {
    let _ = visit_relations(node, |name| {
        into.push(name.clone());
        ControlFlow::<()>::Continue(())
    });
}

fn names_in_assignments(assignments: &[Assignment], into: &mut Vec<ast::ObjectName>) {
    for assignment in assignments {
        match &assignment.source {
            AssignmentSource::Values(values) => names_in(values, into),
            AssignmentSource::Row(query) => names_in(query, into),
        }
    }
}

/// The relations that a statement reads besides its target; names of WITH queries among them.
pub(crate) fn relations_read(kind: &Kind) -> Vec<ast::ObjectName> {
    let mut names = Vec::new();
    match kind {
        Kind::Insert(insert) => {
            names_in(&insert.with, &mut names);
            names_in(&insert.source, &mut names);
            names_in(&insert.returning, &mut names);
            if let Some(Conflict { action: ConflictAction::Update(assignments, condition), .. }) = &insert.conflict {
                names_in_assignments(assignments, &mut names);
                names_in(condition, &mut names);
            }
        }
        Kind::Update(update) => {
            names_in(&update.with, &mut names);
            names_in_assignments(&update.assignments, &mut names);
            names_in(&update.from, &mut names);
            names_in(&update.condition, &mut names);
            names_in(&update.returning, &mut names);
        }
        Kind::Delete(delete) => {
            names_in(&delete.with, &mut names);
            names_in(&delete.using, &mut names);
            names_in(&delete.condition, &mut names);
            names_in(&delete.returning, &mut names);
        }
        _ => {}
    }
    names
}
