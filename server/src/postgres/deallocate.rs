//! DEALLOCATE of statements that the client prepared over the wire.
//!
//! The session parses it but does not hold the statements; here its one argument is read again from
//! the statement's text. Promises: a name means what SQL says (`"A b"` exactly, `Ab` as `ab`).
//! Does not check the syntax: what the parser refused never comes here.

/// The name that a DEALLOCATE statement gives; `None` for ALL and for every other statement.
pub(crate) fn deallocated(statement: &str) -> Option<String> {
    let rest = after_word(statement.trim(), "deallocate")?;
    let name = after_word(rest, "prepare").unwrap_or(rest);
    match name.strip_prefix('"') {
        Some(quoted) => Some(quoted.strip_suffix('"')?.replace("\"\"", "\"")),
        None if name.is_empty() || name.eq_ignore_ascii_case("all") => None,
        None => Some(name.to_lowercase()),
    }
}

/// What follows a word and white space.
fn after_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let rest = text.get(word.len()..)?;
    let found = text.get(..word.len())?.eq_ignore_ascii_case(word);
    (found && rest.starts_with(char::is_whitespace)).then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        assert_eq!(deallocated("DEALLOCATE _pg3_0").as_deref(), Some("_pg3_0"));
        assert_eq!(deallocated("deallocate prepare\n S_1").as_deref(), Some("s_1"));
        assert_eq!(deallocated("Deallocate \"A \"\"b\"").as_deref(), Some("A \"b"));
        assert_eq!(deallocated("DEALLOCATE ALL"), None);
        assert_eq!(deallocated("DEALLOCATE PREPARE all"), None);
        assert_eq!(deallocated("SELECT 1"), None);
        assert_eq!(deallocated("ü"), None);
    }
}
