//! What names mean to one statement.
//!
//! Promises: one name means one thing throughout a statement; a view that is being built is 55000
//! with its percentage; an unknown name gets the nearest one as a hint. Opens nothing: external
//! tables are opened before binding, see [`open_files`].

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query, visit_relations};
use parking_lot::Mutex;
use thalweg_dataflow::engine::{BuildState, Engine};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;

use crate::catalog::{Object, ObjectData, PUBLIC, SYSTEM_SCHEMAS, did_you_mean};
use crate::database::{Database, Published};
use crate::parser::{ObjectKind, parse_query};
use crate::planner::{NamedQuery, Relation, Resolver};
use crate::settings::SessionSettings;
use crate::system::SystemTables;

/// See the module.
pub(crate) struct Names<'a> {
    published: &'a Published,
    path: Vec<String>,
    /// Says how far views are built; `None`: whatever their state.
    engine: Option<Engine>,
    system: Option<&'a SystemTables>,
    seen: Mutex<BTreeSet<u32>>,
}

impl<'a> Names<'a> {
    /// The names of users' objects alone, whatever their state: to lower stored views.
    pub(crate) fn of_catalog(published: &'a Published, path: Vec<String>) -> Names<'a> {
        Names { published, path, engine: None, system: None, seen: Mutex::default() }
    }

    /// All names, as of now.
    pub(crate) fn of_statement(
        published: &'a Published,
        path: Vec<String>,
        engine: &Engine,
        system: &'a SystemTables,
    ) -> Names<'a> {
        Names { published, path, engine: Some(engine.clone()), system: Some(system), seen: Mutex::default() }
    }

    /// The oids of the objects that names meant so far.
    pub(crate) fn oids(&self) -> Vec<u32> {
        self.seen.lock().iter().copied().collect()
    }

    fn object(&self, object: &Object) -> Result<Option<Relation>> {
        self.seen.lock().insert(object.oid);
        let name = object.name.clone();
        Ok(match &object.data {
            ObjectData::Source(definition) => self.published.sources.get(&object.oid).map(|source| Relation::Source {
                id: object.relation(),
                name,
                schema: source.schema(),
                source: source.clone(),
                start: definition.start.clone(),
            }),
            ObjectData::View(_) | ObjectData::StoredSource(_) => {
                self.complete(object)?;
                Some(Relation::View { id: object.relation(), name, schema: schema_of(&object.columns) })
            }
            ObjectData::Table(_) => {
                object.table_definition().map(|table| Relation::View { id: table.id, name, schema: table.schema })
            }
            ObjectData::NamedQuery(_) => None,
            ObjectData::Files(_) => match self.published.files.get(&object.oid) {
                Some(scan) => Some(Relation::Files { name, scan: scan.clone() }),
                None => return Err(Error::internal(format!("external table \"{name}\" was not opened"))),
            },
        })
    }

    /// Refuses a view that is not complete.
    fn complete(&self, object: &Object) -> Result<()> {
        let Some(engine) = &self.engine else { return Ok(()) };
        match engine.build_state(object.relation()) {
            Some(BuildState::Building { done, .. }) => Err(being_built(object, done)),
            Some(BuildState::Failed(error)) => Err(error),
            Some(BuildState::Live) => Ok(()),
            // Entered a moment ago: the engine has published no epoch since.
            None => Err(being_built(object, 0.0)),
        }
    }
}

impl Resolver for Names<'_> {
    fn named_query(&self, schema: Option<&str>, name: &str) -> Result<Option<NamedQuery>> {
        if schema.is_some_and(|schema| schema != PUBLIC) {
            return Ok(None);
        }
        let Some(object) = self.published.catalog.find(schema, name, &self.path) else { return Ok(None) };
        let Some(stored) = object.named_query() else { return Ok(None) };
        self.seen.lock().insert(object.oid);
        let mut settings = SessionSettings::new("");
        stored.settings.iter().for_each(|(name, value)| settings.put(name, value));
        Ok(Some(NamedQuery {
            name: object.name.clone(),
            query: parse_query(&stored.text)?,
            columns: object.columns.clone(),
            path: settings.search_path(),
            zone: settings.zone().into(),
        }))
    }

    fn within(&self, path: &[String]) -> Option<Box<dyn Resolver + '_>> {
        Some(Box::new(Names {
            published: self.published,
            path: path.to_vec(),
            engine: self.engine.clone(),
            system: self.system,
            seen: Mutex::default(),
        }))
    }

    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Relation>> {
        let system = |schema: &str| self.system.and_then(|system| system.table(schema, name)).map(Relation::Virtual);
        match schema {
            Some(schema) if SYSTEM_SCHEMAS.contains(&schema) => Ok(system(schema)),
            Some(schema) if schema != PUBLIC => Ok(None),
            _ => match self.published.catalog.find(schema, name, &self.path) {
                Some(object) => self.object(object),
                None if schema.is_none() => {
                    let path = std::iter::once("pg_catalog").chain(self.path.iter().map(String::as_str));
                    Ok(path.filter(|schema| SYSTEM_SCHEMAS.contains(schema)).find_map(system))
                }
                None => Ok(None),
            },
        }
    }
}

