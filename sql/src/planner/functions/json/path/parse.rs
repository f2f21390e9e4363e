//! jsonpath: from its text to its tree.
//!
//! Reads the language of PostgreSQL 15; `.datetime()` and `.keyvalue()` are refused by name.

use thalweg_dataflow::types::json;
use thalweg_dataflow::{Error, Result, SqlState};

use super::super::super::regexp::LikeRegex;
use super::lexer::{self, Token};

/// A path.
#[derive(Debug)]
pub(super) struct Path {
    /// Whether what is not there is an error.
    pub(super) strict: bool,
    pub(super) expr: Expr,
}

/// What gives values.
#[derive(Debug)]
pub(super) enum Expr {
    Root,
    Current,
    Variable(String),
    Last,
    /// A scalar, as JSON.
    Literal(String),
    Accessed(Box<Expr>, Access),
    Signed(char, Box<Expr>),
    Calculated(char, Box<Expr>, Box<Expr>),
    Judged(Box<Predicate>),
}

/// What is asked of each value.
#[derive(Debug)]
pub(super) enum Access {
    Key(String),
    AnyKey,
    AnyElement,
    Elements(Vec<(Expr, Option<Expr>)>),
    /// `.**`: from one level below to another; the deepest one for none.
    Below(Option<u32>, Option<u32>),
    Filter(Box<Predicate>),
    Method(Method),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Method {
    Type,
    Size,
    Double,
    Ceiling,
    Floor,
    Abs,
}

/// What is true, false or unknown.
#[derive(Debug)]
pub(super) enum Predicate {
    And(Box<Predicate>, Box<Predicate>),
    Or(Box<Predicate>, Box<Predicate>),
    Not(Box<Predicate>),
    Compare(&'static str, Expr, Expr),
    Exists(Expr),
    IsUnknown(Box<Predicate>),
    StartsWith(Expr, Expr),
    LikeRegex(Expr, LikeRegex),
}

enum Node {
    Expr(Expr),
    Predicate(Predicate),
}

/// The most parentheses and filters within each other.
const MAX_DEPTH: usize = 200;

struct Parser<'a> {
    rest: &'a str,
    token: Token,
    /// The text of the token.
    shown: &'a str,
    depth: usize,
    filters: usize,
    subscripts: usize,
}

/// The path of a text. Errors 42601, 22P02, 0A000.
pub(super) fn parse(text: &str) -> Result<Path> {
    let mut parser = Parser { rest: text, token: Token::End, shown: "", depth: 0, filters: 0, subscripts: 0 };
    parser.advance()?;
    if parser.token == Token::End {
        let message = format!("invalid input syntax for type jsonpath: \"{text}\"");
        return Err(Error::new(SqlState::InvalidTextRepresentation, message));
    }
    let strict = parser.takes_word("strict")?;
    if !strict {
        parser.takes_word("lax")?;
    }
    let expr = match parser.any_of()? {
        Node::Expr(expr) => expr,
        Node::Predicate(predicate) => Expr::Judged(Box::new(predicate)),
    };
    match parser.token {
        Token::End => Ok(Path { strict, expr }),
        _ => Err(parser.unexpected()),
    }
}

impl<'a> Parser<'a> {
    fn unexpected(&self) -> Error {
        let message = match self.token {
            Token::End => "syntax error at end of jsonpath input".to_string(),
            _ => format!("syntax error at or near \"{}\" of jsonpath input", self.shown),
        };
        Error::new(SqlState::SyntaxError, message)
    }

    fn advance(&mut self) -> Result<()> {
        let text = lexer::skip_blanks(self.rest)?;
        let (token, length) = lexer::token(text)?;
        (self.shown, self.rest) = text.split_at(length);
        self.token = token;
        Ok(())
    }

    fn takes(&mut self, sign: &str) -> Result<bool> {
        let found = matches!(&self.token, Token::Sign(own) if *own == sign);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, sign: &str) -> Result<()> {
        if self.takes(sign)? { Ok(()) } else { Err(self.unexpected()) }
    }

