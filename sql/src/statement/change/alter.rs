//! ALTER TABLE ... ADD COLUMN and DROP COLUMN: the table's rows of the new version, in the old one's
//! place.
//!
//! Promises: rows and catalog change in one cut, or nothing does. All rows go through memory once
//! and through the cut log, so that a table may have what one commit may carry.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::table::{OnConflict, TableChange};
use thalweg_dataflow::types::PgType;

use super::evaluate::Evaluation;
use super::{MAX_TRIES, Target, check, concurrent_update};
use crate::catalog::{Catalog, Constraint, Earlier, Index, Object, ObjectData, Rule};
use crate::database::Published;
use crate::parser::parse_expression;
use crate::parser::table::CreateTable;
use crate::planner::Planner;
use crate::planner::change::RowScope;
use crate::session::{Session, View};
use crate::statement::create_table::{
    bound_defaults, check_expressions, check_generated, columns_in, constraints, enter_generated,
};
use crate::statement::query::planning;
use crate::statement::resolve::Names;
use crate::statement::sequence::generated;

/// Adds columns; the catalog's turn is held.
pub(crate) async fn add_columns(session: &mut Session, old: &Object, one: &CreateTable) -> Result<()> {
    let current = session.database.published();
    let mut next = (*current).clone();
    let mut object = old.clone();
    object.columns.extend(one.columns.iter().cloned());
    let table = old.table().ok_or_else(|| Error::internal("a table without a definition"))?;
    let (known, indexes) = (table.constraints.clone(), table.indexes.clone());
    let count = known.len();
    let all = constraints(&one.constraints, known, &mut object, &mut next.catalog)?;
    let mut defaults = table.defaults.clone();
    defaults.extend(bound_defaults(session, &current.catalog, &one.defaults)?);
    check_expressions(session, &object, &defaults, &all)?;
    let new = all[count..].to_vec();
    let mut table = table.clone();
    (table.relation, table.indexes) = (Some(next.catalog.allocate()), indexes);
    (table.defaults, table.constraints) = (defaults, all);
    let next_number = next_number(old);
    table.numbers = old.numbers();
    table.numbers.extend((next_number..).take(one.columns.len()));
    table.next_number = table.numbers.last().map_or(next_number, |last| last + 1);
    next.catalog.keep_version(old);
    table.earlier = earlier(&next.catalog, old);
    enter_generated(&mut table, &object.columns, &one.generated);
    object.data = ObjectData::Table(table);
    check_generated(session, &object)?;
    let sequences = generated(&one.generators, one, &mut object, &mut next.catalog)?;
    let relations: Vec<RelationId> = sequences.iter().map(Object::relation).collect();
    for sequence in sequences {
        let kept = sequence.table_definition().ok_or_else(|| Error::internal("a sequence without a table"))?;
        session.create(&mut next.catalog, sequence)?;
        session.database.0.engine.add_table(kept).await?;
    }
    let replaced = replace(session, old, object, next, &Rewrite::Added(new), &[]).await;
    if replaced.is_err() && !relations.is_empty() {
        session.database.0.engine.remove(relations).await?;
    }
    replaced
}

/// The number of the next column.
fn next_number(old: &Object) -> u32 {
    let known = old.numbers().into_iter().max().map_or(0, |number| number + 1);
    old.table().map_or(known, |table| table.next_number.max(known))
}

/// The versions that dataflows go on reading, the one that ends too.
fn earlier(catalog: &Catalog, old: &Object) -> Vec<Earlier> {
    let read = catalog.versions_read(old.oid);
    let last = Earlier { relation: old.relation().0, columns: old.columns.clone(), numbers: old.numbers() };
    let before = old.table().into_iter().flat_map(|table| table.earlier.iter().cloned());
    before.chain([last]).filter(|version| read.contains(&version.relation)).collect()
}

