//! Planted faults: what the simulation must find. Each is what a defect of that kind would do; the
//! product asks [`planted`] in test builds only.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::SourceProgress;
use crate::delta::{Batch, Delta};
use crate::graph::{Frame, Node, NodeKey};
use crate::operator::reduce::Changed;
use crate::plan::{JoinKind, RelationId};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Fault { $($(#[$doc])* $name,)* }

        impl Fault {
            /// All of them.
            pub(crate) const ALL: &[Fault] = &[$(Fault::$name,)*];
        }
    };
}

faults! {
    /// A row that goes does not arrive above.
    LostRetraction,
    /// A row that comes does not arrive above.
    LostInsertion,
    /// A row arrives twice.
    DuplicateRow,
    /// A delta arrives an epoch late.
    LateDelta,
    /// A join does not look at what changed on its left.
    LeftForgotten,
    /// A join does not look at what changed on its right.
    RightForgotten,
    /// Pairs of two changed rows are counted twice.
    BothSidesTwice,
    /// An outer join's row without a pair stays when a pair comes.
    UnmatchedStays,
    /// A null equals a null where it must not: NOT IN with nulls.
    NullsMeet,
    /// A full join forgets its right rows.
    FullIsLeft,
    /// A filter lets all pass.
    FilterForgotten,
    /// A condition that is null counts as true.
    NullIsTrue,
    /// DISTINCT keeps duplicates.
    DistinctCounts,
    /// An aggregate forgets its DISTINCT.
    DistinctForgotten,
    /// An aggregate forgets its FILTER.
    ConditionForgotten,
    /// LIMIT n shows n + 1.
    TopOneMore,
    /// OFFSET is forgotten.
    OffsetForgotten,
    /// Nulls stand at the other end of an order.
    NullsElsewhere,
    /// min and max do not look behind a value that went.
    StaleMin,
    /// An aggregate without GROUP BY has no row over no rows.
    GlobalRowGone,
    /// A group that lost its rows stays.
    GroupStays,
    /// An error stays when its row went.
    ErrorStays,
    /// Old images are dropped although a reader needs them.
    UndoForgotten,
    /// A lookup by key finds the row that there is now.
    LookupOfNow,
    /// A lookup by key does not know the row that had the key before.
    FormerRowForgotten,
    /// A checkpoint leaves out some of what changed.
    DirtyForgotten,
    /// A checkpoint takes a new arrangement for the one that was in its place.
    ArrangementMistaken,
    /// Recovery plays a cut twice.
    CutTwice,
    /// Recovery leaves out the last cut.
    CutLost,
    /// A source goes on one record too far after a restart.
    OffsetsAhead,
    /// A build forgets what its inputs changed since its first round.
    SpliceForgets,
    /// A build reads records again.
    BackfillTwice,
    /// A commit does not see those before it in the same epoch.
    HeadForgotten,
    /// A unique key is not looked at.
    KeyForgotten,
    /// A commit that fails leaves part of itself.
    TakeBackForgotten,
    /// The cut log says durable before it is.
    LogLies,
}

thread_local! {
    static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    static LATE: RefCell<HashMap<String, Delta>> = RefCell::default();
}

/// Plants a fault in all that this thread runs; `None`: none.
pub(crate) fn plant(fault: Option<Fault>) {
    PLANTED.set(fault);
    LATE.with_borrow_mut(HashMap::clear);
}

/// Whether this fault is planted.
pub(crate) fn planted(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// What a node gives, with the planted fault.
pub(crate) fn altered(node: &Node, mut changed: Changed) -> Changed {
    let Some(fault) = PLANTED.get() else { return changed };
    let delta = &mut changed.delta;
    match (fault, &node.key) {
        (Fault::LostRetraction, NodeKey::Map(..)) => without(delta, |diffs, place| diffs[place] < 0),
        (Fault::LostInsertion, NodeKey::Union(_) | NodeKey::Join(..)) => {
            without(delta, |diffs, place| diffs[place] > 0)
        }
        (Fault::DuplicateRow, NodeKey::Map(..)) => {
            if let Some(batch) = delta.first_mut() {
                let mut diffs = diffs_of(batch);
                diffs.iter_mut().take(1).for_each(|diff| *diff *= 2);
                batch.diffs = Some(diffs.into());
            }
        }
        (Fault::LateDelta, NodeKey::Map(..)) => LATE.with_borrow_mut(|late| {
            std::mem::swap(late.entry(node.fingerprint.clone()).or_default(), delta);
        }),
        (Fault::UnmatchedStays, NodeKey::Join(JoinKind::Left | JoinKind::Full, ..)) => {
            let last: Vec<_> = delta.iter().map(|batch| batch.rows.columns().last().cloned()).collect();
            for (batch, last) in delta.iter_mut().zip(last) {
                let null = |place: usize| last.as_ref().is_some_and(|column| column.is_null(place));
                let diffs = diffs_of(batch).into_iter().enumerate();
                batch.diffs = Some(diffs.map(|(place, diff)| if diff < 0 && null(place) { 0 } else { diff }).collect());
            }
        }
        (Fault::GroupStays, NodeKey::Groups(..)) => {
            without(delta, |diffs, place| diffs[place] < 0 && diffs.get(place + 1).is_none_or(|next| *next < 0));
        }
        (Fault::ErrorStays, _) => changed.errors.retain(|error| error.diff > 0),
        _ => {}
    }
    changed
}

fn diffs_of(batch: &Batch) -> Vec<i64> {
    (0..batch.rows.num_rows()).map(|row| batch.diff(row)).collect()
}

/// Takes the first row away for which this holds.
fn without(delta: &mut Delta, lost: impl Fn(&[i64], usize) -> bool) {
    for batch in delta {
        let mut diffs = diffs_of(batch);
        if let Some(place) = (0..diffs.len()).find(|place| lost(&diffs, *place)) {
            diffs[place] = 0;
            batch.diffs = Some(diffs.into());
            return;
        }
    }
}

/// The deltas that a join looks at.
pub(crate) fn sides<'a>(left: &'a [Batch], right: &'a [Batch]) -> (&'a [Batch], &'a [Batch]) {
    match PLANTED.get() {
        Some(Fault::LeftForgotten) => (&[], right),
        Some(Fault::RightForgotten) => (left, &[]),
        _ => (left, right),
    }
}

/// An epoch's frame.
pub(crate) fn framed(frame: Frame) -> Frame {
    if planted(Fault::UndoForgotten) { Frame { oldest: frame.epoch, ..frame } } else { frame }
}

/// The records that recovery plays again.
pub(crate) fn replayed(mut records: Vec<(u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    match PLANTED.get() {
        Some(Fault::CutTwice) => records.extend(records.last().cloned()),
        Some(Fault::CutLost) => drop(records.pop()),
        _ => {}
    }
    records
}

/// How far the sources were read, as recovery sees it.
pub(crate) fn resumed(mut progress: BTreeMap<RelationId, SourceProgress>) -> BTreeMap<RelationId, SourceProgress> {
    if planted(Fault::OffsetsAhead) {
        progress.values_mut().flat_map(|progress| progress.offsets.values_mut()).for_each(|offset| *offset += 1);
    }
    progress
}
