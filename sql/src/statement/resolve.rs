//! What names mean to one statement.
//!
//! Promises: one name means one thing throughout a statement; a view that is being built is 55000
//! with its percentage; an unknown name gets the nearest one as a hint. Opens nothing: external
//! tables are opened before binding, see [`open_files`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::sql::sqlparser::ast::{ObjectName, ObjectNamePart, Query};
use parking_lot::Mutex;
use thalweg_dataflow::engine::{BuildState, Engine};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::source::Column;

use crate::catalog::{Meaning, Object, ObjectData, Rule, SYSTEM_SCHEMAS, did_you_mean, found};
use crate::database::{Database, Published};
use crate::parser::{ObjectKind, parse_query};
use crate::planner::{NamedQuery, Relation, Resolver, SystemFunction};
use crate::session::{Given, Session, View};
use crate::settings::SessionSettings;
use crate::system::SystemTables;
use crate::walk::relations;

/// See the module.
pub(crate) struct Names<'a> {
    published: &'a Published,
    path: Vec<String>,
    /// Says how far views are built; `None`: whatever their state.
    engine: Option<Engine>,
    system: System<'a>,
    seen: Mutex<BTreeSet<u32>>,
    /// A stored query's names mean what they meant when it was made.
    stored: Option<Meant<'a>>,
    /// What the statements in WITH gave.
    given: Option<&'a Given>,
}

/// The system's tables and functions.
enum System<'a> {
    /// There are none.
    None,
    Made(&'a SystemTables),
    /// Made when they are first asked for.
    Later {
        session: &'a Session,
        view: &'a View,
        made: Box<OnceLock<SystemTables>>,
    },
}

impl System<'_> {
    fn get(&self) -> Option<&SystemTables> {
        match self {
            System::None => None,
            System::Made(tables) => Some(tables),
            System::Later { session, view, made } => {
                Some(made.get_or_init(|| SystemTables::new(session, &view.snapshot, &view.published)))
            }
        }
    }
}

/// What the names of a stored query mean.
#[derive(Clone, Copy)]
struct Meant<'a> {
    /// The oids that it reads.
    reads: &'a [u32],
    /// What they were to it, where that has changed.
    meaning: &'a Meaning,
    /// Which versions of tables its dataflow reads.
    versions: &'a BTreeMap<u32, u32>,
}

impl<'a> Names<'a> {
    /// The names of users' objects alone, whatever their state: to lower stored views.
    pub(crate) fn of_catalog(published: &'a Published, path: Vec<String>) -> Names<'a> {
        let (system, seen) = (System::None, Mutex::default());
        Names { published, path, engine: None, system, seen, stored: None, given: None }
    }

    /// The same and the system's functions: for the DEFAULTs of tables.
    pub(crate) fn of_defaults(session: &'a Session, view: &'a View) -> Names<'a> {
        let system = System::Later { session, view, made: Box::default() };
        let names = Names::of_catalog(&view.published, session.path_in(&view.published.catalog));
        Names { system, given: Some(&view.given), ..names }
    }

