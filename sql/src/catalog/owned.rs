//! Who owns what in the catalog, and who else may do what with it.
//!
//! Promises: what nothing is said of belongs to the superuser; a new object's access list follows the
//! default privileges of who makes it. Checks nobody's rights.

mod unsettled;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use unsettled::RightsChange;

use super::{Catalog, Object, PUBLIC, PUBLIC_OID};
use crate::roles::acl::{self, Acl, Rights, Thing};
use crate::roles::{Roles, SUPERUSER};

/// The owner of an object or schema and what was granted on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Owned {
    owner: u32,
    acl: Option<Acl>,
    /// What was granted on columns, by their numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    columns: BTreeMap<u32, Acl>,
}

/// What default privileges are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DefaultKind {
    /// TABLES.
    #[default]
    Tables,
    /// SEQUENCES.
    Sequences,
    /// SCHEMAS.
    Schemas,
}

impl DefaultKind {
    /// What the rights are on.
    pub(crate) fn thing(self) -> Thing {
        match self {
            DefaultKind::Tables => Thing::Relation,
            DefaultKind::Sequences => Thing::Sequence,
            DefaultKind::Schemas => Thing::Schema,
        }
    }

    /// As in `pg_default_acl.defaclobjtype`.
    pub(crate) fn letter(self) -> &'static str {
        match self {
            DefaultKind::Tables => "r",
            DefaultKind::Sequences => "S",
            DefaultKind::Schemas => "n",
        }
    }

    /// As in messages.
    fn word(self) -> &'static str {
        match self {
            DefaultKind::Tables => "relations",
            DefaultKind::Sequences => "sequences",
            DefaultKind::Schemas => "schemas",
        }
    }
}

/// ALTER DEFAULT PRIVILEGES of one role, in one schema or in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DefaultAcl {
    /// Its oid.
    pub(crate) oid: u32,
    /// Whose objects.
    pub(crate) role: u32,
    /// In this schema only.
    pub(crate) schema: Option<String>,
    /// Of which kind.
    #[serde(default)]
    pub(crate) kind: DefaultKind,
    /// In a schema: what is added. Else the whole list.
    pub(crate) acl: Acl,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ownership {
    objects: BTreeMap<u32, Owned>,
    /// As it was kept before schemas had owners: of `public` alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    schemas: BTreeMap<String, Acl>,
    database: Option<Acl>,
    defaults: Vec<DefaultAcl>,
    /// What open blocks have changed, by their numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    unsettled: BTreeMap<u32, Vec<RightsChange>>,
}

impl Ownership {
    /// Brings what an earlier version wrote into today's form.
    pub(super) fn upgrade(&mut self) {
        if let Some(acl) = std::mem::take(&mut self.schemas).remove(PUBLIC) {
            self.objects.entry(PUBLIC_OID).or_insert(Owned {
                owner: SUPERUSER,
                acl: Some(acl),
                columns: BTreeMap::new(),
            });
        }
    }

    /// The default privileges of a role.
    fn default_acl(&self, role: u32, schema: Option<&str>, kind: DefaultKind) -> Option<&Acl> {
        let mine = |one: &&DefaultAcl| one.role == role && one.schema.as_deref() == schema && one.kind == kind;
        self.defaults.iter().find(mine).map(|one| &one.acl)
    }
}

impl Catalog {
    /// Who owns an object or schema.
    pub(crate) fn owner(&self, oid: u32) -> u32 {
        self.ownership.objects.get(&oid).map_or(SUPERUSER, |owned| owned.owner)
    }

    /// What was granted on an object; `None`: nothing, its owner has all.
    pub(crate) fn acl(&self, oid: u32) -> Option<&Acl> {
        self.ownership.objects.get(&oid)?.acl.as_ref()
    }

    /// Sets what is granted on an object.
    pub(crate) fn set_acl(&mut self, oid: u32, acl: Option<Acl>) {
        self.version += 1;
        let (owner, columns) = (self.owner(oid), self.column_acls(oid).cloned().unwrap_or_default());
        self.ownership.objects.insert(oid, Owned { owner, acl, columns });
    }

    /// What was granted on the columns of a relation, by their numbers; `None`: nothing ever.
    pub(crate) fn column_acls(&self, oid: u32) -> Option<&BTreeMap<u32, Acl>> {
        self.ownership.objects.get(&oid).map(|owned| &owned.columns).filter(|columns| !columns.is_empty())
    }

