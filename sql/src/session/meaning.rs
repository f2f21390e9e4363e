//! What gives a text its meaning besides the catalog: the zone, the search path, and who asks.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Session;
use crate::database::Published;

/// See the module. Two texts that are the same and mean the same have the same plan.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Meaning {
    zone: String,
    path: Vec<String>,
    /// `session_user`, `current_user`.
    users: [String; 2],
    /// Who may not read something does not get the plan of who may.
    role: u32,
}

/// What it was the last time.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// How often settings had been set.
    changes: u64,
    under: Weak<Published>,
    meaning: Option<Arc<Meaning>>,
}

impl Session {
    /// What gives texts their meaning now, over this catalog: the same one as long as nothing changed.
    pub(crate) fn meaning(&self, published: &Arc<Published>) -> Arc<Meaning> {
        let changes = self.settings.settled().changes;
        let mut last = self.meaning.0.lock();
        let is_same = last.changes == changes && last.under.as_ptr() == Arc::as_ptr(published);
        if let Some(meaning) = last.meaning.as_ref().filter(|_| is_same) {
            return meaning.clone();
        }
        let meaning = Arc::new(Meaning {
            zone: self.settings.zone().into(),
            path: self.path_in(&published.catalog),
            users: [self.session_user(), self.current_user()],
            role: self.role_in(&published.catalog),
        });
        *last = Last { changes, under: Arc::downgrade(published), meaning: Some(meaning.clone()) };
        meaning
    }
}
