//! Where in the text an operator stands, for errors about it: the tree knows its operands' places
//! only. Asked when an error is made, so that nobody else pays for it.

use datafusion::sql::sqlparser::ast::{self, Spanned};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Location, Token, Tokenizer};
use thalweg_dataflow::{Error, SqlState};

use super::binder::Binder;

impl Binder<'_> {
    /// The error of an expression, at its operator if it is about that and has no place yet.
    pub(super) fn at_operator(&self, error: Error, expr: &ast::Expr) -> Error {
        let is_of_operator = matches!(error.state(), SqlState::UndefinedFunction | SqlState::AmbiguousFunction)
            && error.message().starts_with("operator ")
            && error.position().is_none();
        let is_of_cast = error.state() == SqlState::CannotCoerce && error.message().starts_with("cannot cast type ");
        let place = match expr {
            ast::Expr::BinaryOp { left, op, right } if is_of_operator => {
                self.place_between(left.span().end, right.span().start, &op.to_string())
            }
            ast::Expr::UnaryOp { op, expr } if is_of_operator => {
                self.position(expr.span()).and_then(|operand| self.place_before(operand, &op.to_string()))
            }
            ast::Expr::Cast { kind: ast::CastKind::DoubleColon, expr, .. }
                if is_of_cast && error.position() == self.position(expr.span()) =>
            {
                self.place_between(expr.span().end, Location { line: u64::MAX, column: 0 }, "::")
            }
            _ => None,
        };
        match place {
            Some(place) => error.at(place),
            None => error,
        }
    }

    /// The first operator of this name between two places that is in no parentheses of its own.
    fn place_between(&self, start: Location, end: Location, name: &str) -> Option<usize> {
        if start.line == 0 || end.line == 0 {
            return None;
        }
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, &self.settings.text).tokenize_with_location().ok()?;
        let mut depth = 0_usize;
        for token in tokens {
            let place = token.span.start;
            if (place.line, place.column) < (start.line, start.column) {
                continue;
            }
            if (place.line, place.column) >= (end.line, end.column) {
                return None;
            }
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                other if depth == 0 && other.to_string() == name => return self.position(token.span),
                _ => {}
            }
        }
        None
    }

    /// The operator right before an operand at this place.
    fn place_before(&self, operand: usize, name: &str) -> Option<usize> {
        let before: Vec<char> = self.settings.text.chars().take(operand.checked_sub(1)?).collect();
        let filling = |found: &&char| found.is_whitespace() || **found == '(';
        let end = before.len() - before.iter().rev().take_while(filling).count();
        let start = end.checked_sub(name.chars().count())?;
        before[start..end].iter().copied().eq(name.chars()).then_some(start + 1)
    }
}
