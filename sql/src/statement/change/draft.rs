//! A table that ALTER TABLE is changing: what it is to be, and the rows of the new version in the old
//! one's place.
//!
//! Promises: all actions of a statement are done, rows and catalog in one cut, or none is. All rows go
//! through memory once and through the cut log, so that a table may have what one commit may carry.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use thalweg_dataflow::error::{Error, Result, SqlState, Subject};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::source::Column;
use thalweg_dataflow::table::{OnConflict, TableChange, TableDefinition};
use thalweg_dataflow::types::PgType;

use super::evaluate::Evaluation;
use super::{MAX_TRIES, Target, check, concurrent_update};
use crate::catalog::{Catalog, Constraint, Earlier, Object, ObjectData, Rule, Table};
use crate::database::Published;
use crate::parser::parse_expression;
use crate::planner::Planner;
use crate::planner::change::RowScope;
use crate::session::{Session, View};
use crate::statement::index;
use crate::statement::query::planning;
use crate::statement::resolve::Names;

/// See the module.
pub(crate) struct Draft {
    /// As the engine has it.
    pub(crate) old: Object,
    /// As it is to be, so far.
    pub(crate) object: Object,
    /// The catalog as it is to be, but for the table.
    pub(crate) next: Published,
    /// What else the engine forgets.
    pub(super) gone: Vec<RelationId>,
    /// What the engine was given already.
    pub(super) made: Vec<RelationId>,
    /// The catalog alone changes, and a unique key with it.
    pub(crate) keys: bool,
    /// What becomes of the rows, each with the table as it is then.
    steps: Vec<(Object, Rewrite)>,
    /// It has a version of its own.
    renewed: bool,
}

/// What becomes of a row.
pub(super) enum Rewrite {
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

impl Draft {
    /// Of a table as it is. The catalog's turn is held until it is done.
    pub(crate) fn new(session: &Session, old: &Object) -> Draft {
        Draft {
            old: old.clone(),
            object: old.clone(),
            next: (*session.database.published()).clone(),
            gone: Vec::new(),
            made: Vec::new(),
            keys: false,
            steps: Vec::new(),
            renewed: false,
        }
    }

    /// What the catalog says of the table, as it is to be.
    pub(crate) fn table(&self) -> Result<&Table> {
        self.object.table().ok_or_else(|| Error::internal("a table without a definition"))
    }

    /// The same, to be changed.
    pub(crate) fn table_mut(&mut self) -> Result<&mut Table> {
        match &mut self.object.data {
            ObjectData::Table(table) => Ok(table),
            _ => Err(Error::internal("a table that is none")),
        }
    }

    /// Where a column stood before the statement; `None`: it is new.
    pub(crate) fn place_before(&self, place: usize) -> Option<usize> {
        let number = self.object.numbers().get(place).copied();
        self.old.numbers().iter().position(|known| Some(*known) == number)
    }

    /// A version of its own, that rows are put into.
    pub(super) fn renew(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.renewed, true) {
            return Ok(());
        }
        let relation = self.next.catalog.allocate();
        let (numbers, next_number) = (self.old.numbers(), next_number(&self.old));
        let table = self.table_mut()?;
        (table.relation, table.numbers, table.next_number) = (Some(relation), numbers, next_number);
        Ok(())
    }

    /// The table is this from here on.
    pub(super) fn step(&mut self, object: Object, rewrite: Rewrite) {
        self.object = object.clone();
        self.steps.push((object, rewrite));
    }

    /// Does it.
    pub(crate) async fn finish(self, session: &Session) -> Result<()> {
        if self.object.columns.is_empty() {
            return Err(Error::unsupported("a table without columns"));
        }
        if self.steps.is_empty() {
            return index::install(&session.database, self.next, self.object, self.keys).await;
        }
        self.replace(session).await
    }

    /// Takes back what the engine was given.
    pub(crate) async fn abandon(session: &Session, made: Vec<RelationId>) -> Result<()> {
        if made.is_empty() { Ok(()) } else { session.database.0.engine.remove(made).await }
    }

    /// What is to be taken back if it is not done.
    pub(crate) fn made(&self) -> Vec<RelationId> {
        self.made.clone()
    }

    /// Puts the new table in the old one's place.
    async fn replace(mut self, session: &Session) -> Result<()> {
        self.next.catalog.keep_version(&self.old);
        let earlier = earlier(&self.next.catalog, &self.old);
        self.table_mut()?.earlier = earlier;
        let Draft { old, object: new, mut next, mut gone, steps, .. } = self;
        let (from, to) = (definition(&old)?, definition(&new)?);
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
            let rows =
                read.await.map_err(|error| Error::internal(format!("the rows could not be read: {error}")))??;
            let changed = all_rewritten(session, &view, &steps, &rows, &to).await?;
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
}

fn definition(object: &Object) -> Result<Arc<TableDefinition>> {
    object.table_definition().map(Arc::new).ok_or_else(|| Error::internal("a table without a definition"))
}

/// Rows that are there make a new unique key impossible.
fn no_index(error: &Error) -> Error {
    let name = error.message().split('"').nth(1).unwrap_or_default();
    let detail = error.detail_text().unwrap_or_default().replace(" already exists.", " is duplicated.");
    Error::new(SqlState::UniqueViolation, format!("could not create unique index \"{name}\""))
        .detail(detail)
        .about(error.subject().clone())
}

/// The rows of the new version, one step after the other.
async fn all_rewritten(
    session: &Session,
    view: &View,
    steps: &[(Object, Rewrite)],
    rows: &RecordBatch,
    to: &TableDefinition,
) -> Result<RecordBatch> {
    let mut rows = rows.clone();
    for (object, rewrite) in steps {
        let target = Target::of(object.clone(), definition(object)?);
        rows = rewritten(session, view, &target, &rows, rewrite).await?;
    }
    // What the catalog alone changed since is in the names of columns and whether they may be null.
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(to.schema.clone(), rows.columns().to_vec(), &options)?)
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
            let subject = Subject { column: Some(column.name.clone()), ..target.object.subject() };
            return Err(Error::new(SqlState::NotNullViolation, message).about(subject));
        }
    }
    for constraint in constraints {
        let Rule::Check(text) = &constraint.rule else { continue };
        let passed = check::passes(session, view, target, text, rows).await?;
        if passed.as_boolean().iter().any(|passed| passed == Some(false)) {
            let message =
                format!("check constraint \"{}\" of relation \"{table}\" is violated by some row", constraint.name);
            let subject = Subject { constraint: Some(constraint.name.clone()), ..target.object.subject() };
            return Err(Error::new(SqlState::CheckViolation, message).about(subject));
        }
    }
    Ok(())
}
