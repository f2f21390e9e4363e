//! Constants that a program pasted into the text of a SELECT, taken out of it again.
//!
//! `SELECT v FROM t WHERE k = 5` is `SELECT v FROM t WHERE k = $1` with 5: a text that is the same each
//! time need not be read and bound each time. Taken are whole numbers and strings between a comparison
//! of a column and the end of its condition: there a constant and a parameter of its type mean the
//! same. Promises: gives nothing for a text that is not plainly of this kind. Does not parse: who binds
//! what is left finds out what it means, and takes the text as it was if that is an error.

/// The longest text that is looked at, in bytes.
const MAX_TEXT: usize = 4 << 10;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pasted {
    /// The text with parameters.
    pub(crate) text: String,
    /// Their values.
    pub(crate) values: Vec<Constant>,
}

/// What stood in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Constant {
    /// An integer.
    Number(i32),
    /// A string, of no type of its own.
    String(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Number,
    String,
    Operator,
    Open,
    Close,
    Semicolon,
    /// A comma, a dot, a cast.
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    start: usize,
    text: &'a str,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word)
    }

    fn is_column(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted)
    }

    fn is_comparison(&self) -> bool {
        self.kind == Kind::Operator && matches!(self.text, "=" | "<" | ">" | "<=" | ">=")
    }
}

impl Pasted {
    /// What a text of one SELECT is without the constants that can be taken, if there are any.
    pub(crate) fn of(text: &str) -> Option<Pasted> {
        let tokens = if text.len() <= MAX_TEXT { tokens(text)? } else { return None };
        if !tokens.first()?.is("select") {
            return None;
        }
        let mut pasted = Pasted { text: String::with_capacity(text.len()), values: Vec::new() };
        let mut copied = 0;
        // Where the constant in front of BETWEEN's AND stands.
        let mut low = None;
        for (place, token) in tokens.iter().enumerate() {
            let Some(value) = constant(token) else { continue };
            let (Some(before), Some(column)) = (at(&tokens, place, 1), at(&tokens, place, 2)) else { continue };
            let is_low = before.is("between") && column.is_column();
            let is_high = before.is("and") && place.checked_sub(2) == low;
            let is_compared = before.is_comparison() && column.is_column();
            if !(is_low || is_high || is_compared) || !ends(token, tokens.get(place + 1)) {
                continue;
            }
            if is_low {
                low = Some(place);
            }
            pasted.values.push(value);
            pasted.text.push_str(&text[copied..token.start]);
            pasted.text.push('$');
            pasted.text.push_str(&pasted.values.len().to_string());
            copied = token.start + token.text.len();
        }
        pasted.text.push_str(&text[copied..]);
        Some(pasted)
    }
}

fn at<'a>(tokens: &[Token<'a>], place: usize, back: usize) -> Option<Token<'a>> {
    tokens.get(place.checked_sub(back)?).copied()
}

/// Whether a constant is its operand alone, as far as the token behind it says.
fn ends(constant: &Token<'_>, next: Option<&Token<'_>>) -> bool {
    let Some(next) = next else { return true };
    match next.kind {
        Kind::Semicolon | Kind::Close => true,
        Kind::Word => ["and", "or", "order", "limit", "group"].iter().any(|word| next.is(word)),
        Kind::Operator => constant.kind == Kind::Number && matches!(next.text, "+" | "-"),
        _ => false,
    }
}

fn constant(token: &Token<'_>) -> Option<Constant> {
    match token.kind {
        Kind::Number => token.text.parse().ok().map(Constant::Number),
        Kind::String => {
            let inner = token.text.get(1..token.text.len().checked_sub(1)?)?;
            Some(Constant::String(inner.replace("''", "'")))
        }
        _ => None,
    }
}

