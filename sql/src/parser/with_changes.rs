//! WITH whose queries change rows: `WITH x AS (DELETE ... RETURNING ...) SELECT ...`.
//!
//! Each of them is read as a statement of its own, before the rest is; in its place stands a query
//! over a relation whose name nobody can write, which has the rows of its RETURNING. Below the top
//! level they stay where they are, and are refused when names are resolved.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, SetExpr};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ahead::change_in;
use super::ast::{Kind, Statement};
use super::change::{self, relations_read};
use super::cursor::Cursor;
use super::empty_select::is_word;
use crate::planner::fold;
use crate::statement::resolve::{folded, relations_of};
use crate::walk::any_expr;

/// What the relations that have the rows of such statements are called, before their number.
pub(crate) const GIVEN: &str = "\u{1}given ";
/// The only column of what stands for a statement without RETURNING.
pub(crate) const NO_RETURNING: &str = "\u{1}no returning";

/// Functions that give another value each time.
const VOLATILE: [&str; 6] = ["clock_timestamp", "gen_random_uuid", "nextval", "random", "setval", "timeofday"];

/// A statement whose WITH changes rows.
#[derive(Debug)]
pub(crate) struct WithChanges {
    /// The statements in WITH that do, as they are written.
    pub(crate) parts: Vec<Part>,
    /// The statement behind WITH.
    pub(crate) main: Statement,
    /// In which order they run: places in `parts`, and for `main` the one behind these.
    pub(crate) order: Vec<usize>,
}

/// A statement in WITH; or a query whose rows several parts read, which is to run once.
#[derive(Debug)]
pub(crate) struct Part {
    /// The statement.
    pub(crate) statement: Statement,
    /// The relation that has the rows of its RETURNING.
    pub(crate) given: Option<String>,
}

/// A statement that was cut out of a WITH.
pub(crate) struct Cut {
    /// Which of the WITH queries it is.
    place: usize,
    kind: Kind,
    /// The relation that has its rows.
    given: Option<String>,
}

/// Whether a query of WITH is no query.
pub(crate) fn is_change(query: &ast::Query) -> bool {
    matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_))
}

/// Refuses a query whose own WITH changes rows.
pub(crate) fn refuse_changes(query: &ast::Query, message: &str) -> Result<()> {
    let mut queries = query.with.iter().flat_map(|with| &with.cte_tables);
    match queries.any(|cte| is_change(&cte.query)) {
        true => Err(Error::new(SqlState::FeatureNotSupported, message)),
        false => Ok(()),
    }
}

/// Cuts the statements that change rows out of the WITH that the statement begins with.
pub(crate) fn cut(cursor: &mut Cursor<'_>) -> Result<Vec<Cut>> {
    let mut cuts = Vec::new();
    if !cursor.sees("WITH") {
        return Ok(cuts);
    }
    let start = cursor.at;
    let recursive = cursor.is_word(1, "RECURSIVE");
    let mut name = start + 1 + usize::from(recursive);
    let mut place = 0;
    while let Some((open, mut close)) = body(&cursor.tokens, name) {
        if let Some(word) = change_in(&cursor.tokens[open + 1..close]) {
            if is_word(&cursor.tokens[open + 1 + word].token, "MERGE") {
                return Err(cursor
                    .error_at(name, Error::new(SqlState::FeatureNotSupported, "MERGE not supported in WITH query")));
            }
            cursor.at = open + 1;
            let kind = cursor.until(close, |inner| match word {
                0 => change::change(inner, Vec::new()),
                _ => change::with(inner, open + 1 + word),
            })?;
            refuse_itself(cursor, name, &kind, recursive)?;
            let given = returns(&kind).then(|| format!("{GIVEN}{place}"));
            let query = stand_in(given.as_deref(), &cursor.tokens[open]);
            let width = query.len();
            cursor.tokens.splice(open + 1..close, query);
            close = open + 1 + width;
            cuts.push(Cut { place, kind, given });
        }
        if cursor.tokens.get(close + 1).is_none_or(|token| token.token != Token::Comma) {
            break;
        }
        name = close + 2;
        place += 1;
    }
    cursor.at = start;
    Ok(cuts)
}