/// `materialized view "v" is being built (31 %)`.
pub(crate) fn being_built(object: &Object, done: f64) -> Error {
    let (kind, name) = (object.kind(), &object.name);
    let percent = (done.clamp(0.0, 1.0) * 100.0).floor();
    Error::new(
        SqlState::ObjectNotInPrerequisiteState,
        format!("{} \"{name}\" is being built ({percent:.0} %)", kind.word()),
    )
    .hint(match kind {
        ObjectKind::Table => "Wait until CREATE TABLE returns.",
        _ => "Wait until CREATE MATERIALIZED VIEW returns; thalweg.materialized_views shows how far it is.",
    })
}

/// Adds the nearest name to an error of the binder about a relation.
pub(crate) fn with_near_name(published: &Published, error: Error) -> Error {
    if error.state() != SqlState::UndefinedTable || error.hint_text().is_some() {
        return error;
    }
    let message = error.message().to_string();
    match message.split('"').nth(1) {
        Some(name) => {
            let bare = name.rsplit('.').next().unwrap_or(name);
            did_you_mean(error, "relation", bare, published.catalog.objects().map(|object| object.name.as_str()))
        }
        None => error,
    }
}

/// The Arrow schema of declared columns.
pub(crate) fn schema_of(columns: &[Column]) -> SchemaRef {
    let fields: Fields = columns.iter().map(|column| column.data_type.field(&column.name, !column.not_null)).collect();
    Arc::new(Schema::new(fields))
}

/// A name in a query, folded: schema and object. `None` for names with more parts.
pub(crate) fn folded(name: &ObjectName) -> Option<(Option<String>, String)> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) if ident.quote_style.is_some() => Some(ident.value.clone()),
        ObjectNamePart::Identifier(ident) => Some(ident.value.to_lowercase()),
        ObjectNamePart::Function(_) => None,
    };
    match name.0.as_slice() {
        [object] => Some((None, part(object)?)),
        [schema, object] | [_, schema, object] => Some((Some(part(schema)?), part(object)?)),
        _ => None,
    }
}

/// Every name that stands where a relation stands, common table expressions too.
pub(crate) fn relations_of(query: &Query) -> Vec<(Option<String>, String)> {
    let mut names = Vec::new();
    let _ = visit_relations(query, |name| {
        names.extend(folded(name));
        std::ops::ControlFlow::<()>::Continue(())
    });
    names
}

/// Opens the external tables that a query names and nobody opened since the start.
pub(crate) async fn open_files(
    database: &Database,
    published: &Arc<Published>,
    query: &Query,
    path: &[String],
) -> Result<Arc<Published>> {
    open_named_files(database, published, relations_of(query), path).await
}

/// Opens those of these relations that are external tables and that nobody opened since the start.
pub(crate) async fn open_named_files(
    database: &Database,
    published: &Arc<Published>,
    names: Vec<(Option<String>, String)>,
    path: &[String],
) -> Result<Arc<Published>> {
    let mut opened: Option<Published> = None;
    let mut objects: Vec<&Object> =
        names.iter().filter_map(|(schema, name)| published.catalog.find(schema.as_deref(), name, path)).collect();
    while let Some(object) = objects.pop() {
        if let Some(query) = object.named_query() {
            objects.extend(query.reads.iter().filter_map(|oid| published.catalog.get(*oid)));
        }
        let ObjectData::Files(definition) = &object.data else { continue };
        let known = opened.as_ref().map_or(&published.files, |opened| &opened.files);
        if known.contains_key(&object.oid) {
            continue;
        }
        let scan = super::external_table::open(database, definition.clone()).await?;
        database.opened_files(object.oid, scan.clone());
        opened.get_or_insert_with(|| Published::clone(published)).files.insert(object.oid, scan);
    }
    Ok(opened.map_or_else(|| published.clone(), Arc::new))
}
