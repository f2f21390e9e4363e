//! Columns that are computed from others (GENERATED ALWAYS AS ... STORED), bound.
//!
//! They are computed from what the others become, after these and never twice, so that a DEFAULT is
//! evaluated once whoever reads it.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::Binder;
use super::change::{RowScope, Target, env, settled};
use super::functions::stable::is_immutable;
use super::scope::Scope;
use super::typed::{Typed, base_name, metadata};
use super::{Planner, Resolver, Settings};
use crate::parser::parse_expression;

/// What messages call it.
const CLAUSE: &str = "column generation expressions";

impl Planner {
    /// The computed columns of a table over its rows: the place of each and its value.
    pub(crate) fn bind_generated(
        &self,
        target: &Target<'_>,
        scope: &RowScope,
        resolver: &dyn Resolver,
        settings: &Settings,
    ) -> Result<Vec<(usize, Expr)>> {
        let binder = Binder::new(resolver, settings, &[]);
        let bind = |(place, text): &(usize, &str)| Ok((*place, binder.generated(target, *place, text, scope.names())?));
        let bound = target.generated.iter().map(bind).collect::<Result<Vec<_>>>()?;
        settled(binder)?;
        Ok(bound)
    }

    /// The same once more, as it is entered in the catalog: 42P17 if it is not immutable.
    pub(crate) fn check_generated(
        &self,
        target: &Target<'_>,
        resolver: &dyn Resolver,
        settings: &Settings,
    ) -> Result<()> {
        let scope = RowScope::new(&[(target.visible, target.columns)])?;
        self.bind_generated(target, &scope, resolver, settings)?;
        // What a view may not call depends on more than its arguments.
        let strict = Settings { view: true, ..settings.clone() };
        let bound = self.bind_generated(target, &scope, resolver, &strict);
        match bound {
            Ok(bound) => {
                for (_, expr) in &bound {
                    if !is_immutable(expr)? {
                        return Err(not_immutable());
                    }
                }
                Ok(())
            }
            Err(error) if error.state() == SqlState::FeatureNotSupported => Err(not_immutable()),
            Err(error) => Err(error),
        }
    }
}

fn not_immutable() -> Error {
    Error::new(SqlState::InvalidObjectDefinition, "generation expression is not immutable")
}

impl Binder<'_> {
    fn generated(&self, target: &Target<'_>, place: usize, text: &str, scope: &Scope) -> Result<Expr> {
        let typed = self.expr(&env(scope, CLAUSE), &parse_expression(text)?)?;
        let column = &target.columns[place];
        // The text's places are not the statement's.
        self.store(Typed { at: None, ..typed }, &column.data_type, &|from| {
            format!(
                "column \"{}\" is of type {} but default expression is of type {from}",
                column.name,
                base_name(&column.data_type)
            )
        })
    }

    /// The rows of an UPDATE with the computed columns in them: over those that are `new`.
    pub(super) fn with_generated(&self, plan: LogicalPlan, target: &Target<'_>) -> Result<LogicalPlan> {
        let mut scope = RowScope::new(&[(target.visible, target.columns)])?.names().clone();
        for (place, column) in scope.columns.iter_mut().enumerate() {
            column.expr = Expr::Column(Column::new_unqualified(format!("new{place}")));
        }
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        for (place, text) in &target.generated {
            let name = format!("new{place}");
            let value = self.generated(target, *place, text, &scope)?;
            let ty: &PgType = &target.columns[*place].data_type;
            let there = exprs.iter_mut().find(|expr| matches!(expr, Expr::Column(column) if column.name == name));
            if let Some(there) = there {
                *there = value.alias_with_metadata(&name, Some(metadata(ty)));
            }
        }
        Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
    }
}
