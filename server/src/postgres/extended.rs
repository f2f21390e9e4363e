//! The extended protocol: prepared statements and portals.
//!
//! Promises: a portal keeps its stream between Executes with a row limit, and is closed by the
//! end of the transaction; parameters are read by their types, in either form; what Bind gets
//! wrong is told with PostgreSQL's words.

use std::collections::HashMap;

use datafusion::scalar::ScalarValue;
use pgwire::messages::data::ParameterDescription;
use thalweg_dataflow::types::{PgType, Zone, parse_text, read_binary};
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::session::{Outcome, Prepared, TransactionStatus};

use super::attend::Wire;
use super::backend::Plain;
use super::connection::{Connection, Stop};
use super::cursor::Cursor;
use super::frontend::{Bind, Target};
use super::rows::{Format, description};

/// The most prepared statements, and the most portals, of one connection.
const MAX_NAMED: usize = 10_000;

/// Prepared statements by name; `None` is the empty text.
pub(crate) type Statements = HashMap<String, Option<Prepared>>;

/// A statement with its parameters.
#[derive(Debug)]
pub(crate) struct Portal {
    prepared: Option<Prepared>,
    parameters: Vec<ScalarValue>,
    formats: Vec<Format>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not run yet.
    New,
    /// Gave some rows and has more.
    Suspended(Cursor),
    /// Gave all its rows.
    Exhausted,
    /// Ran; cannot run again.
    Done,
}

impl Portal {
    /// Whether it outlives a ReadyForQuery with this status.
    pub(crate) fn survives(&self, status: TransactionStatus) -> bool {
        status == TransactionStatus::InBlock
    }
}

impl Connection {
    /// Parse.
    pub(super) async fn parse(&mut self, name: String, text: &str, types: &[u32]) -> Result<(), Stop> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(Error::new(SqlState::DuplicatePreparedStatement, message).into());
        }
        bounded(self.statements.len(), "prepared statements")?;
        let types = types.iter().map(|oid| declared_type(*oid)).collect::<Result<Vec<_>>>()?;
        let mut parsed = self.session.parse(text)?;
        if parsed.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Error::new(SqlState::SyntaxError, message).into());
        }
        let prepared = match parsed.pop() {
            Some(statement) => Some(self.wire.attend(self.session.prepare(statement, &types)).await??),
            None => None,
        };
        self.statements.insert(name, prepared);
        self.wire.output.plain(Plain::ParseComplete);
        Ok(())
    }

    /// Bind.
    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(Error::new(SqlState::DuplicateCursor, message).into());
        }
        bounded(self.portals.len(), "portals")?;
        let prepared = self.statement(&bind.statement)?.clone();
        let types = prepared.as_ref().map_or(&[][..], |prepared| &prepared.parameters);
        let parameters = parameters(&bind, types, &self.text_style().zone)?;
        let columns =
            prepared.as_ref().and_then(|prepared| prepared.columns.as_ref()).map_or(0, |schema| schema.fields().len());
        let formats = Format::spread(&bind.result_formats, columns).unwrap_or_else(|| {
            let message = format!(
                "bind message has {} result formats but query has {columns} columns",
                bind.result_formats.len()
            );
            Err(Error::new(SqlState::ProtocolViolation, message))
        })?;
        self.portals.insert(bind.portal, Portal { prepared, parameters, formats, state: State::New });
        self.wire.output.plain(Plain::BindComplete);
        Ok(())
    }

    /// Describe.
    pub(super) fn describe(&mut self, target: Target, name: &str) -> Result<(), Stop> {
        let (prepared, formats) = match target {
            Target::Statement => (self.statement(name)?.clone(), Vec::new()),
            Target::Portal => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.prepared.clone(), portal.formats.clone())
            }
        };
        if target == Target::Statement {
            let types = prepared.iter().flat_map(|prepared| &prepared.parameters).map(PgType::oid);
            self.wire.output.message(&ParameterDescription::new(types.collect()));
        }
        match prepared.and_then(|prepared| prepared.columns) {
            Some(schema) => self.wire.output.message(&description(&schema, &formats)),
            None => self.wire.output.plain(Plain::NoData),
        }
        Ok(())
    }

    /// Execute.
    pub(super) async fn execute(&mut self, name: &str, limit: usize) -> Result<(), Stop> {
        let style = self.text_style();
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        if let (State::New, Some(prepared)) = (&portal.state, &portal.prepared) {
            let statement = prepared.statement.clone();
            if self.deallocate(statement.text()) {
                return Ok(());
            }
        }
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let Some(prepared) = &portal.prepared else {
            self.wire.output.plain(Plain::EmptyQuery);
            return Ok(());
        };
        let mut cursor = match std::mem::replace(&mut portal.state, State::Done) {
            State::Suspended(cursor) => cursor,
            State::Exhausted => {
                portal.state = State::Exhausted;
                self.wire.output.complete("SELECT 0");
                return Ok(());
            }
            State::Done => {
                let message = format!("portal \"{name}\" cannot be run");
                return Err(Error::new(SqlState::ObjectNotInPrerequisiteState, message).into());
            }
            State::New => {
                let execution = self.session.execute(prepared, portal.parameters.clone());
                match self.wire.attend(execution).await?? {
                    Outcome::Rows { schema, rows, tag } => Cursor::new(&schema, rows, tag, &portal.formats, style),
                    Outcome::Done(tag) => {
                        self.done(&tag);
                        return Ok(());
                    }
                    Outcome::Copy(copy) => {
                        let tag = self.copy_in(*copy).await?;
                        self.done(&tag);
                        return Ok(());
                    }
                    Outcome::Empty => {
                        self.wire.output.plain(Plain::EmptyQuery);
                        return Ok(());
                    }
                }
            }
        };
        portal.state =
            send(&mut cursor, &mut self.wire, limit).await?.map_or(State::Exhausted, |()| State::Suspended(cursor));
        Ok(())
    }

    /// Close. Closing what is not there is no error.
    pub(super) fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Statement => drop(self.statements.remove(name)),
            Target::Portal => drop(self.portals.remove(name)),
        }
        self.wire.output.plain(Plain::CloseComplete);
    }

    fn statement(&self, name: &str) -> Result<&Option<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            let message = match name {
                "" => "unnamed prepared statement does not exist".to_string(),
                name => format!("prepared statement \"{name}\" does not exist"),
            };
            Error::new(SqlState::InvalidStatementName, message)
        })
    }
}

