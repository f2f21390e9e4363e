//! SEARCH and CYCLE of WITH RECURSIVE, as PostgreSQL defines them: columns that the query gets besides
//! its own.
//!
//! The recursive term carries the values of the row it came from behind its own columns; from them
//! and its own the new ones are computed. DEPTH FIRST: the rows so far, an array; BREADTH FIRST: how
//! many there were, and the last; CYCLE: whether the row was among those so far, and these.

use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray, Int64Array};
use arrow::datatypes::Int64Type;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, not};
use datafusion::sql::sqlparser::ast::{self, BinaryOperator, SelectItem, SetExpr, TableFactor};
use thalweg_dataflow::types::{PgType, Zone, record};
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::{Binder, BoundQuery, Env, OutputColumn, fold, name_parts};
use super::functions::evaluated;
use super::functions::udf::{Kernel, PgFunction};
use super::typed::{Typed, metadata};
use crate::parser::search_cycle::Clause;

/// What a clause adds, over the query's columns.
enum Added {
    Depth { by: Vec<usize> },
    Breadth { by: Vec<usize> },
    Mark { of: Vec<usize>, values: Box<[Typed; 2]> },
    Path { of: Vec<usize> },
}

/// The columns that clauses add, with their names.
pub(super) struct AddedColumns(Vec<(String, Added)>);

impl AddedColumns {
    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Binder<'_> {
    /// What the clauses of a query with these columns add.
    pub(super) fn added_columns(&self, env: &Env<'_>, clauses: &[Clause], columns: &[String]) -> Result<AddedColumns> {
        let mut added = Vec::new();
        for clause in clauses {
            match clause {
                Clause::Search { breadth, sequence, by } => {
                    let by = places(by, columns, "search")?;
                    refuse_known(sequence, columns, "search sequence")?;
                    let column = if *breadth { Added::Breadth { by } } else { Added::Depth { by } };
                    added.push((sequence.clone(), column));
                }
                Clause::Cycle { mark, path, values, columns: of } => {
                    let of = places(of, columns, "cycle")?;
                    refuse_known(mark, columns, "cycle mark")?;
                    refuse_known(path, columns, "cycle path")?;
                    let values = values.iter().map(|value| self.expr(env, value)).collect::<Result<Vec<_>>>()?;
                    let (values, ty) = self.unify(values, "CYCLE")?;
                    let [value, otherwise] = <[Typed; 2]>::try_from(values)
                        .map_err(|_| Error::internal("a cycle mark without its values"))?;
                    let typed = |value: Typed| Typed { ty: Some(ty.clone()), ..value };
                    let mark_of = Added::Mark { of: of.clone(), values: Box::new([typed(value), typed(otherwise)]) };
                    added.push((mark.clone(), mark_of));
                    added.push((path.clone(), Added::Path { of }));
                }
            }
        }
        match added.iter().enumerate().find(|(place, (name, _))| added[..*place].iter().any(|(known, _)| known == name))
        {
            Some((_, (name, _))) => Err(Error::new(
                SqlState::SyntaxError,
                format!("column \"{name}\" of SEARCH or CYCLE is named more than once"),
            )),
            None => Ok(AddedColumns(added)),
        }
    }

    /// The first term with the columns as they begin.
    pub(super) fn begun(&self, first: BoundQuery, added: &AddedColumns) -> Result<BoundQuery> {
        let own = first.columns.len();
        self.with_added(first, own, added, |added, row, _| match added {
            Added::Depth { .. } | Added::Path { .. } => self.row_list(None, row),
            Added::Breadth { .. } => self.numbered_row(Typed::constant(ScalarValue::Int64(Some(0)), PgType::Int8), row),
            Added::Mark { values, .. } => Ok(values[1].clone()),
        })
    }

    /// The recursive term with the columns as they go on; behind its own it has those of the row it
    /// came from. Rows behind a cycle make no others.
    pub(super) fn continued(&self, step: BoundQuery, added: &AddedColumns) -> Result<BoundQuery> {
        let own = step.columns.len() - added.0.len();
        let mut plan = step.plan.clone();
        for ((_, kind), before) in added.0.iter().zip(&step.columns[own..]) {
            if let Added::Mark { values, .. } = kind {
                let marked = self.operate(&BinaryOperator::Eq, column(before), values[0].clone())?;
                plan = LogicalPlanBuilder::from(plan).filter(not(marked.expr))?.build()?;
            }
        }
        let paths: Vec<Option<Typed>> = (0..added.0.len())
            .map(|place| matches!(added.0[place].1, Added::Path { .. }).then(|| column(&step.columns[own + place])))
            .collect();
        self.with_added(BoundQuery { plan, columns: step.columns.clone() }, own, added, |kind, row, place| {
            let before = column(&step.columns[own + place]);
            match kind {
                Added::Depth { .. } | Added::Path { .. } => self.row_list(Some(before), row),
                Added::Breadth { .. } => {
                    let next =
                        PgFunction::new("depth_behind", vec![PgType::Record], PgType::Int8, Zone::default(), DEPTH);
                    self.numbered_row(Typed::new(evaluated(next, vec![before.expr]), PgType::Int8), row)
                }
                Added::Mark { values, .. } => {
                    let [value, otherwise] = values.as_ref();
                    // The path of the same clause stands behind its mark.
                    let path = paths.get(place + 1).cloned().flatten();
                    let path = path.ok_or_else(|| Error::internal("a cycle mark without its path"))?;
                    let place = self.call_by_name("array_position", vec![path, row])?;
                    let case = datafusion::logical_expr::when(place.expr.is_not_null(), value.expr.clone())
                        .otherwise(otherwise.expr.clone())?;
                    Ok(Typed::new(case, value.ty.clone().unwrap_or(PgType::Bool)))
                }
            }
        })
    }

