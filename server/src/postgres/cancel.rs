//! Who is connected: the limit, and the keys by which a CancelRequest finds its session.
//!
//! Promises: a place is given back when its [`Seat`] is dropped; a cancel request with a wrong key
//! does nothing and learns nothing.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::session::{CancelHandle, Client};

use crate::shutdown::Shutdown;

/// All connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    /// The server's end, which is that of all of them.
    shutdown: Shutdown,
    most: usize,
    /// The last places, for superusers.
    reserved: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    last: i32,
    taken: HashMap<i32, Taken>,
}

#[derive(Debug)]
struct Taken {
    secret: i32,
    handle: Option<CancelHandle>,
    name: String,
}

/// Who wants a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor<'a> {
    /// The role's name.
    pub(crate) name: &'a str,
    /// Whether it is a superuser.
    pub(crate) superuser: bool,
    /// How many places the role may have.
    pub(crate) limit: Option<usize>,
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat {
    connections: Arc<Connections>,
    /// What BackendKeyData calls the process id.
    pub(crate) id: i32,
    /// What a CancelRequest must know.
    pub(crate) secret: i32,
    /// The end of its connection alone.
    pub(crate) end: Shutdown,
}

impl Connections {
    /// With so many places, the last of them for superusers.
    pub(crate) fn new(most: usize, reserved: usize, shutdown: Shutdown) -> Arc<Connections> {
        Arc::new(Connections {
            shutdown,
            most,
            reserved: reserved.min(most.saturating_sub(1)),
            seats: Mutex::default(),
        })
    }

    /// Takes a place, 53300 if there is none for this role.
    pub(crate) fn sit(self: &Arc<Self>, visitor: &Visitor<'_>) -> Result<Seat> {
        let secret = secret()?;
        let mut seats = self.seats.lock();
        if seats.taken.len() >= self.most {
            let error = Error::new(SqlState::TooManyConnections, "sorry, too many clients already");
            return Err(error.hint(format!("max_connections is {}.", self.most)));
        }
        if !visitor.superuser && seats.taken.len() + self.reserved >= self.most {
            let message = "remaining connection slots are reserved for roles with the SUPERUSER attribute";
            return Err(Error::new(SqlState::TooManyConnections, message));
        }
        let of_role = || seats.taken.values().filter(|taken| taken.name == visitor.name).count();
        if !visitor.superuser && visitor.limit.is_some_and(|limit| of_role() >= limit) {
            let message = format!("too many connections for role \"{}\"", visitor.name);
            return Err(Error::new(SqlState::TooManyConnections, message));
        }
        let mut id = seats.last;
        loop {
            id = if id == i32::MAX { 1 } else { id + 1 };
            if !seats.taken.contains_key(&id) {
                break;
            }
        }
        seats.last = id;
        seats.taken.insert(id, Taken { secret, handle: None, name: visitor.name.to_string() });
        Ok(Seat { connections: Arc::clone(self), id, secret, end: self.shutdown.part() })
    }

    /// Cancels what the session of this key runs.
    pub(crate) fn cancel(&self, id: i32, secret: i32) {
        let handle = match self.seats.lock().taken.get(&id) {
            Some(taken) if taken.secret == secret => taken.handle.clone(),
            _ => None,
        };
        match handle {
            Some(handle) => handle.cancel(),
            None => tracing::debug!("a cancel request named no session"),
        }
    }
}

impl Seat {
    /// What other sessions are told of the one that sits here.
    pub(crate) fn client(&self, address: SocketAddr, server: Option<SocketAddr>) -> Client {
        let end = self.end.clone();
        Client { pid: self.id, address: Some(address), server, terminate: Arc::new(move || end.request()) }
    }

    /// Says how to cancel what runs here.
    pub(crate) fn cancel_by(&self, handle: CancelHandle) {
        if let Some(entry) = self.connections.seats.lock().taken.get_mut(&self.id) {
            entry.handle = Some(handle);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.seats.lock().taken.remove(&self.id);
    }
}

/// A number nobody can guess.
fn secret() -> Result<i32> {
    let mut bytes = [0; 4];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| Error::internal(format!("no random number for the cancel key: {error}")))?;
    Ok(i32::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_and_given_back() {
        let connections = Connections::new(2, 0, Shutdown::default());
        let ann = Visitor { name: "ann", superuser: false, limit: None };
        let first = connections.sit(&ann).unwrap();
        let second = connections.sit(&ann).unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(connections.sit(&ann).unwrap_err().state(), SqlState::TooManyConnections);
        drop(first);
        let third = connections.sit(&ann).unwrap();
        assert_ne!(third.id, second.id);
        assert!(connections.sit(&ann).is_err());
        connections.cancel(third.id, third.secret.wrapping_add(1));
        connections.cancel(99, 0);
    }

    #[test]
    fn places_are_kept_for_superusers_and_roles_have_limits() {
        let connections = Connections::new(4, 1, Shutdown::default());
        let ann = Visitor { name: "ann", superuser: false, limit: Some(2) };
        let bob = Visitor { name: "bob", superuser: false, limit: None };
        let root = Visitor { name: "root", superuser: true, limit: Some(0) };
        let _ann = (connections.sit(&ann).unwrap(), connections.sit(&ann).unwrap());
        assert_eq!(connections.sit(&ann).unwrap_err().message(), "too many connections for role \"ann\"");
        let _bob = connections.sit(&bob).unwrap();
        let reserved = "remaining connection slots are reserved for roles with the SUPERUSER attribute";
        assert_eq!(connections.sit(&bob).unwrap_err().message(), reserved);
        let _root = connections.sit(&root).unwrap();
        assert_eq!(connections.sit(&root).unwrap_err().message(), "sorry, too many clients already");
    }
}
