//! SELECT ... FOR UPDATE and its kin: rows that a block has read and holds to be unchanged at COMMIT.
//!
//! Promises: if another commit changes or deletes such a row before this block's, COMMIT fails with
//! 40001, whether the block changed the row or not. Nobody waits, so that NOWAIT and SKIP LOCKED have
//! nothing to do; outside of a block nothing is held.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::scalar::ScalarValue;
use datafusion::sql::sqlparser::ast::{self, JoinOperator, SetExpr, TableFactor};
use futures::TryStreamExt;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::{MAX_COMMIT_BYTES, TableDefinition};
use thalweg_dataflow::types::PgType;

use super::one_batch;
use super::query::{bind, planning};
use super::resolve::folded;
use crate::catalog::{Catalog, ObjectData};
use crate::planner::is_aggregate;
use crate::roles::acl::{SELECT, UPDATE};
use crate::session::{Outcome, Prepared, RowsTag, Session, View};
use crate::walk::any_expr;

/// A table whose rows are held: what its columns are qualified by, and what the engine knows of it.
struct Held {
    visible: ast::Ident,
    table: Arc<TableDefinition>,
}

/// The query without its FOR clauses. Errors: those of clauses that they do not go with.
pub(super) fn plain(query: &ast::Query) -> Result<ast::Query> {
    check_shape(query)?;
    Ok(ast::Query { locks: Vec::new(), ..query.clone() })
}

/// The words of the first clause.
fn words(query: &ast::Query) -> &'static str {
    match query.locks.first().map(|lock| &lock.lock_type) {
        Some(ast::LockType::Share) => "FOR SHARE",
        _ => "FOR UPDATE",
    }
}

fn check_shape(query: &ast::Query) -> Result<()> {
    let words = words(query);
    let refused = |what: &str| {
        let message = format!("{words} is not allowed with {what}");
        Err(Error::new(SqlState::FeatureNotSupported, message))
    };
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::Values(_) => {
            let message = format!("{words} cannot be applied to VALUES");
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        _ => return refused("UNION/INTERSECT/EXCEPT"),
    };
    let grouped = match &select.group_by {
        ast::GroupByExpr::Expressions(exprs, _) => !exprs.is_empty(),
        ast::GroupByExpr::All(_) => true,
    };
    let called = |windowed: bool| {
        any_expr(&select.projection, &mut |expr| match expr {
            ast::Expr::Function(function) if function.over.is_some() => windowed,
            ast::Expr::Function(function) => {
                let name = folded(&function.name).map(|(_, name)| name);
                !windowed && name.is_some_and(|name| is_aggregate(&name))
            }
            _ => false,
        })
    };
    match () {
        () if select.distinct.is_some() => refused("DISTINCT clause"),
        () if grouped => refused("GROUP BY clause"),
        () if select.having.is_some() => refused("HAVING clause"),
        () if called(false) => refused("aggregate functions"),
        () if called(true) => refused("window functions"),
        () => Ok(()),
    }
}

