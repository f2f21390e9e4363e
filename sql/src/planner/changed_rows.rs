//! The rows of a table that a statement changes, each with a number: as they are, or with what FROM
//! and USING put beside them.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::Result;
use thalweg_dataflow::types::PgType;

use super::Relation;
use super::binder::Binder;
use super::change::Target;
use super::from::RelationSource;
use super::scope::{Scope, ScopeColumn};

/// The column that numbers the rows of a table that is changed.
const ROW_NUMBER: &str = "ctid";

impl Binder<'_> {
    /// The rows of the table; the last in scope is their number, under a name that no column has.
    pub(super) fn numbered_rows(&self, target: &Target<'_>) -> Result<(LogicalPlan, Scope)> {
        let mut fields: Vec<Field> =
            target.columns.iter().map(|column| column.data_type.field(&column.name, true)).collect();
        let relation = Relation::View {
            id: target.id,
            name: target.name.to_string(),
            schema: Arc::new(Schema::new(fields.clone())),
            visible: None,
        };
        fields.push(PgType::Int8.field(self.unique(ROW_NUMBER), false));
        let number = fields.last().map(|field| field.name().clone()).unwrap_or_default();
        let source = RelationSource { relation, schema: Arc::new(Schema::new(fields)) };
        let alias = TableReference::bare(self.unique(target.name));
        let plan = LogicalPlanBuilder::scan(alias.clone(), Arc::new(source), None)?.build()?;
        let columns = target.columns.iter().map(|column| ScopeColumn {
            table: Some(target.visible.to_string()),
            name: column.name.clone(),
            expr: Expr::Column(Column::new(Some(alias.clone()), &column.name)),
            ty: column.data_type.clone(),
            hidden: false,
            origin: None,
        });
        let renamed = vec![(target.name.to_string(), target.visible.to_string())];
        let mut scope =
            Scope { columns: columns.collect(), tables: vec![target.visible.to_string()], renamed, ..Scope::default() };
        scope.columns.push(ScopeColumn {
            table: None,
            name: "\0number".into(),
            expr: Expr::Column(Column::new(Some(alias), number)),
            ty: PgType::Int8,
            hidden: true,
            origin: None,
        });
        Ok((plan, scope))
    }

    /// The rows of the table joined with FROM or USING and filtered; the table's columns are the
    /// first in scope, and their number is the last.
    pub(super) fn changed_rows(
        &self,
        target: &Target<'_>,
        others: &[ast::TableWithJoins],
        condition: Option<&ast::Expr>,
    ) -> Result<(LogicalPlan, Scope)> {
        let (mut plan, mut scope) = self.numbered_rows(target)?;
        let number = scope.columns.pop();
        if !others.is_empty() {
            let others = self.from(others, None, &self.before)?;
            plan = LogicalPlanBuilder::from(plan).cross_join(others.plan)?.build()?;
            scope.extend(others.scope)?;
        }
        if let Some(condition) = condition {
            let env = self.env(&scope, "WHERE");
            let condition = self.condition(&env, condition, "WHERE")?;
            plan = LogicalPlan::Filter(Filter::try_new(condition, plan.into())?);
        }
        scope.columns.extend(number);
        Ok((plan, scope))
    }
}
