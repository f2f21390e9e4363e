//! One connection's session: parse, prepare, execute, and what must outlive a statement.
//!
//! Promises: after an error inside a transaction block nothing but its end is accepted (25P02);
//! a statement that is cancelled or runs into `statement_timeout` ends with 57014, its stream
//! too; notices arrive while a statement runs. Does not know the wire: the server frames what
//! comes out of here. Not `Clone`: one session belongs to one connection.

pub(crate) mod activity;
pub(crate) mod asked;
mod at_once;
mod block;
mod ddl;
pub(crate) mod meaning;
mod outcome;
pub(crate) mod own;
mod pasted;
pub(crate) mod path;
mod role;
mod statements;
mod subject;
pub(crate) mod temporary;
mod told;
mod transaction;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datafusion::scalar::ScalarValue;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::table::{Pending, TableDefinition};
use thalweg_dataflow::types::{PgType, TextStyle};
use tokio::sync::{mpsc, watch};

use crate::aside::aside_if_long;
use crate::database::{DATABASE, Database};
use crate::guard::Guard;
use crate::locks::SessionLocks;
use crate::parser::{self, Kind, Statement};
use crate::roles::SUPERUSER;
use crate::sequence::Used;
use crate::settings::SessionSettings;
use crate::statement;
pub use crate::statement::change::copy::CopyIn;
pub use crate::statement::copy_out::{Columns, CopyOut};
use crate::statement::cursor::Cursors;
use crate::statement::plan_cache::LastPlan;
pub use activity::Client;
use activity::Presence;
pub(crate) use block::Block;
pub use outcome::{Notice, Outcome, RowsTag, Severity};
pub use statements::Statements;
use temporary::Temporary;
use told::Told;
pub(crate) use view::{Given, View, Writes};

/// The most notices that wait for a connection to send them; further ones are dropped.
const NOTICE_QUEUE: usize = 1024;

/// What a client says when it connects.
#[derive(Debug, Clone, Default)]
pub struct Startup {
    /// The user's name.
    pub user: String,
    /// The database's name as asked for; any connects to `thalweg`.
    pub database: String,
    /// The other startup parameters: settings (`TimeZone`, `application_name`, ...).
    pub parameters: Vec<(String, String)>,
    /// The role that was authenticated. `None`: everybody is trusted, and a name that is no role has
    /// the rights of the superuser.
    pub role: Option<u32>,
    /// Its client, if others are to see the session.
    pub client: Option<Client>,
}

/// What ReadyForQuery says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransactionStatus {
    /// `I`: no block.
    Idle,
    /// `T`: in a block.
    InBlock,
    /// `E`: in a block that failed.
    Failed,
}

/// A statement whose parameters and columns are known. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The statement.
    pub statement: Statement,
    /// The type of each parameter `$1`, `$2`, ...
    pub parameters: Vec<PgType>,
    /// The columns it will give; `None`: it gives no rows.
    pub columns: Option<SchemaRef>,
    /// The plan it had the last time, if it is a query or has one in it.
    pub(crate) plan: Arc<LastPlan>,
}

impl Prepared {
    /// A statement with the types of its parameters, and its columns.
    pub(crate) fn new(statement: Statement, parameters: Vec<PgType>, columns: Option<SchemaRef>) -> Prepared {
        Prepared { statement, parameters, columns, plan: Arc::default() }
    }

    /// A statement without parameters whose columns its execution will tell.
    pub fn plain(statement: Statement) -> Prepared {
        Prepared::new(statement, Vec::new(), None)
    }
}

/// The running statement's cancel switch, if one runs.
type Slot = Arc<Mutex<Option<watch::Sender<bool>>>>;

/// Cancels what a session runs, from anywhere. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CancelHandle(Slot);

impl CancelHandle {
    /// Cancels the running statement, if any; it ends with 57014.
    pub fn cancel(&self) {
        if let Some(running) = &*self.0.lock() {
            running.send_replace(true);
        }
    }
}

/// One connection's session.
#[derive(Debug)]
pub struct Session {
    pub(crate) database: Database,
    pub(crate) settings: SessionSettings,
    /// The name under which it logged in.
    pub(crate) user: String,
    /// The role that logged in.
    pub(crate) login_role: u32,
    pub(crate) block: Option<Block>,
    /// What the statements of one request share where no block is open.
    request: Option<Block>,
    failed: Arc<AtomicBool>,
    running: Slot,
    pub(crate) notices: mpsc::Sender<Notice>,
    received: Option<mpsc::Receiver<Notice>>,
    told: Told,
    meaning: meaning::Known,
    /// The prepared statements.
    pub statements: Statements,
    pub(crate) cursors: Cursors,
    /// What `set_config` asked for.
    pub(crate) asked: asked::Asked,
    /// What others see of it.
    presence: Option<Presence>,
    /// What it had of sequences.
    pub(crate) used: Used,
    /// Its `random()`.
    pub(crate) random: own::Random,
    temporary: Temporary,
    /// What it has locked.
    pub(crate) locks: SessionLocks,
}

