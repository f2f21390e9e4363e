//! The extended protocol: prepared statements and portals.
//!
//! Promises: a portal keeps its stream between Executes with a row limit, and is closed by the
//! end of the transaction; parameters are read by their types, in either form; what Bind gets
//! wrong is told with PostgreSQL's words.

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
use super::rows::{Format, all_of, description};

/// The most portals of one connection.
const MAX_PORTALS: usize = 10_000;

/// A statement with its parameters.
#[derive(Debug)]
pub(crate) struct Portal {
    prepared: Prepared,
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
        self.session.statements.check(&name)?;
        let types = types.iter().map(|oid| declared_type(*oid)).collect::<Result<Vec<_>>>()?;
        let mut parsed = self.session.parse(text)?;
        if parsed.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(Error::new(SqlState::SyntaxError, message).into());
        }
        let Some(statement) = parsed.pop() else { return Err(Error::internal("a text of no statement").into()) };
        let prepared = self.wire.attend(self.session.prepare(statement, &types)).await??;
        self.session.statements.keep(name, prepared)?;
        self.wire.output.plain(Plain::ParseComplete);
        Ok(())
    }

    /// Bind.
    pub(super) fn bind(&mut self, bind: Bind) -> Result<(), Stop> {
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            let message = format!("cursor \"{}\" already exists", bind.portal);
            return Err(Error::new(SqlState::DuplicateCursor, message).into());
        }
        if self.portals.len() >= MAX_PORTALS {
            let error = Error::new(SqlState::ProgramLimitExceeded, "too many portals");
            return Err(error.detail(format!("A connection may have {MAX_PORTALS}.")).into());
        }
        let prepared = self.session.statements.get(&bind.statement)?.clone();
        let parameters = parameters(&bind, &prepared.parameters, &self.session.text_style().zone)?;
        let columns = prepared.columns.as_ref().map_or(0, |schema| schema.fields().len());
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
            Target::Statement => (self.session.statements.get(name)?.clone(), Vec::new()),
            Target::Portal => match self.portals.get(name) {
                Some(portal) => (portal.prepared.clone(), portal.formats.clone()),
                None => return self.describe_cursor(name),
            },
        };
        if target == Target::Statement {
            let types = prepared.parameters.iter().map(PgType::oid);
            self.wire.output.message(&ParameterDescription::new(types.collect()));
        }
        match prepared.columns {
            Some(schema) => self.wire.output.message(&description(&schema, &formats)),
            None => self.wire.output.plain(Plain::NoData),
        }
        Ok(())
    }

    /// Describe of what DECLARE made: cursors and portals share their names.
    fn describe_cursor(&mut self, name: &str) -> Result<(), Stop> {
        let (schema, binary) = self.session.cursor_columns(name).map_err(|_| no_portal(name))?;
        self.wire.output.message(&description(&schema, &all_of(&schema, binary)));
        Ok(())
    }

    /// What comes up to Sync is one request, as in PostgreSQL; one statement alone commits by itself,
    /// so that it is done again when others changed its rows.
    fn begin_pipeline(&mut self) {
        let alone = self.wire.input.next_kind() == Some(b'S');
        if !self.pipelined && !alone && self.session.transaction_status() == TransactionStatus::Idle {
            self.session.begin_request(true);
            self.pipelined = true;
        }
    }

    /// Sync: what the request changed is committed.
    pub(super) async fn end_pipeline(&mut self) -> Result<(), Stop> {
        if !std::mem::take(&mut self.pipelined) {
            return Ok(());
        }
        let committed = self.wire.attend(self.session.finish_request()).await;
        self.session.end_request();
        Ok(committed??)
    }

    /// Execute.
    pub(super) async fn execute(&mut self, name: &str, limit: usize) -> Result<(), Stop> {
        self.begin_pipeline();
        let style = self.session.text_style().clone();
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
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
                // It runs once.
                let parameters = std::mem::take(&mut portal.parameters);
                let (prepared, formats) = (portal.prepared.clone(), portal.formats.clone());
                match self.outcome(&prepared, parameters).await? {
                    Outcome::Rows { schema, rows, tag } => Cursor::new(&schema, rows, tag, &formats, style),
                    Outcome::Done(tag) => {
                        self.wire.output.complete(&tag);
                        return Ok(());
                    }
                    Outcome::Copy(copy) => {
                        let tag = self.copy_in(*copy).await?;
                        self.wire.output.complete(&tag);
                        return Ok(());
                    }
                    Outcome::CopyOut(copy) => {
                        let tag = self.copy_out(*copy).await?;
                        self.wire.output.complete(&tag);
                        return Ok(());
                    }
                    Outcome::Empty => {
                        self.wire.output.plain(Plain::EmptyQuery);
                        return Ok(());
                    }
                }
            }
        };
        let rest = send(&mut cursor, &mut self.wire, limit).await?;
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        portal.state = rest.map_or(State::Exhausted, |()| State::Suspended(cursor));
        Ok(())
    }

    /// Close. Closing what is not there is no error.
    pub(super) fn close(&mut self, target: Target, name: &str) {
        match target {
            Target::Statement => _ = self.session.statements.forget(name),
            Target::Portal => {
                if self.portals.remove(name).is_none() {
                    self.session.close_cursor(name);
                }
            }
        }
        self.wire.output.plain(Plain::CloseComplete);
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