/// Drops a column, the constraints that need it and these views; the catalog's turn is held.
pub(crate) async fn drop_column(session: &mut Session, old: &Object, place: usize, views: &[u32]) -> Result<()> {
    let current = session.database.published();
    let mut next = (*current).clone();
    let mut object = old.clone();
    if object.columns.len() == 1 {
        return Err(Error::unsupported("a table without columns"));
    }
    let name = object.columns.remove(place).name;
    let Some(table) = old.table() else { return Err(Error::internal("a table without a definition")) };
    let mut table = table.clone();
    table.defaults.remove(place);
    let mut kept = Vec::with_capacity(table.constraints.len());
    for mut constraint in table.constraints {
        let needs = match &mut constraint.rule {
            Rule::Check(text) => columns_in(text)?.contains(&name),
            Rule::Unique { columns, .. } => {
                let needs = columns.contains(&place);
                columns.iter_mut().filter(|known| **known > place).for_each(|known| *known -= 1);
                needs
            }
        };
        if !needs {
            kept.push(constraint);
        }
    }
    table.constraints = kept;
    let mut indexes = Vec::with_capacity(table.indexes.len());
    for mut index in table.indexes {
        if !names_column(&index, place, &name)? {
            index.without(place);
            indexes.push(index);
        }
    }
    table.indexes = indexes;
    table.relation = Some(next.catalog.allocate());
    (table.numbers, table.next_number) = (old.numbers(), next_number(old));
    let number = table.numbers.remove(place);
    table.identities.retain(|identity| identity.column != number);
    table.generated.retain(|generated| generated.column != number);
    let sequences: Vec<u32> = next.catalog.owned_by(old.oid, number).map(|sequence| sequence.oid).collect();
    let gone = views.iter().chain(&sequences).filter_map(|oid| next.catalog.remove(*oid));
    let gone: Vec<RelationId> = gone.flat_map(|view| view.relations()).collect();
    next.catalog.keep_version(old);
    table.earlier = earlier(&next.catalog, old);
    object.data = ObjectData::Table(table);
    replace(session, old, object, next, &Rewrite::Dropped(place), &gone).await
}

/// Whether an index needs a column.
fn names_column(index: &Index, place: usize, name: &String) -> Result<bool> {
    let mut named = index.places().contains(&place) || index.extras.included.contains(&place);
    for text in index.extras.texts() {
        named |= columns_in(text)?.contains(name);
    }
    Ok(named)
}

/// The table as it is to be, in a version of its own that the rows are put into.
fn in_new_version(next: &mut Published, old: &Object, object: &mut Object) -> Result<()> {
    let relation = next.catalog.allocate();
    next.catalog.keep_version(old);
    let earlier = earlier(&next.catalog, old);
    let ObjectData::Table(table) = &mut object.data else { return Err(Error::internal("a table that is none")) };
    (table.relation, table.earlier) = (Some(relation), earlier);
    (table.numbers, table.next_number) = (old.numbers(), next_number(old));
    Ok(())
}

/// Puts NOT NULL or constraints on a table, whose rows are held against them; the catalog's turn is held.
pub(crate) async fn hold_rows(
    session: &mut Session,
    old: &Object,
    mut object: Object,
    mut next: Published,
    new: Vec<Constraint>,
) -> Result<()> {
    in_new_version(&mut next, old, &mut object)?;
    replace(session, old, object, next, &Rewrite::Held(new), &[]).await
}

