//! Queries of the simple protocol that come again: the statement that their text is, without reading it.
//!
//! A lookup by key may have other constants in its text each time. Promises: what comes out gives what
//! the text itself would; whatever is not plainly a query, or is wrong, is left to be read as it is.

use std::sync::Arc;

use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use thalweg_dataflow::types::{PgType, parse_text};

use super::{Prepared, Session};
use crate::batch::lookup;
use crate::parser::pasted::{Constant, Pasted};
use crate::parser::{self, Kind, Statement};
use crate::statement::plan_cache::LastPlan;
use crate::statement::query::planned;

impl Session {
    /// The statement and parameters of a text that came before, perhaps with other constants.
    pub fn pasted<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Option<(Prepared, Vec<ScalarValue>)>> {
        Box::pin(async move {
            let pasted = Pasted::of(sql)?;
            let view = self.peek_view();
            let plans = &self.database.0.plans;
            let statement = match plans.statement(&pasted.text, &view.published) {
                Some(known) => known?,
                None => {
                    let statement = only_query(&pasted.text);
                    plans.put_statement(&pasted.text, &view.published, statement.clone());
                    statement?
                }
            };
            if pasted.values.is_empty() {
                return Some((Prepared::plain(statement), Vec::new()));
            }
            let Kind::Query(query) = statement.kind() else { return None };
            let types: Vec<Option<PgType>> = pasted.values.iter().map(Constant::known_type).collect();
            let last = LastPlan::default();
            let bound = planned(self, &view, &statement, (query, statement.text()), &types, &last).await.ok()?;
            if !lookup(&bound, &view).is_some_and(|lookup| lookup.reads()) {
                plans.put_statement(&pasted.text, &view.published, None);
                return None;
            }
            let zone = &self.text_style().zone;
            let values = pasted.values.iter().zip(&bound.parameters).map(|(value, ty)| match value {
                Constant::Number(number) => (*ty == PgType::Int4).then_some(ScalarValue::Int32(Some(*number))),
                Constant::String(text) => parse_text(ty, text, zone).ok(),
            });
            let values = values.collect::<Option<Vec<_>>>()?;
            let prepared = Prepared::new(statement.shown_as(sql), bound.parameters.clone(), Some(bound.schema.clone()));
            Some((Prepared { plan: Arc::new(last), ..prepared }, values))
        })
    }
}

impl Constant {
    fn known_type(&self) -> Option<PgType> {
        match self {
            Constant::Number(_) => Some(PgType::Int4),
            Constant::String(_) => None,
        }
    }
}

/// The statement of a text, if it is one query that locks nothing.
fn only_query(text: &str) -> Option<Statement> {
    let [statement] = <[Statement; 1]>::try_from(parser::parse(text).ok()?).ok()?;
    let is_plain = matches!(statement.kind(), Kind::Query(query) if query.locks.is_empty());
    is_plain.then_some(statement)
}
