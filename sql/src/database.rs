//! One server's database: the engine, the catalog and what is open, shared by all sessions.
//!
//! Promises: the catalog changes by one statement at a time and each change is durable before it
//! is seen; readers hold one immutable `Published` value and never wait. Does not parse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use futures::future::BoxFuture;
use parking_lot::RwLock;
use thalweg_dataflow::engine::{Definition, Engine, Status, ViewDefinition};
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::Plan;
use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::{Connectors, Source};

use crate::aside::aside;
use crate::batch::{Batch, BatchOptions};
use crate::catalog::{Catalog, Object, ObjectData, ViewBody};
use crate::locks::Locks;
use crate::parser;
use crate::planner::{Planner, Settings};
use crate::sequence::Sequences;
use crate::session::activity::Sessions;
use crate::session::own::Transactions;
use crate::session::{Session, Startup};
use crate::settings::SessionSettings;
use crate::statement::plan_cache::PlanCache;
use crate::statement::resolve::Names;
use crate::system::file_errors::FileErrors;

/// The name of the one database.
pub(crate) const DATABASE: &str = "thalweg";

/// What a database is opened with.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Batch queries.
    pub batch: BatchOptions,
    /// The most rows kept in `thalweg.file_errors`.
    pub file_errors_max_rows: usize,
    /// The server's own settings, for `thalweg.settings`: name, value, what it does.
    pub settings: Vec<(String, String, String)>,
}

/// One database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database(pub(crate) Arc<Inner>);

/// What [`Database`] holds.
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) connectors: Arc<dyn Connectors>,
    pub(crate) batch: Batch,
    pub(crate) options: DatabaseOptions,
    pub(crate) file_errors: Arc<FileErrors>,
    published: RwLock<Arc<Published>>,
    /// Who is connected.
    pub(crate) sessions: Arc<Sessions>,
    /// How many sessions there were.
    pub(crate) session_count: AtomicU32,
    /// The numbers of transactions, and when the server started.
    pub(crate) transactions: Arc<Transactions>,
    /// Where sequences stand.
    pub(crate) sequences: Arc<Sequences>,
    /// What sessions have locked.
    pub(crate) locks: Arc<Locks>,
    /// Bound queries.
    pub(crate) plans: PlanCache,
    /// Held by the one statement that changes the catalog.
    pub(crate) ddl: tokio::sync::Mutex<()>,
    /// Held by the one statement whose commit met others' changes again and again.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("engine", &self.engine).field("options", &self.options).finish_non_exhaustive()
    }
}

/// The catalog and what is open, as of one change.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    /// The catalog.
    pub(crate) catalog: Catalog,
    /// The open sources by oid.
    pub(crate) sources: BTreeMap<u32, Arc<dyn Source>>,
    /// The external tables opened so far, by oid.
    pub(crate) files: BTreeMap<u32, Arc<dyn Scan>>,
}

