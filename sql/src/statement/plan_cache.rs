//! Bound queries, kept by their text and by all that gives it its meaning.
//!
//! Promises: a plan that is found is the one that binding would give now: the cache is of one state
//! of the catalog and empties itself when another is asked for. Keeps no plan that depends on the
//! clock, reads files or system tables, or was bound for a view; nor one of a long text.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::{Mutex, RwLock};
use thalweg_dataflow::types::PgType;

use crate::database::Published;
use crate::parser::Statement;
use crate::planner::{Bound, Relation, RelationSource, WorkingTable};
use crate::session::meaning::Meaning;

/// Plans kept (`plan_cache.plans`).
const PLANS: usize = 1024;

/// The longest text whose plan is kept, in bytes: with [`PLANS`] it bounds what the cache holds.
const LONGEST_TEXT: usize = 32 << 10;

/// The most bytes of texts whose statements are kept (`plan_cache.text_bytes`): a statement is some
/// hundred times as large as its text at most.
const TEXT_BYTES: usize = 256 << 10;

/// What a text's meaning depends on besides the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlanKey {
    /// The statement.
    pub(crate) text: Arc<str>,
    /// The parameters' types, as far as they were given.
    pub(crate) types: Vec<Option<PgType>>,
    /// What else gives it its meaning.
    pub(crate) meaning: Arc<Meaning>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    plans: RwLock<Plans>,
    clock: AtomicU64,
}

#[derive(Debug, Default)]
struct Plans {
    /// Held weakly, so that no other catalog can have its address.
    of: Weak<Published>,
    plans: HashMap<PlanKey, Arc<Kept>>,
    /// By texts without their constants: their statements, `None` of those that are read each time.
    statements: HashMap<Arc<str>, Option<Statement>>,
    /// How long these texts are together.
    text_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    bound: Arc<Bound>,
    used: AtomicU64,
}

/// The plan that a prepared statement had the last time, as long as it is in the cache.
#[derive(Debug, Default)]
pub(crate) struct LastPlan(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    under: Weak<Published>,
    meaning: Arc<Meaning>,
    kept: Weak<Kept>,
}

impl PlanCache {
    /// The plan of a text under this catalog.
    pub(crate) fn get(&self, key: &PlanKey, published: &Arc<Published>, last: &LastPlan) -> Option<Arc<Bound>> {
        let plans = self.plans.read();
        if plans.of.as_ptr() != Arc::as_ptr(published) {
            return None;
        }
        let kept = plans.plans.get(key)?;
        let (under, meaning) = (plans.of.clone(), key.meaning.clone());
        *last.0.lock() = Some(Last { under, meaning, kept: Arc::downgrade(kept) });
        Some(self.used(kept))
    }

    /// The plan that a statement had the last time, if it has it still.
    pub(crate) fn last(
        &self,
        last: &LastPlan,
        published: &Arc<Published>,
        meaning: &Arc<Meaning>,
    ) -> Option<Arc<Bound>> {
        let last = last.0.lock();
        let last = last.as_ref()?;
        let is_same = last.under.as_ptr() == Arc::as_ptr(published) && Arc::ptr_eq(&last.meaning, meaning);
        if is_same { last.kept.upgrade().map(|kept| self.used(&kept)) } else { None }
    }

    fn used(&self, kept: &Kept) -> Arc<Bound> {
        kept.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        kept.bound.clone()
    }

    /// What is known of a text without its constants.
    pub(crate) fn statement(&self, text: &str, published: &Arc<Published>) -> Option<Option<Statement>> {
        let plans = self.plans.read();
        let same = plans.of.as_ptr() == Arc::as_ptr(published);
        if same { plans.statements.get(text).cloned() } else { None }
    }

    /// Keeps what is known of such a text.
    pub(crate) fn put_statement(&self, text: &str, published: &Arc<Published>, known: Option<Statement>) {
        let mut plans = self.plans.write();
        if plans.of.as_ptr() != Arc::as_ptr(published) {
            *plans = Plans::of(published);
        }
        // Texts that never come again push the others out: reading these again costs little.
        if plans.text_bytes + text.len() > TEXT_BYTES {
            (plans.statements, plans.text_bytes) = (HashMap::new(), 0);
        }
        plans.text_bytes += text.len();
        plans.statements.insert(text.into(), known);
    }

    /// Keeps a plan, if it may be kept.
    pub(crate) fn put(&self, key: PlanKey, published: &Arc<Published>, bound: &Arc<Bound>) {
        if key.text.len() > LONGEST_TEXT || bound.reads_clock || !is_lasting(&bound.plan) {
            return;
        }
        let mut plans = self.plans.write();
        if plans.of.as_ptr() != Arc::as_ptr(published) {
            *plans = Plans::of(published);
        }
        if plans.plans.len() >= PLANS {
            // Half of them at once, so that the search for the oldest is rare.
            let mut used: Vec<u64> = plans.plans.values().map(|kept| kept.used.load(Ordering::Relaxed)).collect();
            used.sort_unstable();
            let middle = used[used.len() / 2];
            plans.plans.retain(|_, kept| kept.used.load(Ordering::Relaxed) > middle);
        }
        let used = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        plans.plans.insert(key, Arc::new(Kept { bound: bound.clone(), used }));
    }
}

impl Plans {
    fn of(published: &Arc<Published>) -> Plans {
        Plans { of: Arc::downgrade(published), ..Plans::default() }
    }
}

/// Whether a plan reads nothing but views, tables and sources.
fn is_lasting(plan: &LogicalPlan) -> bool {
    let mut lasting = true;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let source = (scan.source.as_ref() as &dyn std::any::Any).downcast_ref::<RelationSource>();
            lasting = match source.map(|source| &source.relation) {
                Some(Relation::View { .. } | Relation::Source { .. }) => true,
                Some(Relation::Files { .. } | Relation::Virtual(_)) => false,
                None => WorkingTable::of(scan).is_some(),
            };
        }
        Ok(if lasting { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    lasting && walked.is_ok()
}