impl Session {
    pub(crate) fn new(database: Database, startup: Startup) -> Session {
        let (notices, received) = mpsc::channel(NOTICE_QUEUE);
        let trusted = |user: &str| database.published().catalog.roles.find(user).map_or(SUPERUSER, |role| role.oid);
        let number = database.0.session_count.fetch_add(1, Ordering::Relaxed);
        let pid = startup.client.as_ref().map_or(0, |client| client.pid);
        let login_role = startup.role.unwrap_or_else(|| trusted(&startup.user));
        let mut session = Session {
            settings: SessionSettings::new(&startup.user),
            locks: SessionLocks::new(&database.0.locks, number, pid),
            database,
            user: startup.user,
            login_role,
            block: None,
            request: None,
            failed: Arc::new(AtomicBool::new(false)),
            running: Slot::default(),
            notices,
            received: Some(received),
            told: Told::default(),
            meaning: meaning::Known::default(),
            statements: Statements::default(),
            cursors: Cursors::default(),
            asked: asked::Asked::default(),
            presence: None,
            used: Used::default(),
            random: own::Random::default(),
            temporary: Temporary::new(number),
        };
        session.presence = startup.client.map(|client| {
            let who = (session.login_role, session.user.as_str());
            Presence::enter(&session.database.0.sessions, client, who, session.cancel_handle())
        });
        if startup.database != DATABASE && !startup.database.is_empty() {
            let text = format!("database \"{}\" does not exist, connected to \"{DATABASE}\"", startup.database);
            session.notice(Error::new(SqlState::SuccessfulCompletion, text));
        }
        let kept = session.kept_settings();
        for (name, value) in kept.iter().chain(&startup.parameters) {
            let set = match name.eq_ignore_ascii_case("role") {
                true => session.set_role(Some(value), false),
                false => session.settings.set_at_start(name, value),
            };
            if let Err(error) = set {
                session.warning(error);
            }
        }
        session
    }

    /// The receiver of this session's notices; there is one, `None` when it was taken already.
    /// To be drained while [`Session::execute`] and its stream run.
    pub fn take_notices(&mut self) -> Option<mpsc::Receiver<Notice>> {
        self.received.take()
    }

