//! The phrases that statements share with queries: expressions, select lists, FROM lists.
//!
//! sqlparser reads them; what PostgreSQL's grammar does not take is refused as in queries.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{self, VisitMut};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use thalweg_dataflow::error::Result;

use super::cursor::Cursor;
use super::reserved::Judged;
use crate::walk::{NodeMut, walk_mut};

/// What stands for the word DEFAULT where a value may be one: no user can write such a name.
const DEFAULT: &str = "\0default";

/// Whether an expression is the word DEFAULT.
pub(crate) fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.value == DEFAULT)
}

/// Makes the word DEFAULT, where it is a whole value, the mark that [`is_default`] knows.
pub(crate) fn mark_default(expr: &mut ast::Expr) {
    if let ast::Expr::Identifier(ident) = expr
        && ident.quote_style.is_none()
        && ident.value.eq_ignore_ascii_case("default")
    {
        ident.value = DEFAULT.into();
        ident.quote_style = Some('"');
    }
}

impl Cursor<'_> {
    /// An expression.
    pub(crate) fn expression(&mut self) -> Result<ast::Expr> {
        self.judged(|parser| parser.parse_expr())
    }

    /// An expression with its text.
    pub(crate) fn written_expression(&mut self) -> Result<(ast::Expr, String)> {
        let start = self.place();
        let expr = self.expression()?;
        Ok((expr, self.written(start)))
    }

    /// A call with its text.
    pub(crate) fn written_call(&mut self) -> Result<(ast::Expr, String)> {
        let start = self.place();
        let expr = self.judged(|parser| parser.parse_prefix())?;
        Ok((expr, self.written(start)))
    }

    /// A name with fields and subscripts behind it.
    pub(crate) fn part_of_name(&mut self) -> Result<ast::Expr> {
        // Nothing binds closer, so that no operator is taken.
        self.judged(|parser| parser.parse_subexpr(PostgreSqlDialect {}.prec_value(Precedence::Period)))
    }

    /// A value of SET or VALUES: an expression or DEFAULT.
    pub(crate) fn value_or_default(&mut self) -> Result<ast::Expr> {
        if self.sees("DEFAULT") {
            let mut word = self.judged_by(|parser| parser.parse_expr(), |_| true)?;
            mark_default(&mut word);
            return Ok(word);
        }
        self.expression()
    }

    /// The items of RETURNING.
    pub(crate) fn select_items(&mut self) -> Result<Vec<ast::SelectItem>> {
        self.judged(|parser| parser.parse_comma_separated(Parser::parse_select_item))
    }

    /// The relations of FROM or USING.
    pub(crate) fn tables(&mut self) -> Result<Vec<ast::TableWithJoins>> {
        self.judged(|parser| parser.parse_comma_separated(Parser::parse_table_and_joins))
    }

    /// One relation with the joins behind it.
    pub(crate) fn table(&mut self) -> Result<ast::TableWithJoins> {
        self.judged(|parser| parser.parse_table_and_joins())
    }

    /// WITH before the token at `end`.
    pub(crate) fn with_clause(&mut self, end: usize) -> Result<ast::With> {
        let word = self.peek();
        self.expect("WITH")?;
        let recursive = self.takes("RECURSIVE");
        let cte_tables =
            self.until(end, |cursor| cursor.judged(|parser| parser.parse_comma_separated(Parser::parse_cte)))?;
        Ok(ast::With { with_token: AttachedToken(word), recursive, cte_tables })
    }

    /// A query that INSERT reads; its VALUES may hold DEFAULT.
    pub(crate) fn inserted_query(&mut self) -> Result<Box<ast::Query>> {
        let start = self.place();
        if !self.starts_query() {
            return self.unexpected();
        }
        let mut query = self.with_sqlparser(|parser| parser.parse_query())?;
        if let ast::SetExpr::Values(values) = query.body.as_mut() {
            values.rows.iter_mut().flat_map(|row| &mut row.content).for_each(mark_default);
        }
        self.judge(start, query.as_ref())?;
        unmark(query.as_mut());
        Ok(query)
    }

    fn judged<T: Judged + VisitMut>(
        &mut self,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, datafusion::sql::sqlparser::parser::ParserError>,
    ) -> Result<T> {
        self.judged_by(read, |_| false)
    }

    fn judged_by<T: Judged + VisitMut>(
        &mut self,
        read: impl FnOnce(&mut Parser<'_>) -> Result<T, datafusion::sql::sqlparser::parser::ParserError>,
        pardon: impl FnOnce(&T) -> bool,
    ) -> Result<T> {
        let start = self.place();
        let mut read = self.with_sqlparser(read)?;
        if !pardon(&read) {
            self.judge(start, &read)?;
        }
        unmark(&mut read);
        Ok(read)
    }

    /// Where an expression ends that stands before other clauses of a column: at a comma, an
    /// unmatched parenthesis or one of these words, none of them inside parentheses.
    pub(crate) fn before(&self, words: &[&str]) -> usize {
        let mut depth = 0_usize;
        for ahead in 0.. {
            let token = self.token(ahead);
            match token {
                None => return self.place() + ahead,
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) if depth == 0 => return self.place() + ahead,
                Some(Token::RParen) => depth -= 1,
                Some(Token::Comma) if depth == 0 => return self.place() + ahead,
                // The first word is the expression's own: DEFAULT NULL.
                Some(Token::Word(word)) if depth == 0 && ahead > 0 && word.quote_style.is_none() => {
                    if words.iter().any(|known| word.value.eq_ignore_ascii_case(known)) {
                        return self.place() + ahead;
                    }
                }
                Some(_) => {}
            }
        }
        self.place()
    }
}

/// Takes the marks of empty select lists away in subqueries.
fn unmark(tree: &mut impl VisitMut) {
    walk_mut(tree, &mut |node| {
        if let NodeMut::Query(query) = node {
            super::empty_select::unmark(query);
        }
    });
}
