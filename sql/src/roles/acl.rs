//! Access lists: who has which right on one thing, and from whom.
//!
//! Promises: granting, revoking and what is printed (`reader=r/owner`) follow PostgreSQL's aclitem,
//! grant options and what depends on them too. Knows roles by oid only.

use serde::{Deserialize, Serialize};
use thalweg_dataflow::error::{Error, Result, SqlState};

/// A set of rights.
pub(crate) type Rights = u16;

/// The grantee that means everybody.
pub(crate) const PUBLIC: u32 = 0;

pub(crate) const INSERT: Rights = 1;
pub(crate) const SELECT: Rights = 1 << 1;
pub(crate) const UPDATE: Rights = 1 << 2;
pub(crate) const DELETE: Rights = 1 << 3;
pub(crate) const TRUNCATE: Rights = 1 << 4;
pub(crate) const REFERENCES: Rights = 1 << 5;
pub(crate) const TRIGGER: Rights = 1 << 6;
pub(crate) const USAGE: Rights = 1 << 7;
pub(crate) const CREATE: Rights = 1 << 8;
pub(crate) const TEMPORARY: Rights = 1 << 9;
pub(crate) const CONNECT: Rights = 1 << 10;

/// Each right with its name and letter, in the order in which PostgreSQL prints the letters.
const ALL: [(Rights, &str, char); 11] = [
    (INSERT, "INSERT", 'a'),
    (SELECT, "SELECT", 'r'),
    (UPDATE, "UPDATE", 'w'),
    (DELETE, "DELETE", 'd'),
    (TRUNCATE, "TRUNCATE", 'D'),
    (REFERENCES, "REFERENCES", 'x'),
    (TRIGGER, "TRIGGER", 't'),
    (USAGE, "USAGE", 'U'),
    (CREATE, "CREATE", 'C'),
    (TEMPORARY, "TEMPORARY", 'T'),
    (CONNECT, "CONNECT", 'c'),
];

/// What rights there can be on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thing {
    /// A relation of any kind.
    Relation,
    /// A column of a relation.
    Column,
    /// A sequence.
    Sequence,
    /// A schema.
    Schema,
    /// The database.
    Database,
}

impl Thing {
    /// What a letter of `acldefault` stands for.
    pub(crate) fn of_letter(letter: &str) -> Option<Thing> {
        match letter {
            "r" => Some(Thing::Relation),
            "c" => Some(Thing::Column),
            "s" => Some(Thing::Sequence),
            "n" => Some(Thing::Schema),
            "d" => Some(Thing::Database),
            _ => None,
        }
    }

    /// All rights that there are on it.
    pub(crate) fn all(self) -> Rights {
        match self {
            Thing::Relation => INSERT | SELECT | UPDATE | DELETE | TRUNCATE | REFERENCES | TRIGGER,
            Thing::Column => INSERT | SELECT | UPDATE | REFERENCES,
            Thing::Sequence => SELECT | UPDATE | USAGE,
            Thing::Schema => USAGE | CREATE,
            Thing::Database => CREATE | TEMPORARY | CONNECT,
        }
    }

    /// As in messages.
    fn word(self) -> &'static str {
        match self {
            Thing::Relation => "table",
            Thing::Column => "column",
            Thing::Sequence => "sequence",
            Thing::Schema => "schema",
            Thing::Database => "database",
        }
    }

    /// Who has what before anything is granted.
    pub(crate) fn default_acl(self, owner: u32) -> Acl {
        let mut acl = Acl::default();
        if self == Thing::Database {
            acl.add(PUBLIC, owner, TEMPORARY | CONNECT, 0);
        }
        // The rights on a column are its relation's.
        if self != Thing::Column {
            acl.add(owner, owner, self.all(), 0);
        }
        acl
    }
}

/// The right of this name, in upper case. Error: 0LP01, or 42601 for what is none at all.
pub(crate) fn named(word: &str, thing: Thing) -> Result<Rights> {
    let word = if word == "TEMP" { "TEMPORARY" } else { word };
    match ALL.iter().find(|(_, name, _)| *name == word) {
        Some((right, ..)) if right & thing.all() != 0 => Ok(*right),
        Some(_) => Err(Error::new(
            SqlState::InvalidGrantOperation,
            format!("invalid privilege type {word} for {}", thing.word()),
        )),
        None => {
            let word = word.to_lowercase();
            Err(Error::new(SqlState::SyntaxError, format!("unrecognized privilege type \"{word}\"")))
        }
    }
}

