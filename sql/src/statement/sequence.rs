//! CREATE and ALTER SEQUENCE, and the sequences that serial and identity columns make.
//!
//! Promises: durable when it returns; a sequence that a column owns goes where its table goes. What
//! ALTER SEQUENCE changes is changed at once, as in PostgreSQL is RESTART outside of blocks.

use std::ops::RangeInclusive;

use datafusion::sql::sqlparser::ast;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::types::PgType;

use super::create_table::{chosen_name, install};
use super::is_skipped;
use crate::catalog::sequence::{columns, reference};
use crate::catalog::{Catalog, Identity, Object, ObjectData, Sequence};
use crate::parser::parse_expression;
use crate::parser::sequence::{AlterSequence, CreateSequence, SequenceOptions};
use crate::parser::table::{CreateTable, Generator, GeneratorKind};
use crate::sequence::Place;
use crate::session::{Outcome, Session};
use crate::walk::{NodeMut, any_expr, walk_mut};

/// CREATE SEQUENCE.
pub(crate) async fn create(session: &mut Session, create: &CreateSequence) -> Result<Outcome> {
    const TAG: &str = "CREATE SEQUENCE";
    let schema = session.schema_for(&create.name, create.temporary)?;
    let name = create.name.name.clone();
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    if is_skipped(session, &current.catalog, (&schema, &name), create.if_not_exists)? {
        return Ok(Outcome::Done(TAG.into()));
    }
    let mut definition = defined(&create.options, None)?;
    definition.owned_by = owner(session, &current.catalog, &create.options, (&schema, None))?.flatten();
    let mut next = (*current).clone();
    let oid = next.catalog.allocate();
    let object = Object { oid, schema, name, columns: columns(), data: ObjectData::Sequence(definition) };
    install(session, next, vec![object]).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// ALTER SEQUENCE.
pub(crate) async fn alter(session: &mut Session, alter: &AlterSequence) -> Result<Outcome> {
    const TAG: &str = "ALTER SEQUENCE";
    let database = session.database.clone();
    let _turn = database.0.ddl.lock().await;
    let current = database.published();
    let object = match session.relation(&current.catalog, &alter.name) {
        Err(error) if alter.if_exists && error.state() != SqlState::InsufficientPrivilege => {
            let text = format!("relation \"{}\" does not exist, skipping", alter.name.name);
            session.notice(Error::new(SqlState::SuccessfulCompletion, text));
            return Ok(Outcome::Done(TAG.into()));
        }
        found => found?,
    };
    let Some(old) = object.sequence() else {
        return Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a sequence", object.name)));
    };
    session.asker(&current.catalog).need_to_own(object)?;
    session.changed_lastingly(TAG);
    let mut definition = defined(&alter.options, Some(old))?;
    if let Some(owned_by) = owner(session, &current.catalog, &alter.options, (&object.schema, Some(object)))? {
        if current.catalog.is_identity(object.oid) {
            let table = current.catalog.owner_column(old).map(|(table, _)| table.name.clone()).unwrap_or_default();
            return Err(Error::new(SqlState::FeatureNotSupported, "cannot change ownership of identity sequence")
                .detail(format!("Sequence \"{}\" is linked to table \"{table}\".", object.name)));
        }
        definition.owned_by = owned_by;
    }
    let changed = Object { data: ObjectData::Sequence(definition), ..object.clone() };
    let place = restarted(session, object, &changed, alter.options.restart)?;
    let mut next = (*current).clone();
    next.catalog.put(changed.clone());
    database.publish(next).await?;
    set(session, changed, place).await?;
    Ok(Outcome::Done(TAG.into()))
}

/// Sets where a sequence stands, off the async threads.
pub(crate) async fn set(session: &Session, object: Object, place: Place) -> Result<()> {
    let sequences = session.database.0.sequences.clone();
    let set = tokio::task::spawn_blocking(move || sequences.set(&object, place));
    set.await.map_err(|error| Error::internal(format!("a sequence could not be set: {error}")))?
}

/// Where a sequence stands after ALTER SEQUENCE.
fn restarted(session: &Session, old: &Object, new: &Object, restart: Option<Option<i64>>) -> Result<Place> {
    let Some(Sequence { start, min, max, .. }) = new.sequence() else {
        return Err(Error::internal("a sequence that is none"));
    };
    let place = match restart {
        Some(value) => Place { last: value.unwrap_or(*start), called: false },
        None => session.database.0.sequences.place(old)?.0,
    };
    let refused = |message: String| Err(Error::new(SqlState::InvalidParameter, message));
    if place.last < *min {
        return refused(format!("RESTART value ({}) cannot be less than MINVALUE ({min})", place.last));
    }
    if place.last > *max {
        return refused(format!("RESTART value ({}) cannot be greater than MAXVALUE ({max})", place.last));
    }
    Ok(place)
}

/// The values of a type.
fn range(data_type: &PgType) -> Result<RangeInclusive<i64>> {
    match data_type {
        PgType::Int2 => Ok(i64::from(i16::MIN)..=i64::from(i16::MAX)),
        PgType::Int4 => Ok(i64::from(i32::MIN)..=i64::from(i32::MAX)),
        PgType::Int8 => Ok(i64::MIN..=i64::MAX),
        _ => Err(Error::new(SqlState::InvalidParameter, "sequence type must be smallint, integer, or bigint")),
    }
}

/// A sequence with these options; those that are not given are those of `old`, or the defaults.
fn defined(options: &SequenceOptions, old: Option<&Sequence>) -> Result<Sequence> {
    let refused = |message: String| Err(Error::new(SqlState::InvalidParameter, message));
    let data_type = options.data_type.clone().or(old.map(|old| old.data_type.clone())).unwrap_or(PgType::Int8);
    let range = range(&data_type)?;
    let old_range = old.map(|old| self::range(&old.data_type)).transpose()?;
    let increment = options.increment.or(old.map(|old| old.increment)).unwrap_or(1);
    if increment == 0 {
        return refused("INCREMENT must not be zero".into());
    }
    let ascending = increment > 0;
    // A limit that was the old type's becomes the new one's.
    let kept_max = old.filter(|old| old_range.as_ref().is_none_or(|range| old.max != *range.end()));
    let kept_min = old.filter(|old| old_range.as_ref().is_none_or(|range| old.min != *range.start()));
    let max = options.max.unwrap_or_else(|| kept_max.map(|old| old.max));
    let min = options.min.unwrap_or_else(|| kept_min.map(|old| old.min));
    let max = max.unwrap_or(if ascending { *range.end() } else { -1 });
    let min = min.unwrap_or(if ascending { 1 } else { *range.start() });
    let name = data_type.name();
    if !range.contains(&max) {
        return refused(format!("MAXVALUE ({max}) is out of range for sequence data type {name}"));
    }
    if !range.contains(&min) {
        return refused(format!("MINVALUE ({min}) is out of range for sequence data type {name}"));
    }
    if min >= max {
        return refused(format!("MINVALUE ({min}) must be less than MAXVALUE ({max})"));
    }
    let first = if ascending { min } else { max };
    let start = options.start.or(old.map(|old| old.start)).unwrap_or(first);
    if start < min {
        return refused(format!("START value ({start}) cannot be less than MINVALUE ({min})"));
    }
    if start > max {
        return refused(format!("START value ({start}) cannot be greater than MAXVALUE ({max})"));
    }
    let cache = options.cache.or(old.map(|old| old.cache)).unwrap_or(1);
    if cache <= 0 {
        return refused(format!("CACHE ({cache}) must be greater than zero"));
    }
    let cycle = options.cycle.or(old.map(|old| old.cycle)).unwrap_or(false);
    let owned_by = old.and_then(|old| old.owned_by);
    Ok(Sequence { data_type, start, increment, min, max, cache, cycle, owned_by })
}

/// What OWNED BY says; `None`: nothing.
#[expect(clippy::option_option, reason = "whether it was written, and whether it was NONE")]
fn owner(
    session: &Session,
    catalog: &Catalog,
    options: &SequenceOptions,
    (schema, sequence): (&str, Option<&Object>),
) -> Result<Option<Option<(u32, u32)>>> {
    let (name, column) = match &options.owned_by {
        None => return Ok(None),
        Some(None) => return Ok(Some(None)),
        Some(Some(owner)) => (&owner.0, &owner.1),
    };
    let table = session.relation(catalog, name)?;
    if table.table().is_none() {
        let message = format!("sequence cannot be owned by relation \"{}\"", table.name);
        return Err(Error::new(SqlState::WrongObjectType, message));
    }
    let refused = |message| Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message));
    let role = sequence.map_or_else(|| session.role_in(catalog), |sequence| catalog.owner(sequence.oid));
    if catalog.owner(table.oid) != role {
        return refused("sequence must have same owner as table it is linked to");
    }
    if table.schema != schema {
        return refused("sequence must be in same schema as table it is linked to");
    }
    let place = table.columns.iter().position(|known| known.name == *column).ok_or_else(|| {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", table.name);
        Error::new(SqlState::UndefinedColumn, message)
    })?;
    Ok(Some(table.numbers().get(place).map(|number| (table.oid, *number))))
}

