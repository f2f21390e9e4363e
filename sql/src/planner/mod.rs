//! The planner: from a parsed query to a typed logical plan, and from there to a dataflow.
//!
//! One binder gives SQL one meaning, PostgreSQL's: names, types, coercions, output names and
//! errors are decided here, once, for batch queries and for views. DataFusion gets expressions
//! whose types fit already and never chooses any. Steps: [`Planner::bind`] (text positions and
//! names end there), then either [`Planner::lower`] for a view or `crate::batch::execute` for a
//! query. Reads no clock: `now()` is what [`Settings`] says, so a query that asks for it is bound
//! again at each execution.

mod arguments;
mod arrange;
mod array;
mod array_assign;
mod array_query;
mod assign;
mod between;
mod binder;
mod call;
pub(crate) mod change;
pub(crate) mod change_by_key;
mod changed_rows;
mod clocks;
mod columns_read;
mod comparison;
mod conditional;
mod contents;
mod decided;
mod deparse;
mod expand;
mod explain;
mod expr;
mod factor;
mod first_rows;
mod form;
mod from;
mod functions;
pub(crate) mod generated;
mod grouping;
mod groups;
mod guard;
pub(crate) mod index_term;
mod interval_literal;
mod join;
mod joined_bytes;
mod json;
mod json_records;
mod kept_plans;
mod like;
mod limit;
mod literal;
mod lower;
pub(crate) mod merge;
mod named_query;
mod names;
mod operator;
mod operator_place;
mod outer_call;
mod own_frame;
mod precedence;
mod prefix;
mod prune;
mod query;
mod record;
mod recursion;
mod recursive_query;
mod row_value;
mod scope;
mod search_cycle;
mod select;
mod set_operation;
mod sift;
mod stands_for;
mod subquery;
mod system;
#[cfg(test)]
mod tests;
mod top_n;
mod typed;
mod unnest;
mod window;
mod with;
mod within_group;
mod written_type;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Query;
use parking_lot::Mutex;
use thalweg_dataflow::plan::{Plan, RelationId};
use thalweg_dataflow::scan::Scan;
use thalweg_dataflow::source::{Offsets, Source};
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result};

pub(crate) use binder::fold;
pub(crate) use comparison::Comparison;
pub(crate) use contents::{is_over_one_row, is_subquery, parameter_place};
pub(crate) use expand::Expand;
pub use explain::{explain_query, explain_view};
pub(crate) use from::RelationSource;
pub(crate) use functions::aggregates::is_aggregate;
pub(crate) use functions::identifiers::parts as identifier_parts;
pub(crate) use functions::sleep::waits;
pub(crate) use guard::{can_fail, guard};
pub use named_query::NamedQuery;
pub(crate) use names::output_name;
pub(crate) use recursive_query::{RecursiveQuery, Same, WorkingTable};
pub use system::{ORIGIN, SHOWN_OID, SystemFunction};
pub(crate) use typed::literal;
pub(crate) use unnest::unnest;

/// What a name in FROM means to one statement.
#[derive(Clone)]
pub enum Relation {
    /// A source: batch queries read it from `start` to its end.
    Source {
        /// Its oid.
        id: RelationId,
        /// Its name.
        name: String,
        /// Its columns.
        schema: SchemaRef,
        /// The open source.
        source: Arc<dyn Source>,
        /// Where it starts, as CREATE SOURCE resolved it.
        start: Offsets,
    },
    /// A materialized view: batch queries read it from the statement's snapshot.
    View {
        /// Its oid.
        id: RelationId,
        /// Its name.
        name: String,
        /// Its columns.
        schema: SchemaRef,
        /// The places of those that a statement sees; none: all of them.
        visible: Option<Vec<usize>>,
    },
    /// An external table: batch queries only.
    Files {
        /// Its name.
        name: String,
        /// The opened files.
        scan: Arc<dyn Scan>,
    },
    /// A system table (`thalweg.*`, `pg_catalog.*`, `information_schema.*`): batch queries only.
    Virtual(Arc<dyn TableProvider>),
}

impl fmt::Debug for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Relation::Source { name, .. } => write!(f, "Source {name}"),
            Relation::View { name, .. } => write!(f, "View {name}"),
            Relation::Files { name, .. } => write!(f, "Files {name}"),
            Relation::Virtual(_) => write!(f, "Virtual"),
        }
    }
}

/// The catalog as one statement sees it.
pub trait Resolver: Send + Sync {
    /// What this name means; without a schema the search path decides. `None`: no such relation.
    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<Relation>>;

    /// The oid of the relation of this name, where one is known.
    fn oid(&self, _schema: Option<&str>, _name: &str) -> Option<u32> {
        None
    }

    /// The places of the columns of a table's primary key. No places for a query that is
    /// stored: what its groups decide was asked when it was made, and it outlives the key.
    fn primary_key(&self, _schema: Option<&str>, _name: &str) -> Option<Vec<usize>> {
        None
    }