impl Database {
    /// Opens what the engine's catalog defines and starts the engine.
    pub fn open(
        engine: Engine,
        connectors: Arc<dyn Connectors>,
        options: DatabaseOptions,
    ) -> BoxFuture<'static, Result<Database>> {
        Box::pin(async move {
            let catalog = match engine.catalog() {
                Some(bytes) => Catalog::decode(&bytes)?,
                None => Catalog::default(),
            };
            let mut published = Published { catalog, ..Published::default() };
            for object in published.catalog.objects() {
                if let Some((_, definition)) = object.source() {
                    let source = connectors.open_source(definition).map_err(|error| cannot_open(object, error))?;
                    published.sources.insert(object.oid, source);
                }
            }
            let has_tables = published.catalog.objects().any(|object| object.table_definition().is_some());
            let definitions = definitions(&published)?;
            let file_errors = Arc::new(FileErrors::new(options.file_errors_max_rows));
            let batch = Batch::new(options.batch.clone())?;
            // On this very thread: the engine's threads are as nice as the one that starts them.
            aside(|| engine.start(definitions))?;
            if has_tables {
                // What was acknowledged before a crash is there before anybody can ask.
                engine.replayed().await?;
            }
            let inner = Inner {
                session_count: AtomicU32::new(1),
                transactions: Arc::new(Transactions::new()),
                sequences: Arc::new(Sequences::new(engine.clone())),
                engine,
                connectors,
                batch,
                options,
                file_errors,
                published: RwLock::new(Arc::new(published)),
                sessions: Arc::default(),
                locks: Arc::default(),
                plans: PlanCache::default(),
                ddl: tokio::sync::Mutex::new(()),
                turn: tokio::sync::Mutex::new(()),
            };
            let database = Database(Arc::new(inner));
            crate::statement::create_view::resume(&database);
            Ok(database)
        })
    }

    /// A session for a new connection.
    pub fn session(&self, startup: Startup) -> Session {
        Session::new(self.clone(), startup)
    }

    /// Stops the engine with a last checkpoint.
    pub async fn stop(&self) -> Result<()> {
        let sequences = self.0.sequences.clone();
        let given = tokio::task::spawn_blocking(move || sequences.give_back()).await;
        given.map_err(|error| Error::internal(format!("the sequences could not be stopped: {error}")))?;
        self.0.engine.stop().await
    }

    /// What the engine does.
    pub fn status(&self) -> Status {
        self.0.engine.status()
    }

    /// The name of each relation that the status speaks of.
    pub fn names(&self) -> BTreeMap<thalweg_dataflow::plan::RelationId, String> {
        let published = self.published();
        let objects = published.catalog.objects();
        let names = |object: &Object| {
            let earlier = object.table().into_iter().flat_map(|table| &table.earlier);
            let ids = object.source().map(|(id, _)| id).into_iter().chain([object.relation()]);
            let ids = ids.chain(earlier.map(|version| thalweg_dataflow::plan::RelationId(version.relation)));
            ids.map(|id| (id, object.name.clone())).collect::<Vec<_>>()
        };
        objects.flat_map(names).collect()
    }

    /// The catalog and what is open, now.
    pub(crate) fn published(&self) -> Arc<Published> {
        self.0.published.read().clone()
    }

    /// Makes a changed catalog durable, then visible. Call it with [`Inner::ddl`] held.
    pub(crate) async fn publish(&self, next: Published) -> Result<()> {
        self.0.engine.commit_catalog(next.catalog.encode()?).await?;
        self.install(next);
        Ok(())
    }

    /// Makes a catalog visible that is durable already.
    pub(crate) fn install(&self, next: Published) {
        *self.0.published.write() = Arc::new(next);
    }

    /// Remembers an external table that was opened after it was published.
    pub(crate) fn opened_files(&self, oid: u32, scan: Arc<dyn Scan>) {
        let mut published = self.0.published.write();
        let mut next = Published::clone(&published);
        next.files.insert(oid, scan);
        *published = Arc::new(next);
    }
}

fn cannot_open(object: &Object, error: Error) -> Error {
    let state = error.state();
    let message = format!("{} \"{}\" cannot be opened: {}", object.kind().word(), object.name, error.message());
    let mut whole = Error::new(state, message);
    if let Some(detail) = error.detail_text() {
        whole = whole.detail(detail);
    }
    match error.hint_text() {
        Some(hint) => whole.hint(hint),
        None => whole,
    }
}

/// What the engine attaches at start: sources, then views after what they read.
fn definitions(published: &Published) -> Result<Vec<Definition>> {
    let mut definitions = Vec::new();
    for object in published.catalog.objects() {
        if let (Some((id, definition)), Some(source)) = (object.source(), published.sources.get(&object.oid)) {
            definitions.push(Definition::Source { id, source: source.clone(), start: definition.start.clone() });
        }
        match &object.data {
            ObjectData::StoredSource(_) => {
                let view = crate::statement::stored_source::rows(object)?;
                definitions.push(Definition::Kept { view, name: object.name.clone() });
            }
            ObjectData::View(view) => {
                // Oids grow with time and a view is replaced only while nothing reads it, so that
                // the order of oids is an order of dependence.
                let bodies = std::iter::once(&view.body).chain(view.replacement.iter().map(|(body, _)| body));
                for body in bodies {
                    let plan = lower_again(published, body).map_err(|error| cannot_open(object, error))?;
                    definitions.push(Definition::View(ViewDefinition {
                        id: thalweg_dataflow::plan::RelationId(body.relation),
                        plan,
                    }));
                }
            }
            ObjectData::Table(_) | ObjectData::Sequence(_) => {
                let all = object.earlier_definitions().into_iter().chain(object.table_definition());
                definitions.extend(all.map(Definition::Table));
            }
            ObjectData::Source(_) | ObjectData::NamedQuery(_) | ObjectData::Files(_) => {}
        }
    }
    Ok(definitions)
}

/// The dataflow of a stored view, under the settings it was created with.
pub(crate) fn lower_again(published: &Published, body: &ViewBody) -> Result<Plan> {
    let query = parser::parse_query(&body.text)?;
    let mut settings = SessionSettings::new("");
    for (name, value) in &body.settings {
        settings.put(name, value);
    }
    let names = Names::of_stored(published, settings.search_path(), (&body.reads, &body.meaning));
    let planning = Settings { zone: settings.zone().into(), view: true, ..Settings::default() };
    let bound = Planner.bind(&query, &names, &planning, &[])?;
    let read: Vec<u32> = names.oids();
    if !body.reads.iter().all(|oid| read.contains(oid)) {
        return Err(Error::new(SqlState::DataCorrupted, "its names mean other objects than when it was created"));
    }
    Planner.lower(&bound)
}
