//! Scopes: which names a clause sees.
//!
//! A scope lists the columns of a FROM clause, each with the table name it may be qualified by.
//! Lookups follow PostgreSQL: unqualified names must be unique, a column merged by USING stands for
//! both sides, and the nearest scope that knows a name wins. Suggests near names when none fits.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Expr;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

/// The column of a relation that a value is, unchanged: what clients are told of a result's column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The relation's oid.
    pub(crate) table: u32,
    /// The column's number in it, from 1.
    pub(crate) column: i16,
}

/// One column that a clause can name.
#[derive(Debug, Clone)]
pub(crate) struct ScopeColumn {
    /// The table name or alias that qualifies it; `None` for a column merged by USING.
    pub(crate) table: Option<String>,
    /// Its name.
    pub(crate) name: String,
    /// What it stands for in the plan: a column, or for a merged one an expression over columns.
    pub(crate) expr: Expr,
    /// Its type; `None` for an output column that is an unknown literal.
    pub(crate) ty: PgType,
    /// Whether it is hidden behind a merged column: reachable only by its qualified name.
    pub(crate) hidden: bool,
    /// Whose column it is.
    pub(crate) origin: Option<Origin>,
}

/// The columns of a FROM clause, in the order of `*`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    /// The columns.
    pub(crate) columns: Vec<ScopeColumn>,
    /// The names of the tables, for errors and `t.*`.
    pub(crate) tables: Vec<String>,
    /// Relations that have another name here, which hides their own: that, and the other.
    pub(crate) renamed: Vec<(String, String)>,
    /// `tableoid` of the tables of the catalog among them, by the name.
    pub(crate) table_oids: Vec<(String, u32)>,
    /// Functions whose rows are one value, by the name of the table: what its name stands for.
    pub(crate) rows: Vec<(String, ScopeColumn)>,
    /// What is null where an outer join has no row of a table, by the table's name.
    pub(crate) present: Vec<(String, Expr)>,
    /// The primary keys of tables.
    pub(crate) keys: Vec<PrimaryKey>,
}

/// Columns that tell a table's rows apart, and those that they decide: all of the table.
#[derive(Debug, Clone)]
pub(crate) struct PrimaryKey {
    /// The columns of the key.
    pub(crate) key: Vec<Expr>,
    /// All columns.
    pub(crate) columns: Vec<(Expr, PgType)>,
}

impl Scope {
    /// The column with this name, if there is one; ambiguity is an error.
    pub(crate) fn find(&self, table: Option<&str>, name: &str) -> Result<Option<&ScopeColumn>> {
        let mut found = self.columns.iter().filter(|column| {
            column.name == name
                && match table {
                    Some(table) => column.table.as_deref() == Some(table),
                    None => !column.hidden,
                }
        });
        let first = found.next();
        if found.next().is_some() {
            return Err(Error::new(SqlState::AmbiguousColumn, format!("column reference \"{name}\" is ambiguous")));
        }
        Ok(first)
    }

    /// The value that stands for the rows of a function in FROM.
    pub(crate) fn row(&self, table: &str) -> Option<&ScopeColumn> {
        self.rows.iter().find(|(name, _)| name == table).map(|(_, column)| column)
    }

    /// The column of a relation that an expression is.
    pub(crate) fn origin(&self, expr: &Expr) -> Option<Origin> {
        let Expr::Column(_) = expr else { return None };
        self.columns.iter().filter(|column| column.expr == *expr).find_map(|column| column.origin)
    }

    /// The columns are those of a relation, in its order.
    pub(crate) fn originates(&mut self, table: Option<u32>) {
        for (column, number) in self.columns.iter_mut().zip(1..) {
            column.origin = table.map(|table| Origin { table, column: number });
        }
    }

    /// The columns are those of a table with its primary key at these places.
    pub(crate) fn decides(&mut self, key: &[usize]) {
        let column = |place: &usize| self.columns.get(*place).map(|column| column.expr.clone());
        let Some(key) = key.iter().map(column).collect() else { return };
        let columns = self.columns.iter().map(|column| (column.expr.clone(), column.ty.clone())).collect();
        self.keys.push(PrimaryKey { key, columns });
    }

    /// The qualified name of the column that an expression of the plan stands for.
    pub(crate) fn describe(&self, expr: &Expr) -> Option<String> {
        let column = self.columns.iter().find(|column| column.expr == *expr)?;
        Some(match &column.table {
            Some(table) => format!("{table}.{}", column.name),
            None => column.name.clone(),
        })
    }