/// Where the parentheses around a query of WITH are, whose name is here.
fn body(tokens: &[TokenWithSpan], name: usize) -> Option<(usize, usize)> {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| is_word(&token.token, word));
    let opens = |at: usize| tokens.get(at).is_some_and(|token| token.token == Token::LParen);
    let mut at = name + 1;
    if opens(at) {
        at = closing(tokens, at)? + 1;
    }
    if !is(at, "AS") {
        return None;
    }
    at += 1;
    at += usize::from(is(at, "NOT") && is(at + 1, "MATERIALIZED"));
    at += usize::from(is(at, "MATERIALIZED"));
    if opens(at) { Some((at, closing(tokens, at)?)) } else { None }
}

/// Where the parenthesis that opens here is closed.
fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// WITH RECURSIVE: a statement that reads its own rows.
fn refuse_itself(cursor: &Cursor<'_>, name: usize, kind: &Kind, recursive: bool) -> Result<()> {
    let Some(Token::Word(word)) = cursor.tokens.get(name).map(|token| &token.token) else { return Ok(()) };
    let own = if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() };
    if !recursive || !reads(kind).contains(&own) {
        return Ok(());
    }
    let message = format!("recursive query \"{own}\" must not contain data-modifying statements");
    Err(cursor.error_at(name, Error::new(SqlState::InvalidRecursion, message)))
}

/// The names without a schema of what a statement reads.
fn reads(kind: &Kind) -> Vec<String> {
    let names: Vec<(Option<String>, String)> = match kind {
        Kind::Query(query) => relations_of(query),
        kind => relations_read(kind).iter().filter_map(folded).collect(),
    };
    names.into_iter().filter(|(schema, _)| schema.is_none()).map(|(_, name)| name).collect()
}

fn returns(kind: &Kind) -> bool {
    match kind {
        Kind::Insert(insert) => insert.returning.is_some(),
        Kind::Update(update) => update.returning.is_some(),
        Kind::Delete(delete) => delete.returning.is_some(),
        _ => false,
    }
}

/// The tokens of the query that stands for a statement.
fn stand_in(given: Option<&str>, near: &TokenWithSpan) -> Vec<TokenWithSpan> {
    let word = Token::make_keyword;
    let quoted = |name: &str| Token::make_word(name, Some('"'));
    let tokens = match given {
        Some(given) => vec![word("SELECT"), Token::Mul, word("FROM"), quoted(given)],
        None => vec![word("SELECT"), word("NULL"), word("AS"), quoted(NO_RETURNING)],
    };
    tokens.into_iter().map(|token| TokenWithSpan { token, span: near.span }).collect()
}

/// The statement that was read where these had been cut out of its WITH.
pub(crate) fn whole(mut cuts: Vec<Cut>, mut main: Kind, request: &Arc<str>, text: &str) -> Result<Kind> {
    if cuts.is_empty() {
        return Ok(main);
    }
    let is_whole = |with: &ast::With| cuts.iter().all(|cut| cut.place < with.cte_tables.len());
    let Some(mut with) = taken(&mut main).filter(is_whole) else {
        return Err(Error::unsupported("a data-modifying statement in the WITH of this statement"));
    };
    cut_volatile(&mut cuts, &mut with, &main)?;
    let needed = needed(&cuts, &with, &main);
    let (mut order, rest): (Vec<usize>, Vec<usize>) = (0..cuts.len()).partition(|part| needed[cuts[*part].place]);
    // As in PostgreSQL the statement itself goes first, but for what it reads.
    let early = match main {
        Kind::Query(_) => with.clone(),
        _ => without(&with, &cuts, &needed),
    };
    match main {
        Kind::Query(_) => order.extend(rest.into_iter().chain([cuts.len()])),
        _ => order.extend([cuts.len()].into_iter().chain(rest)),
    }
    let parts = cuts.into_iter().map(|cut| {
        let mut kind = cut.kind;
        let own = |cte: &&ast::Cte| cte.alias.name.span == with.cte_tables[cut.place].alias.name.span;
        let seen = if needed[cut.place] { &early } else { &with };
        let before: Vec<ast::Cte> = seen.cte_tables.iter().take_while(|cte| !own(cte)).cloned().collect();
        if !before.is_empty() {
            put(&mut kind, ast::With { cte_tables: before, ..with.clone() });
        }
        Part { statement: Statement::new("", request, kind), given: cut.given }
    });
    let parts = parts.collect();
    if !early.cte_tables.is_empty() {
        put(&mut main, early);
    }
    Ok(Kind::WithChanges(Box::new(WithChanges { parts, main: Statement::new(text, request, main), order })))
}