    fn with_added(
        &self,
        bound: BoundQuery,
        own: usize,
        added: &AddedColumns,
        value: impl Fn(&Added, Typed, usize) -> Result<Typed>,
    ) -> Result<BoundQuery> {
        let mut exprs: Vec<Expr> =
            bound.columns[..own].iter().map(|known| Expr::Column(known.column.clone())).collect();
        let mut columns = bound.columns[..own].to_vec();
        for (place, (name, kind)) in added.0.iter().enumerate() {
            let (Added::Depth { by: of } | Added::Breadth { by: of } | Added::Mark { of, .. } | Added::Path { of }) =
                kind;
            let row = self.record(of.iter().map(|place| column(&bound.columns[*place])).collect(), &[])?;
            let value = value(kind, row, place)?;
            let ty = value.ty.clone().unwrap_or(PgType::Text);
            let unique = self.unique(name);
            exprs.push(value.expr.alias_with_metadata(&unique, Some(metadata(&ty))));
            columns.push(OutputColumn {
                name: name.clone(),
                column: Column::new_unqualified(unique),
                ty: Some(ty),
                origin: None,
            });
        }
        let plan = LogicalPlanBuilder::from(bound.plan).project(exprs)?.build()?;
        Ok(BoundQuery { plan, columns })
    }

    /// The rows so far and this one.
    fn row_list(&self, before: Option<Typed>, row: Typed) -> Result<Typed> {
        match before {
            Some(rows) => self.call_by_name("array_append", vec![rows, row]),
            None => {
                let none = super::literal(ScalarValue::Binary(Some(vec![0])), &PgType::Record.array());
                self.call_by_name("array_append", vec![Typed::new(none, PgType::Record.array()), row])
            }
        }
    }

    /// A row of a number and the fields of a row, which is one field.
    fn numbered_row(&self, number: Typed, row: Typed) -> Result<Typed> {
        let types = vec![PgType::Int8, PgType::Record];
        let function = PgFunction::new("numbered_row", types, PgType::Record, Zone::default(), NUMBERED);
        Ok(Typed::new(evaluated(function, vec![number.expr, row.expr]), PgType::Record))
    }
}

/// The recursive term that also shows, behind its own columns, these of the row it came from.
pub(super) fn carrying(step: &SetExpr, name: &str, added: &AddedColumns) -> Result<SetExpr> {
    let SetExpr::Select(select) = step else {
        let message = "with a SEARCH or CYCLE clause, the right side of the UNION must be a SELECT";
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    };
    let mut select = select.clone();
    let tables = select
        .from
        .iter()
        .flat_map(|table| std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)));
    let alias = tables.into_iter().find_map(|factor| match factor {
        TableFactor::Table { name: table, alias, .. } if name_parts(table).is_ok_and(|parts| parts == [name]) => {
            Some(alias.as_ref().map_or_else(|| ast::Ident::with_quote('"', name), |alias| alias.name.clone()))
        }
        _ => None,
    });
    let Some(alias) = alias else {
        let message = format!(
            "with a SEARCH or CYCLE clause, the recursive reference to WITH query \"{name}\" must be at the top level of its right-hand SELECT"
        );
        return Err(Error::new(SqlState::FeatureNotSupported, message));
    };
    select.projection.extend(added.names().map(|column| {
        let parts = vec![ast::Ident::with_quote('"', fold(&alias)), ast::Ident::with_quote('"', column)];
        SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts))
    }));
    Ok(SetExpr::Select(select))
}

fn column(output: &OutputColumn) -> Typed {
    Typed::new(Expr::Column(output.column.clone()), output.ty.clone().unwrap_or(PgType::Text))
}

fn places(names: &[String], columns: &[String], clause: &str) -> Result<Vec<usize>> {
    let mut places = Vec::with_capacity(names.len());
    for name in names {
        let place = columns.iter().position(|known| known == name).ok_or_else(|| {
            let message = format!("{clause} column \"{name}\" not in WITH query column list");
            Error::new(SqlState::SyntaxError, message)
        })?;
        if places.contains(&place) {
            let message = format!("{clause} column \"{name}\" specified more than once");
            return Err(Error::new(SqlState::DuplicateColumn, message));
        }
        places.push(place);
    }
    Ok(places)
}

fn refuse_known(name: &str, columns: &[String], what: &str) -> Result<()> {
    if columns.iter().any(|known| known == name) {
        let message = format!("{what} column name \"{name}\" already used in WITH query column list");
        return Err(Error::new(SqlState::SyntaxError, message));
    }
    Ok(())
}

/// One more than the first field of a row.
const DEPTH: Kernel = |input| {
    let rows = input.array(0)?;
    let depth = |row: Option<&[u8]>| -> Result<Option<i64>> {
        let Some(bytes) = row else { return Ok(None) };
        let first = record::fields(bytes)?.into_iter().next();
        Ok(first.and_then(|field| field.value.as_primitive_opt::<Int64Type>().map(|value| value.value(0) + 1)))
    };
    Ok(Arc::new(rows.as_binary::<i32>().iter().map(depth).collect::<Result<Int64Array>>()?))
};

/// A number before the fields of a row.
const NUMBERED: Kernel = |input| {
    let (numbers, rows) = (input.array(0)?, input.array(1)?);
    let number = record::of_columns(&[PgType::Int8], &[numbers], input.rows, &[])?;
    let pairs = number.iter().zip(rows.as_binary::<i32>());
    Ok(Arc::new(pairs.map(|(number, row)| Some(record::joined(number?, row?))).collect::<BinaryArray>()))
};
