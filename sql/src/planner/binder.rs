//! The state of one binding: what the statement reads, its parameters, and unique names.
//!
//! Inside the plan every relation has an alias of its own, so that DataFusion never sees an
//! ambiguous name; the names a user sees live in scopes and in the output schema alone.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use datafusion::sql::sqlparser::tokenizer::Span;
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::scope::{Origin, Scope};
use super::{Resolver, Settings};

/// How deep expressions and queries may nest.
const MAX_DEPTH: usize = 400;

/// How many nodes one plan may have that stands in the place of a name: each WITH query or view that
/// reads another twice doubles them.
const MAX_NODES: usize = 50_000;

/// How many all of them together, each counted where it is read.
const MAX_NAMED_NODES: usize = 2_000_000;

/// The most columns of a query, as in PostgreSQL.
const MAX_COLUMNS: usize = 1_664;

/// One output column of a query.
#[derive(Debug, Clone)]
pub(crate) struct OutputColumn {
    /// The name a user sees.
    pub(crate) name: String,
    /// The column of the plan.
    pub(crate) column: datafusion::common::Column,
    /// Its type; `None`: all its values are unknown literals, as text.
    pub(crate) ty: Option<PgType>,
    /// The column of a relation that it is.
    pub(crate) origin: Option<Origin>,
}

/// A query, bound: its plan has exactly these columns, in this order.
#[derive(Debug, Clone)]
pub(crate) struct BoundQuery {
    /// The plan.
    pub(crate) plan: LogicalPlan,
    /// Its columns.
    pub(crate) columns: Vec<OutputColumn>,
}

/// The WITH queries in sight, innermost last.
pub(crate) type Ctes = Arc<Vec<(String, BoundQuery)>>;

/// What a clause sees and allows.
#[derive(Clone)]
pub(crate) struct Env<'e> {
    /// The columns in sight.
    pub(crate) scope: &'e Scope,
    /// The surrounding query's, for a subquery.
    pub(crate) outer: Option<&'e Env<'e>>,
    /// The WITH queries.
    pub(crate) ctes: Ctes,
    /// The clause in which aggregates are not allowed.
    pub(crate) no_aggregates: Option<&'static str>,
    /// The clause in which window functions are not allowed.
    pub(crate) no_windows: Option<&'static str>,
    /// The WINDOW clause.
    pub(crate) windows: Arc<Vec<datafusion::sql::sqlparser::ast::NamedWindowDefinition>>,
}

impl<'e> Env<'e> {
    /// The same without aggregates and window functions, which `clause` does not take.
    pub(crate) fn plain(&self, clause: &'static str) -> Env<'e> {
        Env { no_aggregates: Some(clause), no_windows: Some(clause), ..self.clone() }
    }
}

/// Binds one statement.
pub(crate) struct Binder<'a> {
    pub(crate) resolver: &'a dyn Resolver,
    pub(crate) settings: &'a Settings,
    pub(crate) parameters: RefCell<Vec<Option<PgType>>>,
    pub(crate) reads: RefCell<Vec<RelationId>>,
    /// Aggregates over columns of a surrounding query alone, which are that query's: the column
    /// that stands for each, and the call over that query's columns.
    pub(crate) outer_calls: RefCell<Vec<(Column, Expr)>>,
    /// WITH before INSERT, UPDATE or DELETE: in sight of the whole statement.
    pub(crate) before: Ctes,
    /// Whether the clock was read.
    pub(crate) reads_clock: Cell<bool>,
    /// Names in SELECTs with outer joins that may mean whole rows.
    pub(super) row_names: RefCell<HashSet<String>>,
    aliases: RefCell<HashMap<String, usize>>,
    depth: Cell<usize>,
    /// The nodes that stand in the place of names so far.
    named_nodes: Cell<usize>,
    /// The characters of the text before each of its lines.
    lines: OnceCell<Vec<usize>>,
}