/// Sends rows and what closes them; `Some` while there are more.
async fn send(cursor: &mut Cursor, wire: &mut Wire, limit: usize) -> Result<Option<()>, Stop> {
    let (sent, ended) = cursor.send(wire, limit).await?;
    if ended {
        wire.output.complete(&cursor.tag(sent));
        return Ok(None);
    }
    wire.output.plain(Plain::PortalSuspended);
    Ok(Some(()))
}

fn no_portal(name: &str) -> Error {
    Error::new(SqlState::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}

fn bounded(count: usize, what: &str) -> Result<()> {
    if count < MAX_NAMED {
        return Ok(());
    }
    let error = Error::new(SqlState::ProgramLimitExceeded, format!("too many {what}"));
    Err(error.detail(format!("A connection may have {MAX_NAMED}.")))
}

/// The type a client declared for a parameter; 0 and `unknown` leave it open.
fn declared_type(oid: u32) -> Result<Option<PgType>> {
    const UNKNOWN: u32 = 705;
    match oid {
        0 | UNKNOWN => Ok(None),
        oid => match PgType::from_oid(oid) {
            Some(data_type) => Ok(Some(data_type)),
            None => Err(Error::new(SqlState::UndefinedObject, format!("type with OID {oid} does not exist"))),
        },
    }
}

fn parameters(bind: &Bind, types: &[PgType], zone: &Zone) -> Result<Vec<ScalarValue>> {
    if bind.parameters.len() != types.len() {
        let message = format!(
            "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
            bind.parameters.len(),
            bind.statement,
            types.len()
        );
        return Err(Error::new(SqlState::ProtocolViolation, message));
    }
    let formats = Format::spread(&bind.parameter_formats, types.len()).unwrap_or_else(|| {
        let message = format!(
            "bind message has {} parameter formats but {} parameters",
            bind.parameter_formats.len(),
            types.len()
        );
        Err(Error::new(SqlState::ProtocolViolation, message))
    })?;
    let values = bind.parameters.iter().zip(types).zip(formats);
    values.map(|((value, data_type), format)| parameter(value.as_deref(), data_type, format, zone)).collect()
}

fn parameter(value: Option<&[u8]>, data_type: &PgType, format: Format, zone: &Zone) -> Result<ScalarValue> {
    match (value, format) {
        (None, _) => Ok(ScalarValue::try_from(data_type.arrow())?),
        (Some(bytes), Format::Binary) => read_binary(data_type, bytes),
        (Some(bytes), Format::Text) => {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::new(SqlState::CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"")
            })?;
            parse_text(data_type, text, zone)
        }
    }
}
