//! How high a statement's tree will be, told from its tokens before anybody builds it.
//!
//! Promises: what passes can be read, bound, copied and dropped by functions that call themselves,
//! on the stacks that threads have; what does not is 54001, after one look at each token. Estimates
//! from above, and knows no grammar: an operator in a row with others is one more level.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use thalweg_dataflow::error::Result;

use super::source_text::too_deep;

/// The deepest nesting (parentheses, subqueries, CASE) that is followed.
pub(super) const MAX_DEPTH: usize = 120;

/// The most operators in a row: a chain of n operators is a tree of depth n.
const MAX_OPERATORS: usize = 2_000;

/// The same with what stands between whole conditions and queries. (AND and OR in a row are no deep
/// tree any more once they are bound.)
const MAX_HEIGHT: usize = 20_000;

/// Words that stand between two operands, or before or behind one.
const OPERATORS: [&str; 16] = [
    "NOT", "COLLATE", "IS", "ISNULL", "NOTNULL", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN", "AT", "OVERLAPS",
    "OPERATOR", "ESCAPE", "EXPLAIN", "PREPARE",
];

/// Words that stand between conditions.
const LOGIC: [&str; 2] = ["AND", "OR"];

/// Words that stand between queries or tables.
const BETWEEN_QUERIES: [&str; 5] = ["UNION", "EXCEPT", "INTERSECT", "JOIN", "APPLY"];

/// Words at which another expression begins.
const BEGINNINGS: [&str; 10] = ["SELECT", "FROM", "WHERE", "ON", "GROUP", "HAVING", "ORDER", "WHEN", "THEN", "ELSE"];

/// Refuses a statement whose tree would be too high. Error: 54001.
pub(super) fn check(tokens: &[TokenWithSpan]) -> Result<()> {
    let mut levels = vec![Level::default()];
    for (place, token) in tokens.iter().enumerate() {
        let class = class(&token.token, place.checked_sub(2).and_then(|before| tokens.get(before)));
        if class == Class::Open {
            levels.push(Level::default());
        } else if class == Class::Close && levels.len() > 1 {
            let inner = levels.pop().map_or(Height::default(), Level::height);
            if let Some(level) = levels.last_mut() {
                level.below = level.below.max(inner);
            }
        }
        let depth = levels.len() - 1;
        let Some(level) = levels.last_mut() else { continue };
        level.step(class);
        let height = level.height();
        if depth > MAX_DEPTH || height.operators > MAX_OPERATORS || height.all > MAX_HEIGHT {
            return Err(too_deep());
        }
    }
    Ok(())
}

/// What a token does to the height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Open,
    Close,
    Comma,
    Operator,
    Logic,
    BetweenQueries,
    Beginning,
    Other,
}

/// The class of a token; `earlier`: the one before the one before it.
fn class(token: &Token, earlier: Option<&TokenWithSpan>) -> Class {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Class::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Class::Close,
        Token::Comma => Class::Comma,
        Token::Word(word) if word.quote_style.is_none() => {
            let is = |known: &&'static str| word.value.eq_ignore_ascii_case(known);
            match () {
                () if is(&"CASE") => Class::Open,
                () if is(&"END") => Class::Close,
                () if OPERATORS.iter().any(is) => Class::Operator,
                () if LOGIC.iter().any(is) => Class::Logic,
                () if BETWEEN_QUERIES.iter().any(is) => Class::BetweenQueries,
                () if BEGINNINGS.iter().any(is) => Class::Beginning,
                () => Class::Other,
            }
        }
        // `a.b` is a name; where more parts follow each may be a level.
        Token::Period if earlier.is_some_and(|earlier| earlier.token == Token::Period) => Class::Operator,
        Token::Word(_)
        | Token::Period
        | Token::Number(..)
        | Token::Placeholder(_)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::DollarQuotedString(_) => Class::Other,
        _ => Class::Operator,
    }
}

/// Levels of a tree: those of operators alone, and all.
#[derive(Debug, Clone, Copy, Default)]
struct Height {
    operators: usize,
    all: usize,
}

impl Height {
    fn max(self, other: Height) -> Height {
        Height { operators: self.operators.max(other.operators), all: self.all.max(other.all) }
    }
}

/// What stands in one pair of brackets, as far as it was read.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    /// Operators in a row.
    operators: usize,
    /// The highest of what stands in brackets among them.
    below: Height,
    /// The highest expression before this one in the same item.
    before: Height,
    /// ANDs and ORs of the item.
    logic: usize,
    /// The highest item before the last comma.
    items: Height,
    /// What stands between queries or tables, commas or not.
    queries: usize,
}

impl Level {
    fn step(&mut self, class: Class) {
        let Level { logic, items, queries, .. } = *self;
        let next = Level { before: self.expressions(), logic, items, queries, ..Level::default() };
        match class {
            Class::Operator => self.operators += 1,
            Class::Logic => *self = Level { logic: logic + 1, ..next },
            Class::BetweenQueries => *self = Level { queries: queries + 1, ..next },
            Class::Beginning => *self = next,
            Class::Comma => *self = Level { items: self.conditions(), queries, ..Level::default() },
            Class::Open | Class::Close | Class::Other => {}
        }
    }

    fn expressions(self) -> Height {
        let own = Height { operators: self.operators + self.below.operators, all: self.operators + self.below.all };
        self.before.max(own)
    }

    fn conditions(self) -> Height {
        let item = self.expressions();
        self.items.max(Height { all: item.all + self.logic, ..item })
    }

    fn height(self) -> Height {
        let highest = self.conditions();
        Height { operators: highest.operators + self.queries, all: highest.all + self.queries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    fn passes(sql: &str) -> bool {
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize_with_location().unwrap();
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        check(&tokens).is_ok()
    }

    #[test]
    fn width_is_no_height() {
        assert!(passes(&"select t.a - 1, ".repeat(100_000)));
        assert!(passes(&format!("select 1 in ({}1)", "-1, ".repeat(100_000))));
        assert!(passes(&format!("select 1 where {} true", "t.a = -1 and ".repeat(10_000))));
        assert!(passes(&format!("select case {} end", "when a = 1 then -1 ".repeat(10_000))));
        assert!(passes(&format!("values {} (1)", "(-1, 2 + 3), ".repeat(10_000))));
        assert!(passes(&format!("{} select 1", "select a + b from t where c = 1 union all ".repeat(1_500))));
    }

    #[test]
    fn height_is_told() {
        for part in
            ["- ", "1 + ", "not ", "a is null is ", "1 at time zone ", "a.", "1::int ", "(", "[", "case ", "x -> "]
        {
            assert!(!passes(&format!("select {}", part.repeat(3_000))), "{part}");
        }
        assert!(!passes(&format!("select {}1", "1 or ".repeat(30_000))));
        // Each half is low enough, one in the other is not.
        let chain = "1 + ".repeat(1_500);
        assert!(passes(&format!("select ({chain}1), ({chain}1)")));
        assert!(!passes(&format!("select {chain}({chain}1)")));
        assert!(!passes(&format!("select ({chain}1) {}", "+ 1".repeat(1_500))));
    }
}