    /// Sets what is granted on a column.
    pub(crate) fn set_column_acl(&mut self, oid: u32, number: u32, acl: Acl) {
        self.version += 1;
        let owner = self.owner(oid);
        let unsaid = || Owned { owner, acl: None, columns: BTreeMap::new() };
        let columns = &mut self.ownership.objects.entry(oid).or_insert_with(unsaid).columns;
        if acl.items().is_empty() {
            columns.remove(&number);
        } else {
            columns.insert(number, acl);
        }
    }

    /// What a role has on each column of a relation by the columns' own lists, by their numbers.
    pub(crate) fn held_on_columns(&self, role: u32, oid: u32) -> BTreeMap<u32, Rights> {
        let inherited = self.roles.inherited(role);
        let held = |acl: &Acl| acl.held(|grantee| inherited.contains(&grantee));
        self.column_acls(oid).into_iter().flatten().map(|(number, acl)| (*number, held(acl))).collect()
    }

    /// Gives an object to another owner.
    pub(crate) fn set_owner(&mut self, oid: u32, to: u32) {
        self.version += 1;
        let from = self.owner(oid);
        let mut acl = self.acl(oid).cloned();
        let mut columns = self.column_acls(oid).cloned().unwrap_or_default();
        acl.iter_mut().chain(columns.values_mut()).for_each(|acl| acl.change_owner(from, to));
        self.ownership.objects.insert(oid, Owned { owner: to, acl, columns });
    }

    /// A new object or schema is `owner`'s, with that role's default privileges.
    pub(crate) fn own(&mut self, oid: u32, owner: u32) {
        let schema = self.get(oid).map(|object| object.schema.clone());
        let kind = match self.get(oid) {
            Some(object) if object.sequence().is_some() => DefaultKind::Sequences,
            Some(_) => DefaultKind::Tables,
            None => DefaultKind::Schemas,
        };
        let standard = kind.thing().default_acl(owner);
        let of = |schema: Option<&str>| self.ownership.default_acl(owner, schema, kind);
        let mut acl = of(None).cloned().unwrap_or_else(|| standard.clone());
        for item in of(schema.as_deref()).into_iter().filter(|_| schema.is_some()).flat_map(Acl::items) {
            acl.add(item.grantee, item.grantor, item.rights, item.options);
        }
        let acl = (acl != standard).then_some(acl);
        self.ownership.objects.insert(oid, Owned { owner, acl, columns: BTreeMap::new() });
    }

    /// Nothing is owned or granted of an object that is gone.
    pub(super) fn disown(&mut self, oid: u32) {
        self.ownership.objects.remove(&oid);
    }

    /// What is granted on a schema that users may change, whether it was said or not.
    pub(crate) fn schema_acl(&self, oid: u32) -> Acl {
        match self.acl(oid) {
            Some(acl) => acl.clone(),
            None => {
                let owner = self.owner(oid);
                let mut acl = Thing::Schema.default_acl(owner);
                if oid == PUBLIC_OID {
                    acl.add(acl::PUBLIC, owner, acl::USAGE, 0);
                }
                acl
            }
        }
    }

    /// What was granted on the database, which is the superuser's.
    pub(crate) fn database_acl(&self) -> Option<&Acl> {
        self.ownership.database.as_ref()
    }

    /// Sets what is granted on the database.
    pub(crate) fn set_database_acl(&mut self, acl: Acl) {
        self.version += 1;
        self.ownership.database = Some(acl);
    }

    /// ALTER DEFAULT PRIVILEGES so far.
    pub(crate) fn default_acls(&self) -> &[DefaultAcl] {
        &self.ownership.defaults
    }

    /// Sets the default privileges of a role, in a schema or everywhere; those that say nothing go.
    pub(crate) fn set_default_acl(&mut self, role: u32, schema: Option<String>, kind: DefaultKind, mut acl: Acl) {
        self.version += 1;
        let says_nothing = match schema {
            Some(_) => acl.items().is_empty(),
            None => acl == kind.thing().default_acl(role),
        };
        acl.sort();
        let mine = |one: &DefaultAcl| one.role == role && one.schema == schema && one.kind == kind;
        let place = self.ownership.defaults.iter().position(mine);
        match place {
            Some(place) if says_nothing => drop(self.ownership.defaults.remove(place)),
            Some(place) => self.ownership.defaults[place].acl = acl,
            None if says_nothing => {}
            None => {
                let oid = self.allocate();
                self.ownership.defaults.push(DefaultAcl { oid, role, schema, kind, acl });
            }
        }
    }

