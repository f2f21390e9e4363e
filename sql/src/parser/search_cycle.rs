//! SEARCH and CYCLE behind a query of WITH RECURSIVE, which sqlparser does not know.
//!
//! Before parsing each becomes an item of WITH of its own, behind the query that it is of, under a name
//! that no user can write: its select list holds the clause's names as strings and its values.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::empty_select::is_word;
use super::source_text::Piece;

/// The name of an item that stands for SEARCH.
const SEARCH: &str = "\0search";
/// The name of one that stands for CYCLE.
const CYCLE: &str = "\0cycle";

/// A clause behind a query of WITH.
pub(crate) enum Clause {
    /// `SEARCH DEPTH FIRST BY by SET sequence`, or BREADTH.
    Search { breadth: bool, sequence: String, by: Vec<String> },
    /// `CYCLE columns SET mark TO value DEFAULT otherwise USING path`.
    Cycle { mark: String, path: String, values: Box<[ast::Expr; 2]>, columns: Vec<String> },
}

/// The clause that an item of WITH stands for, if it stands for one.
pub(crate) fn clause(cte: &ast::Cte) -> Option<Clause> {
    let ast::SetExpr::Select(select) = cte.query.body.as_ref() else { return None };
    let items: Vec<&ast::Expr> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            ast::SelectItem::UnnamedExpr(expr) => Some(expr),
            _ => None,
        })
        .collect();
    let text = |expr: &ast::Expr| match expr {
        ast::Expr::Value(ast::ValueWithSpan { value: ast::Value::SingleQuotedString(text), .. }) => Some(text.clone()),
        _ => None,
    };
    let texts = |items: &[&ast::Expr]| items.iter().map(|item| text(item)).collect::<Option<Vec<_>>>();
    match (cte.alias.name.value.as_str(), items.as_slice()) {
        (SEARCH, [kind, sequence, by @ ..]) => {
            Some(Clause::Search { breadth: text(kind)? == "breadth", sequence: text(sequence)?, by: texts(by)? })
        }
        (CYCLE, [mark, path, value, otherwise, columns @ ..]) => Some(Clause::Cycle {
            mark: text(mark)?,
            path: text(path)?,
            values: Box::new([(*value).clone(), (*otherwise).clone()]),
            columns: texts(columns)?,
        }),
        _ => None,
    }
}

/// Puts the items in the clauses' places.
pub(super) fn rewrite(piece: &mut Piece) {
    let mut place = 0;
    while place < piece.tokens.len() {
        let behind_query = place > 0 && piece.tokens[place - 1].token == Token::RParen;
        let found = if behind_query { read(&piece.tokens[place..]) } else { None };
        if let Some((length, item)) = found {
            let span = piece.tokens[place].span;
            let tokens: Vec<TokenWithSpan> = item.into_iter().map(|token| TokenWithSpan { token, span }).collect();
            let added = tokens.len();
            piece.tokens.splice(place..place + length, tokens);
            place += added;
        } else {
            place += 1;
        }
    }
}

/// A clause at the beginning of these tokens: its length, and the item in its place.
fn read(tokens: &[TokenWithSpan]) -> Option<(usize, Vec<Token>)> {
    let mut reader = Reader { tokens, at: 0 };
    if reader.takes("SEARCH") {
        let kind = ["DEPTH", "BREADTH"].into_iter().find(|kind| reader.takes(kind))?;
        reader.expect("FIRST")?;
        reader.expect("BY")?;
        let by = reader.names()?;
        reader.expect("SET")?;
        let sequence = reader.name()?;
        let items = [kind.to_lowercase(), sequence].into_iter().chain(by).map(|text| vec![quoted(text)]);
        return Some((reader.at, item(SEARCH, items)));
    }
    reader.expect("CYCLE")?;
    let columns = reader.names()?;
    reader.expect("SET")?;
    let mark = reader.name()?;
    let (mut value, mut otherwise) = (vec![Token::make_keyword("TRUE")], vec![Token::make_keyword("FALSE")]);
    if reader.takes("TO") {
        value = reader.until("DEFAULT")?;
        otherwise = reader.until("USING")?;
    } else {
        reader.expect("USING")?;
    }
    let path = reader.name()?;
    let names = [mark, path].into_iter().map(|text| vec![quoted(text)]);
    let columns = columns.into_iter().map(|text| vec![quoted(text)]);
    Some((reader.at, item(CYCLE, names.chain([value, otherwise]).chain(columns))))
}

fn quoted(text: String) -> Token {
    Token::SingleQuotedString(text)
}

/// `, "name" AS (SELECT items)`.
fn item(name: &str, items: impl Iterator<Item = Vec<Token>>) -> Vec<Token> {
    let mut tokens = vec![
        Token::Comma,
        Token::make_word(name, Some('"')),
        Token::make_keyword("AS"),
        Token::LParen,
        Token::make_keyword("SELECT"),
    ];
    for (place, item) in items.enumerate() {
        if place > 0 {
            tokens.push(Token::Comma);
        }
        tokens.extend(item);
    }
    tokens.push(Token::RParen);
    tokens
}

struct Reader<'t> {
    tokens: &'t [TokenWithSpan],
    at: usize,
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|token| is_word(&token.token, word));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Option<()> {
        self.takes(word).then_some(())
    }

    fn name(&mut self) -> Option<String> {
        let Token::Word(word) = &self.tokens.get(self.at)?.token else { return None };
        self.at += 1;
        Some(if word.quote_style.is_some() { word.value.clone() } else { word.value.to_lowercase() })
    }

    fn names(&mut self) -> Option<Vec<String>> {
        let mut names = vec![self.name()?];
        while self.tokens.get(self.at)?.token == Token::Comma {
            self.at += 1;
            names.push(self.name()?);
        }
        Some(names)
    }

    /// The tokens up to a word, which is taken.
    fn until(&mut self, word: &str) -> Option<Vec<Token>> {
        let length = self.tokens[self.at..].iter().position(|token| is_word(&token.token, word))?;
        let found = self.tokens[self.at..self.at + length].iter().map(|token| token.token.clone()).collect();
        self.at += length + 1;
        Some(found)
    }
}
