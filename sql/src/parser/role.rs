//! CREATE, ALTER and DROP of roles; GRANT and REVOKE of membership.
//!
//! CREATE USER is CREATE ROLE with LOGIN, GROUP is another word for ROLE, as in PostgreSQL. Promises:
//! an error about a request that may hold a password ([`discreet`]) quotes no string of it. Checks
//! form only.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::Kind;
use super::cursor::Cursor;
use super::setting::{self, Keep};
use crate::roles::verifier::Secret;

/// Who is meant where a role is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleName {
    /// This one.
    Named(String),
    /// CURRENT_USER, CURRENT_ROLE.
    Current,
    /// SESSION_USER.
    Session,
    /// PUBLIC: everybody.
    Public,
}

/// A statement about roles.
#[derive(Debug)]
pub(crate) enum RoleStatement {
    /// CREATE ROLE.
    Create {
        /// Its name.
        name: RoleName,
        /// LOGIN and all else.
        options: RoleOptions,
    },
    /// ALTER ROLE ... options.
    Alter {
        /// Which.
        name: RoleName,
        /// What changes.
        options: RoleOptions,
    },
    /// ALTER ROLE ... SET, ALTER DATABASE ... SET, and RESET.
    Keep {
        /// For whom.
        whose: Whose,
        /// What.
        keep: Keep,
    },
    /// ALTER ROLE ... RENAME TO.
    Rename {
        /// Which.
        name: RoleName,
        /// Its new name.
        to: String,
    },
    /// DROP ROLE.
    Drop {
        /// IF EXISTS.
        if_exists: bool,
        /// Which.
        names: Vec<RoleName>,
    },
    /// GRANT role TO role.
    Grant {
        /// What is granted.
        roles: Vec<RoleName>,
        /// To whom.
        members: Vec<RoleName>,
        /// WITH.
        options: MemberOptions,
        /// GRANTED BY.
        grantor: Option<RoleName>,
    },
    /// REVOKE role FROM role.
    Revoke {
        /// What is taken.
        roles: Vec<RoleName>,
        /// From whom.
        members: Vec<RoleName>,
        /// ... OPTION FOR: only these, not the membership.
        options: MemberOptions,
        /// GRANTED BY.
        grantor: Option<RoleName>,
        /// CASCADE.
        cascade: bool,
    },
}

impl RoleStatement {
    /// The command tag.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            RoleStatement::Create { .. } => "CREATE ROLE",
            RoleStatement::Keep { whose: Whose::Database(_), .. } => "ALTER DATABASE",
            RoleStatement::Alter { .. } | RoleStatement::Keep { .. } | RoleStatement::Rename { .. } => "ALTER ROLE",
            RoleStatement::Drop { .. } => "DROP ROLE",
            RoleStatement::Grant { .. } => "GRANT ROLE",
            RoleStatement::Revoke { .. } => "REVOKE ROLE",
        }
    }
}

/// For whom a setting is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A role, perhaps IN DATABASE.
    Role(RoleName, Option<String>),
    /// ALL roles, perhaps IN DATABASE.
    All(Option<String>),
    /// A database.
    Database(String),
}

/// The options of a membership that were named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MemberOptions {
    /// ADMIN.
    pub(crate) admin: Option<bool>,
    /// INHERIT.
    pub(crate) inherit: Option<bool>,
    /// SET.
    pub(crate) set: Option<bool>,
}

/// The options of a role that were named.
#[derive(Debug, Default)]
pub(crate) struct RoleOptions {
    /// SUPERUSER.
    pub(crate) superuser: Option<bool>,
    /// CREATEROLE.
    pub(crate) create_role: Option<bool>,
    /// CREATEDB.
    pub(crate) create_db: Option<bool>,
    /// INHERIT.
    pub(crate) inherit: Option<bool>,
    /// LOGIN.
    pub(crate) login: Option<bool>,
    /// REPLICATION.
    pub(crate) replication: Option<bool>,
    /// BYPASSRLS.
    pub(crate) bypass_rls: Option<bool>,
    /// CONNECTION LIMIT.
    pub(crate) connection_limit: Option<i32>,
    /// PASSWORD; inside `None`: NULL.
    pub(crate) password: Option<Option<Secret>>,
    /// VALID UNTIL.
    pub(crate) valid_until: Option<String>,
    /// IN ROLE.
    pub(crate) of: Vec<RoleName>,
    /// ROLE, USER.
    pub(crate) members: Vec<RoleName>,
    /// ADMIN.
    pub(crate) admins: Vec<RoleName>,
}

