//! The statement that would make an object again.
//!
//! Promises: what it prints parses, and makes the same object (secrets apart, which are `***`).

use std::collections::BTreeMap;
use std::fmt::Write;

use thalweg_dataflow::source::{Column, Connectors, Meta, SourceDefinition};

use super::qualified::qualified;
use crate::catalog::index;
use crate::catalog::sequence::with_references;
use crate::catalog::{Catalog, Object, ObjectData, Rule, Table};

/// See the module.
pub(crate) fn create_statement(
    catalog: &Catalog,
    object: &Object,
    path: &[String],
    connectors: &dyn Connectors,
) -> String {
    let name = match catalog.is_visible(object, path) {
        true => quoted(&object.name),
        false => format!("{}.{}", quoted(&object.schema), quoted(&object.name)),
    };
    let query = query_text(catalog, object, path).unwrap_or_default();
    match &object.data {
        ObjectData::Source(definition) => source("SOURCE", &name, definition, connectors),
        ObjectData::StoredSource(stored) => source("TABLE", &name, &stored.definition, connectors),
        ObjectData::View(_) => {
            let names: Vec<String> = object.columns.iter().map(|column| quoted(&column.name)).collect();
            format!("CREATE MATERIALIZED VIEW {name} ({}) AS\n{query}", names.join(", "))
        }
        ObjectData::NamedQuery(_) => {
            let names: Vec<String> = object.columns.iter().map(|column| quoted(&column.name)).collect();
            let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
            format!("CREATE VIEW {name}{names} AS\n{query}")
        }
        ObjectData::Table(definition) => table(catalog, path, &name, (object, definition)),
        ObjectData::Sequence(sequence) => {
            let cycle = if sequence.cycle { " CYCLE" } else { "" };
            format!(
                "CREATE SEQUENCE {name} AS {} INCREMENT BY {} MINVALUE {} MAXVALUE {} START WITH {} CACHE {}{cycle}",
                sequence.data_type.name(),
                sequence.increment,
                sequence.min,
                sequence.max,
                sequence.start,
                sequence.cache
            )
        }
        ObjectData::Files(definition) => {
            let mut text =
                format!("CREATE EXTERNAL TABLE {name} (\n{}\n)", column_lines(&definition.columns).join(",\n"));
            // Writing into a String cannot fail.
            let _ = write!(text, "\nSTORED AS {}\nLOCATION {}", definition.stored_as, literal(&definition.location));
            let options = connectors.redact(&definition.options);
            if !options.is_empty() {
                let list: Vec<String> =
                    options.iter().map(|(name, value)| format!("{} {}", literal(name), literal(value))).collect();
                let _ = write!(text, "\nOPTIONS ({})", list.join(", "));
            }
            text
        }
    }
}

/// The query of a view, as a text that means the same now to who has this search path: tables that
/// were altered since stand before it as they were.
pub(crate) fn query_text(catalog: &Catalog, view: &Object, path: &[String]) -> Option<String> {
    let stored = view.stored().into_iter().next()?;
    let (mut renamed, mut altered) = (BTreeMap::new(), Vec::new());
    for (oid, seen) in &stored.meaning.tables {
        let Some(table) = catalog.get(*oid) else { continue };
        let numbers = table.numbers();
        let now = |number: &u32| numbers.iter().position(|known| known == number).map(|place| &table.columns[place]);
        let columns = seen.columns.iter().filter_map(|(number, name)| Some((&now(number)?.name, name)));
        let columns: Vec<(&String, &String)> = columns.collect();
        if seen.name == table.name
            && table.columns.iter().map(|column| &column.name).eq(columns.iter().map(|(_, name)| *name))
        {
            continue;
        }
        let list = |names: Vec<&String>| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let (own, known): (Vec<&String>, Vec<&String>) = columns.into_iter().unzip();
        let is_taken = |name: &String| renamed.values().any(|known| known == name);
        let numbered = (1..).map(|number| format!("{}_{number}", seen.name));
        let alias = std::iter::once(seen.name.clone()).chain(numbered).find(|name| !is_taken(name))?;
        let table = format!("{}.{}", quoted(&table.schema), quoted(&table.name));
        altered.push(format!("{} ({}) AS (SELECT {} FROM {table})", quoted(&alias), list(known), list(own)));
        renamed.insert(*oid, alias);
    }
    let text = qualified(catalog, stored, path, &renamed);
    Some(match altered.is_empty() {
        true => text,
        false => format!("WITH {}\n({text})", altered.join(", ")),
    })
}

