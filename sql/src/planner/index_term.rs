//! What an index is about besides columns: expressions and conditions over the rows of its relation.

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::Binder;
use super::change::{RowScope, env, settled};
use super::functions::stable::is_immutable;
use super::{Planner, Resolver, Settings};

/// An expression that an index is about.
pub(crate) struct IndexTerm<'a> {
    /// The expression.
    pub(crate) expr: &'a ast::Expr,
    /// Whether it is the condition of an index of some rows, else a key.
    pub(crate) is_predicate: bool,
}

impl Planner {
    /// The type of an expression of an index. Errors: 42P17 for what is not the same tomorrow.
    pub(crate) fn index_type(
        &self,
        term: &IndexTerm<'_>,
        scope: &RowScope,
        resolver: &dyn Resolver,
        settings: &Settings,
    ) -> Result<PgType> {
        let binder = Binder::new(resolver, settings, &[]);
        let (clause, part) = match term.is_predicate {
            true => ("index predicates", "index predicate"),
            false => ("index expressions", "index expression"),
        };
        let env = env(&scope.scope, clause);
        let (expr, ty) = match term.is_predicate {
            true => (binder.condition(&env, term.expr, "WHERE")?, PgType::Bool),
            false => {
                let typed = binder.settled(binder.expr(&env, term.expr)?)?;
                (typed.expr, typed.ty.unwrap_or(PgType::Text))
            }
        };
        let stable = !binder.reads_clock.get() && is_immutable(&expr)?;
        settled(binder)?;
        match stable {
            true => Ok(ty),
            false => {
                let message = format!("functions in {part} must be marked IMMUTABLE");
                Err(Error::new(SqlState::InvalidObjectDefinition, message))
            }
        }
    }
}
