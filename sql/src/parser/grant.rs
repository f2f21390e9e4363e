//! GRANT and REVOKE, ALTER DEFAULT PRIVILEGES, and who owns what.
//!
//! Checks form only: which privilege goes with which kind of object is looked at when it is granted.

use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::{Error, Result, SqlState};

use super::ast::{Kind, Name, ObjectKind};
use super::cursor::Cursor;
use super::role::{self, MemberOptions, RoleName};
use super::table::column_names;
use crate::catalog::DefaultKind;

/// What is granted or taken, and from whom.
#[derive(Debug)]
pub(crate) struct Change {
    /// GRANT; else REVOKE.
    pub(crate) grants: bool,
    /// The privileges in upper case; `None`: ALL.
    pub(crate) rights: Option<Vec<String>>,
    /// Privileges on columns, `ALL` too, each with the columns.
    pub(crate) columns: Vec<(String, Vec<String>)>,
    /// Who gets or loses them.
    pub(crate) grantees: Vec<RoleName>,
    /// WITH GRANT OPTION, GRANT OPTION FOR.
    pub(crate) option: bool,
    /// GRANTED BY.
    pub(crate) grantor: Option<RoleName>,
    /// CASCADE.
    pub(crate) cascade: bool,
}

/// On what.
#[derive(Debug)]
pub(crate) enum Objects {
    /// Relations of any kind.
    Relations(Vec<Name>),
    /// ALL TABLES IN SCHEMA.
    AllTables(Vec<String>),
    /// SEQUENCE.
    Sequences(Vec<Name>),
    /// ALL SEQUENCES IN SCHEMA.
    AllSequences(Vec<String>),
    /// ALL FUNCTIONS, ... IN SCHEMA: there are none.
    AllOthers(Vec<String>),
    /// SCHEMA.
    Schemas(Vec<String>),
    /// DATABASE.
    Databases(Vec<String>),
}

/// A statement about rights or owners.
#[derive(Debug)]
pub(crate) enum GrantStatement {
    /// GRANT, REVOKE.
    Objects(Objects, Change),
    /// ALTER DEFAULT PRIVILEGES.
    Default {
        /// FOR ROLE.
        roles: Vec<RoleName>,
        /// IN SCHEMA.
        schemas: Vec<String>,
        /// Of what.
        kind: DefaultKind,
        /// What.
        change: Change,
    },
    /// ALTER ... OWNER TO.
    Owner {
        /// What kind the statement names.
        kind: ObjectKind,
        /// IF EXISTS.
        if_exists: bool,
        /// Which.
        name: Name,
        /// The new owner.
        to: RoleName,
    },
    /// REASSIGN OWNED BY.
    Reassign {
        /// Whose.
        from: Vec<RoleName>,
        /// The new owner.
        to: RoleName,
    },
    /// DROP OWNED BY.
    DropOwned {
        /// Whose.
        of: Vec<RoleName>,
        /// CASCADE.
        cascade: bool,
    },
}

impl GrantStatement {
    /// The command tag.
    pub(crate) fn tag(&self) -> &'static str {
        match self {
            GrantStatement::Objects(_, change) if change.grants => "GRANT",
            GrantStatement::Objects(..) => "REVOKE",
            GrantStatement::Default { .. } => "ALTER DEFAULT PRIVILEGES",
            GrantStatement::Owner { kind, .. } => match kind {
                ObjectKind::Source => "ALTER SOURCE",
                ObjectKind::View => "ALTER MATERIALIZED VIEW",
                ObjectKind::NamedQuery => "ALTER VIEW",
                ObjectKind::Table => "ALTER TABLE",
                ObjectKind::Sequence => "ALTER SEQUENCE",
            },
            GrantStatement::Reassign { .. } => "REASSIGN OWNED",
            GrantStatement::DropOwned { .. } => "DROP OWNED",
        }
    }
}

/// GRANT; the word is taken already.
pub(crate) fn grant(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if !names_objects(cursor) {
        let roles = role::list(cursor)?;
        return role::grant(cursor, roles);
    }
    let rights = rights(cursor)?;
    let objects = objects(cursor)?;
    let change = of_relations(granted(cursor, rights)?, &objects)?;
    Ok(Kind::Grant(GrantStatement::Objects(objects, change)))
}

