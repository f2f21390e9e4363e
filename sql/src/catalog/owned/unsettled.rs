//! What open blocks changed of rights, owners and roles, so that their end can undo it.
//!
//! Promises: a block that is rolled back, or that a crash ends, leaves these as they were before it; what
//! others changed of the same thing meanwhile stays. Checks nobody's rights.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{DefaultAcl, Owned};
use crate::catalog::Catalog;
use crate::roles::acl::Acl;
use crate::roles::{Kept, Membership, Role};

/// What one statement changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RightsChange {
    objects: Vec<Swap<Owned>>,
    roles: Vec<Swap<Role>>,
    database: Swap<Acl>,
    defaults: Lists<DefaultAcl>,
    members: Lists<Membership>,
    settings: Lists<Kept>,
}

/// One thing before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Swap<T> {
    oid: u32,
    before: Option<T>,
    after: Option<T>,
}

/// What went from a list and what came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Lists<T> {
    gone: Vec<T>,
    new: Vec<T>,
}

impl<T: Clone + PartialEq> Swap<T> {
    /// Those of these things that are not the same before and after.
    fn all<'a>(
        oids: impl Iterator<Item = &'a u32>,
        before: impl Fn(u32) -> Option<T>,
        after: impl Fn(u32) -> Option<T>,
    ) -> Vec<Swap<T>> {
        let oids: BTreeSet<u32> = oids.copied().collect();
        let swaps = oids.into_iter().map(|oid| Swap { oid, before: before(oid), after: after(oid) });
        swaps.filter(|swap| swap.before != swap.after).collect()
    }
}

impl<T: Clone + PartialEq> Lists<T> {
    fn between(before: &[T], after: &[T]) -> Lists<T> {
        let without = |all: &[T], others: &[T]| all.iter().filter(|one| !others.contains(one)).cloned().collect();
        Lists { gone: without(before, after), new: without(after, before) }
    }

    fn undo(self, list: &mut Vec<T>) {
        list.retain(|one| !self.new.contains(one));
        list.extend(self.gone);
    }
}

impl RightsChange {
    fn between(before: &Catalog, after: &Catalog) -> RightsChange {
        let objects = |catalog: &Catalog, oid: u32| catalog.ownership.objects.get(&oid).cloned();
        let known = before.ownership.objects.keys().chain(after.ownership.objects.keys());
        let role = |catalog: &Catalog, oid: u32| catalog.roles.made().get(&oid).cloned();
        let roles = before.roles.made().keys().chain(after.roles.made().keys());
        RightsChange {
            objects: Swap::all(known, |oid| objects(before, oid), |oid| objects(after, oid)),
            roles: Swap::all(roles, |oid| role(before, oid), |oid| role(after, oid)),
            database: Swap {
                oid: 0,
                before: before.ownership.database.clone(),
                after: after.ownership.database.clone(),
            },
            defaults: Lists::between(&before.ownership.defaults, &after.ownership.defaults),
            members: Lists::between(before.roles.members(), after.roles.members()),
            settings: Lists::between(before.roles.settings(), after.roles.settings()),
        }
    }

    fn undo(self, catalog: &mut Catalog) {
        for swap in self.roles {
            match (catalog.roles.made().get(&swap.oid) == swap.after.as_ref(), swap.before) {
                (true, Some(role)) => catalog.roles.put(role),
                (true, None) => catalog.roles.remove(swap.oid),
                (false, _) => {}
            }
        }
        let ownership = &mut catalog.ownership;
        for swap in self.objects.into_iter().filter(|swap| swap.after.is_some()) {
            if ownership.objects.get(&swap.oid) != swap.after.as_ref() {
                continue;
            }
            match swap.before {
                Some(owned) => drop(ownership.objects.insert(swap.oid, owned)),
                None => drop(ownership.objects.remove(&swap.oid)),
            }
        }
        if ownership.database == self.database.after {
            ownership.database = self.database.before;
        }
        self.defaults.undo(&mut ownership.defaults);
        self.members.undo(catalog.roles.members_mut());
        self.settings.undo(catalog.roles.settings_mut());
    }
}

impl Catalog {
    /// Enters what a statement of an open block has changed since `before`.
    pub(crate) fn keep_rights(&mut self, block: u32, before: &Catalog) {
        let change = RightsChange::between(before, self);
        self.ownership.unsettled.entry(block).or_default().push(change);
    }

    /// The changes of a block from this one on are settled: they stay, or they are undone.
    pub(crate) fn settle_rights(&mut self, block: u32, from: usize, committed: bool) {
        let Some(mut changes) = self.ownership.unsettled.remove(&block) else { return };
        self.version += 1;
        let settled = changes.split_off(from.min(changes.len()));
        if !committed {
            settled.into_iter().rev().for_each(|change| change.undo(self));
        }
        if !changes.is_empty() {
            self.ownership.unsettled.insert(block, changes);
        }
    }

    /// Undoes what blocks that were open when the server ended had changed.
    pub(in crate::catalog) fn undo_open_rights(&mut self) {
        let blocks: Vec<u32> = self.ownership.unsettled.keys().rev().copied().collect();
        blocks.into_iter().for_each(|block| self.settle_rights(block, 0, false));
    }
}
