//! What every statement asks of the settings, worked out once when they change.
//!
//! Settings are read with every message and set now and then.

use std::time::Duration;

use thalweg_dataflow::types::{TextStyle, Zone};

use super::SessionSettings;
use super::units::Unit;

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settled {
    /// How often a setting was set: as long as it is the same, they are.
    pub(crate) changes: u64,
    /// How values are printed.
    pub(crate) style: TextStyle,
    /// `statement_timeout`; `None`: no limit.
    pub(crate) statement_timeout: Option<Duration>,
    /// `lock_timeout`; `None`: no limit.
    pub(crate) lock_timeout: Option<Duration>,
    /// How long a connection may do nothing, in a block and else; `None`: for ever.
    pub(crate) idle: (Option<Duration>, Option<Duration>),
    /// Whether the transaction may change nothing.
    pub(crate) read_only: bool,
}

impl Settled {
    /// Of these settings, which were set `changes` times.
    pub(super) fn of(settings: &SessionSettings, changes: u64) -> Settled {
        let duration = |name: &str| {
            let millis = Unit::named("ms")?.read(settings.known(name))?;
            (millis > 0.0).then(|| Duration::from_millis(millis as u64))
        };
        Settled {
            changes,
            style: TextStyle {
                // The settings have checked the zone; UTC is what they start with.
                zone: Zone::parse(settings.zone()).unwrap_or(Zone::Utc),
                extra_float_digits: settings.known("extra_float_digits").parse().unwrap_or(1),
            },
            statement_timeout: duration("statement_timeout"),
            lock_timeout: duration("lock_timeout"),
            idle: (duration("idle_in_transaction_session_timeout"), duration("idle_session_timeout")),
            read_only: settings.known("transaction_read_only") == "on",
        }
    }
}