/// REVOKE; the word is taken already.
pub(crate) fn revoke(cursor: &mut Cursor<'_>) -> Result<Kind> {
    if !names_objects(cursor) {
        let mut options = MemberOptions::default();
        if let (Some(word), true) =
            (cursor.word(), ["ADMIN", "INHERIT", "SET"].iter().any(|word| takes_option(cursor, word)))
        {
            options.named(&word).into_iter().for_each(|option| *option = Some(false));
        }
        let roles = role::list(cursor)?;
        return role::revoke(cursor, options, roles);
    }
    let option = takes_option(cursor, "GRANT");
    let rights = rights(cursor)?;
    let objects = objects(cursor)?;
    let change = of_relations(revoked(cursor, rights, option)?, &objects)?;
    Ok(Kind::Grant(GrantStatement::Objects(objects, change)))
}

/// Refuses columns of what has none.
fn of_relations(change: Change, objects: &Objects) -> Result<Change> {
    if change.columns.is_empty() || matches!(objects, Objects::Relations(_)) {
        return Ok(change);
    }
    Err(Error::new(SqlState::InvalidGrantOperation, "column privileges are only valid for relations"))
}

/// Takes `word OPTION FOR`.
fn takes_option(cursor: &mut Cursor<'_>, word: &str) -> bool {
    cursor.takes(&format!("{word} OPTION FOR"))
}

/// Whether ON comes before TO or FROM: rights on objects, not membership.
fn names_objects(cursor: &Cursor<'_>) -> bool {
    let words = (0..).map_while(|ahead| cursor.token(ahead)).filter_map(|token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    });
    words.into_iter().find(|word| ["ON", "TO", "FROM"].contains(&word.as_str())).is_some_and(|word| word == "ON")
}

/// TO ..., after the objects.
fn granted(cursor: &mut Cursor<'_>, (rights, columns): Privileges) -> Result<Change> {
    cursor.expect("TO")?;
    let grantees = grantees(cursor)?;
    let option = cursor.takes("WITH GRANT OPTION");
    let grantor = role::granted_by(cursor)?;
    Ok(Change { grants: true, rights, columns, grantees, option, grantor, cascade: false })
}

/// FROM ..., after the objects.
fn revoked(cursor: &mut Cursor<'_>, (rights, columns): Privileges, option: bool) -> Result<Change> {
    cursor.expect("FROM")?;
    let grantees = grantees(cursor)?;
    let grantor = role::granted_by(cursor)?;
    let cascade = behaviour(cursor);
    Ok(Change { grants: false, rights, columns, grantees, option, grantor, cascade })
}

/// CASCADE or RESTRICT; whether the first.
fn behaviour(cursor: &mut Cursor<'_>) -> bool {
    let cascade = cursor.takes("CASCADE");
    if !cascade {
        cursor.takes("RESTRICT");
    }
    cascade
}

/// Roles, each perhaps after the word GROUP.
fn grantees(cursor: &mut Cursor<'_>) -> Result<Vec<RoleName>> {
    let mut names = Vec::new();
    loop {
        cursor.takes("GROUP");
        names.push(role::role(cursor)?);
        if !cursor.takes_token(&Token::Comma) {
            return Ok(names);
        }
    }
}

/// Privileges on the whole (`None`: ALL), and those on columns.
type Privileges = (Option<Vec<String>>, Vec<(String, Vec<String>)>);

/// Privileges; ON comes next.
fn rights(cursor: &mut Cursor<'_>) -> Result<Privileges> {
    if cursor.takes("ALL") {
        cursor.takes("PRIVILEGES");
        if cursor.peek().token != Token::LParen {
            return Ok((None, Vec::new()));
        }
        return Ok((Some(Vec::new()), vec![("ALL".into(), column_names(cursor)?)]));
    }
    let (mut rights, mut columns) = (Vec::new(), Vec::new());
    loop {
        let Some(word) = cursor.word() else { return cursor.unexpected() };
        cursor.next();
        if cursor.peek().token == Token::LParen {
            columns.push((word, column_names(cursor)?));
        } else {
            rights.push(word);
        }
        if !cursor.takes_token(&Token::Comma) {
            return Ok((Some(rights), columns));
        }
    }
}

