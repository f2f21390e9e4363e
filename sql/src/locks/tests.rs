//! Who gets a lock, in which order, and what is left of who does not.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use thalweg_dataflow::error::SqlState;

use super::{Locks, Mode, Scope, SessionLocks, Tag};

const ONE: Tag = Tag::Advisory { class: 0, object: 1, sub: 1 };
const TWO: Tag = Tag::Advisory { class: 0, object: 2, sub: 1 };
const THREE: Tag = Tag::Advisory { class: 0, object: 3, sub: 1 };

fn sessions<const N: usize>() -> (Arc<Locks>, [SessionLocks; N]) {
    let locks = Arc::new(Locks::default());
    let all = std::array::from_fn(|place| SessionLocks::new(&locks, place as u32, place as i32 + 100));
    (locks, all)
}

/// A request for good, not yet asked.
fn wants<'a>(
    session: &'a SessionLocks,
    tag: Tag,
    mode: Mode,
) -> std::pin::Pin<Box<dyn Future<Output = thalweg_dataflow::Result<bool>> + 'a>> {
    Box::pin(session.lock(tag, mode, Scope::Session, None))
}

#[test]
fn modes_conflict_as_in_postgresql() {
    for (mode, with) in [
        (Mode::AccessShare, vec![Mode::AccessExclusive]),
        (Mode::RowShare, vec![Mode::Exclusive, Mode::AccessExclusive]),
        (Mode::RowExclusive, vec![Mode::Share, Mode::ShareRowExclusive, Mode::Exclusive, Mode::AccessExclusive]),
    ] {
        for other in [
            Mode::AccessShare,
            Mode::RowShare,
            Mode::RowExclusive,
            Mode::ShareUpdateExclusive,
            Mode::Share,
            Mode::ShareRowExclusive,
            Mode::Exclusive,
            Mode::AccessExclusive,
        ] {
            assert_eq!(mode.conflicts(other), with.contains(&other), "{mode:?} {other:?}");
            assert_eq!(mode.conflicts(other), other.conflicts(mode), "{mode:?} {other:?}");
        }
    }
    assert!(!Mode::Share.conflicts(Mode::Share) && Mode::ShareUpdateExclusive.conflicts(Mode::ShareUpdateExclusive));
}

#[test]
fn who_waits_comes_before_who_asks_later_but_not_before_who_has_it() {
    let (locks, [first, second, third]) = sessions();
    assert!(first.try_lock(ONE, Mode::Share, Scope::Session).unwrap());
    let mut waiting = wants(&second, ONE, Mode::Exclusive);
    assert!(waiting.as_mut().now_or_never().is_none());
    assert!(!third.try_lock(ONE, Mode::Share, Scope::Session).unwrap());
    assert!(first.try_lock(ONE, Mode::Share, Scope::Session).unwrap());
    assert_eq!(locks.blocking(101), [100]);
    assert!(first.unlock(ONE, Mode::Share));
    assert!(waiting.as_mut().now_or_never().is_none(), "it is locked once more");
    first.end();
    assert!(waiting.as_mut().now_or_never().unwrap().unwrap(), "it had to wait");
    drop(waiting);
    assert!(!second.unlock(ONE, Mode::Share) && second.unlock(ONE, Mode::Exclusive));
    assert!(locks.shown().is_empty());
}

#[test]
fn a_circle_of_three_is_refused_where_it_closes() {
    let (locks, [first, second, third]) = sessions();
    for (session, tag) in [(&first, ONE), (&second, TWO), (&third, THREE)] {
        assert!(session.try_lock(tag, Mode::Exclusive, Scope::Session).unwrap());
    }
    let (mut one, mut two) = (wants(&first, TWO, Mode::Exclusive), wants(&second, THREE, Mode::Exclusive));
    assert!(one.as_mut().now_or_never().is_none() && two.as_mut().now_or_never().is_none());
    let refused = wants(&third, ONE, Mode::Exclusive).now_or_never().unwrap().unwrap_err();
    assert_eq!(refused.state(), SqlState::DeadlockDetected);
    assert_eq!(refused.detail_text().unwrap().lines().count(), 3);
    assert_eq!(locks.shown().len(), 5, "who is refused does not wait");
    third.end();
    assert!(two.as_mut().now_or_never().unwrap().unwrap());
    assert!(one.as_mut().now_or_never().is_none());
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing_behind() {
    let (locks, [first, second, third]) = sessions();
    assert!(first.try_lock(ONE, Mode::Exclusive, Scope::Transaction).unwrap());
    let late = second.lock(ONE, Mode::Exclusive, Scope::Session, Some(Duration::from_millis(1))).await;
    assert_eq!(late.unwrap_err().state(), SqlState::LockNotAvailable);
    let (mut gone, mut stays) = (wants(&second, ONE, Mode::Exclusive), wants(&third, ONE, Mode::Share));
    assert!(gone.as_mut().now_or_never().is_none() && stays.as_mut().now_or_never().is_none());
    first.back_to(0);
    // It has got it, and nobody came for it.
    drop(gone);
    assert!(stays.as_mut().now_or_never().unwrap().unwrap());
    drop(stays);
    third.end();
    assert!(locks.shown().is_empty());
    assert!(third.try_lock(ONE, Mode::Share, Scope::Session).unwrap());
    assert!(locks.shown().is_empty(), "a session that ended keeps nothing");
}

#[test]
fn locks_of_a_transaction_go_back_to_a_savepoint() {
    let (locks, [session]) = sessions();
    let take = |tag| assert!(session.try_lock(tag, Mode::Exclusive, Scope::Transaction).unwrap());
    take(ONE);
    let mark = session.mark();
    take(TWO);
    take(ONE);
    session.back_to(mark);
    assert_eq!(locks.shown().iter().map(|shown| shown.tag).collect::<Vec<_>>(), [ONE]);
    session.back_to(0);
    assert!(locks.shown().is_empty());
}