/// Takes ROLE, USER or GROUP; `Some(true)` for USER.
fn takes_role(cursor: &mut Cursor<'_>) -> Option<bool> {
    // CREATE USER MAPPING is something else.
    if cursor.sees("USER MAPPING") {
        return None;
    }
    let is_user = cursor.sees("USER");
    (cursor.takes("USER") || cursor.takes("ROLE") || cursor.takes("GROUP")).then_some(is_user)
}

/// CREATE ROLE; the word CREATE is taken already. `None`: something else is made.
pub(crate) fn create(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    let is_user = takes_role(cursor)?;
    Some(role(cursor).and_then(|name| {
        let mut options = options(cursor, true)?;
        if is_user {
            options.login.get_or_insert(true);
        }
        Ok(Kind::Role(RoleStatement::Create { name, options }))
    }))
}

/// ALTER ROLE; the word ALTER is taken already. `None`: something else is altered.
pub(crate) fn alter(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    takes_role(cursor)?;
    Some(altered(cursor))
}

fn altered(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let all = cursor.takes("ALL");
    let name = if all { RoleName::Public } else { role(cursor)? };
    if cursor.takes("RENAME TO") {
        return Ok(Kind::Role(RoleStatement::Rename { name, to: cursor.identifier()? }));
    }
    let database = if cursor.takes("IN DATABASE") { Some(cursor.identifier()?) } else { None };
    if let Some(keep) = setting::kept(cursor) {
        let whose = if all { Whose::All(database) } else { Whose::Role(name, database) };
        return Ok(Kind::Role(RoleStatement::Keep { whose, keep: keep? }));
    }
    if all || database.is_some() {
        return cursor.unexpected();
    }
    let (options, grantor) = (MemberOptions::default(), None);
    if cursor.takes("ADD USER") {
        let members = list(cursor)?;
        return Ok(Kind::Role(RoleStatement::Grant { roles: vec![name], members, options, grantor }));
    }
    if cursor.takes("DROP USER") {
        let members = list(cursor)?;
        return Ok(Kind::Role(RoleStatement::Revoke { roles: vec![name], members, options, grantor, cascade: false }));
    }
    Ok(Kind::Role(RoleStatement::Alter { name, options: self::options(cursor, false)? }))
}

/// ALTER DATABASE ... SET; the word ALTER is taken already. `None`: something else is altered.
pub(crate) fn alter_database(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    cursor.takes("DATABASE").then(|| {
        let whose = Whose::Database(cursor.identifier()?);
        match setting::kept(cursor) {
            Some(keep) => Ok(Kind::Role(RoleStatement::Keep { whose, keep: keep? })),
            None => Err(cursor.error_here(Error::unsupported("ALTER DATABASE other than SET and RESET"))),
        }
    })
}

/// DROP ROLE; the word DROP is taken already. `None`: something else is dropped.
pub(crate) fn drop(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    takes_role(cursor)?;
    let if_exists = cursor.takes("IF EXISTS");
    Some(list(cursor).map(|names| Kind::Role(RoleStatement::Drop { if_exists, names })))
}

/// GRANT of roles: `roles` are read, TO comes next.
pub(crate) fn grant(cursor: &mut Cursor<'_>, roles: Vec<RoleName>) -> Result<Kind> {
    cursor.expect("TO")?;
    let members = list(cursor)?;
    let mut options = MemberOptions::default();
    if cursor.takes("WITH") {
        loop {
            let Some(option) = cursor.word() else { return cursor.unexpected() };
            let named = options.named(&option).map_or_else(|| cursor.unexpected(), Ok)?;
            cursor.next();
            *named = Some(match cursor.word().as_deref() {
                Some("OPTION" | "TRUE") => true,
                Some("FALSE") => false,
                _ => return cursor.unexpected(),
            });
            cursor.next();
            if !cursor.takes_token(&Token::Comma) {
                break;
            }
        }
    }
    let grantor = granted_by(cursor)?;
    Ok(Kind::Role(RoleStatement::Grant { roles, members, options, grantor }))
}

/// REVOKE of roles: what comes before FROM is read.
pub(crate) fn revoke(cursor: &mut Cursor<'_>, options: MemberOptions, roles: Vec<RoleName>) -> Result<Kind> {
    cursor.expect("FROM")?;
    let members = list(cursor)?;
    let grantor = granted_by(cursor)?;
    let cascade = cursor.takes("CASCADE");
    if !cascade {
        cursor.takes("RESTRICT");
    }
    Ok(Kind::Role(RoleStatement::Revoke { roles, members, options, grantor, cascade }))
}

/// GRANTED BY, or nothing.
pub(crate) fn granted_by(cursor: &mut Cursor<'_>) -> Result<Option<RoleName>> {
    if cursor.takes("GRANTED BY") { role(cursor).map(Some) } else { Ok(None) }
}