    /// Cancels what this session runs, from another connection.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.running.clone())
    }

    /// What ReadyForQuery is to say.
    pub fn transaction_status(&self) -> TransactionStatus {
        match (&self.block, self.failed.load(Ordering::Acquire)) {
            (None, _) => TransactionStatus::Idle,
            (Some(_), false) => TransactionStatus::InBlock,
            (Some(_), true) => TransactionStatus::Failed,
        }
    }

    /// The settings to send as ParameterStatus: those that changed since the last call; at the
    /// first call all.
    pub fn parameter_changes(&mut self) -> Vec<(&'static str, String)> {
        self.take_asked();
        let published = self.database.published();
        if self.told.is_of(&self.settings, &published) {
            return Vec::new();
        }
        self.tell_superuser();
        self.told.changes(&self.settings, &published)
    }

    /// How values are printed as text.
    pub fn text_style(&self) -> &TextStyle {
        &self.settings.settled().style
    }

    /// How long the client may do nothing now before the connection ends, and the error of it.
    pub fn idle_limit(&self) -> Option<(Duration, Error)> {
        let (in_block, in_session) = self.settings.settled().idle;
        if self.block.is_some() {
            let message = "terminating connection due to idle-in-transaction timeout";
            return in_block.map(|limit| (limit, Error::new(SqlState::IdleInTransactionTimeout, message)));
        }
        let message = "terminating connection due to idle-session timeout";
        in_session.map(|limit| (limit, Error::new(SqlState::IdleSessionTimeout, message)))
    }

    /// Reads the statements of a text.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        aside_if_long(sql, || parser::parse(sql)).map_err(|error| self.fail(error))
    }

    /// Settles the types of a statement's parameters and of its columns. `parameter_types` holds
    /// what the client declared for `$1`, `$2`, ...
    pub fn prepare<'a>(
        &'a self,
        statement: Statement,
        parameter_types: &'a [Option<PgType>],
    ) -> BoxFuture<'a, Result<Prepared>> {
        Box::pin(async move {
            self.admit(statement.kind()).map_err(|error| self.fail(error))?;
            let described = statement::describe(self, &statement, parameter_types).await;
            let (parameters, columns) = described.map_err(|error| self.fail(error))?;
            Ok(Prepared::new(statement, parameters, columns))
        })
    }

    /// Runs a statement. Errors of its rows arrive in their stream.
    pub fn execute<'a>(
        &'a mut self,
        prepared: &'a Prepared,
        parameters: Vec<ScalarValue>,
    ) -> BoxFuture<'a, Result<Outcome>> {
        Box::pin(async move {
            self.take_asked();
            self.settle_locks();
            self.runs(&prepared.statement);
            let kind = prepared.statement.kind();
            self.admit(kind).map_err(|error| self.fail(error))?;
            if let Kind::Execute(execute) = kind {
                let executed = statement::prepared::executed(self, execute).await;
                let (prepared, parameters) = executed.map_err(|error| self.fail(error))?;
                return self.execute(&prepared, parameters).await;
            }
            if kind.is_ddl() {
                if self.block.is_none() {
                    // DDL cannot be undone, so what came before it in its request is not held back.
                    self.commit_writes().await.map_err(|error| self.fail(error))?;
                }
                self.forget_view();
            }
            let (switch, cancelled) = watch::channel(false);
            *self.running.lock() = Some(switch);
            let guard = Guard::new(cancelled, self.settings.settled().statement_timeout, self.failed.clone());
            let mut stop = guard.clone();
            self.lock_first(kind, &mut stop).await.map_err(|error| self.fail(error))?;
            let outcome = if matches!(kind, Kind::CreateView(_) | Kind::CreateTableAs(_)) || kind.is_change() {
                // It watches the guard itself: to take away what it has begun, or to let a commit end.
                statement::execute(self, prepared, parameters, &guard).await
            } else {
                tokio::select! {
                    biased;
                    error = stop.stopped() => Err(error),
                    outcome = statement::execute(self, prepared, parameters, &guard) => outcome,
                }
            };
            if kind.is_ddl() {
                self.forget_view();
                if outcome.is_ok() && !self.is_in_block() {
                    self.drop_on_commit().await.map_err(|error| self.fail(error))?;
                }
            }
            match outcome {
                Ok(Outcome::Rows { schema, rows, tag }) => Ok(Outcome::Rows { schema, rows: guard.watch(rows), tag }),
                Ok(Outcome::CopyOut(copy)) => Ok(Outcome::CopyOut(Box::new(copy.watched(guard)))),
                Ok(done) => Ok(done),
                Err(error) => Err(self.fail(error)),
            }
        })
    }

    /// The columns of a cursor that DECLARE made, and whether it is a binary one. Error: 34000.
    pub fn cursor_columns(&self, name: &str) -> Result<(SchemaRef, bool)> {
        Ok((self.cursors.schema(name)?, self.cursors.is_binary(name)))
    }

    /// Closes a cursor that DECLARE made, if there is one.
    pub fn close_cursor(&mut self, name: &str) {
        self.cursors.forget(name);
    }

    /// Ends a COPY whose data has come; the command tag.
    pub fn finish_copy(&mut self, copy: CopyIn) -> BoxFuture<'_, Result<String>> {
        Box::pin(async move {
            let finished = statement::change::copy::finish(self, copy).await;
            finished.map_err(|error| self.fail(error))
        })
    }

    /// Refuses everything but the end of a block that failed, and changes where none may be made.
    fn admit(&self, kind: &Kind) -> Result<()> {
        if let Some(what) = kind.writes()
            && self.settings.is_read_only()
        {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(Error::new(SqlState::ReadOnlyTransaction, message));
        }
        if self.transaction_status() == TransactionStatus::Failed
            && !matches!(kind, Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo(_) | Kind::Empty)
        {
            return Err(Error::new(
                SqlState::InFailedTransaction,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// An error fails the block it happens in.
    fn fail(&self, error: Error) -> Error {
        self.failed.store(true, Ordering::Release);
        self.with_schema(error)
    }

    /// Fails the open block, if there is one: for errors that the wire found before the session did
    /// (a parameter that is no value of its type, an unknown portal).
    pub fn fail_block(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Several statements came as one request: as in PostgreSQL they are a block of their own, so
    /// that all of them read one snapshot and their changes are made together, until
    /// [`Session::finish_request`] or, when one of them failed, [`Session::end_request`]. Before the first of
    /// a pipeline of the extended protocol (`pipelined`) no block is there yet.
    pub fn begin_request(&mut self, pipelined: bool) {
        self.request = Some(Block::of_request(pipelined));
    }

    /// The request's last statement is about to be answered: what it changed is committed, unless a
    /// block is open.
    pub fn finish_request(&mut self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            if self.block.is_none() && self.request.is_some() {
                self.commit_writes().await.map_err(|error| self.fail(error))?;
                self.drop_on_commit().await.map_err(|error| self.fail(error))?;
            }
            Ok(())
        })
    }

    /// The request is answered, or one of its statements failed: what is not committed is gone.
    pub fn end_request(&mut self) {
        self.request = None;
        self.settle_locks();
    }

    /// DDL works on what there is, and what follows it reads the outcome: the newest, under what the
    /// block has changed.
    pub(crate) fn forget_view(&mut self) {
        let fresh = self.fresh_view();
        if let Some(shared) = self.block.as_mut().or(self.request.as_mut()) {
            let writes = shared.view.take().and_then(|view| view.writes);
            shared.view = writes.map(|writes| View { writes: Some(writes), ..fresh });
        }
    }

    /// Refuses to alter what the block has changed rows of.
    pub(crate) fn refuse_changed(&self, table: RelationId, what: &str, name: &str) -> Result<()> {
        let view = self.shared().and_then(|shared| shared.view.as_ref());
        if view.is_some_and(|view| view.pending(table).is_some()) {
            let message = format!("cannot {what} \"{name}\" because this transaction has changed its rows");
            return Err(Error::new(SqlState::ObjectInUse, message));
        }
        Ok(())
    }

    fn shared(&self) -> Option<&Block> {
        self.block.as_ref().or(self.request.as_ref())
    }

    /// The data and the catalog that a statement reads now.
    pub(crate) fn view(&mut self) -> View {
        let view = self.peek_view();
        if let Some(shared) = self.block.as_mut().or(self.request.as_mut()) {
            shared.view = Some(view.clone());
        }
        view
    }

    /// As [`Session::view`], pinning nothing: to describe a statement.
    pub(crate) fn peek_view(&self) -> View {
        let pinned = self.shared().and_then(|shared| shared.view.clone());
        pinned.unwrap_or_else(|| self.fresh_view())
    }

    fn fresh_view(&self) -> View {
        // The catalog first: a relation it names is then at most newer in the data.
        let published = self.database.published();
        View { snapshot: Arc::new(self.database.0.engine.snapshot()), published, writes: None, given: Given::default() }
    }

    /// Whether changes wait for the end of a block, or of a request of several statements.
    pub(crate) fn is_in_block(&self) -> bool {
        self.shared().is_some()
    }

    /// What the open block changed of a table, to be changed and put back. Nobody else should hold
    /// its view then, or it is copied.
    pub(crate) fn take_pending(&mut self, table: &Arc<TableDefinition>) -> Arc<Pending> {
        let view = self.block.as_mut().or(self.request.as_mut()).and_then(|shared| shared.view.as_mut());
        let writes = view.and_then(|view| view.writes.as_mut());
        let taken = writes.and_then(|writes| Arc::make_mut(writes).remove(&table.id));
        taken.unwrap_or_else(|| Arc::new(Pending::new(table.clone())))
    }

    /// Puts back what [`Session::take_pending`] took.
    pub(crate) fn put_pending(&mut self, table: RelationId, pending: Arc<Pending>) {
        // A block that writes has read, so that its view is there.
        let view = self.block.as_mut().or(self.request.as_mut()).and_then(|shared| shared.view.as_mut());
        if let Some(view) = view {
            Arc::make_mut(view.writes.get_or_insert_default()).insert(table, pending);
        }
    }

    /// Makes what the block or request changed durable and visible; from here on it sees the newest.
    pub(crate) async fn commit_writes(&mut self) -> Result<()> {
        let view = self.block.as_mut().or(self.request.as_mut()).and_then(|shared| shared.view.take());
        match view {
            Some(view) if view.writes.is_some() => statement::change::commit(self, &view).await,
            _ => Ok(()),
        }
    }

    /// The clock reading of the statement: the block's, if one is open.
    pub(crate) fn now(&self) -> i64 {
        self.shared().map_or_else(now, |shared| shared.now)
    }
}

/// Microseconds since 1970 UTC.
fn now() -> i64 {
    chrono::Utc::now().timestamp_micros()
}
