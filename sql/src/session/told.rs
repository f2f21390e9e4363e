//! The settings that a client was told of, as ParameterStatus.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use crate::database::Published;
use crate::settings::SessionSettings;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Told {
    values: BTreeMap<&'static str, String>,
    /// When that was: how often settings had been set.
    changes: u64,
    /// Under which catalog: it says who is a superuser.
    under: Weak<Published>,
}

impl Told {
    /// Whether nothing can have changed since.
    pub(super) fn is_of(&self, settings: &SessionSettings, published: &Arc<Published>) -> bool {
        self.changes == settings.settled().changes && self.under.as_ptr() == Arc::as_ptr(published)
    }

    /// What the client does not know yet, which it is told now.
    pub(super) fn changes(
        &mut self,
        settings: &SessionSettings,
        published: &Arc<Published>,
    ) -> Vec<(&'static str, String)> {
        (self.changes, self.under) = (settings.settled().changes, Arc::downgrade(published));
        let reported = settings.reported();
        let changed = reported.filter(|(name, value)| self.values.get(name).map(String::as_str) != Some(*value));
        let changes: Vec<_> = changed.map(|(name, value)| (name, value.to_string())).collect();
        self.values.extend(changes.iter().cloned());
        changes
    }
}