/// The sequences of a table's serial and identity columns, behind those that have names already; the
/// table gets their DEFAULTs and identities.
pub(super) fn generated(
    generators: &[Generator],
    create: &CreateTable,
    table: &mut Object,
    catalog: &mut Catalog,
) -> Result<Vec<Object>> {
    let mut made: Vec<Object> = Vec::new();
    for generator in generators {
        let Some(place) = table.columns.iter().position(|column| column.name == generator.column) else {
            return Err(Error::internal("a sequence of no column"));
        };
        let number = table.numbers().get(place).copied().unwrap_or_default();
        let data_type = table.columns[place].data_type.clone();
        if range(&data_type).is_err() {
            let message = "identity column type must be smallint, integer, or bigint";
            return Err(Error::new(SqlState::InvalidParameter, message));
        }
        let options = SequenceOptions { data_type: Some(data_type), ..generator.options.clone() };
        let mut definition = defined(&options, None)?;
        definition.owned_by = Some((table.oid, number));
        let names = [generator.column.clone()];
        let taken = |name: &str| {
            table.name == name || catalog.is_taken(&table.schema, name) || made.iter().any(|one| one.name == name)
        };
        let name = chosen_name(&create.name.name, &names, "seq", &taken);
        let oid = catalog.allocate();
        table.columns[place].not_null = true;
        let ObjectData::Table(data) = &mut table.data else { return Err(Error::internal("a sequence of no table")) };
        match generator.kind {
            GeneratorKind::Serial => data.defaults[place] = Some(format!("nextval({})", reference(oid))),
            GeneratorKind::Identity { always } => {
                data.identities.push(Identity { column: number, always, sequence: oid });
            }
        }
        let data = ObjectData::Sequence(definition);
        made.push(Object { oid, schema: table.schema.clone(), name, columns: columns(), data });
    }
    Ok(made)
}

