//! A name that stands for a query (CREATE VIEW): the query is bound in its place.
//!
//! Promises: its names mean what they meant when it was created, whoever reads it; literals of
//! timestamptz too, while functions of time follow the reader's TimeZone, as in PostgreSQL.

use datafusion::sql::sqlparser::ast::Query;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Ctes};
use super::{Resolver, Settings};

/// See the module.
#[derive(Debug, Clone)]
pub struct NamedQuery {
    /// Its oid.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// The query.
    pub query: Box<Query>,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The search path under which it was created.
    pub path: Vec<String>,
    /// The TimeZone under which it was created.
    pub zone: String,
}

impl Binder<'_> {
    /// The query that a name stands for.
    pub(super) fn named_query(&self, named: &NamedQuery) -> Result<BoundQuery> {
        let names = self.resolver.within(named);
        let resolver: &dyn Resolver = names.as_deref().unwrap_or(self.resolver);
        // Places in its text are none of the statement's.
        let literal_zone = Some(named.zone.clone());
        let settings = Settings { literal_zone, text: String::new(), ..self.settings.clone() };
        let inner = Binder::new(resolver, &settings, &[]);
        let bound = self.nested(|| {
            self.lend(&inner, || inner.settled_query(inner.query(&named.query, None, &Ctes::default())?))
        })?;
        let kept = |(column, known): (&super::binder::OutputColumn, &Column)| {
            column.ty.as_ref().unwrap_or(&PgType::Text) == &known.data_type
        };
        if bound.columns.len() != named.columns.len() || !bound.columns.iter().zip(&named.columns).all(kept) {
            let message = format!("view \"{}\" has other columns than when it was created", named.name);
            return Err(
                Error::new(SqlState::ObjectNotInPrerequisiteState, message).hint("Drop the view and create it again.")
            );
        }
        let mut bound = bound;
        for (column, known) in bound.columns.iter_mut().zip(&named.columns) {
            column.name.clone_from(&known.name);
        }
        Ok(bound)
    }
}
