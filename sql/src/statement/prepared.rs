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
    let prepared = Prepared { statement: prepare.statement.clone(), parameters, columns };
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
async fn values(session: &mut Session, texts: &[String], types: &[PgType]) -> Result<Vec<ScalarValue>> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let casts = texts.iter().zip(types).map(|(text, ty)| format!("CAST(({text}) AS {})", ty.name()));
    let select = format!("SELECT {}", casts.collect::<Vec<_>>().join(", "));
    let query = parser::parse_query(&select)?;
    let statement = parser::Statement::unnamed(&select);
    let prepared = Prepared { statement, parameters: Vec::new(), columns: None };
    let Outcome::Rows { rows, .. } = super::query::run(session, &query, &select, &prepared, &[]).await? else {
        return Err(Error::internal("a query without rows"));
    };
    let batches: Vec<_> = rows.try_collect().await.map_err(Error::from)?;
    let row = batches.first().ok_or_else(|| Error::internal("a SELECT without a row"))?;
    row.columns().iter().map(|column| Ok(ScalarValue::try_from_array(column, 0)?)).collect()
}
