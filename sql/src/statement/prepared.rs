//! PREPARE, EXECUTE and DEALLOCATE in SQL.

use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use crate::parser::{self, Execute, Prepare};
use crate::session::{Outcome, Prepared, Session};

/// PREPARE.
pub(crate) async fn prepare(session: &mut Session, prepare: &Prepare) -> Result<Outcome> {
    session.statements.check(&prepare.name)?;
    let (parameters, columns) = super::describe(session, &prepare.statement, &prepare.types).await?;
    let prepared = Prepared::new(prepare.statement.clone(), parameters, columns);
    session.statements.keep(prepare.name.clone(), prepared)?;
    Ok(Outcome::Done("PREPARE".into()))
}

/// The statement that EXECUTE names, and the values of its parameters.
pub(crate) async fn executed(session: &mut Session, execute: &Execute) -> Result<(Prepared, Vec<ScalarValue>)> {
    let prepared = session.statements.get(&execute.name)?.clone();
    let (wanted, given) = (prepared.parameters.len(), execute.values.len());
    if wanted != given {
        let message = format!("wrong number of parameters for prepared statement \"{}\"", execute.name);
        return Err(
            Error::new(SqlState::SyntaxError, message).detail(format!("Expected {wanted} parameters but got {given}."))
        );
    }
    let values = values(session, &execute.values, &prepared.parameters).await?;
    Ok((prepared, values))
}

/// The values of expressions, in these types.
async fn values(
    session: &mut Session,
    values: &[(String, Option<usize>)],
    types: &[PgType],
) -> Result<Vec<ScalarValue>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let mut select = String::from("SELECT ");
    // Where each value begins in the SELECT, in characters from 1.
    let mut starts = Vec::with_capacity(values.len());
    for (place, ((text, _), ty)) in values.iter().zip(types).enumerate() {
        select.push_str(if place == 0 { "CAST((" } else { ", CAST((" });
        starts.push(select.chars().count() + 1);
        select.push_str(&format!("{text}) AS {})", ty.name()));
    }
    let placed = |error: Error| {
        let found = error.position().and_then(|at| {
            let value = starts.iter().rposition(|start| *start <= at)?;
            Some(values[value].1? + at - starts[value])
        });
        found.map_or(error.clone(), |place| error.at(place))
    };
    let evaluated = evaluated(session, &select).await;
    evaluated.map_err(placed)
}

/// The values of a SELECT without FROM.
async fn evaluated(session: &mut Session, select: &str) -> Result<Vec<ScalarValue>> {
    let query = parser::parse_query(select)?;
    let statement = parser::Statement::unnamed(select);
    let prepared = Prepared::plain(statement);
    let Outcome::Rows { rows, .. } = super::query::run(session, &query, select, &prepared, &[]).await? else {
        return Err(Error::internal("a query without rows"));
    };
    let batches: Vec<_> = rows.try_collect().await.map_err(Error::from)?;
    let row = batches.first().ok_or_else(|| Error::internal("a SELECT without a row"))?;
    row.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
}
