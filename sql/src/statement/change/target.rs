//! The table that a statement changes, and the names its expressions see.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::ObjectName;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::table::TableDefinition;

use crate::catalog::{Object, ObjectData, Table};
use crate::parser::{Kind, Name, change, change::relations_read};
use crate::planner::change as planner;
use crate::session::{Session, View};
use crate::statement::resolve::{Names, folded, open_named_files, with_near_name};
use crate::system::SystemTables;

/// See the module.
#[derive(Debug)]
pub(crate) struct Target {
    /// The table in the catalog.
    pub(crate) object: Object,
    /// What the engine knows of it.
    pub(crate) definition: Arc<TableDefinition>,
    /// What its columns are qualified by.
    pub(super) visible: String,
    /// The DEFAULT of each column, that of identities too.
    defaults: Vec<Option<String>>,
}

impl Target {
    /// The table of this name. Errors: 42P01, and 42809 for what is no table.
    pub(crate) fn find(session: &Session, view: &View, target: &change::Target) -> Result<Target> {
        let object = Target::object(session, view, &target.name);
        let object = object.map_err(|error| match target.at {
            Some(place) if error.position().is_none() => error.at(place),
            _ => error,
        })?;
        let definition = object.table_definition().ok_or_else(|| Error::internal("a table without a definition"))?;
        let visible = target.alias.clone().unwrap_or_else(|| object.name.clone());
        let defaults = object.defaults();
        Ok(Target { object, definition: Arc::new(definition), visible, defaults })
    }

    /// The same for MERGE, which says in words of its own what is no table.
    pub(crate) fn merged(session: &Session, view: &View, target: &change::Target) -> Result<Target> {
        let catalog = &view.published.catalog;
        let (schema, path) = (target.name.schema.as_deref(), session.path_in(catalog));
        let what = match catalog.find(schema, &target.name.name, &path).map(|object| &object.data) {
            Some(ObjectData::NamedQuery(_)) => "views",
            Some(ObjectData::View(_)) => "materialized views",
            Some(ObjectData::Sequence(_)) => "sequences",
            Some(ObjectData::Source(_)) => "sources",
            Some(ObjectData::Files(_)) => "external tables",
            Some(ObjectData::Table(_) | ObjectData::StoredSource(_)) | None => {
                return Target::find(session, view, target);
            }
        };
        let message = format!("cannot execute MERGE on relation \"{}\"", target.name.name);
        let detail = format!("This operation is not supported for {what}.");
        Err(Error::new(SqlState::FeatureNotSupported, message).detail(detail))
    }

    /// A table as it is to be.
    pub(crate) fn of(object: Object, definition: Arc<TableDefinition>) -> Target {
        let (visible, defaults) = (object.name.clone(), object.defaults());
        Target { object, definition, visible, defaults }
    }

    fn object(session: &Session, view: &View, name: &Name) -> Result<Object> {
        let path = session.path_in(&view.published.catalog);
        let system =
            |schema: Option<&str>| schema.is_some_and(|schema| crate::catalog::SYSTEM_SCHEMAS.contains(&schema));
        let catalog = &view.published.catalog;
        let Some(object) = catalog.find(name.schema.as_deref(), &name.name, &path) else {
            if system(name.schema.as_deref()) {
                return Err(Error::new(SqlState::WrongObjectType, format!("cannot change system table \"{name}\"")));
            }
            let error = Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"));
            return Err(with_near_name(&view.published, error));
        };
        let what = match &object.data {
            ObjectData::Table(_) => return Ok(object.clone()),
            ObjectData::View(_) => "materialized view",
            ObjectData::Source(_) => "source",
            ObjectData::Files(_) => "external table",
            ObjectData::Sequence(_) => "sequence",
            ObjectData::StoredSource(_) => {
                let what = format!("changing table \"{}\", which stores what a connector reads,", object.name);
                return Err(Error::unsupported(what).hint("Read it with INSERT ... SELECT into another table."));
            }
            ObjectData::NamedQuery(_) => {
                return Err(Error::unsupported(format!("changing rows through view \"{}\"", object.name))
                    .hint("Change the tables that it reads."));
            }
        };
        Err(Error::new(SqlState::WrongObjectType, format!("cannot change {what} \"{}\"", object.name)))
    }

    /// What the catalog says of it beyond columns.
    pub(crate) fn table(&self) -> Result<&Table> {
        self.object.table().ok_or_else(|| Error::internal("a target that is no table"))
    }

    /// The places of its identity columns, and which of them are ALWAYS.
    fn identities(&self) -> Vec<(usize, bool)> {
        let identity = |place: usize| Some((place, self.object.identity(place)?.always));
        (0..self.object.columns.len()).filter_map(identity).collect()
    }

    /// The places of the columns that are computed from others, and what from.
    fn generated(&self) -> Vec<(usize, &str)> {
        (0..self.object.columns.len()).filter_map(|place| Some((place, self.object.generated(place)?))).collect()
    }

    /// The same for the planner.
    pub(crate) fn planned(&self) -> Result<planner::Target<'_>> {
        Ok(planner::Target {
            id: self.definition.id,
            name: &self.object.name,
            visible: &self.visible,
            columns: &self.object.columns,
            defaults: &self.defaults,
            identities: self.identities(),
            generated: self.generated(),
            keys: self.definition.keys.iter().map(|key| key.columns.clone()).collect(),
        })
    }
}

/// Calls `work` with the names that a statement may use besides its target.
pub(crate) async fn with_names<T>(
    session: &Session,
    view: &View,
    kind: &Kind,
    work: impl FnOnce(&Names<'_>) -> Result<T>,
) -> Result<T> {
    let path = session.path_in(&view.published.catalog);
    let read: Vec<ObjectName> = relations_read(kind);
    if read.is_empty() {
        return work(&Names::of_defaults(session, view));
    }
    let read = read.iter().filter_map(folded).collect();
    let published = open_named_files(&session.database, &view.published, read, &path).await?;
    let system = SystemTables::new(session, &view.snapshot, &published);
    let names = Names::of_statement(&published, path, &session.database.0.engine, &system, Some(&view.given));
    let done = work(&names).map_err(|error| with_near_name(&published, error))?;
    session.asker(&published.catalog).need_to_read(&names.oids())?;
    Ok(done)
}