fn objects(cursor: &mut Cursor<'_>) -> Result<Objects> {
    cursor.expect("ON")?;
    for what in ["TABLES", "SEQUENCES", "FUNCTIONS", "PROCEDURES", "ROUTINES"] {
        if cursor.takes(&format!("ALL {what} IN SCHEMA")) {
            let schemas = cursor.identifiers()?;
            return Ok(match what {
                "TABLES" => Objects::AllTables(schemas),
                "SEQUENCES" => Objects::AllSequences(schemas),
                _ => Objects::AllOthers(schemas),
            });
        }
    }
    if cursor.takes("SCHEMA") {
        return cursor.identifiers().map(Objects::Schemas);
    }
    if cursor.takes("DATABASE") {
        return cursor.identifiers().map(Objects::Databases);
    }
    if cursor.takes("TABLE") || cursor.takes("SOURCE") || cursor.takes("VIEW") {
        return cursor.names().map(Objects::Relations);
    }
    if cursor.takes("MATERIALIZED VIEW") || cursor.takes("EXTERNAL TABLE") {
        return cursor.names().map(Objects::Relations);
    }
    const OTHERS: [&str; 10] = [
        "DOMAIN",
        "FOREIGN",
        "FUNCTION",
        "LANGUAGE",
        "LARGE",
        "PARAMETER",
        "PROCEDURE",
        "ROUTINE",
        "TABLESPACE",
        "TYPE",
    ];
    // A relation may have such a name; then no other name follows it.
    let followed = matches!(cursor.token(1), Some(Token::Word(next))
        if !["TO", "FROM"].contains(&next.value.to_ascii_uppercase().as_str()));
    if followed && cursor.takes("SEQUENCE") {
        return cursor.names().map(Objects::Sequences);
    }
    if let Some(word) = cursor.word().filter(|word| followed && OTHERS.contains(&word.as_str())) {
        return Err(cursor.error_here(Error::unsupported(format!("a privilege on a {}", word.to_lowercase()))));
    }
    cursor.names().map(Objects::Relations)
}

/// ALTER DEFAULT PRIVILEGES and ALTER ... OWNER TO; the word ALTER is taken already. `None`: something
/// else is altered, and nothing more was taken.
pub(crate) fn alter(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    if cursor.takes("DEFAULT PRIVILEGES") {
        return Some(default_privileges(cursor));
    }
    let start = cursor.at;
    let owner = owner(cursor);
    if owner.is_none() {
        cursor.at = start;
    }
    owner
}

fn default_privileges(cursor: &mut Cursor<'_>) -> Result<Kind> {
    let (mut roles, mut schemas) = (Vec::new(), Vec::new());
    loop {
        if cursor.takes("FOR ROLE") || cursor.takes("FOR USER") {
            roles = role::list(cursor)?;
        } else if cursor.takes("IN SCHEMA") {
            schemas = cursor.identifiers()?;
        } else {
            break;
        }
    }
    let grants = cursor.takes("GRANT");
    if !grants {
        cursor.expect("REVOKE")?;
    }
    let option = !grants && takes_option(cursor, "GRANT");
    let rights = rights(cursor)?;
    cursor.expect("ON")?;
    let kinds =
        [("TABLES", DefaultKind::Tables), ("SEQUENCES", DefaultKind::Sequences), ("SCHEMAS", DefaultKind::Schemas)];
    let Some((_, kind)) = kinds.into_iter().find(|(word, _)| cursor.takes(word)) else {
        let Some(word) = cursor.word() else { return cursor.unexpected() };
        return Err(cursor.error_here(Error::unsupported(format!("ALTER DEFAULT PRIVILEGES ... ON {word}"))));
    };
    let change = if grants { granted(cursor, rights)? } else { revoked(cursor, rights, option)? };
    if change.grantor.is_some() {
        return Err(Error::new(SqlState::SyntaxError, "syntax error at or near \"GRANTED\""));
    }
    if !change.columns.is_empty() {
        return Err(Error::new(SqlState::InvalidGrantOperation, "default privileges cannot be set for columns"));
    }
    Ok(Kind::Grant(GrantStatement::Default { roles, schemas, kind, change }))
}

