//! What the catalogs show of a table beyond its columns: constraints, their indexes, defaults.
//!
//! The index of a primary key or UNIQUE is shown as PostgreSQL's would be (`btree`); nothing of
//! that form exists. Expressions are shown as they were written.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::scalar::ScalarValue;
use thalweg_dataflow::error::Result;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::types::PgType::{Array, Bool, Int2, Int4, Oid, Text};

use super::information::Relation;
use super::names::Named;
use super::queries::CatalogTables;
use super::table::{Table, array, bool, int2, int4, maybe, text};
use crate::catalog::index::{self, Extras, Part};
use crate::catalog::sequence::with_references;
use crate::catalog::{Constraint, Object, Rule};
use crate::database::DATABASE;
use crate::statement::definition::{literal, quoted, rule};

fn number(oid: u32) -> i32 {
    i32::try_from(oid).unwrap_or(i32::MAX)
}

/// Every constraint with its table.
fn all(tables: &CatalogTables) -> impl Iterator<Item = (&Object, &Constraint)> {
    let objects = tables.published.catalog.objects();
    objects.flat_map(|object| {
        object.table().into_iter().flat_map(move |table| table.constraints.iter().map(move |one| (object, one)))
    })
}

/// An index as it is shown, a constraint's or one by itself.
struct ShownIndex<'a> {
    table: &'a Object,
    oid: u32,
    name: &'a str,
    unique: bool,
    primary: bool,
    /// Its keys, and what stands behind each.
    parts: Vec<(Part<'a>, &'a str)>,
    /// What it has besides.
    extras: Option<&'a Extras>,
}

impl ShownIndex<'_> {
    /// The statement that would make it.
    fn definition(&self) -> String {
        format!(
            "CREATE {}INDEX {} ON {}.{} USING {} {}",
            if self.unique { "UNIQUE " } else { "" },
            quoted(self.name),
            quoted(&self.table.schema),
            quoted(&self.table.name),
            index::method(self.extras),
            index::tail(&self.parts, self.extras, &self.table.columns)
        )
    }

    /// Its columns: keys, then INCLUDE's; each with its number in the table, 0 for an expression.
    fn columns(&self) -> Vec<(usize, &Column)> {
        let column = |place: usize| Some((place + 1, self.table.columns.get(place)?));
        let keys = self.parts.iter().map(|(part, _)| match part {
            Part::Column(place) => column(*place),
            Part::Expression(expression) => Some((0, &expression.column)),
        });
        let included = self.extras.into_iter().flat_map(|extras| &extras.included);
        keys.chain(included.map(|place| column(*place))).flatten().collect()
    }
}

/// Every index with its table.
fn all_indexes(tables: &CatalogTables) -> Vec<ShownIndex<'_>> {
    let mut shown = Vec::new();
    for (table, constraint) in all(tables) {
        if let Rule::Unique { primary, columns, index } = &constraint.rule {
            let parts = columns.iter().map(|place| (Part::Column(*place), "")).collect();
            let (oid, name, primary) = (*index, constraint.name.as_str(), *primary);
            shown.push(ShownIndex { table, oid, name, unique: true, primary, parts, extras: None });
        }
    }
    for object in tables.published.catalog.objects() {
        for index in object.indexes() {
            let (oid, name, unique, parts) = (index.oid, index.name.as_str(), index.unique, index.parts());
            let extras = Some(&index.extras);
            shown.push(ShownIndex { table: object, oid, name, unique, primary: false, parts, extras });
        }
    }
    shown
}

/// The indexes, as relations.
pub(super) fn indexes(tables: &CatalogTables) -> Vec<Relation> {
    let relation = |index: ShownIndex<'_>| Relation {
        oid: number(index.oid),
        namespace: tables.schema_oid(&index.table.schema),
        schema: index.table.schema.clone(),
        name: index.name.to_string(),
        columns: index.columns().into_iter().map(|(_, column)| column.clone()).collect(),
        kind: "i",
        method: index::method_oid(index::method(index.extras)).unwrap_or(index::BTREE),
        checks: 0,
        indexed: false,
        table: Some(number(index.table.oid)),
    };
    all_indexes(tables).into_iter().map(relation).collect()
}

