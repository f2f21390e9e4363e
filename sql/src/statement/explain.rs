//! EXPLAIN: the plan of a query, or the dataflow of a view with what it shares.
//!
//! Runs nothing and builds nothing.

use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::plan::{Plan, RelationId};

use super::query::{bind, planning};
use super::{text_columns, text_rows};
use crate::catalog::{Object, ViewBody};
use crate::database::{Published, lower_again};
use crate::parser::{Explain, ObjectKind};
use crate::planner::{Planner, explain_query, explain_view};
use crate::session::{Outcome, RowsTag, Session};

/// The one column.
pub(crate) fn columns() -> SchemaRef {
    text_columns(&["QUERY PLAN"])
}

/// See the module.
pub(crate) async fn run(session: &mut Session, explain: &Explain, text: &str) -> Result<Outcome> {
    let view = session.view();
    let lines = match explain {
        Explain::Query(query) => of_query(session, &view, query, text).await?,
        Explain::CreateView(query) => {
            let (bound, _) = bind(session, &view, query, &[], planning(session, text, true)).await?;
            of_plan(&view.published, &Planner.lower(&bound)?, None)
        }
        Explain::View(name) => {
            let object = super::drop::find(session, &view.published.catalog, ObjectKind::View, name)
                .map_err(super::show::without_drop_hint)?;
            let Some(stored) = object.view() else {
                return Err(thalweg_dataflow::Error::internal("a view without a definition"));
            };
            of_plan(&view.published, &lower_again(&view.published, &stored.body)?, Some(&stored.body))
        }
    };
    text_rows(columns(), vec![lines.into_iter().map(Some).collect()], RowsTag::Explain)
}

async fn of_query(session: &Session, view: &crate::session::View, query: &Query, text: &str) -> Result<Vec<String>> {
    let (bound, _) = bind(session, view, query, &[], planning(session, text, false)).await?;
    Ok(explain_query(&bound))
}

fn of_plan(published: &Published, plan: &Plan, of: Option<&ViewBody>) -> Vec<String> {
    let mut others = HashSet::new();
    let bodies = published.catalog.objects().filter_map(|object| object.view()).map(|view| &view.body);
    for body in bodies.filter(|body| of.is_none_or(|of| of.relation != body.relation)) {
        if let Ok(plan) = lower_again(published, body) {
            collect(plan, &mut others);
        }
    }
    let names: std::collections::BTreeMap<RelationId, String> = published.catalog.objects().flat_map(named).collect();
    let name = |id: RelationId| names.get(&id).cloned().unwrap_or_else(|| id.0.to_string());
    explain_view(plan, &name, &|node| others.contains(node))
}

/// The engine's names for an object, and its own.
fn named(object: &Object) -> Vec<(RelationId, String)> {
    let all = object.relations().into_iter().chain([object.relation()]);
    all.map(|relation| (relation, object.name.clone())).collect()
}

fn collect(plan: Plan, into: &mut HashSet<Plan>) {
    for input in plan.inputs() {
        collect(input.clone(), into);
    }
    into.insert(plan);
}
