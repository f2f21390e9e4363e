//! Roles and rights as `pg_catalog` and `information_schema` show them.
//!
//! Promises: nobody but a superuser sees verifiers ([`SECRET`] tables are refused before they are made). Made from
//! the catalog of the query.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use thalweg_dataflow::error::{Error, Result};
use thalweg_dataflow::types::PgType::{Bool, Int4, Oid, Text, Timestamptz};

use super::pg_catalog::DATABASE_OID;
use super::queries::CatalogTables;
use super::table::{Table, bool, int4, maybe, text, time};
use crate::catalog::Catalog;
use crate::database::DATABASE;
use crate::parser::ObjectKind;
use crate::roles::Role;
use crate::roles::acl::{self, Acl, PUBLIC, Thing};
use crate::settings::spelled;

/// What only superusers read: the verifiers of passwords.
pub(super) const SECRET: [&str; 2] = ["pg_authid", "pg_shadow"];

/// An oid as the catalogs hold it.
pub(super) fn number(oid: u32) -> i32 {
    i32::try_from(oid).unwrap_or(i32::MAX)
}

/// The table of this name in `pg_catalog`, if it is one of these.
pub(super) fn table(tables: &CatalogTables, name: &str) -> Option<Result<Arc<dyn TableProvider>>> {
    Some(match name {
        "pg_roles" => pg_roles(tables),
        "pg_user" => pg_user(tables),
        "pg_authid" => pg_authid(tables),
        "pg_shadow" => pg_shadow(tables),
        "pg_group" => pg_group(tables),
        "pg_auth_members" => pg_auth_members(tables),
        "pg_db_role_setting" => pg_db_role_setting(tables),
        "pg_default_acl" => pg_default_acl(tables),
        _ => return None,
    })
}

fn roles(tables: &CatalogTables) -> impl Iterator<Item = &Role> {
    tables.published.catalog.roles.all()
}

fn pg_roles(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("rolname", Text),
        ("rolsuper", Bool),
        ("rolinherit", Bool),
        ("rolcreaterole", Bool),
        ("rolcreatedb", Bool),
        ("rolcanlogin", Bool),
        ("rolreplication", Bool),
        ("rolconnlimit", Int4),
        ("rolpassword", Text),
        ("rolvaliduntil", Timestamptz),
        ("rolbypassrls", Bool),
        ("oid", Oid),
    ])
    .with_text_arrays(&["rolconfig"]);
    for role in roles(tables) {
        table.text_array("rolconfig", config_of(tables, Some(role.oid), false));
        table.row([
            text(&role.name),
            bool(role.superuser),
            bool(role.inherit),
            bool(role.create_role),
            bool(role.create_db),
            bool(role.login),
            bool(role.replication),
            int4(role.connection_limit),
            text("********"),
            time(role.valid_until),
            bool(role.bypass_rls),
            int4(number(role.oid)),
        ]);
    }
    table.finish()
}

/// The settings of a role as `name=value`; `None`: it has none.
fn config_of(tables: &CatalogTables, role: Option<u32>, in_database: bool) -> Option<Vec<String>> {
    let all = tables.published.catalog.roles.settings().iter();
    let own = all.filter(|one| one.role == role && one.in_database == in_database);
    let texts: Vec<String> = own.map(|one| format!("{}={}", spelled(&one.name), one.value)).collect();
    (!texts.is_empty()).then_some(texts)
}

fn pg_db_role_setting(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("setdatabase", Oid), ("setrole", Oid)]).with_text_arrays(&["setconfig"]);
    let all = tables.published.catalog.roles.settings().iter();
    let whose: BTreeSet<(bool, Option<u32>)> = all.map(|one| (one.in_database, one.role)).collect();
    for (in_database, role) in whose {
        let database = if in_database { DATABASE_OID } else { 0 };
        table.row([int4(database), int4(role.map_or(0, number))]);
        table.text_array("setconfig", config_of(tables, role, in_database));
    }
    table.finish()
}

