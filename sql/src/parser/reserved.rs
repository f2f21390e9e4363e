//! PostgreSQL's reserved words, and where they must not stand.
//!
//! sqlparser takes most of them for names; PostgreSQL's grammar does not. Promises: no query goes on
//! that holds a reserved word as the name of a column, function or relation; the error stands where
//! PostgreSQL puts it.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArguments, Ident, ObjectName, ObjectNamePart, Spanned, Visit};
use datafusion::sql::sqlparser::tokenizer::{Location, Token, TokenWithSpan};

use crate::walk::{Node, ON, walk};

/// PostgreSQL's reserved words: no name unless quoted.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// Reserved too, but the names of functions and types may be like them.
const RESERVED_BUT_FOR_FUNCTIONS: &[&str] = &[
    "authorization",
    "binary",
    "collation",
    "concurrently",
    "cross",
    "freeze",
    "full",
    "ilike",
    "inner",
    "is",
    "isnull",
    "join",
    "left",
    "like",
    "natural",
    "notnull",
    "outer",
    "overlaps",
    "right",
    "similar",
    "tablesample",
    "verbose",
];

/// Reserved words that are values by themselves.
const VALUES: &[&str] = &[
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "false",
    "localtime",
    "localtimestamp",
    "null",
    "session_user",
    "true",
    "user",
];

/// Reserved words with which an operand begins.
const OPENERS: &[&str] = &["all", "any", "array", "case", "cast", "not", "some", "unique"];

/// Whether a word cannot be a name unless quoted.
pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

/// PostgreSQL's reserved words.
pub(crate) fn reserved_words() -> &'static [&'static str] {
    RESERVED
}

fn in_list(list: &[&str], word: &str) -> bool {
    list.binary_search(&word).is_ok()
}

/// What is wrong with a word in the place of an operand.
fn fault_as_operand(word: &str) -> Option<Fault> {
    if in_list(VALUES, word) {
        None
    } else if word == "default" {
        Some(Fault::Default)
    } else if in_list(OPENERS, word) || in_list(RESERVED_BUT_FOR_FUNCTIONS, word) {
        Some(Fault::After)
    } else {
        is_reserved(word).then_some(Fault::Here)
    }
}

/// What is wrong with a word before a point: values and openers are followed by none.
fn fault_as_qualifier(word: &str) -> Option<Fault> {
    match fault_as_operand(word) {
        _ if ["any", "some"].contains(&word) => Some(Fault::Here),
        Some(Fault::Here) => Some(Fault::Here),
        Some(Fault::After | Fault::Default) => Some(Fault::After),
        None => in_list(VALUES, word).then_some(Fault::After),
    }
}

/// What is wrong at a reserved word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot stand there.
    Here,
    /// It could begin something, but not what follows.
    After,
    /// `DEFAULT`, which is known to the grammar and to no query.
    Default,
}

/// A reserved word in the place of a name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Misplaced {
    /// Where it stands.
    pub(crate) at: Location,
    /// What is wrong.
    pub(crate) fault: Fault,
}

/// What can hold a misplaced word: everything that sqlparser can visit.
pub(crate) trait Judged {
    /// The first reserved word that it uses as a name.
    fn misplaced(&self) -> Option<Misplaced>;
}

impl<T: Visit> Judged for T {
    fn misplaced(&self) -> Option<Misplaced> {
        let mut finder = Finder { first: None };
        let _ = walk(self, &mut |node| {
            match node {
                Node::Relation(name) => finder.relation(name),
                Node::Expr(expr) => finder.expr(expr),
                Node::Query(_) => {}
            }
            ON
        });
        finder.first
    }
}

struct Finder {
    first: Option<Misplaced>,
}

impl Finder {
    fn judge(&mut self, ident: &Ident, fault: impl Fn(&str) -> Option<Fault>) {
        if let Some(fault) = bare(ident).and_then(|word| fault(&word)) {
            self.note(ident.span.start, fault);
        }
    }

    fn note(&mut self, at: Location, fault: Fault) {
        if self.first.is_none_or(|first| at < first.at) {
            self.first = Some(Misplaced { at, fault });
        }
    }
}

/// The word, if it is not quoted.
fn bare(ident: &Ident) -> Option<String> {
    ident.quote_style.is_none().then(|| ident.value.to_lowercase())
}

impl Finder {
    fn relation(&mut self, name: &ObjectName) {
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() {
            self.judge(ident, |word| is_reserved(word).then_some(Fault::Here));
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Identifier(ident) => self.judge(ident, fault_as_operand),
            Expr::CompoundIdentifier(parts) => {
                if let Some(first) = parts.first() {
                    self.judge(first, fault_as_qualifier);
                }
            }
            Expr::CompoundFieldAccess { root, .. } => match root.as_ref() {
                Expr::Value(value) => self.note(value.span.start, Fault::After),
                Expr::Function(function) if function.args == FunctionArguments::None => {
                    self.note(root.span().start, Fault::After)
                }
                _ => {}
            },
            Expr::Function(function) => {
                if let [ObjectNamePart::Identifier(ident)] = function.name.0.as_slice() {
                    self.judge(ident, |word| fault_as_operand(word).filter(|fault| *fault == Fault::Here));
                }
            }
            _ => {}
        }
    }
}

/// The first reserved word that stands where an operand must begin: after an operator or a comma.
pub(crate) fn missing_operand(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    // They follow a comma in FROM, and NOT in IS NOT DISTINCT FROM.
    const LEGITIMATE: [&str; 3] = ["distinct", "lateral", "only"];
    let wants_operand = |token: &Token| match token {
        Token::Plus | Token::Minus | Token::Div | Token::Mod | Token::StringConcat | Token::Comma => true,
        Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
        Token::Word(word) => {
            word.quote_style.is_none()
                && ["and", "or", "not"].iter().any(|known| word.value.eq_ignore_ascii_case(known))
        }
        _ => false,
    };
    let is_none = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => {
            let word = word.value.to_lowercase();
            fault_as_operand(&word) == Some(Fault::Here) && !LEGITIMATE.contains(&word.as_str())
        }
        _ => false,
    };
    let found = tokens.windows(2).find(|pair| wants_operand(&pair[0].token) && is_none(&pair[1].token));
    found.map(|pair| &pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted() {
        for list in [RESERVED, RESERVED_BUT_FOR_FUNCTIONS, VALUES, OPENERS] {
            assert!(list.is_sorted());
        }
    }
}