fn source(what: &str, name: &str, definition: &SourceDefinition, connectors: &dyn Connectors) -> String {
    let mut text = format!("CREATE {what} {name}");
    let lines = column_lines(&definition.columns);
    if !lines.is_empty() {
        let _ = write!(text, " (\n{}\n)", lines.join(",\n"));
    }
    for (meta, column) in &definition.includes {
        let word = match meta {
            Meta::Key => "key",
            Meta::Partition => "partition",
            Meta::Offset => "offset",
            Meta::Timestamp => "timestamp",
        };
        let _ = write!(text, "\nINCLUDE {word} AS {}", quoted(column));
    }
    let _ = write!(text, "\nWITH ({})", options(&connectors.redact(&definition.options)));
    if let Some(format) = &definition.format {
        let _ = write!(text, "\nFORMAT {} ENCODE {}", format.format, format.encode);
        if !format.options.is_empty() {
            let _ = write!(text, " ({})", options(&format.options));
        }
    }
    text
}

fn table(catalog: &Catalog, path: &[String], name: &str, (object, table): (&Object, &Table)) -> String {
    let columns = &object.columns;
    let mut lines = column_lines(columns);
    for (place, (line, default)) in lines.iter_mut().zip(&table.defaults).enumerate() {
        if let Some(default) = default {
            let named = |oid| {
                let sequence = catalog.get(oid)?;
                let (schema, own) = (quoted(&sequence.schema), quoted(&sequence.name));
                let name = if catalog.is_visible(sequence, path) { own } else { format!("{schema}.{own}") };
                Some(format!("{}::regclass", literal(&name)))
            };
            let _ = write!(line, " DEFAULT {}", with_references(default, named));
        }
        if let Some(text) = object.generated(place) {
            let _ = write!(line, " GENERATED ALWAYS AS ({text}) STORED");
        }
        if let Some(identity) = object.identity(place) {
            let when = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
            let _ = write!(line, " GENERATED {when} AS IDENTITY");
        }
    }
    for constraint in &table.constraints {
        lines.push(format!("  CONSTRAINT {} {}", quoted(&constraint.name), rule(columns, &constraint.rule)));
    }
    let mut text = format!("CREATE TABLE {name} (\n{}\n)", lines.join(",\n"));
    write_indexes(&mut text, object, name);
    text
}

/// The statements that make a relation's indexes, behind its own.
fn write_indexes(text: &mut String, object: &Object, name: &str) {
    for one in object.indexes() {
        let unique = if one.unique { "UNIQUE " } else { "" };
        let method = one.extras.method.as_ref().map(|method| format!("USING {method} ")).unwrap_or_default();
        let tail = index::tail(&one.parts(), Some(&one.extras), &object.columns);
        let _ = write!(text, ";\nCREATE {unique}INDEX {} ON {name} {method}{tail}", quoted(&one.name));
    }
}

/// What a constraint says, as `pg_get_constraintdef` prints it.
pub(crate) fn rule(columns: &[Column], rule: &Rule) -> String {
    match rule {
        Rule::Unique { primary, columns: places, .. } => {
            let names: Vec<String> =
                places.iter().filter_map(|place| columns.get(*place)).map(|column| quoted(&column.name)).collect();
            format!("{} ({})", if *primary { "PRIMARY KEY" } else { "UNIQUE" }, names.join(", "))
        }
        Rule::Check(text) => format!("CHECK ({text})"),
    }
}

fn options(options: &BTreeMap<String, String>) -> String {
    let list: Vec<String> = options.iter().map(|(name, value)| format!("{name} = {}", literal(value))).collect();
    list.join(", ")
}

fn column_lines(columns: &[Column]) -> Vec<String> {
    let line = |column: &Column| {
        let not_null = if column.not_null { " NOT NULL" } else { "" };
        format!("  {} {}{not_null}", quoted(&column.name), column.data_type.name())
    };
    columns.iter().map(line).collect()
}

/// A string constant.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name, quoted if it needs to be: PostgreSQL's `quote_ident`.
pub(crate) fn quoted(name: &str) -> String {
    let mut characters = name.chars();
    let plain = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && characters.all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_')
        && !crate::parser::is_reserved(name);
    if plain { name.to_string() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
