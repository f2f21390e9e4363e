//! Who is connected and what each session does: what pg_stat_activity shows, and the way from one
//! session to the end of another's statement or connection.
//!
//! Promises: a session is listed from its begin to its end; of a statement at most
//! [`MAX_QUERY_BYTES`] are kept, and nothing of one that may hold a password. Asks for no right.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{CancelHandle, Session, TransactionStatus};
use crate::parser::Statement;

/// Bytes of a statement that are shown (PostgreSQL's track_activity_query_size).
const MAX_QUERY_BYTES: usize = 1024;

/// The client of a session, as whoever frames it knows it.
#[derive(Clone)]
pub struct Client {
    /// The number by which others name the session; no other has it meanwhile.
    pub pid: i32,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// Which of the server's addresses it reached.
    pub server: Option<SocketAddr>,
    /// Ends its connection.
    pub terminate: Arc<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("pid", &self.pid).field("address", &self.address).finish_non_exhaustive()
    }
}

/// All sessions of a database that have a client, by its number.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<BTreeMap<i32, Arc<Activity>>>);

impl Sessions {
    /// All of them, as of now.
    pub(crate) fn all(&self) -> Vec<Arc<Activity>> {
        self.0.lock().values().cloned().collect()
    }

    /// The one of this number.
    pub(crate) fn get(&self, pid: i32) -> Option<Arc<Activity>> {
        self.0.lock().get(&pid).cloned()
    }
}

/// One session, seen from outside.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Its client.
    pub(crate) client: Client,
    /// The role that logged in.
    pub(crate) role: u32,
    /// The user's name.
    pub(crate) user: String,
    /// When it began, in microseconds since 1970 UTC.
    pub(crate) began: i64,
    /// Ends what it runs.
    pub(crate) cancel: CancelHandle,
    doing: Mutex<Doing>,
}

impl Activity {
    /// What it does now.
    pub(crate) fn doing(&self) -> Doing {
        self.doing.lock().clone()
    }
}

/// What a session does. Times are microseconds since 1970 UTC.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    /// Its `application_name`.
    pub(crate) application: String,
    /// Whether a statement runs.
    pub(crate) active: bool,
    /// What ReadyForQuery said last.
    pub(crate) status: TransactionStatus,
    /// The statement that runs, or that ran last.
    pub(crate) query: Arc<str>,
    /// When that began.
    pub(crate) query_start: Option<i64>,
    /// When its transaction did.
    pub(crate) transaction_start: Option<i64>,
    /// When the session began to run or to wait.
    pub(crate) changed: i64,
}

/// A session's entry in [`Sessions`]; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Presence {
    sessions: Arc<Sessions>,
    activity: Arc<Activity>,
}

impl Presence {
    /// Enters a session that begins.
    pub(super) fn enter(
        sessions: &Arc<Sessions>,
        client: Client,
        (role, user): (u32, &str),
        cancel: CancelHandle,
    ) -> Presence {
        let began = super::now();
        let doing = Doing {
            application: String::new(),
            active: false,
            status: TransactionStatus::Idle,
            query: "".into(),
            query_start: None,
            transaction_start: None,
            changed: began,
        };
        let pid = client.pid;
        let activity = Arc::new(Activity { client, role, user: user.into(), began, cancel, doing: Mutex::new(doing) });
        sessions.0.lock().insert(pid, activity.clone());
        Presence { sessions: sessions.clone(), activity }
    }

    /// The client's number.
    pub(super) fn pid(&self) -> i32 {
        self.activity.client.pid
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.sessions.0.lock().remove(&self.pid());
    }
}

impl Session {
    /// The number by which others name this session; 0 if it has no client.
    pub(crate) fn pid(&self) -> i32 {
        self.presence.as_ref().map_or(0, Presence::pid)
    }

    /// A statement begins.
    pub(super) fn runs(&self, statement: &Statement) {
        let Some(presence) = &self.presence else { return };
        let now = super::now();
        let mut doing = presence.activity.doing.lock();
        doing.active = true;
        let query = begin_of(statement.shown_text());
        if *doing.query != *query {
            doing.query = query.into();
        }
        doing.query_start = Some(now);
        doing.transaction_start = Some(self.shared().map_or(now, |block| block.now));
        doing.changed = now;
    }

    /// The client is about to be told that it may go on.
    pub fn rests(&mut self) {
        self.settle_locks();
        let Some(presence) = &self.presence else { return };
        let status = self.transaction_status();
        let application = self.settings.get("application_name").unwrap_or_default();
        let mut doing = presence.activity.doing.lock();
        if doing.active || doing.status != status {
            doing.changed = super::now();
        }
        doing.active = false;
        doing.status = status;
        doing.transaction_start = self.block.as_ref().map(|block| block.now);
        if doing.application != application {
            doing.application = application.to_string();
        }
    }
}

/// The first bytes of a statement.
fn begin_of(text: &str) -> &str {
    let mut end = text.len().min(MAX_QUERY_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
