//! The SQL layer of Thalweg: from text to outcome.
//!
//! # The life of a statement
//!
//! 1. The server hands a request's text to [`session::Session::parse`]. [`parser`] splits it at
//!    semicolons and reads each piece: queries by sqlparser, what is Thalweg's own by hand.
//! 2. [`session::Session::prepare`] settles the types of parameters and columns. For a query it
//!    pins what a statement reads, the engine's [`thalweg_dataflow::engine::Snapshot`] and the
//!    catalog of the same moment; in a transaction block both stay for the whole block.
//! 3. Names are resolved against that catalog ([`planner::Resolver`]): a source, a view, files, or
//!    a system table. A view that is being built is refused with its percentage.
//! 4. [`planner::Planner::bind`] gives the query its one meaning, PostgreSQL's.
//! 5. [`session::Session::execute`] runs it. A query goes to [`batch`], which reads the snapshot
//!    and answers with a stream; questions about `pg_catalog` and `information_schema` are
//!    answered from tables made for them.
//! 6. CREATE MATERIALIZED VIEW is lowered by [`planner::Planner::lower`] to a
//!    [`thalweg_dataflow::plan::Plan`], entered into the catalog, made durable with it, and given
//!    to the engine; the statement returns when the build is complete.
//! 7. Other DDL takes its turn ([`database::Database`] lets one statement change the catalog at a
//!    time), is made durable by [`thalweg_dataflow::engine::Engine::commit_catalog`], and only then
//!    seen by others.
//! 8. The outcome ([`session::Outcome`]) goes back to the server, which frames it. Cancellation
//!    and `statement_timeout` end the statement, or its stream of rows, with 57014.
//!
//! At a restart [`database::Database::open`] decodes the catalog, opens the sources, binds and
//! lowers every view again under the settings it was created with, and starts the engine.
//!
//! Does not know the wire (the server does) nor any connector (the server hands them over as
//! [`thalweg_dataflow::source::Connectors`]).

mod aside;
pub mod batch;
mod catalog;
pub mod database;
mod guard;
mod locks;
pub mod parser;
pub mod planner;
pub mod roles;
mod sequence;
pub mod session;
#[cfg(test)]
mod session_tests;
mod settings;
mod statement;
mod system;
mod walk;