/// The rights of a set, one by one with their names.
pub(crate) fn each(rights: Rights) -> impl Iterator<Item = (Rights, &'static str)> {
    ALL.iter().filter(move |(right, ..)| rights & right != 0).map(|(right, name, _)| (*right, *name))
}

/// What one role has from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// Who has it; [`PUBLIC`]: everybody.
    pub(crate) grantee: u32,
    /// From whom.
    pub(crate) grantor: u32,
    /// What.
    pub(crate) rights: Rights,
    /// Which of them it may grant on.
    pub(crate) options: Rights,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acl(Vec<Item>);

impl Acl {
    /// Its items.
    pub(crate) fn items(&self) -> &[Item] {
        &self.0
    }

    /// Adds rights.
    pub(crate) fn add(&mut self, grantee: u32, grantor: u32, rights: Rights, options: Rights) {
        match self.0.iter_mut().find(|item| item.grantee == grantee && item.grantor == grantor) {
            Some(item) => {
                item.rights |= rights;
                item.options |= options;
            }
            None if rights == 0 => {}
            None => self.0.push(Item { grantee, grantor, rights, options }),
        }
    }

    /// What somebody has who has the rights of these roles; what everybody has included.
    pub(crate) fn held(&self, is: impl Fn(u32) -> bool) -> Rights {
        let own = self.0.iter().filter(|item| item.grantee == PUBLIC || is(item.grantee));
        own.fold(0, |held, item| held | item.rights)
    }

    /// What somebody may grant on who has the rights of these roles but not of the owner.
    pub(crate) fn grantable(&self, is: impl Fn(u32) -> bool) -> Rights {
        let own = self.0.iter().filter(|item| item.grantee != PUBLIC && is(item.grantee));
        own.fold(0, |held, item| held | item.options)
    }

    /// GRANT. Error: 0LP01 where a grant option would come back to who it is from.
    pub(crate) fn grant(&mut self, owner: u32, grantee: u32, grantor: u32, rights: Rights, option: bool) -> Result<()> {
        if option && grantee == PUBLIC {
            let message = "grant options can only be granted to roles";
            return Err(Error::new(SqlState::InvalidGrantOperation, message));
        }
        if option && grantor != owner {
            let mut without = self.clone();
            for from in self.0.iter().filter(|item| item.grantee == grantee).map(|item| item.grantor) {
                without.revoke(owner, grantee, from, rights, true, true)?;
            }
            if without.grantable(|role| role == grantor) & rights != rights {
                let message = "grant options cannot be granted back to your own grantor";
                return Err(Error::new(SqlState::InvalidGrantOperation, message));
            }
        }
        self.add(grantee, grantor, rights, if option { rights } else { 0 });
        Ok(())
    }

    /// REVOKE, or REVOKE GRANT OPTION FOR. What others got from the grantee goes too with `cascade`;
    /// error: else 2BP01.
    pub(crate) fn revoke(
        &mut self,
        owner: u32,
        grantee: u32,
        grantor: u32,
        rights: Rights,
        only_option: bool,
        cascade: bool,
    ) -> Result<()> {
        let Some(item) = self.0.iter_mut().find(|item| item.grantee == grantee && item.grantor == grantor) else {
            return Ok(());
        };
        let lost = item.options & rights;
        item.options &= !rights;
        if !only_option {
            item.rights &= !rights;
        }
        self.0.retain(|item| item.rights != 0);
        if lost == 0 || grantee == owner {
            return Ok(());
        }
        let gone = lost & !self.grantable(|role| role == grantee);
        let dependent = |item: &&Item| item.grantor == grantee && item.rights & gone != 0;
        let dependents: Vec<u32> = self.0.iter().filter(dependent).map(|item| item.grantee).collect();
        if !dependents.is_empty() && !cascade {
            return Err(Error::new(SqlState::DependentObjectsStillExist, "dependent privileges exist")
                .hint("Use CASCADE to revoke them too."));
        }
        dependents.into_iter().try_for_each(|to| self.revoke(owner, to, grantee, gone, false, true))
    }