fn owner(cursor: &mut Cursor<'_>) -> Option<Result<Kind>> {
    let kinds = [
        ("EXTERNAL TABLE", ObjectKind::Table),
        ("TABLE", ObjectKind::Table),
        ("MATERIALIZED VIEW", ObjectKind::View),
        ("VIEW", ObjectKind::NamedQuery),
        ("SOURCE", ObjectKind::Source),
        ("SEQUENCE", ObjectKind::Sequence),
    ];
    let (_, kind) = kinds.into_iter().find(|(words, _)| cursor.takes(words))?;
    let if_exists = cursor.takes("IF EXISTS");
    cursor.takes("ONLY");
    let name = cursor.name().ok()?;
    if !cursor.takes("OWNER TO") {
        return None;
    }
    Some(role::role(cursor).map(|to| Kind::Grant(GrantStatement::Owner { kind, if_exists, name, to })))
}

/// REASSIGN; the word is taken already.
pub(crate) fn reassign(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.expect("OWNED BY")?;
    let from = role::list(cursor)?;
    cursor.expect("TO")?;
    let to = role::role(cursor)?;
    Ok(Kind::Grant(GrantStatement::Reassign { from, to }))
}

/// DROP OWNED; the words are taken already.
pub(crate) fn drop_owned(cursor: &mut Cursor<'_>) -> Result<Kind> {
    cursor.expect("BY")?;
    let of = role::list(cursor)?;
    let cascade = behaviour(cursor);
    Ok(Kind::Grant(GrantStatement::DropOwned { of, cascade }))
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
    fn rights_are_read_in_all_their_words() {
        for (sql, part) in [
            (
                "GRANT SELECT, INSERT ON TABLE a, s.b TO x, PUBLIC WITH GRANT OPTION",
                "rights: Some([\"SELECT\", \"INSERT\"])",
            ),
            ("GRANT ALL PRIVILEGES ON a TO GROUP x GRANTED BY CURRENT_USER", "rights: None"),
            ("GRANT ALL ON ALL TABLES IN SCHEMA public TO x", "AllTables([\"public\"])"),
            ("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO x", "AllSequences([\"public\"])"),
            ("GRANT USAGE ON SCHEMA public TO x", "Schemas([\"public\"])"),
            ("GRANT CONNECT ON DATABASE thalweg TO x", "Databases([\"thalweg\"])"),
            ("GRANT SELECT ON MATERIALIZED VIEW m TO x", "Relations([Name { schema: None, name: \"m\" }])"),
            ("GRANT SELECT ON sequence TO x", "name: \"sequence\""),
            ("REVOKE GRANT OPTION FOR SELECT ON a FROM x CASCADE", "option: true, grantor: None, cascade: true"),
            (
                "ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA public GRANT SELECT ON TABLES TO x",
                "Default { roles: [Named(\"a\")]",
            ),
            ("ALTER TABLE IF EXISTS t OWNER TO x", "Owner { kind: Table, if_exists: true"),
            ("ALTER MATERIALIZED VIEW m OWNER TO SESSION_USER", "to: Session"),
            ("REASSIGN OWNED BY a, b TO c", "Reassign"),
            ("DROP OWNED BY a CASCADE", "DropOwned { of: [Named(\"a\")], cascade: true }"),
            ("ALTER TABLE t RENAME TO u", "AlterTable"),
            ("GRANT SELECT (a, b), INSERT ON t TO x", "columns: [(\"SELECT\", [\"a\", \"b\"])]"),
            ("GRANT ALL PRIVILEGES (a) ON t TO x", "rights: Some([]), columns: [(\"ALL\", [\"a\"])]"),
            ("GRANT SELECT (a) ON SCHEMA s TO x", "0LP01 column privileges are only valid for relations"),
            ("GRANT EXECUTE ON FUNCTION f TO x", "0A000 a privilege on a function is not supported"),
            ("GRANT SELECT ON t", "42601 syntax error at end of input"),
            ("GRANT SELECT ON t FROM x", "42601 syntax error at or near \"FROM\""),
            ("ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO x", "0A000 ALTER DEFAULT PRIVILEGES ... ON TYPES"),
        ] {
            assert!(read(sql).contains(part), "{sql}: {}", read(sql));
        }
    }
}
