//! LIKE in the columns of CREATE TABLE.

use std::collections::BTreeSet;

use thalweg_dataflow::error::Result;

use super::ast::Name;
use super::cursor::Cursor;

/// LIKE in a list of columns.
#[derive(Debug, Clone)]
pub(crate) struct Like {
    /// How many columns stand before it.
    pub(crate) at: usize,
    /// Like what.
    pub(crate) name: Name,
    /// INCLUDING, and what EXCLUDING took away again.
    included: BTreeSet<&'static str>,
}

/// What LIKE may include.
const INCLUDABLE: [&str; 9] =
    ["COMMENTS", "COMPRESSION", "CONSTRAINTS", "DEFAULTS", "GENERATED", "IDENTITY", "INDEXES", "STATISTICS", "STORAGE"];

impl Like {
    /// Whether INCLUDING names this.
    pub(crate) fn includes(&self, what: &str) -> bool {
        self.included.contains(what)
    }
}

/// The word LIKE is taken already.
pub(super) fn like(cursor: &mut Cursor<'_>, at: usize) -> Result<Like> {
    let mut like = Like { at, name: cursor.name()?, included: BTreeSet::new() };
    loop {
        let including = cursor.takes("INCLUDING");
        if !including && !cursor.takes("EXCLUDING") {
            return Ok(like);
        }
        let all = cursor.takes("ALL");
        let named = INCLUDABLE.into_iter().find(|word| !all && cursor.takes(word));
        if !all && named.is_none() {
            return cursor.unexpected();
        }
        for word in INCLUDABLE.into_iter().filter(|word| all || named == Some(word)) {
            if including {
                like.included.insert(word);
            } else {
                like.included.remove(word);
            }
        }
    }
}
