//! Names and numbers of relations, types and schemas: what `regclass` and its kin mean.
//!
//! Promises: a name is looked up as in PostgreSQL, unqualified ones in `pg_catalog` and then along
//! the search path; a number without a name is printed as the number. Numbers of PostgreSQL's own
//! tables and types are PostgreSQL's.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use datafusion_pg_catalog::pg_catalog::{ArrowTable, PgCatalogStaticTables};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::constraints;
use super::queries::CatalogTables;
use super::roles::number as shown_oid;
use crate::catalog::{Catalog, TEMPORARY, is_temporary};
use crate::statement::definition::quoted;

/// The tables of `pg_catalog` that others name by number.
const CLASSES: &[(&str, i32)] = &[
    ("pg_am", 2601),
    ("pg_amop", 2602),
    ("pg_amproc", 2603),
    ("pg_attrdef", 2604),
    ("pg_attribute", 1249),
    ("pg_authid", 1260),
    ("pg_cast", 2605),
    ("pg_class", 1259),
    ("pg_collation", 3456),
    ("pg_constraint", 2606),
    ("pg_conversion", 2607),
    ("pg_database", 1262),
    ("pg_default_acl", 826),
    ("pg_depend", 2608),
    ("pg_description", 2609),
    ("pg_enum", 3501),
    ("pg_event_trigger", 3466),
    ("pg_extension", 3079),
    ("pg_foreign_data_wrapper", 2328),
    ("pg_foreign_server", 1417),
    ("pg_foreign_table", 3118),
    ("pg_index", 2610),
    ("pg_inherits", 2611),
    ("pg_init_privs", 3394),
    ("pg_language", 2612),
    ("pg_largeobject", 2613),
    ("pg_largeobject_metadata", 2995),
    ("pg_namespace", 2615),
    ("pg_opclass", 2616),
    ("pg_operator", 2617),
    ("pg_opfamily", 2753),
    ("pg_policy", 3256),
    ("pg_proc", 1255),
    ("pg_publication", 6104),
    ("pg_rewrite", 2618),
    ("pg_sequence", 2224),
    ("pg_shdescription", 2396),
    ("pg_statistic_ext", 3381),
    ("pg_subscription", 6100),
    ("pg_tablespace", 1213),
    ("pg_transform", 3576),
    ("pg_trigger", 2620),
    ("pg_ts_config", 3602),
    ("pg_ts_dict", 3600),
    ("pg_ts_parser", 3601),
    ("pg_ts_template", 3764),
    ("pg_type", 1247),
];

/// The number of a table of `pg_catalog`, if others name it by number.
pub(crate) fn class_oid(name: &str) -> Option<i32> {
    CLASSES.iter().find(|(known, _)| *known == name).map(|(_, oid)| *oid)
}

/// The table of `pg_catalog` that something of ours is in.
pub(super) fn class_of(catalog: &Catalog, oid: u32) -> &'static str {
    if catalog.schema_name(oid).is_some() { "pg_namespace" } else { "pg_class" }
}

/// What a `reg...` type names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    /// regclass.
    Relation,
    /// regtype.
    Type,
    /// regnamespace.
    Schema,
    /// regrole.
    Role,
    /// regproc.
    Routine,
}

impl Named {
    /// The number behind a name. Errors 42P01, 42704 or 3F000 if there is none.
    pub(crate) fn number(self, tables: &CatalogTables, text: &str) -> Result<i32> {
        if let Ok(number) = text.trim().parse::<u32>() {
            return Ok(i32::try_from(number).unwrap_or(i32::MAX));
        }
        if text == "-" {
            return Ok(0);
        }
        let parts = parts(text)?;
        let missing = |state, what: &str| Error::new(state, format!("{what} \"{}\" does not exist", parts.join(".")));
        match self {
            Named::Relation => relation(tables, &parts).ok_or_else(|| missing(SqlState::UndefinedTable, "relation")),
            Named::Type => type_number(text).ok_or_else(|| missing(SqlState::UndefinedObject, "type")),
            Named::Schema => {
                let mut schemas = tables.published.catalog.schemas();
                let found = schemas.find(|(_, name)| parts == [*name]).map(|(oid, _)| shown_oid(oid));
                found.ok_or_else(|| missing(SqlState::InvalidSchemaName, "schema"))
            }
            Named::Routine => super::routines::number(parts.last().map_or("", String::as_str))
                .ok_or_else(|| missing(SqlState::UndefinedFunction, "function")),
            Named::Role => {
                let role = tables.published.catalog.roles.find(parts.last().map_or("", String::as_str));
                let role = role.filter(|_| parts.len() == 1).map(|role| super::roles::number(role.oid));
                role.ok_or_else(|| missing(SqlState::UndefinedObject, "role"))
            }
        }
    }

