//! Who waits for whom, and whether a wait would never end.

use std::collections::HashSet;

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::{Holder, Mode, State, Tag};
use crate::system::DATABASE_OID;

/// Those who keep a request waiting: it is in the queue, or would stand at its end.
pub(super) fn blockers(state: &State, holder: Holder, (tag, mode): (Tag, Mode)) -> Vec<Holder> {
    let Some(lock) = state.locks.get(&tag) else { return Vec::new() };
    let place = lock.queue.iter().position(|waiter| waiter.holder == holder).unwrap_or(lock.queue.len());
    lock.blockers(holder, mode, place).collect()
}

/// Refuses a request that would wait for its own end. Error: 40P01.
pub(super) fn refuse(state: &State, holder: Holder, wish: (Tag, Mode)) -> Result<()> {
    let mut seen = HashSet::from([holder]);
    // The chain of those who wait, each with what it waits for and its blockers not looked at yet.
    let mut way = vec![(holder, wish, blockers(state, holder, wish))];
    while let Some((_, _, left)) = way.last_mut() {
        match left.pop() {
            Some(next) if next == holder => {
                let links: Vec<(Holder, (Tag, Mode))> = way.iter().map(|(who, wish, _)| (*who, *wish)).collect();
                return Err(detected(&links));
            }
            Some(next) if seen.insert(next) => {
                if let Some(wish) = state.waits.get(&next) {
                    way.push((next, *wish, blockers(state, next, *wish)));
                }
            }
            Some(_) => {}
            None => drop(way.pop()),
        }
    }
    Ok(())
}

fn detected(links: &[(Holder, (Tag, Mode))]) -> Error {
    let lines: Vec<String> = links
        .iter()
        .enumerate()
        .map(|(place, (who, (tag, mode)))| {
            let by = links[(place + 1) % links.len()].0.pid;
            format!("Process {} waits for {} on {}; blocked by process {by}.", who.pid, mode.name(), spoken(*tag))
        })
        .collect();
    Error::new(SqlState::DeadlockDetected, "deadlock detected").detail(lines.join("\n"))
}

fn spoken(tag: Tag) -> String {
    match tag {
        Tag::Relation(oid) => format!("relation {oid} of database {DATABASE_OID}"),
        Tag::Advisory { class, object, sub } => format!("advisory lock [{DATABASE_OID},{class},{object},{sub}]"),
    }
}
