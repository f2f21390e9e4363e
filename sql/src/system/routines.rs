//! What PostgreSQL's own functions take and give, as `\df` shows it.
//!
//! The list is PostgreSQL's (`datafusion-pg-catalog`), also of functions that Thalweg has not.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use arrow::record_batch::RecordBatch;
use datafusion_pg_catalog::pg_catalog::PgCatalogStaticTables;

use super::names::{each, type_name};

/// A function as text.
struct Routine {
    name: String,
    arguments: String,
    result: String,
}

fn all() -> &'static BTreeMap<i32, Routine> {
    static ALL: OnceLock<BTreeMap<i32, Routine>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = BTreeMap::new();
        let Ok(tables) = PgCatalogStaticTables::try_new() else { return all };
        each(&tables.pg_proc, |batch, row| all.extend(routine(batch, row)));
        all
    })
}

fn routine(batch: &RecordBatch, row: usize) -> Option<(i32, Routine)> {
    let number = |name: &str| Some(batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?.value(row));
    let text = |name: &str| {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    let types = list(&text("proargtypes")?);
    let all_types = text("proallargtypes").map(|text| list(&text));
    let modes = text("proargmodes").map(|text| list(&text)).unwrap_or_default();
    let names = text("proargnames").map(|text| list(&text)).unwrap_or_default();
    let mut shown = Vec::new();
    for (place, ty) in all_types.as_ref().unwrap_or(&types).iter().enumerate() {
        let mode = match modes.get(place).map(String::as_str) {
            Some("o") => "OUT ",
            Some("b") => "INOUT ",
            Some("v") => "VARIADIC ",
            // The columns of a table are part of the result.
            Some("t") => continue,
            _ => "",
        };
        let name = names.get(place).filter(|name| !name.is_empty()).map(|name| format!("{name} ")).unwrap_or_default();
        shown.push(format!("{mode}{name}{}", type_name(ty.parse().ok()?, None)));
    }
    let set = batch.column_by_name("proretset").and_then(|column| Some(column.as_boolean_opt()?.value(row)));
    let result = format!("{}{}", if set == Some(true) { "SETOF " } else { "" }, type_name(number("prorettype")?, None));
    Some((number("oid")?, Routine { name: text("proname")?, arguments: shown.join(", "), result }))
}

/// The elements of a list as that crate writes it: `1 2`, `[1, 2]`, `['a', 'b']`.
pub(super) fn list(text: &str) -> Vec<String> {
    let inner = text.trim().trim_start_matches(['[', '{']).trim_end_matches([']', '}']);
    let separated = inner.split(|c: char| c == ',' || c.is_whitespace());
    separated.map(|item| item.trim_matches('\'').to_string()).filter(|item| !item.is_empty()).collect()
}

/// The arguments, by oid.
pub(super) fn arguments() -> BTreeMap<i32, String> {
    all().iter().map(|(oid, routine)| (*oid, routine.arguments.clone())).collect()
}

/// The results, by oid.
pub(super) fn results() -> BTreeMap<i32, String> {
    all().iter().map(|(oid, routine)| (*oid, routine.result.clone())).collect()
}

/// The number of a function of this name: of several the first.
pub(super) fn number(name: &str) -> Option<i32> {
    all().iter().find(|(_, routine)| routine.name == name).map(|(oid, _)| *oid)
}

/// The name of a function.
pub(super) fn name(number: i32) -> Option<String> {
    all().get(&number).map(|routine| routine.name.clone())
}