/// The WITH of a statement, taken from it.
fn taken(kind: &mut Kind) -> Option<ast::With> {
    match kind {
        Kind::Query(query) => query.with.take(),
        Kind::Insert(insert) => insert.with.pop(),
        Kind::Update(update) => update.with.pop(),
        Kind::Delete(delete) => delete.with.pop(),
        Kind::Merge(merge) => merge.with.pop(),
        _ => None,
    }
}

/// Puts a WITH around a statement.
fn put(kind: &mut Kind, with: ast::With) {
    match kind {
        Kind::Query(query) => {
            if query.with.is_some() {
                // Both stand: the query's own is inside.
                let body = Box::new(SetExpr::Query(query.clone()));
                let (order_by, limit_clause, fetch, locks) = (None, None, None, Vec::new());
                **query = ast::Query { body, order_by, limit_clause, fetch, locks, ..(**query).clone() };
            }
            query.with = Some(with);
        }
        Kind::Insert(insert) => insert.with.insert(0, with),
        Kind::Update(update) => update.with.insert(0, with),
        Kind::Delete(delete) => delete.with.insert(0, with),
        Kind::Merge(merge) => merge.with.insert(0, with),
        _ => {}
    }
}

/// Cuts out queries that several parts read and that would give each of them other rows.
fn cut_volatile(cuts: &mut Vec<Cut>, with: &mut ast::With, main: &Kind) -> Result<()> {
    for place in 0..with.cte_tables.len() {
        let name = fold(&with.cte_tables[place].alias.name);
        let query = &with.cte_tables[place].query;
        if cuts.iter().any(|cut| cut.place == place) || !is_volatile(query) {
            continue;
        }
        let others = with.cte_tables.iter().flat_map(|cte| relations_of(&cte.query)).map(|(_, name)| name);
        let parts = cuts.iter().flat_map(|cut| reads(&cut.kind));
        if others.chain(parts).chain(reads(main)).filter(|read| *read == name).count() < 2 {
            continue;
        }
        let given = format!("{GIVEN}{place}");
        let stand_in = super::parse_query(&format!("SELECT * FROM \"{given}\""))?;
        let kind = Kind::Query(std::mem::replace(&mut with.cte_tables[place].query, stand_in));
        cuts.push(Cut { place, kind, given: Some(given) });
    }
    cuts.sort_by_key(|cut| cut.place);
    Ok(())
}

/// Whether a query calls a function that gives another value each time.
fn is_volatile(query: &ast::Query) -> bool {
    any_expr(query, &mut |expr| match expr {
        ast::Expr::Function(call) => {
            let name = call.name.0.last().map(ToString::to_string).unwrap_or_default().to_lowercase();
            VOLATILE.contains(&name.as_str())
        }
        _ => false,
    })
}

/// Which of the WITH queries a statement reads, itself or through others.
fn needed(cuts: &[Cut], with: &ast::With, main: &Kind) -> Vec<bool> {
    let mut wanted = reads(main);
    let mut needed = vec![false; with.cte_tables.len()];
    while let Some(name) = wanted.pop() {
        let Some(place) = with.cte_tables.iter().position(|cte| fold(&cte.alias.name) == name) else { continue };
        if std::mem::replace(&mut needed[place], true) {
            continue;
        }
        match cuts.iter().find(|cut| cut.place == place) {
            Some(cut) => wanted.extend(reads(&cut.kind)),
            None => wanted.extend(relations_of(&with.cte_tables[place].query).into_iter().map(|(_, name)| name)),
        }
    }
    needed
}

/// The WITH queries but for the statements that are not needed, and what reads these.
fn without(with: &ast::With, cuts: &[Cut], needed: &[bool]) -> ast::With {
    let mut gone: Vec<String> = Vec::new();
    let mut left = Vec::new();
    for (place, cte) in with.cte_tables.iter().enumerate() {
        let is_cut = cuts.iter().any(|cut| cut.place == place);
        let reads_gone = || relations_of(&cte.query).iter().any(|(_, name)| gone.contains(name));
        if !needed[place] && (is_cut || reads_gone()) {
            gone.push(fold(&cte.alias.name));
        } else {
            left.push(cte.clone());
        }
    }
    ast::With { cte_tables: left, ..with.clone() }
}