/// Gives a column another type, for the views that do not read it another column; the catalog's turn is
/// held.
pub(crate) async fn retype(
    session: &mut Session,
    old: &Object,
    mut object: Object,
    place: usize,
    using: Option<&str>,
) -> Result<()> {
    let mut next = (*session.database.published()).clone();
    in_new_version(&mut next, old, &mut object)?;
    let ObjectData::Table(table) = &mut object.data else { return Err(Error::internal("a table that is none")) };
    let number = table.next_number;
    table.next_number += 1;
    let before = std::mem::replace(&mut table.numbers[place], number);
    table.identities.iter_mut().filter(|one| one.column == before).for_each(|one| one.column = number);
    table.generated.iter_mut().filter(|one| one.column == before).for_each(|one| one.column = number);
    let constraints = table.constraints.clone();
    let owned: Vec<Object> = next.catalog.owned_by(old.oid, before).cloned().collect();
    for mut sequence in owned {
        if let ObjectData::Sequence(sequence) = &mut sequence.data {
            sequence.owned_by = Some((old.oid, number));
        }
        next.catalog.put(sequence);
    }
    let using = using.map(str::to_string);
    let rewrite = Rewrite::Typed { place, using, columns: old.columns.clone(), constraints };
    replace(session, old, object, next, &rewrite, &[]).await
}

/// What becomes of a row.
enum Rewrite {
    /// It stays, and satisfies these constraints and every NOT NULL.
    Held(Vec<Constraint>),
    /// A column gets another type.
    Typed {
        /// Which.
        place: usize,
        /// USING.
        using: Option<String>,
        /// The columns before.
        columns: Vec<Column>,
        /// What the rows must satisfy then.
        constraints: Vec<Constraint>,
    },
    /// A column comes behind the others, with these constraints.
    Added(Vec<Constraint>),
    /// The column at this place goes.
    Dropped(usize),
}

/// Puts the new table in the old one's place; `gone`: what else the engine forgets.
async fn replace(
    session: &mut Session,
    old: &Object,
    new: Object,
    mut next: Published,
    rewrite: &Rewrite,
    gone: &[RelationId],
) -> Result<()> {
    let definition = |object: &Object| {
        object.table_definition().map(Arc::new).ok_or_else(|| Error::internal("a table without a definition"))
    };
    let (from, to) = (definition(old)?, definition(&new)?);
    let target = Target::of(new.clone(), to.clone());
    let mut gone = gone.to_vec();
    let kept = new.relations();
    gone.extend(old.relations().into_iter().filter(|relation| *relation != from.id && !kept.contains(relation)));
    next.catalog.put(new);
    gone.extend(next.catalog.release_versions());
    let database = session.database.clone();
    for _ in 0..MAX_TRIES {
        // What is new in the catalog is in sight of the new column's DEFAULT.
        let view = View { published: Arc::new(next.clone()), ..session.peek_view() };
        let (reading, relation, schema) = (view.clone(), from.id, from.schema.clone());
        let read = tokio::task::spawn_blocking(move || {
            let rows = reading.rows(relation)?.collect::<Result<Vec<_>>>()?;
            Ok::<_, Error>(concat_batches(&schema, &rows)?)
        });
        let rows = read.await.map_err(|error| Error::internal(format!("the rows could not be read: {error}")))??;
        let changed = rewritten(session, &view, &target, &rows, rewrite).await?;
        let on_conflict = OnConflict::Fail;
        let out = TableChange { table: from.clone(), inserts: from.no_rows(), deletes: rows, on_conflict };
        let come = TableChange { table: to.clone(), deletes: to.no_rows(), inserts: changed, on_conflict };
        match database.0.engine.replace_table(out, come, next.catalog.encode()?).await {
            Ok(()) => {
                database.install(next);
                return if gone.is_empty() { Ok(()) } else { database.0.engine.remove(gone).await };
            }
            // Rows came or went meanwhile.
            Err(error) if error.state() == SqlState::SerializationFailure => {}
            Err(error) if error.state() == SqlState::UniqueViolation => return Err(no_index(&error)),
            Err(error) => return Err(error),
        }
    }
    Err(concurrent_update())
}

/// Rows that are there make a new unique key impossible.
fn no_index(error: &Error) -> Error {
    let name = error.message().split('"').nth(1).unwrap_or_default();
    let detail = error.detail_text().unwrap_or_default().replace(" already exists.", " is duplicated.");
    Error::new(SqlState::UniqueViolation, format!("could not create unique index \"{name}\"")).detail(detail)
}

