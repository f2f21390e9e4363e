//! Who is connected: the limit, and the keys by which a CancelRequest finds its session.
//!
//! Promises: a place is given back when its [`Seat`] is dropped; a cancel request with a wrong key
//! does nothing and learns nothing.

use std::collections::HashMap;
use std::io::Read;
use std::sync::Arc;

use parking_lot::Mutex;
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::session::CancelHandle;

/// All connections of a server.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    seats: Mutex<Seats>,
}

#[derive(Debug, Default)]
struct Seats {
    last: i32,
    taken: HashMap<i32, (i32, Option<CancelHandle>)>,
}

/// One connection's place; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat {
    connections: Arc<Connections>,
    /// What BackendKeyData calls the process id.
    pub(crate) id: i32,
    /// What a CancelRequest must know.
    pub(crate) secret: i32,
}

impl Connections {
    /// With so many places.
    pub(crate) fn new(most: usize) -> Arc<Connections> {
        Arc::new(Connections { most, seats: Mutex::default() })
    }

    /// Takes a place, 53300 if there is none.
    pub(crate) fn sit(self: &Arc<Self>) -> Result<Seat> {
        let secret = secret()?;
        let mut seats = self.seats.lock();
        if seats.taken.len() >= self.most {
            let error = Error::new(SqlState::TooManyConnections, "sorry, too many clients already");
            return Err(error.hint(format!("max_connections is {}.", self.most)));
        }
        let mut id = seats.last;
        loop {
            id = if id == i32::MAX { 1 } else { id + 1 };
            if !seats.taken.contains_key(&id) {
                break;
            }
        }
        seats.last = id;
        seats.taken.insert(id, (secret, None));
        Ok(Seat { connections: Arc::clone(self), id, secret })
    }

    /// Cancels what the session of this key runs.
    pub(crate) fn cancel(&self, id: i32, secret: i32) {
        let handle = match self.seats.lock().taken.get(&id) {
            Some((known, handle)) if *known == secret => handle.clone(),
            _ => None,
        };
        match handle {
            Some(handle) => handle.cancel(),
            None => tracing::debug!("a cancel request named no session"),
        }
    }
}

impl Seat {
    /// Says how to cancel what runs here.
    pub(crate) fn cancel_by(&self, handle: CancelHandle) {
        if let Some(entry) = self.connections.seats.lock().taken.get_mut(&self.id) {
            entry.1 = Some(handle);
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
        let connections = Connections::new(2);
        let first = connections.sit().unwrap();
        let second = connections.sit().unwrap();
        assert_ne!(first.id, second.id);
        assert_eq!(connections.sit().unwrap_err().state(), SqlState::TooManyConnections);
        drop(first);
        let third = connections.sit().unwrap();
        assert_ne!(third.id, second.id);
        assert!(connections.sit().is_err());
        connections.cancel(third.id, third.secret.wrapping_add(1));
        connections.cancel(99, 0);
    }
}