    /// How a number is printed.
    pub(crate) fn name(self, tables: &CatalogTables, number: i32) -> String {
        let name = match self {
            _ if number == 0 => Some("-".to_string()),
            Named::Relation => relation_name(tables, number),
            Named::Type => Some(type_name(number, None)).filter(|name| name != "???"),
            Named::Schema => {
                let mut schemas = tables.published.catalog.schemas();
                schemas.find(|(oid, _)| shown_oid(*oid) == number).map(|(_, name)| quoted(name))
            }
            Named::Routine => super::routines::name(number),
            Named::Role => {
                let role = u32::try_from(number).ok().and_then(|oid| tables.published.catalog.roles.get(oid));
                role.map(|role| quoted(&role.name))
            }
        };
        name.unwrap_or_else(|| number.to_string())
    }
}

/// The parts of a dotted name, folded; 42602 if it is none.
fn parts(text: &str) -> Result<Vec<String>> {
    crate::planner::identifier_parts(text).ok_or_else(|| Error::new(SqlState::InvalidName, "invalid name syntax"))
}

fn relation(tables: &CatalogTables, parts: &[String]) -> Option<i32> {
    let (schema, name) = match parts {
        [name] => (None, name),
        [schema, name] | [_, schema, name] => (Some(schema.as_str()), name),
        _ => return None,
    };
    let temporary = || tables.path.iter().find(|schema| is_temporary(schema)).map(String::as_str);
    let schema = if schema == Some(TEMPORARY) { temporary().or(schema) } else { schema };
    if schema.is_none_or(|schema| schema == "pg_catalog")
        && let Some(known) = class_oid(name)
    {
        return Some(known);
    }
    let all: Vec<_> = tables.relations().into_iter().chain(constraints::indexes(tables)).collect();
    let in_schema = |schema: &str| all.iter().find(|one| one.schema == schema && one.name == *name).map(|one| one.oid);
    match schema {
        Some(schema) => in_schema(schema),
        None => tables.path.iter().find_map(|schema| in_schema(schema)),
    }
}

fn relation_name(tables: &CatalogTables, number: i32) -> Option<String> {
    if let Some((name, _)) = CLASSES.iter().find(|(_, oid)| *oid == number) {
        return Some((*name).into());
    }
    let all = tables.relations().into_iter().chain(constraints::indexes(tables));
    let relation = all.into_iter().find(|one| one.oid == number)?;
    let visible = !tables.hidden().contains(&number);
    let name = quoted(&relation.name);
    Some(if visible { name } else { format!("{}.{name}", quoted(&relation.schema)) })
}

/// PostgreSQL's types by number: internal name, the element's number.
fn types() -> &'static BTreeMap<i32, (String, i32)> {
    static TYPES: OnceLock<BTreeMap<i32, (String, i32)>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut types = BTreeMap::new();
        let Ok(tables) = PgCatalogStaticTables::try_new() else { return types };
        each(&tables.pg_type, |batch, row| {
            let number = |name| Some(batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?.value(row));
            let name =
                batch.column_by_name("typname").and_then(|column| Some(column.as_string_opt::<i32>()?.value(row)));
            if let (Some(oid), Some(name), Some(element)) = (number("oid"), name, number("typelem")) {
                let is_array = name.starts_with('_');
                types.insert(oid, (name.to_string(), if is_array { element } else { 0 }));
            }
        });
        types
    })
}