/// `pg_index`.
pub(super) fn pg_index(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("indexrelid", Oid),
        ("indrelid", Oid),
        ("indnatts", Int2),
        ("indnkeyatts", Int2),
        ("indisunique", Bool),
        ("indnullsnotdistinct", Bool),
        ("indisprimary", Bool),
        ("indisexclusion", Bool),
        ("indimmediate", Bool),
        ("indisclustered", Bool),
        ("indisvalid", Bool),
        ("indcheckxmin", Bool),
        ("indisready", Bool),
        ("indislive", Bool),
        ("indisreplident", Bool),
        ("indkey", Text),
        ("indcollation", Text),
        ("indclass", Text),
        ("indoption", Text),
        ("indexprs", Text),
        ("indpred", Text),
    ]);
    for index in all_indexes(tables) {
        let columns = index.columns();
        let width = |count: usize| int2(i16::try_from(count).unwrap_or(i16::MAX));
        let places: Vec<String> = columns.iter().map(|(place, _)| place.to_string()).collect();
        let keys = columns.iter().take(index.parts.len());
        let collation = |column: &Column| if column.data_type.category() == 'S' { "100" } else { "0" };
        let collations: Vec<&str> = keys.map(|(_, column)| collation(column)).collect();
        let options: Vec<String> = index.parts.iter().map(|(_, order)| option(order).to_string()).collect();
        let expressions = index.extras.into_iter().flat_map(|extras| &extras.expressions);
        let expressions: Vec<&str> = expressions.map(|one| one.text.as_str()).collect();
        table.row([
            int4(number(index.oid)),
            int4(number(index.table.oid)),
            width(columns.len()),
            width(index.parts.len()),
            bool(index.unique),
            bool(false),
            bool(index.primary),
            bool(false),
            bool(true),
            bool(false),
            bool(true),
            bool(false),
            bool(true),
            bool(true),
            bool(false),
            text(places.join(" ")),
            text(collations.join(" ")),
            text(vec!["0"; index.parts.len()].join(" ")),
            text(options.join(" ")),
            maybe((!expressions.is_empty()).then(|| expressions.join(", "))),
            maybe(index.extras.and_then(|extras| extras.predicate.as_ref())),
        ]);
    }
    table.finish()
}

/// `indoption`: 1 for DESC, 2 for NULLS FIRST.
fn option(order: &str) -> i32 {
    let descending = order.contains("DESC");
    let first = order.contains("NULLS FIRST") || (descending && !order.contains("NULLS LAST"));
    i32::from(descending) + 2 * i32::from(first)
}

/// `pg_get_indexdef(oid, column, ...)`, by oid and number of the column.
pub(super) fn index_columns(tables: &CatalogTables) -> BTreeMap<(i32, i32), String> {
    let mut found = BTreeMap::new();
    for index in all_indexes(tables) {
        let included = index.extras.into_iter().flat_map(|extras| &extras.included);
        let parts = index.parts.iter().map(|(part, _)| *part).chain(included.map(|place| Part::Column(*place)));
        for (place, part) in (1..).zip(parts) {
            found.insert((number(index.oid), place), part.text(&index.table.columns));
        }
    }
    found
}

/// `pg_indexes`.
pub(super) fn pg_indexes(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("schemaname", Text),
        ("tablename", Text),
        ("indexname", Text),
        ("tablespace", Text),
        ("indexdef", Text),
    ]);
    for index in all_indexes(tables) {
        table.row([
            text(&index.table.schema),
            text(&index.table.name),
            text(index.name),
            maybe(None::<String>),
            text(index.definition()),
        ]);
    }
    table.finish()
}

/// `pg_constraint`.
pub(super) fn pg_constraint(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Oid),
        ("conname", Text),
        ("connamespace", Oid),
        ("contype", Text),
        ("condeferrable", Bool),
        ("condeferred", Bool),
        ("convalidated", Bool),
        ("conrelid", Oid),
        ("contypid", Oid),
        ("conindid", Oid),
        ("conparentid", Oid),
        ("confrelid", Oid),
        ("confupdtype", Text),
        ("confdeltype", Text),
        ("confmatchtype", Text),
        ("conislocal", Bool),
        ("coninhcount", Int4),
        ("connoinherit", Bool),
        ("conkey", Array(&Int2)),
        ("confkey", Array(&Int2)),
        ("conpfeqop", Array(&Oid)),
        ("conppeqop", Array(&Oid)),
        ("conffeqop", Array(&Oid)),
        ("conexclop", Array(&Oid)),
        ("conbin", Text),
    ]);
    for (object, constraint) in all(tables) {
        let (kind, index, expression) = match &constraint.rule {
            Rule::Unique { primary, index, .. } => (if *primary { "p" } else { "u" }, number(*index), None),
            Rule::Check(expression) => ("c", 0, Some(expression.clone())),
        };
        let none = || ScalarValue::Binary(None);
        let key = constrained(object, &constraint.rule);
        let zero = || int4(0);
        table.row([
            int4(number(constraint.oid)),
            text(&constraint.name),
            int4(tables.schema_oid(&object.schema)),
            text(kind),
            bool(false),
            bool(false),
            bool(true),
            int4(number(object.oid)),
            zero(),
            int4(index),
            zero(),
            zero(),
            text(" "),
            text(" "),
            text(" "),
            bool(true),
            zero(),
            bool(kind != "c"),
            key,
            none(),
            none(),
            none(),
            none(),
            none(),
            maybe(expression),
        ]);
    }
    table.finish()
}