    /// The names of users' objects as a stored query sees them.
    pub(crate) fn of_stored(
        published: &'a Published,
        path: Vec<String>,
        (reads, meaning): (&'a [u32], &'a Meaning),
    ) -> Names<'a> {
        let stored = Meant { reads, meaning, versions: &meaning.versions };
        Names { stored: Some(stored), ..Names::of_catalog(published, path) }
    }

    /// All names, as of now.
    pub(crate) fn of_statement(
        published: &'a Published,
        path: Vec<String>,
        engine: &Engine,
        system: &'a SystemTables,
        given: Option<&'a Given>,
    ) -> Names<'a> {
        Names {
            published,
            path,
            engine: Some(engine.clone()),
            system: System::Made(system),
            seen: Mutex::default(),
            stored: None,
            given,
        }
    }

    /// The oids of the objects that names meant so far.
    pub(crate) fn oids(&self) -> Vec<u32> {
        self.seen.lock().iter().copied().collect()
    }

    /// The object of this name; in a stored query one that it read when it was made.
    fn find(&self, schema: Option<&str>, name: &str) -> Option<&'a Object> {
        let catalog = &self.published.catalog;
        match self.stored {
            Some(meant) => found(catalog, (meant.reads, meant.meaning), &self.path, (schema, name)),
            None => catalog.find(schema, name, &self.path),
        }
    }

    /// A table in the version, and with the columns, that a stored query knows.
    fn table(&self, object: &Object) -> Relation {
        let version = object.version(self.stored.and_then(|meant| meant.versions.get(&object.oid)).copied());
        let seen = self.stored.and_then(|meant| meant.meaning.tables.get(&object.oid));
        let place = |wanted: &u32| version.numbers.iter().position(|number| number == wanted);
        let visible: Option<Vec<usize>> =
            seen.map(|seen| seen.columns.iter().filter_map(|(number, _)| place(number)).collect());
        let fields = version.columns.iter().zip(&version.numbers).map(|(column, number)| {
            let known = seen.and_then(|seen| seen.columns.iter().find(|(known, _)| known == number));
            let name = match (seen, known) {
                (_, Some((_, name))) => name.clone(),
                (Some(_), None) => format!("#{number}"),
                (None, None) => column.name.clone(),
            };
            column.data_type.field(&name, true)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Relation::View { id: version.relation, name: object.name.clone(), schema, visible }
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
                let schema = schema_of(&object.columns);
                Some(Relation::View { id: object.relation(), name, schema, visible: None })
            }
            ObjectData::Table(_) => Some(self.table(object)),
            ObjectData::NamedQuery(_) => None,
            ObjectData::Sequence(_) => match self.system.get() {
                Some(system) => Some(Relation::Virtual(system.sequence(object)?)),
                None => return Err(Error::unsupported("reading a sequence here")),
            },
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
    fn oid(&self, schema: Option<&str>, name: &str) -> Option<u32> {
        self.find(schema, name).map(|object| object.oid)
    }

    fn primary_key(&self, schema: Option<&str>, name: &str) -> Option<Vec<usize>> {
        let table = self.find(schema, name)?.table()?;
        if self.stored.is_some() {
            return Some(Vec::new());
        }
        table.constraints.iter().find_map(|constraint| match &constraint.rule {
            Rule::Unique { primary: true, columns, .. } => Some(columns.clone()),
            _ => None,
        })
    }

    fn named_query(&self, schema: Option<&str>, name: &str) -> Result<Option<NamedQuery>> {
        let Some(object) = self.find(schema, name) else { return Ok(None) };
        let Some(stored) = object.named_query() else { return Ok(None) };
        self.seen.lock().insert(object.oid);
        let mut settings = SessionSettings::new("");
        stored.settings.iter().for_each(|(name, value)| settings.put(name, value));
        Ok(Some(NamedQuery {
            oid: object.oid,
            name: object.name.clone(),
            query: parse_query(&stored.text)?,
            columns: object.columns.clone(),
            path: settings.search_path(),
            zone: settings.zone().into(),
        }))
    }

    fn system_function(&self, name: &str) -> Option<SystemFunction> {
        self.system.get()?.function(name)
    }

    fn within(&self, named: &NamedQuery) -> Option<Box<dyn Resolver + '_>> {
        let query = self.published.catalog.get(named.oid)?.named_query()?;
        // A named query has no dataflow of its own.
        let versions = self.stored.map_or(&query.meaning.versions, |meant| meant.versions);
        Some(Box::new(Names {
            published: self.published,
            path: named.path.clone(),
            engine: self.engine.clone(),
            system: self.system.get().map_or(System::None, System::Made),
            seen: Mutex::default(),
            stored: Some(Meant { reads: &query.reads, meaning: &query.meaning, versions }),
            given: None,
        }))
    }

    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Relation>> {
        if let (None, Some(rows)) = (schema, self.given.and_then(|given| given.rows.get(name))) {
            return Ok(Some(Relation::Virtual(rows.clone())));
        }
        let of_system = || self.system.get();
        let system = |schema: &str| of_system().and_then(|system| system.table(schema, name)).map(Relation::Virtual);
        if let Some(of) = of_system() {
            of.need_to_read(schema.unwrap_or("pg_catalog"), name)?;
            schema.map_or(Ok(()), |schema| of.need_to_use(schema))?;
        }
        match schema {
            Some(schema) if SYSTEM_SCHEMAS.contains(&schema) => Ok(system(schema)),
            _ => match self.find(schema, name) {
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
    relations(query, &mut |name| names.extend(folded(name)));
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
        let scan = super::external_table::open(database, object.oid, definition.clone()).await?;
        database.opened_files(object.oid, scan.clone());
        opened.get_or_insert_with(|| Published::clone(published)).files.insert(object.oid, scan);
    }
    Ok(opened.map_or_else(|| published.clone(), Arc::new))
}
