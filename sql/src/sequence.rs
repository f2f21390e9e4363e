//! Where sequences stand: what `nextval` gives.
//!
//! Promises: no value is given twice, whoever asks and whatever crashes: before a value is given, the
//! engine has made durable that it, and some values ahead of it, are gone. After a crash those ahead
//! are skipped; a kind stop gives them back. Rights are checked elsewhere.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use parking_lot::Mutex;
use thalweg_dataflow::engine::Engine;
use thalweg_dataflow::error::{Error, Result, SqlState};
use thalweg_dataflow::plan::RelationId;
use thalweg_dataflow::table::{OnConflict, TableChange};

use crate::catalog::{Object, Sequence, sequence};

/// Values that are taken ahead at first, as in PostgreSQL.
const AHEAD: i64 = 32;

/// The most that are taken ahead where they are used up again and again.
const MOST_AHEAD: i64 = 1024;

/// Where a sequence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The last value that was given, or the first that will be.
    pub(crate) last: i64,
    /// Whether it was given.
    pub(crate) called: bool,
}

/// A sequence in use.
#[derive(Debug)]
struct State {
    place: Place,
    /// What the engine holds; nothing before the first value.
    kept: Option<Place>,
    /// Values that may be given before the engine must know.
    left: i64,
    /// How many are taken next time.
    ahead: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    engine: Option<Engine>,
    states: Mutex<HashMap<u32, Arc<Mutex<Option<State>>>>>,
}

impl Sequence {
    /// The value after a place. Error 2200H at the end of one that does not cycle.
    fn after(&self, place: Place, name: &str) -> Result<i64> {
        if !place.called {
            return Ok(place.last);
        }
        let next = place.last.checked_add(self.increment);
        match next.filter(|next| (self.min..=self.max).contains(next)) {
            Some(next) => Ok(next),
            None if self.cycle => Ok(if self.increment > 0 { self.min } else { self.max }),
            None => {
                let (word, limit) = if self.increment > 0 { ("maximum", self.max) } else { ("minimum", self.min) };
                let message = format!("nextval: reached {word} value of sequence \"{name}\" ({limit})");
                Err(Error::new(SqlState::SequenceLimitExceeded, message))
            }
        }
    }

    /// The place so many values on, and how many there were before the end or the next round.
    fn ahead(&self, place: Place, wanted: i64) -> (Place, i64) {
        let first = if place.called { place.last.checked_add(self.increment) } else { Some(place.last) };
        let Some(first) = first.filter(|first| (self.min..=self.max).contains(first)) else { return (place, 0) };
        let room = match self.increment > 0 {
            true => i128::from(self.max) - i128::from(first),
            false => i128::from(first) - i128::from(self.min),
        };
        let more = (room / i128::from(self.increment).abs()).min(i128::from(wanted.max(1) - 1));
        let last = i128::from(first) + more * i128::from(self.increment);
        // Both are within what the sequence may hold.
        let place = Place { last: i64::try_from(last).unwrap_or(first), called: true };
        (place, i64::try_from(more + 1).unwrap_or(1))
    }
}

impl Sequences {
    /// Of this engine.
    pub(crate) fn new(engine: Engine) -> Sequences {
        Sequences { engine: Some(engine), states: Mutex::default() }
    }

    fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().ok_or_else(|| Error::internal("sequences without an engine"))
    }

    fn state(&self, oid: u32) -> Arc<Mutex<Option<State>>> {
        self.states.lock().entry(oid).or_default().clone()
    }

    /// Runs `work` over a sequence's state, read from the engine where nobody used it yet.
    fn with<T>(&self, object: &Object, work: impl FnOnce(&Sequence, &mut State) -> Result<T>) -> Result<T> {
        let Some(definition) = object.sequence() else { return Err(Error::internal("a sequence that is none")) };
        let state = self.state(object.oid);
        let mut state = state.lock();
        let known = match state.take() {
            Some(known) => known,
            None => {
                let kept = self.read(object)?;
                let place = kept.unwrap_or(Place { last: definition.start, called: false });
                State { place, kept, left: 0, ahead: AHEAD }
            }
        };
        work(definition, state.insert(known))
    }

    /// What the engine holds of a sequence.
    fn read(&self, object: &Object) -> Result<Option<Place>> {
        let rows = self.engine()?.snapshot().scan(RelationId(object.oid), None);
        for batch in rows.map_err(|_| gone(&object.name))? {
            let batch = batch?;
            if batch.num_rows() > 0 {
                let last = batch.column(0).as_primitive::<Int64Type>().value(0);
                return Ok(Some(Place { last, called: batch.column(1).as_boolean().value(0) }));
            }
        }
        Ok(None)
    }

    /// Makes a place durable. Waits on this thread: nothing that the engine needs for it runs here.
    fn keep(&self, oid: u32, name: &str, from: Option<Place>, to: Place) -> Result<()> {
        let table = Arc::new(sequence::kept(oid, name));
        let row = |place: Option<Place>| {
            let last: ArrayRef = Arc::new(place.iter().map(|place| Some(place.last)).collect::<Int64Array>());
            let called: ArrayRef = Arc::new(place.iter().map(|place| Some(place.called)).collect::<BooleanArray>());
            RecordBatch::try_new(table.no_rows().schema(), vec![last, called])
        };
        let (deletes, inserts) = (row(from)?, row(Some(to))?);
        let change = TableChange { table, deletes, inserts, on_conflict: OnConflict::Fail };
        let commit = tokio::task::unconstrained(self.engine()?.commit(std::slice::from_ref(&change)));
        futures::executor::block_on(commit).map(drop).map_err(|error| match error.state() {
            SqlState::UndefinedTable => gone(name),
            _ => error,
        })
    }

    /// The next values.
    pub(crate) fn next(&self, object: &Object, count: usize) -> Result<Vec<i64>> {
        self.with(object, |definition, state| {
            let mut values = Vec::with_capacity(count);
            while values.len() < count {
                let value = definition.after(state.place, &object.name)?;
                let place = Place { last: value, called: true };
                if state.left == 0 {
                    let still = i64::try_from(count - values.len()).unwrap_or(i64::MAX);
                    let (kept, more) = definition.ahead(place, still.saturating_add(state.ahead - 1));
                    self.keep(object.oid, &object.name, state.kept, kept)?;
                    (state.kept, state.left) = (Some(kept), more);
                    state.ahead = (state.ahead * 2).min(MOST_AHEAD);
                } else {
                    state.left -= 1;
                }
                state.place = place;
                values.push(value);
            }
            Ok(values)
        })
    }

    /// `setval`, RESTART.
    pub(crate) fn set(&self, object: &Object, place: Place) -> Result<()> {
        self.with(object, |_, state| {
            self.keep(object.oid, &object.name, state.kept, place)?;
            *state = State { place, kept: Some(place), left: 0, ahead: AHEAD };
            Ok(())
        })
    }

    /// Where a sequence stands, and how many values are taken ahead.
    pub(crate) fn place(&self, object: &Object) -> Result<(Place, i64)> {
        self.with(object, |_, state| Ok((state.place, state.left)))
    }

    /// Gives back what was taken ahead: the server stops.
    pub(crate) fn give_back(&self) {
        let all: Vec<(u32, Arc<Mutex<Option<State>>>)> =
            self.states.lock().iter().map(|(oid, state)| (*oid, state.clone())).collect();
        for (oid, state) in all {
            let mut state = state.lock();
            let ahead = |state: &&mut State| state.kept.is_some_and(|kept| kept != state.place);
            let Some(state) = state.as_mut().filter(ahead) else { continue };
            match self.keep(oid, "", state.kept, state.place) {
                Ok(()) => (state.kept, state.left) = (Some(state.place), 0),
                // It was dropped, or its values are skipped.
                Err(error) => tracing::debug!(%error, oid, "values taken ahead are not given back"),
            }
        }
    }

    /// Forgets sequences that are gone.
    pub(crate) fn forget(&self, oids: &[u32]) {
        let mut states = self.states.lock();
        oids.iter().for_each(|oid| _ = states.remove(oid));
    }
}

fn gone(name: &str) -> Error {
    Error::new(SqlState::UndefinedTable, format!("relation \"{name}\" does not exist"))
}

/// What a session has had of sequences. Cheap to clone; equal to its clones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(Arc<Mutex<UsedValues>>);

#[derive(Debug, Default)]
struct UsedValues {
    values: HashMap<u32, i64>,
    last: Option<u32>,
}

impl Used {
    /// A value was given; `is_next`: by `nextval`, for `lastval`.
    pub(crate) fn had(&self, oid: u32, value: i64, is_next: bool) {
        let mut used = self.0.lock();
        used.values.insert(oid, value);
        if is_next {
            used.last = Some(oid);
        }
    }

    /// `currval`.
    pub(crate) fn current(&self, oid: u32) -> Option<i64> {
        self.0.lock().values.get(&oid).copied()
    }

    /// `lastval`: the sequence and its value.
    pub(crate) fn last(&self) -> Option<(u32, i64)> {
        let used = self.0.lock();
        let oid = used.last?;
        Some((oid, *used.values.get(&oid)?))
    }

    /// DISCARD SEQUENCES.
    pub(crate) fn clear(&self) {
        *self.0.lock() = UsedValues::default();
    }
}

impl PartialEq for Used {
    fn eq(&self, other: &Used) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Used {}

#[cfg(test)]
mod tests {
    use thalweg_dataflow::types::PgType;

    use super::*;

    fn sequence(increment: i64, min: i64, max: i64, cycle: bool) -> Sequence {
        Sequence { data_type: PgType::Int8, start: min, increment, min, max, cache: 1, cycle, owned_by: None }
    }

    #[test]
    fn what_is_taken_ahead_ends_at_the_end_of_a_round() {
        let place = |last, called| Place { last, called };
        let ten = sequence(3, 1, 10, true);
        assert_eq!(ten.ahead(place(1, false), 100), (place(10, true), 4));
        assert_eq!(ten.ahead(place(1, true), 2), (place(7, true), 2));
        assert_eq!(ten.ahead(place(10, true), 5), (place(10, true), 0));
        assert_eq!(ten.after(place(10, true), "s").unwrap(), 1);
        let down = sequence(-1, i64::MIN, -1, false);
        assert_eq!(down.ahead(place(i64::MIN + 1, true), 5), (place(i64::MIN, true), 1));
        let error = down.after(place(i64::MIN, true), "s").unwrap_err();
        assert_eq!(error.message(), "nextval: reached minimum value of sequence \"s\" (-9223372036854775808)");
    }
}