/// What PostgreSQL says of its own objects, by the oid of their table and their own.
pub(super) fn descriptions() -> &'static BTreeMap<(i32, i32), String> {
    static ALL: OnceLock<BTreeMap<(i32, i32), String>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = BTreeMap::new();
        let Ok(tables) = PgCatalogStaticTables::try_new() else { return all };
        let kept =
            ["pg_proc", "pg_type", "pg_operator", "pg_am", "pg_cast", "pg_collation", "pg_conversion", "pg_language"];
        let kept: Vec<i32> = kept.into_iter().filter_map(class_oid).collect();
        each(&tables.pg_description, |batch, row| {
            let number = |name| Some(batch.column_by_name(name)?.as_primitive_opt::<Int32Type>()?.value(row));
            let column = batch.column_by_name("description");
            let text = column.and_then(|column| Some(column.as_string_opt::<i32>()?.value(row)));
            if let (Some(oid), Some(class), Some(text)) = (number("objoid"), number("classoid"), text)
                && kept.contains(&class)
            {
                all.insert((class, oid), text.to_string());
            }
        });
        all
    })
}

/// Calls `work` for each row of a table.
pub(super) fn each(table: &ArrowTable, mut work: impl FnMut(&arrow::record_batch::RecordBatch, usize)) {
    for batch in table.data() {
        (0..batch.num_rows()).for_each(|row| work(batch, row));
    }
}

/// What SQL calls the types that [`PgType`] does not know.
const SPELLED: &[(&str, &str)] = &[
    ("bit", "bit"),
    ("varbit", "bit varying"),
    ("char", "\"char\""),
    ("time", "time without time zone"),
    ("timetz", "time with time zone"),
];

/// `format_type`; no modifier is not the same as -1.
pub(super) fn type_name(number: i32, modifier: Option<i32>) -> String {
    if number == 0 {
        return "-".into();
    }
    let known = u32::try_from(number).ok().and_then(|oid| PgType::from_oid_and_typmod(oid, modifier.unwrap_or(-1)));
    if let Some(known) = known {
        // `character` alone is a character(1) where it is read again.
        return match modifier {
            None => known.name().replace("bpchar", "character"),
            Some(_) => known.name(),
        };
    }
    match types().get(&number) {
        None => "???".into(),
        Some((_, element)) if *element != 0 => format!("{}[]", type_name(*element, modifier)),
        Some((name, _)) => {
            let spelled = SPELLED.iter().find(|(own, _)| own == name).map_or(name.as_str(), |(_, spelled)| spelled);
            spelled.to_string()
        }
    }
}

/// The number of a type by any of its names.
pub(super) fn type_number(text: &str) -> Option<i32> {
    if let Some(known) = PgType::parse(text.trim().trim_start_matches("pg_catalog.")) {
        return i32::try_from(known.oid()).ok();
    }
    let written = text.trim().trim_start_matches("pg_catalog.").trim_matches('"').to_lowercase();
    let internal = SPELLED.iter().find(|(_, spelled)| *spelled == written).map_or(written.as_str(), |(own, _)| own);
    let (internal, array) = match internal.strip_suffix("[]") {
        Some(element) => (format!("_{element}"), true),
        None => (internal.to_string(), false),
    };
    let found = types().iter().find(|(_, (name, element))| *name == internal && (*element != 0) == array);
    found.map(|(oid, _)| *oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_called_as_postgresql_calls_them() {
        for (oid, modifier, name) in [
            (23, -1, "integer"),
            (1043, 24, "character varying(20)"),
            (1042, 14, "character(10)"),
            (1042, -1, "bpchar"),
            (1083, 3, "time(3) without time zone"),
            (1007, -1, "integer[]"),
            (1083, -1, "time without time zone"),
            (18, -1, "\"char\""),
            (114, -1, "json"),
            (199, -1, "json[]"),
            (0, -1, "-"),
            (999_999, -1, "???"),
        ] {
            assert_eq!(type_name(oid, Some(modifier)), name);
        }
        for (name, oid) in [("int4", 23), ("pg_catalog.int8", 20), ("json", 114), ("json[]", 199), ("\"char\"", 18)] {
            assert_eq!(type_number(name), Some(oid), "{name}");
        }
        assert_eq!(type_number("nosuch"), None);
    }
}
