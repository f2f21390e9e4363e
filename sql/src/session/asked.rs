//! Settings that `set_config` asked for while a query ran.
//!
//! The function runs on another thread and inside a plan, where it cannot change the session: it
//! checks and leaves word here, and the session takes it before its next statement and before it
//! tells the client of its settings.

use std::sync::Arc;

use parking_lot::Mutex;
use thalweg_dataflow::error::Result;

use super::Session;
use crate::settings::SessionSettings;

/// A setting: its name, its value (`None`: the default), whether it ends with the block.
type Wish = (String, Option<String>, bool);

/// See the module. Cheap to clone; equal to its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<Mutex<Vec<Wish>>>);

impl Asked {
    /// Asks for a setting; its value as SHOW will print it. The errors are those of SET.
    pub(crate) fn ask(
        &self,
        settings: &SessionSettings,
        name: &str,
        value: Option<&str>,
        local: bool,
    ) -> Result<String> {
        let mut tried = settings.clone();
        tried.set(name, value, local)?;
        self.0.lock().push((name.to_string(), value.map(str::to_string), local));
        // Outside of a block a local setting has no effect; its value is shown all the same.
        tried.set(name, value, false)?;
        Ok(tried.get(name)?.to_string())
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Asked) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Asked {}

impl std::hash::Hash for Asked {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Session {
    /// Puts in force what queries asked for.
    pub(super) fn take_asked(&mut self) {
        let wishes = std::mem::take(&mut *self.asked.0.lock());
        for (name, value, local) in wishes {
            // It was checked when it was asked for.
            if let Err(error) = self.settings.set(&name, value.as_deref(), local) {
                self.warning(error);
            }
        }
    }
}