    /// Another owner takes the place of the old one, as grantee and as grantor.
    pub(crate) fn change_owner(&mut self, from: u32, to: u32) {
        let new = |role: u32| if role == from { to } else { role };
        for item in std::mem::take(&mut self.0) {
            self.add(new(item.grantee), new(item.grantor), item.rights, item.options);
        }
    }

    /// Orders the items by who has them, as PostgreSQL keeps default privileges.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by_key(|item| (item.grantee, item.grantor));
    }

    /// Takes away all that concerns a role.
    pub(crate) fn forget(&mut self, role: u32) {
        self.0.retain(|item| item.grantee != role && item.grantor != role);
    }

    /// Whether it concerns a role.
    pub(crate) fn names(&self, role: u32) -> bool {
        self.0.iter().any(|item| item.grantee == role || item.grantor == role)
    }

    /// Its items as PostgreSQL prints them.
    pub(crate) fn printed(&self, name: impl Fn(u32) -> String) -> Vec<String> {
        let quoted = |role: u32| {
            let name = name(role);
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            if plain { name } else { format!("\"{}\"", name.replace('"', "\"\"")) }
        };
        let item = |item: &Item| {
            let held = ALL.iter().filter(|(right, ..)| item.rights & right != 0);
            let letter = |(right, _, letter): &(Rights, &str, char)| {
                if item.options & right != 0 { format!("{letter}*") } else { letter.to_string() }
            };
            let grantee = if item.grantee == PUBLIC { String::new() } else { quoted(item.grantee) };
            format!("{grantee}={}/{}", held.map(letter).collect::<String>(), quoted(item.grantor))
        };
        self.0.iter().map(item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(acl: &Acl) -> String {
        acl.printed(|role| format!("r{role}")).join(",")
    }

    #[test]
    fn lists_are_printed_as_postgresql_prints_them() {
        let mut acl = Thing::Relation.default_acl(1);
        assert_eq!(printed(&acl), "r1=arwdDxt/r1");
        acl.grant(1, 2, 1, SELECT, true).unwrap();
        acl.grant(1, 2, 1, INSERT, false).unwrap();
        acl.grant(1, PUBLIC, 1, SELECT, false).unwrap();
        assert_eq!(printed(&acl), "r1=arwdDxt/r1,r2=ar*/r1,=r/r1");
        assert_eq!(acl.printed(|_| "a b".into())[2], "=r/\"a b\"");
        assert_eq!(printed(&Thing::Database.default_acl(1)), "=Tc/r1,r1=CTc/r1");
        assert_eq!(printed(&Thing::Schema.default_acl(1)), "r1=UC/r1");
    }

    #[test]
    fn what_depends_on_a_grant_option_goes_with_it() {
        let mut acl = Thing::Relation.default_acl(1);
        acl.grant(1, 2, 1, SELECT, true).unwrap();
        acl.grant(1, 3, 2, SELECT, true).unwrap();
        acl.grant(1, 4, 3, SELECT, false).unwrap();
        assert_eq!(acl.grant(1, 2, 3, SELECT, true).unwrap_err().state(), SqlState::InvalidGrantOperation);
        let restricted = acl.clone().revoke(1, 2, 1, SELECT, true, false).unwrap_err();
        assert_eq!(restricted.message(), "dependent privileges exist");
        acl.revoke(1, 2, 1, SELECT, true, true).unwrap();
        assert_eq!(printed(&acl), "r1=arwdDxt/r1,r2=r/r1");
        assert_eq!(acl.held(|role| role == 2), SELECT);
        assert_eq!(acl.held(|role| role == 4), 0);
    }

    #[test]
    fn a_right_has_its_kind_of_thing() {
        assert_eq!(named("SELECT", Thing::Relation).unwrap(), SELECT);
        assert_eq!(named("TEMP", Thing::Database).unwrap(), TEMPORARY);
        let message = named("SELECT", Thing::Schema).unwrap_err();
        assert_eq!(message.message(), "invalid privilege type SELECT for schema");
        assert_eq!(named("EAT", Thing::Schema).unwrap_err().message(), "unrecognized privilege type \"eat\"");
    }
}
