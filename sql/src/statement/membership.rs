//! GRANT and REVOKE of roles to roles.
//!
//! Promises: no role is a member of itself, over any number of steps; a membership that others got
//! from one that goes, goes with it or keeps it (2BP01). Words and options are PostgreSQL 16's.

use thalweg_dataflow::error::{Error, Result, SqlState};

use super::role::denied;
use crate::catalog::Catalog;
use crate::database::Published;
use crate::parser::role::{MemberOptions, RoleName};
use crate::roles::{Membership, SUPERUSER};
use crate::session::Session;

/// What is granted or taken.
pub(super) struct Grant<'a> {
    /// The roles.
    pub(super) roles: &'a [RoleName],
    /// Who gets or loses them.
    pub(super) members: &'a [RoleName],
    /// The options that were named.
    pub(super) options: MemberOptions,
    /// GRANTED BY.
    pub(super) grantor: Option<&'a RoleName>,
}

/// GRANT.
pub(super) fn grant(session: &Session, next: &mut Published, grant: &Grant<'_>) -> Result<()> {
    for role in grant.roles {
        let role = session.one_role(&next.catalog, role)?;
        let grantor = grantor(session, &next.catalog, role, grant.grantor, "grant")?;
        for member in grant.members {
            let member = session.one_role(&next.catalog, member)?;
            grant_one(session, &mut next.catalog, (role, member, grantor), grant.options)?;
        }
    }
    Ok(())
}

/// Who grants, if the session may have it so.
fn grantor(session: &Session, catalog: &Catalog, role: u32, by: Option<&RoleName>, verb: &str) -> Result<u32> {
    let roles = &catalog.roles;
    let me = session.role_in(catalog);
    let name = roles.name(role);
    if !roles.administers(me, role) || (roles.is_superuser(role) && !roles.is_superuser(me)) {
        let message = format!("permission denied to {verb} role \"{name}\"");
        let detail = if roles.is_superuser(role) {
            format!("Only roles with the SUPERUSER attribute may {verb} roles with the SUPERUSER attribute.")
        } else {
            format!("Only roles with the ADMIN option on role \"{name}\" may {verb} this role.")
        };
        return Err(denied(message, detail));
    }
    match by {
        Some(by) => {
            let by = session.one_role(catalog, by)?;
            if by != SUPERUSER && !(roles.has_rights_of(me, by) && roles.administers(by, role)) {
                let message = format!("permission denied to {verb} privileges as role \"{}\"", roles.name(by));
                return Err(denied(message, format!("The grantor must have the ADMIN option on role \"{name}\".")));
            }
            Ok(by)
        }
        None if roles.is_superuser(me) => Ok(SUPERUSER),
        None => {
            let own = roles.inherited(me);
            let admin = |one: &&Membership| one.role == role && one.admin && own.contains(&one.member);
            Ok(roles.members().iter().find(admin).map_or(me, |one| one.member))
        }
    }
}

fn grant_one(
    session: &Session,
    catalog: &mut Catalog,
    (role, member, grantor): (u32, u32, u32),
    options: MemberOptions,
) -> Result<()> {
    let (name, whom) = (catalog.roles.name(role), catalog.roles.name(member));
    let invalid = |message: String| Error::new(SqlState::InvalidGrantOperation, message);
    if role < crate::catalog::FIRST_OID && role != SUPERUSER && member == SUPERUSER {
        return Err(invalid(format!("role \"{whom}\" cannot be a member of any role")));
    }
    if catalog.roles.is_member(role, member) {
        return Err(invalid(format!("role \"{name}\" is a member of role \"{whom}\"")));
    }
    let same = |one: &Membership| one.role == role && one.member == member && one.grantor == grantor;
    let place = catalog.roles.members().iter().position(same);
    let inherits = catalog.roles.get(member).is_none_or(|role| role.inherit);
    let Some(place) = place else {
        let oid = catalog.allocate();
        let one = Membership {
            oid,
            role,
            member,
            grantor,
            admin: options.admin.unwrap_or(false),
            inherit: options.inherit.unwrap_or(inherits),
            set: options.set.unwrap_or(true),
        };
        catalog.change_roles(|roles| roles.members_mut().push(one));
        return Ok(());
    };
    let old = catalog.roles.members()[place];
    let new = Membership {
        admin: options.admin.unwrap_or(old.admin),
        inherit: options.inherit.unwrap_or(old.inherit),
        set: options.set.unwrap_or(old.set),
        ..old
    };
    if new == old {
        let by = catalog.roles.name(grantor);
        let text = format!("role \"{whom}\" has already been granted membership in role \"{name}\" by role \"{by}\"");
        session.notice(Error::new(SqlState::SuccessfulCompletion, text));
    }
    catalog.change_roles(|roles| roles.members_mut()[place] = new);
    Ok(())
}

/// REVOKE.
pub(super) fn revoke(session: &Session, next: &mut Published, grant: &Grant<'_>, cascade: bool) -> Result<()> {
    for role in grant.roles {
        let role = session.one_role(&next.catalog, role)?;
        let grantor = grantor(session, &next.catalog, role, grant.grantor, "revoke")?;
        for member in grant.members {
            let member = session.one_role(&next.catalog, member)?;
            let catalog = &mut next.catalog;
            let same = |one: &Membership| one.role == role && one.member == member && one.grantor == grantor;
            let Some(place) = catalog.roles.members().iter().position(same) else {
                let (name, whom, by) =
                    (catalog.roles.name(role), catalog.roles.name(member), catalog.roles.name(grantor));
                let text =
                    format!("role \"{whom}\" has not been granted membership in role \"{name}\" by role \"{by}\"");
                session.warning(Error::new(SqlState::Warning, text));
                continue;
            };
            let options = grant.options;
            catalog.change_roles(|roles| {
                let all = roles.members_mut();
                if options == MemberOptions::default() {
                    all.remove(place);
                } else {
                    let one = &mut all[place];
                    one.admin = options.admin.unwrap_or(one.admin);
                    one.inherit = options.inherit.unwrap_or(one.inherit);
                    one.set = options.set.unwrap_or(one.set);
                }
            });
            settle(catalog, role, cascade)?;
        }
    }
    Ok(())
}

/// Takes away the grants of a role whose grantor may not grant it any more.
fn settle(catalog: &mut Catalog, role: u32, cascade: bool) -> Result<()> {
    loop {
        let members = catalog.roles.members();
        let admin = |who: u32| members.iter().any(|one| one.role == role && one.member == who && one.admin);
        let orphan = |one: &Membership| one.role == role && one.grantor != SUPERUSER && !admin(one.grantor);
        let Some(place) = members.iter().position(orphan) else { return Ok(()) };
        if !cascade {
            return Err(Error::new(SqlState::DependentObjectsStillExist, "dependent privileges exist")
                .hint("Use CASCADE to revoke them too."));
        }
        catalog.change_roles(|roles| {
            roles.members_mut().remove(place);
        });
    }
}