/// The functions whose first argument is a sequence.
const FUNCTIONS: [&str; 3] = ["nextval", "currval", "setval"];

/// Whether an expression or query calls one of the functions of sequences.
pub(super) fn calls_sequences(tree: &impl ast::Visit) -> bool {
    any_expr(tree, &mut |expr| called(expr).is_some_and(|name| name == "lastval" || FUNCTIONS.contains(&&*name)))
}

fn called(expr: &ast::Expr) -> Option<String> {
    let ast::Expr::Function(function) = expr else { return None };
    let ast::ObjectNamePart::Identifier(name) = function.name.0.last()? else { return None };
    Some(name.value.to_lowercase())
}

/// A DEFAULT with the sequences in it named by oid, so that they may be renamed.
pub(super) fn bound_default(session: &Session, catalog: &Catalog, text: &str) -> Result<String> {
    let mut expr = parse_expression(text)?;
    if !calls_sequences(&expr) {
        return Ok(text.to_string());
    }
    let mut failed = None;
    walk_mut(&mut expr, &mut |node| {
        let NodeMut::Expr(expr) = node else { return };
        if !called(expr).is_some_and(|name| FUNCTIONS.contains(&&*name)) {
            return;
        }
        let ast::Expr::Function(function) = expr else { return };
        let ast::FunctionArguments::List(list) = &mut function.args else { return };
        let Some(ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument))) = list.args.first_mut() else {
            return;
        };
        let Some(name) = named(argument) else { return };
        match oid_of(session, catalog, &name).and_then(|oid| parse_expression(&reference(oid))) {
            Ok(oid) => *argument = oid,
            Err(error) => failed = Some(error),
        }
    });
    failed.map_or_else(|| Ok(expr.to_string()), Err)
}

/// The text of a constant, also as regclass.
fn named(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Value(value) => value.value.clone().into_string(),
        ast::Expr::Cast { expr, .. } => named(expr),
        _ => None,
    }
}

fn oid_of(session: &Session, catalog: &Catalog, text: &str) -> Result<u32> {
    if let Ok(oid) = text.parse() {
        return Ok(oid);
    }
    let invalid = || Error::new(SqlState::InvalidName, "invalid name syntax");
    let mut parts = crate::planner::identifier_parts(text).ok_or_else(invalid)?;
    let name = crate::parser::Name { name: parts.pop().unwrap_or_default(), schema: parts.pop() };
    let object = session.relation(catalog, &name)?;
    match object.sequence() {
        Some(_) => Ok(object.oid),
        None => Err(Error::new(SqlState::WrongObjectType, format!("\"{}\" is not a sequence", object.name))),
    }
}