    /// An expression over the plan's columns, as a subquery names them.
    pub(crate) fn outward(&self, expr: &Expr) -> Result<Expr> {
        let outward = expr.clone().transform(|inner| match inner {
            Expr::Column(column) => {
                let known = self.columns.iter().find(|known| known.expr == Expr::Column(column.clone()));
                let mut present = self.present.iter().map(|(_, expr)| expr);
                let ty = match known {
                    Some(known) => known.ty.clone(),
                    None if present.any(|expr| *expr == Expr::Column(column.clone())) => PgType::Bool,
                    None => PgType::Text,
                };
                let field = ty.field(&column.name, true);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field.into(), column)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        Ok(outward.data)
    }

    /// Whether a column of the plan is one of these.
    pub(crate) fn reads(&self, column: &Column) -> bool {
        let mut exprs = self.columns.iter().map(|known| &known.expr).chain(self.present.iter().map(|(_, expr)| expr));
        exprs.any(|known| known.column_refs().contains(column))
    }

    /// Whether an expression reads columns of the plan, and none but these.
    pub(crate) fn reads_all(&self, expr: &Expr) -> bool {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.into_iter().all(|column| self.reads(column))
    }

    /// Adds the columns of another scope; a table name used twice is an error.
    pub(crate) fn extend(&mut self, other: Scope) -> Result<()> {
        for table in &other.tables {
            if self.tables.contains(table) {
                return Err(Error::new(
                    SqlState::DuplicateAlias,
                    format!("table name \"{table}\" specified more than once"),
                ));
            }
        }
        self.tables.extend(other.tables);
        self.renamed.extend(other.renamed);
        self.table_oids.extend(other.table_oids);
        self.rows.extend(other.rows);
        self.present.extend(other.present);
        self.keys.extend(other.keys);
        self.columns.extend(other.columns);
        Ok(())
    }

    /// The system column `tableoid` of a table; without a name, of the only table.
    pub(crate) fn table_oid(&self, table: Option<&str>) -> Option<u32> {
        match (table, self.table_oids.as_slice()) {
            (Some(table), known) => known.iter().find(|(name, _)| name == table).map(|(_, oid)| *oid),
            (None, [(_, only)]) => Some(*only),
            (None, _) => None,
        }
    }

    /// The error for a column of a relation that has another name here.
    pub(crate) fn hidden_table(&self, table: &str) -> Option<Error> {
        let (_, alias) = self.renamed.iter().find(|(own, _)| own == table)?;
        let message = format!("invalid reference to FROM-clause entry for table \"{table}\"");
        let hint = format!("Perhaps you meant to reference the table alias \"{alias}\".");
        Some(Error::new(SqlState::UndefinedTable, message).hint(hint))
    }

    /// The error for a name that nothing has.
    pub(crate) fn no_column(&self, table: Option<&str>, name: &str) -> Error {
        if let Some(table) = table {
            if !self.tables.iter().any(|known| known == table) {
                return Error::new(
                    SqlState::UndefinedTable,
                    format!("missing FROM-clause entry for table \"{table}\""),
                );
            }
            let error = Error::new(SqlState::UndefinedColumn, format!("column {table}.{name} does not exist"));
            return self.suggest(error, Some(table), name);
        }
        let error = Error::new(SqlState::UndefinedColumn, format!("column \"{name}\" does not exist"));
        self.suggest(error, None, name)
    }

    fn suggest(&self, error: Error, table: Option<&str>, name: &str) -> Error {
        let limit = (name.chars().count() / 2).min(3);
        let near: Vec<(usize, &ScopeColumn)> = self
            .columns
            .iter()
            .filter(|column| table.is_none() || column.table.as_deref() == table)
            .map(|column| (strsim::levenshtein(&column.name, name), column))
            .filter(|(distance, _)| *distance <= limit)
            .collect();
        let nearest = near.iter().map(|(distance, _)| *distance).min();
        let full = |(_, column): &(usize, &ScopeColumn)| match &column.table {
            Some(table) => format!("\"{table}.{}\"", column.name),
            None => format!("\"{}\"", column.name),
        };
        let best: Vec<String> = near.iter().filter(|(distance, _)| Some(*distance) == nearest).map(full).collect();
        match best.as_slice() {
            [only] => error.hint(format!("Perhaps you meant to reference the column {only}.")),
            [one, other] => {
                error.hint(format!("Perhaps you meant to reference the column {one} or the column {other}."))
            }
            // None, or too many to help.
            _ => error,
        }
    }
}