impl<'a> Binder<'a> {
    /// A binder for one statement.
    pub(crate) fn new(resolver: &'a dyn Resolver, settings: &'a Settings, parameters: &[Option<PgType>]) -> Binder<'a> {
        Binder {
            resolver,
            settings,
            parameters: RefCell::new(parameters.to_vec()),
            reads: RefCell::default(),
            outer_calls: RefCell::default(),
            before: Ctes::default(),
            reads_clock: Cell::new(false),
            row_names: RefCell::default(),
            aliases: RefCell::default(),
            depth: Cell::new(0),
            named_nodes: Cell::new(0),
            lines: OnceCell::new(),
        }
    }

    /// Binds with another binder as a part of what this one binds: no names of theirs meet.
    pub(super) fn lend<T>(&self, other: &Binder<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        other.aliases.swap(&self.aliases);
        other.depth.set(self.depth.get());
        other.named_nodes.set(self.named_nodes.get());
        let result = work();
        self.named_nodes.set(other.named_nodes.get());
        other.aliases.swap(&self.aliases);
        self.reads_clock.set(self.reads_clock.get() || other.reads_clock.get());
        for read in other.reads.borrow().iter() {
            let mut reads = self.reads.borrow_mut();
            if !reads.contains(read) {
                reads.push(*read);
            }
        }
        result
    }

    /// A name for a relation or column of the plan that nothing else has.
    pub(crate) fn unique(&self, wanted: &str) -> String {
        let mut aliases = self.aliases.borrow_mut();
        loop {
            let count = aliases.entry(wanted.to_string()).or_insert(0);
            *count += 1;
            let name = if *count == 1 { wanted.to_string() } else { format!("{wanted}_{count}") };
            if *count == 1 || !aliases.contains_key(&name) {
                aliases.entry(name.clone()).or_insert(1);
                return name;
            }
        }
    }

    /// Notes that a plan stands in the place of a name.
    pub(crate) fn note_named(&self, plan: &LogicalPlan) -> Result<()> {
        let nodes = nodes(plan)?;
        let all = self.named_nodes.get() + nodes;
        self.named_nodes.set(all);
        if nodes > MAX_NODES || all > MAX_NAMED_NODES {
            return Err(too_large());
        }
        Ok(())
    }

    /// Refuses a whole query that is larger than it should be.
    pub(crate) fn check_size(&self, bound: &BoundQuery) -> Result<()> {
        if bound.columns.len() > MAX_COLUMNS {
            let message = format!("target lists can have at most {MAX_COLUMNS} entries");
            return Err(Error::new(SqlState::TooManyColumns, message));
        }
        // What names do not stand for is no larger than the text.
        if self.named_nodes.get() > MAX_NODES && nodes(&bound.plan)? > MAX_NODES {
            return Err(too_large());
        }
        Ok(())
    }

    /// Runs `work` one level deeper.
    pub(crate) fn nested<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let depth = self.depth.get() + 1;
        if depth > MAX_DEPTH {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded")
                .hint(format!("Expressions may nest {MAX_DEPTH} levels deep.")));
        }
        self.depth.set(depth);
        let result = with_stack(work);
        self.depth.set(depth - 1);
        result
    }

    /// The place of a span's start in the statement's text, in characters from 1.
    pub(crate) fn position(&self, span: Span) -> Option<usize> {
        if self.settings.text.is_empty() || span.start.line == 0 {
            return None;
        }
        let lines = self.lines.get_or_init(|| {
            let ends = self.settings.text.split('\n').scan(0, |before, line| {
                *before += line.chars().count() + 1;
                Some(*before)
            });
            std::iter::once(0).chain(ends).collect()
        });
        let before = lines.get(span.start.line as usize - 1).or(lines.last())?;
        Some(before + span.start.column as usize)
    }
}

/// How many nodes a plan has, subqueries included; no more are counted than it may have.
fn nodes(plan: &LogicalPlan) -> Result<usize> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > MAX_NODES { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(nodes)
}

fn too_large() -> Error {
    Error::new(SqlState::StatementTooComplex, "WITH queries and views stand for too much")
        .detail(format!("What they stand for has more than {MAX_NODES} parts."))
        .hint("A name that is read twice counts twice, and so does all that it reads.")
}

/// Runs `work` with stack enough for a level of a deeply nested statement.
pub(crate) fn with_stack<T>(work: impl FnOnce() -> T) -> T {
    const LEFT: usize = 512 << 10;
    const MORE: usize = 4 << 20;
    stacker::maybe_grow(LEFT, MORE, work)
}

/// An identifier as PostgreSQL folds it: lower case unless quoted.
pub(crate) fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// The parts of a dotted name, folded.
pub(crate) fn name_parts(name: &ObjectName) -> Result<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
            ObjectNamePart::Function(_) => Err(Error::unsupported("a function in a name")),
        })
        .collect()
}

/// Adds the place of an error where it has none.
pub(crate) fn at(error: Error, position: Option<usize>) -> Error {
    match position {
        Some(position) if error.position().is_none() => error.at(position),
        _ => error,
    }
}