fn pg_authid(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Oid),
        ("rolname", Text),
        ("rolsuper", Bool),
        ("rolinherit", Bool),
        ("rolcreaterole", Bool),
        ("rolcreatedb", Bool),
        ("rolcanlogin", Bool),
        ("rolreplication", Bool),
        ("rolbypassrls", Bool),
        ("rolconnlimit", Int4),
        ("rolpassword", Text),
        ("rolvaliduntil", Timestamptz),
    ]);
    for role in roles(tables) {
        table.row([
            int4(number(role.oid)),
            text(&role.name),
            bool(role.superuser),
            bool(role.inherit),
            bool(role.create_role),
            bool(role.create_db),
            bool(role.login),
            bool(role.replication),
            bool(role.bypass_rls),
            int4(role.connection_limit),
            maybe(role.password.as_ref().map(ToString::to_string)),
            time(role.valid_until),
        ]);
    }
    table.finish()
}

/// `pg_user`, and `pg_shadow` with the verifiers: the roles that may log in.
fn users(tables: &CatalogTables, verifiers: bool) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("usename", Text),
        ("usesysid", Oid),
        ("usecreatedb", Bool),
        ("usesuper", Bool),
        ("userepl", Bool),
        ("usebypassrls", Bool),
        ("passwd", Text),
        ("valuntil", Timestamptz),
    ])
    .with_text_arrays(&["useconfig"]);
    for role in roles(tables).filter(|role| role.login) {
        let verifier =
            if verifiers { maybe(role.password.as_ref().map(ToString::to_string)) } else { text("********") };
        table.row([
            text(&role.name),
            int4(number(role.oid)),
            bool(role.create_db),
            bool(role.superuser),
            bool(role.replication),
            bool(role.bypass_rls),
            verifier,
            time(role.valid_until),
        ]);
    }
    table.finish()
}

fn pg_user(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    users(tables, false)
}

fn pg_shadow(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    users(tables, true)
}

fn pg_group(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("groname", Text), ("grosysid", Oid)]);
    for role in roles(tables).filter(|role| !role.login) {
        table.row([text(&role.name), int4(number(role.oid))]);
    }
    table.finish()
}

fn pg_auth_members(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("oid", Oid),
        ("roleid", Oid),
        ("member", Oid),
        ("grantor", Oid),
        ("admin_option", Bool),
        ("inherit_option", Bool),
        ("set_option", Bool),
    ]);
    for one in tables.published.catalog.roles.members() {
        table.row([
            int4(number(one.oid)),
            int4(number(one.role)),
            int4(number(one.member)),
            int4(number(one.grantor)),
            bool(one.admin),
            bool(one.inherit),
            bool(one.set),
        ]);
    }
    table.finish()
}

fn pg_default_acl(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let columns = [("oid", Oid), ("defaclrole", Oid), ("defaclnamespace", Oid), ("defaclobjtype", Text)];
    let mut table = Table::new(&columns).with_text_arrays(&["defaclacl"]);
    for one in tables.published.catalog.default_acls() {
        let schema = one.schema.as_deref().map_or(0, |schema| tables.schema_oid(schema));
        table.row([int4(number(one.oid)), int4(number(one.role)), int4(schema), text(one.kind.letter())]);
        table.text_array("defaclacl", Some(printed(&tables.published.catalog, &one.acl)));
    }
    table.finish()
}

/// An access list as it is printed.
pub(super) fn printed(catalog: &Catalog, acl: &acl::Acl) -> Vec<String> {
    acl.printed(|role| catalog.roles.name(role))
}