/// The rows of the new version.
async fn rewritten(
    session: &Session,
    view: &View,
    target: &Target,
    rows: &RecordBatch,
    rewrite: &Rewrite,
) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    match rewrite {
        Rewrite::Dropped(place) => drop(columns.remove(*place)),
        Rewrite::Added(_) => {
            let sizes = (columns.len(), rows.num_rows());
            columns.extend(default_columns(session, view, target, sizes).await?);
        }
        Rewrite::Held(_) => {}
        Rewrite::Typed { place, using, columns: before, .. } => {
            columns[*place] = converted(session, view, target, (*place, using.as_deref(), before), rows).await?;
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let mut changed = RecordBatch::try_new_with_options(target.definition.schema.clone(), columns, &options)?;
    if let Rewrite::Added(_) = rewrite {
        changed = check::computed(session, view, target, changed).await?;
    }
    match rewrite {
        Rewrite::Added(constraints) | Rewrite::Held(constraints) | Rewrite::Typed { constraints, .. }
            if rows.num_rows() > 0 =>
        {
            hold(session, view, target, &changed, constraints).await?;
        }
        _ => {}
    }
    Ok(changed)
}

/// A column's values in its new type.
async fn converted(
    session: &Session,
    view: &View,
    target: &Target,
    (place, using, before): (usize, Option<&str>, &[Column]),
    rows: &RecordBatch,
) -> Result<ArrayRef> {
    let scope = RowScope::new(&[(&target.object.name, before)])?;
    let names = Names::of_defaults(session, view);
    let settings = planning(session, "", false);
    let using = using.map(parse_expression).transpose()?;
    let column = &target.object.columns[place];
    let expr = Planner.bind_conversion(using.as_ref(), (&scope, place), column, &names, &settings)?;
    let evaluation = Evaluation { session, view, parameters: &[], types: &[] };
    let values = evaluation.over(&[expr], std::slice::from_ref(&column.data_type), &scope.schema, rows).await?;
    values.into_iter().next().ok_or_else(|| Error::internal("a column without values"))
}

/// The values of the columns behind these, for so many rows.
async fn default_columns(
    session: &Session,
    view: &View,
    target: &Target,
    (before, rows): (usize, usize),
) -> Result<Vec<ArrayRef>> {
    let names = Names::of_defaults(session, view);
    let defaults = Planner.bind_defaults(&target.planned()?, &names, &planning(session, "", false))?;
    let new = defaults.get(before..).unwrap_or_default();
    let types: Vec<PgType> = target.object.columns.iter().skip(before).map(|column| column.data_type.clone()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
    let evaluation = Evaluation { session, view, parameters: &[], types: &[] };
    evaluation.over(new, &types, &RowScope::new(&[])?.schema, &nothing).await
}

/// Holds the rows that are there against what is new.
async fn hold(
    session: &Session,
    view: &View,
    target: &Target,
    rows: &RecordBatch,
    constraints: &[Constraint],
) -> Result<()> {
    let table = &target.object.name;
    for (place, column) in target.object.columns.iter().enumerate().filter(|(_, column)| column.not_null) {
        if rows.column(place).null_count() > 0 {
            let message = format!("column \"{}\" of relation \"{table}\" contains null values", column.name);
            return Err(Error::new(SqlState::NotNullViolation, message));
        }
    }
    for constraint in constraints {
        let Rule::Check(text) = &constraint.rule else { continue };
        let passed = check::passes(session, view, target, text, rows).await?;
        if passed.as_boolean().iter().any(|passed| passed == Some(false)) {
            let message =
                format!("check constraint \"{}\" of relation \"{table}\" is violated by some row", constraint.name);
            return Err(Error::new(SqlState::CheckViolation, message));
        }
    }
    Ok(())
}