/// Runs a query with FOR clauses.
pub(super) async fn run(
    session: &mut Session,
    query: &ast::Query,
    prepared: &Prepared,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    if session.settings.is_read_only() {
        let message = format!("cannot execute SELECT {} in a read-only transaction", words(query));
        return Err(Error::new(SqlState::ReadOnlyTransaction, message));
    }
    let view = session.view();
    let types: Vec<Option<PgType>> = prepared.parameters.iter().cloned().map(Some).collect();
    let text = prepared.statement.request();
    let plain = plain(query)?;
    let (bound, _) = bind(session, &view, &plain, &types, planning(session, text, false)).await?;
    let held = held(session, &view, query)?;
    let batch = session.database.0.batch.clone();
    if held.is_empty() || !session.is_in_block() {
        let rows = batch.execute_in(&bound, parameters, &view).await?;
        return Ok(Outcome::Rows { schema: bound.schema, rows, tag: RowsTag::Select });
    }
    let wide = with_rows(plain, &held);
    let (wide, _) = bind(session, &view, &wide, &types, planning(session, text, false)).await?;
    let mut rows = batch.execute_in(&wide, parameters, &view).await?;
    let (mut batches, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = rows.try_next().await? {
        bytes += batch.get_array_memory_size();
        if bytes > 4 * MAX_COMMIT_BYTES {
            return Err(Error::new(SqlState::ProgramLimitExceeded, "the query holds too many rows"));
        }
        batches.push(batch);
    }
    drop((rows, view));
    let all = concat_batches(&wide.schema, &batches)?;
    let mut place = bound.schema.fields().len();
    let columns = all.columns()[..place].to_vec();
    for Held { table, .. } in held {
        let end = place + table.schema.fields().len();
        let rows = RecordBatch::try_new(table.no_rows().schema(), all.columns()[place..end].to_vec())?;
        place = end;
        let mut pending = session.take_pending(&table);
        let locked = Arc::make_mut(&mut pending).hold(&rows);
        session.put_pending(table.id, pending);
        locked?;
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(all.num_rows()));
    let shown = RecordBatch::try_new_with_options(bound.schema.clone(), columns, &options)?;
    Ok(Outcome::Rows { schema: bound.schema.clone(), rows: one_batch(bound.schema, shown), tag: RowsTag::Select })
}

/// The query with all columns of the tables behind its own.
fn with_rows(mut query: ast::Query, held: &[Held]) -> ast::Query {
    if let SetExpr::Select(select) = query.body.as_mut() {
        for Held { visible, .. } in held {
            let name = ast::ObjectName::from(vec![visible.clone()]);
            let all = ast::SelectItemQualifiedWildcardKind::ObjectName(name);
            select.projection.push(ast::SelectItem::QualifiedWildcard(all, ast::WildcardAdditionalOptions::default()));
        }
    }
    query
}

/// The tables whose rows are to be held.
fn held(session: &Session, view: &View, query: &ast::Query) -> Result<Vec<Held>> {
    let SetExpr::Select(select) = query.body.as_ref() else { return Ok(Vec::new()) };
    let catalog = &view.published.catalog;
    let with: Vec<String> = query
        .with
        .iter()
        .flat_map(|with| &with.cte_tables)
        .filter_map(|cte| folded(&ast::ObjectName::from(vec![cte.alias.name.clone()])).map(|(_, name)| name))
        .collect();
    let mut all = Vec::new();
    for item in &select.from {
        all.push((&item.relation, false));
        for join in &item.joins {
            let (left, right) = match &join.join_operator {
                JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => (false, true),
                JoinOperator::Right(_) | JoinOperator::RightOuter(_) => (true, false),
                JoinOperator::FullOuter(_) => (true, true),
                _ => (false, false),
            };
            all.iter_mut().for_each(|(_, nullable)| *nullable |= left);
            all.push((&join.relation, right));
        }
    }
    let mut found = Vec::new();
    let mut named: Vec<String> = query.locks.iter().filter_map(|lock| Some(folded(lock.of.as_ref()?)?.1)).collect();
    let every = named.is_empty() || query.locks.iter().any(|lock| lock.of.is_none());
    for (factor, nullable) in all {
        let Some((name, visible)) = seen(factor) else { continue };
        let Some((_, own)) = folded(&ast::ObjectName::from(vec![visible.clone()])) else { continue };
        let is_named = named.contains(&own);
        named.retain(|known| *known != own);
        if !every && !is_named {
            continue;
        }
        let Some(name) = name else {
            return Err(Error::unsupported(format!("{} of a subquery in FROM", words(query))));
        };
        let Some(table) = lockable(session, catalog, name, &with)? else { continue };
        if nullable {
            let message = format!("{} cannot be applied to the nullable side of an outer join", words(query));
            return Err(Error::new(SqlState::FeatureNotSupported, message));
        }
        found.push(Held { visible, table });
    }
    match named.first() {
        Some(missing) => {
            let message = format!("relation \"{missing}\" in {} clause not found in FROM clause", words(query));
            Err(Error::new(SqlState::UndefinedTable, message))
        }
        None => Ok(found),
    }
}

/// A relation in FROM, or a subquery (`None`), and what its columns are qualified by.
fn seen(factor: &TableFactor) -> Option<(Option<&ast::ObjectName>, ast::Ident)> {
    match factor {
        TableFactor::Table { name, alias, args: None, .. } => {
            let own = match name.0.last()? {
                ast::ObjectNamePart::Identifier(own) => own.clone(),
                ast::ObjectNamePart::Function(_) => return None,
            };
            Some((Some(name), alias.as_ref().map_or(own, |alias| alias.name.clone())))
        }
        TableFactor::Derived { alias: Some(alias), .. } => Some((None, alias.name.clone())),
        _ => None,
    }
}

/// The table of a name whose rows can be held; `None`: there is nothing to hold.
fn lockable(
    session: &Session,
    catalog: &Catalog,
    name: &ast::ObjectName,
    with: &[String],
) -> Result<Option<Arc<TableDefinition>>> {
    let Some((schema, own)) = folded(name) else { return Ok(None) };
    if schema.is_none() && with.contains(&own) {
        return Ok(None);
    }
    let Some(object) = catalog.find(schema.as_deref(), &own, &session.path_in(catalog)) else { return Ok(None) };
    session.asker(catalog).need(object, SELECT | UPDATE)?;
    match &object.data {
        ObjectData::Table(_) => Ok(object.table_definition().map(Arc::new)),
        ObjectData::NamedQuery(_) => Err(Error::unsupported(format!("holding rows of view \"{}\"", object.name))),
        _ => {
            let message = format!("cannot lock rows in {} \"{}\"", object.kind().word(), object.name);
            Err(Error::new(SqlState::WrongObjectType, message))
        }
    }
}