impl MemberOptions {
    /// The option of this name.
    pub(crate) fn named(&mut self, word: &str) -> Option<&mut Option<bool>> {
        match word {
            "ADMIN" => Some(&mut self.admin),
            "INHERIT" => Some(&mut self.inherit),
            "SET" => Some(&mut self.set),
            _ => None,
        }
    }
}

/// A role where one is named.
pub(crate) fn role(cursor: &mut Cursor<'_>) -> Result<RoleName> {
    for (words, name) in [
        ("CURRENT_USER", RoleName::Current),
        ("CURRENT_ROLE", RoleName::Current),
        ("SESSION_USER", RoleName::Session),
        ("PUBLIC", RoleName::Public),
    ] {
        if cursor.takes(words) {
            return Ok(name);
        }
    }
    if cursor.sees("NONE") {
        let error = Error::new(SqlState::ReservedName, "role name \"none\" is reserved");
        return Err(cursor.error_here(error));
    }
    cursor.identifier().map(RoleName::Named)
}

/// Roles separated by commas.
pub(crate) fn list(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>> {
    let mut names = vec![role(cursor)?];
    while cursor.takes_token(&Token::Comma) {
        names.push(role(cursor)?);
    }
    Ok(names)
}

fn options(cursor: &mut Cursor<'_>, creates: bool) -> Result<RoleOptions> {
    let mut options = RoleOptions::default();
    cursor.takes("WITH");
    while !cursor.at_end() {
        let place = cursor.error_here(Error::new(SqlState::SyntaxError, "conflicting or redundant options"));
        let fresh = flag(cursor, &mut options).map_or_else(|| valued(cursor, &mut options, creates), Ok)?;
        if !fresh {
            return Err(place);
        }
    }
    Ok(options)
}

/// An option that is on or off; whether it was not named before. `None`: it is none of them.
fn flag(cursor: &mut Cursor<'_>, options: &mut RoleOptions) -> Option<bool> {
    let word = cursor.word()?;
    let positive = word.strip_prefix("NO").unwrap_or(&word);
    let slot = match positive {
        "SUPERUSER" => &mut options.superuser,
        "CREATEROLE" => &mut options.create_role,
        "CREATEDB" => &mut options.create_db,
        "INHERIT" => &mut options.inherit,
        "LOGIN" => &mut options.login,
        "REPLICATION" => &mut options.replication,
        "BYPASSRLS" => &mut options.bypass_rls,
        _ => return None,
    };
    cursor.next();
    Some(slot.replace(positive.len() == word.len()).is_none())
}

/// An option with a value; whether it was not named before.
fn valued(cursor: &mut Cursor<'_>, options: &mut RoleOptions, creates: bool) -> Result<bool> {
    if cursor.takes("CONNECTION LIMIT") {
        let place = cursor.error_here(Error::new(SqlState::SyntaxError, "syntax error at or near the limit"));
        let limit = cursor.value().and_then(|value| value.parse().ok());
        return Ok(options.connection_limit.replace(limit.ok_or(place)?).is_none());
    }
    if cursor.takes("VALID UNTIL") {
        return Ok(options.valid_until.replace(cursor.string()?).is_none());
    }
    if cursor.takes("UNENCRYPTED PASSWORD") {
        return Err(Error::new(SqlState::FeatureNotSupported, "UNENCRYPTED PASSWORD is no longer supported")
            .hint("Remove UNENCRYPTED to store the password in encrypted form instead."));
    }
    if cursor.takes("ENCRYPTED PASSWORD") || cursor.takes("PASSWORD") {
        let password = if cursor.takes("NULL") { None } else { Some(Secret::new(cursor.string()?)) };
        return Ok(options.password.replace(password).is_none());
    }
    if creates && cursor.takes("SYSID") {
        // Noise, as in PostgreSQL: it gives a notice and ignores it.
        return cursor.value().map_or_else(|| cursor.unexpected(), |_| Ok(true));
    }
    let named = if creates && (cursor.takes("IN ROLE") || cursor.takes("IN GROUP")) {
        &mut options.of
    } else if creates && cursor.takes("ADMIN") {
        &mut options.admins
    } else if creates && (cursor.takes("ROLE") || cursor.takes("USER")) {
        &mut options.members
    } else if let Some(word) = cursor.word() {
        let error = Error::new(SqlState::SyntaxError, format!("unrecognized role option \"{}\"", word.to_lowercase()));
        return Err(cursor.error_here(error));
    } else {
        return cursor.unexpected();
    };
    let fresh = named.is_empty();
    *named = list(cursor)?;
    Ok(fresh)
}

/// An error about a request that may hold a password, without any string that it quotes.
pub(super) fn discreet(request: &str, error: Error) -> Error {
    if !may_hold_password(request) {
        return error;
    }
    match error.message().split_once(" at or near ") {
        Some((what, quoted)) if quoted.contains(['\'', '$']) => {
            let hidden = Error::new(error.state(), format!("{what} at or near a string"));
            error.position().map_or(hidden.clone(), |place| hidden.at(place))
        }
        _ => error,
    }
}

/// Whether a text is, or is meant as, one that carries a password.
pub(super) fn may_hold_password(text: &str) -> bool {
    text.to_ascii_lowercase().contains("password")
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn read(sql: &str) -> String {
        match parse(sql) {
            Ok(statements) => statements.iter().map(|one| format!("{:?}", one.kind())).collect(),
            Err(error) => format!("{} {}", error.state().code(), error.message()),
        }
    }

    #[test]
    fn roles_are_read_in_all_their_words() {
        let made = read(
            "CREATE USER \"Ann\" WITH ENCRYPTED PASSWORD 'pst' NOINHERIT CONNECTION LIMIT -1 IN ROLE a, b ADMIN c",
        );
        for part in [
            "Named(\"Ann\")",
            "login: Some(true)",
            "inherit: Some(false)",
            "password: Some(Some(***))",
            "connection_limit: Some(-1)",
            "of: [Named(\"a\"), Named(\"b\")]",
            "admins: [Named(\"c\")]",
        ] {
            assert!(made.contains(part), "{part}: {made}");
        }
        assert!(!made.contains("pst"));
        assert!(read("CREATE GROUP g").contains("login: None"));
        assert!(read("ALTER ROLE CURRENT_USER PASSWORD NULL").contains("Alter { name: Current"));
        assert!(read("ALTER GROUP g ADD USER a, b").starts_with("Role(Grant"));
        assert!(read("ALTER ROLE x IN DATABASE d SET a.b TO 1").contains("Role(Named(\"x\"), Some(\"d\"))"));
        assert!(read("ALTER ROLE ALL RESET ALL").contains("All(None), keep: Reset(None)"));
        assert!(read("ALTER DATABASE d SET work_mem FROM CURRENT").contains("keep: Current(\"work_mem\")"));
        assert!(read("ALTER USER x SET timezone TO DEFAULT").contains("keep: Set(\"timezone\", None)"));
        assert!(read("DROP USER IF EXISTS a, b").contains("if_exists: true, names: [Named(\"a\"), Named(\"b\")]"));
        assert!(read("GRANT a, b TO c WITH ADMIN OPTION, INHERIT FALSE GRANTED BY d").contains("inherit: Some(false)"));
        assert!(read("REVOKE ADMIN OPTION FOR a FROM b CASCADE").contains("admin: Some(false)"));
        assert!(read("SET ROLE NONE").contains("name: \"role\", local: false, value: None"));
        assert!(read("SET LOCAL ROLE 'a b'").contains("local: true, value: Some(\"a b\")"));
        assert!(read("SET SESSION ROLE ann").contains("value: Some(\"ann\")"));
        assert!(read("RESET ROLE").contains("Reset(Some(\"role\"))"));
    }

    #[test]
    fn what_is_wrong_is_said_as_postgresql_says_it() {
        for (sql, said) in [
            ("CREATE ROLE x LOGIN NOLOGIN", "42601 conflicting or redundant options"),
            ("CREATE ROLE x FROBNICATE", "42601 unrecognized role option \"frobnicate\""),
            ("CREATE ROLE none", "42939 role name \"none\" is reserved"),
            ("CREATE ROLE x PASSWORD 7", "42601 syntax error at or near \"7\""),
            ("ALTER ROLE x PASSWORD 'a' 'b'", "42601 syntax error at or near a string"),
            ("ALTER ROLE x PASSWORD 'a", "42601 unterminated quoted string at or near a string"),
            ("ALTER ROLE ALL LOGIN", "42601 syntax error at or near \"LOGIN\""),
            ("ALTER DATABASE x RENAME TO y", "0A000 ALTER DATABASE other than SET and RESET is not supported"),
            ("GRANT a", "42601 syntax error at end of input"),
        ] {
            assert_eq!(read(sql), said, "{sql}");
        }
    }

    #[test]
    fn a_statement_with_a_password_is_not_shown() {
        let statements = parse("ALTER ROLE x PaSSword 'pst'; SELECT 1").unwrap();
        assert_eq!(statements[0].shown_text(), "<a statement with a password>");
        assert_eq!(statements[1].shown_text(), "SELECT 1");
        assert!(!format!("{statements:?}").contains("pst"));
    }
}