/// The numbers of the columns that a constraint is about.
fn constrained(object: &Object, rule: &Rule) -> ScalarValue {
    let numbers = match rule {
        Rule::Unique { columns, .. } => columns.clone(),
        // Every column whose name the expression has as a word: more than PostgreSQL would list at worst.
        Rule::Check(expression) => {
            let words: Vec<&str> = expression.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
            let named = |place: &usize| words.contains(&object.columns[*place].name.as_str());
            (0..object.columns.len()).filter(named).collect()
        }
    };
    let number = |place: usize| ScalarValue::Int16(i16::try_from(place + 1).ok());
    array(&Int2, numbers.into_iter().map(number).collect())
}

/// The oid of a column's DEFAULT.
pub(super) fn default_oid(relation: i32, place: i32) -> i32 {
    relation.wrapping_mul(2000).wrapping_add(place)
}

/// `pg_attrdef`. The oids of defaults are made up from those of their columns.
pub(super) fn pg_attrdef(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("oid", Oid), ("adrelid", Oid), ("adnum", Int2), ("adbin", Text)]);
    for ((relation, place), shown) in defaults(tables) {
        table.row([int4(default_oid(relation, place)), int4(relation), int2(place as i16), text(shown)]);
    }
    table.finish()
}

/// The DEFAULT of every column that has one, by the oid of its table and its number.
pub(super) fn defaults(tables: &CatalogTables) -> BTreeMap<(i32, i32), String> {
    let mut found = BTreeMap::new();
    for object in tables.published.catalog.objects() {
        let Some(table) = object.table() else { continue };
        for (place, (column, default)) in (1..).zip(object.columns.iter().zip(&table.defaults)) {
            if let Some(default) = default {
                let default = with_references(default, |oid| {
                    let name = Named::Relation.name(tables, number(oid));
                    Some(format!("{}::regclass", literal(&name)))
                });
                found.insert((number(object.oid), place), shown_default(&default, &column.data_type));
            }
        }
        for (place, number_of) in (0_i32..).zip(0..object.columns.len()) {
            if let Some(text) = object.generated(number_of) {
                found.insert((number(object.oid), place + 1), text.to_string());
            }
        }
    }
    found
}

/// A DEFAULT as PostgreSQL prints it: a string constant has its type behind it.
fn shown_default(written: &str, data_type: &PgType) -> String {
    let inner = written.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner) if !inner.replace("''", "").contains('\'') => {
            let name = data_type.base().name();
            format!("{written}::{name}")
        }
        _ => written.to_string(),
    }
}

/// `pg_get_constraintdef`, by oid.
pub(super) fn constraint_definitions(tables: &CatalogTables) -> BTreeMap<i32, String> {
    all(tables).map(|(object, one)| (number(one.oid), rule(&object.columns, &one.rule))).collect()
}

/// `pg_get_indexdef`, by oid.
pub(super) fn index_definitions(tables: &CatalogTables) -> BTreeMap<i32, String> {
    all_indexes(tables).iter().map(|index| (number(index.oid), index.definition())).collect()
}

/// The same as it is printed for people: the condition without its parentheses.
pub(super) fn pretty_indexes(tables: &CatalogTables) -> BTreeMap<i32, String> {
    let pretty = |index: &ShownIndex<'_>| {
        let predicate = index.extras.and_then(|extras| extras.predicate.as_ref())?;
        let whole = index.definition();
        let before = whole.strip_suffix(predicate.as_str())?;
        Some((number(index.oid), format!("{before}{}", index::bare(predicate))))
    };
    all_indexes(tables).iter().filter_map(pretty).collect()
}

/// `information_schema.table_constraints` and, with a row for each column of a key,
/// `key_column_usage`.
pub(super) fn information(tables: &CatalogTables, keys: bool) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("constraint_catalog", Text),
        ("constraint_schema", Text),
        ("constraint_name", Text),
        ("table_catalog", Text),
        ("table_schema", Text),
        ("table_name", Text),
        ("constraint_type", Text),
        ("is_deferrable", Text),
        ("initially_deferred", Text),
        ("enforced", Text),
        ("column_name", Text),
        ("ordinal_position", Int4),
    ]);
    for (object, constraint) in all(tables) {
        let (kind, columns) = match &constraint.rule {
            Rule::Unique { primary: true, columns, .. } => ("PRIMARY KEY", columns.as_slice()),
            Rule::Unique { columns, .. } => ("UNIQUE", columns.as_slice()),
            Rule::Check(_) => ("CHECK", &[][..]),
        };
        let columns: Vec<Option<&usize>> = if keys { columns.iter().map(Some).collect() } else { vec![None] };
        for (place, column) in (1..).zip(columns) {
            let name = column.and_then(|column| object.columns.get(*column)).map(|column| column.name.clone());
            table.row([
                text(DATABASE),
                text(&object.schema),
                text(&constraint.name),
                text(DATABASE),
                text(&object.schema),
                text(&object.name),
                text(kind),
                text("NO"),
                text("NO"),
                text("YES"),
                maybe(name),
                int4(place),
            ]);
        }
    }
    table.finish()
}
