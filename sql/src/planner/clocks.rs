//! What the session and its clock say: current_user, now() and their like.

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use thalweg_dataflow::types::PgType;
use thalweg_dataflow::{Error, Result, SqlState};

use super::binder::Binder;
use super::call::text;
use super::expr::Cast;
use super::typed::Typed;

impl Binder<'_> {
    /// The keywords that are values: current_date and its like, without parentheses.
    pub(crate) fn keyword_value(&self, name: &str) -> Result<Option<Typed>> {
        let settings = self.settings;
        let value = match name {
            "current_timestamp" | "current_date" | "localtimestamp" | "localtime" => Some(self.clock(name)?),
            "current_user" | "user" | "current_role" => Some(text(&settings.user)),
            "session_user" => Some(text(&settings.session_user)),
            "current_catalog" => Some(text(&settings.database)),
            "current_schema" => Some(self.current_schema()),
            _ => None,
        };
        if value.is_some() && settings.view {
            return Err(Error::unsupported(format!("{name} in a materialized view"))
                .hint("Its value would change without any input changing."));
        }
        Ok(value)
    }

    /// Calls whose value the session or its clock gives.
    pub(super) fn session_call(&self, name: &str, args: &[Typed]) -> Result<Option<Typed>> {
        Ok(Some(match (name, args) {
            ("now" | "transaction_timestamp" | "statement_timestamp", []) => self.clock(name)?,
            ("current_timestamp" | "localtimestamp" | "localtime", [digits]) => self.rounded_clock(name, digits)?,
            ("timeofday", []) => {
                let format = Typed::unknown(Some("Dy Mon DD HH24:MI:SS.US YYYY TZ".into()));
                self.call_by_name("to_char", vec![self.clock("now")?, format])?
            }
            ("version" | "current_database" | "current_schema" | "current_user" | "getpgusername", []) => {
                if self.settings.view {
                    return Err(Error::unsupported(format!("{name}() in a materialized view"))
                        .hint("Its value depends on the session."));
                }
                match name {
                    "version" => text(&self.settings.version),
                    "current_database" => text(&self.settings.database),
                    "current_schema" => self.current_schema(),
                    _ => text(&self.settings.user),
                }
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn current_schema(&self) -> Typed {
        Typed::constant(ScalarValue::Utf8(self.settings.schema.clone()), PgType::Text)
    }

    pub(super) fn clock(&self, name: &str) -> Result<Typed> {
        self.clock_at(name, self.settings.now)
    }

    /// The clock reading of this name at a moment, in microseconds since 1970 UTC.
    fn clock_at(&self, name: &str, now: i64) -> Result<Typed> {
        if self.settings.view {
            return Err(Error::unsupported(format!("{name} in a materialized view"))
                .hint("Its value would change without any input changing."));
        }
        self.reads_clock.set(true);
        let now = ScalarValue::TimestampMicrosecond(Some(now), Some("UTC".into()));
        let now = Typed::constant(now, PgType::Timestamptz);
        match name {
            "current_date" => self.coerce(now, &PgType::Date, Cast::Explicit),
            "localtimestamp" => self.coerce(now, &PgType::Timestamp, Cast::Explicit),
            "localtime" => self.coerce(now, &PgType::Time(None), Cast::Explicit),
            _ => Ok(now),
        }
    }

    /// `current_timestamp(digits)`.
    pub(super) fn rounded_clock(&self, name: &str, digits: &Typed) -> Result<Typed> {
        let Expr::Literal(ScalarValue::Int32(Some(digits)), _) = &digits.expr else {
            return Err(Error::new(SqlState::SyntaxError, format!("syntax error in the argument of {name}")));
        };
        // Zones are whole seconds from UTC.
        let unit = 10i64.pow(6 - (*digits).clamp(0, 6) as u32);
        self.clock_at(name, self.settings.now.saturating_add(unit / 2).div_euclid(unit) * unit)
    }
}