    /// The query that this name stands for, if it is that of a view that is not materialized.
    fn named_query(&self, _schema: Option<&str>, _name: &str) -> Result<Option<NamedQuery>> {
        Ok(None)
    }

    /// The function of the catalog of this name (`pg_get_viewdef`, ...), if there is one.
    fn system_function(&self, _name: &str) -> Option<SystemFunction> {
        None
    }

    /// The same catalog as a named query's text sees it.
    fn within(&self, _named: &NamedQuery) -> Option<Box<dyn Resolver + '_>> {
        None
    }
}

/// See [`Settings`].
pub(crate) type SharedParameters = Arc<Mutex<Vec<Option<PgType>>>>;

/// The settings of a session that give a statement its meaning.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `TimeZone`: an IANA name, `UTC` or a fixed offset.
    pub zone: String,
    /// What stands for it where a literal is read: a named query's is that of its CREATE VIEW.
    pub literal_zone: Option<String>,
    /// The statement's clock reading, microseconds since 1970 UTC: `now()`.
    pub now: i64,
    /// `current_user`.
    pub user: String,
    /// `session_user`.
    pub session_user: String,
    /// `current_database()`.
    pub database: String,
    /// `current_schema()`; `None`: no schema of the search path exists.
    pub schema: Option<String>,
    /// `version()`.
    pub version: String,
    /// The statement's text, from which error positions are counted; empty: no positions.
    pub text: String,
    /// The types of the parameters that the parts of a statement have found so far, if it has such parts:
    /// what one of them leaves open, another may tell.
    pub(crate) shared_parameters: Option<SharedParameters>,
    /// Whether the query defines a view: what depends on the clock or on the session is then
    /// refused by name.
    pub view: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            zone: "UTC".into(),
            literal_zone: None,
            now: 0,
            user: "thalweg".into(),
            session_user: "thalweg".into(),
            database: "thalweg".into(),
            schema: Some("public".into()),
            version: "PostgreSQL 15.0 (Thalweg)".into(),
            text: String::new(),
            shared_parameters: None,
            view: false,
        }
    }
}

/// A query with every name and type settled.
#[derive(Debug, Clone)]
pub struct Bound {
    /// The plan; its scans stand for [`Relation`]s and get their rows at execution.
    pub plan: LogicalPlan,
    /// The output: PostgreSQL's column names, duplicates possible, and types in the metadata.
    pub schema: SchemaRef,
    /// The types of `$1`, `$2`, ...
    pub parameters: Vec<PgType>,
    /// The sources and views it reads, each once, in order of appearance.
    pub reads: Vec<RelationId>,
    /// Whether the clock reading of [`Settings::now`] is in the plan.
    pub reads_clock: bool,
    /// What the batch engine made of it.
    pub(crate) kept: Arc<kept_plans::KeptPlans>,
}

/// Binds and lowers. Stateless.
#[derive(Debug, Clone, Copy, Default)]
pub struct Planner;

impl Planner {
    /// Binds a query. `parameters` holds the types the client declared for `$n`; what it left open
    /// is inferred. Errors carry PostgreSQL's SQLSTATE and wording and, where known, the position.
    pub fn bind(
        &self,
        query: &Query,
        resolver: &dyn Resolver,
        settings: &Settings,
        parameters: &[Option<PgType>],
    ) -> Result<Bound> {
        let binder = binder::Binder::new(resolver, settings, parameters);
        let bound = binder.query(query, None, &Vec::new().into())?;
        let bound = binder.settled_query(bound)?;
        binder.check_size(&bound)?;
        let fields: Vec<_> = bound
            .columns
            .iter()
            .map(|column| {
                let field = system::shown(column.ty.clone().unwrap_or(PgType::Text).field(&column.name, true));
                // A view's columns are its own.
                system::with_origin(field, column.origin.filter(|_| !settings.view))
            })
            .collect();
        let plan = unnest::unnest(bound.plan, &|wanted| binder.unique(wanted), settings.view)?;
        if binder.reads_clock.get() {
            functions::sleep::refuse_elsewhere(&plan)?;
        }
        let (reads, reads_clock) = (binder.reads.take(), binder.reads_clock.get());
        let (parameters, kept) = (change::settled(binder)?, Arc::default());
        Ok(Bound { plan, schema: Arc::new(Schema::new(fields)), parameters, reads, reads_clock, kept })
    }

    /// The dataflow of a view over this query. Everything that the engine cannot keep up to date
    /// is refused by name: 0A000, the construct, a hint.
    pub fn lower(&self, bound: &Bound) -> Result<Plan> {
        if bound.schema.fields().is_empty() {
            return Err(Error::unsupported("a materialized view without columns"));
        }
        let plan = prune::prune(top_n::top_n(arrange::arrange(lower::lower(&bound.plan)?)?)?)?;
        // The columns carry the view's names and types.
        Ok(Plan { schema: bound.schema.clone(), op: plan.op })
    }
}