    fn takes_word(&mut self, word: &str) -> Result<bool> {
        let found = matches!(&self.token, Token::Word(own) if own == word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// A string constant, as its text.
    fn text(&mut self) -> Result<String> {
        let Token::Text(text) = &self.token else { return Err(self.unexpected()) };
        let text = text.clone();
        self.advance()?;
        Ok(text)
    }

    fn predicate(&self, node: Node) -> Result<Predicate> {
        match node {
            Node::Predicate(predicate) => Ok(predicate),
            Node::Expr(_) => Err(self.unexpected()),
        }
    }

    fn value(&self, node: Node) -> Result<Expr> {
        match node {
            Node::Expr(expr) => Ok(expr),
            Node::Predicate(_) => Err(self.unexpected()),
        }
    }

    fn any_of(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        let mut left = self.all_of()?;
        while self.takes("||")? {
            let right = self.all_of()?;
            left = Node::Predicate(Predicate::Or(self.predicate(left)?.into(), self.predicate(right)?.into()));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn all_of(&mut self) -> Result<Node> {
        let mut left = self.compared()?;
        while self.takes("&&")? {
            let right = self.compared()?;
            left = Node::Predicate(Predicate::And(self.predicate(left)?.into(), self.predicate(right)?.into()));
        }
        Ok(left)
    }

    fn compared(&mut self) -> Result<Node> {
        if self.takes("!")? {
            if !matches!(&self.token, Token::Sign("(")) && !matches!(&self.token, Token::Word(word) if word == "exists")
            {
                return Err(self.unexpected());
            }
            let inner = self.accessed()?;
            return Ok(Node::Predicate(Predicate::Not(self.predicate(inner)?.into())));
        }
        let left = self.sum()?;
        let op = match &self.token {
            Token::Sign("==") => "==",
            Token::Sign("!=" | "<>") => "!=",
            Token::Sign("<") => "<",
            Token::Sign("<=") => "<=",
            Token::Sign(">") => ">",
            Token::Sign(">=") => ">=",
            Token::Word(word) if word == "starts" => {
                self.advance()?;
                if !self.takes_word("with")? {
                    return Err(self.unexpected());
                }
                let right = match &self.token {
                    Token::Text(_) | Token::Variable(_) => self.accessed()?,
                    _ => return Err(self.unexpected()),
                };
                return Ok(Node::Predicate(Predicate::StartsWith(self.value(left)?, self.value(right)?)));
            }
            Token::Word(word) if word == "like_regex" => {
                self.advance()?;
                let pattern = self.text()?;
                let flags = if self.takes_word("flag")? { self.text()? } else { String::new() };
                let regex = LikeRegex::new(&pattern, &flags)?;
                return Ok(Node::Predicate(Predicate::LikeRegex(self.value(left)?, regex)));
            }
            _ => return Ok(left),
        };
        self.advance()?;
        let right = self.sum()?;
        Ok(Node::Predicate(Predicate::Compare(op, self.value(left)?, self.value(right)?)))
    }

    fn calculated(&mut self, signs: &[(&'static str, char)], operand: fn(&mut Self) -> Result<Node>) -> Result<Node> {
        let mut left = operand(self)?;
        loop {
            let found = signs.iter().find(|(sign, _)| matches!(&self.token, Token::Sign(own) if own == sign));
            let Some((_, op)) = found else { return Ok(left) };
            self.advance()?;
            let right = operand(self)?;
            left = Node::Expr(Expr::Calculated(*op, self.value(left)?.into(), self.value(right)?.into()));
        }
    }

    fn sum(&mut self) -> Result<Node> {
        self.calculated(&[("+", '+'), ("-", '-')], Self::product)
    }

    fn product(&mut self) -> Result<Node> {
        self.calculated(&[("*", '*'), ("/", '/'), ("%", '%')], Self::signed)
    }

    fn signed(&mut self) -> Result<Node> {
        let sign = match &self.token {
            Token::Sign("+") => '+',
            Token::Sign("-") => '-',
            _ => return self.accessed(),
        };
        self.advance()?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(SqlState::StatementTooComplex, "stack depth limit exceeded"));
        }
        let inner = self.signed()?;
        self.depth -= 1;
        Ok(Node::Expr(match (sign, self.value(inner)?) {
            ('-', Expr::Literal(number)) if number.starts_with(|c: char| c.is_ascii_digit()) => {
                Expr::Literal(format!("-{number}"))
            }
            (sign, inner) => Expr::Signed(sign, inner.into()),
        }))
    }

    fn accessed(&mut self) -> Result<Node> {
        let mut node = self.primary()?;
        while let Some(access) = self.access()? {
            let base = match node {
                Node::Expr(expr) => expr,
                Node::Predicate(predicate) => Expr::Judged(Box::new(predicate)),
            };
            node = Node::Expr(Expr::Accessed(base.into(), access));
        }
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node> {
        let token = self.token.clone();
        let literal = |text: &str| Ok(Node::Expr(Expr::Literal(text.to_string())));
        match token {
            Token::Text(text) => {
                self.advance()?;
                let mut quoted = String::new();
                json::push_quoted(&text, &mut quoted);
                return Ok(Node::Expr(Expr::Literal(quoted)));
            }
            Token::Number(number) => {
                self.advance()?;
                return literal(&json::normalize(&number)?);
            }
            Token::Variable(name) => {
                self.advance()?;
                return Ok(Node::Expr(Expr::Variable(name)));
            }
            Token::Sign("$") => {
                self.advance()?;
                return Ok(Node::Expr(Expr::Root));
            }
            Token::Sign("@") if self.filters == 0 => {
                return Err(Error::new(SqlState::SyntaxError, "@ is not allowed in root expressions"));
            }
            Token::Sign("@") => {
                self.advance()?;
                return Ok(Node::Expr(Expr::Current));
            }
            Token::Sign("(") => {
                self.advance()?;
                let inner = self.any_of()?;
                self.expect(")")?;
                return match inner {
                    Node::Predicate(predicate) if self.takes_word("is")? => match self.takes_word("unknown")? {
                        true => Ok(Node::Predicate(Predicate::IsUnknown(predicate.into()))),
                        false => Err(self.unexpected()),
                    },
                    other => Ok(other),
                };
            }
            _ => {}
        }
        for word in ["true", "false", "null"] {
            if self.takes_word(word)? {
                return literal(word);
            }
        }
        if self.takes_word("last")? {
            if self.subscripts == 0 {
                return Err(Error::new(SqlState::SyntaxError, "LAST is allowed only in array subscripts"));
            }
            return Ok(Node::Expr(Expr::Last));
        }
        if self.takes_word("exists")? {
            self.expect("(")?;
            let inner = self.any_of()?;
            self.expect(")")?;
            return Ok(Node::Predicate(Predicate::Exists(self.value(inner)?)));
        }
        Err(self.unexpected())
    }

    /// What stands behind a value, if it is an accessor.
    fn access(&mut self) -> Result<Option<Access>> {
        if self.takes("?")? {
            self.expect("(")?;
            self.filters += 1;
            let inner = self.any_of()?;
            self.filters -= 1;
            self.expect(")")?;
            return Ok(Some(Access::Filter(self.predicate(inner)?.into())));
        }
        if self.takes("[")? {
            if self.takes("*")? {
                self.expect("]")?;
                return Ok(Some(Access::AnyElement));
            }
            self.subscripts += 1;
            let mut elements = Vec::new();
            loop {
                let from = self.sum()?;
                let to = if self.takes_word("to")? { Some(self.sum()?) } else { None };
                let to = to.map(|to| self.value(to)).transpose()?;
                elements.push((self.value(from)?, to));
                if !self.takes(",")? {
                    break;
                }
            }
            self.subscripts -= 1;
            self.expect("]")?;
            return Ok(Some(Access::Elements(elements)));
        }
        if !self.takes(".")? {
            return Ok(None);
        }
        if self.takes("**")? {
            return self.levels().map(Some);
        }
        if self.takes("*")? {
            return Ok(Some(Access::AnyKey));
        }
        match self.token.clone() {
            Token::Text(key) => {
                self.advance()?;
                Ok(Some(Access::Key(key)))
            }
            Token::Word(key) => {
                self.advance()?;
                if !self.takes("(")? {
                    return Ok(Some(Access::Key(key)));
                }
                let method = match key.as_str() {
                    "type" => Method::Type,
                    "size" => Method::Size,
                    "double" => Method::Double,
                    "ceiling" => Method::Ceiling,
                    "floor" => Method::Floor,
                    "abs" => Method::Abs,
                    "datetime" | "keyvalue" => return Err(Error::unsupported(format!(".{key}() in a jsonpath"))),
                    _ => return Err(self.unexpected()),
                };
                self.expect(")")?;
                Ok(Some(Access::Method(method)))
            }
            _ => Err(self.unexpected()),
        }
    }

    /// `{1}`, `{1 to last}`, or nothing, which is all.
    fn levels(&mut self) -> Result<Access> {
        if !self.takes("{")? {
            return Ok(Access::Below(Some(0), None));
        }
        let from = self.level()?;
        let to = if self.takes_word("to")? { self.level()? } else { from };
        self.expect("}")?;
        Ok(Access::Below(from, to))
    }

    fn level(&mut self) -> Result<Option<u32>> {
        if self.takes_word("last")? {
            return Ok(None);
        }
        match &self.token {
            Token::Number(digits) => {
                let level = digits.parse().map_err(|_| self.unexpected())?;
                self.advance()?;
                Ok(Some(level))
            }
            _ => Err(self.unexpected()),
        }
    }
}