/// `information_schema.table_privileges`: what concerns who asks, and PUBLIC.
pub(super) fn table_privileges(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("grantor", Text),
        ("grantee", Text),
        ("table_catalog", Text),
        ("table_schema", Text),
        ("table_name", Text),
        ("privilege_type", Text),
        ("is_grantable", Text),
        ("with_hierarchy", Text),
    ]);
    let catalog = &tables.published.catalog;
    let mine = |role: u32| catalog.roles.has_rights_of(tables.role, role);
    let yes = |is: bool| text(if is { "YES" } else { "NO" });
    for object in catalog.objects().filter(|object| object.sequence().is_none()) {
        let owner = catalog.owner(object.oid);
        let acl = Catalog::acl_in_force(catalog.acl(object.oid), Thing::Relation, owner);
        for item in acl.items().iter().filter(|item| item.grantee == PUBLIC || mine(item.grantee) || mine(item.grantor))
        {
            for (right, name) in acl::each(item.rights) {
                let grantee = if item.grantee == PUBLIC { "PUBLIC".into() } else { catalog.roles.name(item.grantee) };
                table.row([
                    text(catalog.roles.name(item.grantor)),
                    text(grantee),
                    text(DATABASE),
                    text(&object.schema),
                    text(&object.name),
                    text(name),
                    yes(item.options & right != 0 || item.grantee == owner),
                    yes(right == acl::SELECT),
                ]);
            }
        }
    }
    table.finish()
}

/// `information_schema.column_privileges`: the rights on each column, its own and its relation's, each once.
pub(super) fn column_privileges(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[
        ("grantor", Text),
        ("grantee", Text),
        ("table_catalog", Text),
        ("table_schema", Text),
        ("table_name", Text),
        ("column_name", Text),
        ("privilege_type", Text),
        ("is_grantable", Text),
    ]);
    let catalog = &tables.published.catalog;
    let mine = |role: u32| role == PUBLIC || catalog.roles.has_rights_of(tables.role, role);
    let listed = |kind| !matches!(kind, ObjectKind::Sequence | ObjectKind::View);
    for object in catalog.objects().filter(|object| listed(object.kind())) {
        let owner = catalog.owner(object.oid);
        let whole = Catalog::acl_in_force(catalog.acl(object.oid), Thing::Relation, owner);
        let own = catalog.column_acls(object.oid);
        for (column, number) in object.columns.iter().zip(object.numbers()) {
            let mut seen = BTreeSet::new();
            let acls = [Some(&whole), own.and_then(|own| own.get(&number))];
            let items = acls.into_iter().flatten().flat_map(Acl::items);
            for item in items.filter(|item| mine(item.grantee) || mine(item.grantor)) {
                for (right, name) in acl::each(item.rights & Thing::Column.all()) {
                    let owns = item.grantee != PUBLIC && catalog.roles.has_rights_of(item.grantee, owner);
                    let grantable = owns || item.options & right != 0;
                    if !seen.insert((item.grantor, item.grantee, name, grantable)) {
                        continue;
                    }
                    let public = item.grantee == PUBLIC;
                    table.row([
                        text(catalog.roles.name(item.grantor)),
                        text(if public { "PUBLIC".into() } else { catalog.roles.name(item.grantee) }),
                        text(DATABASE),
                        text(&object.schema),
                        text(&object.name),
                        text(&column.name),
                        text(name),
                        text(if grantable { "YES" } else { "NO" }),
                    ]);
                }
            }
        }
    }
    table.finish()
}

/// `information_schema.enabled_roles` and `applicable_roles`' names: the roles of who asks.
pub(super) fn enabled_roles(tables: &CatalogTables) -> Result<Arc<dyn TableProvider>> {
    let mut table = Table::new(&[("role_name", Text)]);
    let catalog = &tables.published.catalog;
    for role in roles(tables).filter(|role| catalog.roles.has_rights_of(tables.role, role.oid)) {
        table.row([text(&role.name)]);
    }
    table.finish()
}

/// A name that no role has. Error: 42704.
pub(super) fn role_by(catalog: &Catalog, value: &str, is_oid: bool) -> Result<u32> {
    match value.parse::<u32>() {
        Ok(oid) if is_oid => Ok(oid),
        _ if is_oid => Err(Error::internal("an oid that is no number")),
        _ if value == "public" => Ok(PUBLIC),
        _ => catalog.roles.named(value).map(|role| role.oid),
    }
}