    /// A schema has another name.
    pub(super) fn rename_in_default_acls(&mut self, from: &str, to: &str) {
        let inside = self.ownership.defaults.iter_mut().filter(|one| one.schema.as_deref() == Some(from));
        inside.for_each(|one| one.schema = Some(to.into()));
    }

    /// A schema is gone.
    pub(super) fn forget_default_acls_in(&mut self, schema: &str) {
        self.ownership.defaults.retain(|one| one.schema.as_deref() != Some(schema));
    }

    /// Changes the roles.
    pub(crate) fn change_roles(&mut self, change: impl FnOnce(&mut Roles)) {
        self.version += 1;
        change(&mut self.roles);
    }

    /// Whether nothing was ever changed: a fresh database.
    pub(crate) fn is_untouched(&self) -> bool {
        self.version == 0
    }

    /// Takes away all rights of a role, and its default privileges.
    pub(crate) fn forget_rights(&mut self, role: u32) {
        self.version += 1;
        let objects = self.ownership.objects.values_mut();
        let objects = objects.flat_map(|owned| owned.acl.iter_mut().chain(owned.columns.values_mut()));
        let acls = objects.chain(&mut self.ownership.database);
        let defaults = &mut self.ownership.defaults;
        defaults.retain(|one| one.role != role);
        acls.chain(defaults.iter_mut().map(|one| &mut one.acl)).for_each(|acl| acl.forget(role));
    }

    /// What stands in the way of dropping a role, as PostgreSQL words it.
    pub(crate) fn dependent_on_role(&self, role: u32, path: &[String]) -> Vec<String> {
        let mut lines = BTreeMap::new();
        let objects = self.objects().map(|object| (object.oid, self.spoken(object, path)));
        let schemas = self.schemas().map(|(oid, name)| (oid, format!("schema {name}")));
        for (oid, what) in objects.chain(schemas) {
            if self.owner(oid) == role {
                lines.insert(oid, format!("owner of {what}"));
                continue;
            }
            let whole = self.acl(oid).is_some_and(|acl| acl.names(role)).then(|| format!("privileges for {what}"));
            let columns =
                self.columns_naming(oid, role).map(|column| format!("privileges for column {column} of {what}"));
            let privileges: Vec<String> = whole.into_iter().chain(columns).collect();
            if !privileges.is_empty() {
                lines.insert(oid, privileges.join("\n"));
            }
        }
        for one in self.default_acls().iter().filter(|one| one.role == role || one.acl.names(role)) {
            let word = if one.role == role { "owner of" } else { "privileges for" };
            let (kind, whose) = (one.kind.word(), self.roles.name(one.role));
            let place = one.schema.as_ref().map_or(String::new(), |schema| format!(" in schema {schema}"));
            let line = format!("{word} default privileges on new {kind} belonging to role {whose}{place}");
            lines.insert(one.oid, line);
        }
        // In the order of oids, those of the system first, as PostgreSQL lists them.
        let database = self.database_acl().filter(|acl| acl.names(role));
        let database = database.map(|_| format!("privileges for database {}", crate::database::DATABASE));
        database.into_iter().chain(lines.into_values()).collect()
    }

    /// The columns of an object whose lists concern a role.
    fn columns_naming(&self, oid: u32, role: u32) -> impl Iterator<Item = &str> {
        let acls = self.column_acls(oid).into_iter().flatten().filter(move |(_, acl)| acl.names(role));
        let object = self.get(oid);
        acls.filter_map(move |(number, _)| {
            let object = object?;
            let place = object.numbers().iter().position(|known| known == number)?;
            object.columns.get(place).map(|column| column.name.as_str())
        })
    }

    /// The list on a thing as it is in force.
    pub(crate) fn acl_in_force(acl: Option<&Acl>, thing: Thing, owner: u32) -> Acl {
        acl.cloned().unwrap_or_else(|| thing.default_acl(owner))
    }

    /// What a role has on an object by its access list, memberships included.
    pub(crate) fn held(&self, role: u32, oid: u32) -> Rights {
        let inherited = self.roles.inherited(role);
        let owner = self.owner(oid);
        match self.acl(oid) {
            Some(acl) => acl.held(|grantee| inherited.contains(&grantee)),
            None if inherited.contains(&owner) => self.get(oid).map_or(Thing::Relation, Object::thing).all(),
            None => 0,
        }
    }
}
