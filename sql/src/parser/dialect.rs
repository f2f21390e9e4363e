//! PostgreSQL's dialect as sqlparser reads it for us: bounded.
//!
//! sqlparser tries a piece of text one way and, if that fails, another, at every level of nesting;
//! 22 calls in one another kept it busy for 14 s. Promises: a text is given up as too deeply nested
//! (54001) once it was looked at far more often than it is long; everything else is as
//! `PostgreSqlDialect` says. `f(name => value)` takes a plain name only, which spares one of the tries.

use std::any::TypeId;
use std::cell::Cell;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::empty_select::is_word;

/// How often each token may be looked at as an operand or operator, on average.
const LOOKS: usize = 64;

/// The same for a short text, all tokens together.
const LOOKS_AT_LEAST: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Bounded {
    /// How often it may still be asked for an operand or operator.
    left: Cell<usize>,
}

impl Bounded {
    /// To read so many tokens once.
    pub(super) fn new(tokens: usize) -> Bounded {
        Bounded { left: Cell::new(LOOKS_AT_LEAST.max(tokens.saturating_mul(LOOKS))) }
    }
}

impl Bounded {
    /// Counts a look at an operand or operator. Nothing that sqlparser tries goes on after the error.
    fn look(&self) -> Result<(), ParserError> {
        let left = self.left.get().checked_sub(1).ok_or(ParserError::RecursionLimitExceeded)?;
        self.left.set(left);
        Ok(())
    }
}

/// What is true of PostgreSQL's dialect and not of others.
macro_rules! supported {
    ($($name:ident)*) => {
        $(fn $name(&self) -> bool {
            PostgreSqlDialect {}.$name()
        })*
    };
}

impl Dialect for Bounded {
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        PostgreSqlDialect {}.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        PostgreSqlDialect {}.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        PostgreSqlDialect {}.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        PostgreSqlDialect {}.is_identifier_part(character)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        PostgreSqlDialect {}.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, character: char) -> bool {
        PostgreSqlDialect {}.is_custom_operator_part(character)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        match self.look() {
            Ok(()) if is_word(&parser.peek_token_ref().token, "ISNULL") => Some(Ok(self.prec_value(Precedence::Is))),
            Ok(()) => PostgreSqlDialect {}.get_next_precedence(parser),
            Err(error) => Some(Err(error)),
        }
    }

    /// What sqlparser does not know behind an operand: `x ISNULL`, and `x::text COLLATE name`.
    fn parse_infix(&self, parser: &mut Parser<'_>, expr: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let expr = || Box::new(expr.clone());
        if is_word(&parser.peek_token_ref().token, "ISNULL") {
            parser.advance_token();
            return Some(Ok(Expr::IsNull(expr())));
        }
        if parser.parse_keyword(Keyword::COLLATE) {
            return Some(parser.parse_object_name(false).map(|collation| Expr::Collate { expr: expr(), collation }));
        }
        None
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        match self.look() {
            Ok(()) => PostgreSqlDialect {}.parse_prefix(parser),
            Err(error) => Some(Err(error)),
        }
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        PostgreSqlDialect {}.prec_value(precedence)
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    supported! {
        supports_unicode_string_literal supports_filter_during_aggregation supports_group_by_expr allow_extract_custom
        allow_extract_single_quotes supports_create_index_with_clause supports_explain_with_utility_options
        supports_listen_notify supports_factorial_operator supports_bitwise_shift_operators supports_comment_on
        supports_load_extension supports_named_fn_args_with_colon_operator supports_empty_projections
        supports_nested_comments supports_string_escape_constant supports_numeric_literal_underscores
        supports_array_typedef_with_brackets supports_geometric_types supports_set_names
        supports_alter_column_type_using supports_notnull_operator supports_interval_options
        supports_insert_table_alias supports_create_table_like_parenthesized supports_select_wildcard_with_alias
        supports_comma_separated_trim supports_xml_expressions supports_comment_optimizer_hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sql: &str) -> Result<(), ParserError> {
        let tokens = sql.len();
        let dialect = Bounded::new(tokens);
        Parser::new(&dialect).with_recursion_limit(480).try_with_sql(sql)?.parse_expr().map(drop)
    }

    #[test]
    fn what_is_tried_again_and_again_is_given_up() {
        let nested = |open: &str, middle: &str, close: &str, count: usize| {
            format!("{}{middle}{}", open.repeat(count), close.repeat(count))
        };
        for (open, close) in [("abs(", ")"), ("cast(", " as int)"), ("coalesce(1, ", ")"), ("(", ")"), ("array[", "]")]
        {
            read(&nested(open, "1", close, 30)).unwrap();
            for middle in ["1 1", ")", "select", "abs(", "1 in (", "(select 1 from"] {
                for count in [30, 100] {
                    let error = read(&nested(open, middle, close, count));
                    // A query without columns is one.
                    assert!(error.is_err() || matches!(middle, ")" | "select"), "{open}{middle}");
                }
            }
        }
    }
}