/// The tokens of a text in which there is nothing out of the ordinary: no comment, no second
/// statement, no parameter, no string with a prefix.
fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::with_capacity(32);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        let run = |of: fn(&u8) -> bool| bytes[start..].iter().take_while(|byte| of(byte)).count();
        let kind = match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 128.. => {
                at += run(is_of_word);
                // A string with a prefix.
                if bytes.get(at) == Some(&b'\'') || bytes.get(at) == Some(&b'&') {
                    return None;
                }
                Kind::Word
            }
            b'0'..=b'9' => {
                at += run(u8::is_ascii_digit);
                // A fraction, an exponent, something that is no number.
                if bytes.get(at).is_some_and(|next| is_of_word(next) || *next == b'.') {
                    return None;
                }
                Kind::Number
            }
            b'\'' | b'"' => {
                at += quoted(&bytes[at..], *byte)?;
                if *byte == b'"' { Kind::Quoted } else { Kind::String }
            }
            b'(' | b')' | b',' | b'.' | b';' => {
                at += 1;
                match byte {
                    b'(' => Kind::Open,
                    b')' => Kind::Close,
                    b';' => Kind::Semicolon,
                    _ => Kind::Other,
                }
            }
            b':' if bytes.get(at + 1) == Some(&b':') => {
                at += 2;
                Kind::Other
            }
            _ if is_of_operator(byte) => {
                at += run(is_of_operator);
                let operator = &text[start..at];
                if operator.contains("--") || operator.contains("/*") {
                    return None;
                }
                Kind::Operator
            }
            _ => return None,
        };
        tokens.push(Token { kind, start, text: text.get(start..at)? });
    }
    let semicolons = tokens.iter().position(|token| token.kind == Kind::Semicolon);
    semicolons.is_none_or(|place| place + 1 == tokens.len()).then_some(tokens)
}

fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 128..)
}

fn is_of_operator(byte: &u8) -> bool {
    b"+-*/<>=~!@#%^&|`?".contains(byte)
}

/// The length of what is quoted at the beginning; a quote within it stands twice.
fn quoted(bytes: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == quote)? + 1;
        if bytes.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that is left, and what was taken.
    fn taken(text: &str) -> Option<(String, Vec<String>)> {
        let pasted = Pasted::of(text)?;
        let shown = pasted.values.iter().map(|value| match value {
            Constant::Number(number) => number.to_string(),
            Constant::String(string) => format!("'{string}'"),
        });
        Some((pasted.text, shown.collect()))
    }

    #[test]
    fn constants_of_conditions_are_taken() {
        for (text, left, values) in [
            ("SELECT v FROM t WHERE k = 5", "SELECT v FROM t WHERE k = $1", vec!["5"]),
            ("select v from t where k=5;", "select v from t where k=$1;", vec!["5"]),
            (
                "SELECT \"a b\" FROM s.t WHERE \"a b\" = 'it''s' AND (n < 7 OR n >= 9) ORDER BY 1 LIMIT 3",
                "SELECT \"a b\" FROM s.t WHERE \"a b\" = $1 AND (n < $2 OR n >= $3) ORDER BY 1 LIMIT 3",
                vec!["'it's'", "7", "9"],
            ),
            (
                "SELECT 1 FROM t WHERE k BETWEEN 5 AND 5 + 99 AND b = 1",
                "SELECT 1 FROM t WHERE k BETWEEN $1 AND $2 + 99 AND b = $3",
                vec!["5", "5", "1"],
            ),
        ] {
            let values = values.into_iter().map(str::to_string).collect();
            assert_eq!(taken(text), Some((left.into(), values)), "{text}");
        }
    }

    #[test]
    fn other_constants_stay() {
        for text in [
            "SELECT 5",
            "SELECT 1 WHERE 1 = 0",
            "SELECT v FROM t WHERE k = 99999999999",
            "SELECT v FROM t WHERE k = -5",
            "SELECT v FROM t WHERE k = '5'::int",
            "SELECT v FROM t WHERE k = 5 * 2",
            "SELECT v FROM t WHERE k = 'a' 'b'",
            "SELECT v FROM t WHERE k = 'a' COLLATE \"C\"",
            "SELECT v FROM t WHERE 5 = 5",
            "SELECT v FROM t WHERE (a, b) = (1, 2)",
        ] {
            assert_eq!(taken(text), Some((text.into(), Vec::new())), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_alone() {
        for text in [
            "",
            "SELECT v FROM t WHERE k = 5; SELECT 6",
            "SELECT v FROM t WHERE k = $1",
            "SELECT v FROM t WHERE k = 5 -- five",
            "SELECT v FROM t /* */ WHERE k = 5",
            "SELECT v FROM t WHERE k = E'a'",
            "SELECT v FROM t WHERE k = 5.5",
            "SELECT v FROM t WHERE k = 5e1",
            "SELECT v FROM t WHERE k = 'open",
            "UPDATE t SET v = 5 WHERE k = 5",
            "INSERT INTO t SELECT k FROM t WHERE k = 5",
        ] {
            assert_eq!(taken(text), None, "{text}");
        }
    }
}
