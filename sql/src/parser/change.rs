//! INSERT, UPDATE, DELETE and COPY, as PostgreSQL's grammar has them.
//!
//! Expressions, queries and FROM lists are sqlparser's; the statements around them are read here,
//! because sqlparser takes every dialect's. Resolves no name.

use datafusion::sql::sqlparser::ast::{self, Visit};
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Name};
use super::cursor::Cursor;
use super::merge::{Action, merge};
use crate::walk::relations;

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
    /// Which part of it is meant: nothing is all of it.
    pub(crate) part: Vec<ast::AccessExpr>,
}

/// INSERT.
#[derive(Debug)]
pub(crate) struct Insert {
    /// WITH before the statement; behind it what sees its queries.
    pub(crate) with: Vec<ast::With>,
    /// The table.
    pub(crate) target: Target,
    /// The columns, if named.
    pub(crate) columns: Option<Vec<ColumnName>>,
    /// OVERRIDING.
    pub(crate) overriding: Option<Overriding>,
    /// The rows; `None`: DEFAULT VALUES.
    pub(crate) source: Option<Box<ast::Query>>,
    /// ON CONFLICT.
    pub(crate) conflict: Option<Conflict>,
    /// RETURNING.
    pub(crate) returning: Option<Vec<ast::SelectItem>>,
}

/// Which values of identity columns count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overriding {
    /// SYSTEM VALUE: those that are given.
    System,
    /// USER VALUE: those of the sequence.
    User,
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
    /// WITH before the statement; behind it what sees its queries.
    pub(crate) with: Vec<ast::With>,
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
    /// WITH before the statement; behind it what sees its queries.
    pub(crate) with: Vec<ast::With>,
    /// The table.
    pub(crate) target: Target,
    /// USING.
    pub(crate) using: Vec<ast::TableWithJoins>,
    /// WHERE.
    pub(crate) condition: Option<ast::Expr>,
    /// RETURNING.
    pub(crate) returning: Option<Vec<ast::SelectItem>>,
}

/// WITH before INSERT, UPDATE, DELETE or MERGE, whose word is the token at `end`.
pub(crate) fn with(cursor: &mut Cursor<'_>, end: usize) -> Result<Kind> {
    let with = vec![cursor.with_clause(end)?];
    change(cursor, with)
}

/// INSERT, UPDATE, DELETE or MERGE behind this WITH.
pub(crate) fn change(cursor: &mut Cursor<'_>, with: Vec<ast::With>) -> Result<Kind> {
    if cursor.takes("INSERT") {
        insert(cursor, with)
    } else if cursor.takes("UPDATE") {
        update(cursor, with)
    } else if cursor.takes("MERGE") {
        merge(cursor, with)
    } else {
        cursor.expect("DELETE")?;
        delete(cursor, with)
    }
}

/// INSERT; the word is taken already.
pub(crate) fn insert(cursor: &mut Cursor<'_>, with: Vec<ast::With>) -> Result<Kind> {
    cursor.expect("INTO")?;
    let target = target(cursor, true)?;
    let columns = match cursor.peek().token {
        Token::LParen if !cursor.starts_parenthesised_query() => Some(target_list(cursor)?),
        _ => None,
    };
    let overriding = overriding(cursor);
    let plain = columns.is_none() && overriding.is_none();
    let source = if plain && cursor.takes("DEFAULT VALUES") { None } else { Some(cursor.inserted_query()?) };
    let conflict = if cursor.takes("ON CONFLICT") { Some(conflict(cursor)?) } else { None };
    let returning = returning(cursor)?;
    Ok(Kind::Insert(Insert { with, target, columns, overriding, source, conflict, returning }))
}

pub(super) fn overriding(cursor: &mut Cursor<'_>) -> Option<Overriding> {
    if cursor.takes("OVERRIDING SYSTEM VALUE") {
        Some(Overriding::System)
    } else if cursor.takes("OVERRIDING USER VALUE") {
        Some(Overriding::User)
    } else {
        None
    }
}

/// UPDATE; the word is taken already.
pub(crate) fn update(cursor: &mut Cursor<'_>, with: Vec<ast::With>) -> Result<Kind> {
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
pub(crate) fn delete(cursor: &mut Cursor<'_>, with: Vec<ast::With>) -> Result<Kind> {
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
pub(super) fn target(cursor: &mut Cursor<'_>, as_is_needed: bool) -> Result<Target> {
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
    Ok(ColumnName { name: cursor.identifier()?, at, part: Vec::new() })
}

/// A column that is given a value, or a part of it.
fn target_column(cursor: &mut Cursor<'_>) -> Result<ColumnName> {
    let (start, at) = (cursor.place(), cursor.position());
    let name = cursor.identifier()?;
    let mut part = Vec::new();
    if matches!(cursor.peek().token, Token::Period | Token::LBracket) {
        cursor.at = start;
        let field = |name: ast::Ident| ast::AccessExpr::Dot(ast::Expr::Identifier(name));
        let behind = |root: ast::Expr| match root {
            ast::Expr::CompoundIdentifier(parts) => parts.into_iter().skip(1).map(field).collect(),
            _ => Vec::new(),
        };
        match cursor.part_of_name()? {
            ast::Expr::CompoundFieldAccess { root, access_chain } => {
                part = behind(*root);
                part.extend(access_chain);
            }
            root => part = behind(root),
        }
    }
    Ok(ColumnName { name, at, part })
}

/// The columns in parentheses that are given values.
pub(super) fn target_list(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnName>> {
    cursor.expect_token(&Token::LParen)?;
    let mut names = vec![target_column(cursor)?];
    while cursor.takes_token(&Token::Comma) {
        names.push(target_column(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(names)
}

pub(super) fn column_list(cursor: &mut Cursor<'_>) -> Result<Vec<ColumnName>> {
    cursor.expect_token(&Token::LParen)?;
    let mut names = vec![column_name(cursor)?];
    while cursor.takes_token(&Token::Comma) {
        names.push(column_name(cursor)?);
    }
    cursor.expect_token(&Token::RParen)?;
    Ok(names)
}

pub(super) fn assignments(cursor: &mut Cursor<'_>) -> Result<Vec<Assignment>> {
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
        let columns = vec![target_column(cursor)?];
        cursor.expect_token(&Token::Eq)?;
        return Ok(Assignment { columns, source: AssignmentSource::Values(vec![cursor.value_or_default()?]) });
    }
    let columns = target_list(cursor)?;
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

/// Every name that stands where a relation stands.
fn names_in<V: Visit>(node: &V, into: &mut Vec<ast::ObjectName>) {
    relations(node, &mut |name| into.push(name.clone()));
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
        Kind::Merge(merge) => {
            names_in(&merge.with, &mut names);
            names_in(&merge.source, &mut names);
            names_in(&merge.on, &mut names);
            for when in &merge.whens {
                names_in(&when.condition, &mut names);
                match &when.action {
                    Action::Update(assignments) => names_in_assignments(assignments, &mut names),
                    Action::Insert { values, .. } => names_in(values, &mut names),
                    Action::Nothing | Action::Delete => {}
                }
            }
        }
        _ => {}
    }
    names
}
